"""Means over seeds and problems at once, with an interval that covers both.

An arm trained with R seeds and tested on n problems is a table of R x n zeros and ones. Its mean
is uncertain three times: other problems, other seeds, and chance in each cell.

    a = components([[1, 0, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]])
    a.mean, a.seeds                                             # 0.75, 3
    estimate([(1.0, a), (-1.0, b)]).interval                    # of a minus b

Problems are shared by all arms, so their difficulty cancels in a difference; seeds are not, so
they add up. The components of variance are those of the crossed random-effects table; the
interval's degrees of freedom are F. E. Satterthwaite's (1946, Biometrics Bulletin 2: 110-114).

A bootstrap that draws seeds and problems anew was tried first and is not used: among three seeds
drawn with replacement a third of the seeds' variance is lost. `benchmarks/calibration.py`
measures how often either interval holds the truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, lgamma, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri, stdtr, stdtrit

from paribus.statistics.intervals import CONFIDENCE, Interval, Z, share

MIN_SEEDS = 3
"""With two seeds an interval would hold the truth less than 9 times in 10, so there is none."""
FEW_DF = 2.5
"""With so few degrees of freedom among seeds the interval needs a correction."""
MIN_GROUPS = 10
"""Fewer groups of problems, or problems that each stand alone, say too little of how they vary:
with three problems the t test of two like arms would claim a difference up to 1 time in 4."""

_ROOTS, _ROOT_WEIGHTS = np.polynomial.legendre.leggauss(48)
_NODES, _NODE_WEIGHTS = (_ROOTS + 1) / 2, _ROOT_WEIGHTS / 2
"""Gauss-Legendre nodes in (0, 1) and their weights: probabilities to average over."""

Groups = NDArray[np.intp]
"""[n] the group of each problem, numbered 0, 1, ... without gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """What an arm's table of seeds x problems says.

    Attributes:
        mean: of all cells.
        problems: [n] mean over the seeds of each problem.
        cells: [R, n] what is left of each cell after its problem's mean and its seed's.
        seeds: R.
        between: variance of one seed's mean among seeds, chance included; 0 if R is 1.
    """

    mean: float
    problems: NDArray[np.float64]
    cells: NDArray[np.float64]
    seeds: int
    between: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A weighted sum of arms' means.

    Attributes:
        value: the sum.
        shared: variance that other problems would bring, and its degrees of freedom.
        seeds: the same for each arm's seeds.
        varies: whether any problem tells the arms apart; if none does there is nothing to test.
    """

    value: float
    shared: tuple[float, int]
    seeds: tuple[tuple[float, int], ...]
    varies: bool

    @property
    def error(self) -> float:
        """Standard error of the value, for the interval."""
        return sqrt(self.shared[0] + self._seeds()[0])

    @property
    def df(self) -> float:
        """Satterthwaite's degrees of freedom."""
        variance, df = self._seeds()
        spread = self.shared[0] ** 2 / self.shared[1] + variance**2 / df
        return max(1.0, self.error**4 / spread)

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the value."""
        half = self.error * critical(self.df)
        return Interval(self.value - half, self.value + half)

    @property
    def p_value(self) -> float | None:
        """Two-sided p-value that the true value is zero; None if there is nothing to test."""
        if not self.varies:
            return None
        return float(tail(abs(self.value), self.shared, possible(*pooled(self.seeds))))

    def _seeds(self) -> tuple[float, float]:
        """What all seeds bring. Few most often show too little variance: c4 makes up for it."""
        variance, df = map(float, pooled(self.seeds, welch=1))
        return (variance / _c4(df) ** 2 if df <= FEW_DF else variance), df


def components(
    solved: Sequence[Sequence[bool]] | NDArray[np.bool_] | NDArray[np.float64],
) -> Components:
    """Return the components of `solved` [R, n]: seeds in rows, the same problems in columns.

    Cells may be changes too: 1 solved by then, -1 no longer, 0 as before.
    """
    table = np.asarray(solved, dtype=np.float64)
    means, problems = table.mean(axis=1), table.mean(axis=0)
    return Components(
        mean=float(table.mean()),
        problems=problems,
        cells=table - problems - (means - means.mean())[:, None],
        seeds=len(table),
        between=float(means.var(ddof=1)) if len(table) > 1 else 0.0,
    )


def estimate(arms: Sequence[tuple[float, Components]], groups: Groups | None = None) -> Estimate:
    """Return the sum of weight * mean over `arms`, all tested on the same problems.

    `groups` says which problems belong together; None: each stands alone. An arm with one seed
    counts as a model that exists: nothing varies with its seed.

    Pseudo-problems, one that each run of a pair alone half solves, keep the error from vanishing
    where few problems tell the arms apart, after A. Agresti, Y. Min (2005), Statist. Med. 24:
    729-740; they add to the variance only, not to the value or the number of problems.
    Groups are added up first (cluster-robust, G/(G-1)).
    """
    n = len(arms[0][1].problems)
    values = np.sum([weight * arm.problems for weight, arm in arms], axis=0)
    value = float(values.mean())
    pseudo = sum(weight**2 / arm.seeds for weight, arm in arms) / 2
    least = pseudo / n**2
    shared = _sum_of_squares(values - value, groups) / n**2 + least
    seeds = []
    for weight, arm in arms:
        if arm.seeds > 1:
            # Chance in the cells is in `shared` and in `between`: it is counted once.
            chance = sum(_sum_of_squares(row, groups) for row in arm.cells)
            shared -= weight**2 * chance / (arm.seeds - 1) / arm.seeds / n**2
            seeds.append((weight**2 * arm.between / arm.seeds, arm.seeds - 1))
    units = n if groups is None else _count(groups)
    return Estimate(
        value=value,
        shared=(max(shared, least), max(1, units - 1)),
        seeds=tuple(seeds),
        varies=bool(np.any(values)),
    )


def pooled(
    seeds: Sequence[tuple[ArrayLike, int]], *, welch: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the variance that all seeds bring together and its degrees of freedom.

    With `welch=0` Satterthwaite's, which a test may trust also where one arm scatters more than
    another; with 2 those of B. L. Welch (1947), Biometrika 34: 28-35, which are not too few where
    arms scatter alike; the interval takes the middle. At most their sum. Where no seed varies
    there is nothing to be uncertain of, and any degrees of freedom do.
    """
    found = [(np.asarray(variance, float), df) for variance, df in seeds]
    total = np.sum([variance for variance, _ in found], axis=0)
    spread = np.sum([variance**2 / (df + welch) for variance, df in found], axis=0)
    some = np.divide(total**2, spread, out=np.full_like(total, 1.0 + welch), where=spread > 0)
    return total, np.minimum(some - welch, max(1, sum(df for _, df in seeds)))


