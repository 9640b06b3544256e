"""Which checkpoints are resumed from: whole ones of the same run; of another run only by a fork."""

import copy
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inside import paribus
from interrupted import content, run_until, spec_of
from paribus.config.load import load
from paribus.design.matrix import expand
from paribus.errors import UserError
from paribus.files import read_json
from paribus.planning.stored import take_up
from paribus.store.checkpoints import KEPT, make_room, newest, publish, relabel, verified
from paribus.store.layout import RunFolder
from paribus.store.runs import read_events
from paribus.testing.tiny import write_tiny_model

FULL = {"method": "full"}


@pytest.fixture(scope="module")
def stopped(tiny, tmp_path_factory) -> Path:
    """A store whose one run was stopped after step 4 of 6: steps 3 and 4 are kept."""
    root = tmp_path_factory.mktemp("stopped")
    spec = spec_of(tiny, root, FULL)
    run_until(spec, RunFolder(root / "runs" / "tiny" / "full" / "seed-0"), 2 + 4, signal.SIGTERM)
    return root


@pytest.fixture
def root(stopped, tmp_path) -> Path:
    """A copy of it."""
    shutil.copytree(stopped, tmp_path / "x", symlinks=True)
    return tmp_path / "x"


def of(root: Path) -> RunFolder:
    return RunFolder(root / "runs" / "tiny" / "full" / "seed-0")


def steps(folder: RunFolder) -> list[str]:
    return sorted(path.name[:11] for path in folder.checkpoints.glob("step-*"))


def test_two_are_kept(root):
    assert steps(of(root)) == ["step-000003", "step-000004"]
    assert KEPT == 2


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "a flipped bit of weights": lambda path: flip(path / "weights.safetensors"),
    "a flipped bit of the optimizer": lambda path: flip(path / "optimizer.safetensors"),
    "a flipped bit of random states": lambda path: flip(path / "random.safetensors"),
    "a flipped bit of the rest": lambda path: flip(path / "state.json"),
    "a flipped bit of the log": lambda path: flip(path / "events.jsonl"),
    "a flipped bit of the manifest": lambda path: flip(path / "manifest.json"),
    "a cut file": lambda path: (path / "state.json").write_text("{"),
    "an empty file": lambda path: (path / "weights.safetensors").write_bytes(b""),
    "a missing file": lambda path: (path / "optimizer.safetensors").unlink(),
    "a file too many": lambda path: (path / "optimizer.pt").write_bytes(b"\x80\x04."),
    "no manifest": lambda path: (path / "manifest.json").unlink(),
    "a link": lambda path: relink(path / "weights.safetensors"),
}


def relink(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to("../elsewhere")


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_put_aside_and_the_one_before_is_taken(root, damage):
    folder, told = of(root), []
    newer = next(folder.checkpoints.glob("step-000004*"))
    DAMAGE[damage](newer)
    found = newest(folder.checkpoints, told.append)
    assert found is not None
    assert found.step == 3
    assert steps(folder) == ["step-000003"]
    assert len(told) == 1
    assert str(newer) in told[0]
    assert len(list(folder.checkpoints.glob(".damaged-step-000004*"))) == 1


def test_without_a_whole_one_the_run_begins_anew(root, tiny, tmp_path):
    folder = of(root)
    for path in folder.checkpoints.glob("step-*"):
        flip(path / "weights.safetensors")
    reports = run_until(spec_of(tiny, root, FULL), folder)
    notes = [report.note for report in reports if report.note]
    assert len(notes) == 2
    assert [report.done for report in reports if report.stage == "training"] == [1, 2, 3, 4, 5, 6]
    spec = spec_of(tiny, tmp_path, FULL)
    other = RunFolder(tmp_path / "whole" / "tiny" / "full" / "seed-0")
    run_until(spec, other)
    assert content(folder) == content(other)


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "learning rate": ({"training.learning_rate": 2e-3}, "training.learning_rate: 0.001 → "
                      "0.002"),
    "seed": ({"seed": 1}, "seed: 0 → 1"),
    "optimizer": ({"training.optimizer": "adamw_8bit"}, "training.optimizer: adamw → "
                  "adamw_8bit"),
    "batch layout": ({"training.micro_batch": 2}, "training.micro_batch: 4 → 2"),
    "data": ({"data.train_size": 24}, "data.train_size: 20 → 24"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_another_spec_is_refused_with_the_differences(root, tiny, name):
    values, line = CHANGES[name]
    folder = of(root)
    with pytest.raises(UserError) as refused:
        run_until(spec_of(tiny, root, {**FULL, **values}), folder)
    assert "is unfinished, with 4 steps done, as another run:" in refused.value.message
    assert line in refused.value.message
    assert "--fork" in refused.value.remedy
    assert steps(folder) == ["step-000003", "step-000004"]  # nothing is lost by trying


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        (("environment", "torch"), "2.12.0", "environment.torch: 2.12.0 → "),
        (("environment", "processor"), "another", "environment.processor: another → "),
        (("inputs", "tokens"), "0" * 64, f"inputs.tokens: {'0' * 64} → "),
        (("inputs", "model"), "sha256:0", "inputs.model: sha256:0 → "),
    ],
)
def test_other_versions_machines_weights_and_tokens_are_refused(root, key, value, line):
    folder = of(root)
    point = newest(folder.checkpoints, print)
    today, stored = point.run, copy.deepcopy(point.run)
    stored[key[0]][key[1]] = value
    relabel(point, stored, {})
    with pytest.raises(UserError) as refused:
        take_up(folder, today, steps=6, fork=False, on_note=print)
    assert line in refused.value.message


