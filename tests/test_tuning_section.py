"""How learning rates were found: warnings, trials and curves on the page."""

import pytest

from in_memory import GOLD, run, tables, trial
from paribus.report import tuning
from paribus.store.experiments import ArmTuning

GRID = [trial(1e-5, 1.2), trial(2e-5, 0.9), trial(5e-5, 1.1)]


@pytest.mark.parametrize(
    ("chosen", "edge", "warnings"),
    [
        (2e-5, None, []),
        (1e-5, "low", ["The best rate of full is the lowest tried (1e-5): the grid should go "
                       "further down."]),
        (5e-5, "high", ["The best rate of full is the highest tried (5e-5): the grid should go "
                        "further up."]),
        (None, None, ["No rate could be chosen for full: none of its trials has a loss."]),
    ],
)  # fmt: skip
def test_a_rate_at_the_edge_of_its_grid(chosen, edge, warnings):
    row = ArmTuning(chosen=chosen, edge=edge, trials=GRID)
    found = tuning.section(tables(run("full", GOLD), tried={"full": row}))
    assert found is not None
    assert found.warnings == warnings


def test_trials_and_their_curves():
    failed = trial(1e-3, None, "nan at step 3: " + "<b>" * 100 + "\nTraceback (most recent")
    tried = {
        "full": ArmTuning(chosen=2e-5, edge=None, trials=GRID),
        "lora": ArmTuning(chosen=2e-4, edge="low", trials=[trial(2e-4, 9.5), failed]),
    }
    asked = tables(run("full", GOLD), run("lora", GOLD), tried=tried)
    found = tuning.section(asked)
    assert found is not None
    assert found.chosen.rows == [
        ["full", "2e-5", "0.900", "3 from 1e-5 to 5e-5"],
        ["lora", "2e-4", "9.500", "2 from 2e-4 to 1e-3"],
    ]
    assert found.trials.rows[1] == ["full", "2e-5", "0.900", "110 of 200", "1 min 1 s", "chosen"]
    assert found.trials.rows[4] == ["lora", "1e-3", "–", "–", "–", "failed"]
    (line,) = found.failed
    assert line.startswith("lora at 1e-3: nan at step 3: <b><b>")
    assert len(line) < 220
    assert "Traceback" not in line
    assert found.curves is not None
    for said in (
        "full 1e-5: 1.200, 2e-5: 0.900, 5e-5: 1.100; lora 2e-4: 9.500",
        ">5e-5<",
        ">lora<",
    ):
        assert said in found.curves.svg
    assert tuning.section(asked) == found  # to the byte


def test_no_trial_has_a_loss():
    tried = {"full": ArmTuning(chosen=None, edge=None, trials=[trial(1e-5, None, "out of memory")])}
    found = tuning.section(tables(run("full", GOLD), tried=tried))
    assert found is not None
    assert (found.curves, found.failed) == (None, ["full at 1e-5: out of memory"])
    assert tuning.section(tables(run("full", GOLD))) is None
