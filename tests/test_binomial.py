"""How often so many tosses come out heads, against the sum of all the ways."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paribus.statistics.intervals import at_least, at_most


def summed(first: int, last: int, tosses: int, chance: float) -> float:
    p = Fraction(chance)
    ways = (comb(tosses, k) * p**k * (1 - p) ** (tosses - k) for k in range(first, last + 1))
    return float(sum(ways, Fraction(0)))


@given(
    st.integers(0, 40),
    st.integers(0, 41),
    st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0]),
)
def test_both_are_sums_over_all_ways_also_at_the_ends(tosses, heads, chance):
    heads = min(heads, tosses + 1)
    more = summed(heads, tosses, tosses, chance)
    fewer = summed(0, heads - 1, tosses, chance)
    assert at_least(heads, tosses, chance) == pytest.approx(more, rel=1e-9, abs=1e-15)
    assert at_most(heads - 1, tosses, chance) == pytest.approx(fewer, rel=1e-9, abs=1e-15)


def test_they_take_arrays():
    assert at_most(np.arange(-1, 3), 2, 0.5).tolist() == [0.0, 0.25, 0.75, 1.0]
    assert at_least(np.arange(4), 2, 0.5).tolist() == [1.0, 0.75, 0.25, 0.0]
