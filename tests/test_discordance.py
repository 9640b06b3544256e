"""Arms that agree almost always: how far apart they may be, whatever the number of seeds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from by_hand import solved
from paribus.statistics.crossed import components, critical, estimate
from paribus.statistics.groups import discordance
from paribus.statistics.verdicts import compare


def pair(only_a: int, only_b: int, rest: int):
    """Two runs: problems that only the first solves, only the second, and both or neither."""
    a = "1" * only_a + "0" * only_b + "1" * rest
    b = "0" * only_a + "1" * only_b + "1" * rest
    return solved(a), solved(b)


COUNTS = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(10, 300))


@given(COUNTS, st.integers(3, 5))
def test_seeds_that_agree_say_no_more_than_one(counts, seeds):
    a, b = pair(*counts)
    one = compare(a, b).interval
    several = compare(np.repeat(a, seeds, axis=0), np.repeat(b, seeds, axis=0)).interval
    assert one
    assert several
    assert several.low <= one.low + 1e-7
    assert several.high >= one.high - 1e-7


@pytest.mark.parametrize("n", [30, 100, 1319])
def test_three_seeds_that_agree_on_every_problem_reach_as_far_as_one(n):
    """The referee's case: with 30 problems one seed gave 11.4 points and three gave 3.9."""
    a, b = pair(0, 0, n)
    three = compare(np.repeat(a, 3, axis=0), np.repeat(b, 3, axis=0)).interval
    one = compare(a, b).interval
    assert one
    assert three
    assert three.high >= one.high
    assert three.high == pytest.approx(one.high, rel=0.08)  # Student's quantile for the normal


@given(COUNTS)
def test_no_seed_that_solves_something_else_makes_the_interval_jump(counts):
    """One cell of three seeds changes little: there is no case of its own for seeds that agree."""
    a, b = (np.repeat(row, 3, axis=0) for row in pair(*counts))
    changed = a.copy()
    changed[2, -1] = not changed[2, -1]
    one, other = compare(a, b).interval, compare(changed, b).interval
    assert one
    assert other
    width = one.high - one.low
    assert other.high - other.low == pytest.approx(width, rel=0.35)


@pytest.mark.parametrize(
    ("values", "scale", "jump"),
    [
        ([0, 0, 0, 0], 1.0, 0.0),
        ([1, 0, 0, -1], 1.0, 1.0),
        ([1 / 3, 0, 0, -1 / 3], 1.0, 1 / 3),
        ([1, 0, 1 / 3, 0], 1.0, (1 + 1 / 9) / (4 / 3)),
    ],
)
def test_the_jump_is_how_large_a_difference_is_where_there_is_one(values, scale, jump):
    assert discordance(np.array(values, dtype=float), scale).jump == pytest.approx(jump)


def test_problems_that_go_together_are_one_jump():
    values = np.array([1.0, 1.0, 0.0, 0.0, -1.0, -1.0])
    assert discordance(values, 1.0, np.array([0, 0, 1, 1, 2, 2])).jump == 2.0
    assert discordance(values, 1.0, np.array([0, 1, 1, 2, 2, 3])).jump == 1.0


@pytest.mark.parametrize("assumed", [0.0, 0.03, -0.2, 0.5, 1.0, -1.0])
@pytest.mark.parametrize(("groups", "units"), [(None, 40), (np.repeat(np.arange(10), 4), 10)])
def test_where_nothing_tells_the_arms_apart_the_variance_is_that_of_the_fewest_flips(
    assumed, groups, units
):
    """Problems, or groups, on which they differ altogether: a share `assumed` of them."""
    found = discordance(np.zeros(40), 1.0, groups)
    assert found.variance(assumed) == pytest.approx(abs(assumed) * (1 - abs(assumed)) / units)


def test_usual_arms_keep_the_interval_they_have():
    """Where a third of the problems tells the arms apart nothing is to be added."""
    rng = np.random.default_rng(0)
    difficulty = rng.standard_normal(400)
    a, b = (difficulty + 1.2 * rng.standard_normal((3, 400)) < shift for shift in (0.0, 0.2))
    found = estimate([(1.0, components(a)), (-1.0, components(b))])
    half = critical(found.df) * found.error
    assert found.value - found.interval.low == pytest.approx(half, rel=0.03)
    assert found.interval.high - found.value == pytest.approx(half, rel=0.03)


def test_usual_groups_keep_the_interval_they_have():
    """Twenty groups of ten that hardly go together; a quarter of the problems tells arms apart."""
    rng, groups = np.random.default_rng(0), np.repeat(np.arange(20), 10)
    difficulty = rng.standard_normal(200)
    a, b = (difficulty + 0.7 * rng.standard_normal((1, 200)) < -0.3 for _ in range(2))
    assert 40 <= (a != b).sum() <= 60
    found = estimate([(1.0, components(a)), (-1.0, components(b))], groups)
    half = critical(found.df) * found.error
    assert found.interval.high - found.interval.low == pytest.approx(2 * half, rel=0.08)
