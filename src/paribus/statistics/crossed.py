"""Means over seeds and problems at once, with an interval that covers both.

An arm trained with R seeds and tested on n problems is a table of R x n zeros and ones. Its mean
is uncertain three times: other problems, other seeds, and chance in each cell.

    a = components([[1, 0, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]])
    a.mean, a.seeds                                             # 0.75, 3
    estimate([(1.0, a), (-1.0, b)]).interval                    # of a minus b

Problems are shared by all arms, so their difficulty cancels in a difference; seeds are not, so
they add up, unless they are declared to be paired. The components of variance are those of the
crossed random-effects table; the interval's degrees of freedom are F. E. Satterthwaite's (1946,
Biometrics Bulletin 2: 110-114). Seeds are taken to scatter as a normal distribution does.

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

from paribus.statistics.discordance import Discordance, discordance
from paribus.statistics.groups import Groups, squares, worth
from paribus.statistics.intervals import CONFIDENCE, Interval

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
_STEPS, _NEAR = 60, 1e-9
"""At most so many steps to an end of an interval, which is then found to 1e-9."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """What an arm's table of seeds x problems says.

    Attributes:
        problems: [n] mean over the seeds of each problem.
        means: [R] mean over the problems of each seed.
        cells: [R, n] what is left of each cell after its problem's mean and its seed's.
    """

    problems: NDArray[np.float64]
    means: NDArray[np.float64]
    cells: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """Of all cells."""
        return float(self.means.mean())

    @property
    def seeds(self) -> int:
        """R."""
        return len(self.means)

    @property
    def between(self) -> float:
        """Variance of one seed's mean among seeds, chance included; 0 if R is 1."""
        return float(self.means.var(ddof=1)) if self.seeds > 1 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A weighted sum of arms' means.

    Attributes:
        value: the sum.
        shared: variance that other problems would bring, and its degrees of freedom.
        seeds: the same for each arm's seeds.
        chance: how much of the variance of `seeds` is chance in the cells, for each arm.
        apart: what tells the arms apart; None if it is one arm's mean.
    """

    value: float
    shared: tuple[float, int]
    seeds: tuple[tuple[float, int], ...]
    chance: tuple[float, ...] = ()
    apart: Discordance | None = None

    @property
    def varies(self) -> bool:
        """Whether any problem tells the arms apart; if none does there is nothing to test."""
        return self.apart is None or self.apart.size > 0

    @property
    def error(self) -> float:
        """Standard error of the value."""
        return sqrt(self.shared[0] + self._seeds()[0])

    @property
    def df(self) -> float:
        """Satterthwaite's degrees of freedom."""
        return _satterthwaite(self.shared, self._seeds())

    @property
    def interval(self) -> Interval:
        """The 95 % interval: all about the value that, if true, would be near enough to it."""
        return Interval(self._end(-1.0), self._end(1.0))

    @property
    def p_value(self) -> float | None:
        """Two-sided p-value that the true value is zero; None if there is nothing to test."""
        if not self.varies:
            return None
        return float(tail(abs(self.value), self.shared, possible(*pooled(self.seeds))))

    def at(self, assumed: float) -> tuple[float, int]:
        """Return `shared` if the true value were `assumed`: never less than what was found."""
        variance, df = self.shared
        if self.apart is None:
            return self.shared
        return max(variance, self.apart.variance(assumed) - sum(self.chance)), df

    def _end(self, sign: float) -> float:
        end, seeds = self.value, self._seeds()
        for _ in range(_STEPS):
            shared = self.at(end)
            half = critical(_satterthwaite(shared, seeds)) * sqrt(shared[0] + seeds[0])
            before, end = end, self.value + sign * half
            if abs(end - before) < _NEAR:
                break
        return end

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
    cells = table - problems - (means - means.mean())[:, None]
    return Components(problems=problems, means=means, cells=cells)


Weighted = Sequence[tuple[float, Components]]
"""Arms, each with its weight in a sum of their means."""


