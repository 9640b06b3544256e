"""Intervals against published examples, and contrasts against tables counted by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paribus.analysis import wording
from paribus.analysis.conditions import circumstances, differing_settings, shared_settings
from paribus.analysis.contrasts import Verdict, contrast
from paribus.analysis.examples import pick
from paribus.analysis.findings import analyse, payload
from paribus.analysis.intervals import Interval, mcnemar, paired_difference, wilson
from paribus.analysis.tables import load, loss_curve
from paribus.errors import StoreError
from paribus.records import Generation, Stop
from paribus.store import runs
from paribus.store.experiments import write_description
from paribus.store.layout import ExperimentFolder

TABLES = st.tuples(*[st.integers(0, 60)] * 4).filter(any)


# --- intervals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [
        (6, 100, 0.028, 0.125),
        (31, 100, 0.228, 0.406),
        (0, 100, 0.0, 0.037),
        (100, 100, 0.963, 1.0),
        (81, 263, 0.2553, 0.3662),  # Newcombe (1998), Statist. Med. 17: 857-872, table I, method 3
        (0, 1, 0.0, 0.7935),
    ],
)
def test_wilson(correct, n, low, high):
    found = wilson(correct, n)
    digits = 4 if len(str(low)) > 5 else 3
    assert (found.low, found.high) == (
        pytest.approx(low, abs=0.6 * 10**-digits),
        pytest.approx(high, abs=0.6 * 10**-digits),
    )


@pytest.mark.parametrize(
    ("both", "only_a", "only_b", "neither", "low", "high", "digits"),
    [
        # Newcombe (1998), Statist. Med. 17: 2635-2650, method 10.
        (20, 12, 2, 16, 0.0562, 0.3292, 4),
        # Altman et al. (2000), Statistics with Confidence, 2nd ed., p. 52, table 6.2.
        (14, 5, 0, 22, 0.011, 0.226, 3),
        # Fagerland, Lydersen, Laake (2014), Statist. Med. 33: 2850-2875, Bentur et al. data.
        (1, 1, 7, 12, -0.507, -0.026, 3),
    ],
)
def test_paired_difference_reproduces_published_examples(
    both, only_a, only_b, neither, low, high, digits
):
    found = paired_difference(both=both, only_a=only_a, only_b=only_b, neither=neither)
    assert (round(found.low, digits), round(found.high, digits)) == (low, high)


@given(TABLES)
def test_paired_difference_contains_the_estimate_and_stays_in_range(table):
    both, only_a, only_b, neither = table
    found = paired_difference(both=both, only_a=only_a, only_b=only_b, neither=neither)
    assert -1 <= found.low <= (only_a - only_b) / sum(table) <= found.high <= 1
    assert found.low < found.high


@given(TABLES)
def test_paired_difference_is_antisymmetric(table):
    both, only_a, only_b, neither = table
    one = paired_difference(both=both, only_a=only_a, only_b=only_b, neither=neither)
    other = paired_difference(both=both, only_a=only_b, only_b=only_a, neither=neither)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-12)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(7, 1, 0.0703125), (7, 0, 0.015625), (5, 5, 1.0), (1, 0, 1.0), (0, 0, None)],
)
def test_mcnemar(only_a, only_b, p):
    assert mcnemar(only_a=only_a, only_b=only_b) == (None if p is None else pytest.approx(p))


# --- a small store ---------------------------------------------------------------------------

RESULT = {
    "evaluation": {"protocol": "zero_shot", "problems": 10},
    "data": {"overlap": 0},
    "environment": {"torch": "2.13.0"},
}


def generation(number: int, text: str, stop: str = "answer") -> Generation:
    return Generation(
        problem_id=f"{number:016x}",
        question=f"Question {number}?",
        answer="7",
        prompt_sha256="0" * 64,
        text=text,
        num_tokens=5,
        stop=Stop(stop),
    )


def answers(solved: set[int], problems: range = range(10)) -> list[Generation]:
    return [generation(n, f"So.\n#### {7 if n in solved else 8}\n") for n in problems]


def describe(folder: ExperimentFolder, *, seeds: int = 1) -> None:
    """Arms `baseline`, `full`, `lora`; each tuned one against the baseline, then one another."""
    arms = [("baseline", "none"), ("full", "full"), ("lora", "lora")]
    description: dict[str, Any] = {
        "format": 1,
        "config": {"name": "small", "question": "Which?", "hypothesis": "", "seeds": seeds},
        "origins": {"name": "x.yaml:1"},
        "arms": [
            {
                "name": name,
                "factors": {} if method == "none" else {"method": method},
                "identity": {"method": method, "model": "tiny", "seed": 0},
            }
            for name, method in arms
        ],
        "contrasts": [
            {"a": "full", "b": "baseline", "factor": "tuning"},
            {"a": "lora", "b": "baseline", "factor": "tuning"},
            {"a": "full", "b": "lora", "factor": "method"},
        ],
    }
    write_description(folder, description)


def finish(folder: ExperimentFolder, arm: str, generations: list[Generation], seed: int = 0):
    run = folder.run(arm, seed)
    runs.begin(run, {"fingerprint": "f"})
    runs.write_generations(run, "zero_shot", generations)
    evaluation = {"protocol": "zero_shot", "problems": len(generations)}
    runs.finish(run, RESULT | {"training": None, "evaluation": evaluation})


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    """baseline solves {0}; full {0..7}; lora {0, 8}."""
    made = ExperimentFolder(tmp_path / "small")
    describe(made)
    finish(made, "baseline", answers({0}))
    finish(made, "full", answers(set(range(8))))
    finish(made, "lora", answers({0, 8}))
    return made


# --- tables ----------------------------------------------------------------------------------


def test_scores_and_outcomes_are_counted_by_hand(tmp_path):
    made = ExperimentFolder(tmp_path)
    describe(made)
    texts = [
        ("#### 7\n", "answer"),
        ("#### $7.00\n", "answer"),  # canonical only: lm-eval's rules refuse $ and .00
        ("it is 7", "stop_token"),  # flexible only
        ("#### 8\n", "answer"),
        ("no idea", "stop_token"),
        ("on and on", "length"),
        ("", "failed"),
    ]
    finish(made, "baseline", [generation(n, *each) for n, each in enumerate(texts)])
    run = load(made).run("baseline", 0)
    assert run is not None
    assert {name: score.correct for name, score in run.scores.items()} == {
        "canonical": 2,
        "strict": 1,
        "flexible": 2,
    }
    assert run.scores["canonical"].accuracy == pytest.approx(2 / 7)
    assert run.outcomes == {
        "correct": 2,
        "wrong": 1,
        "no_answer": 2,
        "truncated": 1,
        "failed": 1,
    }
    assert [(each.kind, each.outcome) for each in pick(run)] == [
        ("wrong", "wrong"),
        ("correct", "correct"),
        ("without an answer", "no_answer"),
    ]


def test_contrasts_are_counted_by_hand(folder):
    of_method = contrast(load(folder), "full", "lora", "method", seed=0)
    assert (of_method.both, of_method.only_a, of_method.only_b, of_method.neither) == (1, 7, 1, 1)
    assert of_method.n == 10
    assert of_method.difference == pytest.approx(0.6)
    assert of_method.p_value == pytest.approx(0.0703125)
    assert of_method.verdict is Verdict.NOT_SHOWN
    assert wording.verdict(of_method).startswith("Not shown: the difference may be ")

    of_tuning = contrast(load(folder), "full", "baseline", "tuning", seed=0)
    assert of_tuning.p_value == pytest.approx(0.015625)
    assert of_tuning.verdict is Verdict.SUPPORTED
    assert wording.verdict(of_tuning) == (
        "Of these two models, full is better than baseline on these 10 problems: it solves 7 more."
    )
    reverse = contrast(load(folder), "baseline", "full", "tuning", seed=0)
    assert reverse.verdict is Verdict.REFUTED
    assert wording.verdict(reverse) == wording.verdict(of_tuning)


def test_no_discordant_pairs_is_no_test(tmp_path):
    made = ExperimentFolder(tmp_path)
    describe(made)
    finish(made, "full", answers({1, 2}))
    finish(made, "lora", answers({1, 2}))
    found = contrast(load(made), "full", "lora", "method", seed=0)
    assert (found.p_value, found.difference, found.verdict) == (None, 0.0, Verdict.NOT_SHOWN)
    assert found.interval is not None
    assert found.interval.low < 0 < found.interval.high
    assert "no test" in wording.verdict(found)


def test_different_problem_sets_are_compared_on_what_they_share(tmp_path):
    made = ExperimentFolder(tmp_path)
    describe(made)
    finish(made, "full", answers({3}, range(0, 8)))
    finish(made, "lora", answers({4}, range(2, 10)))
    found = contrast(load(made), "full", "lora", "method", seed=0)
    assert (found.n, found.left_out) == (6, 4)
    assert "compared on the 6 they share, 4 left out" in wording.verdict(found)


def test_a_question_asked_twice_is_two_problems(tmp_path):
    made = ExperimentFolder(tmp_path)
    describe(made)
    finish(made, "full", answers({0}) + answers({0}))
    finish(made, "lora", answers({0}) + answers(set()))
    found = contrast(load(made), "full", "lora", "method", seed=0)
    assert (found.n, found.only_a, found.only_b) == (20, 1, 0)


@pytest.mark.parametrize(("solved", "correct"), [(set(), 0), (set(range(10)), 10)])
def test_all_wrong_and_all_right(tmp_path, solved, correct):
    made = ExperimentFolder(tmp_path)
    describe(made)
    for arm in ("baseline", "full", "lora"):
        finish(made, arm, answers(solved))
    found = payload(analyse(made))
    assert [arm["scores"]["canonical"]["correct"] for arm in found["arms"]] == [correct] * 3
    assert all(each["p_value"] is None for each in found["contrasts"])
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("problems", [0, 1])
def test_one_problem_or_none(tmp_path, problems):
    made = ExperimentFolder(tmp_path)
    describe(made)
    for arm in ("baseline", "full", "lora"):
        finish(made, arm, answers({0}, range(problems)))
    found = payload(analyse(made))
    accuracies = [arm["scores"]["canonical"]["accuracy"] for arm in found["arms"]]
    assert accuracies == ([1.0] * 3 if problems else [None] * 3)
    json.dumps(found, allow_nan=False)


def test_what_is_missing_is_said_and_never_scored(folder):
    describe(folder, seeds=3)
    runs.begin(folder.run("full", 1), {"fingerprint": "f"})
    runs.begin(folder.run("lora", 1), {"fingerprint": "f"})
    runs.fail(folder.run("lora", 1), "OutOfMemory: 8 GiB wanted\nsecond line", "traceback")
    finish(folder, "lora", answers({0}), seed=2)
    path = folder.run("lora", 2).generations("zero_shot")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))
    analysis = analyse(folder)
    missing = analysis.tables.missing
    assert missing[:3] == [
        "full, seed 1: unfinished: it is still running, or was stopped.",
        "full, seed 2: not run.",
        "lora, seed 1: failed: OutOfMemory: 8 GiB wanted",
    ]
    assert missing[3].startswith("lora, seed 2: damaged: ")
    assert "holds 4 generations, the result speaks of 10" in missing[3]
    found = payload(analysis)
    states = {(arm["name"], arm["seed"]): arm["state"] for arm in found["arms"]}
    assert states["full", 2] == "not run"
    assert states["lora", 2] == "damaged"
    uncompared = [each for each in found["contrasts"] if each["n"] == 0]
    assert len(uncompared) == 6
    assert {each["difference"] for each in uncompared} == {None}
    assert analysis.answer[-1] == "6 of 9 comparisons could not be made: runs are missing."


def test_nothing_was_run(tmp_path):
    made = ExperimentFolder(tmp_path)
    describe(made)
    analysis = analyse(made)
    assert analysis.answer == ["No two arms could be compared."]
    assert len(analysis.tables.missing) == 3


def test_no_description_is_a_store_error(tmp_path):
    with pytest.raises(StoreError):
        load(ExperimentFolder(tmp_path))


def test_seeds_are_compared_one_by_one_and_averaged(folder):
    describe(folder, seeds=2)
    finish(folder, "full", answers({0, 1}), seed=1)
    finish(folder, "lora", answers({0}), seed=1)
    analysis = analyse(folder)
    of_tuning = [each for each in analysis.contrasts if (each.a, each.b) == ("full", "baseline")]
    assert [(each.seed, each.difference) for each in of_tuning] == [
        (0, pytest.approx(0.7)),
        (1, pytest.approx(0.1)),  # against the baseline's only run
    ]
    mean = next(each for each in analysis.means if each.a == "full" and each.factor == "tuning")
    assert (mean.seeds, mean.mean) == (2, pytest.approx(0.4))
    assert (mean.smallest, mean.largest) == (pytest.approx(0.1), pytest.approx(0.7))
    assert analysis.answer[:2] == [
        "For full (50 %) only some seeds show a difference from the untuned model (10 %).",
        "For lora (15 %) a difference from the untuned model (10 %) is not shown.",
    ]


def test_the_answer_names_what_is_shown_and_what_is_not(folder):
    assert analyse(folder).answer == [
        "full (80 %) solves more of the 10 test problems than the untuned model (10 %).",
        "For lora (20 %) a difference from the untuned model (10 %) is not shown.",
        "For method: a difference is not shown between full and lora (+60 points, "
        + wording.points_range(contrast(load(folder), "full", "lora", "method", seed=0).interval)
        + ").",
    ]


def test_the_answer_when_all_arms_gain(tmp_path):
    made = ExperimentFolder(tmp_path / "gain")
    describe(made)
    finish(made, "baseline", answers(set()))
    finish(made, "full", answers(set(range(9))))
    finish(made, "lora", answers(set(range(8))))
    assert analyse(made).answer[0] == (
        "All 2 tuned arms solve more of the 10 test problems than the untuned model (0 %): "
        "full (90 %) and lora (80 %)."
    )


def test_loss_curve_averages_blocks_by_target_tokens():
    events = [{"step": n, "loss": float(n % 2), "target_tokens": 1 + n % 2} for n in range(160)]
    curve = loss_curve(events)
    assert len(curve) == 80
    assert (curve[0].step, curve[0].loss) == (1, pytest.approx(2 / 3))
    assert [point.step for point in loss_curve(events[:3])] == [0, 1, 2]
    assert loss_curve([{"step": 1, "loss": None}]) == ()


# --- conditions and wording ------------------------------------------------------------------


def test_settings_and_circumstances(folder):
    tables = load(folder)
    assert differing_settings(tables) == {
        "method": {"baseline": "none", "full": "full", "lora": "lora"}
    }
    assert shared_settings(tables) == {"model": "tiny", "seed": "0"}
    assert circumstances(tables)["torch"] == {"2.13.0": ["baseline", "full", "lora"]}


def test_wording():
    assert [wording.percent(share) for share in (0.31, 0.3085, 0.0, None)] == [
        "31 %",
        "30.9 %",
        "0 %",
        "–",
    ]
    assert [wording.points(each) for each in (0.09, -0.052, 0.0, -0.00001, 0.01)] == [
        "+9 points",
        "−5.2 points",
        "0 points",
        "0 points",
        "+1 point",
    ]
    assert wording.points_range(Interval(-0.05, 0.11)) == "−5.0 to +11.0"
    assert [wording.p_value(p) for p in (0.0213, 0.00004, None)] == ["0.021", "< 0.001", "no test"]
