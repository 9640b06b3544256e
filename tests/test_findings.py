"""What a store lets one conclude: arms, contrasts and effects of findings.json, and the answer."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from by_hand import tables
from paribus.analysis.findings import conclude, payload
from paribus.analysis.reading import read_experiment
from paribus.analysis.summary import summaries
from paribus.statistics.intervals import paired_difference, share
from paribus.store.layout import ExperimentFolder
from stores import ARMS, answers, describe, finish


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    """baseline solves {0}; full {0..7}; lora {0, 8}."""
    made = ExperimentFolder(tmp_path / "small")
    describe(made)
    finish(made, "baseline", answers({0}))
    finish(made, "full", answers(set(range(8))))
    finish(made, "lora", answers({0, 8}))
    return made


def conclusions(folder: ExperimentFolder):
    """findings.json as a program reads it."""
    return json.loads(json.dumps(payload(conclude(read_experiment(folder))), allow_nan=False))


def test_an_arm_and_its_run(folder):
    found = conclusions(folder)
    full = found["arms"][1]
    assert (full["name"], full["seed"], full["n"], full["state"]) == ("full", 0, 10, "complete")
    interval = share(8, 10)
    assert full["scores"]["canonical"] == {
        "correct": 8,
        "accuracy": 0.8,
        "interval": [interval.low, interval.high],
    }
    assert sum(full["outcomes"].values()) == 10
    assert found["summaries"][1] == {
        "name": "full",
        "seeds": 1,
        "split": None,
        "n": 10,
        "accuracy": 0.8,
        "spread": None,
        "interval": [interval.low, interval.high],
        "reason": "",
    }


def test_a_contrast(folder):
    found = conclusions(folder)["contrasts"][2]
    interval = paired_difference(only_a=7, only_b=1, n=10)
    expected = {
        "a": "full",
        "b": "lora",
        "factor": "method",
        "scope": "models",
        "seeds": [1, 1],
        "n": 10,
        "left_out": 0,
        "only_a": 7,
        "only_b": 1,
        "both": 1,
        "neither": 1,
        "interval": [interval.low, interval.high],
        "verdict": "not_shown",
        "reason": "",
    }
    assert {key: found[key] for key in expected} == expected
    assert found["difference"] == pytest.approx(0.6)
    assert found["by_seed"] == [pytest.approx(0.6)]
    assert found["p_value"] == pytest.approx(0.0703125)
    assert found["p_holm"] == pytest.approx(2 * 0.0703125)  # the second smallest of three
    assert 0 < found["detectable"] <= 1
    assert (found["detectable_range"], found["split"], found["paired"]) == (None, None, False)


def test_verdicts_are_those_of_the_corrected_family(folder):
    found = conclusions(folder)["contrasts"]
    assert [each["verdict"] for each in found] == ["supported", "not_shown", "not_shown"]
    assert found[0]["p_holm"] == pytest.approx(3 * 2 / 2**7)
    assert found[0]["sentence"].startswith("Of these two models, full is better than baseline")


def test_missing_runs_are_null_and_never_zero(folder):
    describe(folder, seeds=3)
    found = conclusions(folder)
    states = {(arm["name"], arm["seed"]): arm for arm in found["arms"]}
    assert states["full", 2]["state"] == "not run"
    assert (states["full", 2]["scores"], states["full", 2]["outcomes"]) == ({}, {})
    assert len(found["missing"]) == 4
    # One seed of three: the comparison is of two models, not of the methods.
    assert {each["scope"] for each in found["contrasts"]} == {"models"}


def test_nothing_was_run(tmp_path):
    made = ExperimentFolder(tmp_path)
    describe(made)
    found = conclusions(made)
    assert found["answer"] == "No two arms could be compared."
    assert len(found["missing"]) == 3
    for each in found["contrasts"]:
        figures = ("difference", "interval", "p_value", "p_holm", "detectable")
        assert {each[key] for key in figures} == {None}
        assert each["verdict"] == "not_shown"
    assert {(each["accuracy"], each["interval"]) for each in found["summaries"]} == {(None, None)}


@pytest.mark.parametrize(("solved", "accuracy"), [(set(), 0.0), (set(range(10)), 1.0)])
@pytest.mark.parametrize("seeds", [1, 3])
def test_all_wrong_and_all_right(tmp_path, solved, accuracy, seeds):
    made = ExperimentFolder(tmp_path)
    describe(made, seeds=seeds)
    for arm in ARMS:
        for seed in range(1 if arm == "baseline" else seeds):
            finish(made, arm, answers(solved), seed=seed)
    found = conclusions(made)
    assert {each["accuracy"] for each in found["summaries"]} == {accuracy}
    for each in found["contrasts"]:
        assert (each["p_value"], each["p_holm"], each["difference"]) == (None, None, 0.0)
        assert each["interval"][0] < 0 < each["interval"][1]
        assert each["reason"] == "both solve the very same problems"
        assert each["verdict"] == "not_shown"


@pytest.mark.parametrize("problems", [0, 1])
def test_one_problem_or_none(tmp_path, problems):
    made = ExperimentFolder(tmp_path)
    describe(made)
    for arm in ARMS:
        finish(made, arm, answers({0}, range(problems)))
    found = conclusions(made)
    accuracies = [arm["scores"]["canonical"]["accuracy"] for arm in found["arms"]]
    assert accuracies == ([1.0] * 3 if problems else [None] * 3)
    assert {each["p_value"] for each in found["contrasts"]} == {None}


def test_several_seeds(tmp_path):
    made = ExperimentFolder(tmp_path)
    describe(made, seeds=3)
    finish(made, "baseline", answers({0}))
    for seed in range(3):
        finish(made, "full", answers(set(range(7 + seed))), seed=seed)
        finish(made, "lora", answers({0, seed}), seed=seed)
    found = conclusions(made)
    against, _, method = found["contrasts"]
    assert (against["scope"], against["seeds"]) == ("methods", [3, 1])
    assert (method["scope"], method["seeds"]) == ("methods", [3, 3])
    assert method["by_seed"] == pytest.approx([0.6, 0.6, 0.7])
    assert found["summaries"][1]["accuracy"] == pytest.approx(0.8)
    assert found["summaries"][1]["spread"] == pytest.approx(0.1)
    assert method["sentence"].startswith("As methods, over 3 seeds: full solves 63.3 points more")
    low, high = method["detectable_range"]
    assert low < method["detectable"] < (high or 1)
    for each in (method, found["summaries"][1]):
        assert list(each["split"]) == ["problems", "seeds", "cells"]
        assert sum(part["share"] for part in each["split"].values()) == pytest.approx(1)
    assert found["summaries"][0]["split"] is None  # the untuned model has one run


def test_effects_of_a_matrix_are_in_findings():
    cells = {f"{a}{b}": {"first": a, "second": b} for a in "xy" for b in "xy"}
    made = tables(
        {name: ["1" * 12 if name[0] == "x" else "0" * 12] for name in cells},
        factors=cells,
        matrix={"first": ["x", "y"], "second": ["x", "y"]},
    )
    first, second, both = payload(conclude(made))["effects"]
    assert first["factors"] == ["first"]
    assert first["levels"] == [["x", "y"]]
    assert first["weights"] == {"xx": 0.5, "xy": 0.5, "yx": -0.5, "yy": -0.5}
    assert (first["difference"], first["verdict"]) == (1.0, "supported")
    assert first["sentence"].startswith("Of these models, those with x solve 100 points")
    assert (second["difference"], second["p_value"]) == (0.0, None)
    assert (both["factors"], both["verdict"]) == (["first", "second"], "not_shown")
    json.dumps(payload(conclude(made)), allow_nan=False)


@pytest.mark.parametrize(
    ("rows", "seeds", "n", "mean", "spread", "interval", "reason"),
    [
        (["1100000000"], 1, 10, 0.2, None, share(2, 10), ""),
        ([None], 0, 0, None, None, None, "not run"),
        (["1" * 10] * 3, 3, 10, 1.0, 0.0, share(10, 10), ""),
        (["11.", ".11"], 2, 1, 1.0, 0.0, None, "2 seeds are too few"),
        (["11..", "..11"], 2, 0, None, None, None, "different problems"),
        (["11110", "11000", "00000"], 3, 5, 0.4, 0.4, None, "5 problems are too few"),
        (["1"], 1, 1, 1.0, None, share(1, 1), ""),
    ],
)
def test_what_an_arm_solves(rows, seeds, n, mean, spread, interval, reason):
    (found,) = summaries(tables({"full": rows}))
    assert (found.seeds, found.n) == (seeds, n)
    assert found.mean == (None if mean is None else pytest.approx(mean))
    assert found.spread == (None if spread is None else pytest.approx(spread))
    assert found.interval == interval
    assert reason in found.reason
    assert bool(found.reason) == (found.interval is None)


ROW = st.none() | st.text("01.x", min_size=12, max_size=12)


@settings(max_examples=8)
@given(
    st.lists(ROW, min_size=1, max_size=3),
    st.lists(ROW, min_size=1, max_size=3),
    st.lists(ROW, min_size=1, max_size=1),
    st.just("") | st.text("abcdefghijkl", min_size=12, max_size=12),
)
def test_whatever_was_run_findings_are_strict_json(full, lora, untuned, groups):
    made = tables(
        {"full": full, "lora": lora, "untuned": untuned},
        [("full", "lora"), ("full", "untuned"), ("lora", "untuned")],
        groups=groups,
    )
    found = json.dumps(payload(conclude(made)), allow_nan=False)
    assert len(json.loads(found)["contrasts"]) == 3