def estimate(arms: Weighted, groups: Groups | None = None, *, paired: bool = False) -> Estimate:
    """Return the sum of weight * mean over `arms`, all tested on the same problems.

    Args:
        arms: as many seeds of each as it has. An arm with one seed counts as a model that exists:
            nothing varies with its seed.
        groups: which problems belong together; None: each stands alone.
        paired: whether the first seed of each arm shares what a seed decides, and so on: then
            what varies is the sum itself, seed by seed. Every arm has as many.

    Pseudo-problems, one that each run of a pair alone half solves, keep the error from vanishing
    where few problems tell the arms apart, after A. Agresti, Y. Min (2005), Statist. Med. 24:
    729-740; they add to the variance only, not to the value or the number of problems. They are
    no smaller than what does tell the arms apart: seeds that agree are one.
    """
    n = len(arms[0][1].problems)
    values = np.sum([weight * arm.problems for weight, arm in arms], axis=0)
    value = float(values.mean())
    apart = discordance(values, _scale(arms), groups) if len(arms) > 1 else None
    pseudo = sum(weight**2 / arm.seeds for weight, arm in arms) / 2
    least = max(pseudo, apart.jump**2 if apart else 0.0)
    several = [(weight**2, arm) for weight, arm in _vary(arms, paired) if arm.seeds > 1]
    # Chance in the cells is in `shared` and in the seeds: it is counted once.
    cells = [square * _chance(arm, groups) for square, arm in several]
    shared = squares(values - value, groups) - sum(cells) + least
    return Estimate(
        value=value,
        shared=(max(shared, least) / n**2, max(1, int(worth(n, groups)) - 1)),
        seeds=tuple((square * arm.between / arm.seeds, arm.seeds - 1) for square, arm in several),
        chance=tuple(each / n**2 for each in cells),
        apart=apart,
    )


def _scale(arms: Weighted) -> float:
    """The sum where the arms of one sign solve every problem and those of the other none."""
    weights = np.array([weight for weight, _ in arms])
    return float(max(weights[weights > 0].sum(), -weights[weights < 0].sum()))


def _vary(arms: Weighted, paired: bool) -> Weighted:
    """Return what varies from seed to seed: each arm on its own, or their sum."""
    if not paired:
        return arms
    weights = [weight for weight, _ in arms]

    def added(name: str) -> NDArray[np.float64]:
        return np.tensordot(weights, np.stack([getattr(arm, name) for _, arm in arms]), axes=1)

    parts = {name: added(name) for name in ("problems", "means", "cells")}
    return [(1.0, Components(**parts))]


def _chance(arm: Components, groups: Groups | None) -> float:
    """Return the variance that chance in its cells gives the sum of an arm's problems."""
    return sum(squares(row, groups) for row in arm.cells) / (arm.seeds - 1) / arm.seeds


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


def too_uncertain(arms: Sequence[Components], groups: Groups | None) -> str:
    """Return why no interval of these arms can be believed, or ""."""
    fewest = min((arm.seeds for arm in arms if arm.seeds > 1), default=MIN_SEEDS)
    return too_few_seeds(fewest) or too_few(len(arms[0].problems), groups)


def too_few_seeds(seeds: int) -> str:
    """Return why an arm with so many seeds gets no verdict, or ""."""
    if not 1 < seeds < MIN_SEEDS:
        return ""
    few = f"{seeds} seeds are too few to say how much the seed matters"
    return f"{few}: use 1, or {MIN_SEEDS} and more"


def too_few(n: int, groups: Groups | None) -> str:
    """Return why n problems, or groups of them, are too few for any interval, or ""."""
    units = int(worth(n, groups))
    if units >= MIN_GROUPS:
        return ""
    if groups is None:
        return f"{n} problems are too few, under {MIN_GROUPS}"
    found = int(groups.max()) + 1
    uneven = f", so unequal that they say as much as {units} of one size,"
    uneven = uneven if found >= MIN_GROUPS else ""
    return f"{found} groups of problems{uneven} are too few, under {MIN_GROUPS}"


def critical(df: float) -> float:
    """Return Student's quantile of the confidence level."""
    return float(stdtrit(df, (1 + CONFIDENCE) / 2))


def _satterthwaite(shared: tuple[float, int], seeds: tuple[float, float]) -> float:
    """Return the degrees of freedom of the sum of two variances, each with its own."""
    spread = shared[0] ** 2 / shared[1] + seeds[0] ** 2 / seeds[1]
    return max(1.0, (shared[0] + seeds[0]) ** 2 / spread)


def _c4(df: float) -> float:
    """What a standard deviation with `df` degrees of freedom is of the true one, on average."""
    return sqrt(2 / df) * exp(lgamma((df + 1) / 2) - lgamma(df / 2))
