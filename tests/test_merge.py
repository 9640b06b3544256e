"""`paribus merge`: the stores of several machines become the one that a single one had filled."""

import errno
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paribus.analysis.reading import read_experiment, reads_by_run
from paribus.cli.main import main
from paribus.files import read_json, sha256_of_json
from paribus.store import merge as merging
from paribus.store import runs
from paribus.store.experiments import ArmTuning, Tried, write_tuning
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.ledger import Look, TestRead, append_look, append_read, read_ledger, read_looks
from paribus.store.locks import locked
from paribus.store.manifest import write_manifest
from stores import answers, complete_run, describe, enter, failed, flipped, stopped

BOTH = {"full": "full", "lora": "lora"}
SEEDS = 3
WHOLE = [(arm, seed) for arm in BOTH for seed in range(SEEDS)]
INPUTS = {"model": "sha256:m", "test_sha256": "t", "tokens": "k"}
MACHINES = ("8 cores, Linux", "2 cores, Linux")


def identity(arm: str, seed: int = 0) -> dict[str, Any]:
    return {"method": arm, "model": "tiny", "seed": 0, "replicate": seed,
            "training": {"learning_rate": 1e-4}}  # fmt: skip


def described(folder: Path, **config: Any) -> ExperimentFolder:
    made = ExperimentFolder(folder)
    describe(made, BOTH, [("full", "lora", "method")],
             identity={key: value for key, value in identity("").items() if key != "method"},
             **{"seeds": SEEDS, "data": {"path": str(folder)}, **config})  # fmt: skip
    return made


def run_in(
    folder: ExperimentFolder, arm: str, seed: int, *, machine: str = MACHINES[0],
    at: str = "2026-01-31T12", **spec: Any,
) -> RunFolder:  # fmt: skip
    """A complete run, on record, as `paribus run` leaves it."""
    run = folder.run(arm, seed)
    own = {"identity": identity(arm, seed), "inputs": INPUTS, "arm": arm, "replicate": seed,
           "environment": {"machine": machine}} | spec  # fmt: skip
    own["fingerprint"] = sha256_of_json(own["identity"])
    minute = WHOLE.index((arm, seed)) if (arm, seed) in WHOLE else 59
    append_read(folder.ledger, TestRead(
        time=f"{at}:{minute:02}:00+00:00", arm=arm, seed=seed, protocol="zero_shot/raw",
        problems=10, test_sha256="t", fingerprint=own["fingerprint"],
    ))  # fmt: skip
    complete_run(run, answers({*range(seed, seed + 3)}), "zero_shot/raw", spec=own,
                 environment={"machine": machine})  # fmt: skip
    run.weights.mkdir()
    (run.weights / "adapter_model.safetensors").write_bytes(f"{arm}{seed}".encode() * 500)
    write_manifest(run)
    return run


def store(
    folder: Path, which: Iterable[tuple[str, int]] = WHOLE, **of_run: Any
) -> ExperimentFolder:
    made = described(folder)
    for arm, seed in which:
        run_in(made, arm, seed, **of_run)
    return made


def files(folder: Path) -> dict[str, bytes]:
    """Every file but locks and the report, by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock" and "report" not in path.parts
    }


def part(whole: ExperimentFolder, folder: Path, which: Iterable[tuple[str, int]]) -> Path:
    """What a machine has that ran only these of an experiment's runs."""
    folder.mkdir(parents=True)
    shutil.copy(whole.description, folder)
    which = set(which)
    for arm, seed in which:
        shutil.copytree(whole.run(arm, seed).path, ExperimentFolder(folder).run(arm, seed).path)
    lines = whole.ledger.read_text().splitlines(keepends=True)
    mine = [line for line in lines if (json.loads(line)["arm"], json.loads(line)["seed"]) in which]
    (folder / "ledger.jsonl").write_text("".join(mine))
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> ExperimentFolder:
    return store(tmp_path_factory.mktemp("whole") / "x")


