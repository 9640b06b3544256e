"""kill -9 of everything at random moments of a real tiny experiment.

Each time the whole process group dies: the command, the process that works, the one it was forked
from. Whatever the moment, training, testing or the report, in the end the bytes are those of an
experiment that nothing happened to.
"""

import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from inside import paribus
from interrupted import content, timeless
from outside import started, until
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.manifest import check

EXPERIMENT = {
    "data": {"train_size": 24, "test_size": 20, "max_number": 6},
    "prompt": {"max_tokens": 600},
    "lora": {"dropout": 0.2},
    "training": {"batch_size": 4, "micro_batch": 2, "epochs": 2, "checkpoint_minutes": 0.0},
    "evaluation": {"max_new_tokens": 16, "batch_size": 1},
    "matrix": {"method": ["full", "lora"]},
}


def prepare(root: Path, tiny: Path) -> Path:
    root.mkdir()
    (root / "e.yaml").write_text(yaml.safe_dump({"model": str(tiny), **EXPERIMENT}))
    return root


def everything(root: Path) -> dict[str, Any]:
    folder = ExperimentFolder(root / "runs" / "e")
    found: dict[str, Any] = {str(run.path.relative_to(root)): content(run) for run in folder.runs()}
    findings = json.loads(folder.findings.read_text())
    kept = [each for each in findings["findings"] if each["kind"] not in {"memory", "speed"}]
    return json.loads(json.dumps({**found, "findings": timeless(kept)}, default=repr))


def moment(root: Path) -> str:
    """What the command was at work on when it died, by what it left."""
    folder = ExperimentFolder(root / "runs" / "e")
    runs = [folder.run(arm, 0) for arm in ("baseline", "full", "lora")]
    if all(run.manifest.exists() for run in runs):
        return "report"
    at = next(run for run in runs if not run.manifest.exists())
    if at.arm == "baseline" or any(at.pieces.glob("*")):
        return "evaluation"
    return "training"


@pytest.fixture(scope="module")
def expected(tiny, tmp_path_factory) -> dict[str, Any]:
    """An experiment that nothing happened to."""
    place = prepare(tmp_path_factory.mktemp("whole") / "x", tiny)
    assert paribus("run", "e.yaml", cwd=place).returncode == 0
    return everything(place)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(17))
@pytest.mark.parametrize("at", ["training", "evaluation", "report"])
def test_two_kills(expected, tiny, tmp_path, record_property, at, seed):
    """One soon after the command is at work on this, and one at any time of what then continues."""
    record_property("tried", 2)
    chance, place = random.Random(f"{at} {seed}"), prepare(tmp_path / "x", tiny)
    running = started("run", "e.yaml", cwd=place, stdout=subprocess.DEVNULL)
    until(lambda: (place / "runs/e/full").exists() and moment(place) == at, running)
    kill(running, after=chance.uniform(0.0, 1.0))
    check_manifests(place)
    kill(started("run", "e.yaml", cwd=place), after=chance.uniform(4.0, 14.0))
    check_manifests(place)
    assert paribus("run", "e.yaml", cwd=place).returncode == 0
    assert everything(place) == expected


def kill(running: "subprocess.Popen[str]", after: float) -> None:
    time.sleep(after)
    with suppress(ProcessLookupError):  # it was done before
        os.killpg(running.pid, signal.SIGKILL)
    running.communicate()


def check_manifests(place: Path) -> None:
    for path in place.rglob("manifest.json"):
        if path.parent.name.startswith("seed-"):
            check(RunFolder(path.parent))
