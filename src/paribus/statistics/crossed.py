"""Means over problems and seeds, with intervals and tests that cover both.

The outcomes of an arm with R seeds and n problems form a table of R x n zeros and ones. Three
sources of variance make its mean uncertain: problems, seeds and chance in each cell.

    a = components([[1, 0, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]])
    a.mean, a.seeds                                             # 0.75, 3
    estimate([(1.0, a), (-1.0, b)]).interval                    # of mean(a) - mean(b)

All arms share the problems, so their difficulty cancels in a difference. Arms do not share seeds,
so the variances of their seeds add up, unless the seeds are declared to be paired. The variance
components are those of the crossed random-effects model; the interval's degrees of freedom are
F. E. Satterthwaite's (1946, Biometrics Bulletin 2: 110-114). Seeds are assumed to be normally
distributed.

A bootstrap over seeds and problems is not used: resampling three seeds with replacement loses a
third of the seeds' variance. `benchmarks/calibration.py` measures the coverage of both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, lgamma, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri, stdtr, stdtrit

from paribus.statistics.groups import Discordance, Groups, discordance, squares, worth
from paribus.statistics.intervals import CONFIDENCE, Interval

MIN_SEEDS = 3
"""With two seeds an interval would cover the true value less than 9 times in 10: there is none."""
FEW_DF = 2.5
"""With no more degrees of freedom among seeds than this the interval needs a correction."""
MIN_GROUPS = 10
"""Fewer groups, or problems without groups, are too few to estimate their variance: with three
problems the t test of two equal arms would claim a difference up to 1 time in 4."""

_ROOTS, _ROOT_WEIGHTS = np.polynomial.legendre.leggauss(48)
_NODES, _NODE_WEIGHTS = (_ROOTS + 1) / 2, _ROOT_WEIGHTS / 2
"""Gauss-Legendre nodes in (0, 1) and their weights, to average over quantiles."""
_STEPS, _NEAR = 60, 1e-9
"""Limits of the fixed-point iteration for an end of an interval: steps, and the last change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """The additive parts of an arm's table of outcomes, R seeds x n problems.

    Attributes:
        problems: [n] mean over seeds of each problem.
        means: [R] mean over problems of each seed.
        cells: [R, n] residuals: cell minus problem mean minus seed mean plus overall mean.
    """

    problems: NDArray[np.float64]
    means: NDArray[np.float64]
    cells: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """Mean of all cells."""
        return float(self.means.mean())

    @property
    def seeds(self) -> int:
        """Number of seeds, R."""
        return len(self.means)

    @property
    def between(self) -> float:
        """Sample variance of the seeds' means, chance in the cells included; 0 if R is 1."""
        return float(self.means.var(ddof=1)) if self.seeds > 1 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A weighted sum of arms' means, with its variance.

    Attributes:
        value: the weighted sum.
        shared: variance from problems, and its degrees of freedom.
        seeds: variance from seeds and its degrees of freedom, for each arm with several seeds; for
            paired seeds one entry.
        chance: the part of each variance in `seeds` that is chance in the cells.
        apart: the problems in which arms differ; None for the mean of one arm.
    """

    value: float
    shared: tuple[float, int]
    seeds: tuple[tuple[float, int], ...]
    chance: tuple[float, ...] = ()
    apart: Discordance | None = None

    @property
    def varies(self) -> bool:
        """Whether arms differ in any problem. If not, there is no test."""
        return self.apart is None or self.apart.size > 0

    @property
    def error(self) -> float:
        """Standard error of `value`."""
        return sqrt(self.shared[0] + self._seeds()[0])

    @property
    def df(self) -> float:
        """Satterthwaite's degrees of freedom."""
        return _satterthwaite(self.shared, self._seeds())

    @property
    def interval(self) -> Interval:
        """The 95 % interval, with the variance that each end, as the true value, would bring."""
        return Interval(self._end(-1.0), self._end(1.0))

    @property
    def p_value(self) -> float | None:
        """Two-sided p-value of a true value of 0; None if nothing `varies`."""
        if not self.varies:
            return None
        return float(tail(abs(self.value), self.shared, possible(*pooled(self.seeds))))

    def at(self, assumed: float) -> tuple[float, int]:
        """Return `shared` under a true value of `assumed`: never less than the estimate."""
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
        """Variance from all seeds and its degrees of freedom.

        Few seeds usually underestimate the variance; c4 corrects for it.
        """
        variance, df = map(float, pooled(self.seeds, welch=1))
        return (variance / _c4(df) ** 2 if df <= FEW_DF else variance), df