def rates(folder: RunFolder) -> list[float]:
    return [event["learning_rate"] for event in read_events(folder, "step")]


def test_a_fork_goes_on_and_says_where_it_came_from(root, tiny, tmp_path):
    folder = of(root)
    first = rates(folder)
    before = read_json(folder.spec)["fingerprint"]
    spec = spec_of(tiny, root, {**FULL, "training.learning_rate": 2e-3, "training.epochs": 1.6})
    reports = run_until(spec, folder, fork=True)
    assert [report.done for report in reports if report.stage == "training"] == [5, 6, 7, 8]
    result = read_json(folder.result)
    assert result["forked_from"]["fingerprint"] == before
    assert result["forked_from"]["step"] == 4
    assert result["forked_from"]["before"] is None
    assert result["forked_from"]["differences"] == [
        "training.epochs: 1.2 → 1.6",
        "training.learning_rate: 0.001 → 0.002",
    ]
    assert read_json(folder.spec)["fingerprint"] == spec.fingerprint
    # What is changed counts from here on: the rate, and how long the schedule is.
    whole = RunFolder(tmp_path / "whole" / "tiny" / "full" / "seed-0")
    run_until(spec, whole)
    assert rates(folder) == [*first, *rates(whole)[4:]]
    assert first != rates(whole)[:4]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"training.optimizer": "adamw_8bit"}, "training.optimizer: adamw → adamw_8bit"),
        ({"model": "other"}, "inputs.model: "),
    ],
)
def test_no_fork_changes_what_the_state_belongs_to(root, tiny, tmp_path, values, line):
    if "model" in values:
        values = {"model": str(write_tiny_model(tmp_path / "other" / "tiny", seed=1))}
    with pytest.raises(UserError, match=r"cannot resume as a run with:") as refused:
        run_until(spec_of(tiny, root, {**FULL, **values}), of(root), fork=True)
    assert line in refused.value.message
    assert steps(of(root)) == ["step-000003", "step-000004"]


def test_a_fork_into_fewer_steps_is_refused_and_changes_nothing(root, tiny):
    folder = of(root)
    before = {path: path.read_bytes() for path in folder.checkpoints.rglob("*") if path.is_file()}
    spec = spec_of(tiny, root, {**FULL, "training.max_steps": 2})
    with pytest.raises(UserError, match="is after step 4, and the training would end after 2"):
        run_until(spec, folder, fork=True)
    assert {path: path.read_bytes() for path in before} == before


@pytest.fixture
def tested(tiny, tmp_path) -> RunFolder:
    """A run that was killed while it was tested: its last checkpoint holds weights alone."""
    root = tmp_path / "tested"
    root.mkdir()
    run_until(spec_of(tiny, root, FULL), of(root), 2 + 6 + 3)
    newer, older = sorted(of(root).checkpoints.glob("step-*"), reverse=True)
    assert not (newer / "optimizer.safetensors").exists()
    assert (older / "optimizer.safetensors").exists()
    return of(root)


