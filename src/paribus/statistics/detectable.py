"""The smallest difference that an estimate over seeds or groups would show, and how sure that is.

    detectable_by(found, alpha=0.05)        # 0.048
    range_by(found, alpha=0.05)             # (0.035, 0.115): three seeds say little of their spread

Both take the variances found for the true ones. A few seeds tell their own so badly that the
smallest difference, by which an experiment is planned, is itself uncertain: the range holds it
where the seeds' variance has its 95 % interval (chi squared, with the degrees of freedom of
`crossed.pooled`).
"""

from collections.abc import Sequence
from math import copysign

from paribus.statistics.crossed import Estimate, pooled
from paribus.statistics.intervals import CONFIDENCE
from paribus.statistics.power import chi_squared, detectable_between_methods

Range = tuple[float | None, float | None]
"""Lowest and highest, as shares. None: no difference is large enough to be shown 8 times in 10."""

_ROUNDS, _SAME = 12, 1.01
"""The variance that a difference brings is found in at most so many rounds, to one percent."""


def detectable_by(found: Estimate, alpha: float) -> float | None:
    """Return the smallest difference shown 8 times in 10 by a test like that of `found`."""
    return _smallest(found, found.seeds, alpha)


def range_by(found: Estimate, alpha: float) -> Range | None:
    """Return `detectable_by` where the seeds' variance is at its ends; None with one seed."""
    if not found.seeds:
        return None
    df = float(pooled(found.seeds)[1])
    low, high = (
        _smallest(found, [(variance * df / quantile, of) for variance, of in found.seeds], alpha)
        for quantile in chi_squared([(1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2], df)
    )
    return low, high


def _smallest(found: Estimate, seeds: Sequence[tuple[float, int]], alpha: float) -> float | None:
    """Return the smallest difference shown, with the variance that such a difference brings."""
    shared = found.shared
    for _ in range(_ROUNDS):
        seen = detectable_between_methods(shared, seeds, alpha)
        if seen is None:
            return None
        before, shared = shared, found.at(copysign(seen, found.value))
        if shared[0] <= _SAME * before[0]:
            break
    return seen
