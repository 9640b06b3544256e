"""The interval of an arm's accuracy: over seeds, over groups of problems, and at the ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from by_hand import solved
from paribus.statistics.crossed import components
from paribus.statistics.intervals import share
from paribus.statistics.verdicts import mean_interval


@settings(max_examples=60)
@given(st.integers(1, 200), st.integers(0, 200))
def test_one_seed_gets_the_interval_of_a_share(n, correct):
    correct = min(correct, n)
    found = mean_interval(components([[place < correct for place in range(n)]]))
    assert found == share(correct, n)


def test_few_solved_is_told_by_the_count_not_by_rounding():
    assert 15 / 44 * 44 < 15
    found = mean_interval(components([[place < 15 for place in range(44)]]))
    assert found == share(15, 44)


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize(("seeds", "groups", "n"), [(3, 30, 30), (1, 10, 10), (5, 10, 10)])
def test_all_right_or_all_wrong_counts_each_group_once(right, seeds, groups, n):
    arm = components(np.full((seeds, 30), right))
    places = None if groups == 30 else np.repeat(np.arange(10), 3)
    assert mean_interval(arm, places) == share(n * right, n)


def test_two_seeds_alone_have_no_interval():
    assert mean_interval(components(np.eye(2, 50, dtype=bool))) is None


def test_seeds_that_agree_say_as_much_as_one_and_others_more():
    row = "1" * 40 + "0" * 60
    one = mean_interval(components(solved(row)))
    alike = mean_interval(components(solved(row, row, row)))
    mixed = mean_interval(components(solved(row, row[::-1], row[30:] + row[:30])))
    assert one
    assert alike
    assert mixed
    widths = [each.high - each.low for each in (one, alike, mixed)]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)
    assert widths[2] < 0.8 * widths[0]


def test_seeds_that_disagree_widen_the_interval():
    equal = mean_interval(components(solved(*["10" * 100] * 3)))
    apart = mean_interval(
        components(solved("1" * 60 + "0" * 140, "10" * 100, "1" * 140 + "0" * 60))
    )
    assert equal
    assert apart
    assert apart.high - apart.low > 2 * (equal.high - equal.low)


@pytest.mark.parametrize("seeds", [3, 10, 400])
def test_any_number_of_seeds(seeds):
    arm = components(np.random.default_rng(0).random((seeds, 20)) < 0.5)
    found = mean_interval(arm)
    assert found is not None
    assert 0 < found.low < arm.mean < found.high < 1
