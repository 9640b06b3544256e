"""The sources of an estimate's variance over seeds: problems, seeds and single cells.

    split(estimate([(1.0, a), (-1.0, b)])).shares           # (0.62, 0.25, 0.13)

More problems reduce the first and the last, more seeds the last two.
"""

from dataclasses import astuple, dataclass
from math import sqrt
from typing import ClassVar

from paribus.statistics.crossed import Estimate


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
