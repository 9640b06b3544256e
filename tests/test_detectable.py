"""The smallest detectable difference over seeds: its range, and arms that agree almost always."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from by_hand import solved
from paribus.statistics.crossed import Estimate, components, estimate
from paribus.statistics.power import detectable_between_methods
from paribus.statistics.verdicts import (
    compare,
    detectable,
    detectable_by,
    detectable_range,
    range_by,
)

ALPHA = 0.05


def found(seeds, shared=(1e-4, 1318)) -> Estimate:
    return Estimate(value=0.0, shared=shared, seeds=tuple(seeds))


def test_the_range_is_the_smallest_difference_at_both_ends_of_the_seeds_variance():
    """Two equal arms of three seeds: 4 degrees of freedom, chi squared from 0.484 to 11.14."""
    made = found([(2e-4, 2), (2e-4, 2)])
    low, high = (
        detectable_between_methods(made.shared, [(2e-4 * 4 / chi, 2)] * 2, ALPHA)
        for chi in (11.1433, 0.48442)
    )
    assert range_by(made, ALPHA) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    seen = detectable_by(made, ALPHA)
    assert low
    assert high
    assert seen
    assert low < seen < high


@pytest.mark.parametrize("arms", [1, 2])
def test_the_range_holds_the_true_smallest_difference(arms):
    """The referee saw 3.0 to 7.6 points printed for one truth of 4.8: the range says so."""
    rng, draws = np.random.default_rng(0), 40
    truth = detectable_by(found([(1e-4, 2)] * arms), ALPHA)
    assert truth
    held = 0
    for _ in range(draws):
        low, high = range_by(
            found([(1e-4 * rng.chisquare(2) / 2, 2) for _ in range(arms)]), ALPHA
        ) or (1, 0)
        held += (low or 1.0) <= truth <= (high or 1.0)
    assert binom.cdf(held, draws, 0.95) > 1e-3


def test_where_the_seeds_may_scatter_without_bound_there_is_no_upper_end():
    low, high = range_by(found([(0.02, 2)]), ALPHA) or (None, None)
    assert low
    assert high is None


def test_one_seed_has_no_range():
    one = solved("10" * 30)
    assert range_by(estimate([(1.0, components(one)), (-1.0, components(~one))]), ALPHA) is None
    assert detectable_range(compare(one, ~one), 1) is None


@pytest.mark.parametrize("n", [30, 100])
def test_seeds_that_agree_see_no_smaller_differences_than_one(n):
    """A difference brings its own variance: nothing told these arms apart, so little was seen."""
    one = solved("1" * (n - 1) + "0")
    three = np.repeat(one, 3, axis=0)
    alone = detectable(compare(one, one), one, one, 1)
    several = detectable(compare(three, three), three, three, 1)
    assert alone
    assert several
    assert several >= 0.75 * alone


def test_a_larger_family_sees_less():
    made = found([(2e-4, 2), (2e-4, 2)])
    alone, among = range_by(made, ALPHA), range_by(made, ALPHA / 8)
    assert alone
    assert among
    assert [a < b for a, b in zip(alone, among, strict=True) if a and b]
    assert detectable_by(replace(made, seeds=()), ALPHA) < detectable_by(made, ALPHA)
