"""Machines that differ are said on every comparison whose runs cross them, and on no other."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import by_hand
from paribus.analysis.findings import conclude, payload
from paribus.analysis.machines import Crossing, crossing
from paribus.analysis.tables import Arm, Run, Tables
from paribus.cli.main import main
from paribus.files import json_line, read_json
from paribus.planning.devices import driver_version
from paribus.report.terminal import remarks
from paribus.store.layout import ExperimentFolder
from stores import answers, complete_run, describe, enter

MACHINES = {
    "8": {"machine": "cpu, 8 threads, Linux x86_64", "processor": "EPYC, AVX2", "torch": "2.13.0"},
    "2": {"machine": "cpu, 2 threads, Linux x86_64", "processor": "Xeon, AMX", "torch": "2.13.0"},
    "h": {"machine": "NVIDIA H100, Linux x86_64", "processor": "Xeon, AMX", "torch": "2.13.0",
          "driver": "570.86.15"},
    "d": {"machine": "NVIDIA H100, Linux x86_64", "processor": "Xeon, AMX", "torch": "2.13.0",
          "driver": "550.54.14"},
    "r": {"machine": "cpu, 8 threads, Linux x86_64", "processor": "EPYC, AVX2", "torch": "2.13.0",
          "ranks": "2"},
    "t": {"machine": "cpu, 8 threads, Linux x86_64", "processor": "EPYC, AVX2", "torch": "2.12.0"},
    ".": {},
}  # fmt: skip
"""By the letter that stands for it: a row of letters is an arm, a letter one of its seeds."""


def ran(arms: dict[str, str]) -> Tables:
    """Arms whose seeds ran on the machines of these letters; "?" has no recorded making."""
    runs = [
        Run(arm=name, seed=seed, state=by_hand.RunState.COMPLETE,
            result=None if letter == "?" else by_hand.result(environment=MACHINES[letter]))
        for name, letters in arms.items()
        for seed, letter in enumerate(letters)
    ]  # fmt: skip
    return Tables(
        config={}, origins={}, declared=(), runs=tuple(runs),
        arms=tuple(Arm(name=name, factors={}, identity={"method": "none" if name == "untuned"
                       else "full"}) for name in arms),
    )  # fmt: skip


def crossed(tables: Tables) -> Crossing | None:
    return crossing(tables, {arm.name: [run for run in tables.runs if run.arm == arm.name]
                             for arm in tables.arms})  # fmt: skip


def said_of(arms: dict[str, str]) -> str:
    tables = ran(arms)
    found = crossed(tables)
    return found.sentence if found else ""


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ({"full": "888", "lora": "888"}, ""),
        ({"full": "8", "lora": "?"}, ""),
        ({"full": "??", "lora": "??"}, ""),
        (
            {"full": "888", "lora": "222"},
            "machine and processor differ too (cpu, 8 threads, Linux x86_64; EPYC, AVX2 against "
            "cpu, 2 threads, Linux x86_64; Xeon, AMX)",
        ),
        ({"full": "88", "lora": "tt"}, "torch differs too (2.13.0 against 2.12.0)"),
        ({"full": "rr", "lora": "88"}, "number of ranks differs too (2 against 1)"),
        ({"full": "hh", "lora": "dd"}, "driver differs too (570.86.15 against 550.54.14)"),
        ({"full": "8", "lora": "."}, "machine, processor and torch differ too (cpu, 8 threads, "
         "Linux x86_64; EPYC, AVX2; 2.13.0 against not known; not known; not known)"),
        (
            {"full": "888", "lora": "8t8"},
            "torch differs too, within seed 1: 2.13.0: full seeds 0 to 2, lora seeds 0, 2; "
            "2.12.0: lora seed 1",
        ),
        (
            {"full": "8t8t8", "lora": "t8t88"},
            "torch differs too, within seeds 0 to 3: 2.13.0: full seeds 0, 2, 4, lora seeds 1, 3, "
            "4; 2.12.0: full seeds 1, 3, lora seeds 0, 2",
        ),
        (
            {"full": "88tt", "lora": "88tt"},
            "torch differs between seeds, within none: 2.13.0: seeds 0, 1; 2.12.0: seeds 2, 3",
        ),
        (
            {"full": "88t", "lora": "88"},
            "torch differs too, within no seed: 2.13.0: full seeds 0, 1, lora seeds 0, 1; 2.12.0: "
            "full seed 2",
        ),
        (
            {"full": "8t", "untuned": "8"},
            "torch differs too, within seed 1: 2.13.0: full seed 0, untuned; 2.12.0: full seed 1",
        ),
        (
            {"full": "82hdtr", "lora": "82hdtr"},
            "machine, processor, torch, driver and number of ranks differ between seeds, within "
            "none: "
            "cpu, 8 threads, Linux x86_64; EPYC, AVX2; 2.13.0; none; 1: seed 0; "
            "cpu, 2 threads, Linux x86_64; Xeon, AMX; 2.13.0; none; 1: seed 1; "
            "NVIDIA H100, Linux x86_64; Xeon, AMX; 2.13.0; 570.86.15; 1: seed 2; "
            "NVIDIA H100, Linux x86_64; Xeon, AMX; 2.13.0; 550.54.14; 1: seed 3; and 2 more",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_said(arms, said):
    assert said_of(arms) == said


@given(st.lists(st.tuples(*[st.sampled_from("8t2")] * 2), min_size=1, max_size=8))
def test_the_seeds_apart_are_those_whose_two_runs_ran_on_two_machines(pairs):
    rows = {"full": "".join(a for a, _ in pairs), "lora": "".join(b for _, b in pairs)}
    tables = ran(rows)
    found = crossed(tables)
    used = set(rows["full"] + rows["lora"])
    assert (found is None) == (len(used) == 1)
    if found:
        assert list(found.apart) == [seed for seed, (a, b) in enumerate(pairs) if a != b]
        assert found.alike == (rows["full"] == rows["lora"])
        assert len(found.places) == len(used)


def stored(folder: Path, full: str, lora: str, untuned: str = "8") -> ExperimentFolder:
    """A store whose runs are on the machines of these letters."""
    made = ExperimentFolder(folder)
    arms = {"baseline": "none", "full": "full", "lora": "lora"}
    asked = [("full", "lora", "method")]
    if untuned:
        asked += [("full", "baseline", "tuning"), ("lora", "baseline", "tuning")]
    described = {arm: arms[arm] for arm in arms if untuned or arm != "baseline"}
    describe(made, described, asked, seeds=len(full))
    for arm, letters in zip(arms, (untuned, full, lora), strict=True):
        for seed, letter in enumerate(letters):
            solved = set(range(seed, seed + {"baseline": 1, "full": 7, "lora": 4}[arm]))
            enter(made, arm, "zero_shot", seed)
            spec = {"fingerprint": "f", "arm": arm, "replicate": seed, "inputs": {},
                    "identity": {"method": arms[arm]}}  # fmt: skip
            complete_run(made.run(arm, seed), answers(solved, range(40)), spec=spec,
                         environment=MACHINES[letter])  # fmt: skip
    return made


def contrasts_of(folder: ExperimentFolder) -> dict[str, dict[str, object]]:
    found = read_json(folder.findings)["contrasts"]
    return {f"{each['a']} − {each['b']}": each for each in found}


def test_each_comparison_that_crosses_says_so_and_no_other(tmp_path, capsys):
    """full ran on the baseline's machine; of lora one seed did not."""
    folder = stored(tmp_path / "x", "888", "8t8")
    assert main(["report", str(folder.path)]) == 0
    crossed = "torch differs too, within seed 1: 2.13.0: "
    said = {
        "full − baseline": None,
        "lora − baseline": f"{crossed}lora seeds 0, 2, baseline; 2.12.0: lora seed 1",
        "full − lora": f"{crossed}full seeds 0 to 2, lora seeds 0, 2; 2.12.0: lora seed 1",
    }
    printed = " ".join(capsys.readouterr().out.split())
    page = " ".join(folder.report.read_text(encoding="utf-8").split())
    found = contrasts_of(folder)
    for pair, sentence in said.items():
        about = [line for line in found[pair]["unlike"] if "torch" in line]
        assert about == ([sentence] if sentence else [])
        assert (found[pair]["machines"] is None) == (sentence is None)
        assert (f"{pair}: torch" in printed) == (sentence is not None)
        if sentence:
            assert f"{pair}: {sentence}" in printed
            assert f"But: {sentence}" in page
    assert found["full − lora"]["machines"] == {
        "facts": ["torch"],
        "apart": [1],
        "alike": False,
        "places": [
            {"facts": {"torch": "2.13.0"}, "seeds": {"full": [0, 1, 2], "lora": [0, 2]}},
            {"facts": {"torch": "2.12.0"}, "seeds": {"lora": [1]}},
        ],
    }
    assert "2.13.0 (seeds 0, 2), 2.12.0 (seed 1)" in page  # what differs between the arms


