"""Which conclusions change when the same texts are judged differently, or the models asked so."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from by_hand import result, run, tables
from paribus.analysis.contrasts import Contrast
from paribus.analysis.family import judged
from paribus.analysis.findings import conclude
from paribus.analysis.reading import read_experiment
from paribus.analysis.robustness import Shift, read_labels, shifts, variations
from paribus.analysis.tables import Tables
from paribus.errors import DataError
from paribus.records import problem_id
from paribus.statistics.crossed import components, estimate
from paribus.statistics.verdicts import Verdict
from paribus.store.layout import ExperimentFolder
from stores import answers, describe, finish

PAIR = [("full", "lora")]
UP, DOWN, FLAT = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.NOT_SHOWN


def changed(made: Tables) -> list[tuple[str, str, Verdict, Verdict, bool]]:
    return [
        (each.by, each.under, each.before.verdict, each.after.verdict, each.reversed)
        for each in shifts(made, judged(made).contrasts, variations(made))
        if each.other
    ]


@pytest.mark.parametrize(
    ("full", "lora", "flexible"),
    [
        ("1" * 10, "0" * 10, []),
        # Right without the format: the difference was one of format.
        ("1" * 10, "f" * 10, [(UP, FLAT, False)]),
        # Shown only if format does not count.
        ("f" * 10, "0" * 10, [(FLAT, UP, False)]),
        # 8 against 0 by format, 8 against 20 without: the other one is better.
        ("1" * 8 + "0" * 12, "f" * 20, [(UP, DOWN, True)]),
    ],
)
def test_under_the_flexible_scorer(full, lora, flexible):
    made = tables({"full": [full], "lora": [lora]}, PAIR)
    assert changed(made) == [("scorer", "flexible", *each) for each in flexible]


def test_every_other_scorer_is_tried_over_the_same_texts():
    made = tables({"full": ["1f0"], "lora": ["000"]}, PAIR)
    found = variations(made)
    assert [(each.by, each.under) for each in found] == [
        ("scorer", "strict"),
        ("scorer", "flexible"),
    ]
    assert [each.contrasts[0].only_a for each in found] == [1, 2]
    for each in found:
        assert [run.generations for run in each.tables.runs] == [
            run.generations for run in made.runs
        ]


def test_a_variation_is_corrected_for_the_whole_family():
    """Six discordant problems: p = 1/32, shown alone and not among two comparisons."""
    rows = {"full": ["f" * 6], "lora": ["0" * 6], "gone": [None]}
    (_, alone) = variations(tables(rows, PAIR))
    assert alone.contrasts[0].verdict is UP
    (_, two) = variations(tables(rows, [*PAIR, ("full", "gone")]))
    assert two.contrasts[0].p_value == alone.contrasts[0].p_value
    assert two.contrasts[0].p_holm == pytest.approx(2 / 32)
    assert [each.verdict for each in two.contrasts] == [FLAT, FLAT]
    assert two.contrasts[1].n == 0


ZERO, FEW = "zero_shot/raw", "few_shot/chat"


def asked(rows: dict[str, dict[str, str]], mains: dict[str, str] | None = None) -> Tables:
    """Runs tested under several protocols; the first of each is its main one, if not stated."""
    mains = {arm: next(iter(marks)) for arm, marks in rows.items()} | (mains or {})
    made = tables({arm: [marks[mains[arm]]] for arm, marks in rows.items()}, PAIR)
    return replace(
        made,
        runs=tuple(
            replace(
                each,
                result=result(mains[each.arm]),
                also={
                    name: run(each.arm, 0, marks).generations
                    for name, marks in rows[each.arm].items()
                    if name != mains[each.arm]
                },
            )
            for each in made.runs
        ),
    )


ON, OFF = "1" * 10, "0" * 10


@pytest.mark.parametrize(
    ("rows", "tried", "expected"),
    [
        # A further protocol that both have; under it nothing is shown any more.
        (
            {"full": {ZERO: ON, FEW: ON}, "lora": {ZERO: OFF, FEW: ON}},
            [FEW],
            [("protocol", FEW, UP, FLAT, False)],
        ),
        (
            {"full": {ZERO: ON, FEW: OFF}, "lora": {ZERO: OFF, FEW: ON}},
            [FEW],
            [("protocol", FEW, UP, DOWN, True)],
        ),
        ({"full": {ZERO: ON, FEW: ON}, "lora": {ZERO: OFF, FEW: OFF}}, [FEW], []),
        # Not under one that an arm lacks.
        ({"full": {ZERO: ON, FEW: ON}, "lora": {ZERO: OFF}}, [], []),
        # Of different main protocols each is a variation: both arms asked alike.
        (
            {"full": {ZERO: ON, FEW: ON}, "lora": {FEW: OFF, ZERO: ON}},
            [ZERO, FEW],
            [("protocol", ZERO, UP, FLAT, False)],
        ),
    ],
)
def test_under_another_protocol(rows, tried, expected):
    made = asked(rows)
    assert [each.under for each in variations(made) if each.by == "protocol"] == tried
    assert changed(made) == expected


def lenient(full: list[str], lora: list[str]):
    """What becomes of full − lora when any last number counts, and the finding on scorers."""
    found = conclude(tables({"full": full, "lora": lora}, PAIR))
    (shift,) = [each for each in found.shifts if each.under == "flexible"]
    (finding,) = [each for each in found.findings if each.kind == "scorer"]
    return shift, finding


def test_a_change_is_counted_problem_by_problem():
    """Of full 3 more of ten count, of lora 5 more: the difference is lower by 2 of ten."""
    shift, _ = lenient(["fff1100000"], ["00000fffff"])
    assert (shift.n, shift.change) == (10, pytest.approx(-0.2))
    same, _ = lenient(["fff1100000"] * 3, ["00000fffff"] * 3)
    assert same.change == pytest.approx(-0.2)
    assert shift.interval.low < -0.2 < shift.interval.high


MANY = 400
NOTHING = Contrast(a="full", b="lora", factor="method")


@pytest.mark.parametrize(
    ("full", "lora", "verdicts", "shown", "finding", "said"),
    [
        # The whole difference is one of format.
        ("1" * 40, "f" * 40, (UP, FLAT), True, DOWN, "no longer shown (0 points, "),
        (
            "1" * 30 + "0" * 60,
            "f" * 90,
            (UP, DOWN),
            True,
            DOWN,
            "the order of full and lora is reversed (−66.7 points, ",
        ),
        # One problem turns the verdict, which says nothing of a difference: p 0.031 and 0.070.
        (
            "1" * 6 + "0" * 34,
            "0" * 6 + "f" + "0" * 33,
            (UP, FLAT),
            False,
            FLAT,
            "That may be chance: it is not shown to be another (",
        ),
        # The same verdict, and a difference that is shown to be half as large.
        ("1" * 80 + "0" * 20, "f" * 40 + "0" * 60, (UP, UP), True, FLAT, "not the same difference"),
        # The same verdict, and next to nothing known.
        (
            "1" * 12,
            "0" * 12,
            (UP, UP),
            False,
            FLAT,
            "How large a difference is may change by up to",
        ),
        ("0" * 12, "0" * 12, (FLAT, FLAT), False, FLAT, "How large a difference is may change"),
        # The same within two points: shown on many problems, also where nothing else is.
        ("1" * MANY, "0" * MANY, (UP, UP), False, UP, "difference is the same within 2 points."),
        ("10" * (MANY // 2), "01" * (MANY // 2), (FLAT, FLAT), False, UP, "same within 2 points."),
    ],
)
def test_what_two_verdicts_say_of_a_change(full, lora, verdicts, shown, finding, said):
    shift, found = lenient([full], [lora])
    assert (shift.before.verdict, shift.after.verdict) == verdicts
    assert shift.shown == shown
    assert found.verdict is finding
    assert said in found.sentence


def test_two_seeds_say_nothing_of_a_change():
    shift, found = lenient(["1" * 20] * 2, ["f" * 20] * 2)
    assert (shift.interval, shift.same, shift.shown) == (None, False, False)
    assert found.verdict is FLAT
    assert "is not known: 2 seeds are too few" in found.sentence


@pytest.mark.parametrize(
    ("prose", "shown", "same"),
    [
        # A tenth of either arm's answers in prose: nothing changes, and 400 problems show no more.
        ((0.1, 0.1), (0, 0.065), (0, 0.2)),
        # The difference grows by just 2 points: seldom called the same.
        ((0.021, 0.001), (0.5, 1), (0, 0.05)),
        ((0.001, 0.001), (0, 0.05), (0.9, 1)),
    ],
)
def test_how_often_a_change_is_shown_or_called_none(prose, shown, same):
    """Of 1000 experiments on 400 problems; an answer in prose counts under one scorer only.

    6.5 % is 5 % and what so many experiments may miss it by: twice the standard error.
    """
    random = np.random.default_rng(16)
    made = Shift(by="scorer", under="flexible", before=NOTHING, after=NOTHING, n=400, change=0.0)
    found = []
    for draw in random.random((1000, 2, 400)):
        moved = [components((row < share)[None, :]) for row, share in zip(draw, prose, strict=True)]
        change = estimate([(1.0, moved[0]), (-1.0, moved[1])])
        one = replace(made, change=change.value, interval=change.interval, p_holm=change.p_value)
        found.append((one.shown, one.same))
    for share, (least, most) in zip(np.mean(found, axis=0), (shown, same), strict=True):
        assert least <= share <= most


def label_file(folder: Path, rows: list[dict]) -> Path:
    path = folder / "platinum.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def labelled(folder: Path, labels: dict[int, str]) -> ExperimentFolder:
    """A store on ten problems, with corrected answers of those in `labels`.

    baseline writes 8 throughout, full 7 on {0..7}, lora 7 on {0, 8}. The file's answer is 7.
    """
    rows = [
        {"question": f" Question\n{number}? ", "answer": f"So.\n#### {answer}"}
        for number, answer in labels.items()
    ]
    made = ExperimentFolder(folder / "store")
    describe(made, labels=str(label_file(folder, rows)))
    for arm, solved in (("baseline", set()), ("full", set(range(8))), ("lora", {0, 8})):
        written = [replace(each, problem_id=problem_id(each.question)) for each in answers(solved)]
        finish(made, arm, written)
    return made


def test_corrected_labels_change_answers_and_drop_problems(tmp_path):
    """Two answers become 8 and three problems are left out: full solves 3 of 7, not 8 of 10."""
    labels = dict.fromkeys((0, 1, 2, 8, 9), "7") | {3: "8", 4: "8.00"}
    found = conclude(read_experiment(labelled(tmp_path, labels)))
    varied = found.variations[-1]
    assert varied.by == "labels"
    assert varied.under == "platinum.jsonl (7 of 10 problems, 2 with another answer)"
    figures = [(each.n, each.only_a, each.only_b) for each in varied.contrasts]
    assert figures == [(7, 3, 2), (7, 2, 0), (7, 2, 3)]
    assert [each.n for each in found.contrasts] == [10, 10, 10]
    (change,) = [each for each in found.shifts if each.by == "labels" and each.other]
    assert (change.before.a, change.before.b) == ("full", "baseline")
    assert (change.before.verdict, change.after.verdict) == (UP, FLAT)
    # On seven problems it is not shown that the difference is another one.
    assert (change.n, change.change, change.shown) == (7, pytest.approx(-4 / 7), False)
    finding = found.findings[-1]
    assert (finding.kind, finding.verdict) == ("labels", FLAT)
    assert finding.sentence.startswith(
        "Under platinum.jsonl (7 of 10 problems, 2 with another answer) a difference between full "
        "and baseline is no longer shown (+14.3 "
    )
    # What was read from the store is as it was.
    assert {each.answer for run in found.tables.runs for each in run.generations} == {"7"}


def test_the_same_labels_change_nothing(tmp_path):
    found = conclude(read_experiment(labelled(tmp_path, dict.fromkeys(range(10), "7"))))
    finding = found.findings[-1]
    # Nothing changes here, and ten problems say little of others.
    assert (finding.kind, finding.verdict) == ("labels", FLAT)
    under = "platinum.jsonl (10 of 10 problems, 0 with another answer)"
    assert finding.sentence.startswith(
        f"Each comparison has the same verdict under {under}. How large a difference is may change "
        "by up to "
    )
    assert finding.evidence["tried"] == [under]
    assert finding.evidence["changed"] == []
    assert [each["change"] for each in finding.evidence["differences"]] == [0, 0, 0]


def test_labels_of_other_problems_conclude_nothing(tmp_path):
    """Not "no conclusion changes": none was drawn."""
    found = conclude(read_experiment(labelled(tmp_path, {77: "7"})))
    assert [each.n for each in found.variations[-1].contrasts] == [0, 0, 0]
    assert "labels" not in {each.kind for each in found.findings}


def test_nothing_run_concludes_nothing():
    made = conclude(tables({"full": [None], "lora": ["10"]}, PAIR))
    assert made.findings == []
    assert conclude(tables({"full": ["11"], "lora": ["10"]})).findings == []


def test_labels_by_problem(tmp_path):
    rows = [
        {"question": "How  many?", "answer": "6+1=<<6+1=7>>7\n#### 1,007"},
        {"question": "And now?", "answer": 3.50},
    ]
    assert read_labels(label_file(tmp_path, rows)) == {
        problem_id("How many?"): "1007",
        problem_id("And now?"): "3.5",
    }


GOOD = {"question": "How many?", "answer": "#### 7"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps(GOOD) + "\n{", "platinum.jsonl:2: not JSON"),
        (json.dumps(GOOD) + "\n\n[7]", "platinum.jsonl:3: not an object"),
        (json.dumps({"answer": "#### 7"}), "platinum.jsonl:1: there is no 'question'"),
        (json.dumps({"question": "Q?"}), "platinum.jsonl:1: no gold 'answer'"),
        (json.dumps(GOOD | {"answer": "many"}), "platinum.jsonl:1: 'answer' is 'many'"),
        (json.dumps(GOOD | {"answer": "NaN"}), "platinum.jsonl:1: 'answer' is 'NaN'"),
        (
            json.dumps(GOOD) + "\n" + json.dumps(GOOD | {"answer": "8"}),
            "platinum.jsonl:2 says '8' to 'How many?'",
        ),
        ("", "platinum.jsonl holds no problem"),
        (None, "platinum.jsonl cannot be read"),
    ],
)
def test_a_malformed_label_file_names_its_line(tmp_path, text, said):
    path = tmp_path / "platinum.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_labels(path)
    assert said in caught.value.message
    assert caught.value.remedy
