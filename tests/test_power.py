"""Power against enumeration and simulation; what is detectable, and how many problems it takes."""

from dataclasses import replace
from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, qmc

from paribus.errors import UserError
from paribus.statistics.crossed import pooled, possible, tail
from paribus.statistics.intervals import mcnemar
from paribus.statistics.power import (
    POWER,
    Design,
    critical_distances,
    detectable,
    detectable_about,
    detectable_between_methods,
    discordant,
    highest_correlation,
    power,
    power_of_methods,
    power_of_models,
    problems_needed,
)

SHARES = st.floats(0.01, 0.99)

ONE, THREE = Design(n=1319, seeds=1), Design(n=1319, seeds=3)
"""The designs of most tests."""


# --- two trained models ----------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 5, 6, 12])
@pytest.mark.parametrize("alpha", [0.05, 0.0125])
@pytest.mark.parametrize(
    ("a", "b", "correlation"),
    [(0.9, 0.1, 0.0), (0.36, 0.31, 0.4), (0.05, 0.9, 0.0), (0.5, 0.5, 0.0), (0.8, 0.3, 0.2)],
)
def test_power_of_models_is_that_of_every_possible_table(a, b, correlation, n, alpha):
    only_a, only_b = discordant(a, b, correlation)
    shown = 0.0
    for first in range(n + 1):
        for second in range(n - first + 1):
            p = mcnemar(only_a=first, only_b=second)
            if p is not None and p <= alpha:
                tables = comb(n, first) * comb(n - first, second)
                rest = (1 - only_a - only_b) ** (n - first - second)
                shown += tables * only_a**first * only_b**second * rest
    found = power_of_models(a, b, n=n, correlation=correlation, alpha=alpha)
    assert found == pytest.approx(shown, abs=1e-7)


@pytest.mark.parametrize(
    ("a", "b", "correlation", "n", "alpha"),
    [(0.36, 0.31, 0.4, 1319, 0.05), (0.36, 0.31, 0.4, 300, 0.05), (0.08, 0.02, 0.2, 200, 0.0125)],
)
def test_power_of_models_is_how_often_simulated_tables_are_shown(a, b, correlation, n, alpha):
    only_a, only_b = discordant(a, b, correlation)
    drawn = np.random.default_rng(1).multinomial(n, [only_a, only_b, 1 - only_a - only_b], 1000)
    shown = np.mean([(mcnemar(only_a=x, only_b=y) or 1.0) <= alpha for x, y, _ in drawn])
    found = power_of_models(a, b, n=n, correlation=correlation, alpha=alpha)
    assert shown == pytest.approx(found, abs=4 * sqrt(found * (1 - found) / 1000))


@given(SHARES, SHARES, st.floats(0, 1), st.integers(1, 400))
def test_power_of_models_is_symmetric_in_its_arms_and_in_right_and_wrong(a, b, part, n):
    correlation = part * highest_correlation(a, b)
    found = power_of_models(a, b, n=n, correlation=correlation)
    assert 0 <= found <= 1
    for other in ((b, a), (1 - a, 1 - b)):
        assert power_of_models(*other, n=n, correlation=correlation) == pytest.approx(
            found, abs=1e-6
        )


@given(SHARES, st.floats(0, 1), st.integers(1, 2000))
def test_equal_models_are_told_apart_at_most_one_time_in_twenty(a, part, n):
    assert power_of_models(a, a, n=n, correlation=part) <= 0.05


# --- correlations ----------------------------------------------------------------------------


@given(SHARES, SHARES, st.floats(0, 1))
def test_discordant_shares_have_the_accuracies_and_the_correlation_asked_for(a, b, part):
    correlation = part * highest_correlation(a, b)
    only_a, only_b = discordant(a, b, correlation)
    assert only_a - only_b == pytest.approx(a - b)
    both = a - only_a
    assert (both - a * b) / sqrt(a * (1 - a) * b * (1 - b)) == pytest.approx(correlation, abs=1e-9)
    assert min(only_a, only_b, both, 1 - a - only_b) >= -1e-12


