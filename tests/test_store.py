"""The run store: a run is whole or it is not, and what was finished stays."""

import errno
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from by_hand import result
from paribus.errors import DamagedError, StoreError
from paribus.files import json_line, read_json, sha256_of_file, write_json
from paribus.records import Generation, Stop
from paribus.store.experiments import DescribedArm, Description, read_description, write_description
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.manifest import MANIFEST_FORMAT, check, read_manifest
from paribus.store.results import read_result, write_result
from paribus.store.runs import (
    RunState,
    append_event,
    begin,
    fail,
    finish,
    read_events,
    read_generations,
    state,
    write_generations,
)

SPEC = {"fingerprint": "f" * 64, "arm": "full", "replicate": 0}
TEXTS = ["#### 0\n", "caf\u00e9\u2028\u0085 <b>", 'a "b"\\', "", "x", "\x00\ud7ff\U0001f600"]
GENERATIONS = [
    Generation(
        problem_id=f"{number:016x}",
        question="How many?",
        answer=str(number),
        prompt_sha256="0" * 64,
        text=text,
        num_tokens=number,
        stop=stop,
    )
    for number, (stop, text) in enumerate(zip(Stop, TEXTS, strict=True))
]


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return ExperimentFolder(tmp_path / "runs" / "x").run("full", 0)


@pytest.fixture
def complete(run) -> RunFolder:
    begin(run, SPEC)
    append_event(run, {"event": "step", "step": 1, "loss": 2.5})
    run.weights.mkdir()
    (run.weights / "model.safetensors").write_bytes(b"weights")
    write_generations(run, "zero_shot", GENERATIONS)
    finish(run, result())
    return run


