"""The smallest detectable difference of an estimate over seeds or groups, and its uncertainty.

    detectable_by(estimate, alpha=0.05)     # 0.048
    range_by(estimate, alpha=0.05)          # (0.035, 0.115): three seeds determine little

`detectable_by` takes the estimated variances for the true ones. A few seeds estimate their variance
so badly that the smallest detectable difference is itself uncertain. `range_by` computes it at both
ends of the 95 % interval of the seeds' variance (chi squared, with the degrees of freedom of
`crossed.pooled`).
"""

from collections.abc import Sequence
from math import copysign

from paribus.statistics.crossed import Estimate, pooled
from paribus.statistics.intervals import CONFIDENCE
from paribus.statistics.power import chi_squared, detectable_between_methods

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
