"""Compare the outcomes of two arms: interval, test, verdict and smallest detectable difference.

    tested = compare(a, b)                  # [R, n] booleans each, the same problems in columns
    decide(holm([tested.p_value])[0], 0.04)             # Verdict.NOT_SHOWN

| runs                              | speaks of          | interval       | test              |
|-----------------------------------|--------------------|----------------|-------------------|
| one of each arm                   | two trained models | score, paired  | McNemar, exact    |
| several seeds of each tuned arm   | the methods        | crossed, t     | Behrens-Fisher    |
| one of each, problems in groups   | two trained models | clustered, t   | t                 |
| several, declared to be paired    | the methods        | crossed, t     | Behrens-Fisher    |
| several given models (`existing`) | these models       | by problem, t  | t                 |

Where no test is possible, `reason` says why.

The confidence interval of one arm's accuracy, over problems, groups of problems and seeds.

mean_interval(components([[1, 0, 1, 1, ...]]))      # one run: the interval of a share

The smallest detectable difference of an estimate over seeds or groups, and its uncertainty.

    detectable_by(estimate, alpha=0.05)     # 0.048
    range_by(estimate, alpha=0.05)          # (0.035, 0.115): three seeds determine little

`detectable_by` takes the estimated variances for the true ones. A few seeds estimate their variance
so badly that the smallest detectable difference is itself uncertain. `range_by` computes it at both
ends of the 95 % interval of the seeds' variance (chi squared, with the degrees of freedom of
`crossed.pooled`).

The sources of an estimate's variance over seeds: problems, seeds and single cells.

    split(estimate([(1.0, a), (-1.0, b)])).shares           # (0.62, 0.25, 0.13)

More problems reduce the first and the last, more seeds the last two.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum
from math import copysign, sqrt
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from paribus.statistics import power
from paribus.statistics.crossed import (
    Components,
    Estimate,
    components,
    critical,
    estimate,
    pooled,
    too_uncertain,
)
from paribus.statistics.family import Asked, corrected
from paribus.statistics.groups import Groups, worth
from paribus.statistics.intervals import CONFIDENCE, Interval, Z, mcnemar, paired_difference, share
from paribus.statistics.power import ALPHA, chi_squared, detectable_between_methods


def mean_interval(arm: Components, groups: Groups | None = None) -> Interval | None:
    """Return the 95 % interval of an arm's accuracy, or None if `crossed.too_uncertain`.

    With several seeds or with groups it is the interval of a share for an effective number of
    problems, which gives the same standard error: E. L. Korn and B. I. Graubard (1998), Survey
    Methodology 24: 193-201.
    """
    n = len(arm.problems)
    if arm.seeds == 1 and groups is None:
        return share(round(arm.mean * n, 6), n)  # not whole if models were averaged
    if too_uncertain([arm], groups):
        return None
    if arm.mean in (0.0, 1.0):
        independent = int(worth(n, groups))
        return share(arm.mean * independent, independent)
    mean = estimate([(1.0, arm)], groups)
    effective = arm.mean * (1 - arm.mean) * (Z / critical(mean.df) / mean.error) ** 2
    return share(arm.mean * effective, effective)


def as_existing(arm: Components) -> Components:
    """Return the mean of an arm's runs as that of one model: these runs, not a sample of seeds."""
    n = len(arm.problems)
    return Components(problems=arm.problems, means=np.array([arm.mean]), cells=np.zeros((1, n)))


Range = tuple[float | None, float | None]
"""Lowest and highest, as shares; None where no difference has a power of 0.8."""

_ROUNDS, _SAME = 12, 1.01
"""Limits of the iteration for the variance under a difference: rounds, and the last ratio."""


def detectable_by(estimate: Estimate, alpha: float) -> float | None:
    """Return the smallest difference that a test with these variances shows with a power of 0.8.

    None if no difference up to 1 has that power.
    """
    return _smallest(estimate, estimate.seeds, alpha)


