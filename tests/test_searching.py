"""A search by Optuna, on a tiny model: the same trials however often it is interrupted.

It needs the package optuna (extra `tune`).
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("optuna", reason="optuna is not installed: paribus[tune]")

from inside import paribus
from paribus.cli.run import describe_tuning
from paribus.config.load import load
from paribus.design.matrix import Design, expand
from paribus.errors import ConfigError, StoreError, UserError
from paribus.planning.search import Study
from paribus.running.local import Execution, run_experiment
from paribus.running.processes import Here
from paribus.store.experiments import ArmTuning, read_description, read_tuning
from paribus.store.layout import ExperimentFolder
from paribus.store.runs import RunState, state

HERE = Execution(executor=Here)
RATES = {"low": 1e-4, "high": 1e-2, "log": True}
EXPERIMENT = {
    "data": {"train_size": 16, "test_size": 4, "validation_size": 3, "max_steps": 1},
    "training": {"batch_size": 4, "micro_batch": 4, "precision": "fp32", "schedule": "constant"},
    "evaluation": {"max_new_tokens": 3},
    "matrix": {"method": ["full", "lora"]},
    "tune": {
        "space": {"training.learning_rate": RATES, "lora.r": [2, 4], "lora.dropout": [0.0, 0.1]},
        "trials": 3,
    },
    "baseline": None,
}


def design(folder: Path, *words: str, **changes: Any) -> Design:
    (folder / "x.yaml").write_text(yaml.safe_dump({**EXPERIMENT, **changes}, sort_keys=False))
    return expand(load(folder / "x.yaml", words))


def proposed(found: Design, arm: str, losses: list[float | None]) -> list[dict[str, object]]:
    """Return the values of one trial more than there are losses."""
    study, trials = Study(found.searches[arm]), []
    for loss in [*losses, None]:
        trial = study.propose()
        flat = trial.config.training, trial.config.lora
        trials.append({"rate": flat[0].peak_rate, "r": flat[1].r, "dropout": flat[1].dropout})
        study.tell(loss)
    return trials


def test_what_is_proposed_follows_from_the_losses_alone(tmp_path):
    found = design(tmp_path)
    losses = [1.0, None, *(1 + 0.1 * number for number in range(12))]
    trials = proposed(found, "lora", losses)
    assert proposed(found, "lora", losses) == trials
    assert proposed(found, "lora", losses[:5]) == trials[:6]
    assert len({trial["rate"] for trial in trials}) == 15
    assert all(1e-4 <= trial["rate"] <= 1e-2 for trial in trials)
    assert {trial["r"] for trial in trials} == {2, 4}
    other = proposed(found, "lora", [2.0, *losses[1:]])
    assert other[:10] == trials[:10]  # TPE's first ten are random
    assert other[10:] != trials[10:]
    assert proposed(design(tmp_path, "seed=1"), "lora", losses)[0] != trials[0]


def test_arms_begin_with_the_same_values_of_what_they_share(tmp_path):
    found = design(tmp_path)
    full, lora = (proposed(found, arm, [1.0] * 8) for arm in ("full", "lora"))
    assert [trial["rate"] for trial in full] == [trial["rate"] for trial in lora]


def test_no_values_are_tried_twice_and_a_space_can_be_spent(tmp_path):
    tune = {"space": {"lora.r": [2, 4], "lora.dropout": [0.0, 0.1]}, "trials": 4}
    found = design(tmp_path, "matrix.method=[lora]", tune=tune)
    trials = proposed(found, "lora", [1.0, 2.0, 3.0])
    assert len({(trial["r"], trial["dropout"]) for trial in trials}) == 4
    with pytest.raises(ConfigError, match="no values left for trial 5: all were tried, or"):
        proposed(found, "lora", [1.0, 2.0, 3.0, 4.0])


def test_values_that_do_not_fit_together_are_not_tried(tmp_path):
    space = {"training.schedule": ["cosine", "wsd"], "training.decay": [None, 0.1, 0.2]}
    training = {**EXPERIMENT["training"], "schedule": "wsd"}
    found = design(tmp_path, training=training, tune={"space": space, "trials": 4})
    study = Study(found.searches["full"])
    for _ in range(4):
        trial = study.propose()
        assert trial.config.training.schedule == "wsd" or trial.config.training.decay is None
        study.tell(1.0)
    with pytest.raises(ConfigError, match="for trial 5: all were tried, or do not fit"):
        study.propose()


def run(folder: Path, *words: str, on_progress=lambda spec, progress: None):
    loaded = load(folder / "x.yaml", words)
    root = folder / "runs"
    outcome = run_experiment(loaded, expand(loaded), root, on_progress, how=HERE)
    return outcome, ExperimentFolder(root / loaded.config.name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny) -> Path:
    folder = tmp_path_factory.mktemp("searched")
    text = yaml.safe_dump({**EXPERIMENT, "model": str(tiny)}, sort_keys=False)
    (folder / "x.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def whole(folder) -> ExperimentFolder:
    outcome, store = run(folder)
    assert (outcome.ran, outcome.failed) == (2, ())
    return store


def recorded(store: ExperimentFolder) -> dict[str, ArmTuning]:
    """Return what trials found, without their times."""
    return {
        arm: row.model_copy(
            update={"trials": [trial.model_copy(update={"seconds": 0}) for trial in row.trials]}
        )
        for arm, row in read_tuning(store).items()
    }


def test_the_trial_with_the_lowest_loss_is_what_is_run(whole):
    rows = read_tuning(whole)
    for arm, row in rows.items():
        losses = [trial.nll_per_token for trial in row.trials]
        assert len(losses) == 3
        assert row.best.nll_per_token == min(losses)
        assert all(trial.flops > 0 and trial.nll_error > 0 for trial in row.trials)
        spec = json.loads((whole.run(arm, 0).spec).read_text())["identity"]
        assert spec["training"]["learning_rate"] == row.values["training.learning_rate"]
    assert rows["lora"].trials[0].flops > rows["full"].trials[0].flops * 0.6
    assert len({trial.flops for trial in rows["full"].trials}) == 1
    assert len({trial.flops for trial in rows["lora"].trials}) == 2  # by rank
    assert [line.partition("=")[0] for line in describe_tuning(rows)] == [
        f"{arm}: training.learning_rate" for arm in ("full", "lora")
    ]
    assert [trial.name for trial in read_description(whole).trials] == [
        f"trial-{number}" for _ in range(2) for number in (1, 2, 3)
    ]


def test_an_interrupted_search_finds_the_same(whole, folder):
    def stop(spec, progress):
        if spec.trial and progress.stage == "complete":
            raise KeyboardInterrupt

    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            run(folder, "name=stopped", on_progress=stop)
    outcome, store = run(folder, "name=stopped")
    assert outcome.ran == 2
    assert recorded(store) == recorded(whole)


def test_nothing_is_repeated(whole, folder):
    before = {path: path.stat().st_mtime_ns for path in whole.path.rglob("events.jsonl")}
    assert len(before) == 6 + 2
    outcome, _ = run(folder)
    assert (outcome.ran, outcome.kept) == (0, 2)
    assert {path: path.stat().st_mtime_ns for path in whole.path.rglob("events.jsonl")} == before


def test_trials_of_another_search_are_not_taken_for_its_own(whole, folder):
    with pytest.raises(StoreError, match=r"full/trial-1 was tried for another search:\n  tr"):
        run(folder, "tune.space.training.learning_rate.high=0.02")


def test_a_failed_trial_is_not_repeated_and_is_never_chosen(folder):
    words = ["name=hot", "tune.space.training.learning_rate.high=1e30", "tune.trials=4"]
    outcome, store = run(folder, *words, "matrix.method=[full]")
    assert outcome.failed == ()
    row = read_tuning(store)["full"]
    states = [trial.state for trial in row.trials]
    assert "failed" in states
    assert row.best.state == "complete"
    failed = store.trial("full", f"trial-{states.index('failed') + 1}")
    before = failed.failure.stat().st_mtime_ns
    store.tuning.unlink()
    run(folder, *words, "matrix.method=[full]")
    assert failed.failure.stat().st_mtime_ns == before
    assert read_tuning(store)["full"].best.values == row.best.values


def test_every_arm_gets_the_same_operations(folder):
    """How many trials that pays for is known at the end, so `status` looks for them until then."""

    def stop(spec, progress):
        if spec.title == "full trial 2" and progress.stage == "complete":
            raise KeyboardInterrupt

    cost = read_tuning(ExperimentFolder(folder / "runs" / "x"))["full"].trials[0].flops
    words = ["name=paid", "tune.trials=null", f"tune.flops={2.9 * cost}"]
    with pytest.raises(KeyboardInterrupt):
        run(folder, *words, on_progress=stop)
    shown = json.loads(paribus("status", "runs/paid", "--json", cwd=folder).stdout)
    assert [(row["arm"], row["trial"]) for row in shown if row["trial"]] == [
        ("full", 1),
        ("full", 2),
    ]
    _, store = run(folder, *words)
    rows = read_tuning(store)
    assert len(rows["full"].trials) == 2
    for row in rows.values():
        assert sum(trial.flops for trial in row.trials) <= 2.9 * cost
    assert state(store.trial("full", "trial-3")) is RunState.MISSING


def test_a_budget_for_less_than_two_trials_is_refused(folder):
    with pytest.raises(UserError, match="PB089 full: tune.flops=1e.06, and one trial trains with"):
        run(folder, "name=poor", "tune.trials=null", "tune.flops=1e6")
