"""Where the uncertainty of an estimate over seeds comes from: problems, seeds, single cells.

    split(estimate([(1.0, a), (-1.0, b)])).shares           # (0.62, 0.25, 0.13)

More problems make the first and the last smaller, more seeds the last two.
"""

from dataclasses import astuple, dataclass
from math import sqrt
from typing import ClassVar

from paribus.statistics.crossed import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Variances of an estimate, which add up to its own.

    Attributes:
        problems: from other problems, on which the arms would do otherwise with any seed.
        seeds: from other seeds, which would do better or worse throughout.
        cells: from chance in a single cell: one seed on one problem.
    """

    SOURCES: ClassVar = ("problems", "seeds", "cells")

    problems: float
    seeds: float
    cells: float

    @property
    def errors(self) -> tuple[float, ...]:
        """The standard error that each source alone would leave, in the order of `SOURCES`."""
        return tuple(map(sqrt, astuple(self)))

    @property
    def shares(self) -> tuple[float, ...]:
        """The part of each in the variance, likewise; they add up to 1."""
        parts = astuple(self)
        return tuple(part / sum(parts) for part in parts)


def split(found: Estimate) -> Split | None:
    """Return the parts of the variance of `found`; None where no arm has several seeds.

    One run cannot tell chance in its cells from its problems. Where seeds scatter less than chance
    in the cells makes them, nothing is left for the seeds themselves.
    """
    if not found.seeds:
        return None
    pairs = list(zip(found.chance, (variance for variance, _ in found.seeds), strict=True))
    cells = sum(min(pair) for pair in pairs)
    seeds = sum(max(0.0, variance - chance) for chance, variance in pairs)
    return Split(problems=found.shared[0], seeds=seeds, cells=cells)
