"""Power of real-valued scores against statsmodels, and the spread of a pilot against its truth."""

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from paribus.errors import UserError
from paribus.statistics.real.comparison import compare
from paribus.statistics.real.power import (
    Spread,
    detectable,
    measured_detectable,
    measured_range,
    power,
    problems_needed,
    spread_of,
)

PAIRED = Spread(problems=0.3)
SEEDS = Spread(problems=0.3, seeds=0.02, cells=0.2)


@pytest.mark.parametrize(("n", "difference"), [(30, 0.1), (200, 0.05), (1319, 0.03)])
def test_one_seed_has_the_power_of_the_paired_t_test(n, difference):
    by_statsmodels = TTestPower().power(difference / 0.3, n, 0.05)
    assert power(PAIRED, difference, n=n) == pytest.approx(by_statsmodels, abs=0.015)
    least = TTestPower().solve_power(None, n, 0.05, 0.8) * 0.3
    assert detectable(PAIRED, n=n) == pytest.approx(least, rel=0.01)


def test_problems_needed_are_those_of_statsmodels():
    assert problems_needed(PAIRED, 0.05) == pytest.approx(
        TTestPower().solve_power(0.05 / 0.3, None, 0.05, 0.8), rel=0.01
    )
    assert problems_needed(Spread(problems=0.3, seeds=0.1), 0.05, seeds=3) is None  # seeds decide


def test_chance_in_single_scores_counts_twice_for_one_seed_and_less_over_seeds():
    assert detectable(Spread(problems=0.3, cells=0.4), n=200) == pytest.approx(
        detectable(Spread(problems=np.sqrt(0.3**2 + 2 * 0.4**2)), n=200)
    )
    assert detectable(SEEDS, n=200, seeds=10) < detectable(SEEDS, n=200, seeds=3)
    assert detectable(SEEDS, n=200, seeds=3, comparisons=6) > detectable(SEEDS, n=200, seeds=3)


def test_without_a_verdict_there_is_no_power():
    assert power(SEEDS, 0.5, n=200, seeds=2) == 0.0
    assert power(SEEDS, 0.5, n=9) == 0.0
    assert detectable(SEEDS, n=200, seeds=2) is None


def test_a_pilot_shows_the_spread_it_was_drawn_with():
    rng = np.random.default_rng(0)
    problems = rng.gamma(1.0, 1.0, 20_000)

    def arm(apart):
        seeds, cells = rng.normal(0, 0.5, (40, 1)), rng.normal(0, 2.0, (40, 20_000))
        return problems + rng.normal(0, apart, 20_000) + seeds + cells

    found = spread_of(arm(1.0), arm(0.0))
    assert found.problems == pytest.approx(1.0, rel=0.03)
    assert found.cells == pytest.approx(2.0, rel=0.01)
    assert found.seeds == pytest.approx(0.5, rel=0.25)
    single = spread_of(arm(1.0)[:1], arm(0.0)[:1])
    assert single.problems == pytest.approx(3.0, rel=0.02)  # 1 + 2 * 2.0 ** 2 = 9
    assert (single.seeds, single.cells) == (0.0, 0.0)


@pytest.mark.parametrize("spread", [(0.0, 0.1, 0.0), (-0.1, 0.0, 0.0), (float("nan"), 0.0, 0.0)])
def test_impossible_spreads_are_refused_with_their_values(spread):
    problems, seeds, cells = spread
    with pytest.raises(UserError, match=f"standard deviations of {problems:g}, {seeds:g}, 0 "):
        Spread(problems=problems, seeds=seeds, cells=cells)


def test_what_a_comparison_could_see_follows_from_its_variances():
    rng = np.random.default_rng(1)
    a, b = rng.normal(3.0, 2.0, (1, 200)), rng.normal(3.0, 2.0, (1, 200))
    least = TTestPower().solve_power(None, 200, 0.05, 0.8) * (a - b).std(ddof=1)
    tested = compare(a, b)
    assert measured_detectable(tested, 1) == pytest.approx(least, rel=0.01)
    assert measured_detectable(tested, 8) > least
    assert measured_range(tested, 1) is None
    seeds = compare(rng.normal(3.0, 2.0, (3, 200)), rng.normal(3.0, 2.0, (3, 200)))
    low, high = measured_range(seeds, 1)
    assert low < measured_detectable(seeds, 1) < high
    assert measured_detectable(compare(a, a), 1) is None


def test_a_pilot_without_a_spread_is_refused():
    with pytest.raises(UserError, match="a pilot of 1 problems shows no spread"):
        spread_of([[0.5]], [[0.4]])
    with pytest.raises(UserError, match="standard deviations of 0, 0, 0 "):
        spread_of([[0.5, 0.4]], [[0.5, 0.4]])