def test_discordant_by_hand():
    # Both solve 0.25 of the problems by chance and 0.4 * 0.25 more.
    assert discordant(0.5, 0.5, 0.4) == pytest.approx((0.15, 0.15))
    # The highest correlation: whatever the weaker solves, so does the stronger.
    assert highest_correlation(0.8, 0.2) == pytest.approx(0.25)
    assert discordant(0.8, 0.2, 0.25) == pytest.approx((0.6, 0.0))


@pytest.mark.parametrize("design", [ONE, THREE])
def test_an_impossible_correlation_is_refused_with_the_highest(design):
    with pytest.raises(UserError) as raised:
        power(replace(design, correlation=0.4), 0.3, 0.5)
    assert raised.value.message == (
        "a correlation of 0.4 is impossible between accuracies of 0.8 and 0.3: at most 0.327"
    )
    assert raised.value.remedy == "give a correlation of 0.32 or less"


# --- methods ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shared", "seeds"),
    [
        ((1e-4, 1318), [(2e-5, 2), (3e-4, 4)]),
        ((1e-4, 1318), [(2e-5, 2)] * 8),  # an effect of a matrix of eight arms
        ((4e-4, 199), [(1e-4, 4)]),
        ((4e-4, 49), []),
        ((4e-4, 49), [(0.0, 2), (0.0, 2)]),  # seeds that solve the same
    ],
)
@pytest.mark.parametrize(("difference", "alpha"), [(0.0, 0.05), (0.04, 0.05), (0.08, 0.0125)])
def test_power_of_methods_is_how_often_simulated_estimates_are_shown(
    shared, seeds, difference, alpha
):
    """Estimates are normal, variances of seeds chi squared, that of the problems is known."""
    rng, draws = np.random.default_rng(2), 2000
    error = sqrt(shared[0] + sum(variance for variance, _ in seeds))
    values = rng.normal(difference, error, draws)
    found = [variance * rng.chisquare(df, draws) / df for variance, df in seeds]
    total, df = pooled([(each, df) for each, (_, df) in zip(found, seeds, strict=True)])
    shown = float(np.mean(tail(values, shared, possible(total, df)) < alpha))
    expected = power_of_methods(difference, shared, seeds, alpha)
    assert shown == pytest.approx(expected, abs=4 * sqrt(0.25 / draws))


VARIANCES = st.floats(-12, 0).map(lambda power: 10.0**power)


@settings(max_examples=40)
@given(
    VARIANCES, st.integers(9, 10**6), VARIANCES, VARIANCES, st.integers(2, 30), st.integers(1, 500)
)
def test_distances_are_the_very_ones_that_bisection_finds(shared, units, a, b, df, comparisons):
    """The least of 65,536 that is shown, whichever way they are looked for; 1 if none is."""
    alpha, steps = 0.05 / comparisons, 2**16
    found = critical_distances((shared, units), [(a, df), (b, df)], alpha).distances
    cases = qmc.Sobol(2, rng=0).random(64).T
    drawn = [(each * chi2.ppf(case, df) / df, df) for each, case in zip((a, b), cases, strict=True)]
    variances = possible(*pooled(drawn))
    low, high = np.zeros(64), np.ones(64)
    for _ in range(16):
        middle = (low + high) / 2
        shown = tail(middle, (shared, units), variances) < alpha
        low, high = np.where(shown, low, middle), np.where(shown, middle, high)
    assert np.array_equal(found, high)
    assert np.array_equal(found * steps, np.round(found * steps))


@pytest.mark.parametrize("seeds", [3, 5])
def test_equal_methods_are_told_apart_at_most_one_time_in_twenty(seeds):
    for n in (50, 1319, 100_000):
        for spread in (0.0, 0.01, 0.03):
            design = Design(n=n, seeds=seeds, spread=spread)
            assert power(design, 0.31, 0.0) <= 0.053


@pytest.mark.parametrize("design", [replace(ONE, n=1), replace(THREE, n=9), replace(ONE, seeds=2)])
def test_a_design_that_gives_no_verdict_has_no_power(design):
    assert power(replace(design, correlation=0.0), 0.1, 0.8) == 0
    assert detectable(replace(design, correlation=0.0), 0.1) is None


