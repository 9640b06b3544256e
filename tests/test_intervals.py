"""Intervals and the exact test against published values, and against their definitions."""

from fractions import Fraction
from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest

from paribus.statistics.intervals import FEW, Z, mcnemar, paired_difference, share

TABLES = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 60)).filter(any)
"""Problems that only A solves, that only B solves, and all others."""


# --- a share ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [
        # Wilson. Newcombe (1998), Statist. Med. 17: 857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        # Wilson, research/science.md section 2.
        (31, 100, 0.228, 0.406),
        (20, 100, 0.133, 0.289),
        (23, 100, 0.158, 0.322),
        (409, 1319, 0.286, 0.336),
        (145, 1319, 0.094, 0.128),
        # Clopper-Pearson, the same table of Newcombe, method 5.
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
        # Clopper-Pearson at the ends: 1 - 0.025 ** (1 / n).
        (0, 10, 0.0, 0.3085),
        (10, 10, 0.6915, 1.0),
        (0, 1, 0.0, 0.975),
        (1, 1, 0.025, 1.0),
    ],
)
def test_share_reproduces_published_intervals(correct, n, low, high):
    found = share(correct, n)
    digits = max(len(str(end)) - 2 for end in (low, high))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.51 * 10**-digits)


@pytest.mark.parametrize(("correct", "exact"), [(14, True), (15, False), (85, False), (86, True)])
def test_fewer_than_fifteen_solved_or_unsolved_get_the_exact_interval(correct, exact):
    found = share(correct, 100)
    center, spread = (correct + Z**2 / 2) / (100 + Z**2), Z / (100 + Z**2)
    half = spread * sqrt(correct * (100 - correct) / 100 + Z**2 / 4)
    is_wilson = found.low == pytest.approx(center - half, abs=1e-12)
    assert is_wilson is not exact
    assert FEW == 15


@given(st.floats(0.1, 3000), st.floats(1e-6, 1 - 1e-6) | st.sampled_from([0.0, 1.0]))
def test_share_holds_the_estimate_also_of_effective_counts(n, p):
    found = share(p * n, n)
    assert 0 <= found.low <= p <= found.high <= 1
    assert found.low < found.high


@given(st.integers(1, 400), st.integers(0, 399), st.integers(1, 5))
def test_share_moves_with_the_count_and_narrows_with_n(n, correct, more):
    correct = min(correct, n - 1)
    one, next_one = share(correct, n), share(correct + 1, n)
    if (min(correct, n - correct) < FEW) == (min(correct + 1, n - correct - 1) < FEW):
        assert one.low <= next_one.low
        assert one.high <= next_one.high
    many = share(correct * (more + 1), n * (more + 1))
    assert many.high - many.low < one.high - one.low


@given(st.integers(1, 300), st.integers(0, 300))
def test_share_of_the_unsolved_is_its_mirror_image(n, correct):
    correct = min(correct, n)
    one, other = share(correct, n), share(n - correct, n)
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-9)


@given(st.integers(1, 3000), st.integers(0, 3000))
def test_share_is_what_scipy_gives(n, correct):
    correct = min(correct, n)
    method = "exact" if min(correct, n - correct) < FEW else "wilson"
    expected = binomtest(correct, n).proportion_ci(method=method)
    found = share(correct, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


# --- a paired difference ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only_a", "only_b", "n", "low", "high", "digits"),
    [
        # Fagerland, Lydersen, Laake (2014), Statist. Med. 33: 2850-2875: Bentur et al., Tango.
        (1, 7, 21, -0.517, -0.026, 3),
        # No discordant pair: Wilson's interval of 0 of n, on both sides: z^2 / (n + z^2).
        (0, 0, 44, -0.0803, 0.0803, 4),
        (0, 0, 1, -0.7935, 0.7935, 4),
        # All discordant, the same way: the other end is certain.
        (10, 0, 10, 0.4449, 1.0, 4),
        (0, 10, 10, -1.0, -0.4449, 4),
        (1, 0, 1, -0.5869, 1.0, 4),
    ],
)
def test_paired_difference_reproduces_examples(only_a, only_b, n, low, high, digits):
    found = paired_difference(only_a=only_a, only_b=only_b, n=n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.51 * 10**-digits)


