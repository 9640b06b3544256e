"""Groups of problems: their numbers, what they are worth, the variance of a mean over them."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from paribus.statistics.groups import numbered, squares, worth

N = 12
VALUES = st.lists(st.sampled_from([0.0, 1.0, -1.0, 1 / 3]), min_size=N, max_size=N)
SIZES = st.lists(st.integers(1, 9), min_size=N, max_size=N)
LABELS = st.lists(st.sampled_from("abcd"), min_size=N, max_size=N)


@pytest.mark.parametrize(
    ("labels", "numbers"),
    [
        ([], None),
        (["", "", ""], None),
        (["a", "b", "a"], [0, 1, 0]),
        (["", "a", "", "a"], [0, 1, 2, 1]),
        (["b", "", "b", ""], [0, 1, 0, 2]),
    ],
)
def test_numbered(labels, numbers):
    found = numbered(labels)
    assert (None if found is None else found.tolist()) == numbers


@pytest.mark.parametrize(
    ("sizes", "as_many"),
    [
        ([1] * 10, 10.0),
        ([5] * 10, 10.0),
        ([3, 1], 16 / 10),
        ([100, *[1] * 100], 200**2 / (100**2 + 100)),
    ],
)
def test_unequal_groups_are_worth_fewer(sizes, as_many):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    assert worth(len(groups), groups) == pytest.approx(as_many)
    assert worth(len(groups), None) == len(groups)


@given(VALUES, SIZES, LABELS)
def test_the_variance_is_that_of_leaving_out_one_group_at_a_time(values, sizes, labels):
    y, x = np.array(values), np.array(sizes, dtype=float)
    groups = numbered(labels)
    assume(len(set(labels)) > 1)
    ratio = y.sum() / x.sum()
    kept = [groups != each for each in range(len(set(labels)))]
    without = np.array([y[rest].sum() / x[rest].sum() for rest in kept])
    expected = (len(kept) - 1) / len(kept) * ((without - ratio) ** 2).sum()
    assert squares(y - ratio * x, groups, x) / x.sum() ** 2 == pytest.approx(expected)


@given(VALUES)
def test_groups_of_one_size_are_added_up(values):
    y, groups = np.array(values), np.repeat(np.arange(4), 3)
    sums = (y - y.mean()).reshape(4, 3).sum(axis=1)
    assert squares(y - y.mean(), groups) == pytest.approx(sums @ sums * 4 / 3)
    assert squares(y - y.mean(), None) == pytest.approx(((y - y.mean()) ** 2).sum())


def test_one_group_has_no_variance():
    assert squares(np.array([0.5, -0.5]), np.array([0, 0])) == 0.0
