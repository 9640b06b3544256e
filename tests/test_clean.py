"""`paribus clean`: what it shows, what it removes, and above all what it never touches."""

import os
import pty
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from inside import paribus
from paribus.store.checkpoints import make_room, publish
from paribus.store.clean import cache_place, places_in
from paribus.store.layout import ExperimentFolder
from paribus.store.locks import locked
from stores import SPEC, answers, describe, failed, finish, stopped


@pytest.fixture
def folder(tmp_path) -> ExperimentFolder:
    """Complete: baseline, with leftovers. Unfinished: full, at step 2 of 4. Failed: lora."""
    folder = ExperimentFolder(tmp_path / "runs" / "small")
    describe(folder)
    finish(folder, "baseline", answers({0}))
    stopped(folder.run("full", 0))
    failed(folder.run("lora", 0), "step 2: grad_norm is [nan]\n  → lower it")
    return folder


def tree(path: Path) -> dict[str, bytes | None]:
    """Every path under `path` with its content; locks left out, whose content is their owner."""
    return {
        each.relative_to(path).as_posix(): each.read_bytes() if each.is_file() else None
        for each in sorted(path.rglob("*"))
        if each.name != "lock"
    }


def clean(folder: ExperimentFolder, *words: str) -> str:
    made = paribus("clean", *words, cwd=folder.path.parent.parent)
    assert made.returncode == 0, made.stderr
    return made.stdout


def test_without_a_terminal_it_only_shows(folder):
    before = tree(folder.path)
    shown = [" ".join(line.split()) for line in clean(folder).splitlines()]
    assert shown == [
        "where what why size",
        "small/full/seed-0 put aside failed its check; nothing reads it 1 byte",
        "small/full/seed-0 half-written files left by a process that was killed; nothing reads "
        "them 0 bytes",
        "small/full/seed-0 checkpoints it resumes from step 2 of 4: this work would be lost 2.0 MB",
        "small/full/seed-0 tested problems 2 of 20 texts are written: they would be written again "
        f"{shown[4].split()[-2]} bytes",
        f"small/full/seed-0 unfinished run the run writes it again {shown[5].split()[-2]} bytes",
        "small/lora/seed-0 failed run step 2: grad_norm is [nan]; its log would be lost "
        f"{shown[6].split()[-2]} bytes",
        "2.0 MB in all; nothing of complete runs, and not the ledger",
        "nothing is removed: give --yes to remove all of it without a question",
    ]
    assert tree(folder.path) == before


def test_with_yes_all_of_it_goes_and_nothing_else(folder):
    complete = folder.run("baseline", 0)
    for path in (complete.checkpoints, complete.pieces):
        path.mkdir()
        (path / "x.json").write_text("{}")
    (folder.path / ".experiment.yaml.abcd1234").write_text("half")
    (folder.path / ".mine.abcd1234").write_text("not paribus's")
    before = tree(folder.path)
    assert "2.0 MB removed" in clean(folder, "--yes")
    after = tree(folder.path)
    assert after == {name: before[name] for name in after}
    gone = {name for name in before.keys() - after.keys() if before[name] is not None}
    assert gone == {
        name
        for name in before
        if before[name] is not None
        and (name.startswith(("full/seed-0/", "lora/seed-0/", ".experiment"))
             or name.startswith(("baseline/seed-0/checkpoints", "baseline/seed-0/pieces")))
    }  # fmt: skip
    assert {"ledger.jsonl", "experiment.yaml", ".mine.abcd1234"} <= after.keys()
    assert clean(folder, "--yes") == "nothing to remove\n"
    shown = paribus("status", cwd=folder.path.parent.parent).stdout
    assert [line.split()[3:5] for line in shown.splitlines()[2:4]] == [["not", "run"]] * 2


@pytest.mark.parametrize("word", ["runs/small/full/seed-0", "runs/small/full"])
def test_a_part_can_be_named(folder, word):
    clean(folder, word, "--yes")
    assert not folder.run("full", 0).spec.exists()
    assert folder.run("lora", 0).failure.exists()


