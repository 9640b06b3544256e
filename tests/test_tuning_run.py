"""An experiment with `tune`, from outside by the command line, on a tiny model."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from inside import paribus
from paribus.cli.run import describe_tuning
from paribus.config.load import load
from paribus.design.matrix import expand
from paribus.running.local import run_experiment
from paribus.store.experiments import read_tuning
from paribus.store.layout import ExperimentFolder
from paribus.store.runs import RunState, state

RATES = {"full": [1e-4, 3e-3, 1e30], "lora": [1e-4, 1e-3, 6e-3]}
ARMS = ["full-main", "lora-main"]
EXPERIMENT = {
    "data": {
        "train_size": 16,
        "test_size": 4,
        "validation_size": 3,
        "max_steps": 1,
    },
    "training": {"batch_size": 4, "micro_batch": 4, "precision": "fp32", "schedule": "constant"},
    "evaluation": {"max_new_tokens": 3, "also": ["one_shot/raw"]},
    "matrix": {"method": ["full", "lora"], "data.variant": ["main"]},
    "tune": {"learning_rates": RATES},
    "baseline": None,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "tuned.yaml").write_text(
        yaml.safe_dump({**EXPERIMENT, "model": str(tiny)}, sort_keys=False)
    )
    return folder


@pytest.fixture(scope="module")
def planned(folder) -> dict:
    made = paribus("plan", "tuned.yaml", "--json", cwd=folder)
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout)


@pytest.fixture(scope="module")
def made(planned, folder) -> subprocess.CompletedProcess[str]:
    return paribus("run", "tuned.yaml", cwd=folder)


def test_plan_lists_the_trials_before_any_is_run(planned):
    assert [trial["learning_rate"] for trial in planned["trials"]] == [
        *RATES["full"],
        *RATES["lora"],
    ]
    assert {trial["state"] for trial in planned["trials"]} == {"not run"}
    assert {arm["learning_rate"] for arm in planned["arms"]} == {None}
    assert [arm["learning_rates"] for arm in planned["arms"]] == list(RATES.values())
    assert [run["fingerprint"] for run in planned["runs"]] == [None, None]


def test_trials_come_first_and_one_that_diverges_is_no_failure(made, folder):
    assert made.returncode == 0, made.stdout + made.stderr
    assert "full-main lr 0.003: complete" in made.stdout
    assert "full-main lr 1e+30: failed" in made.stdout
    assert "(trial 3 of 6)" in made.stdout
    assert "(run 2 of 2)" in made.stdout
    assert "full-main: learning rate 0.003, best of 3 (1 failed)\n" in made.stdout
    assert "lora-main: learning rate 0.006, best of 3; warning: it is the highest" in made.stdout


def test_the_chosen_rate_has_the_lowest_loss_and_is_what_was_run(made, folder):
    store = folder / "runs" / "tuned"
    record = json.loads((store / "tuning.json").read_text())
    assert (record["format"], list(record["arms"])) == (1, ARMS)
    for arm, method in zip(ARMS, RATES, strict=True):
        row = record["arms"][arm]
        assert [trial["learning_rate"] for trial in row["trials"]] == RATES[method]
        known = [trial for trial in row["trials"] if trial["nll_per_token"] is not None]
        best = min(known, key=lambda trial: trial["nll_per_token"])
        assert row["chosen"] == best["learning_rate"]
        spec = json.loads((store / arm / "seed-0" / "spec.json").read_text())
        assert spec["identity"]["training"]["learning_rate"] == row["chosen"]
        assert all(trial["n"] == 3 and trial["seconds"] > 0 for trial in known)
    assert [record["arms"][arm]["edge"] for arm in ARMS] == [None, "high"]
    failed = record["arms"]["full-main"]["trials"][2]
    assert (failed["state"], failed["solved"], failed["nll_per_token"]) == ("failed", None, None)
    assert "step" in failed["error"]
    described = yaml.safe_load((store / "experiment.yaml").read_text())
    assert [arm["identity"]["training"]["learning_rate"] for arm in described["arms"]] == [
        record["arms"][arm]["chosen"] for arm in ARMS
    ]


def test_trials_never_read_the_test_split(made, folder):
    store = folder / "runs" / "tuned"
    ledger = [json.loads(line) for line in (store / "ledger.jsonl").read_text().splitlines()]
    assert "look" in ledger.pop()  # the last line: what the report at the run's end looked at
    protocols = ["zero_shot/raw", "one_shot/raw", "likelihood"]
    assert [(line["arm"], line["protocol"]) for line in ledger] == [
        (arm, protocol) for arm in ARMS for protocol in protocols
    ]
    trial = store / "tuning" / "lora-main" / "lr-0.001"
    asked, tested = (
        {
            json.loads(line)["problem_id"]
            for line in (run / "heldout.jsonl").read_text().splitlines()
        }
        for run in (trial, store / "lora-main" / "seed-0")
    )
    assert (len(asked), len(tested)) == (3, 4)
    assert not asked & tested
    inputs = json.loads((trial / "spec.json").read_text())["inputs"]
    assert "validation_sha256" in inputs
    assert "test_sha256" not in inputs
    assert [path.name for path in (trial / "generations").iterdir()] == ["zero_shot-raw.jsonl"]
    assert not (trial / "weights").exists()


def test_nothing_is_repeated_not_even_a_failed_trial(made, folder):
    store = folder / "runs" / "tuned"
    before = {path: path.stat().st_mtime_ns for path in store.rglob("events.jsonl")}
    assert len(before) == 6 + 2
    again = paribus("run", "tuned.yaml", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in store.rglob("events.jsonl")} == before
    plan = json.loads(paribus("plan", "tuned.yaml", "--json", cwd=folder).stdout)
    assert [arm["learning_rate"] for arm in plan["arms"]] == [0.003, 0.006]
    assert [run["state"] for run in plan["runs"]] == ["complete"] * 2
    assert [trial["state"] for trial in plan["trials"]] == ["complete"] * 2 + ["failed"] + [
        "complete"
    ] * 3
    status = json.loads(paribus("status", "tuned.yaml", "--json", cwd=folder).stdout)
    assert [(row["seed"], row["learning_rate"]) for row in status] == [
        *((None, rate) for rates in RATES.values() for rate in rates),
        (0, None),
        (0, None),
    ]


def run_tuned(folder: Path, *words: str, on_progress=lambda spec, progress: None):
    """Run without the command line; return the outcome and the experiment's folder."""
    loaded = load(folder / "tuned.yaml", words)
    root = folder / "runs"
    outcome = run_experiment(loaded, expand(loaded), root, on_progress, lambda *_: None)
    return outcome, ExperimentFolder(root / loaded.config.name)


