"""Means and comparisons of real-valued scores: by hand, against scipy, and invariants."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from paribus.errors import UserError
from paribus.statistics.groups import numbered
from paribus.statistics.intervals import mcnemar, paired_difference, share
from paribus.statistics.real.comparison import SAME, compare, flip_p, not_worse
from paribus.statistics.real.means import mean_of
from paribus.statistics.verdicts import split

A = np.array([0.9, 0.4, 1.0, 0.0, 0.7, 0.3, 0.8, 0.6, 0.5, 1.0, 0.2, 0.9])
B = np.array([0.7, 0.5, 0.8, 0.0, 0.1, 0.3, 0.9, 0.2, 0.4, 0.6, 0.0, 0.8])


def bounds(interval):
    return (interval.low, interval.high)


# --- one run against one run -----------------------------------------------------------------


def test_the_interval_and_the_t_test_are_those_of_scipy():
    tested, paired = compare([A], [B]), stats.ttest_rel(A, B)
    assert bounds(tested.interval) == pytest.approx(tuple(paired.confidence_interval()))
    assert tested.crossed.p_value == pytest.approx(paired.pvalue)


def test_all_sign_flips_are_those_of_scipy():
    by_scipy = stats.permutation_test(
        (A, B), lambda a, b: (a - b).mean(), permutation_type="samples", n_resamples=np.inf
    )
    assert compare([A], [B]).p_value == pytest.approx(by_scipy.pvalue)


def test_four_flips_by_hand():
    # Sums of +-1 +-2 +-3: 6, 4, 2, 0, 0, -2, -4, -6. Four of eight are 4 or more away from 0.
    assert flip_p(np.array([-1.0, 2.0, 3.0])) == 4 / 8
    assert flip_p(np.array([1.0, 2.0, 3.0, 0.0, 0.0])) == 2 / 8  # no difference: no flip


def test_random_flips_are_near_the_t_test_and_the_same_each_time():
    differences = np.random.default_rng(0).normal(0.1, 1.0, 500)
    p = flip_p(differences)
    assert p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.01)
    assert flip_p(differences) == p


def test_scores_of_zero_and_one_get_the_exact_test_of_mcnemar():
    a, b = np.zeros((1, 100)), np.zeros((1, 100))
    a[0, :30], b[0, 20:36] = 1.0, 1.0
    assert compare(a, b, bounded=True).p_value == mcnemar(only_a=20, only_b=6)


def test_groups_are_flipped_whole():
    groups = numbered(["a", "a", "b", "b", "c"])
    assert flip_p(np.array([0.5, 0.5, 1.0, 1.0, 3.0]), groups) == 2 / 8  # of 1, 2 and 3


def test_the_variance_of_groups_is_the_jackknife_s():
    groups = np.array([0, 0, *range(1, 11)])
    tested = compare([A], [B], groups)
    differences = A - B
    left_out = [differences[groups != group].mean() for group in range(11)]
    away = np.array(left_out) - differences.mean()
    assert tested.crossed.error**2 == pytest.approx(10 / 11 * (away @ away))


def test_a_single_template_is_too_few_groups():
    tested = compare([A], [B], np.zeros(12, dtype=np.intp))
    assert (tested.interval, tested.p_value) == (None, None)
    assert tested.reason == "1 groups of problems are too few, under 10"


@pytest.mark.parametrize("n", [1, 9])
def test_few_problems_get_no_test(n):
    tested = compare([A[:n]], [B[:n]])
    assert (tested.interval, tested.p_value) == (None, None)
    assert tested.reason == f"{n} problems are too few, under 10"


def test_equal_scores_get_no_test():
    bounded, losses = compare([A], [A], bounded=True), compare([A], [A])
    assert (bounded.p_value, bounded.reason) == (None, SAME)
    assert bounded.interval == paired_difference(only_a=0, only_b=0, n=12)
    assert (losses.p_value, losses.interval, losses.reason) == (None, None, SAME)


@pytest.mark.parametrize("runs", [1, 3])
def test_arms_that_differ_by_the_same_everywhere_get_an_interval_with_a_width(runs):
    tested = compare(np.ones((runs, 30)), np.zeros((1, 30)), bounded=True)
    assert tested.p_value < 1e-8
    assert 0.9 < tested.interval.low < 0.95
    assert tested.interval.high == 1.0
    # 0.3 - 0.1 is not quite 0.2, everywhere by the same.
    rounded = compare(np.full((runs, 30), 0.3), np.full((1, 30), 0.1)).interval
    assert 0.18 < rounded.low < 0.2 < rounded.high < 0.22


# --- several seeds ---------------------------------------------------------------------------


def of_seeds(seeds: int, n: int, shift: float = 0.0):
    rng = np.random.default_rng(seeds + n)
    problems = rng.gamma(1.0, 1.0, n)
    return shift + problems + rng.normal(0, 0.3, (seeds, 1)) + rng.normal(0, 0.5, (seeds, n))


def test_seeds_bring_their_variance():
    a, b = of_seeds(3, 50, 0.4), of_seeds(4, 50)
    tested, models = compare(a, b), compare(a, b, existing=(True, True))
    assert tested.crossed.value == pytest.approx(a.mean() - b.mean())
    assert [df for _, df in tested.crossed.seeds] == [2, 3]
    assert tested.crossed.seeds[0][0] == pytest.approx(a.mean(axis=1).var(ddof=1) / 3)
    assert tested.crossed.error > models.crossed.error
    assert split(tested.crossed).seeds > 0
    assert split(models.crossed) is None


def test_given_models_are_compared_by_their_mean_scores():
    a, b = of_seeds(3, 50), of_seeds(4, 50)
    averaged = compare(a.mean(axis=0, keepdims=True), b.mean(axis=0, keepdims=True))
    assert compare(a, b, existing=(True, True)) == averaged


def test_paired_seeds_have_the_variance_of_their_differences():
    a, b = of_seeds(4, 50, 0.4), of_seeds(4, 51)[:, :50]
    tested = compare(a, b, paired=True)
    differences = a.mean(axis=1) - b.mean(axis=1)
    assert tested.crossed.seeds == ((pytest.approx(differences.var(ddof=1) / 4), 3),)


def test_two_seeds_get_no_verdict():
    assert compare(of_seeds(2, 50), of_seeds(3, 50)).reason.startswith("2 seeds are too few")


@settings(deadline=None)
@given(st.floats(1e-6, 1e6), st.floats(-100, 100), st.sampled_from([1, 3]))
def test_the_unit_and_the_origin_of_a_loss_do_not_matter(unit, origin, seeds):
    a, b = of_seeds(seeds, 30, 0.1), of_seeds(seeds, 31)[:, :30]
    plain, other = compare(a, b), compare(unit * (a + origin), unit * (b + origin))
    assert other.p_value == pytest.approx(plain.p_value, rel=1e-5)
    assert bounds(other.interval) == pytest.approx(
        [unit * end for end in bounds(plain.interval)], rel=1e-5, abs=1e-5 * unit
    )


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=10, max_size=40))
def test_exchanged_arms_get_the_opposite_result(pairs):
    a, b = np.array(pairs).T[:, None]
    one, other = compare(a, b, bounded=True), compare(b, a, bounded=True)
    assert one.p_value == other.p_value
    assert bounds(one.interval) == pytest.approx([-end for end in bounds(other.interval)[::-1]])
    assert -1 <= one.interval.low <= one.interval.high <= 1


def test_a_margin_is_in_the_unit_of_the_scores():
    tested = compare([A], [B], bounded=True)  # A is better: 0.167, 0.05 to 0.29
    a_not_worse, b_not_worse = not_worse(tested, 12, 0.1)
    by_scipy = stats.ttest_1samp(A - B, -0.1, alternative="greater").pvalue
    assert a_not_worse == pytest.approx(by_scipy)
    assert b_not_worse > 0.5
    same = compare([A], [A], bounded=True)
    assert not_worse(same, 12, 0.1)[0] > not_worse(same, 120, 0.1)[0]


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "bounded", "said"),
    [
        (
            float("nan"),
            False,
            r"1 of 12 scores are NaN, infinite or above 1e\+60: the first is nan, of problem 3",
        ),
        (float("inf"), False, "the first is inf, of problem 3 in run 0"),
        (1.2, True, r"1 of 12 scores are outside 0 to 1: the first is 1.2, of problem 3"),
    ],
)
def test_impossible_scores_are_refused_with_their_place(bad, bounded, said):
    scores = A.copy()
    scores[3] = bad
    with pytest.raises(UserError, match=said):
        compare([scores], [B], bounded=bounded)
    with pytest.raises(UserError, match=said):
        mean_of([scores], bounded=bounded)


# --- one arm ---------------------------------------------------------------------------------


def test_a_mean_loss_has_the_interval_of_t():
    found = mean_of([A])
    by_scipy = stats.ttest_1samp(A, 0).confidence_interval()
    assert found.value == pytest.approx(A.mean())
    assert bounds(found.interval) == pytest.approx(tuple(by_scipy))


def test_a_bounded_mean_of_zeros_and_ones_is_a_share_by_hand():
    # Its error is sqrt(n / (n - 1)) larger and t is 2.0096 instead of 1.96: 46.61 of 50 problems.
    found = mean_of([[1.0] * 20 + [0.0] * 30], bounded=True).interval
    assert bounds(found) == pytest.approx(bounds(share(0.4 * 46.61, 46.61)), abs=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_equal_bounded_scores_are_a_share(value):
    assert mean_of([[value] * 40], bounded=True).interval == share(40 * value, 40)


def test_what_has_no_interval_says_why():
    few = "fewer than two problems do not say how much scores vary"
    assert mean_of([[0.5]], bounded=True).reason == mean_of([[0.5]]).reason == few
    assert mean_of([[0.5] * 9]).reason.startswith("every loss is the same")
    assert mean_of(of_seeds(2, 50)).reason.startswith("2 seeds are too few")


@given(st.lists(st.floats(0, 1), min_size=2, max_size=60))
def test_a_bounded_interval_holds_the_mean_and_stays_inside(scores):
    found = mean_of([scores], bounded=True)
    assert 0 <= found.interval.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.interval.high <= 1


def test_groups_and_problems_that_cancel_keep_an_error_above_zero():
    halves, pairs = np.tile([0.0, 1.0], 20), np.arange(40) // 2
    found = mean_of([halves], pairs, bounded=True)
    assert 0.4 < found.interval.low < 0.5 < found.interval.high < 0.6
    tested = compare([halves], [1 - halves], pairs, bounded=True)
    assert (tested.crossed.value, tested.p_value) == (0.0, 1.0)
    assert tested.interval.low == -tested.interval.high < 0
    seeds = np.array([halves, 1 - halves, np.full(40, 0.5)]) - 0.5  # means of 0 on every problem
    assert mean_of(seeds).interval.low < 0 < mean_of(seeds).interval.high
