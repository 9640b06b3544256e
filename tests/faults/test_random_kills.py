"""kill -9 of everything at random moments of a real tiny experiment, until it is complete.

Each time the whole process group dies: the command, the process that works, the one it was forked
from. Whatever the moment, training, testing or the report, in the end the bytes are those of an
experiment that nothing happened to.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from interrupted import content, timeless
from outside import paribus
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.manifest import check

EXPERIMENT = {
    "data": {"source": "wordproblems", "train_size": 24, "test_size": 20, "max_number": 6},
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


def killed(root: Path, seconds: float) -> bool:
    """Run the command and kill all of it after `seconds`; return False if it was done before."""
    running = subprocess.Popen(
        [sys.executable, "-m", "paribus.cli.main", "run", "e.yaml"],
        cwd=root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    try:
        _, errors = running.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
        return True
    assert running.returncode == 0, errors.decode()
    return False


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


def survive(root: Path, tiny: Path, kills: int, *, seed: int) -> Counter[str]:
    """Kill so often, beginning anew whenever the experiment is done; return the moments."""
    numbers, begun = random.Random(seed), 0
    moments: Counter[str] = Counter()
    place = prepare(root / "0", tiny)
    expected = json.loads((root / "expected.json").read_text())
    while moments.total() < kills:
        # Nothing is at stake in the first seconds, while the libraries are imported.
        done = not killed(place, numbers.uniform(4.0, 14.0))
        if not done:
            moments[moment(place)] += 1
        for path in place.rglob("manifest.json"):
            if path.parent.name.startswith("seed-"):
                check(RunFolder(path.parent))
        if done or moments.total() == kills:
            assert paribus("run", "e.yaml", cwd=place).returncode == 0
            assert everything(place) == expected
            begun += 1
            place = prepare(root / str(begun), tiny)
    return moments


@pytest.fixture
def root(tiny, tmp_path) -> Path:
    place = prepare(tmp_path / "whole", tiny)
    assert paribus("run", "e.yaml", cwd=place).returncode == 0
    (tmp_path / "expected.json").write_text(json.dumps(everything(place)))
    return tmp_path


def test_two_kills(root, tiny, record_property):
    record_property("tried", 2)
    survive(root, tiny, 2, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_hundred_kills(root, tiny, record_property):
    moments = survive(root, tiny, 100, seed=1)
    record_property("tried", moments.total())
    record_property("moments", json.dumps(moments))
    assert {"training", "evaluation", "report"} <= moments.keys()
