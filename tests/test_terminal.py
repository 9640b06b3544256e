"""The findings in the terminal, and how figures are spelled there and on the page."""

import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from finished import complete, describe, finish
from paribus.files import read_json
from paribus.report.page import write_report
from paribus.report.terminal import summary_table
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


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    made = ExperimentFolder(tmp_path / "small")
    describe(made)
    return made


def test_terminal_table_of_runs(folder):
    finish(folder, "full-main", 8)
    finish(folder, "baseline", 1)
    shown = terminal(folder)
    assert "8 of 10" in shown
    assert "80 % [44.4 to 97.5]" in shown
    assert "A better" in shown
    assert "not run" in shown
    assert "not compared" in shown


def test_terminal_table_over_seeds(folder):
    describe(folder, seeds=3)
    complete(folder)
    for seed in (1, 2):
        finish(folder, "full-main", 7, seed=seed)
    shown = terminal(folder)
    assert re.search(r"full-main +3 +73\.3 % \[", shown)
    assert re.search(r"lora-main +1 of 3 +60 % \[26\.2 to 87\.8\] +–", shown)


def terminal(folder: ExperimentFolder) -> str:
    """What the terminal shows of the folder's findings, which must fit 80 columns."""
    write_report(folder)
    console = Console(width=80, record=True, file=StringIO())
    console.print(summary_table(read_json(folder.findings)))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= 80
    return shown


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
