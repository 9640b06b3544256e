"""kill -9 at every point of the write path: the run resumes to the same bytes, no manifest lies."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from killing import run_to_point

from interrupted import content, run_until, spec_of
from paribus.store.checkpoints import verified
from paribus.store.layout import RunFolder
from paribus.store.manifest import check

SHORT: dict[str, Any] = {"method": "lora", "lora.r": 2, "training.max_steps": 3,
                         "data.test_size": 4}  # fmt: skip
PLACES = ("half written", "optimizer.safetensors", "manifest.json", "rename", "sync", "rmdir",
          "pieces/", "generations/", "result.json", "ledger.jsonl", "weights/")  # fmt: skip
EVERY = 20
"""The default suite kills at every twentieth point; the slow tests at all others."""


def store(root: Path) -> RunFolder:
    return RunFolder(root / "runs" / "tiny" / "lora" / "seed-0")


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory) -> tuple[dict[str, Any], list[str]]:
    """A run that nothing happened to, and the points it passed."""
    root = tmp_path_factory.mktemp("whole")
    folder = store(root)
    points = run_to_point(spec_of(tiny, root, SHORT), folder, None)
    return content(folder), points


def survive(tiny: Path, root: Path, point: int, expected: dict[str, Any]) -> None:
    spec, folder = spec_of(tiny, root, SHORT), store(root)
    run_to_point(spec, folder, point)
    done = folder.manifest.exists()
    if done:  # killed while it removed what is of no use any more
        check(folder)
    for path in folder.checkpoints.glob("step-*"):
        verified(path)
    if not done:
        run_until(spec, folder)
    check(folder)
    assert content(folder) == expected


def test_the_points_are_those_of_the_protocol(whole, record_property):
    record_property("tried", 0)
    _, points = whole
    seen = " ".join(points)
    for what in PLACES:
        assert what in seen, what
    assert len(points) > 100


def test_everything_is_on_the_disk_before_the_manifest_says_so(whole):
    """What kill -9 cannot show: without power, what was not synced is gone."""
    expected, points = whole
    sealed = next(at for at, each in enumerate(points) if "open lora/seed-0/.manifest" in each)
    synced = {each.partition(" ")[2] for each in points[:sealed] if each.startswith("sync ")}
    files = {f"lora/seed-0/{name}" for name in expected}
    assert "lora/seed-0/weights/adapter_model.safetensors" in files
    by_name = {  # what is written atomically is synced under its passing name
        re.sub(r"/\.([^/]+)\.[0-9a-f]{8}$", r"/\1", name) for name in synced
    }
    assert files <= by_name
    folders = {name.rpartition("/")[0] for name in files}
    assert folders <= synced


FIRST = [1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, EVERY + 1))]


@pytest.mark.parametrize("first", FIRST)
def test_killed_at_every_twentieth_point(whole, tiny, tmp_path, record_property, first):
    expected, points = whole
    chosen = range(first, len(points) + 1, EVERY)
    record_property("tried", len(chosen))
    for point in chosen:
        root = tmp_path / str(point)
        root.mkdir()
        survive(tiny, root, point, expected)
        shutil.rmtree(root)
