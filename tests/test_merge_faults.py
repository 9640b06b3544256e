"""`paribus merge`, where it must refuse, or is stopped: nothing half arrives, all is named."""

import errno
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paribus.cli.main import main
from paribus.files import read_json, sha256_of_json
from paribus.store import merge as merging
from paribus.store import runs
from paribus.store.layout import ExperimentFolder, RunFolder
from parts import (
    BOTH,
    INPUTS,
    MACHINES,
    SEEDS,
    WHOLE,
    described,
    files,
    identity,
    one_bit,
    rerun,
    two,
)  # fmt: skip
from stores import describe

FAULTS: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "other question": (
        lambda a, b: described(b, question="Why?"),
        "b/experiment.yaml is of another experiment than .*/a/experiment.yaml:\n"
        ".*question: Which\\? → Why\\?",
    ),
    "other seeds": (lambda a, b: described(b, seeds=4), "seeds: 3 → 4"),
    "other settings": (
        lambda a, b: describe(
            ExperimentFolder(b), BOTH, [("full", "lora", "method")],
            identity={**identity(""), "training": {"learning_rate": 2e-4}}, seeds=SEEDS,
            data={"path": "there"},
        ),
        "arm full: training.learning_rate: 0.0001 → 0.0002",
    ),
    "other arms": (
        lambda a, b: describe(
            ExperimentFolder(b), {"full": "full", "dora": "lora"}, [], seeds=SEEDS
        ),
        "it lacks the arm lora\n.*it has another arm, dora",
    ),
    "other contrasts": (
        lambda a, b: describe(ExperimentFolder(b), BOTH, [("lora", "full", "method")],
                              identity=identity(""), seeds=SEEDS),
        "it lacks the contrast full − lora",
    ),
    "one bit of weights": (
        lambda a, b: one_bit(b / "lora/seed-1/weights/adapter_model.safetensors"),
        "b/lora/seed-1/weights/adapter_model.safetensors: has other content than the manifest says",
    ),
    "one bit of a text": (
        lambda a, b: one_bit(a / "full/seed-0/generations/zero_shot-raw.jsonl"),
        "a/full/seed-0/generations/zero_shot-raw.jsonl: has other content",
    ),
    "one bit of a manifest": (
        lambda a, b: one_bit(a / "full/seed-0/manifest.json", 200),
        "a/full/seed-0/manifest.json is damaged",
    ),
    "one bit of a ledger": (
        lambda a, b: one_bit(b / "ledger.jsonl", 40),
        "b/ledger.jsonl, line 1, is not what was written",
    ),
    "a line of a ledger twice": (
        lambda a, b: (b / "ledger.jsonl").write_bytes((b / "ledger.jsonl").read_bytes() * 2),
        "b/ledger.jsonl: line 4 repeats line 1",
    ),
    "a line of a ledger gone": (
        lambda a, b: (b / "ledger.jsonl").write_text(""),
        "b/ledger.jsonl: has no line for lora seed 0, zero_shot/raw",
    ),
    "one bit of a description": (
        lambda a, b: one_bit(b / "experiment.yaml", 300),
        "b/experiment.yaml is not what was written",
    ),
    "an older manifest": (
        lambda a, b: of_format(RunFolder(b / "lora/seed-0"), 2),
        "b/lora/seed-0/manifest.json has format 2, this paribus reads 3",
    ),
    "a link": (
        lambda a, b: (b / "lora/seed-0/heldout.jsonl").symlink_to("/etc/passwd"),
        "heldout.jsonl is a symbolic link",
    ),
    "a pipe": (lambda a, b: os.mkfifo(b / "lora/pipe"), "pipe is neither a file nor a folder"),
    "a manifest that leads out": (
        lambda a, b: leading_out(RunFolder(b / "lora/seed-0")),
        "leads out of the run's folder",
    ),
    "a duplicate of another execution": (
        lambda a, b: rerun(b, "full", 1, machine=MACHINES[1], at="2026-02-01T08"),
        "a/full/seed-1 and .*/b/full/seed-1 are not the same run byte for byte: result.json, "
        "spec.json differ; generations/zero_shot-raw.jsonl, weights/.* agree\n"
        ".*environment.machine: 8 cores, Linux → 2 cores, Linux\n.*--leave-out .*/b/full/seed-1",
    ),
    "other settings than the arm's": (
        lambda a, b: rerun(b, "lora", 2, identity={**identity("lora", 2), "method": "full"}),
        "b/lora/seed-2 was run with other settings than its arm:\n.*method: lora → full",
    ),
    "other weights underneath": (
        lambda a, b: rerun(b, "lora", 1, inputs={**INPUTS, "model": "sha256:n"}),
        "b/lora/seed-1 read something else than .*/lora/seed-0:\n.*model: sha256:m → sha256:n",
    ),
    "another's place": (
        lambda a, b: shutil.move(b / "lora/seed-0", b / "lora/seed-1/../seed-00"),
        "is of lora/seed-0",
    ),
    "no store": (lambda a, b: (b / "experiment.yaml").unlink(), "b holds no experiment"),
}  # fmt: skip