def score_by_definition(only_a: int, only_b: int, others: int, assumed: float) -> float:
    """The score statistic, the likelihood maximised numerically under the assumed difference.

    With q the share that only B solves, the multinomial has cells q + assumed, q and the rest.
    """
    low, high = max(0.0, -assumed), (1 - assumed) / 2

    def unlikely(q: float) -> float:
        cells = ((only_a, q + assumed), (only_b, q), (others, 1 - 2 * q - assumed))
        return -sum(count * np.log(max(p, 1e-300)) for count, p in cells if count)

    best = minimize_scalar(unlikely, bounds=(low, high), method="bounded", options={"xatol": 1e-13})
    q = min((low, high, float(best.x)), key=unlikely)
    n = only_a + only_b + others
    variance = 2 * q + assumed - assumed**2
    return (only_a - only_b - n * assumed) / sqrt(n * variance)


@given(TABLES)
def test_the_ends_are_where_the_score_test_just_rejects(table):
    only_a, only_b, others = table
    found = paired_difference(only_a=only_a, only_b=only_b, n=sum(table))
    for end, expected in ((found.low, Z), (found.high, -Z)):
        if -1 + 1e-9 < end < 1 - 1e-9:
            score = score_by_definition(only_a, only_b, others, end)
            assert score == pytest.approx(expected, abs=2e-4)


@given(TABLES)
def test_paired_difference_holds_the_difference_and_has_a_width(table):
    only_a, only_b, _ = table
    n = sum(table)
    found = paired_difference(only_a=only_a, only_b=only_b, n=n)
    assert -1 <= found.low <= (only_a - only_b) / n <= found.high <= 1
    assert found.low < found.high


@given(TABLES)
def test_paired_difference_is_antisymmetric(table):
    only_a, only_b, _ = table
    one = paired_difference(only_a=only_a, only_b=only_b, n=sum(table))
    other = paired_difference(only_a=only_b, only_b=only_a, n=sum(table))
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-12)


@given(TABLES)
def test_zero_is_left_out_exactly_where_mcnemars_score_test_rejects(table):
    only_a, only_b, _ = table
    found = paired_difference(only_a=only_a, only_b=only_b, n=sum(table))
    z = (only_a - only_b) / sqrt(only_a + only_b) if only_a + only_b else 0.0
    if abs(abs(z) - Z) > 1e-6:
        assert (found.low > 0 or found.high < 0) == (abs(z) > Z)


# --- the exact test --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        # Fagerland, Lydersen, Laake (2013), BMC Med. Res. Methodol. 13: 91: 0.070
        (1, 7, 0.0703125),
        (7, 1, 0.0703125),
        (12, 2, 2 * (1 + 14 + 91) / 2**14),
        (7, 0, 2 / 2**7),
        (5, 5, 1.0),
        (1, 0, 1.0),
        (0, 0, None),
    ],
)
def test_mcnemar(only_a, only_b, p):
    found = mcnemar(only_a=only_a, only_b=only_b)
    assert found == (None if p is None else pytest.approx(p, rel=1e-12))


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_exact_share_of_all_tosses_as_uneven(only_a, only_b):
    tosses, fewer = only_a + only_b, min(only_a, only_b)
    found = mcnemar(only_a=only_a, only_b=only_b)
    if not tosses:
        assert found is None
        return
    tail = sum(comb(tosses, heads) for heads in range(fewer + 1))
    assert found == pytest.approx(float(min(1, Fraction(2 * tail, 2**tosses))), rel=1e-11)


def test_mcnemar_of_real_systems():
    """OpenAI's sample solutions, 6B against 175B (research/science.md): 88 against 260 of 1319."""
    found = paired_difference(only_a=260, only_b=88, n=1319)
    # 13.0 points with a standard error of 1.37: with so many problems the normal interval holds.
    assert found.low == pytest.approx(0.1304 - Z * 0.0137, abs=6e-4)
    assert found.high == pytest.approx(0.1304 + Z * 0.0137, abs=6e-4)
    p = mcnemar(only_a=260, only_b=88)
    assert p is not None
    assert 0 < p < 1e-19