def test_machines_that_took_seeds_in_turn_are_said_and_are_nothing_unlike(tmp_path, capsys):
    folder = stored(tmp_path / "x", "8t8t", "8t8t", "")
    assert main(["report", str(folder.path), "strict=true"]) == 0
    between = "torch differs between seeds, within none: 2.13.0: seeds 0, 2; 2.12.0: seeds 1, 3"
    pair = contrasts_of(folder)["full − lora"]
    assert between in pair["caveats"]
    assert pair["unlike"] == []
    assert f"full − lora: {between}" in " ".join(capsys.readouterr().out.split())


def test_strict_refuses_a_comparison_that_crosses(tmp_path, capsys):
    folder = stored(tmp_path / "x", "8t", "t8", "")
    assert main(["report", str(folder.path), "strict=true"]) == 2
    assert "full and lora: torch differs too, within seeds 0, 1" in capsys.readouterr().err


def test_compare_says_it_of_stored_runs(tmp_path, capsys):
    folder = stored(tmp_path / "x", "8", "2")
    words = [f"{arm}={folder.run(arm, 0).path}" for arm in ("full", "lora")]
    assert main(["compare", *words, "--json"]) == 0
    (pair,) = json.loads(capsys.readouterr().out)["contrasts"]
    assert pair["machines"]["facts"] == ["machine", "processor"]
    assert any(line.startswith("machine and processor differ too") for line in pair["caveats"])
    other = tmp_path / "other.jsonl"  # of which nobody knows where it was made
    other.write_text("".join(
        json_line({"question": each.question, "completion": f"{each.text}.", "answer": "7"})
        for each in answers({30}, range(40))
    ))  # fmt: skip
    assert main(["compare", *words, f"other={other}", "--json"]) == 0, capsys.readouterr().err
    pairs = json.loads(capsys.readouterr().out)["contrasts"]
    assert [bool(pair["machines"]) for pair in pairs] == [
        {pair["a"], pair["b"]} == {"full", "lora"} for pair in pairs
    ]
    assert main(["compare", *words]) == 0
    assert "machine and processor differ too" in " ".join(capsys.readouterr().out.split())