counter = itertools.count()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    parts=st.lists(st.sets(st.sampled_from(WHOLE)), min_size=2, max_size=4).filter(
        lambda parts: set().union(*parts) == set(WHOLE)
    ),
    into=st.sampled_from(["new", "the first", "an older merge"]),
)
def test_parts_give_the_whole_back(whole, tmp_path, parts, into):
    """Parts may overlap or be empty, and be joined at once, in the first, or one by one."""
    folder = tmp_path / str(next(counter))
    stores = [part(whole, folder / f"part{at}", which) for at, which in enumerate(parts)]
    goal = stores[0] if into == "the first" else folder / "joined"
    if into == "an older merge":
        assert main(["merge", *map(str, stores[:2]), "--into", str(goal)]) == 0
        stores = stores[2:] or stores[:1]
    assert main(["merge", *map(str, stores), "--into", str(goal)]) == 0
    assert files(goal) == files(whole.path)
    assert main(["verify", str(goal)]) == 0


def test_the_joined_store_has_the_report_of_the_whole(whole, tmp_path, capsys):
    """But for the hour at which it was looked at."""
    shutil.copytree(whole.path, tmp_path / "whole")
    halves = [part(whole, tmp_path / name, which)
              for name, which in (("a", WHOLE[::2]), ("b", WHOLE[1::2]))]  # fmt: skip
    assert main(["merge", *map(str, halves), "--into", str(tmp_path / "c")]) == 0
    found = []
    for name in ("whole", "c"):
        assert main(["report", str(tmp_path / name)]) == 0, capsys.readouterr().err
        text = ExperimentFolder(tmp_path / name).findings.read_text()
        found.append(json.loads(re.sub(r"20\d\d-\d\d-\d\dT[\d:]+\+00:00", "then", text)))
    assert found[0] == found[1]
    assert main(["verify", str(tmp_path / "c")]) == 0
    assert main(["status", str(tmp_path / "c")]) == 0


