"""Levels, p-values and decisions over declared looks, against brute force and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, t

from paribus.config.check import FIRST
from paribus.records import Settled
from paribus.statistics import crossed
from paribus.statistics.crossed import MIN_SEEDS, Estimate, components, pooled, possible, tail
from paribus.statistics.sequential import chance, decide, over_looks, shares


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ((8,), (1.0,)),
        ((4, 8), (0.1, 0.9)),
        ((4, 7, 10), (0.1 * 4 / 7, 0.1 * 3 / 7, 0.9)),
        ((3, 4, 5, 6), (0.06, 0.02, 0.02, 0.9)),
    ],
)
def test_what_each_look_may_spend(looks, expected):
    assert shares(looks) == pytest.approx(expected)
    assert sum(shares(looks)) == pytest.approx(1)


def test_the_first_look_may_have_as_few_seeds_as_a_verdict_takes():
    assert FIRST == MIN_SEEDS


@pytest.mark.parametrize(
    ("p_values", "differences", "expected"),
    [
        ([0.004], [0.1], 0.04),
        ([0.004, 0.9], [0.1, 0.1], 0.04),
        ([0.5, 0.009], [0.1, 0.1], 0.01),
        ([0.5, 0.95], [0.1, 0.1], 1.0),
        ([0.004, 0.9], [-0.1, 0.1], 1.0),  # the other way round then: it does not count now
        ([None, 0.009], [None, 0.1], 0.01),
        ([0.004, None], [0.1, None], None),
    ],
)
def test_the_p_value_of_several_looks(p_values, differences, expected):
    parts = (0.1, 0.9)[: len(p_values)]
    found = over_looks(p_values, differences, parts)
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("dependence", ["none", "growing mean", "the same data"])
def test_a_true_null_is_claimed_false_at_most_at_the_level(dependence):
    """Whatever the looks have in common, one minus what chance allows 20,000 experiments."""
    looks, experiments = (4, 7, 10), 20_000
    rng = np.random.default_rng(1)
    if dependence == "growing mean":  # t tests of the first 4, 7 and 10 of ten seeds
        seeds = rng.standard_normal((experiments, looks[-1]))
        p_values = [
            2 * t.sf(np.abs(part.mean(1)) / part.std(1, ddof=1) * part.shape[1] ** 0.5, at - 1)
            for at in looks
            for part in [seeds[:, :at]]
        ]
    else:
        drawn = rng.uniform(size=(experiments, len(looks)))
        p_values = list((drawn if dependence == "none" else drawn[:, :1].repeat(3, 1)).T)
    parts = shares(looks)
    claimed = np.mean(
        [over_looks(row, [1.0] * 3, parts) <= 0.05 for row in np.array(p_values).T.tolist()]
    )
    assert claimed <= 0.05 + 3 * (0.05 * 0.95 / experiments) ** 0.5
    assert claimed >= 0.04  # and the level is not given away


def estimate(value: float, *, shared: float = 1e-4, seeds: float = 4e-4) -> Estimate:
    """Of two arms with four seeds on 200 problems; variances of the mean."""
    return Estimate(value=value, shared=(shared, 199), seeds=((seeds, 3), (0.75 * seeds, 3)))


@pytest.mark.parametrize("value", [0.0, 0.02, 0.05, 0.09, -0.05])
@pytest.mark.parametrize(("shared", "seeds"), [(1e-4, 4e-4), (4e-4, 1e-4), (1e-6, 2e-4)])
def test_the_chance_of_a_verdict_is_what_drawing_the_seeds_to_come_gives(value, shared, seeds):
    now, last, level, draws = 4, 10, 0.005, 4_000
    found = estimate(value, shared=shared, seeds=seeds)
    rng = np.random.default_rng(2)
    total, df = (float(each) for each in pooled(found.seeds))
    true = total * df / chi2.rvs(df, size=draws, random_state=rng)
    later = value + np.sqrt(true * (1 - now / last)) * rng.standard_normal(draws)
    grown = df * (last - 1) / (now - 1)
    then = true * now / last * chi2.rvs(grown, size=draws, random_state=rng) / grown
    passed = tail(later, found.shared, possible(then, np.full(draws, grown))) < level
    assert chance(found, now=now, last=last, level=level) == pytest.approx(passed.mean(), abs=0.06)


@given(st.floats(0, 0.3), st.floats(0, 0.3))
def test_a_larger_difference_has_the_better_chance(one, other):
    less, more = sorted((one, other))
    odds = [chance(estimate(each), now=4, last=10, level=0.01) for each in (less, more)]
    assert 0 <= odds[0] <= odds[1] + 1e-9 <= 1 + 1e-8


def test_nothing_to_come_leaves_nothing_to_chance():
    """Seeds that do not vary: what is found now is found then."""
    still = estimate(0.05, seeds=0.0)
    assert chance(still, now=4, last=10, level=0.01) == pytest.approx(1)
    assert chance(estimate(0.01, seeds=0.0), now=4, last=10, level=0.01) == pytest.approx(0)
    alike = components([[True, False] * 10] * 4)
    same = crossed.estimate([(1.0, alike), (-1.0, alike)])
    assert chance(same, now=4, last=10, level=0.01) == 0


def test_decisions_at_a_look_before_the_last():
    found = [estimate(0.2), estimate(0.0), estimate(0.06), None, estimate(0.06)]
    made = decide([0.01, 0.9, 0.2, None, 0.2], found, [False] * 4 + [True], looks=(4, 10), taken=1)
    states = [each.state for each in made]
    assert states == [
        Settled.SHOWN,
        Settled.UNLIKELY,
        Settled.OPEN,
        Settled.UNLIKELY,
        Settled.UNLIKELY,
    ]
    assert [each.chance is None for each in made] == [True, False, False, False, True]
    assert made[2].chance > 0.1 > made[1].chance
    assert made[3].chance == 0


def test_decisions_at_the_last_look():
    made = decide(
        [0.01, 0.9, 0.01], [estimate(0.2)] * 3, [False, False, True], looks=(4, 10), taken=2
    )
    # Given up, and shown none the less: giving up binds nobody.
    assert [each.state for each in made] == [Settled.SHOWN, Settled.NOT_SHOWN, Settled.SHOWN]
