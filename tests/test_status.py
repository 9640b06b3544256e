"""`paribus status`: every state, where a run would continue, and damage that must not stop it."""

import json
import os
import time
from typing import Any

import pytest

from inside import paribus
from paribus.cli.main import main
from paribus.store import runs
from paribus.store.layout import ExperimentFolder
from paribus.store.locks import locked
from paribus.store.runs import RunState
from paribus.store.status import run_status
from stores import SPEC, answers, describe, failed, finish, stopped

KEYS = {
    "experiment", "arm", "seed", "learning_rate", "trial", "state", "steps", "step", "of_steps",
    "tested", "to_test", "checkpoint_step", "goes_on_from", "still_to_test", "age_seconds",
    "changed_seconds", "error", "folder",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path) -> ExperimentFolder:
    """Complete: baseline. Stopped: full, and lora's first seed; not run: its second."""
    folder = ExperimentFolder(tmp_path / "runs" / "small")
    describe(folder, seeds=2)
    finish(folder, "baseline", answers({0}))
    stopped(folder.run("full", 0))
    runs.begin(folder.run("full", 1), SPEC)
    failed(folder.run("lora", 0), "step 2: grad_norm is [nan]\n  → lower it")
    return folder


def rows(folder: ExperimentFolder) -> list[dict[str, Any]]:
    made = paribus("status", "runs/small", "--json", cwd=folder.path.parent.parent)
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout)


def table(folder: ExperimentFolder) -> list[str]:
    made = paribus("status", cwd=folder.path.parent.parent)
    assert made.returncode == 0, made.stderr
    return [" ".join(line.split()) for line in made.stdout.splitlines()]


def test_every_state(folder):
    with locked(folder.run("full", 1).lock):
        shown, found = table(folder), rows(folder)
    assert [row.keys() for row in found] == [KEYS] * 5
    assert [row["state"] for row in found] == [
        "complete", "unfinished", "running", "failed", "not run",
    ]  # fmt: skip
    assert [line.rsplit(" ", 4)[0] for line in shown[1:5]] == [
        "small baseline 0 complete",
        "small full 0 unfinished: resumes from step 2 of 4, text 2 of 20 2/20 texts",
        "small full 1 running",
        "small lora 0 failed: step 2: grad_norm is [nan]",
    ]
    assert shown[5:] == ["small lora 1 not run", "begun, changed: how long ago"]


def test_where_a_stopped_run_goes_on(folder):
    row = rows(folder)[1]
    assert (row["steps"], row["step"], row["of_steps"]) == ("3/4", 3, 4)
    assert (row["checkpoint_step"], row["tested"], row["to_test"]) == (2, 2, 20)
    assert row["goes_on_from"] == "step 2 of 4, text 2 of 20"


def test_a_lock_that_nobody_holds_means_nothing(folder):
    run = folder.run("full", 0)
    with locked(run.lock):
        assert run_status(run).state is RunState.RUNNING
    assert run.lock.read_text().startswith("process ")
    assert run_status(run).state is RunState.UNFINISHED


def test_ages_are_of_the_last_change_and_never_below_zero(folder):
    run, now = folder.run("full", 1), time.time()
    for path, age in ((run.spec, 7300), (run.lock, 0)):
        path.touch()
        os.utime(path, (now - age, now - age))
    runs.append_event(run, {"event": "step", "step": 1, "num_steps": 4})
    os.utime(run.events, (now - 90, now - 90))
    found = run_status(run)
    assert (found.begun, found.changed) == (7300, 90)
    assert "small full 1 unfinished 1/4 steps 2 h 2 min" in table(folder)
    for path in (run.spec, run.events):
        os.utime(path, (now + 5000, now + 5000))  # the clock went backwards
    found = run_status(run)
    assert (found.begun, found.changed) == (0, 0)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b'{"error": 3}'])