def two(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Stores of two machines, and where they are to be joined."""
    a = store(tmp_path / "a", WHOLE[:3], machine=MACHINES[0])
    b = store(tmp_path / "b", WHOLE[3:], machine=MACHINES[1])
    return a.path, b.path, tmp_path / "c"


def test_what_is_said(tmp_path, capsys):
    a, b, c = two(tmp_path)
    stopped(ExperimentFolder(a).run("lora", 0))
    append_read(
        a / "ledger.jsonl", replace(read_ledger(b / "ledger.jsonl")[0], protocol="zero_shot")
    )
    failed(ExperimentFolder(a).run("lora", 1), "the disk\nis full")
    said = joined(a, b, c, capsys)
    assert said["copied"] == [str(c / arm / f"seed-{seed}") for arm, seed in WHOLE]
    assert said["kept"] == said["agreeing"] == []
    assert said["left_out"] == [
        {"folder": str(a / "lora/seed-0"),
         "why": "unfinished; it resumes there from step 2 of 4, text 2 of 20"},
        {"folder": str(a / "lora/seed-1"), "why": "failed: the disk"},
    ]  # fmt: skip
    assert said["machines"] == {MACHINES[0]: 3, MACHINES[1]: 3}
    assert said["readings"] == 7
    assert said["bytes"] == sum(
        entry["bytes"]
        for path in c.rglob("manifest.json")
        for entry in read_json(path)["files"].values()
    )
    assert joined(a, b, c, capsys) | {"bytes": 0, "kept": []} == said | {
        "copied": [], "bytes": 0, "agreeing": said["copied"]
    }  # fmt: skip
    assert main(["merge", str(a), str(b), "--into", str(c)]) == 0
    text = capsys.readouterr().out
    assert "lora/seed-1: not taken: failed: the disk" in text
    assert "6 runs there already; 6 runs in more than one store, all alike; 7 readings" in text
    assert "2 cores, Linux (3 runs)" in text
    assert main(["verify", str(c)]) == 0


def joined(a: Path, b: Path, c: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["merge", str(a), str(b), "--into", str(c), "--json"]) == 0, capsys.readouterr().err
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    return said


# What is refused, and by what words. Each gets the folders a and b, which could be joined in c.


def rerun(folder: Path, arm: str, seed: int, **of_run: Any) -> None:
    shutil.rmtree(folder / arm / f"seed-{seed}", ignore_errors=True)
    run_in(ExperimentFolder(folder), arm, seed, **of_run)


def one_bit(path: Path, at: int = 20) -> None:
    path.write_bytes(flipped(path.read_bytes(), at))


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


def test_of_two_executions_one_is_left_out_and_both_readings_count(tmp_path, capsys):
    a, b, c = two(tmp_path)
    rerun(b, "full", 1, machine=MACHINES[1], at="2026-02-01T08")
    words = ["merge", str(a), str(b), "--into", str(c), "--leave-out"]
    assert main([*words, str(b / "full" / "seed-7")]) == 2
    assert "no run is left out by" in capsys.readouterr().err
    assert main([*words, str(b / "full")]) == 0
    assert "full/seed-1: not taken: left out as asked" in capsys.readouterr().out
    assert files(c / "full/seed-1") == files(a / "full/seed-1")
    times = [read.time for read in read_ledger(c / "ledger.jsonl")]
    assert len(times) == 7
    assert times == sorted(times)
    assert main(["verify", str(c)]) == 0
    assert main(["report", str(c)]) == 0
    rows = reads_by_run(read_experiment(ExperimentFolder(c)))
    counts = {(row.arm, row.seed): row.counts["zero_shot/raw"] for row in rows}
    assert counts == {**dict.fromkeys(WHOLE, 1), ("full", 1): 2}


def test_the_lines_of_ledgers_keep_their_seals_and_looks(tmp_path):
    a, b, c = two(tmp_path)
    for folder, hour in ((a, 13), (b, 14)):
        append_look(folder / "ledger.jsonl", Look(
            time=f"2026-01-31T{hour}:00:00+00:00", look=1, runs={"full": 3}, problems=10
        ))  # fmt: skip
    with (b / "ledger.jsonl").open("a") as file:
        file.write('{"time": "2026')  # whose reading never began
    lines = [
        *(a / "ledger.jsonl").read_text().splitlines(),
        *(b / "ledger.jsonl").read_text().splitlines()[:-1],
    ]
    assert main(["merge", str(a), str(b), "--into", str(c)]) == 0
    assert sorted((c / "ledger.jsonl").read_text().splitlines()) == sorted(lines)
    assert [look.time[11:13] for look in read_looks(c / "ledger.jsonl")] == ["13", "14"]
    assert main(["verify", str(c)]) == 0


def declared(path: Path, runs_of: dict[str, int], goes_on: tuple[str, ...]) -> None:
    append_look(path / "ledger.jsonl", Look(
        time="2026-01-31T13:00:00+00:00", look=1, runs=runs_of, problems=10, planned=(3, 6),
        decided=(), goes_on=goes_on,
    ))  # fmt: skip


def test_declared_looks_that_decided_otherwise_are_refused(tmp_path, capsys):
    a, b, c = two(tmp_path)
    declared(a, {"full": 3, "lora": 3}, ("full", "lora"))
    declared(b, {"full": 3, "lora": 3}, ("full",))
    assert main(["merge", str(a), str(b), "--into", str(c)]) == 2
    assert "other decisions of the look at 3 seeds: lora stopped in" in capsys.readouterr().err


def tried(folder: Path, arm: str, seconds: float) -> None:
    """A trial of a learning rate, and the record of it."""
    store = ExperimentFolder(folder)
    spec = {"fingerprint": sha256_of_json({"trial": True}), "identity": {"trial": True},
            "arm": arm, "replicate": 0, "inputs": {}}  # fmt: skip
    cost = {"protocol": "zero_shot", "problems": 0, "seconds": seconds}
    complete_run(store.trial(arm, "lr-0.0001"), spec=spec, evaluation=cost)
    write_tuning(store, {arm: ArmTuning(
        chosen=1e-4, edge=None,
        trials=[Tried(learning_rate=1e-4, state="complete", fingerprint="f", seconds=seconds)],
    )})  # fmt: skip


def test_trials_come_along_and_found_rates_stand_for_open_ones(tmp_path, capsys):
    """Each machine tuned the arm that it ran, and left the other's rate open."""
    a, b, c = two(tmp_path)
    for folder, own in ((a, "full"), (b, "lora")):
        text = ExperimentFolder(folder)
        description = merging.read_description(text)
        arms = [arm if arm.name == own else arm.model_copy(update={"identity": {
            **arm.identity, "training": {"learning_rate": "tuned"}}})
            for arm in description.arms]  # fmt: skip
        merging.write_description(text, description.model_copy(update={"arms": arms}))
        tried(folder, own, 1.0)
    assert main(["merge", str(a), str(b), "--into", str(c)]) == 0, capsys.readouterr().err
    found = merging.read_description(ExperimentFolder(c))
    assert [arm.identity["training"]["learning_rate"] for arm in found.arms] == [1e-4, 1e-4]
    assert merging.read_tuning(ExperimentFolder(c)).keys() == {"full", "lora"}
    assert (c / "tuning/lora/lr-0.0001/manifest.json").read_bytes() == (
        b / "tuning/lora/lr-0.0001/manifest.json"
    ).read_bytes()
    assert main(["verify", str(c)]) == 0, capsys.readouterr().out


def test_trials_of_two_executions_are_left_out_together(tmp_path, capsys):
    a, b, c = two(tmp_path)
    tried(a, "full", 1.0)
    tried(b, "full", 2.0)
    words = ["merge", str(a), str(b), "--into", str(c)]
    assert main(words) == 2
    assert f"--leave-out {b}/tuning/full" in capsys.readouterr().err
    assert main([*words, "--leave-out", str(b / "tuning" / "full")]) == 0
    assert (c / "tuning.json").read_bytes() == (a / "tuning.json").read_bytes()


def test_arms_of_baselines_are_joined(tmp_path):
    """A store of `paribus baseline` has the models that it was asked about."""
    stores = [ExperimentFolder(tmp_path / name) for name in "ab"]
    for folder, models in zip(stores, (["m", "n"], ["n", "o"]), strict=True):
        describe(folder, dict.fromkeys(models, "none"), [], model=models, name="baselines")
        for model in models:
            spec = {"identity": {"method": "none", "model": "tiny", "seed": 0}, "inputs": {},
                    "arm": model, "replicate": 0}  # fmt: skip
            spec["fingerprint"] = sha256_of_json(spec["identity"])
            enter(folder, model, "zero_shot")
            complete_run(folder.run(model, 0), answers({1}), spec=spec)
    assert main(["merge", *(str(each.path) for each in stores), "--into", str(tmp_path / "c")]) == 0
    found = merging.read_description(ExperimentFolder(tmp_path / "c"))
    assert [arm.name for arm in found.arms] == ["m", "n", "o"]
    assert main(["verify", str(tmp_path / "c")]) == 0


def test_what_a_process_works_on_is_left_out(tmp_path, capsys):
    a, b, c = two(tmp_path)
    run = ExperimentFolder(b).run("lora", 0)
    with locked(ExperimentFolder(b).lock), locked(run.lock):
        said = joined(a, b, c, capsys)
    assert said["left_out"] == [{"folder": str(run.path), "why": "a process works on it"}]
    with locked(ExperimentFolder(c).lock):
        assert main(["merge", str(a), str(b), "--into", str(c)]) == 2
    assert "in use" in capsys.readouterr().err
    assert len(joined(a, b, c, capsys)["copied"]) == 1
    assert main(["verify", str(c)]) == 0


def test_an_unfinished_run_makes_no_room_by_itself(tmp_path, capsys):
    a, b, _ = two(tmp_path)
    stopped(ExperimentFolder(a).run("lora", 0))
    append_read(
        a / "ledger.jsonl", replace(read_ledger(b / "ledger.jsonl")[0], protocol="zero_shot")
    )
    assert main(["merge", str(b), "--into", str(a)]) == 2
    assert f"paribus clean {a}/lora/seed-0" in capsys.readouterr().err
    assert main(["clean", str(a / "lora/seed-0"), "--yes"]) == 0
    assert main(["merge", str(b), "--into", str(a)]) == 0
    assert main(["verify", str(a)]) == 0


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


def test_a_real_store_with_trials_and_a_killed_run(real_store, tmp_path):
    """Copied in from a store that is read only."""
    source = tmp_path / "from"
    shutil.copytree(real_store / "runs", source)
    for path in source.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert main(["merge", str(source / "tuned"), "--into", str(tmp_path / "c")]) == 0
    assert files(tmp_path / "c") == files(real_store / "runs" / "tuned")
    for name in ("tuned", "tiny"):
        assert main(["verify", str(source / name)]) == 0
    assert main(["verify", str(tmp_path / "c")]) == 0
    assert all(os.access(path, os.W_OK) for path in (tmp_path / "c").rglob("*"))
