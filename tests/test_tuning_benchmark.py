"""The simulation of tunings still runs, and what it found is what docs/tuning.md says."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from scipy.stats import binom

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    pytest.importorskip("optuna", reason="optuna is not installed: paribus[tune]")
    spec = importlib.util.spec_from_file_location("tuning_benchmark", FOLDER / "tuning.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["tuning_benchmark"] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


def test_identical_arms_are_seldom_called_different(benchmark):
    tunings = 100
    for row in benchmark.simulate(tunings, "tpe-12-streams"):
        assert row["points_apart"] == 0  # both arms choose the same
        assert binom.sf(row["different"] - 1, tunings, 0.05) > 1e-3


def test_what_was_measured():
    """In at most 5 % of 2,000 tunings, whatever is searched how, where arms share what they do."""
    rows = json.loads((FOLDER / "results" / "tuning.json").read_text())["rows"]
    shared = [row for row in rows if row["sharing"] == "streams"]
    assert {(row["sampler"], row["trials"]) for row in shared} == {
        ("tpe", 12), ("tpe", 24), ("random", 12), ("grid", 5)
    }  # fmt: skip
    assert {row["tunings"] for row in rows} == {2000}
    assert max(row["share"] for row in shared) <= 0.05
