"""Large stores: what the generator of benchmarks/ makes, and what reports of many runs hold."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from by_hand import tables
from paribus.analysis import several
from paribus.analysis.findings import conclude, payload
from paribus.analysis.reading import read_experiment
from paribus.analysis.several import read_all
from paribus.analysis.tables import Run
from paribus.cli.main import main
from paribus.errors import UserError
from paribus.report import mistakes
from paribus.report.mistakes import browser
from paribus.store.runs import RunState

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from scale_store import make_store


@pytest.mark.parametrize("many_arms", [False, True])
def test_a_made_store_is_as_the_writers_of_a_real_one_leave_it(tmp_path, many_arms):
    made = make_store(tmp_path, runs=8, problems=40, many_arms=many_arms)
    assert main(["verify", str(made.path)]) == 0
    assert main(["report", str(made.path)]) == 0
    found = json.loads(made.findings.read_text())
    assert {run["state"] for run in found["arms"]} == {"complete"}
    assert len(found["contrasts"]) == (280 if many_arms else 8)
    assert not found["unrecorded"]
    assert {run["n"] for run in found["arms"]} == {40}
    assert len({run["scores"]["canonical"]["correct"] for run in found["arms"]}) > 2


def shown(made):
    return [run["label"] for run in json.loads(str(made.data))["runs"]]


def test_the_page_holds_as_many_texts_as_open_quickly(monkeypatch):
    made = tables({"full": ["11", "10", "01"], "lora": ["00", "01", "11"]}, [("full", "lora")])
    assert len(shown(browser(made))) == 6
    assert "To keep" not in browser(made).about
    monkeypatch.setattr(mistakes, "MAX_CHARACTERS", 4 * 2 * len("#### 7"))
    assert shown(browser(made)) == ["full, seed 0", "full, seed 1", "lora, seed 0", "lora, seed 1"]
    assert "the texts of 4 of 6 runs" in browser(made).about
    monkeypatch.setattr(mistakes, "MAX_CHARACTERS", 0)
    assert shown(browser(made)) == ["full, seed 0", "lora, seed 0"]


def test_runs_read_by_several_processes_are_the_runs_that_one_reads(tmp_path, monkeypatch):
    made = make_store(tmp_path, runs=8, problems=30)
    alone = read_experiment(made)
    monkeypatch.setattr(several, "FROM_BYTES", 0)
    monkeypatch.setattr(several, "_processors", lambda: 3)
    together = read_experiment(made)
    assert together == alone
    first, second = together.complete[1:3]
    assert first.generations[0].question is second.generations[0].question
    assert [run.signals for run in together.runs] == [run.signals for run in alone.runs]
    assert conclude(together).answer == conclude(alone).answer


def test_what_keeps_a_run_from_being_read_in_a_process_is_said_as_by_one(monkeypatch):
    monkeypatch.setattr(several, "FROM_BYTES", 0)
    monkeypatch.setattr(several, "_processors", lambda: 2)

    def read(at):
        if at in (3, 4):
            raise UserError(f"run {at} cannot be scored", "mend the metric")
        return Run(arm="full", seed=at, state=RunState.MISSING)

    with pytest.raises(UserError, match="run 3 cannot be scored"):
        read_all(read, [1] * 6)


def test_a_process_that_is_killed_leaves_its_runs_to_the_others(monkeypatch):
    monkeypatch.setattr(several, "FROM_BYTES", 0)
    monkeypatch.setattr(several, "_processors", lambda: 2)
    here = os.getpid()

    def read(at):
        if at == 3 and os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return Run(arm="full", seed=at, state=RunState.MISSING)

    assert [run.seed for run in read_all(read, [1] * 6)] == list(range(6))


def work(call):
    """How many files `call` opens, and how many functions of Python it calls."""
    opened, called = [], []
    HEARING.append(opened)
    sys.setprofile(lambda frame, event, _: called.append(1) if event == "call" else None)
    try:
        call()
    finally:
        sys.setprofile(None)
        HEARING.clear()
    return len(opened), len(called)


HEARING: list[list[str]] = []
sys.addaudithook(lambda name, _: [heard.append(name) for heard in HEARING if name == "open"])


@pytest.mark.parametrize("verb", ["status", "verify", "conclusions"])
def test_twice_the_runs_are_twice_the_work(tmp_path, capsys, verb):
    amounts = []
    for runs in (16, 32, 48):
        made = make_store(tmp_path / str(runs), runs=runs, problems=20)
        call = {
            "status": lambda path=made.path: main(["status", str(path)]),
            "verify": lambda path=made.path: main(["verify", str(path)]),
            "conclusions": lambda folder=made: payload(conclude(read_experiment(folder))),
        }[verb]
        call()  # what is imported and cached at the first time
        amounts.append(work(call))
    (files, calls), (more_files, more_calls), (most_files, most_calls) = amounts
    assert files > 16
    assert most_files - more_files == more_files - files
    assert most_calls - more_calls < 1.1 * (more_calls - calls)