def possible(seeds: ArrayLike, df: ArrayLike) -> NDArray[np.float64]:
    """Return [..., nodes] the true variances that may have shown as `seeds`, equally likely."""
    found, freedom = np.asarray(seeds, float)[..., None], np.asarray(df, float)[..., None]
    return np.asarray(found * freedom / chdtri(freedom, 1 - _NODES))


def tail(
    distance: ArrayLike, shared: tuple[float, int], seeds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how often a true zero shows `distance` or more on either side.

    Averaged over the `possible` variances of the seeds: the fiducial solution of W. V. Behrens
    (1929) and R. A. Fisher (1935). A t test with Satterthwaite's degrees of freedom serves the
    interval, not the test: at the small levels of a corrected family, with three seeds, it
    claims up to 3 times too often.
    """
    variance, units = shared
    reached = np.abs(np.asarray(distance, float))[..., None] / np.sqrt(variance + seeds)
    return np.asarray(2 * stdtr(units, -reached) @ _NODE_WEIGHTS)


def numbered(labels: Sequence[str]) -> Groups | None:
    """Return labels as group numbers; "" is a group of its own. None if there are no groups."""
    if not any(labels):
        return None
    numbers: dict[tuple[str, int], int] = {}
    keys = [(label, 0 if label else place) for place, label in enumerate(labels)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)


def too_uncertain(arms: Sequence[Components], groups: Groups | None) -> str:
    """Return why no interval of these arms can be believed, or ""."""
    fewest = min((arm.seeds for arm in arms if arm.seeds > 1), default=MIN_SEEDS)
    if fewest < MIN_SEEDS:
        few = f"{fewest} seeds are too few to say how much the seed matters"
        return f"{few}: use 1, or {MIN_SEEDS} and more"
    alone = groups is None
    units = len(arms[0].problems) if groups is None else _count(groups)
    if units < MIN_GROUPS:
        return f"{units} {'' if alone else 'groups of '}problems are too few, under {MIN_GROUPS}"
    return ""


def mean_interval(arm: Components, groups: Groups | None = None) -> Interval | None:
    """Return the 95 % interval of an arm's accuracy over seeds, groups of problems, or both.

    E. L. Korn and B. I. Graubard (1998), Survey Methodology 24: 193-201: as if so many problems
    had been tested as give the same standard error. None where `too_uncertain`.
    """
    n = len(arm.problems)
    if arm.seeds == 1 and groups is None:
        return share(round(arm.mean * n), n)
    if too_uncertain([arm], groups):
        return None
    if arm.mean in (0.0, 1.0):
        alone = n if groups is None else _count(groups)
        return share(arm.mean * alone, alone)
    found = estimate([(1.0, arm)], groups)
    effective = arm.mean * (1 - arm.mean) * (Z / critical(found.df) / found.error) ** 2
    return share(arm.mean * effective, effective)


def critical(df: float) -> float:
    """Return Student's quantile of the confidence level."""
    return float(stdtrit(df, (1 + CONFIDENCE) / 2))


def _sum_of_squares(values: NDArray[np.float64], groups: Groups | None) -> float:
    """Squares of `values`, or of their sums by group times G/(G-1), added up."""
    if groups is None:
        return float(values @ values)
    sums = np.bincount(groups, weights=values)
    return float(sums @ sums) * len(sums) / max(1, len(sums) - 1)


def _count(groups: Groups) -> int:
    """The number of groups, or of even ones worth as much: L. Kish (1965), Survey Sampling."""
    sizes = np.bincount(groups)
    return int(sizes.sum() ** 2 // (sizes @ sizes))


def _c4(df: float) -> float:
    """What a standard deviation with `df` degrees of freedom is of the true one, on average."""
    return sqrt(2 / df) * exp(lgamma((df + 1) / 2) - lgamma(df / 2))