# --- the smallest difference -----------------------------------------------------------------


@pytest.mark.parametrize("baseline", [0.02, 0.31, 0.6, 0.95])
@pytest.mark.parametrize("design", [ONE, THREE, replace(ONE, n=200, comparisons=8)])
def test_detectable_is_the_smallest_with_enough_power(design, baseline):
    found = detectable(design, baseline)
    if found is None:  # three seeds that scatter by a point cannot show what is left above 95 %
        assert baseline == 0.95
        return

    def reached(difference):
        highest = highest_correlation(baseline + difference, baseline)
        kept = replace(design, correlation=min(design.correlation, highest))
        return power(kept, baseline, difference)

    assert reached(found) >= POWER
    assert reached(0.97 * found) < POWER


@settings(max_examples=40)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 2000), st.floats(-1, 1))
def test_what_is_detectable_about_a_mean_is_defined_for_any_two(a, b, n, correlation):
    found = detectable_about(Design(n=n, correlation=correlation), (a + b) / 2)
    if n < 6:  # 2 / 2^5 is above 0.05: no table is shown
        assert found is None
    elif found is not None:
        assert 0 < found <= 1


def test_detectable_between_methods_is_the_smallest():
    shared, seeds = (1e-4, 1318), [(1e-4, 2), (5e-5, 2)]
    found = detectable_between_methods(shared, seeds, 0.05)
    assert found is not None
    assert power_of_methods(found, shared, seeds) >= POWER - 1e-6
    assert power_of_methods(0.97 * found, shared, seeds) < POWER
    assert detectable_between_methods(shared, [(0.5, 2), (0.5, 2)], 0.05) is None


def test_more_problems_seeds_and_fewer_comparisons_see_smaller_differences():
    sizes = [detectable(replace(THREE, n=n), 0.31) for n in (50, 200, 1319)]
    counts = [detectable(replace(THREE, seeds=seeds), 0.31) for seeds in (3, 5, 10)]
    families = [detectable(replace(ONE, comparisons=count), 0.31) for count in (20, 8, 4, 1)]
    models = [detectable(replace(ONE, n=n), 0.31) for n in (50, 200, 1319)]
    for found in (sizes, counts, families, models):
        assert found == sorted(found, reverse=True)


# --- problems needed -------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [1, 3, 5])
@pytest.mark.parametrize(("baseline", "difference"), [(0.31, 0.08), (0.9, 0.06), (0.5, -0.12)])
def test_problems_needed_are_enough_and_clearly_fewer_are_not(seeds, baseline, difference):
    design = Design(n=0, seeds=seeds)
    needed = problems_needed(design, baseline, difference)
    assert needed is not None
    assert power(replace(design, n=needed), baseline, difference) >= POWER
    assert power(replace(design, n=int(0.95 * needed)), baseline, difference) < POWER


@pytest.mark.parametrize(
    ("a", "b", "problems"),
    [(0.31, 0.25, 526), (0.31, 0.23, 289), (0.31, 0.20, 147), (0.08, 0.05, 644)],
)
def test_problems_needed_agree_with_the_normal_approximation(a, b, problems):
    """research/science.md section 2, paired at a correlation of 0.4; the exact test needs more."""
    needed = problems_needed(Design(n=0, correlation=0.4), b, a - b)
    assert needed is not None
    assert problems <= needed <= 1.2 * problems


@pytest.mark.parametrize(
    ("design", "difference"),
    [(Design(n=0, seeds=2), 0.3), (Design(n=0, seeds=3, spread=0.1), 0.05), (Design(n=0), 1e-6)],
)
def test_no_number_of_problems_shows_what_seeds_hide(design, difference):
    assert problems_needed(design, 0.31, difference) is None


def test_what_the_docstring_promises():
    assert power_of_models(0.36, 0.31, n=1319, correlation=0.4) == pytest.approx(0.934, abs=5e-4)
    assert detectable(Design(n=1319, seeds=3), 0.31) == pytest.approx(0.0504, abs=5e-4)
    assert problems_needed(Design(n=0, seeds=1), 0.31, 0.05) == 878
