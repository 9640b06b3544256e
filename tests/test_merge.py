"""`paribus merge`: the stores of several machines become the one that a single one had filled."""

import itertools
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inside import paribus
from paribus.analysis.reading import read_experiment, reads_by_run
from paribus.cli.main import main
from paribus.files import read_json, sha256_of_json
from paribus.store import merge as merging
from paribus.store.experiments import ArmTuning, Tried, write_tuning
from paribus.store.layout import ExperimentFolder
from paribus.store.ledger import Look, append_look, append_read, read_ledger, read_looks
from paribus.store.locks import locked
from parts import MACHINES, WHOLE, files, part, rerun, store, two
from stores import EXPERIMENT, answers, complete_run, describe, enter, failed, stopped


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


def test_looks_of_two_stores_are_counted_one_after_the_other(tmp_path, capsys):
    """Each store had a first look; the joined one has two, and its next report is the third."""
    a, b, c = two(tmp_path)
    for folder, hour in ((a, 13), (b, 14)):
        append_look(folder / "ledger.jsonl", Look(
            time=f"2026-01-31T{hour}:00:00+00:00", look=1, runs={"full": hour - 12}, problems=10
        ))  # fmt: skip
    assert main(["merge", str(a), str(b), "--into", str(c)]) == 0
    assert main(["report", str(c)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "This is look 3 at growing data (look 1: 1 runs" in said
    assert "look 2: 2 runs" in said
    assert main(["verify", str(c)]) == 0


def test_an_adopted_run_and_its_own_line_are_one_reading(tmp_path, capsys):
    """Before there was `merge`, runs were copied over by hand and adopted."""
    a, b, c = two(tmp_path)
    shutil.copytree(b / "lora/seed-0", a / "lora/seed-0")
    assert main(["adopt", str(a / "lora/seed-0")]) == 0
    assert main(["merge", str(a), str(b), "--into", str(c)]) == 0
    assert len(read_ledger(c / "ledger.jsonl")) == 7
    rows = reads_by_run(read_experiment(ExperimentFolder(c)))
    assert [row.counts for row in rows] == [{"zero_shot/raw": 1}] * 6


def test_the_folder_that_one_is_in_can_be_named(tmp_path, monkeypatch):
    a, b, _ = two(tmp_path)
    monkeypatch.chdir(a)
    assert main(["merge", "../b", "--into", "."]) == 0
    assert main(["merge", ".", "../b", "--into", "../c"]) == 0
    assert files(Path("../c")) == files(Path())


def test_parts_that_ran_apart_are_one_experiment(tiny, tmp_path):
    """Each of two machines tuned an arm and ran it: trials, rates and runs come together."""
    content = {**EXPERIMENT, "name": "x", "model": str(tiny),
               "matrix": {"method": ["full", "lora"]},
               "tune": {"learning_rates": {"full": [1e-4, 1e-3], "lora": [1e-3, 1e-2]}},
               }  # fmt: skip
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    for arms, root in (("baseline,full", "a"), ("lora", "b")):
        made = paribus("run", "x.yaml", "--arms", arms, "--runs", root, cwd=tmp_path)
        assert made.returncode == 0, made.stdout + made.stderr
    made = paribus("merge", "a/x", "b/x", "--into", "runs/x", cwd=tmp_path)
    assert made.returncode == 0, made.stdout + made.stderr
    assert paribus("verify", cwd=tmp_path).returncode == 0
    nothing_left = paribus("run", "x.yaml", cwd=tmp_path)
    assert nothing_left.returncode == 0, nothing_left.stdout + nothing_left.stderr
    found = read_json(tmp_path / "runs/x/report/findings.json")
    assert {run["state"] for run in found["arms"]} == {"complete"}
    assert all(each["machines"] is None for each in found["contrasts"])
    for root in ("a", "b"):
        for path in (tmp_path / root / "x").glob("*/seed-*/manifest.json"):
            there = tmp_path / "runs" / path.relative_to(tmp_path / root)
            assert there.read_bytes() == path.read_bytes()
