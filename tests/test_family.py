"""One family: how the level is shared, by hand and by simulation; what a store's family holds."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.multitest import multipletests

from by_hand import tables
from paribus.analysis.family import judged
from paribus.statistics.family import Asked, corrected, planned_effects
from paribus.statistics.verdicts import Verdict, holm

UNLUCKY = 1e-4
"""The chance of a single failure without a fault; the seeds are fixed."""


@given(st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=12))
def test_where_only_differences_are_asked_it_is_holm(p_values):
    known = [1.0 if p is None else p for p in p_values]
    expected = multipletests(known, method="holm")[1]
    found = holm(p_values)
    assert [p is None for p in found] == [p is None for p in p_values]
    for p, q in zip(found, expected, strict=True):
        assert p is None or p == pytest.approx(q)


MARGIN = {"asks_margin": True}


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        # What waits is asked once the difference is shown, and keeps the share meanwhile.
        (
            [Asked(differ=0.001, then=0.02, asks_then=True), Asked(differ=0.03)],
            [{"differ": 0.002, "then": 0.04}, {"differ": 0.04}],
        ),
        # 0.03 alone would do once the first were done with; but its second claim is not shown.
        (
            [Asked(differ=0.001, then=0.4, asks_then=True), Asked(differ=0.03)],
            [{"differ": 0.002, "then": 0.4}, {"differ": 0.06}],
        ),
        # Of nothing that waits is anything known before.
        (
            [Asked(differ=None, then=0.001, asks_then=True), Asked(differ=0.02)],
            [{}, {"differ": 0.04}],
        ),
        # Beside a margin all but the difference has half the share.
        (
            [Asked(differ=0.01, within=(0.004, 0.9), beyond=(1.0, 0.2), then=0.02, asks_then=True,
                   **MARGIN)],
            [{"within": (0.008, 1.0), "differ": 0.01, "then": 0.04, "beyond": (1.0, 0.4)}],
        ),
        # Equivalence needs no difference; being worse by more does. The share is kept for good.
        (
            [Asked(differ=0.6, within=(0.004, 0.02), beyond=(0.9, 0.9), **MARGIN),
             Asked(differ=0.001, within=(1.0, 0.0), beyond=(0.01, 1.0), **MARGIN)],
            [{"within": (0.008, 0.04), "differ": 1.0, "beyond": (1.0, 1.0)},
             {"within": (1.0, 0.0), "differ": 0.002, "beyond": (0.02, 1.0)}],
        ),
        ([], []),
    ],
)  # fmt: skip
def test_how_the_level_is_shared(family, expected):
    for found, wanted in zip(corrected(family), expected, strict=True):
        assert found.differ == (pytest.approx(wanted["differ"]) if "differ" in wanted else None)
        assert found.then == (pytest.approx(wanted["then"]) if "then" in wanted else None)
        assert found.within == pytest.approx(wanted.get("within", (None, None)))
        assert found.beyond == pytest.approx(wanted.get("beyond", (None, None)))


@given(
    st.lists(
        st.builds(
            Asked,
            differ=st.none() | st.floats(0, 1),
            then=st.none() | st.floats(0, 1),
            asks_then=st.just(True),
        ),
        max_size=8,
    )
)
def test_no_p_value_is_lowered_and_what_waits_is_never_shown_first(family):
    for before, after in zip(family, corrected(family), strict=True):
        assert (after.differ is None) == (before.differ is None)
        if before.differ is not None:
            assert before.differ <= after.differ <= 1
        if after.then is not None:
            assert after.differ is not None
            assert max(before.then, after.differ) <= after.then


@pytest.mark.parametrize(
    ("levels", "count"),
    [
        ({}, 0),
        ({"method": "ab"}, 0),
        ({"method": "ab", "data": "x"}, 0),  # a contrast says it all
        ({"method": "ab", "data": "xy"}, 3),
        ({"r": "abc", "data": "xy"}, 4),
        ({"a": "xy", "b": "xy", "c": "xy"}, 6),
    ],
)
def test_how_many_effects_a_matrix_is_asked_for(levels, count):
    assert len(planned_effects(levels)) == count


# --- the family of an experiment -------------------------------------------------------------

FACTORS = {
    f"{a}-{b}": {"method": a, "data.variant": b} for a in ("full", "lora") for b in ("main", "soc")
}
MATRIX = {"method": ["full", "lora"], "data.variant": ["main", "soc"]}


def test_contrasts_and_effects_share_the_level():
    """One contrast and three effects: the least p of all is taken four times."""
    solved = dict(zip(FACTORS, ("1" * 9 + "0" * 3, "1" * 12, "0" * 12, "0" * 12), strict=True))
    rows = {name: [row] for name, row in solved.items()}
    found = judged(tables(rows, [("full-main", "lora-soc")], factors=FACTORS, matrix=MATRIX))
    raw = [each.p_value for each in (*found.contrasts, *found.effects)]
    told = [each.p_holm for each in (*found.contrasts, *found.effects)]
    assert len(raw) == 4
    assert min(told) == pytest.approx(4 * min(raw))
    assert told == pytest.approx(holm(raw))


def test_a_missing_run_sharpens_nothing():
    solved = dict(zip(FACTORS, ("1" * 12, "0" * 12, "0" * 12, None), strict=True))
    rows = {name: [row] for name, row in solved.items()}
    found = judged(tables(rows, [("full-main", "lora-main")], factors=FACTORS, matrix=MATRIX))
    assert [each.p_value for each in found.effects] == [None, None, None]
    (contrast,) = found.contrasts
    assert contrast.p_holm == pytest.approx(4 * contrast.p_value)


def test_what_a_gain_is_made_of_is_asked_once_it_is_shown_and_in_the_family():
    """Eight arms gained 12 of 12, of which 6 are format: 8 contrasts hold all shares at first."""
    rows = {f"arm{n}": ["1" * 12] for n in range(8)} | {"untuned": ["f" * 6 + "0" * 6]}
    found = judged(tables(rows, [(f"arm{n}", "untuned") for n in range(8)]))
    assert [each.verdict for each in found.contrasts] == [Verdict.SUPPORTED] * 8
    assert [each.least_tested.p_value for each in found.gains] == pytest.approx([2 / 2**6] * 8)
    # Alone 0.031 would do; eight of them share the level.
    assert [each.p_holm for each in found.gains] == pytest.approx([8 * 2 / 2**6] * 8)
    assert {each.verdict for each in found.gains} == {Verdict.NOT_SHOWN}


# --- simulated -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    path = Path(__file__).parents[1] / "benchmarks" / "family.py"
    spec = importlib.util.spec_from_file_location("family_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["family_benchmark"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "setting",
    [
        {"kind": "null", "arms": 4, "n": 200, "seeds": 1},
        {"kind": "format", "arms": 8, "n": 200, "seeds": 1},
        {"kind": "margin", "arms": 4, "n": 1000, "seeds": 1, "margin": 0.03, "ahead": 0.03},
    ],
)
def test_at_most_one_family_in_twenty_claims_anything_false(benchmark, setting):
    experiments = 300
    row = benchmark.measure((benchmark.Setting(**setting), experiments))
    assert binom.sf(row["false"] * experiments - 1, experiments, 0.05) > UNLUCKY
    # And each of them by itself, uncorrected, claims more.
    rng = np.random.default_rng(0)
    one = benchmark.Setting(**setting)
    alone = sum(
        any(
            benchmark.false_claims(one, *each)
            for each in zip(*benchmark.asked(one, benchmark.draw(one, rng)), strict=True)
        )
        for _ in range(100)
    )
    assert alone > 5 + 3 * (100 * 0.05 * 0.95) ** 0.5
