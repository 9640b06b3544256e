"""What went wrong, as tables and a figure: counted by hand."""

import pytest

from in_memory import GOLD, ONE_STEP, generation, run, tables
from paribus.analysis.tables import Run, with_generations
from paribus.report import mistakes
from paribus.store.runs import RunState


def test_signals_are_rows_and_arms_columns():
    found = mistakes.section(
        tables(
            run("baseline", "I do not know", "#### 3", GOLD),
            run("full", GOLD, GOLD, "2*3=<<2*3=6>>6\n#### 6"),
            run("full", "#### 3", seed=1),
        )
    )
    assert found is not None
    assert found.signals.headings == ["", "baseline", "full"]
    assert found.signals.rows == [  # Clopper and Pearson, 0, 1 and 2 of 3
        ["solved", "1 of 3: 33.3 %\n[0.8 to 90.6]", "2 of 3: 66.7 %\n[9.4 to 99.2]"],
        ["no final answer", "1: 33.3 %\n[0.8 to 90.6]", "0: 0 %\n[0.0 to 70.8]"],
        ["nothing is computed", "1: 33.3 %\n[0.8 to 90.6]", "0: 0 %\n[0.0 to 70.8]"],
        ["stopped early", "0: 0 %\n[0.0 to 70.8]", "1: 33.3 %\n[0.8 to 90.6]"],
    ]
    ((title, table),) = found.other_seeds
    assert (title, table.headings) == ("Seed 1", ["", "full"])
    assert table.rows[1] == ["nothing is computed", "1: 100 %\n[2.5 to 100.0]"]


def test_steps_of_gold_and_steps_right():
    short = run("full", ONE_STEP, "#### 3", solution=ONE_STEP)
    long = [generation(n, GOLD) for n in (2, 3)]
    found = mistakes.section(
        tables(with_generations(short, [*short.generations, *long]), run("lora", "#### 3"))
    )
    assert found is not None
    assert found.steps.rows == [
        ["1", "1 of 2: 50 %\n[1.3 to 98.7]", "–"],
        ["2", "2 of 2: 100 %\n[15.8 to 100.0]", "0 of 1: 0 %\n[0.0 to 97.5]"],
    ]
    assert [row[:1] + row[2:] for row in found.step_accuracy.rows] == [["full", "4"], ["lora", "1"]]
    assert found.step_accuracy.rows[0][1].startswith("75 % [")
    assert found.steps_figure is not None
    for said in ("full 1: 50 %, 2: 100 %", "lora 2: 0 %", ">steps of the gold solution<"):
        assert said in found.steps_figure.svg


@pytest.mark.parametrize("solution", ["", "no annotation\n#### 7"])
def test_gold_solutions_that_are_not_known(solution):
    found = mistakes.section(tables(run("full", "#### 3", solution=solution)))
    assert found is not None
    assert (found.steps.rows, found.steps_figure, found.step_accuracy.rows) == ([], None, [])


def test_nothing_was_generated():
    assert mistakes.section(tables(run("full"))) is None
    assert mistakes.section(tables(Run(arm="full", seed=0, state=RunState.MISSING))) is None
