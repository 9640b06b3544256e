"""`paribus verify` on a real store: whole, then with every kind of file damaged in turn."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inside import paribus
from paribus.cli.main import main
from paribus.store.layout import ExperimentFolder
from paribus.store.locks import held, locked
from paribus.store.verify import Checked, verify
from stores import flipped, instead, killed

LORA, TRIAL, KILLED = "tuned/lora/seed-0", "tuned/tuning/lora/lr-0.01", "tiny/full/seed-0"
KINDS = [
    "tuned/experiment.yaml", "tuned/ledger.jsonl", "tuned/tuning.json",
    "tuned/report/index.html", "tuned/report/findings.json", "tuned/report/manifest.json",
    *(f"{LORA}/{name}" for name in (
        "spec.json", "events.jsonl", "result.json", "heldout.jsonl", "manifest.json",
        "generations/zero_shot-raw.jsonl", "generations/one_shot-raw.jsonl",
        "weights/adapter_model.safetensors", "weights/adapter_config.json",
    )),
    "tuned/baseline/seed-0/result.json", f"{TRIAL}/result.json", f"{TRIAL}/manifest.json",
    f"{KILLED}/spec.json", f"{KILLED}/pieces/zero_shot-raw-000000.json",
    f"{KILLED}/pieces/zero_shot-raw-entered.json",
    *(f"{KILLED}/checkpoints/step-000005-*/{name}" for name in (
        "weights.safetensors", "random.safetensors", "state.json", "trainer_state.json",
        "events.jsonl", "manifest.json",
    )),
]  # fmt: skip
"""One file of each kind, in `runs`."""


@pytest.fixture
def folder(real_store) -> Path:
    """Each test leaves it as it was."""
    return real_store


def found_in(path: Path) -> list[tuple[Path, str]]:
    checked = Checked()
    verify(path, checked, lambda _: None)
    return [(each.file, each.what) for each in checked.differences]


def test_a_whole_store_is_as_it_was_written(folder):
    made = paribus("verify", cwd=folder)
    assert made.returncode == 0, made.stdout + made.stderr
    assert made.stdout.startswith("5 runs (1 unfinished), ")
    assert made.stdout.endswith(": all as they were written\n")
    assert made.stderr == ""
    said = json.loads(paribus("verify", "runs", "--json", cwd=folder).stdout)
    assert said.keys() == {"runs", "unfinished", "files", "bytes", "in_use", "differences"}
    assert (said["runs"], said["unfinished"], said["differences"]) == (5, 1, [])


@pytest.mark.parametrize(
    ("path", "runs"),
    [("runs/tuned", 4), ("runs/tuned/lora", 1), ("runs/" + LORA, 1), ("runs/" + TRIAL, 1)],
)
def test_a_part_of_a_store_can_be_named(folder, path, runs):
    said = json.loads(paribus("verify", path, "--json", cwd=folder).stdout)
    assert (said["runs"], said["differences"]) == (runs, [])


def test_a_copy_that_is_called_like_a_run_hides_no_experiment(folder, tmp_path):
    shutil.copytree(folder / "runs", tmp_path / "runs")
    shutil.copytree(tmp_path / "runs" / "tuned", tmp_path / "runs" / "seed-1")
    said = json.loads(paribus("verify", "runs", "--json", cwd=tmp_path).stdout)
    assert (said["runs"], said["differences"]) == (9, [])


@pytest.mark.parametrize("stray", ["empty", "copied"])
def test_a_run_beside_experiments_hides_none_of_them(folder, tmp_path, stray):
    shutil.copytree(folder / "runs", tmp_path / "runs")
    (tmp_path / "runs" / LORA / "result.json").write_text("{}")
    if stray == "empty":
        (tmp_path / "runs" / "seed-0").mkdir()
    else:
        shutil.copytree(folder / "runs" / LORA, tmp_path / "runs" / "seed-0")
    told = paribus("verify", "runs", "--json", cwd=tmp_path)
    assert told.returncode == 1
    said = json.loads(told.stdout)
    assert said["runs"] == (5 if stray == "empty" else 6)
    named = {each["file"] for each in said["differences"]}
    copied = {"runs/seed-0/spec.json"} if stray == "copied" else set()
    assert named == {f"runs/{LORA}/result.json"} | copied


def test_names_that_are_no_text_are_spelled_in_ascii(folder, tmp_path):
    shutil.copytree(folder / "runs", tmp_path / "runs")
    name = os.fsdecode(b"x\xff\xc2\x9b2J")
    (tmp_path / "runs" / LORA / name).touch()
    told = paribus("verify", "runs", "--json", cwd=tmp_path)
    assert told.returncode == 1, told.stderr
    assert told.stdout.isascii()
    (found,) = json.loads(told.stdout)["differences"]
    assert found["file"] == f"runs/{LORA}/{name}"


@pytest.mark.parametrize("kind", ["tuned/experiment.yaml", "tuned/ledger.jsonl",
                                  "tuned/report/findings.json", f"{LORA}/manifest.json",
                                  f"{LORA}/result.json", f"{LORA}/generations/zero_shot-raw.jsonl",
                                  f"{KILLED}/events.jsonl", f"{KILLED}/spec.json"])  # fmt: skip
def test_a_pipe_in_place_of_a_file_is_not_waited_for(folder, tmp_path, kind, capsys, monkeypatch):
    shutil.copytree(folder / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    path = Path("runs") / kind
    path.unlink()
    os.mkfifo(path)
    assert main(["verify", "runs", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert str(path) in {each["file"] for each in said["differences"]}
    assert "Errno" not in str(said)
    for words in (["status"], ["clean"], ["report", "runs/tuned"]):
        assert main(words) in (0, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_turned_bit_is_named_in_every_kind_of_file(folder, kind):
    (path,) = folder.glob(f"runs/{kind}")
    content = path.read_bytes()
    with instead(path, flipped(content, len(content) // 2)):
        made = paribus("verify", "--json", cwd=folder)
    assert made.returncode == 1, made.stderr
    assert "Traceback" not in made.stderr
    named = {each["file"] for each in json.loads(made.stdout)["differences"]}
    assert named == {str(path.relative_to(folder))}


FREE = ("lock", "/events.jsonl", "generations/", "heldout.jsonl", "weights/", "trackers/")
"""Of an unfinished run: what whoever continues with it removes and makes again."""


def guarded(folder: Path) -> list[Path]:
    paths = sorted(path for path in (folder / "runs").rglob("*") if path.is_file())
    unfinished = killed(folder)
    kept = (unfinished.checkpoints, unfinished.pieces, unfinished.spec)
    return [
        path
        for path in paths
        if path.name != "lock"
        and (
            not path.is_relative_to(unfinished.path)
            or any(path.is_relative_to(place) for place in kept)
        )
    ]


@pytest.mark.parametrize("at", [0, 1, -1, -2])
def test_every_file_is_guarded_from_its_first_byte_to_its_last(folder, at):
    for path in guarded(folder):
        with instead(path, flipped(path.read_bytes(), at)):
            assert path in [file for file, _ in found_in(folder / "runs")], path
    assert found_in(folder / "runs") == []


def test_a_file_that_is_gone_is_missed(folder):
    """But for what is made again as it was: rates from the trials, texts by testing once more."""
    unfinished = killed(folder)
    for path in guarded(folder):
        if path.name != "tuning.json" and path.parent not in (unfinished.path, unfinished.pieces):
            with instead(path, None):
                assert found_in(folder / "runs"), path


@pytest.mark.parametrize(
    ("path", "what"),
    [
        (f"runs/{LORA}/manifest.json", "is missing, though there is a result"),
        (f"runs/{LORA}/spec.json", "is missing; the manifest says"),
        ("runs/tuned/experiment.yaml", "is missing"),
        ("runs/tuned/tuning.json", "is missing, though lora ran with a chosen rate"),
        ("runs/tuned/ledger.jsonl", "has no line for lora seed 0, likelihood"),
        ("runs/tuned/report/manifest.json", "cannot be read"),
    ],
)
def test_what_is_said_of_a_missing_file(folder, path, what):
    with instead(folder / path, None):
        found = found_in(folder / "runs")
    assert any(file == folder / path and what in said for file, said in found), found


def test_a_ledger_that_lost_a_whole_line_is_named(folder):
    ledger = folder / "runs/tuned/ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    with instead(ledger, b"".join(lines[1:])):
        assert "has no line for" in found_in(folder / "runs/tuned")[0][1]
    with instead(ledger, b"".join(lines) + lines[0][:20]):
        assert found_in(folder / "runs/tuned") == [
            (ledger, "ends within a line, which counts no reading")
        ]


def test_a_line_of_the_ledger_that_comes_twice_is_named(folder):
    ledger = folder / "runs/tuned/ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    with instead(ledger, b"".join([*lines, lines[0], lines[0]])):
        assert found_in(folder / "runs/tuned") == [
            (ledger, f"line {len(lines) + more} repeats line 1, as paribus never writes")
            for more in (1, 2)
        ]


@pytest.mark.parametrize(
    "place",
    ["tuned", "tuned/report", "tuned/lora", LORA, f"{LORA}/weights", f"{KILLED}/pieces",
     f"{KILLED}/checkpoints", "tuned/notes"],
)  # fmt: skip
def test_what_nobody_wrote_is_a_difference(folder, place):
    added = folder / "runs" / place / "notes.txt"
    made = added.parent.exists()
    added.parent.mkdir(exist_ok=True)
    added.write_text("mine")
    try:
        assert [file for file, _ in found_in(folder / "runs")] == [added]
    finally:
        added.unlink()
        if not made:
            added.parent.rmdir()


@pytest.mark.parametrize("place", [".", "tuned", "tuned/lora", LORA, f"{LORA}/weights", KILLED])
def test_links_are_named_and_not_followed(folder, place, tmp_path):
    (tmp_path / "seed-9").mkdir()
    (tmp_path / "seed-9" / "spec.json").write_text("not a run")
    for target in (tmp_path, tmp_path / "seed-9" / "spec.json"):
        link = folder / "runs" / place / "elsewhere"
        link.symlink_to(target)
        try:
            assert [file for file, _ in found_in(folder / "runs")] == [link]
        finally:
            link.unlink()


def test_leftovers_and_locks_are_no_difference(folder):
    run = ExperimentFolder(folder / "runs" / "tuned").run("lora", 0)
    left = [run.checkpoints / "step-000002-0" / "state.json", run.pieces / "x.json",
            killed(folder).checkpoints / ".new-000007-x" / "state.json",
            folder / "runs" / "tuned" / ".tuning.json.abcd1234"]  # fmt: skip
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{")
    try:
        assert found_in(folder / "runs") == []
    finally:
        left[3].unlink()
        for path in (run.checkpoints, run.pieces, left[2].parent):
            shutil.rmtree(path)


def test_what_was_put_aside_is_named(folder):
    run = killed(folder)
    aside = [run.checkpoints / ".damaged-step-000005-0-abc", run.pieces / "likelihood.damaged"]
    aside[0].mkdir()
    aside[1].write_text("{")
    try:
        assert found_in(run.path) == [
            (path, "failed its check and was put aside; `paribus clean` removes it")
            for path in aside
        ]
    finally:
        aside[0].rmdir()
        aside[1].unlink()


def test_a_run_in_the_place_of_another_is_named(folder):
    """Else one seed, copied, would pass for two."""
    runs = ExperimentFolder(folder / "runs" / "tuned")
    copy = runs.run("lora", 1)
    shutil.copytree(runs.run("lora", 0).path, copy.path)
    try:
        (said,) = (what for file, what in found_in(copy.path) if file == copy.spec)
        assert said == "is of lora/seed-0, and lies in the place of lora/seed-1"
    finally:
        shutil.rmtree(copy.path)


def test_a_run_in_use_is_left_alone_and_only_read_stores_stay_as_they_are(folder):
    run = killed(folder)
    before = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("*")}
    with locked(run.lock):
        assert held(run.lock)
        made = paribus("verify", "runs/tiny", cwd=folder)
    assert not held(run.lock)
    assert made.returncode == 0
    assert made.stdout.startswith(f"{run.path.relative_to(folder)}: not checked")
    found_in(folder / "runs")
    changed = {path for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed <= {run.lock}


@pytest.mark.parametrize("words", [["verify"], ["verify", "nothing"]])
def test_nothing_to_check_is_a_mistake(tmp_path, words):
    made = paribus(*words, cwd=tmp_path)
    assert made.returncode == 2
    assert made.stderr.startswith("error: there is no folder")
    assert "→" in made.stderr


@pytest.mark.parametrize("name", ["experiment.yaml", "tuning.json", "ledger.jsonl"])
def test_a_report_of_damaged_files_names_them_and_the_remedy(folder, name):
    path = folder / "runs" / "tuned" / name
    with instead(path, flipped(path.read_bytes(), 200)):
        made = paribus("report", "runs/tuned", cwd=folder)
    assert made.returncode == 2
    assert made.stderr.startswith(f"error: runs/tuned/{name}")
    assert "→" in made.stderr
    assert "Traceback" not in made.stderr


def test_a_report_names_all_that_is_damaged(folder):
    paths = [folder / "runs" / "tuned" / name for name in ("tuning.json", "ledger.jsonl")]
    with instead(paths[0], b"{"), instead(paths[1], b"x\n"):
        made = paribus("report", "runs/tuned", cwd=folder)
    assert made.returncode == 2
    assert all(f"runs/tuned/{path.name}" in made.stderr for path in paths)


def test_the_verbs_import_nothing_heavy():
    heavy = {"torch", "transformers", "peft", "scipy", "matplotlib"}
    for module in ("verify", "clean", "status"):
        code = f"import sys, paribus.cli.{module}; print(sorted({heavy!r} & set(sys.modules)))"
        made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert made.stdout.strip() == "[]", f"{module}: {made.stdout}{made.stderr}"