def of_format(run: RunFolder, number: int) -> None:
    content = {**read_json(run.manifest), "format": number}
    del content["sha256"]
    runs.write_json(run.manifest, {**content, "sha256": sha256_of_json(content)})


def leading_out(run: RunFolder) -> None:
    content = read_json(run.manifest)
    del content["sha256"]
    content["files"]["../../../../../etc/passwd"] = {"bytes": 1, "sha256": "0"}
    runs.write_json(run.manifest, {**content, "sha256": sha256_of_json(content)})


@pytest.mark.parametrize(("spoil", "message"), FAULTS.values(), ids=FAULTS)
def test_what_cannot_be_joined_is_refused_by_name_and_nothing_is_written(
    tmp_path, capsys, spoil, message
):
    a, b, c = two(tmp_path)
    spoil(a, b)
    before = files(a), files(b)
    assert main(["merge", str(a), str(b), "--into", str(c)]) == 2
    said = capsys.readouterr().err
    assert re.search(message, said), said
    assert "→" in said
    assert not c.exists()
    assert (files(a), files(b)) == before


PLACES: dict[str, tuple[Callable[[Path, Path, Path], list[Path]], str]] = {
    "a store twice": (lambda a, b, c: [a, a / "../a", c], "is given twice"),
    "one store, into itself": (lambda a, b, c: [a, a], "nothing is to be joined with"),
    "into a store": (lambda a, b, c: [a, b, a / "c"], "c lies in .*/a, which is a store itself"),
    "into a run": (lambda a, b, c: [a, b, a / "full/seed-0/c"], "is a store itself"),
    "into a folder of others": (lambda a, b, c: [a, b, a.parent], "a lies in"),
    "into a file": (lambda a, b, c: [a, b, a / "ledger.jsonl"], "is not a folder"),
    "into other files": (lambda a, b, c: [a, b, _with_notes(c)], "c holds notes.txt, and no exp"),
    "a folder of stores": (
        lambda a, b, c: [a.parent, c],
        "holds no experiment\n.*name one of .*/a",
    ),
    "no folder": (lambda a, b, c: [a, b / "gone", c], "gone holds no experiment"),
}


def _with_notes(c: Path) -> Path:
    c.mkdir()
    (c / "notes.txt").write_text("mine")
    return c


@pytest.mark.parametrize(("words", "message"), PLACES.values(), ids=PLACES)
def test_places_that_cannot_be_meant(tmp_path, capsys, words, message):
    *stores, goal = words(*two(tmp_path))
    before = files(tmp_path)
    assert main(["merge", *map(str, stores), "--into", str(goal)]) == 2
    said = capsys.readouterr().err
    assert re.search(message, said), said
    assert files(tmp_path) == before


