"""The calibration benchmark still runs, and what it measures is within chance of what it should.

A few of its settings with fewer experiments, each held against the binomial chance of measuring
so much by bad luck. `benchmarks/results` has the full measurement.
"""

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
def calibration() -> Iterator[ModuleType]:
    folder = Path(__file__).parents[1] / "benchmarks"
    sys.path.insert(0, str(folder))  # as if it had been started: it imports its settings
    spec = importlib.util.spec_from_file_location("calibration", folder / "calibration.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["calibration"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(folder))


@pytest.mark.parametrize(
    "setting",
    [
        {"kind": "models", "accuracy": 0.31, "n": 200, "across": 0.3, "within": 0.8},
        {"kind": "methods", "accuracy": 0.31, "n": 200, "seeds": 3, "spread": 0.01},
        {"kind": "groups", "accuracy": 0.31, "n": 200, "group": 10, "together": 0.4},
        # The referee's: 77 to 86 % of intervals held the truth in the first, 91 in the second.
        {
            **{"kind": "agreeing", "accuracy": 0.5, "n": 30, "seeds": 3, "difference": 0.1},
            **{"across": 0.9985, "within": 0.999},
        },
        {
            **{"kind": "unequal", "accuracy": 0.31, "n": 300, "seeds": 3, "spread": 0.01},
            **{"group": 5, "sizes": 1.0, "together": 0.5},
        },
        {
            **{"kind": "paired", "accuracy": 0.31, "n": 200, "seeds": 3, "spread": 0.03},
            "alike": 0.9,
        },
    ],
)
def test_intervals_hold_the_truth_and_true_nulls_are_left_alone(calibration, setting):
    row = calibration.measure((calibration.Setting(**setting), EXPERIMENTS))
    shares = row["shares"]
    assert {"arm", "contrast", "main effect", "interaction", "family claims"} <= shares.keys()
    for name, share in shares.items():
        # Intervals of one experiment overlap: they count as one observation of each.
        if name == "family claims":
            assert binom.sf(share * EXPERIMENTS - 1, EXPERIMENTS, 0.05) > UNLUCKY, name
        else:
            assert binom.cdf(share * EXPERIMENTS, EXPERIMENTS, calibration.LOW) > UNLUCKY, name
    assert row["experiments"] == EXPERIMENTS
    assert not calibration.faults(
        {**row, "shares": dict.fromkeys(shares, 0.95) | {"family claims": 0.04}}
    )


@pytest.mark.parametrize("seeds", [1, 3])
def test_power_is_what_was_promised(calibration, seeds):
    setting = calibration.Setting(
        kind="power", accuracy=0.31, n=200, seeds=seeds, spread=0.01 * (seeds > 1)
    )
    row = calibration.measure((setting, EXPERIMENTS))
    assert row["promised"] == pytest.approx(0.8, abs=0.01)
    error = (0.8 * 0.2 / EXPERIMENTS) ** 0.5
    assert row["shares"]["shown"] == pytest.approx(row["promised"], abs=0.03 + 3 * error)


def test_what_is_outside_the_limits_is_a_fault(calibration):
    setting = {"kind": "models", "n": 200, "accuracy": 0.31}
    shares = {"arm": 0.92, "contrast": 0.98, "main effect": 0.95, "family claims": 0.06}
    assert calibration.faults({"setting": setting, "promised": None, "shares": shares}) == [
        "arm 0.920",
        "contrast 0.980",
        "family claims 0.060",
    ]
    few = {
        "setting": setting | {"n": 50, "accuracy": 0.02},
        "promised": None,
        "shares": {"arm": 1.0},
    }
    assert calibration.faults(few) == []
    agreeing = {"setting": setting | {"kind": "agreeing"}, "promised": None, "shares": shares}
    assert calibration.faults(agreeing) == ["arm 0.920", "family claims 0.060"]
    hopeless = {"setting": setting | {"kind": "diverged"}, "promised": None, "shares": shares}
    assert calibration.faults(hopeless) == []


def test_simulated_arms_have_the_truth_they_were_given(calibration):
    setting = calibration.Setting(
        kind="methods", accuracy=0.31, n=20_000, seeds=4, spread=0.02, across=0.3, within=0.6
    )
    arms = calibration.simulate(setting, np.random.default_rng(0))
    assert [arm.shape for arm in arms] == [(4, 20_000)] * 4 + [(1, 20_000)]
    means = np.array([arm.mean(axis=1) for arm in arms[:4]])
    assert means.mean() == pytest.approx(0.31, abs=4 * 0.02 / 4)
    assert 0.01 < means.std() < 0.035
    within = np.corrcoef(arms[0])[0, 1]
    across = np.corrcoef(arms[0][0], arms[1][0])[0, 1]
    assert within == pytest.approx(calibration.of_outcomes(0.31, 0.6), abs=0.04)
    assert across == pytest.approx(calibration.of_outcomes(0.31, 0.3), abs=0.04)


def test_groups_of_unequal_size_have_the_sizes_asked_for(calibration):
    setting = calibration.Setting(kind="unequal", accuracy=0.3, n=300, group=5, sizes=1.0)
    sizes = np.bincount(calibration.groups_of(setting))
    assert sizes.sum() == 300
    assert 19 <= 300**2 / (sizes @ sizes) <= 40  # the effective numbers of the referee's cases


def test_what_was_measured_with_this_code_is_kept(calibration, tmp_path, capsys):
    out = tmp_path / "found.json"
    words = ["--experiments", "2", "--only", "undeclared", "--processes", "1", "--out", str(out)]
    assert calibration.main(words) == 0
    first, said = out.read_bytes(), capsys.readouterr().out
    assert calibration.main(words) == 0
    assert out.read_bytes() == first
    assert said.count("undeclared") == 8
    assert capsys.readouterr().out == "0 of 8 settings are outside the limits\n"
    before, code, after = first.rpartition(b'"code": "')  # of the last setting
    out.write_bytes(before + code + b"other" + after)
    assert calibration.main(words) == 0
    assert capsys.readouterr().out.startswith("1/1 ")
    assert out.read_bytes() == first


SOURCE = '''
"""A module."""
from math import sqrt

FEW = 15
"""Fewer get the exact interval."""


def error(variance):
    """Return the standard error."""
    return sqrt(variance)  # never negative
'''


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("A module.", "Another module.", False),
        ("Fewer get", "Fewer solved problems get", False),
        ("Return the standard error.", "Return the standard error, as a share.", False),
        ("  # never negative", "", False),
        ("from math import", "from numpy import", False),
        ("15", "16", True),
        ("sqrt(variance)", "sqrt(variance + 1)", True),
    ],
)
def test_only_changed_code_makes_a_measurement_stale(calibration, old, new, changes):
    assert old in SOURCE
    before = list(calibration.definitions(SOURCE))
    assert len(before) == 2
    assert (list(calibration.definitions(SOURCE.replace(old, new))) != before) == changes