def test_effects_and_further_tasks_say_it_too():
    """A full matrix of two factors, and a task that all arms were tested on."""
    arms = {f"{a}-{b}": {"method": a, "size": b} for a in ("full", "lora") for b in ("s", "l")}
    rows = {name: ["1100110011" * 2] * 3 for name in arms}
    tables = by_hand.tables(
        rows, [("full-s", "lora-s")], factors=arms,
        matrix={"method": ["full", "lora"], "size": ["s", "l"]},
    )  # fmt: skip
    on = [
        replace(run, result=by_hand.result(
            environment=MACHINES["t" if (run.arm, run.seed) == ("lora-l", 2) else "8"]))
        for run in tables.runs
    ]  # fmt: skip
    analysis = conclude(replace(tables, runs=tuple(on)))
    effects = [found for found in analysis.findings if found.kind in ("effect", "interaction")]
    assert effects
    for found in effects:
        assert any(line.startswith("torch differs too, within seed 2") for line in found.caveats)
    (pair,) = payload(analysis)["contrasts"]
    assert pair["machines"] is None
    assert not any("torch" in str(line) for line in remarks(payload(analysis)))


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\n"
         "GCC version:  gcc version 12.2.0\n", "550.54.14"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n",
         "570.86.15"),
        ("NVRM version: something else\n", None),
        (None, None),
    ],
)  # fmt: skip
def test_the_drivers_version(tmp_path, said, version):
    path = tmp_path / "version"
    if said is not None:
        path.write_text(said)
    assert driver_version(path) == version
