"""Every layout from elsewhere is read as the same answers to the same problems."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from external_rows import FIRST, GOLD, QUESTIONS, RIGHT, asked, harness, own, plain, write
from paribus.analysis.elsewhere.external import collect
from paribus.analysis.elsewhere.ways import Numbers
from paribus.errors import DataError
from paribus.evaluation.scoring import score
from paribus.records import Outcome, Stop, problem_id

HARNESS = Path(__file__).parent / "golden" / "samples_gsm8k_local.jsonl"
REAL = Path(__file__).parents[2] / "shared" / "gsm8k"


@pytest.fixture
def gold(tmp_path) -> Path:
    return write(tmp_path / "gold.jsonl", GOLD)


def test_lm_eval_samples_score_as_lm_eval_scored_them():
    """Each text under each filter gets lm-eval's own verdict; each problem counts once."""
    run = collect([str(HARNESS)]).tables.runs[0]
    generations = {each.question: each for each in run.generations}
    rows = [json.loads(line) for line in HARNESS.read_text("utf-8").split("\n") if line]
    assert len(generations) == 12 == len(rows) / 2
    for row in rows:
        scorer = {"strict-match": "strict", "flexible-extract": "flexible"}[row["filter"]]
        solved = score(generations[row["doc"]["question"]], scorer) is Outcome.CORRECT
        assert solved == bool(row["exact_match"]), row
    correct = {name: each.correct for name, each in run.scores.items()}
    assert correct == {"canonical": 8, "strict": 5, "flexible": 7}


@pytest.mark.parametrize("layout", [plain, asked, harness, own])
def test_every_layout_says_the_same(tmp_path, gold, layout):
    found = collect([str(write(tmp_path / "x.jsonl", layout(FIRST)))], gold=gold)
    reference = collect([str(write(tmp_path / "y.jsonl", plain(FIRST)))], gold=gold)
    assert found.tables.runs[0].scores == reference.tables.runs[0].scores
    assert found.tables.runs[0].outcomes == reference.tables.runs[0].outcomes
    made, expected = (each.tables.runs[0].generations for each in (found, reference))
    for one, other in zip(made, expected, strict=True):
        for name in ("problem_id", "question", "answer", "solution", "text", "stop"):
            assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize(
    ("extra", "stop"),
    [
        ({}, Stop.STOP_TOKEN),
        ({"finish_reason": "stop"}, Stop.STOP_TOKEN),
        ({"finish_reason": "length"}, Stop.LENGTH),
        ({"finish_reason": "max_tokens"}, Stop.LENGTH),
        ({"finish_reason": "MAX_TOKENS"}, Stop.LENGTH),
        ({"stop_reason": "length"}, Stop.LENGTH),
        ({"stop_reason": "max_tokens", "finish_reason": None}, Stop.LENGTH),
        ({"stop_reason": "end_turn"}, Stop.STOP_TOKEN),
        ({"stop_reason": 106, "finish_reason": "stop"}, Stop.STOP_TOKEN),
        ({"done_reason": "length"}, Stop.LENGTH),
        ({"stop": "length"}, Stop.LENGTH),
        ({"stop": ["\n"]}, Stop.STOP_TOKEN),
        ({"truncated": True}, Stop.LENGTH),
        ({"truncated": "no"}, Stop.STOP_TOKEN),
        ({"truncated": False}, Stop.STOP_TOKEN),
        ({"truncated": None}, Stop.STOP_TOKEN),
        ({"truncated": "length"}, Stop.LENGTH),
        ({"truncated": 1}, Stop.LENGTH),
        ({"finish_reason": "FinishReason.MAX_TOKENS"}, Stop.LENGTH),
        ({"finish_reason": "<FinishReason.MAX_TOKENS: 2>"}, Stop.LENGTH),
        ({"finish_reason": "FinishReason.STOP"}, Stop.STOP_TOKEN),
        ({"finish_reason": ["length"]}, Stop.LENGTH),
        ({"finish_reason": ["stop"]}, Stop.STOP_TOKEN),
        ({"finish_reason": []}, Stop.STOP_TOKEN),
        ({"finish_reason": {"type": "length", "length": 512}}, Stop.LENGTH),
        ({"finish_reason": {"type": "stop", "matched": 106}}, Stop.STOP_TOKEN),
        ({"finishReason": "MAX_TOKENS"}, Stop.LENGTH),
        ({"finishReason": "STOP"}, Stop.STOP_TOKEN),
        ({"stopReason": "max_tokens"}, Stop.LENGTH),
        ({"stopReason": "maxTokens"}, Stop.LENGTH),
        ({"stop_type": "limit"}, Stop.LENGTH),
        ({"max_tokens": "length"}, Stop.STOP_TOKEN),
    ],
)
def test_only_the_file_can_say_that_a_text_was_cut(tmp_path, extra, stop):
    file = write(tmp_path / "x.jsonl", [{**GOLD[0], "completion": "0+1", **extra}])
    run = collect([str(file)]).tables.runs[0]
    assert run.generations[0].stop is stop
    assert run.outcomes["truncated" if stop is Stop.LENGTH else "no_answer"] == 1


