"""A clock that goes backwards, a disk that is full or read-only, a loss that is not a number."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from inside import paribus
from interrupted import content, run_until, spec_of
from paribus.config.spec import RunSpec
from paribus.errors import RunFailed, StoreError
from paribus.files import read_json
from paribus.running.isolated import Send, in_child, run_here
from paribus.store.checkpoints import newest
from paribus.store.layout import RunFolder
from paribus.store.locks import locked
from paribus.store.manifest import check

FULL = {"method": "full"}


def place(root: Path, name: str) -> RunFolder:
    return RunFolder(root / name / "tiny" / "full" / "seed-0")


def backwards(spec: RunSpec, folder: RunFolder, send: Send) -> None:
    """Work while the wall clock loses an hour at every look."""
    began, looks = time.time(), 0

    def earlier() -> float:
        nonlocal looks
        looks += 1
        return began - 3600 * looks

    time.time = earlier
    run_here(spec, folder, lambda _: None)
    assert looks > 0


def test_a_clock_that_goes_backwards_changes_nothing(tiny, tmp_path):
    spec = spec_of(tiny, tmp_path, FULL)
    run_until(spec, place(tmp_path, "whole"))
    folder = place(tmp_path, "back")
    run_until(spec, folder, 2 + 4)
    steps = sorted(folder.checkpoints.glob("step-*"))
    for age, path in enumerate(steps):  # the newest looks the oldest
        os.utime(path, (10**9 - age, 10**9 - age))
    point = newest(folder.checkpoints, print)
    assert point is not None
    assert point.path == steps[-1]
    in_child(partial(backwards, spec, folder), lambda _: None)
    assert content(folder) == content(place(tmp_path, "whole"))


@pytest.fixture
def small_disk() -> Iterator[Any]:
    """A function that mounts a disk of so many kilobytes."""
    mounted: list[Path] = []

    def mount(kilobytes: int) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="paribus-disk-"))
        options = f"size={kilobytes}k"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True
        )
        if done.returncode:
            folder.rmdir()
            pytest.skip("only root may mount a small disk")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


@pytest.mark.parametrize("kilobytes", [600, 1_400])
def test_a_full_disk_is_told_and_what_was_verified_stays(tiny, tmp_path, small_disk, kilobytes):
    """The run resumes from it, elsewhere or with more room, to the same bytes."""
    disk = small_disk(kilobytes)
    spec = spec_of(tiny, tmp_path, FULL)
    folder = place(disk, "runs")
    with pytest.raises(StoreError) as told:
        run_until(spec, folder)
    assert told.value.remedy
    assert str(disk) in told.value.message
    kept = newest(folder.checkpoints, print)
    if kilobytes >= 1_400:
        assert kept is not None
    moved = place(tmp_path, "moved")
    shutil.copytree(disk / "runs", tmp_path / "moved", dirs_exist_ok=True)
    reports = run_until(spec, moved)
    first = next(each.done for each in reports if each.stage == "training")
    assert first == (kept.step + 1 if kept else 1)
    run_until(spec, place(tmp_path, "whole"))
    assert content(moved) == content(place(tmp_path, "whole"))
    check(moved)


def test_a_store_that_cannot_be_written_is_told_before_anything_is_spent(tiny, tmp_path):
    spec = spec_of(tiny, tmp_path, FULL)
    folder = place(tmp_path, "runs")
    folder.path.mkdir(parents=True)
    folder.path.chmod(0o500)
    user = os.geteuid()
    if user == 0:
        os.chown(folder.path, 65534, 65534)
        os.seteuid(65534)
    try:
        with pytest.raises(StoreError, match="cannot write"), locked(folder.lock):
            pass
    finally:
        os.seteuid(user)
        folder.path.chmod(0o700)
    assert list(folder.path.iterdir()) == []
    assert spec.title == "full seed 0"


@pytest.mark.parametrize(
    ("minutes", "said"), [(0.0, "left a weight that is NaN or infinite"), (5.0, " is nan")]
)
def test_a_loss_that_is_no_number_fails_its_run_alone(tiny, tmp_path, minutes, said):
    experiment = {
        "model": str(tiny),
        "data": {"train_size": 24, "test_size": 8, "max_number": 6},
        "prompt": {"max_tokens": 600},
        "training": {"batch_size": 4, "micro_batch": 4, "max_steps": 6, "warmup": 0.0,
                     "checkpoint_minutes": minutes},
        "evaluation": {"max_new_tokens": 8, "batch_size": 8},
        "arms": {"good": {"method": "full"}, "wild": {"method": "full",
                                                      "training.learning_rate": 1e38}},
    }  # fmt: skip
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(experiment))
    for _ in range(2 if minutes else 1):  # and again: to the same end
        told = paribus("run", "e.yaml", cwd=tmp_path)
        assert told.returncode == 1
        assert "failed wild/seed-0: step " in told.stdout
        assert said in told.stdout
        assert "lower training.learning_rate" in told.stdout
        assert "1 of 3 runs failed; the others are kept" in told.stderr
        runs = tmp_path / "runs" / "e"
        assert read_json(runs / "wild" / "seed-0" / "failure.json")["kind"] == "failed"
        assert (runs / "good" / "seed-0" / "manifest.json").exists()
        assert not (runs / "wild" / "seed-0" / "result.json").exists()


def test_clean_works_where_the_disk_is_full(tiny, tmp_path, small_disk):
    """It is what a full disk is to be helped by."""
    disk = small_disk(1_000)
    spec, folder = spec_of(tiny, tmp_path, FULL), place(disk, "runs")
    with pytest.raises(StoreError):
        run_until(spec, folder)
    with suppress(OSError), (disk / "rest").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 512)
    assert shutil.disk_usage(disk).free == 0
    folder.lock.unlink()
    told = paribus("clean", str(disk / "runs"), "--yes", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert not folder.checkpoints.exists()


def test_weights_that_are_no_numbers_are_neither_saved_nor_tested(tiny, tmp_path):
    """The loss of the last step says nothing of what the step made of the weights."""
    values = {**FULL, "training.max_steps": 1, "training.warmup": 0.0,
              "training.learning_rate": 1e38}  # fmt: skip
    folder = place(tmp_path, "runs")
    with pytest.raises(
        RunFailed, match=r"step 1 left a weight that is NaN or infinite: model\."
    ) as told:
        run_until(spec_of(tiny, tmp_path, values), folder)
    assert "lower training.learning_rate" in told.value.remedy
    assert list(folder.checkpoints.glob("*")) == []
    assert not folder.result.exists()


def test_a_full_disk_is_named_by_what_could_not_be_written_first(tiny, tmp_path, small_disk):
    folder = place(small_disk(600), "runs")
    with pytest.raises(StoreError) as told:
        run_until(spec_of(tiny, tmp_path, FULL), folder)
    assert "failure.json" not in told.value.message
