"""The findings in the terminal, and how figures are spelled there and on the page."""

import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from by_hand import tables
from paribus.analysis.findings import conclude, payload
from paribus.files import read_json
from paribus.report.page import write_report
from paribus.report.terminal import remarks, summary_table
from paribus.report.units import (
    accuracy_cell,
    count,
    duration,
    gb,
    nats,
    points_cell,
    rate,
    rounded,
    signed_nats,
)
from paribus.store.layout import ExperimentFolder
from stores import complete, describe_trained, finish_trained


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    made = ExperimentFolder(tmp_path / "small")
    describe_trained(made)
    return made


def test_terminal_table_of_runs(folder):
    finish_trained(folder, "full-main", 8)
    finish_trained(folder, "baseline", 1)
    shown = terminal(folder)
    assert "8 of 10" in shown
    assert "80 % [44.4 to 97.5]" in shown
    assert "A better" in shown
    assert "not run" in shown
    assert "not compared" in shown


def test_terminal_table_over_seeds(folder):
    describe_trained(folder, seeds=3)
    complete(folder)
    for seed in (1, 2):
        finish_trained(folder, "full-main", 7, seed=seed)
    shown = terminal(folder)
    assert re.search(r"full-main +3 +73\.3 % \[", shown)
    assert re.search(r"lora-main +1 of 3 +60 % \[26\.2 to 87\.8\] +–", shown)
    seen = re.search(r"A better|not shown", shown)
    assert seen
    assert re.search(r" \[\d+\.\d (to \d+\.\d|or more)\] ", shown[seen.start() :])
    assert "few seeds give a poor" in shown


def terminal(folder: ExperimentFolder) -> str:
    """What the terminal shows of the folder's findings, which must fit 80 columns."""
    write_report(folder)
    console = Console(width=80, record=True, file=StringIO())
    console.print(summary_table(read_json(folder.findings)))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= 80
    return shown


def remarked(rows, pairs=(("full", "lora"),), **more) -> list[str]:
    """What the terminal says below the table of such an experiment."""
    found = payload(conclude(tables(rows, pairs, **more)))
    return [each.plain for each in remarks(found)]


ON, OFF = "1" * 20, "0" * 20
MODELS = "Verdicts are of these trained models (one seed)."
METHODS = "Verdicts are of the methods, over their seeds."


@pytest.mark.parametrize(
    ("rows", "more", "said"),
    [
        ({"full": [ON], "lora": [OFF]}, {}, [MODELS]),
        ({"full": [ON] * 3, "lora": [OFF] * 3}, {}, [METHODS]),
        (
            {"full": [ON] * 2, "lora": [OFF] * 2},
            {},
            ["full − lora: no verdict: 2 seeds are too few to say how much the seed matters"],
        ),
        (
            {"full": [ON], "lora": [OFF]},
            {"groups": "aabbccddeeffgghhiiii"},
            ["full − lora: no verdict: 9 groups of problems are too few, under 10"],
        ),
        ({"full": [ON], "lora": [None]}, {}, ["full − lora: there are no results of both arms"]),
        (
            {"full": [ON], "lora": [ON]},
            {},
            ["full − lora: no test of a difference: both solve the very same problems"],
        ),
        (
            {"full": ["1" * 14 + "0" * 6], "lora": ["c" * 10 + "1" * 4 + "0" * 6]},
            {},
            [
                MODELS,
                "full − lora: cut by the token limit: 0 % of the texts of full, 50 % of lora",
                "full − lora: among the 10 of 20 problems that both answered: 0 points [",
            ],
        ),
        (
            {"full": [ON], "lora": ["n" * 20]},
            {},
            [
                MODELS,
                "full − lora: without a final answer: 0 % of the texts of full, 100 % of lora",
                "full − lora: no problem was answered by both",
                "warning: lora: 20 of 20 texts hold no final answer",
            ],
        ),
    ],
)
def test_what_stands_below_the_table(rows, more, said):
    found = remarked(rows, **more)
    assert len(found) == len(said), found
    for line, expected in zip(found, said, strict=True):
        assert line.startswith(expected)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"untuned": [OFF], "lora": [ON]}, "Verdicts are of these models (one seed)."),
        ({"full": [OFF], "lora": [ON]}, MODELS),
        ({"untuned": [OFF], "lora": [ON] * 3}, METHODS),
    ],
)
def test_nothing_untuned_is_called_trained(rows, said):
    a, b = rows
    assert remarked(rows, [(b, a)])[0] == said


def test_scopes_of_several_comparisons_are_one_sentence():
    made = tables({"untuned": [OFF], "full": [ON], "lora": ["1" * 10 + "0" * 10] * 3},
                  [("full", "untuned"), ("lora", "untuned"), ("full", "lora")])  # fmt: skip
    averaged = replace(made, repeats=frozenset({"lora"}))
    said = [remarks(payload(conclude(each)))[0].plain for each in (made, averaged)]
    assert said == [
        "Verdicts are of the methods, over their seeds or of these models (one seed).",
        "Verdicts are of these models as they are, not of their methods.",
    ]


def test_a_margin_and_a_missing_test_agree():
    """Equivalent, and no test of a difference: table, remark and sentence say the same."""
    made = tables({"full": ["1" * 400], "lora": ["1" * 400]}, [("full", "lora")])
    found = payload(conclude(replace(made, margins={("full", "lora"): 0.02})))
    assert found["contrasts"][0]["sentence"].startswith("No test of a difference: both solve")
    assert found["contrasts"][0]["sentence"].endswith("Equivalent within 2 points.")
    assert "no verdict" not in " ".join(each.plain for each in remarks(found))


def test_an_interval_that_leaves_out_0_where_the_family_shows_nothing():
    """Six problems to none: 0.031 alone, 0.094 among three comparisons."""
    rows = {"full": ["1" * 6 + OFF], "lora": ["0" * 6 + OFF], "third": ["0" * 6 + OFF]}
    pairs = [("full", "lora"), ("full", "third"), ("lora", "third")]
    assert remarked(rows, pairs) == [
        MODELS,
        "full − lora, full − third: the interval leaves out 0, the test, corrected for "
        "all comparisons, does not",
        "lora − third: no test of a difference: both solve the very same problems",
    ]


def test_what_holds_for_many_comparisons_is_said_once():
    names = "abcde"
    pairs = [(a, b) for a in names for b in names if a < b]
    assert remarked({name: [ON] for name in names}, pairs) == [
        "a − b, a − c, a − d and 7 more: no test of a difference: both solve the very same problems"
    ]


def test_units():
    assert [duration(each) for each in (None, 0.25, 61.2, 7384, 45)] == [
        "–",
        "0.2 s",
        "1 min 1 s",
        "2 h 3 min",
        "45 s",
    ]
    assert (count(1319), rounded(150.2), rounded(2.134), gb(10**9)) == (
        "1,319",
        "150",
        "2.13",
        "1",
    )


def test_units_of_sections():
    rates = (None, 2e-5, 1e-3, 0.00025, 1.0)
    assert [rate(each) for each in rates] == ["–", "2e-5", "1e-3", "2.5e-4", "1e0"]
    assert [nats(each) for each in (None, 0.6123, 64.07)] == ["–", "0.612", "64.1"]
    assert [signed_nats(each) for each in (2.06, -40.02, 0.0)] == ["+2.060", "−40.0", "0.000"]
    assert (accuracy_cell(0.5, None), points_cell(-0.05, None), points_cell(None, None)) == (
        "50 %",
        "−5",
        "–",
    )