def test_an_arm_all_of_whose_trials_fail_is_a_failed_arm_and_the_others_run(folder):
    words = ["name=hot", "tune.learning_rates.full=[1e30,1e31]", "tune.fixed=[lora-main]"]
    outcome, store = run_tuned(folder, *words)
    ((spec, message),) = outcome.failed
    assert spec.title == "full-main seed 0"
    assert "all its trials failed" in message
    assert (outcome.ran, outcome.kept) == (1, 0)
    assert state(store.run("full-main", 0)) is RunState.FAILED
    assert state(store.run("lora-main", 0)) is RunState.COMPLETE
    assert json.loads(store.tuning.read_text())["arms"]["full-main"]["chosen"] is None
    assert describe_tuning(read_tuning(store)) == [
        "full-main: none of 2 learning rates can be chosen"
    ]


def test_a_finished_trial_outlives_an_interrupt(folder):
    def stop(spec, progress):
        if spec.trial and progress.stage == "complete":
            raise KeyboardInterrupt

    words = ["name=stopped", "matrix.method=[lora]", "tune.learning_rates.lora=[1e-4,1e-3]"]
    with pytest.raises(KeyboardInterrupt):
        run_tuned(folder, *words, on_progress=stop)
    store = ExperimentFolder(folder / "runs" / "stopped")
    first, second = (store.trial("lora-main", name) for name in ("lr-0.0001", "lr-0.001"))
    assert (state(first), state(second)) == (RunState.COMPLETE, RunState.MISSING)
    before = first.manifest.stat().st_mtime_ns
    outcome, _ = run_tuned(folder, *words)
    assert outcome.ran == 1
    assert first.manifest.stat().st_mtime_ns == before
    assert state(second) is RunState.COMPLETE


def test_a_run_at_a_stated_rate_is_not_replaced_by_a_tuned_one(made, folder):
    """Refused before any trial is spent."""
    words = ["tune.learning_rates.full=[5e-3,6e-3,7e-3]"]
    refused = paribus("run", "tuned.yaml", *words, cwd=folder)
    assert refused.returncode == 2
    assert "training.learning_rate: 0.003 \u2192 tuned" in refused.stderr
