"""Damage between two commands, and machines that misbehave: an error that says what to do, or the
same result; never a wrong number, never a traceback.
"""

import json
import os
import resource
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

import outside
from inside import meanwhile, paribus
from interrupted import content, run_until, spec_of
from paribus.cli.main import main
from paribus.store.layout import RunFolder
from paribus.testing.tiny import write_tiny_model

EXPERIMENT = {
    "data": {"train_size": 24, "test_size": 8, "max_number": 6},
    "prompt": {"max_tokens": 600},
    "training": {"batch_size": 4, "micro_batch": 4, "max_steps": 3, "checkpoint_minutes": 0.0},
    "evaluation": {"max_new_tokens": 8, "batch_size": 8},
    "matrix": {"method": ["full", "lora"]},
}
RUN = "runs/e/lora/seed-0"


def prepare(root: Path, model: Path, **changes: Any) -> Path:
    root.mkdir(exist_ok=True)
    (root / "e.yaml").write_text(yaml.safe_dump({"model": str(model), **EXPERIMENT, **changes}))
    return root


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory) -> Path:
    """A complete experiment."""
    root = prepare(tmp_path_factory.mktemp("made"), tiny)
    done = paribus("run", "e.yaml", cwd=root)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def store(made, tmp_path) -> Path:
    """A copy of it."""
    shutil.copytree(made, tmp_path / "x")
    return tmp_path / "x"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


FILES = ("spec.json", "events.jsonl", "heldout.jsonl", "result.json", "manifest.json",
         "generations/zero_shot-raw.jsonl")  # fmt: skip


HARMS = {"flipped": flip, "cut": cut, "lost": Path.unlink}
QUICK = [*((name, "flipped") for name in FILES), ("events.jsonl", "cut"), ("manifest.json", "lost")]
OTHERS = [(name, harm) for name in FILES for harm in HARMS if (name, harm) not in QUICK]


@pytest.mark.parametrize(
    ("name", "harm"), [*QUICK, *(pytest.param(*each, marks=pytest.mark.slow) for each in OTHERS)]
)
def test_a_damaged_run_is_not_reported(store, name, harm, capsys, monkeypatch):
    """The others are, and the report says what is missing. Without a manifest it is unfinished."""
    monkeypatch.chdir(store)
    HARMS[harm](store / RUN / name)
    assert main(["report", "e.yaml"]) == 0
    out, errors = capsys.readouterr()
    findings = json.loads((store / "runs" / "e" / "report" / "findings.json").read_text())
    assert errors == ""
    wrong = "unfinished" if (name, harm) == ("manifest.json", "lost") else "damaged"
    row = next(line for line in out.splitlines() if line.startswith(" lora "))
    assert row.split() == ["lora", "–", wrong, "–", "–"]
    row = next(line for line in out.splitlines() if line.startswith(" full "))
    assert row.split()[1:4] == ["0", "of", "8"]
    assert [each["kind"] for each in findings["findings"] if "lora" in each["claim"]] == []
    if wrong == "damaged":
        line = next(line for line in out.splitlines() if line.startswith("lora, seed 0: damaged: "))
        assert Path(name).name in line
    page = (store / "runs" / "e" / "report" / "index.html").read_text()
    assert f"lora, seed 0: {wrong}" in page


@pytest.mark.parametrize("name", [name for name in FILES if name != "manifest.json"])
def test_a_damaged_run_is_neither_kept_nor_overwritten(store, name, capsys, monkeypatch):
    monkeypatch.chdir(store)
    flip(store / RUN / name)
    before = {path: path.read_bytes() for path in (store / RUN).rglob("*.json*")}
    assert main(["run", "e.yaml"]) == 2
    errors = capsys.readouterr().err
    assert Path(name).name in errors
    assert "delete" in errors
    assert {path: path.read_bytes() for path in (store / RUN).rglob("*.json*")} == before


def test_all_damaged_runs_are_named_at_once(store, capsys, monkeypatch):
    monkeypatch.chdir(store)
    for arm in ("full", "lora"):
        flip(store / f"runs/e/{arm}/seed-0/result.json")
    assert main(["run", "e.yaml"]) == 2
    errors = capsys.readouterr().err
    assert "runs/e/full/seed-0/result.json has other content" in errors
    assert "runs/e/lora/seed-0/result.json has other content" in errors


def test_a_run_without_its_manifest_is_made_again_to_the_same_bytes(store):
    before = content(RunFolder(store / RUN))
    (store / RUN / "manifest.json").unlink()
    assert paribus("run", "e.yaml", cwd=store).returncode == 0
    assert content(RunFolder(store / RUN)) == before


def test_a_torn_last_line_of_the_log_is_no_loss(tiny, tmp_path):
    spec = spec_of(tiny, tmp_path, {"method": "full"})
    folder = RunFolder(tmp_path / "runs" / "tiny" / "full" / "seed-0")
    run_until(spec, folder, 5, signal.SIGTERM)
    cut(folder.events)
    run_until(spec, folder)
    whole = RunFolder(tmp_path / "whole" / "tiny" / "full" / "seed-0")
    run_until(spec, whole)
    assert content(folder) == content(whole)


def test_a_tokenizer_changed_in_between_is_refused(tiny, tmp_path):
    model = write_tiny_model(tmp_path / "model" / "tiny")
    spec = spec_of(model, tmp_path, {"method": "full"})
    folder = RunFolder(tmp_path / "runs" / "tiny" / "full" / "seed-0")
    run_until(spec, folder, 5, signal.SIGTERM)
    file = model / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    tokens = tokenizer["model"]["vocab"]
    tokens["a"], tokens["b"] = tokens["b"], tokens["a"]
    file.write_text(json.dumps(tokenizer))
    with pytest.raises(Exception, match=r"inputs\.tokens: [0-9a-f]{64} → [0-9a-f]{64}"):
        run_until(spec, folder)


@pytest.mark.slow  # tests/test_experiment.py has one of 100 kilobytes
@pytest.mark.parametrize("kilobytes", [170])
def test_no_room_for_a_file_is_told_and_costs_nothing(tiny, tmp_path, kilobytes):
    """A file may get no larger: for events, for the optimizer's state, for weights."""
    root = prepare(tmp_path / "x", tiny)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1000, kilobytes * 1000))

    told = outside.paribus("run", "e.yaml", cwd=root, preexec_fn=limit)
    assert told.returncode in (1, 2), told.stdout
    assert "Traceback" not in told.stderr
    assert "cannot write" in told.stderr
    assert "→" in told.stderr
    assert paribus("run", "e.yaml", cwd=root).returncode == 0


def test_a_worker_that_dies_fails_its_run_alone(tiny, tmp_path):
    """Of the two one trains without end, until it is killed."""
    endless = {"training.max_steps": None, "training.epochs": 10**5}
    arms = {"full": {"method": "full", **endless}, "lora": {"method": "lora"}}
    root = prepare(tmp_path, tiny, matrix={}, arms=arms, baseline=None)
    lock, events = (root / "runs/e/full/seed-0" / name for name in ("lock", "events.jsonl"))

    def kill() -> None:
        os.kill(int(lock.read_text().split()[1]), signal.SIGKILL)

    with meanwhile(lambda: events.exists() and '"step"' in events.read_text(), kill):
        made = paribus("run", "e.yaml", cwd=root)
    assert made.returncode == 1
    assert "ended with code -9" in made.stdout + made.stderr
    assert (root / "runs/e/lora/seed-0/manifest.json").exists()
    assert "failed full/seed-0" in made.stdout