@pytest.mark.parametrize("at", [2, 9, 15])
def test_a_full_disk_leaves_whole_runs_and_the_same_command_resumes(
    tmp_path, monkeypatch, capsys, at
):
    """The disk is full at one of the files that are copied."""
    a, b, c = two(tmp_path)
    copyfile, copied = shutil.copyfile, itertools.count(1)

    def full(source: Path, goal: Path, **options: Any) -> None:
        if next(copied) == at:
            goal.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(goal))
        copyfile(source, goal, **options)

    monkeypatch.setattr(merging.shutil, "copyfile", full)
    words = ["merge", str(a), str(b), "--into", str(c)]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert "free some disk space" in said
    assert not list(c.glob(".run.*"))
    assert main(["verify", str(c)]) == 0
    assert main(words) == 0
    assert {path.relative_to(c) for path in c.glob("*/seed-*")} == {
        Path(arm, f"seed-{seed}") for arm, seed in WHOLE
    }
    assert main(["verify", str(c)]) == 0


def test_too_small_a_disk_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    a, b, c = two(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(merging.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert main(["merge", str(a), str(b), "--into", str(c)]) == 2
    assert re.search(r"take [\d,]+ bytes, and .*c has room for 1,000", capsys.readouterr().err)
    assert not c.exists()


def test_what_changes_while_it_is_copied_does_not_arrive(tmp_path, monkeypatch, capsys):
    a, b, c = two(tmp_path)
    copyfile = shutil.copyfile

    def spoiled(source: Path, goal: Path, **options: Any) -> None:
        copyfile(source, goal, **options)
        if goal.name == "result.json":
            one_bit(goal)

    monkeypatch.setattr(merging.shutil, "copyfile", spoiled)
    assert main(["merge", str(a), str(b), "--into", str(c)]) == 2
    assert "full/seed-0 changed while it was copied" in capsys.readouterr().err
    assert not list(c.glob("*/seed-*"))


KILLED = """
import os, shutil, signal, sys
copyfile, copied, number = shutil.copyfile, 0, sys.argv.pop()
def stopping(*words, **options):
    global copied
    copied += 1
    if copied == 9:
        os.kill(os.getpid(), getattr(signal, number))
    return copyfile(*words, **options)
shutil.copyfile = stopping
from paribus.cli.main import entry
sys.exit(entry())
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_after_a_stop_the_same_command_resumes(tmp_path, number):
    a, b, c = two(tmp_path)
    words = ["merge", str(a), str(b), "--into", str(c)]
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, *words, number], capture_output=True, text=True
    )
    if number == "SIGKILL":
        assert ended.returncode == -signal.SIGKILL
        assert list(c.glob(".run.*"))
    else:
        assert ended.returncode == 128 + getattr(signal, number), ended.stderr
        assert f"paribus merge {a} {b} --into {c}" in ended.stderr
        assert not list(c.glob(".run.*"))
    assert len(list(c.glob("*/seed-*/manifest.json"))) == 1
    assert main(["verify", str(c)]) == 0
    assert main(words) == 0
    assert len(list(c.glob("*/seed-*/manifest.json"))) == 6
    assert not list(c.glob(".run.*"))


def test_clean_removes_what_a_killed_merge_left(tmp_path):
    a, _, _ = two(tmp_path)
    left = ExperimentFolder(a).arriving("0123abcd")
    shutil.copytree(a / "full/seed-0", left)
    before = set(a.iterdir()) - {left}
    assert main(["clean", str(a), "--yes"]) == 0
    assert set(a.iterdir()) - {a / "lock"} == before - {a / "lock"}


def test_a_store_that_cannot_be_written_says_so(tmp_path, monkeypatch, capsys):
    a, b, c = two(tmp_path)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(c))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert main(["merge", str(a), str(b), "--into", str(c)]) == 2
    assert "Read-only file system" in capsys.readouterr().err