def components(
    solved: Sequence[Sequence[bool]] | NDArray[np.bool_] | NDArray[np.float64],
) -> Components:
    """Return the components of `solved` [R, n]: seeds in rows, the same problems in columns.

    Cells may also be changes: 1 if newly solved, -1 if no longer solved, 0 if unchanged.
    """
    table = np.asarray(solved, dtype=np.float64)
    means, problems = table.mean(axis=1), table.mean(axis=0)
    cells = table - problems - (means - means.mean())[:, None]
    return Components(problems=problems, means=means, cells=cells)


Weighted = Sequence[tuple[float, Components]]
"""Arms, each with its weight in the sum of their means."""


def estimate(arms: Weighted, groups: Groups | None = None, *, paired: bool = False) -> Estimate:
    """Return the sum of weight * mean over `arms`, with its variance.

    Args:
        arms: components of each arm on the same problems; numbers of seeds may differ. An arm with
            one seed is a given model and adds no variance of seeds.
        groups: the group of each problem; None if problems are independent.
        paired: whether row i of every arm has the same seed. Then the variance of seeds is that of
            the weighted sum, seed by seed, and all arms need the same number of seeds.

    Pseudo-problems keep the standard error above zero where arms differ in few problems, after
    A. Agresti, Y. Min (2005), Statist. Med. 24: 729-740: one per run of a pair, half solved by it
    alone. They add to the variance, not to the value or the number of problems. They are at least
    as large as the mean jump of `discordance`, in which seeds that agree count once.
    """
    n = len(arms[0][1].problems)
    values = np.sum([weight * arm.problems for weight, arm in arms], axis=0)
    value = float(values.mean())
    apart = discordance(values, _scale(arms), groups) if len(arms) > 1 else None
    pseudo = sum(weight**2 / arm.seeds for weight, arm in arms) / 2
    least = max(pseudo, apart.jump**2 if apart else 0.0)
    several = [(weight**2, arm) for weight, arm in _vary(arms, paired) if arm.seeds > 1]
    # Both `shared` and `seeds` contain the chance in the cells: subtract it once.
    cells = [square * _chance(arm, groups) for square, arm in several]
    shared = squares(values - value, groups) - sum(cells) + least
    return Estimate(
        value=value,
        shared=(max(shared, least) / n**2, max(1, int(worth(n, groups)) - 1)),
        seeds=tuple((square * arm.between / arm.seeds, arm.seeds - 1) for square, arm in several),
        chance=tuple(variance / n**2 for variance in cells),
        apart=apart,
    )


def _scale(arms: Weighted) -> float:
    """Return the largest possible sum: arms of one sign solve every problem, the others none."""
    weights = np.array([weight for weight, _ in arms])
    return float(max(weights[weights > 0].sum(), -weights[weights < 0].sum()))


def _vary(arms: Weighted, paired: bool) -> Weighted:
    """Return what varies among seeds: each arm, or their weighted sum if `paired`."""
    if not paired:
        return arms
    weights = [weight for weight, _ in arms]

    def weighted_sum(name: str) -> NDArray[np.float64]:
        return np.tensordot(weights, np.stack([getattr(arm, name) for _, arm in arms]), axes=1)

    parts = {name: weighted_sum(name) for name in ("problems", "means", "cells")}
    return [(1.0, Components(**parts))]


def _chance(arm: Components, groups: Groups | None) -> float:
    """Return the variance of the sum of `arm.problems` that comes from chance in the cells."""
    return sum(squares(row, groups) for row in arm.cells) / (arm.seeds - 1) / arm.seeds


