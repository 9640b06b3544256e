"""Means over seeds and problems: by hand, against scipy where the formulas meet, and invariants."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import integrate, stats

from by_hand import solved
from paribus.statistics.crossed import components, estimate, pooled, possible, tail, too_uncertain
from paribus.statistics.groups import numbered

THREE = solved("1011", "1001", "1111")
TWO = solved("0011", "0101")


def table(seeds: int, n: int):
    cells = st.lists(st.booleans(), min_size=seeds * n, max_size=seeds * n)
    return cells.map(lambda flat: np.array(flat).reshape(seeds, n))


ARM = st.integers(1, 4).flatmap(lambda seeds: table(seeds, 12))
GROUPS = st.lists(st.integers(0, 4), min_size=12, max_size=12).map(
    lambda labels: numbered([f"group {each}" for each in labels])
)


def of(a, b, groups=None):
    return estimate([(1.0, components(a)), (-1.0, components(b))], groups)


# --- by hand ---------------------------------------------------------------------------------


def test_components_by_hand():
    found = components(THREE)
    assert (found.mean, found.seeds) == (0.75, 3)
    assert found.problems == pytest.approx([1, 1 / 3, 2 / 3, 1])
    assert found.between == pytest.approx(0.0625)  # of 0.75, 0.5 and 1
    assert found.cells == pytest.approx(
        np.array(
            [
                [0, -1 / 3, 1 / 3, 0],
                [1 / 4, -1 / 12, -5 / 12, 1 / 4],
                [-1 / 4, 5 / 12, 1 / 12, -1 / 4],
            ]
        )
    )
    one = components(solved("10"))
    assert (one.seeds, one.between) == (1, 0.0)


def test_the_variances_of_one_arm_by_hand():
    found = estimate([(1.0, components(THREE))])
    # The squares of (1/4, -5/12, -1/12, 1/4), and of the cells above.
    squares, chance = 44 / 144, (2 / 9 + 2 * 44 / 144) / 2
    assert found.shared == (pytest.approx((squares + 0.5 / 3 - chance / 3) / 4**2), 3)
    assert found.seeds == ((pytest.approx(0.0625 / 3), 2),)


def test_the_variances_of_a_difference_by_hand():
    found = of(THREE, TWO)
    assert found.value == pytest.approx(0.25)
    # The squares of (3/4, -5/12, -1/12, -1/4), less the chance in the cells of both arms, and a
    # pseudo-problem as large as what tells them apart: (1, -1/6, 1/6, 0).
    squares, chance = 116 / 144, ((2 / 9 + 2 * 44 / 144) / 2 / 3, 1 / 2)
    pseudo = ((1 + 2 / 36) / (1 + 2 / 6)) ** 2
    assert pseudo > 0.5 / 3 + 0.5 / 2
    assert found.shared == (pytest.approx((squares + pseudo - sum(chance)) / 4**2), 3)
    assert found.seeds == ((pytest.approx(0.0625 / 3), 2), (0.0, 1))
    assert found.chance == pytest.approx([each / 4**2 for each in chance])
    # Where chance is all there is, half a pseudo-problem for each run is left.
    mixed = solved("1100", "0011")
    assert of(mixed, mixed).shared == ((0.5 / 2 + 0.5 / 2) / 4**2, 3)


@pytest.mark.parametrize(
    ("groups", "shared", "df"),
    [
        (None, (1 + 0.5) / 4**2, 3),
        ([0, 0, 1, 1], (2 * (1 + 1) + 0.5) / 4**2, 1),
        ([0, 1, 0, 1], 0.5 / 4**2, 1),  # each group has one solved: groups tell nothing apart
        ([0, 1, 2, 3], (4 / 3 * 1 + 0.5) / 4**2, 3),
        # Worth 16/10 even groups. Without the large one the mean is 0 and not 1/2; without the
        # small one it is 2/3: half the squares of what that takes away.
        ([0, 0, 0, 1], ((1 / 2) ** 2 + (1 / 6) ** 2) / 2 + 0.5 / 4**2, 1),
    ],
)
def test_groups_are_added_up_first(groups, shared, df):
    places = None if groups is None else np.array(groups)
    found = estimate([(1.0, components(solved("1100")))], places)
    assert (found.shared, found.seeds) == ((pytest.approx(shared), df), ())


# --- against scipy ---------------------------------------------------------------------------


@given(table(1, 30), table(1, 30))
def test_one_seed_is_the_paired_t_test_but_for_the_pseudo_problems(a, b):
    found, n = of(a, b), 30
    differences = a[0].astype(float) - b[0]
    assume(differences.std() > 0)
    squares = found.error**2 * n**2 - 1
    plain = stats.ttest_rel(a[0].astype(float), b[0])
    assert found.value / sqrt(squares / n / (n - 1)) == pytest.approx(plain.statistic)
    assert found.df == pytest.approx(n - 1)
    p = 2 * stats.t.sf(abs(found.value) / found.error, n - 1)
    assert found.p_value == pytest.approx(p)
    # The interval reaches as far at least, and farther where few problems tell the two apart.
    half = stats.t.isf(0.025, n - 1) * found.error
    assert found.interval.high - found.value > half - 1e-9
    assert found.value - found.interval.low > half - 1e-9


@pytest.mark.parametrize(
    ("a", "b"), [("101", "010"), ("1100", "0000001"), ("10", "011"), ("11110", "01000")]
)
def test_seeds_alone_are_welchs_t_test(a, b):
    """Each seed solves all of many problems or none: problems have no part in it."""
    found = of(np.repeat(solved(*a), 4000, axis=1), np.repeat(solved(*b), 4000, axis=1))
    welch = stats.ttest_ind([int(each) for each in a], [int(each) for each in b], equal_var=False)
    assert found.p_value == pytest.approx(welch.pvalue, rel=2e-3)


@pytest.mark.parametrize(
    ("seeds", "welch", "total", "df"),
    [
        ([(0.3, 2)], 0, 0.3, 2),
        ([(0.3, 2)], 2, 0.3, 2),  # one arm has what it has
        ([(0.3, 2), (0.1, 4)], 0, 0.4, 0.16 / (0.045 + 0.0025)),  # Satterthwaite (1946)
        ([(0.3, 2), (0.1, 4)], 2, 0.4, 0.16 / (0.0225 + 0.01 / 6) - 2),  # Welch (1947)
        ([(0.3, 2), (0.1, 4)], 1, 0.4, 0.16 / (0.03 + 0.002) - 1),
        ([(0.2, 2), (0.2, 2)], 2, 0.4, 4),  # not 6: no more than all have together
        ([(0.0, 2), (0.0, 2)], 0, 0.0, 1),
        ([], 0, 0.0, 1),
    ],
)
def test_pooled_variances_by_hand(seeds, welch, total, df):
    found = pooled(seeds, welch=welch)
    assert (float(found[0]), float(found[1])) == (pytest.approx(total), pytest.approx(df))


@pytest.mark.parametrize("seeds", ["101", "1101", "0001000"])
def test_seeds_against_an_untuned_model_are_students_t_test(seeds):
    found = of(np.repeat(solved(*seeds), 4000, axis=1), np.zeros((1, 4000), dtype=bool))
    student = stats.ttest_1samp([int(each) for each in seeds], 0)
    assert found.p_value == pytest.approx(student.pvalue, rel=2e-3)


@pytest.mark.parametrize(("distance", "df"), [(0.02, 2), (0.1, 2), (0.05, 4), (0.05, 3.3)])
def test_the_tail_is_the_average_over_chi_squared_variances(distance, df):
    shared, seeds = (4e-4, 49), 2e-4

    def shown(chi):
        error = sqrt(shared[0] + seeds * df / chi)
        return 2 * stats.t.sf(distance / error, shared[1]) * stats.chi2.pdf(chi, df)

    expected, _ = integrate.quad(shown, 0, np.inf)
    found = tail(distance, shared, possible(seeds, df))
    assert float(found) == pytest.approx(expected, rel=1e-3)


# --- what may not matter ---------------------------------------------------------------------


@given(ARM, ARM)
def test_groups_of_one_change_only_the_factor_of_small_samples(a, b):
    alone, grouped = of(a, b), of(a, b, np.arange(12))
    assert alone.apart
    least = max(0.5 / len(a) + 0.5 / len(b), alone.apart.jump**2) / 12**2
    shared = (alone.shared[0] - least) * 12 / 11 + least
    assert grouped.shared == (pytest.approx(shared), 11)
    # Chance within the groups does not touch the seeds.
    assert grouped.seeds == alone.seeds


@given(ARM, ARM, st.none() | GROUPS, st.permutations(range(12)))
def test_the_order_of_problems_and_seeds_does_not_matter(a, b, groups, order):
    moved = None if groups is None else numbered([str(groups[place]) for place in order])
    one, other = of(a, b, groups), of(a[::-1, order], b[:, order], moved)
    assert one.value == pytest.approx(other.value)
    assert one.error == pytest.approx(other.error)
    assert one.varies == other.varies


@given(ARM, ARM, st.sampled_from([0.5, 2.0, -3.0]))
def test_points_or_shares_the_test_is_the_same(a, b, scale):
    one = of(a, b)
    other = estimate([(scale, components(a)), (-scale, components(b))])
    assert other.value == pytest.approx(scale * one.value)
    assert other.error == pytest.approx(abs(scale) * one.error)
    assert other.p_value == pytest.approx(one.p_value)


@given(ARM, ARM, st.none() | GROUPS)
def test_a_difference_is_antisymmetric_and_its_interval_holds_it(a, b, groups):
    one, other = of(a, b, groups), of(b, a, groups)
    assert one.value == pytest.approx(-other.value)
    assert one.error == pytest.approx(other.error)
    assert one.interval.low < one.value < one.interval.high
    assert one.df >= 1
    assert (one.p_value is None) == (other.p_value is None)
    if one.p_value is None or other.p_value is None:
        assert one.value == 0
    else:
        assert 0 < one.p_value <= 1
        assert one.p_value == pytest.approx(other.p_value)


@given(table(1, 12), st.integers(1, 5), st.integers(1, 5))
def test_there_is_no_test_where_nothing_tells_the_arms_apart(row, seeds_a, seeds_b):
    a, b = np.repeat(row, seeds_a, axis=0), np.repeat(row, seeds_b, axis=0)
    assert of(a, b).p_value is None
    changed = b.copy()
    changed[0, 0] = not changed[0, 0]
    assert of(a, changed).p_value is not None


# --- groups and refusals ---------------------------------------------------------------------


TOO_FEW_SEEDS = "2 seeds are too few to say how much the seed matters"


@pytest.mark.parametrize(
    ("seeds", "n", "sizes", "reason"),
    [
        ((1, 1), 10, None, ""),
        ((3, 1), 10, None, ""),
        ((3, 5), 10, None, ""),
        ((2, 1), 10, None, TOO_FEW_SEEDS),
        ((2, 2), 10, None, TOO_FEW_SEEDS),
        ((5, 2), 10, None, TOO_FEW_SEEDS),
        ((1, 1), 9, None, "9 problems are too few, under 10"),
        ((3, 3), 9, None, "9 problems are too few, under 10"),
        ((1, 1), 20, [2] * 10, ""),
        ((1, 1), 18, [2] * 9, "9 groups of problems are too few, under 10"),
        ((1, 1), 18, [18], "1 groups of problems are too few, under 10"),
        # As much as 200^2 / (100^2 + 100) even groups: nearly half of all hangs on one.
        (
            *((3, 3), 200, [100, *[1] * 100]),
            "101 groups of problems, so unequal that they say as much as 3 of one size, are too "
            "few, under 10",
        ),
    ],
)
def test_too_uncertain(seeds, n, sizes, reason):
    groups = None if sizes is None else np.repeat(np.arange(len(sizes)), sizes)
    arms = [components(np.eye(count, n, dtype=bool)) for count in seeds]
    found = too_uncertain(arms, groups)
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


# --- paired seeds ----------------------------------------------------------------------------


@given(st.integers(2, 4).flatmap(lambda seeds: st.tuples(table(seeds, 12), table(seeds, 12))))
def test_paired_seeds_are_those_of_the_differences_seed_by_seed(arms):
    a, b = arms
    weighted = [(1.0, components(a)), (-1.0, components(b))]
    found, alone = estimate(weighted, paired=True), estimate(weighted)
    rows = a.astype(float) - b
    assert found.value == pytest.approx(alone.value)
    assert found.seeds == ((pytest.approx(rows.mean(axis=1).var(ddof=1) / len(a)), len(a) - 1),)
    cells = rows - rows.mean(axis=0) - rows.mean(axis=1)[:, None] + rows.mean()
    assert found.chance == (
        pytest.approx((cells**2).sum() / (len(a) - 1) / len(a) / 12**2, abs=1e-15),
    )


def test_what_a_seed_does_to_both_arms_cancels_where_seeds_are_paired():
    """Seed by seed a solves 40 problems more than b, while both go up and down by 100."""
    a, b = (
        np.array([np.arange(1000) < right + more for right in (500, 600, 700)]) for more in (40, 0)
    )
    weighted = [(1.0, components(a)), (-1.0, components(b))]
    alone, paired = estimate(weighted), estimate(weighted, paired=True)
    assert sum(variance for variance, _ in alone.seeds) == pytest.approx(2 * 0.1**2 / 3)
    assert sum(variance for variance, _ in paired.seeds) == pytest.approx(0)
