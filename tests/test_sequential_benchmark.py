"""The benchmark of declared looks still runs, and finds what it should, within chance.

`benchmarks/results` has the full measurement.
"""

import importlib.util
import sys
from pathlib import Path

import pytest
from scipy.stats import binom


@pytest.fixture(scope="module")
def benchmark():
    path = Path(__file__).parents[1] / "benchmarks" / "sequential.py"
    spec = importlib.util.spec_from_file_location("sequential_benchmark", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["sequential_benchmark"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def test_looks_make_no_more_false_claims_and_cost_little_power_and_fewer_runs(benchmark):
    settings = {each.mix: each for each in benchmark.settings() if each.n == 200}
    experiments = 100
    nothing = benchmark.measure((settings["nothing differs"], experiments))
    assert binom.sf(nothing["sequential"]["false"] * experiments - 1, experiments, 0.05) > 1e-3
    assert nothing["sequential"]["runs"] < 0.65
    factor = benchmark.measure((settings["tuning, and a factor"], experiments))
    lost = factor["fixed"]["power"] - factor["sequential"]["power"]
    assert lost == pytest.approx(0.02, abs=0.04)
    assert factor["sequential"]["runs"] < 0.95
    assert factor["fixed"]["runs"] == 1