NAMED = [{**row, "id": f"q{n}"} for n, row in enumerate(GOLD)]
NUMBERED = [{**row, "id": 100 + n} for n, row in enumerate(GOLD)]
IDS = [  # gold rows, what a file calls problem 3
    (GOLD, 3),
    (GOLD, "3"),
    (GOLD, problem_id(QUESTIONS[3])),
    (NAMED, "q3"),
    (NAMED, problem_id(QUESTIONS[3])),
    (NUMBERED, 103),
    (NUMBERED, "103"),
    ([{**row, "answer": n + 1} for n, row in enumerate(GOLD)], 3),
]


@pytest.mark.parametrize(("rows", "id"), IDS)
def test_what_an_id_may_be(tmp_path, rows, id):
    gold = write(tmp_path / "gold.jsonl", rows)
    file = write(tmp_path / "x.jsonl", [{"id": id, "completion": "#### 4"}])
    run = collect([str(file)], gold=gold, common=True).tables.runs[0]
    assert run.generations[0].question == QUESTIONS[3]
    assert run.scores["canonical"].correct == 1


def test_groups_say_which_problems_belong_together(tmp_path):
    rows = [{**row, "seed_question": f"s{n // 2}"} for n, row in enumerate(GOLD)]
    gold = write(tmp_path / "gold.jsonl", rows)
    file = write(tmp_path / "x.jsonl", plain(RIGHT))
    made = (
        collect([str(file)], gold=gold, way=Numbers(group_by="seed_question"))
        .tables.runs[0]
        .generations
    )
    assert [each.group for each in made[:4]] == ["s0", "s0", "s1", "s1"]
    stated = write(tmp_path / "y.jsonl", harness(RIGHT))
    with pytest.raises(DataError, match=r"y.jsonl:1: there is no 'seed_question'"):
        collect([str(stated)], way=Numbers(group_by="seed_question"))


TEXTS = st.dictionaries(
    st.integers(0, 11),
    st.one_of(
        st.sampled_from(["", "#### 3", "It is 4.", "<<2+1=3>>3\n#### 3", "#### 1,0", "####5"]),
        st.text(max_size=30),
    ),
    min_size=1,
)


@settings(max_examples=40)
@given(
    texts=TEXTS,
    order=st.randoms(use_true_random=False),
    layout=st.sampled_from([asked, own, harness]),
)
def test_order_and_layout_change_nothing(tmp_path_factory, texts, order, layout):
    folder = tmp_path_factory.mktemp("x")
    rows = layout(texts)
    order.shuffle(rows)
    shuffled = collect([str(write(folder / "x.jsonl", rows))]).tables.runs[0]
    straight = collect([str(write(folder / "y.jsonl", asked(texts)))]).tables.runs[0]
    assert shuffled.scores == straight.scores
    assert {each.problem_id: each.text for each in shuffled.generations} == {
        each.problem_id: each.text for each in straight.generations
    }
    assert sum(shuffled.outcomes.values()) == len(texts)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"THE REAL GSM8K IS NOT TESTED: there is no {REAL}")
def test_the_real_gold_file_scores_itself(tmp_path):
    lines = (REAL / "test.jsonl").read_text("utf-8").strip().split("\n")
    rows = [json.loads(line) for line in lines]
    texts = [{"id": n, "completion": row["answer"]} for n, row in enumerate(rows)]
    found = collect([str(write(tmp_path / "x.jsonl", texts))], gold=REAL / "test.jsonl")
    scores = found.tables.runs[0].scores
    assert [scores["canonical"].correct, scores["strict"].correct] == [1319, 1319]
    assert found.left_out[0].missing == found.left_out[0].unknown == 0