@pytest.fixture
def read_only():
    """A folder that may not be written, also not by root: root becomes nobody for the test."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(user)
            folder.chmod(0o755)


def test_a_run_goes_from_missing_to_complete(run):
    assert state(run) is RunState.MISSING
    begin(run, SPEC)
    assert state(run) is RunState.UNFINISHED
    fail(run, "RunFailed: step 3: loss is nan", "Traceback …")
    assert state(run) is RunState.FAILED
    assert read_json(run.failure)["error"] == "RunFailed: step 3: loss is nan"
    begin(run, SPEC)
    assert state(run) is RunState.UNFINISHED
    finish(run, result())
    assert state(run) is RunState.COMPLETE
    check(run)


def test_the_manifest_lists_every_file(complete):
    names = ["events.jsonl", "generations/zero_shot.jsonl", "result.json", "spec.json",
             "weights/model.safetensors"]  # fmt: skip
    assert read_manifest(complete) == {
        "format": MANIFEST_FORMAT,
        "fingerprint": "f" * 64,
        "files": {
            name: {
                "bytes": (complete.path / name).stat().st_size,
                "sha256": sha256_of_file(complete.path / name),
            }
            for name in names
        },
    }
    everything = {p.relative_to(complete.path).as_posix() for p in complete.path.rglob("*.*")}
    assert everything == {*names, "manifest.json"}  # no temporary file stays behind


def test_a_complete_run_is_never_overwritten(complete):
    before = {path: path.read_bytes() for path in complete.path.rglob("*.*")}
    with pytest.raises(StoreError, match="holds a complete run") as caught:
        begin(complete, {**SPEC, "replicate": 1})
    assert "delete the folder to run it again" in caught.value.remedy
    assert {path: path.read_bytes() for path in complete.path.rglob("*.*")} == before


def test_an_unfinished_run_starts_anew(run):
    begin(run, SPEC)
    append_event(run, {"event": "step"})
    write_generations(run, "zero_shot", GENERATIONS)
    begin(run, SPEC)
    assert [path.name for path in run.path.iterdir()] == ["spec.json"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.unlink(), r"zero_shot\.jsonl is missing; the manifest says \d+ bytes"),
        (lambda p: p.write_bytes(p.read_bytes()[:-1]), r"has (\d+) bytes; the manifest says"),
        (lambda p: p.write_bytes(p.read_bytes() + b"\n"), r"has (\d+) bytes; the manifest says"),
    ],
    ids=["lost", "cut", "longer"],
)
def test_check_finds_a_changed_file(complete, damage, message):
    check(complete)
    damage(complete.generations("zero_shot"))
    with pytest.raises(StoreError, match=message) as caught:
        check(complete)
    assert str(complete.path) in caught.value.remedy


@pytest.mark.parametrize("text", ["", '{"files": {', "[]", '{"format": 1}', '{"files": {"a": 1}}'])
def test_check_finds_a_damaged_manifest(complete, text):
    complete.manifest.write_text(text)
    with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
        check(complete)


def test_events_are_read_by_kind_in_order(run):
    begin(run, SPEC)
    assert read_events(run, "step") == []
    events = [{"event": kind, "n": n, "text": "a\u2028b\u0085c\nd"}
              for n, kind in enumerate(["step", "stage", "step"])]  # fmt: skip
    for event in events:
        append_event(run, event)
    assert read_events(run, "step") == [events[0], events[2]]
    assert read_events(run, "stage") == [events[1]]


def test_a_torn_last_event_is_skipped_wherever_it_is_cut(run):
    begin(run, SPEC)
    append_event(run, {"event": "step", "n": 1})
    whole = run.events.read_bytes()
    torn = json_line({"event": "step", "n": 2, "text": "caf\u00e9"}).encode()
    for cut in range(len(torn) - 1):
        run.events.write_bytes(whole + torn[:cut])
        assert read_events(run, "step") == [{"event": "step", "n": 1}]
    run.events.write_bytes(whole + torn)
    assert len(read_events(run, "step")) == 2


def test_what_only_some_tasks_have_is_in_their_rows_alone(run):
    begin(run, SPEC)
    rich = replace(
        GENERATIONS[0],
        answers=("one", "1"),
        choices=("a", "b"),
        choice_nlls=(0.5, 2.25),
        document={"text": "caf\u00e9", "n": [1, {"deep": None}]},
    )
    write_generations(run, "zero_shot", [GENERATIONS[0], rich])
    plain, whole = run.generations("zero_shot").read_text().splitlines()
    assert set(json.loads(whole)) - set(json.loads(plain)) == {
        "answers", "choices", "choice_nlls", "document"
    }  # fmt: skip
    found = read_generations(run.generations("zero_shot"))
    assert found == [GENERATIONS[0], rich]
    assert found[1].document == rich.document


def test_generations_come_back_as_they_were(run):
    begin(run, SPEC)
    write_generations(run, "one_shot", GENERATIONS)
    path = run.generations("one_shot")
    assert read_generations(path) == GENERATIONS
    assert len(path.read_bytes().split(b"\n")) == len(GENERATIONS) + 1


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line[: len(line) // 2],
        lambda line: line.replace(b'"stop"', b'"end"'),
        lambda line: line.replace(b"next_question", b"tired"),
        lambda line: line.replace(b'"problem_id"', b'"id"'),
        lambda line: b"[1, 2]",
        lambda line: b"7",
        lambda line: line.replace(b"How", b"H\xffw"),
    ],
    ids=["torn", "no-stop", "unknown-stop", "other-key", "list", "number", "not-utf-8"],
)
def test_a_damaged_generation_is_an_error_that_names_the_file(complete, change):
    path = complete.generations("zero_shot")
    lines = path.read_bytes().split(b"\n")
    assert change(lines[2]) != lines[2]
    lines[2] = change(lines[2])
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(StoreError, match=r"generations/zero_shot\.jsonl cannot be read") as caught:
        read_generations(path)
    assert "restore the file" in caught.value.remedy


def test_what_may_not_be_written_says_what_to_do(read_only):
    run = ExperimentFolder(read_only / "x").run("full", 0)
    with pytest.raises(
        StoreError, match=f"cannot write {read_only}.*: Permission denied"
    ) as caught:
        begin(run, SPEC)
    assert caught.value.remedy.startswith("give yourself write permission, or put the runs else")


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(StoreError, match=f"cannot write {tmp_path}/runs.*: Not a directory"):
        begin(ExperimentFolder(tmp_path / "runs").run("full", 0), SPEC)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_says_what_to_do(run):
    begin(run, SPEC)
    run.events.symlink_to("/dev/full")
    with pytest.raises(StoreError, match=r"cannot write .*events.jsonl: No space left") as caught:
        append_event(run, {"event": "step"})
    assert caught.value.remedy.startswith("free some disk space")


def test_a_write_that_fails_leaves_the_old_file(complete, monkeypatch):
    def no_room(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = complete.generations("zero_shot").read_bytes()
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(StoreError, match=r"cannot write .*zero_shot\.jsonl: No space left"):
        write_generations(complete, "zero_shot", GENERATIONS[:1])
    assert complete.generations("zero_shot").read_bytes() == before
    assert [path.name for path in (complete.path / "generations").iterdir()] == ["zero_shot.jsonl"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_that_is_none_is_stored(run, value):
    begin(run, SPEC)
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_event(run, {"event": "step", "loss": value})
    with pytest.raises(ValueError, match="not JSON compliant"):
        finish(run, result(loss=value))
    with pytest.raises(ValueError, match="finite number"):
        result(training={"final_loss": value})
    assert not run.result.exists()
    assert state(run) is RunState.UNFINISHED


def test_a_result_is_written_as_it_was_read(tmp_path):
    """Whatever other versions recorded: an unknown key, a figure less, a null."""
    stored = {
        "training": {"steps": 3, "seconds": 1.5, "of_another_version": [1, None]},
        "evaluation": {"protocol": "zero_shot/raw", "problems": 2, "peak_memory_bytes": None},
        "also": {},
        "heldout": {"problems": 2, "nll_per_token": None},
        "forked_from": {"fingerprint": "f", "step": 2, "differences": ["a"], "before": None},
        "environment": {"torch": "2.13.0"},
    }
    write_json(tmp_path / "before.json", stored)
    read = read_result(tmp_path / "before.json")
    assert (read.training.steps, read.training.examples, read.data) == (3, None, None)
    write_result(tmp_path / "after.json", read)
    assert (tmp_path / "after.json").read_bytes() == (tmp_path / "before.json").read_bytes()


def test_runs_are_listed_by_arm_and_seed(tmp_path):
    folder = ExperimentFolder(tmp_path)
    for arm, seed in [("lora", 0), ("full", 10), ("full", 2), ("full", 0)]:
        begin(folder.run(arm, seed), SPEC)
    (tmp_path / "full" / "seed-3").mkdir()
    listed = [(run.arm, run.replicate) for run in folder.runs()]
    assert listed == [("full", 0), ("full", 2), ("full", 10), ("lora", 0)]


def test_the_description_comes_back(tmp_path):
    folder = ExperimentFolder(tmp_path / "x")
    with pytest.raises(StoreError, match=r"experiment\.yaml is missing") as caught:
        read_description(folder)
    assert "run the experiment" in caught.value.remedy
    description = Description(
        config={"name": "x", "rate": 1e-5, "question": "caf\u00e9: #1\n", "seeds": 1},
        origins={"name": "x.yaml:1"},
        arms=[DescribedArm(name="full", factors={"r": [1, 2]}, identity={"method": "full"})],
        contrasts=[],
    )
    write_description(folder, description)
    assert read_description(folder) == description
    whole = folder.description.read_bytes()
    for damaged in (b"a: [", b"", whole[:-1], whole.partition(b"\n")[2], whole.replace(b"x", b"y")):
        folder.description.write_bytes(damaged)
        with pytest.raises(DamagedError, match=r"experiment\.yaml is not what was written"):
            read_description(folder)