def test_damaged_files_of_a_run_are_no_traceback(folder, content):
    for arm, name in [("lora", "failure.json"), ("lora", "spec.json"), ("full", "spec.json"),
                      ("full", "events.jsonl"), ("full", "pieces/zero_shot-entered.json"),
                      ("full", "pieces/zero_shot-000000.json")]:  # fmt: skip
        (folder.run(arm, 0).path / name).write_bytes(content)
    assert [row["state"] for row in rows(folder)] == [
        "complete", "unfinished", "unfinished", "failed", "not run",
    ]  # fmt: skip
    assert "small full 0 unfinished" in "\n".join(table(folder))


@pytest.mark.parametrize("content", [b"", b"{}", b'{"sha256": "0"}'])
def test_a_complete_run_whose_manifest_is_damaged(folder, content):
    folder.run("baseline", 0).manifest.write_bytes(content)
    row = rows(folder)[0]
    assert row["state"] == "damaged"
    assert "manifest.json" in row["error"]
    lines = table(folder)
    assert lines[1].startswith("small baseline 0 damaged: ")
    assert lines[-1].endswith("small/baseline/seed-0 says what is damaged")


def test_a_damaged_description_hides_no_other_experiment(folder):
    cwd = folder.path.parent.parent
    other = ExperimentFolder(folder.path.parent / "other")
    describe(other)
    other.description.write_text("a: [")
    made = paribus("status", cwd=cwd)
    assert made.returncode == 2
    assert "small" in made.stdout
    assert made.stderr.startswith("error: runs/other/experiment.yaml is not what was written")


def test_no_runs_yet(tmp_path):
    made = paribus("status", cwd=tmp_path)
    assert (made.returncode, made.stdout) == (
        0, "no runs under runs; start with: paribus run FILE\n",
    )  # fmt: skip


def test_a_name_that_is_no_piece_of_a_run_is_passed_over(folder):
    run = folder.run("full", 0)
    before = run_status(run)
    (run.pieces / "zero_shot-1x.json").write_text("{}")
    (run.checkpoints / "step-x").mkdir()
    assert run_status(run).tested == before.tested
    assert run_status(run).checkpoint == before.checkpoint


def test_a_complete_run_that_lost_something_is_damaged(folder):
    """By names and sizes: what is in the files is for `verify`."""
    run = folder.run("baseline", 0)
    (run.path / ".DS_Store").touch()
    assert run_status(run).state is RunState.COMPLETE
    run.result.write_text("{}")
    assert run_status(run).state is RunState.DAMAGED
    assert run_status(run).error is not None
    assert run_status(run).error.startswith(f"{run.result} has 2 bytes; the manifest says ")


def test_an_experiment_without_its_description_is_not_passed_over(folder):
    folder.description.unlink()
    told = paribus("status", cwd=folder.path.parent.parent)
    assert told.returncode == 2
    assert "runs/small/experiment.yaml is missing" in told.stderr


@pytest.mark.parametrize(
    ("words", "said", "remedy"),
    [
        (["status", "nope"], "there is no file and no folder nope", "name an experiment's file"),
        (["clean", "nope"], "there is no file and no folder nope", "name an experiment's file"),
        (["report", "nope"], "there is no file and no folder nope", "name an experiment's file"),
        (["report", "runs"], "runs holds no experiment", "name an experiment's file"),
        (["verify", "nope"], "there is no folder nope", "name a folder of runs"),
        (
            ["verify", "runs/small/experiment.yaml"],
            "runs/small/experiment.yaml is not a folder",
            "name",
        ),
    ],
)
def test_a_wrong_path_is_told(folder, words, said, remedy):
    told = paribus(*words, cwd=folder.path.parent.parent)
    assert told.returncode == 2
    assert f"error: {said}" in told.stderr
    assert remedy in told.stderr


def test_no_permission_is_no_traceback(folder, capsys):
    for verb in ("verify", "status", "clean", "report"):
        words = [verb, str(folder.path)]
        main(words)  # all is imported now
        user = os.geteuid()
        folder.path.parent.chmod(0)
        if user == 0:
            os.seteuid(65534)
        try:
            assert main(words) == 2
        finally:
            os.seteuid(user)
            folder.path.parent.chmod(0o700)
        assert "error: no permission for " in capsys.readouterr().err
