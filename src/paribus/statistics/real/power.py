"""Power and smallest detectable difference of real-valued scores, from the variances of a pilot.

    spread_of(a, b)                         # of a pilot, [R, n] scores of two arms
    pilot = Spread(problems=0.3, seeds=0.01, cells=0.2)
    power(pilot, 0.05, n=500, seeds=3)      # 0.65
    detectable(pilot, n=500, seeds=3)       # 0.059
    problems_needed(pilot, 0.05)            # 536, for one seed

For one seed it is the power of the paired t test, over seeds that of the Behrens-Fisher test
(`power.power_of_methods`). Differences and standard deviations have the unit of the scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from paribus.errors import UserError
from paribus.statistics.crossed import MIN_GROUPS, MIN_SEEDS, components
from paribus.statistics.power import (
    ALPHA,
    POWER,
    detectable_between_methods,
    fewest_problems,
    power_of_methods,
)
from paribus.statistics.real.means import checked, scaled
from paribus.statistics.verdicts import Range, Tested, range_by

_ERRORS = 256.0
"""`statistics.power` looks for differences up to 1: here up to so many standard errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How much scores vary, as standard deviations in their own unit.

    Attributes:
        problems: over problems, of the difference of what the two arms are expected to score.
        seeds: over seeds, of an arm's expected mean.
        cells: of a single score of one seed on one problem.
    """

    problems: float
    seeds: float = 0.0
    cells: float = 0.0

    def __post_init__(self) -> None:
        """Raise UserError for what is no standard deviation."""
        given = (self.problems, self.seeds, self.cells)
        if not all(0 <= value < float("inf") for value in given) or not self.problems + self.cells:
            said = ", ".join(f"{value:g}" for value in given)
            raise UserError(
                f"standard deviations of {said} (problems, seeds, cells) are not a spread",
                "give finite numbers of 0 or more, and problems or cells above 0",
            )


def spread_of(a: ArrayLike, b: ArrayLike) -> Spread:
    """Return the spread that a pilot's scores show: [R, n] of each arm on the same n problems.

    The components of variance of the crossed model, by moments; one below 0 is 0. If each arm has
    one run, `problems` is the standard deviation of the paired differences, chance included, and
    nothing is known of seeds.

    Raises UserError for fewer than two problems, scores that are not finite, and arms that score
    the same on every problem.
    """
    one, other = checked(a), checked(b)
    n = one.shape[1]
    if n < 2:
        raise UserError(f"a pilot of {n} problems shows no spread", "give two problems or more")
    several = [components(table) for table in (one, other) if len(table) > 1]
    cells = [
        float((arm.cells**2).sum()) / (arm.seeds - 1) / (n - 1) for arm in several
    ]  # variances
    seeds = [arm.between - chance / n for arm, chance in zip(several, cells, strict=True)]
    chance = float(np.mean(cells)) if cells else 0.0
    apart = float((one.mean(axis=0) - other.mean(axis=0)).var(ddof=1))
    apart -= sum(chance / arm.seeds for arm in several)
    return Spread(
        problems=sqrt(max(0.0, apart)),
        seeds=sqrt(max(0.0, float(np.mean(seeds)))) if seeds else 0.0,
        cells=sqrt(chance),
    )


def power(
    spread: Spread, difference: float, *, n: int, seeds: int = 1, comparisons: float = 1
) -> float:
    """Return the power to show a true `difference` with n problems and so many seeds of each arm.

    0 for two seeds, and for fewer than 10 problems: there is no verdict. `comparisons` is the size
    of the family. Where problems come in groups, n is the number of groups, and `spread.problems`
    that of the groups' means.
    """
    if no_verdict(n, seeds):
        return 0.0
    shared, of_seeds, unit = _in_errors(*_variances(spread, n, seeds))
    return power_of_methods(difference / unit, shared, of_seeds, ALPHA / comparisons)


def detectable(spread: Spread, *, n: int, seeds: int = 1, comparisons: float = 1) -> float | None:
    """Return the smallest difference with a power of 0.8, or None if there is no verdict."""
    if no_verdict(n, seeds):
        return None
    return _detectable(*_variances(spread, n, seeds), comparisons)


def problems_needed(
    spread: Spread, difference: float, *, seeds: int = 1, comparisons: float = 1
) -> int | None:
    """Return the fewest problems with a power of 0.8, or None if a million are too few."""

    def enough(n: int) -> bool:
        return power(spread, difference, n=n, seeds=seeds, comparisons=comparisons) >= POWER

    return fewest_problems(enough)


def no_verdict(n: int, seeds: int) -> bool:
    """Return whether so many problems and seeds get no verdict, whatever they score."""
    return n < MIN_GROUPS or 1 < seeds < MIN_SEEDS


Shared = tuple[float, int]
OfSeeds = Sequence[tuple[float, int]]
"""As `shared` and `seeds` of `crossed.Estimate`: variances and their degrees of freedom."""


def _variances(spread: Spread, n: int, seeds: int) -> tuple[Shared, OfSeeds]:
    """Return the variances of mean(A) - mean(B)."""
    if seeds == 1:
        return ((spread.problems**2 + 2 * spread.cells**2) / n, n - 1), []
    of_arm = (spread.seeds**2 + spread.cells**2 / n) / seeds
    return (spread.problems**2 / n, n - 1), [(of_arm, seeds - 1)] * 2


def _in_errors(shared: Shared, seeds: OfSeeds) -> tuple[Shared, OfSeeds, float]:
    """Return these variances in the unit that `statistics.power` searches, and the unit."""
    unit = _ERRORS * sqrt(shared[0] + sum(variance for variance, _ in seeds))
    in_unit = [(variance / unit**2, df) for variance, df in seeds]
    return (shared[0] / unit**2, shared[1]), in_unit, unit


def _detectable(shared: Shared, seeds: OfSeeds, comparisons: float) -> float | None:
    shared, seeds, unit = _in_errors(shared, seeds)
    least = detectable_between_methods(shared, seeds, ALPHA / comparisons)
    return None if least is None else least * unit


def measured_detectable(tested: Tested, comparisons: float) -> float | None:
    """Return the smallest difference that this comparison would show with a power of 0.8.

    By its estimated variances and the t or Behrens-Fisher test. `comparisons` is the size of the
    family. None without a test, or where 256 standard errors have less power.
    """
    if tested.crossed is None:
        return None
    return _detectable(tested.crossed.shared, tested.crossed.seeds, comparisons)


def measured_range(tested: Tested, comparisons: float) -> Range | None:
    """Return the range of `measured_detectable` over the seeds' variance; None without seeds."""
    if tested.crossed is None or not tested.crossed.seeds:
        return None
    unit = _ERRORS * tested.crossed.error
    ends = range_by(scaled(tested.crossed, 1 / unit, 0.0), ALPHA / comparisons)
    low, high = (None if end is None else end * unit for end in ends or (None, None))
    return low, high