def pooled(
    seeds: Sequence[tuple[ArrayLike, int]], *, welch: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the total variance of `seeds` and its degrees of freedom, elementwise.

    `welch=0` gives Satterthwaite's degrees of freedom, which are safe for a test even if one arm
    varies more than another. `welch=2` gives those of B. L. Welch (1947), Biometrika 34: 28-35,
    which are not too low if arms vary alike. The interval uses 1, between the two. The result is
    at most the sum of all degrees of freedom, and 1 if all variances are 0.
    """
    parts = [(np.asarray(variance, float), df) for variance, df in seeds]
    total = np.sum([variance for variance, _ in parts], axis=0)
    spread = np.sum([variance**2 / (df + welch) for variance, df in parts], axis=0)
    ratio = np.divide(total**2, spread, out=np.full_like(total, 1.0 + welch), where=spread > 0)
    return total, np.minimum(ratio - welch, max(1, sum(df for _, df in seeds)))


def possible(seeds: ArrayLike, df: ArrayLike) -> NDArray[np.float64]:
    """Return [..., nodes] true variances given the estimate `seeds` with `df` degrees of freedom.

    They are quantiles of the fiducial distribution, at the nodes that `tail` averages over.
    """
    estimated, freedom = np.asarray(seeds, float)[..., None], np.asarray(df, float)[..., None]
    return np.asarray(estimated * freedom / chdtri(freedom, 1 - _NODES))


def tail(
    distance: ArrayLike, shared: tuple[float, int], seeds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the two-sided p-value of an estimate at `distance` from the hypothesis.

    It is averaged over the `possible` variances of the seeds: the fiducial solution of
    W. V. Behrens (1929) and R. A. Fisher (1935). A t test with Satterthwaite's degrees of freedom
    is used for the interval only: with three seeds, at the small levels of a corrected family, it
    rejects true hypotheses up to 3 times too often.
    """
    variance, units = shared
    reached = np.abs(np.asarray(distance, float))[..., None] / np.sqrt(variance + seeds)
    return np.asarray(2 * stdtr(units, -reached) @ _NODE_WEIGHTS)


def too_uncertain(arms: Sequence[Components], groups: Groups | None) -> str:
    """Return the reason why these arms get no interval, or ""."""
    fewest = min((arm.seeds for arm in arms if arm.seeds > 1), default=MIN_SEEDS)
    return too_few_seeds(fewest) or too_few(len(arms[0].problems), groups)


def too_few_seeds(seeds: int) -> str:
    """Return the reason why an arm with so many seeds gets no verdict, or ""."""
    if not 1 < seeds < MIN_SEEDS:
        return ""
    few = f"{seeds} seeds are too few to say how much the seed matters"
    return f"{few}: use 1, or {MIN_SEEDS} and more"


def too_few(n: int, groups: Groups | None) -> str:
    """Return the reason why n problems, or their groups, are too few for an interval, or ""."""
    units = int(worth(n, groups))
    if units >= MIN_GROUPS:
        return ""
    if groups is None:
        return f"{n} problems are too few, under {MIN_GROUPS}"
    count = int(groups.max()) + 1
    uneven = f", so unequal that they say as much as {units} of one size,"
    uneven = uneven if count >= MIN_GROUPS else ""
    return f"{count} groups of problems{uneven} are too few, under {MIN_GROUPS}"


def critical(df: float) -> float:
    """Return the two-sided quantile of Student's t at the confidence level."""
    return float(stdtrit(df, (1 + CONFIDENCE) / 2))


def _satterthwaite(shared: tuple[float, int], seeds: tuple[float, float]) -> float:
    """Return the degrees of freedom of the sum of two variances with their own."""
    spread = shared[0] ** 2 / shared[1] + seeds[0] ** 2 / seeds[1]
    return max(1.0, (shared[0] + seeds[0]) ** 2 / spread)


def _c4(df: float) -> float:
    """Return the mean ratio of a sample standard deviation with `df` to the true one."""
    return sqrt(2 / df) * exp(lgamma((df + 1) / 2) - lgamma(df / 2))
