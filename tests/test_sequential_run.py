"""`paribus run` with declared looks, on the tiny model: trains, judges, continues, stops, resumes.

The tiny model solves nothing, so every comparison is given up at the first look; a ledger whose
first look continues with some arms shows the rest.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from inside import ctrl_c, meanwhile, paribus
from paribus.records import Settled
from paribus.store.layout import ExperimentFolder
from paribus.store.ledger import Look, append_look, read_ledger, read_looks

EXPERIMENT = {
    "question": "Which?",
    "data": {"train_size": 4, "test_size": 10, "max_steps": 1},
    "training": {"batch_size": 4, "micro_batch": 4, "precision": "fp32", "save_weights": False},
    "evaluation": {"max_new_tokens": 2},
    "arms": {"full": {"method": "full"}, "lora": {"method": "lora"}, "low": {"lora.r": 2}},
    "contrasts": [["full", "baseline"], ["full", "lora"], ["lora", "low"]],
    "budget": 4,
    "looks": [3, 4],
}
TUNED = ["full", "lora", "low"]


@pytest.fixture(scope="module")
def looked(tiny, tmp_path_factory) -> tuple[Path, str]:
    """Where the experiment was run to its first look, which stops it, and what was printed."""
    folder = tmp_path_factory.mktemp("looked")
    (folder / "x.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "model": str(tiny)}))
    made = paribus("run", "x.yaml", cwd=folder)
    assert made.returncode == 0, made.stdout + made.stderr
    return folder, made.stdout


def store(folder: Path) -> ExperimentFolder:
    return ExperimentFolder(folder / "runs" / "x")


def complete(folder: Path) -> dict[str, int]:
    """Arm -> its complete runs."""
    runs = store(folder).path
    return {arm: len(list(runs.glob(f"{arm}/*/manifest.json"))) for arm in ["baseline", *TUNED]}


def decisions(folder: Path) -> list[Look]:
    return [replace(look, time="") for look in read_looks(store(folder).ledger)]


def goes_on(folder: Path, to: Path, *arms: str) -> Path:
    """Return a copy whose ledger says that the first look continues with `arms`."""
    shutil.copytree(folder, to, dirs_exist_ok=True)
    ledger = store(to).ledger
    (look,) = read_looks(ledger)
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(line for line in lines if b'"look"' not in line))
    rows = tuple(
        replace(row, state=Settled.OPEN) if {row.a, row.b} <= {*arms, "baseline"} else row
        for row in look.decided
    )
    append_look(ledger, replace(look, decided=rows, goes_on=arms))
    return to


def test_the_first_look_stops_what_is_not_likely_to_be_shown(looked):
    folder, printed = looked
    assert complete(folder) == {"baseline": 1, **dict.fromkeys(TUNED, 3)}
    (look,) = decisions(folder)
    assert (look.look, look.seeds, look.problems, look.planned) == (1, 3, 10, (3, 4))
    assert [row.state for row in look.decided] == ["unlikely"] * 3
    assert look.goes_on == ()
    assert "look 1 of 2, at 3 seeds:" in printed
    assert "full − lora: given up" in printed
    assert "stops here: nothing is left that more seeds are likely to decide" in printed


def test_the_report_knows_the_looks_and_misses_no_run(looked):
    folder, printed = looked
    findings = json.loads(store(folder).findings.read_text())
    assert findings["missing"] == []
    assert [arm["seeds"] for arm in findings["summaries"]] == [1, 3, 3, 3]
    assert any("Looks were declared at 3, 4 seeds" in line for line in findings["limits"])
    page = store(folder).report.read_text(encoding="utf-8")
    assert "full − lora: given up" in page
    before = store(folder).ledger.read_bytes()
    assert paribus("report", "x.yaml", cwd=folder).returncode == 0
    assert store(folder).ledger.read_bytes() == before


def test_plan_and_status_and_verify_agree(looked, tmp_path, tiny):
    folder, _ = looked
    plan = json.loads(paribus("plan", "x.yaml", "--json", cwd=folder).stdout)
    assert plan["verdict"] == "is complete"
    assert plan["looks"]["over"]
    rows = json.loads(paribus("status", "x.yaml", "--json", cwd=folder).stdout)
    assert [row["state"] for row in rows] == ["complete"] * 10
    assert paribus("verify", "runs", cwd=folder).returncode == 0
    fresh = json.loads(paribus("plan", "x.yaml", "name=new", "--json", cwd=folder).stdout)
    assert fresh["looks"]["seeds"] == [3, 4]
    assert fresh["foresight"]["level"] == pytest.approx(0.045)
    assert "90 % of the level that the last look has" in fresh["foresight"]["sentence"]
    assert (fresh["looks"]["least_runs"], fresh["looks"]["most_runs"]) == (10, 13)
    assert 0 < fresh["looks"]["least_seconds"] < fresh["looks"]["most_seconds"]
    text = paribus("plan", "x.yaml", "name=new", cwd=folder).stdout
    assert "Looks: at 3 and 4 seeds; 10 to 13 runs, " in text


def test_running_it_again_decides_and_trains_nothing_anew(looked):
    folder, _ = looked
    before = store(folder).ledger.read_bytes()
    again = paribus("run", "x.yaml", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert "stops here" in again.stdout
    assert store(folder).ledger.read_bytes() == before
    assert sum(complete(folder).values()) == 10


def test_a_look_whose_line_was_not_written_yet_decides_the_same(looked, tmp_path):
    """As after a kill between the last run and the line."""
    folder = shutil.copytree(looked[0], tmp_path / "copy")
    ledger = store(folder).ledger
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(line for line in lines if b'"look"' not in line))
    assert paribus("run", "x.yaml", cwd=folder).returncode == 0
    assert decisions(folder) == decisions(looked[0])


@pytest.mark.parametrize(
    "changed",
    [["looks=[4]"], ["budget=5", "looks=[3,5]"], ["budget=null", "looks=null", "seeds=4"]],
)
def test_looks_are_not_changed_once_one_was_taken(looked, changed):
    folder, _ = looked
    refused = paribus("run", "x.yaml", *changed, cwd=folder)
    assert refused.returncode == 2
    assert "looks were declared as [3,4], and one was taken at 3 seeds" in refused.stderr
    assert "budget=4 looks=[3,4]" in refused.stderr
    assert len(decisions(folder)) == 1


@pytest.fixture(scope="module")
def whole(looked, tmp_path_factory) -> tuple[Path, str]:
    """Where full and lora continued with the last look, and what was printed."""
    folder = goes_on(looked[0], tmp_path_factory.mktemp("whole"), "full", "lora")
    made = paribus("run", "x.yaml", cwd=folder)
    assert made.returncode == 0, made.stderr
    return folder, made.stdout


def test_open_arms_go_on_and_the_others_stop(whole):
    folder, printed = whole
    assert "continues to 4 seeds with full and lora; low stops" in printed
    assert "look 2 of 2, at 4 seeds:" in printed
    assert "the budget is spent" in printed
    assert complete(folder) == {"baseline": 1, "full": 4, "lora": 4, "low": 3}
    first, second = decisions(folder)
    assert first.goes_on == ("full", "lora")  # what it said, though this data would say otherwise
    assert [row.state for row in second.decided] == ["not_shown", "not_shown", "unlikely"]
    assert json.loads(store(folder).findings.read_text())["missing"] == []
    pairs = json.loads(store(folder).findings.read_text())["contrasts"]
    assert [pair["seeds"] for pair in pairs] == [[4, 1], [4, 4], [3, 3]]
    assert paribus("verify", "runs", cwd=folder).returncode == 0


def test_what_was_interrupted_goes_on_at_the_same_place_with_the_same_decisions(
    looked, whole, tmp_path
):
    folder = goes_on(looked[0], tmp_path / "stopped", "full", "lora")
    begun = store(folder).run("lora", 3).spec
    with meanwhile(begun.exists, ctrl_c):
        stopped = paribus("run", "x.yaml", cwd=folder)
    assert stopped.returncode == 130, stopped.stdout
    assert len(decisions(folder)) == 1
    gone_on = paribus("run", "x.yaml", cwd=folder)
    assert gone_on.returncode == 0, gone_on.stderr
    assert decisions(folder) == decisions(whole[0])
    assert complete(folder) == complete(whole[0])


@pytest.mark.slow
def test_a_run_that_fails_keeps_the_look_from_being_taken(looked, tmp_path):
    folder = goes_on(looked[0], tmp_path / "copy", "full", "lora")
    taken = store(folder).run("lora", 3).path
    taken.parent.mkdir(exist_ok=True)
    taken.write_text("no folder can be made here")
    made = paribus("run", "x.yaml", cwd=folder)
    assert made.returncode != 0
    assert len(decisions(folder)) == 1
    taken.unlink()
    assert paribus("run", "x.yaml", cwd=folder).returncode == 0
    assert [look.look for look in decisions(folder)] == [1, 2]


def test_a_run_is_the_same_run_with_looks_and_without(looked, tiny, tmp_path):
    """Seeds of a fixed design serve a sequential one, but for its name, and the other way round."""
    folder, _ = looked
    spec = json.loads(store(folder).run("full", 2).spec.read_text())
    assert not {"budget", "looks", "seeds"} & set(spec["identity"])
    fixed = {key: value for key, value in EXPERIMENT.items() if key not in ("budget", "looks")}
    (tmp_path / "x.yaml").write_text(
        yaml.safe_dump({**fixed, "seeds": 3, "model": str(tiny), "name": "x"})
    )
    shutil.copytree(folder / "runs", tmp_path / "runs")
    ledger = store(tmp_path).ledger
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(line for line in lines if b'"look"' not in line))
    made = paribus("run", "x.yaml", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert len(read_ledger(ledger)) == len(read_ledger(store(folder).ledger))
    (look,) = read_looks(ledger)
    assert look.planned == ()