def range_by(estimate: Estimate, alpha: float) -> Range | None:
    """Return `detectable_by` at both ends of the interval of the seeds' variance.

    None if no arm has several seeds.
    """
    if not estimate.seeds:
        return None
    df = float(pooled(estimate.seeds)[1])
    low, high = (
        _smallest(estimate, [(var * df / quantile, own) for var, own in estimate.seeds], alpha)
        for quantile in chi_squared([(1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2], df)
    )
    return low, high


def _smallest(estimate: Estimate, seeds: Sequence[tuple[float, int]], alpha: float) -> float | None:
    """Return the smallest detectable difference, under the variance that it brings itself."""
    shared = estimate.shared
    for _ in range(_ROUNDS):
        difference = detectable_between_methods(shared, seeds, alpha)
        if difference is None:
            return None
        before, shared = shared, estimate.at(copysign(difference, estimate.value))
        if shared[0] <= _SAME * before[0]:
            break
    return difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The parts of an estimate's variance.

    Attributes:
        problems: variance among problems, alike for all seeds.
        seeds: variance among seeds, alike for all problems.
        cells: variance of single cells, one seed on one problem.
    """

    SOURCES: ClassVar = ("problems", "seeds", "cells")

    problems: float
    seeds: float
    cells: float

    @property
    def errors(self) -> tuple[float, ...]:
        """The standard error from each source alone, in the order of `SOURCES`."""
        return tuple(map(sqrt, astuple(self)))

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of each source in the variance, in the order of `SOURCES`; they sum to 1."""
        parts = astuple(self)
        return tuple(part / sum(parts) for part in parts)


def split(estimate: Estimate) -> Split | None:
    """Return the parts of the variance of `estimate`; None if no arm has several seeds.

    One run cannot separate cells from problems. Where seeds vary less than the chance in their
    cells explains, the variance of seeds is 0.
    """
    if not estimate.seeds:
        return None
    pairs = list(zip(estimate.chance, (var for var, _ in estimate.seeds), strict=True))
    cells = sum(min(pair) for pair in pairs)
    seeds = sum(max(0.0, variance - chance) for chance, variance in pairs)
    return Split(problems=estimate.shared[0], seeds=seeds, cells=cells)


class Verdict(StrEnum):
    """The verdict on the claim that a is better than b."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    """b is better than a."""
    NOT_SHOWN = "not_shown"


class Scope(StrEnum):
    """What a verdict generalizes to."""

    MODELS = "models"
    """The two trained models, on further problems of the same kind."""
    METHODS = "methods"
    """The two methods, over further seeds and problems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """The result of a comparison.

    Attributes:
        interval: 95 % interval of the difference, as shares; None if there is too little data.
        p_value: two-sided, uncorrected; None if there is no test.
        reason: why there is no test, or "".
        crossed: the estimate over seeds or groups; None if each arm has one run and no groups.
    """

    interval: Interval | None = None
    p_value: float | None = None
    reason: str = ""
    crossed: Estimate | None = None


SAME = "both solve the very same problems"
"""The reason for no test where no problem is discordant."""

Solved = NDArray[np.bool_]
"""[R, n]: whether run r solved problem i."""


def compare(
    a: Solved,
    b: Solved,
    groups: Groups | None = None,
    *,
    paired: bool = False,
    existing: tuple[bool, bool] = (False, False),
) -> Tested:
    """Return the interval and the test of mean(a) - mean(b). The table above lists the methods.

    Args:
        a: outcomes [R, n] of an arm.
        b: outcomes of the other arm on the same problems; R may differ.
        groups: the group of each problem; None if problems are independent.
        paired: whether row i of a and of b has the same seed; then both have the same R.
        existing: for a and for b, whether the runs are given models and not a sample of seeds.
            Then only problems are uncertain. An arm with one run is always a given model.
    """
    if len(a) == len(b) == 1 and groups is None:
        only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
        p = mcnemar(only_a=only_a, only_b=only_b)
        interval = paired_difference(only_a=only_a, only_b=only_b, n=a.shape[1])
        reason = SAME if p is None else ""
        return Tested(interval=interval, p_value=p, reason=reason)
    arms = [
        as_existing(components(solved)) if fixed else components(solved)
        for solved, fixed in zip((a, b), existing, strict=True)
    ]
    reason = too_uncertain(arms, groups)
    if reason:
        return Tested(reason=reason)
    difference = estimate([(1.0, arms[0]), (-1.0, arms[1])], groups, paired=paired)
    low, high = difference.interval.low, difference.interval.high
    return Tested(
        interval=Interval(max(-1.0, low), min(1.0, high)),
        p_value=difference.p_value,
        reason="" if difference.varies else SAME,
        crossed=difference,
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values corrected by Holm's method. None, no test, counts as a test too.

    It is `family.corrected` for comparisons without a margin or further hypotheses.
    """
    return [p.differ for p in corrected([Asked(differ=p) for p in p_values])]


def decide(p_holm: float | None, difference: float | None) -> Verdict:
    """Return supported or refuted, by the sign of `difference`, if `p_holm` < ALPHA."""
    if p_holm is None or p_holm >= ALPHA or not difference:
        return Verdict.NOT_SHOWN
    return Verdict.SUPPORTED if difference > 0 else Verdict.REFUTED


def detectable(tested: Tested, a: Solved, b: Solved, comparisons: float) -> float | None:
    """Return the smallest difference that this comparison would show with a power of 0.8.

    As in `plan`, but with the measured accuracies and variances. `comparisons` is the size of the
    family. None where no difference has that power, or without an interval.
    """
    if tested.crossed is not None:
        return detectable_by(tested.crossed, ALPHA / comparisons)
    if tested.interval is None:
        return None
    correlation = _correlation(a[0], b[0])
    design = power.Design(n=a.shape[1], correlation=correlation, comparisons=comparisons)
    return power.detectable_about(design, float(a.mean() + b.mean()) / 2)


def detectable_range(tested: Tested, comparisons: float) -> Range | None:
    """Return the range of `detectable` over the seeds' variance; None without several seeds."""
    return range_by(tested.crossed, ALPHA / comparisons) if tested.crossed else None


def _correlation(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return the correlation of two [n] outcomes; 0 if one of them is constant."""
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
