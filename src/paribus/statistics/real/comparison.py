"""Compare the scores of two arms: interval, test and margin.

    tested = compare(a, b, bounded=True)    # [R, n] scores each, the same problems in columns
    tested.p_value, tested.interval         # 0.012, 0.01 to 0.07
    not_worse(tested, n=200, margin=0.02)   # 0.001, 0.83: A is not worse by 0.02

| runs                              | speaks of          | interval       | test              |
|-----------------------------------|--------------------|----------------|-------------------|
| one of each arm                   | two trained models | t, paired      | sign flips        |
| one of each, problems in groups   | two trained models | clustered, t   | sign flips, group |
| several given models (`existing`) | these models       | by problem, t  | sign flips        |
| several seeds of each tuned arm   | the methods        | crossed, t     | Behrens-Fisher    |

The result is a `verdicts.Tested`: `verdicts.split` gives the sources of its variance, and
`tested.crossed.p_value` is the paired t test.

Why sign flips decide where each arm has one run: if two arms score alike, the sign of each
difference is a toss, so the test holds its level for any distribution, any number of problems and
any corrected level. For scores of 0 and 1 it is McNemar's exact test. The t test holds 5 % as well,
but with heavy tails and few problems it rejects nothing at 0.5 %. `benchmarks/real_scores.py`
measures both.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf

import numpy as np
from numpy.typing import ArrayLike, NDArray

from paribus.seeds import derive
from paribus.statistics import equivalence
from paribus.statistics.crossed import Estimate, components, too_uncertain
from paribus.statistics.groups import Groups, sums, worth
from paribus.statistics.intervals import Interval, mcnemar, paired_difference
from paribus.statistics.real.means import Scores, checked, constant, over_problems, over_seeds
from paribus.statistics.verdicts import Tested

FLIPS = 10_000
"""Random permutations where all of them would be more."""
SAME = "both score the same on every problem"
"""The reason for no test where no problem tells the arms apart."""
_CELLS = 2**22
"""Signs that are drawn at a time: 4 MiB."""
_TOLERANCE = 1e-9
"""Sums that differ by this share of the largest are equal: they were added in another order."""


def compare(
    a: ArrayLike,
    b: ArrayLike,
    groups: Groups | None = None,
    *,
    paired: bool = False,
    existing: tuple[bool, bool] = (False, False),
    bounded: bool = False,
) -> Tested:
    """Return the interval and the test of mean(a) - mean(b). The table above lists the methods.

    Args:
        a: scores [R, n] of an arm.
        b: scores of the other arm on the same problems; R may differ.
        groups: the group of each problem; None if problems are independent.
        paired: whether row i of a and of b has the same seed; then both have the same R.
        existing: for a and for b, whether the runs are given models and not a sample of seeds.
        bounded: whether scores lie in [0, 1].

    Raises UserError for scores that are not finite, or outside [0, 1] if `bounded`.
    """
    one, other = (
        as_given(checked(scores, bounded=bounded), fixed)
        for scores, fixed in zip((a, b), existing, strict=True)
    )
    tested = combine([(1.0, one), (-1.0, other)], groups, paired=paired, bounded=bounded)
    if tested.reason == SAME and bounded:
        n = int(worth(one.shape[1], groups))
        return replace(tested, interval=paired_difference(only_a=0, only_b=0, n=n))
    return tested


def combine(
    arms: Sequence[tuple[float, Scores]],
    groups: Groups | None = None,
    *,
    paired: bool = False,
    bounded: bool = False,
) -> Tested:
    """Return the interval and the test of the sum of weight * mean, as `compare` does of two arms.

    The weights sum to 0, as those of an effect do.
    """
    reason = too_uncertain([components(table) for _, table in arms], groups)
    if reason:
        return Tested(reason=reason)
    together = np.sum([weight * table.mean(axis=0) for weight, table in arms], axis=0)
    if not together.any():
        return Tested(reason=SAME)
    difference = combination_of(arms, groups, paired=paired)
    alone = all(len(table) == 1 for _, table in arms)
    most = sum(weight for weight, _ in arms if weight > 0) if bounded else inf
    return Tested(
        interval=within(difference.interval, most),
        p_value=flip_p(together, groups) if alone else difference.p_value,
        crossed=difference,
    )


def as_given(table: Scores, given: bool) -> Scores:
    """Return the mean of the runs as one run if they are given models, else `table` [R, n]."""
    return table.mean(axis=0, keepdims=True) if given else table


def combination_of(
    arms: Sequence[tuple[float, Scores]], groups: Groups | None, *, paired: bool = False
) -> Estimate:
    """Return the estimate of the sum of weight * mean, over problems or over seeds, too."""
    if all(len(table) == 1 for _, table in arms):
        together = np.sum([weight * table[0] for weight, table in arms], axis=0)
        return over_problems(together, groups)
    return over_seeds(arms, groups, paired=paired)


def within(interval: Interval, limit: float) -> Interval:
    """Return `interval` without what lies beyond `limit` on either side of 0."""
    return Interval(max(-limit, interval.low), min(limit, interval.high))


def flip_p(differences: NDArray[np.float64], groups: Groups | None = None) -> float:
    """Return the two-sided p-value of a mean of `differences` [n] of 0, by flips of their signs.

    Whole groups are flipped. All flips are counted if they are at most `FLIPS`, and where all
    differences are of one size (McNemar's test); else `FLIPS` random ones with a fixed seed, and
    the smallest p-value is 1 / (FLIPS + 1).
    R. A. Fisher (1935), The Design of Experiments.
    """
    own = sums(differences, groups)
    own = own[own != 0]
    sizes = np.abs(own)
    if not len(own):
        return 1.0
    ahead = int((own > 0).sum())
    exact = mcnemar(only_a=ahead, only_b=len(own) - ahead) if constant(sizes) else None
    if exact is not None:
        return exact
    reached = abs(float(own.sum())) * (1 - _TOLERANCE)
    return permuted(len(own), lambda signs: np.abs(2 * (signs @ sizes) - sizes.sum()) >= reached)


def permuted(units: int, as_far: Callable[[NDArray[np.uint8]], NDArray[np.bool_]]) -> float:
    """Return the p-value of a permutation test in which each of `units` is exchanged or not.

    `as_far` gets rows of 0 and 1, [permutations, units], and says which of them are as far from
    the hypothesis as the data. All 2 ** units permutations are counted if they are at most `FLIPS`.
    """
    if 2**units <= FLIPS:
        every = (np.arange(2**units)[:, None] >> np.arange(units)) & 1
        return float(as_far(every.astype(np.uint8)).mean())
    rng = np.random.default_rng(derive(0, "permutation"))
    beyond, most = 0, max(1, _CELLS // units)
    for start in range(0, FLIPS, most):
        rows = min(most, FLIPS - start)
        drawn = np.frombuffer(rng.bytes(rows * -(-units // 8)), dtype=np.uint8)
        signs = np.unpackbits(drawn.reshape(rows, -1), axis=1, count=units)
        beyond += int(as_far(signs).sum())
    return (beyond + 1) / (FLIPS + 1)


def not_worse(tested: Tested, n: int, margin: float) -> tuple[float | None, float | None]:
    """Return the one-sided p-values of "A is not worse by `margin` or more", and of the same for B.

    `margin` has the unit of the scores. `n` is the number of problems, or the effective number of
    groups: arms with bounded scores that are the same on all of them get Tango's score test.
    """
    nothing = np.zeros((1, n), dtype=bool)
    return equivalence.not_worse(tested, nothing, nothing, margin)