def test_a_fork_of_a_whole_training_trains_on_from_the_one_before(tested, tiny, tmp_path):
    spec = spec_of(tiny, tmp_path / "tested", {**FULL, "training.epochs": 1.6})
    reports = run_until(spec, tested, fork=True)
    assert [each.done for each in reports if each.stage == "training"] == [6, 7, 8]
    assert read_json(tested.result)["forked_from"]["step"] == 5


def test_without_one_before_it_is_refused_and_can_still_be_finished(tested, tiny, tmp_path):
    shutil.rmtree(min(tested.checkpoints.glob("step-*")))
    spec = spec_of(tiny, tmp_path / "tested", {**FULL, "training.epochs": 1.6})
    with pytest.raises(UserError, match="holds no state of the optimizer"):
        run_until(spec, tested, fork=True)
    reports = run_until(spec_of(tiny, tmp_path / "tested", FULL), tested)
    assert [each.done for each in reports if each.stage == "training"] == []
    assert read_json(tested.result)["forked_from"] is None


def test_a_fork_that_was_killed_half_way_can_be_made_again(root):
    folder = of(root)
    point = newest(folder.checkpoints, print)
    other = copy.deepcopy(point.run)
    other["identity"]["training"]["learning_rate"] = 2e-3
    shutil.copytree(point.path, root / "kept")
    made = relabel(point, other, {"step": 4})
    shutil.copytree(root / "kept", point.path)  # killed before the one it came from was removed
    flip(made.path / "weights.safetensors")
    made = relabel(verified(point.path), other, {"step": 4})
    assert relabel(made, other, {"step": 4}) == made
    assert verified(made.path).run == other
    assert [path.name for path in folder.checkpoints.iterdir()] == [made.path.name]


def test_the_step_counts_and_not_its_spelling(root):
    folder = of(root)
    point = newest(folder.checkpoints, print)
    for step in (999_990, 1_000_000):
        temporary = make_room(folder.checkpoints, step)
        (temporary / "state.json").write_text("{}")
        publish(temporary, step, point.run, None)
    found = newest(folder.checkpoints, print)
    assert found is not None
    assert found.step == 1_000_000


def test_a_changed_experiment_is_refused_before_anything_is_spent(tiny, tmp_path):
    """And where a run can be told only when it continues, the others are not stopped by it."""
    experiment = {
        "model": str(tiny),
        "data": {"train_size": 20, "test_size": 8, "max_number": 6},
        "prompt": {"max_tokens": 600},
        "training": {
            "batch_size": 4,
            "micro_batch": 4,
            "max_steps": 3,
            "checkpoint_minutes": 0,
            "precision": "fp32",
        },
        "evaluation": {"max_new_tokens": 6},
        "matrix": {"method": ["full", "lora"]},
    }
    (tmp_path / "tiny.yaml").write_text(json.dumps(experiment))
    spec = next(run for run in expand(load(tmp_path / "tiny.yaml")).runs if run.arm == "full")
    folder = RunFolder(tmp_path / "runs" / "tiny" / "full" / "seed-0")
    run_until(spec, folder, 2 + 2, signal.SIGTERM)
    told = paribus("run", "tiny.yaml", "training.learning_rate=3e-3", cwd=tmp_path)
    assert told.returncode == 2
    assert "full/seed-0 is unfinished, with 2 steps done, as another run:" in told.stderr
    assert "training.learning_rate: " in told.stderr
    told = paribus("run", "tiny.yaml", "training.max_steps=1", "seed=1", "--fork", cwd=tmp_path)
    assert told.returncode == 2
    assert "is after step 2, and the training would end after 1" in told.stderr
    assert "paribus clean runs/tiny/full/seed-0" in told.stderr
    assert not (tmp_path / "runs" / "tiny" / "experiment.yaml").exists()
    point = newest(folder.checkpoints, print)
    elsewhere = copy.deepcopy(point.run)
    elsewhere["environment"]["torch"] = "2.12.0"
    relabel(point, elsewhere, {})
    told = paribus("run", "tiny.yaml", cwd=tmp_path)
    assert told.returncode == 1
    assert "failed full/seed-0" in told.stdout
    assert "environment.torch: 2.12.0 → " in told.stdout
    assert (tmp_path / "runs/tiny/lora/seed-0/manifest.json").exists()
