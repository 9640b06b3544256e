"""Large stores: what the generator of benchmarks/ makes, and what reports of many runs hold."""

import json
import sys
from pathlib import Path

import pytest

from by_hand import tables
from paribus.cli.main import main
from paribus.report import mistakes
from paribus.report.mistakes import browser

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
