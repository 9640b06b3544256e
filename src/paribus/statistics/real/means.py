"""Means of real-valued scores over problems, groups of problems and seeds, with intervals.

    mean_of([[0.2, 1.0, 0.7, ...]], bounded=True)           # one run: 0.61, 0.55 to 0.67
    mean_of([[2.1, 0.4, ...], [1.9, 0.6, ...], [...]])      # losses of three seeds

A score is bounded if it lies in [0, 1], as F1 or ROUGE-L does; a loss is not. All intervals are
95 % intervals. `benchmarks/real_scores.py` measures the coverage.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from paribus.errors import UserError
from paribus.statistics.crossed import (
    Components,
    Estimate,
    components,
    critical,
    estimate,
    too_uncertain,
)
from paribus.statistics.groups import Groups, squares, worth
from paribus.statistics.intervals import Interval, Z, share

Scores = NDArray[np.float64]
"""[R, n]: the score of each problem (columns) in each run of an arm (rows)."""

TOO_FEW = "fewer than two problems do not say how much scores vary"
"""The reason for no interval of one run."""
_ROUNDING = 1e-12
"""Scores that vary by less than this share of their size are equal: the rest is rounding."""

_SMALLEST, _LARGEST = 1e-60, 1e60
"""Squares of squares of scores must be numbers. Unsmoothed BLEU gives 1e-231 for what is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """The mean score of an arm.

    Attributes:
        value: mean over runs and problems.
        interval: None where `reason` says why.
        reason: why there is no interval, or "".
    """

    value: float
    interval: Interval | None = None
    reason: str = ""


def checked(scores: ArrayLike, *, bounded: bool = False) -> Scores:
    """Return `scores` [R, n] as an array, with 0 for scores below 1e-60.

    Raises UserError for NaN and infinite scores, and, if `bounded`, for scores outside [0, 1].
    """
    table = np.asarray(scores, dtype=np.float64)
    too_large = ~(np.abs(table) <= _LARGEST)
    _refuse(table, too_large, f"NaN, infinite or above {_LARGEST:g}", "a finite number")
    if bounded:
        _refuse(table, (table < 0) | (table > 1), "outside 0 to 1", "a number from 0 to 1")
    return np.where(np.abs(table) < _SMALLEST, 0.0, table)


def _refuse(table: Scores, wrong: NDArray[np.bool_], what: str, wanted: str) -> None:
    places = np.argwhere(wrong)
    if len(places):
        run, problem = places[0]
        raise UserError(
            f"{len(places)} of {table.size} scores are {what}: the first is "
            f"{table[run, problem]:g}, of problem {problem} in run {run} (counted from 0)",
            f"a scorer must give {wanted} for every problem",
        )


def mean_of(scores: ArrayLike, groups: Groups | None = None, *, bounded: bool = False) -> Mean:
    """Return the mean of `scores` [R, n] with its interval.

    The interval is Student's t, over seeds with Satterthwaite's degrees of freedom. If `bounded`
    it is that of a share of as many problems as give the same standard error (`as_share`): it stays
    within [0, 1], and holds the true value where most scores are 0 or 1, too.

    Raises UserError for scores that are not finite, or outside [0, 1] if `bounded`.
    """
    table = checked(scores, bounded=bounded)
    value = float(table.mean()) if table.size else 0.0
    reason = too_few_scores(table, groups)
    if reason:
        return Mean(value=value, reason=reason)
    n = int(worth(table.shape[1], groups))
    if constant(table):
        reason = "" if bounded else "every loss is the same: nothing says how much it varies"
        return Mean(value=value, interval=share(value * n, n) if bounded else None, reason=reason)
    of_arm = of_runs(table, groups)
    return Mean(value=value, interval=as_share(of_arm) if bounded else of_arm.interval)


def too_few_scores(table: Scores, groups: Groups | None) -> str:
    """Return why these scores have no interval, or "". One run needs two problems only."""
    if len(table) == 1 and groups is None:
        return "" if table.shape[1] > 1 else TOO_FEW
    return too_uncertain([components(table)], groups)


def as_share(mean: Estimate, at: float | None = None) -> Interval:
    """Return the interval of a mean in [0, 1] whose standard error is above 0.

    E. L. Korn and B. I. Graubard (1998), Survey Methodology 24: 193-201: that of a share of as many
    problems as would give the same standard error. Simulated with n = 100 and 2 to 95 % of the
    values above 0, it holds the truth at least 94 times in 100; mean +- t sd / sqrt(n) as seldom
    as 77, near 0 and 1.

    A mean of 0 or 1 needs a value `at` which the standard error is that of a share.
    """
    place = mean.value if at is None else at
    effective = place * (1 - place) * (Z / critical(mean.df) / mean.error) ** 2
    return share(mean.value * effective, effective)


def constant(values: NDArray[np.float64]) -> bool:
    """Return whether `values` are all equal, but for rounding."""
    return float(np.ptp(values)) <= _ROUNDING * float(np.abs(values).max())


def over_problems(values: NDArray[np.float64], groups: Groups | None = None) -> Estimate:
    """Return the mean of `values` [n], n > 1, with the variance of independent problems or groups.

    Without groups it is the textbook's variance with n - 1 degrees of freedom, so its test is the
    one-sample t test. With groups it is that of `groups.squares`. Where nothing varies it is as if
    one more problem or group made all of the value: never 0, unless all values are 0.
    """
    n, value = len(values), float(values.mean())
    units = worth(n, groups)
    corrected = n / (n - 1) if groups is None else 1.0
    variance = corrected * squares(values - value, groups) / n**2
    one_more = float(values @ values) / n / units**2
    if variance <= _ROUNDING**2 * one_more:
        variance = one_more
    return Estimate(value=value, shared=(variance, max(1, int(units) - 1)), seeds=())


def of_runs(table: Scores, groups: Groups | None = None) -> Estimate:
    """Return the mean of one arm's scores [R, n]: over its seeds, if it has several."""
    if len(table) == 1:
        return over_problems(table[0], groups)
    return over_seeds([(1.0, table)], groups)


def over_seeds(
    arms: Sequence[tuple[float, Scores]], groups: Groups | None = None, *, paired: bool = False
) -> Estimate:
    """Return the sum of weight * mean over `arms`, by `crossed.estimate`.

    `crossed.estimate` adds pseudo-problems and a least variance in units of solved problems. Real
    scores have no such unit: each arm is shifted to a mean of 0, the scores are divided by the
    standard deviation of the sum over problems, and the result is scaled back.
    """
    value = float(sum(weight * table.mean() for weight, table in arms))
    over = np.sum([weight * table.mean(axis=0) for weight, table in arms], axis=0)
    largest = max(float(np.abs(table).max()) for _, table in arms)
    unit = (largest or 1.0) if constant(over) else float(over.std())
    parts = [(weight, _standard(table, unit)) for weight, table in arms]
    standard = estimate(parts, groups, paired=paired)
    return scaled(standard, unit, value)


def _standard(table: Scores, unit: float) -> Components:
    return components((table - table.mean()) / unit)


def scaled(given: Estimate, unit: float, value: float) -> Estimate:
    """Return an estimate of `value` with the variances of `given` times the square of `unit`.

    It has no least variance under an assumed difference: that is a matter of solved problems.
    """
    variance, df = given.shared
    return Estimate(
        value=value,
        shared=(variance * unit**2, df),
        seeds=tuple((of_seeds * unit**2, own) for of_seeds, own in given.seeds),
        chance=tuple(cells * unit**2 for cells in given.chance),
    )