@pytest.mark.parametrize(("answer", "goes"), [("y", True), ("n", False), ("", False)])
def test_on_a_terminal_it_asks(folder, answer, goes):
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    made = subprocess.run(
        [sys.executable, "-m", "paribus.cli.main", "clean"],
        cwd=folder.path.parent.parent, stdin=theirs, capture_output=True, text=True,
    )  # fmt: skip
    os.close(ours)
    os.close(theirs)
    assert made.returncode == 0, made.stderr
    assert "remove? [y/N]" in made.stdout
    assert folder.run("full", 0).spec.exists() is not goes
    assert ("nothing is removed" in made.stdout) is not goes


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_while_it_asks_it_can_be_stopped(folder, number, code):
    before = tree(folder.path)
    ours, theirs = pty.openpty()
    asking = subprocess.Popen(
        [sys.executable, "-u", "-m", "paribus.cli.main", "clean"],
        cwd=folder.path.parent.parent, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert asking.stdout is not None
    said = b""
    while b"remove? [y/N]" not in said:
        said += os.read(asking.stdout.fileno(), 4096)
    while asking.poll() is None:
        # One that arrives just before the answer is read for is heard with the next.
        asking.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            asking.wait(timeout=5)
    _, errors = asking.communicate()
    os.close(ours)
    os.close(theirs)
    assert (asking.returncode, errors) == (code, b"\nstopped\n")
    assert tree(folder.path) == before


def test_a_run_in_use_stays_and_the_others_do_not(folder):
    with locked(folder.run("full", 0).lock):
        said = clean(folder, "--yes")
    assert "runs/small/full/seed-0: in use, nothing of it is removed\n" in said
    assert folder.run("full", 0).checkpoints.is_dir()
    assert not folder.run("lora", 0).failure.exists()


def test_an_experiment_in_use_stays_whole(folder):
    before = tree(folder.path)
    with locked(folder.lock):
        clean(folder, "--yes")
        clean(folder, "runs/small/lora/seed-0", "--yes")
    assert tree(folder.path) == before


def test_what_changed_since_it_was_shown_stays(folder):
    run = folder.run("full", 0)
    (place,) = (each for each in places_in(folder.path) if each.path == run.path)
    shown = place.look()
    new = make_room(run.checkpoints, 4)
    (new / "weights.safetensors").write_bytes(b"more")
    publish(new, 4, SPEC, None)
    assert {each.what for each in place.remove(shown)} == {"checkpoints"}
    assert len(list(run.checkpoints.glob("step-*"))) == 2
    finish(folder, "lora", answers({0}))
    (other,) = (each for each in places_in(folder.path) if each.path.parent.name == "lora")
    before = tree(other.path)
    assert other.look() == []
    assert other.remove(shown) == shown
    assert tree(other.path) == before


def test_a_run_that_lacks_its_manifest_alone_stays(folder):
    """Damage must not make a complete run one that may go."""
    folder.run("baseline", 0).manifest.unlink()
    clean(folder, "--yes")
    assert folder.run("baseline", 0).result.exists()


def test_links_are_removed_and_not_followed(folder, tmp_path):
    mine = tmp_path / "mine"
    (mine / "step-000009-x").mkdir(parents=True)
    (mine / "step-000009-x" / "weights").write_text("dear")
    run, lora = folder.run("full", 0), folder.run("lora", 0)
    shutil.rmtree(run.checkpoints)
    run.checkpoints.symlink_to(mine)
    (lora.path / "weights").symlink_to(mine)
    (lora.path / "notes.txt").write_text("dear")
    (run.pieces / "link.json").symlink_to(mine / "step-000009-x" / "weights")
    (folder.path / "linked").symlink_to(mine)
    (folder.path / "more").mkdir()
    (folder.path / "more" / "seed-0").symlink_to(mine)
    (folder.path.parent / "other").symlink_to(tmp_path)
    clean(folder, "--yes")
    assert (mine / "step-000009-x" / "weights").read_text() == "dear"
    assert not run.checkpoints.is_symlink()
    assert not (lora.path / "weights").is_symlink()
    assert (lora.path / "notes.txt").read_text() == "dear"  # paribus did not write it
    assert not run.path.exists()


def test_the_cache_only_if_it_is_asked_for(folder, tmp_path, monkeypatch):
    model = tmp_path / "cache" / "models" / "gemma-3-270m-1"
    model.mkdir(parents=True)
    (model / "model.safetensors").write_text("w")
    (model.parent / ".building-x").mkdir()
    monkeypatch.setenv("PARIBUS_CACHE", str(tmp_path / "cache"))
    clean(folder, "--yes")
    assert model.exists()
    assert "gemma-3-270m-1" in clean(folder, "--cache")
    clean(folder, "--cache", "--yes", "--runs", "nowhere")
    assert not model.exists()
    assert (model.parent / ".building-x").exists()  # someone may be at it
    assert cache_place(tmp_path / "none").look() == []


def test_encoded_texts_are_one_line(folder, tmp_path, monkeypatch):
    kept = tmp_path / "cache" / "encodings"
    kept.mkdir(parents=True)
    for name in ("1", "2"):
        (kept / f"{name}.encoded").write_bytes(b"12")
    monkeypatch.setenv("PARIBUS_CACHE", str(tmp_path / "cache"))
    assert "encoded texts" not in clean(folder)
    assert clean(folder, "--cache").count("encoded texts") == 1
    clean(folder, "--cache", "--yes", "--runs", "nowhere")
    assert list(kept.iterdir()) == []


def test_mistakes(folder):
    cwd = folder.path.parent.parent
    for word in ("nothing.yaml", "--runs=nowhere"):
        made = paribus("clean", word, cwd=cwd)
        assert (made.returncode, made.stderr[:7]) == (2, "error: "), made.stderr
