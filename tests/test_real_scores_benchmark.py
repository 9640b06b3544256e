"""The benchmark of real-valued scores still runs, and measures what it should within chance."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import binom

EXPERIMENTS = 300
UNLUCKY = 1e-4
"""The chance of a single failure without a fault; the seeds are fixed."""


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    folder = Path(__file__).parents[1] / "benchmarks"
    sys.path.insert(0, str(folder))  # as if it had been started: it imports the calibration's tally
    spec = importlib.util.spec_from_file_location("real_scores", folder / "real_scores.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["real_scores"] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(folder))


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting",
    [
        {"kind": "models", "scores": "skewed", "n": 30},
        {"kind": "models", "scores": "97 in 100 are 0", "n": 200},
        {"kind": "seeds", "scores": "9 in 10 are 0", "n": 200, "seeds": 3, "spread": 0.05},
        {"kind": "groups", "scores": "skewed", "n": 200, "group": 10},
        {"kind": "classes", "n": 200, "labels": 6, "accuracy": 0.8, "rarer": 0.7},
    ],
)
def test_intervals_hold_the_truth_and_true_nulls_are_left_alone(benchmark, setting):
    shares = benchmark.measure(benchmark.Setting(**setting), EXPERIMENTS)["shares"]
    for name in ("arm", "contrast"):
        assert binom.cdf(shares[name] * EXPERIMENTS, EXPERIMENTS, 0.94) > UNLUCKY, name
    tests = [name for name in shares if name.split()[0] in ("exchanges", "Behrens-Fisher")]
    for name in tests or ["flips at 0.05", "flips at 0.005"]:
        rejected, level = shares[name] * EXPERIMENTS, float(name.split()[-1])
        assert binom.sf(rejected - 1, EXPERIMENTS, level) > UNLUCKY, name


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3])
def test_power_is_what_was_promised(benchmark, seeds):
    setting = {"kind": "power", "scores": "skewed", "n": 200, "spread": 0.05 * (seeds > 1)}
    row = benchmark.measure(benchmark.Setting(**setting, seeds=seeds), EXPERIMENTS)
    assert row["promised"] == pytest.approx(0.8, abs=0.01)
    error = (0.8 * 0.2 / EXPERIMENTS) ** 0.5
    assert row["shares"]["shown"] == pytest.approx(row["promised"], abs=0.03 + 3 * error)


def test_simulated_scores_have_the_mean_they_were_given(benchmark):
    means = {"0 or 1": 0.31, "skewed": 1 / 7, "97 in 100 are 0": 0.015, "narrow about 0.05": 0.05}
    for scores, mean in means.items():
        assert benchmark.mean_score(scores) == pytest.approx(mean, abs=1e-4)
        setting = benchmark.Setting(kind="seeds", scores=scores, n=20_000, seeds=4, spread=0.05)
        a, b = benchmark.simulate(setting, np.random.default_rng(0))
        assert a.shape == b.shape == (4, 20_000)
        assert a.mean() == pytest.approx(mean, rel=0.15)
    assert benchmark.mean_score("log-normal loss") == pytest.approx(np.exp(1.5**2 / 2), rel=1e-6)


def test_a_part_that_is_measured_again_leaves_the_others(benchmark, tmp_path, capsys):
    out = tmp_path / "found.json"
    words = ["--experiments", "1", "--out", str(out)]
    assert benchmark.main([*words, "--only", "groups"]) == 0
    first = benchmark.stored_rows(out)
    assert benchmark.main([*words, "--only", "better"]) == 0
    both = benchmark.stored_rows(out)
    assert len(first) == 12
    assert len(both) == 14
    assert {name: both[name] for name in first} == first
