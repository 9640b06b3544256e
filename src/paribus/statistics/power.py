"""What an experiment could see: power, the smallest detectable difference, problems needed.

    power_of_models(0.36, 0.31, n=1319, correlation=0.4)               # 0.93
    detectable(Design(n=1319, seeds=3), baseline=0.31)                 # 0.050
    detectable_about(Design(n=100, comparisons=8), mean=0.5)           # 0.204
    problems_needed(Design(n=0, seeds=1), baseline=0.31, difference=0.05)      # 878

For one seed it is the power of the exact McNemar test, summed over all numbers of problems that
only one arm may solve. Over seeds it is that of the Behrens-Fisher test, averaged over what the
estimated variances may turn out to be. `benchmarks/calibration.py` holds both against experiments.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import log, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrik, gammaincinv, ndtr

from paribus.errors import UserError
from paribus.statistics.binomial import at_most
from paribus.statistics.crossed import MIN_GROUPS, MIN_SEEDS, pooled, possible, tail

POWER = 0.8
"""A difference is called detectable if it would be shown this often."""
ALPHA = 0.05
"""Level of the tests, for the whole family of comparisons."""
MAX_PROBLEMS = 1_000_000
_POINTS = 64
"""What the estimated variances may turn out to be: so many cases are averaged over, evenly spread
and always the same. Power is then found to half a point."""
_HALVINGS = 16
"""Bisections of [0, 1]: differences are found to 0.002 points."""
_SECANTS = 8
"""At most; each is as dear as a bisection."""
_TAIL = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How two arms would be compared.

    Attributes:
        n: test problems.
        seeds: of each arm; 1 compares two trained models, more compare methods.
        correlation: between two arms, of whether they solve a problem.
        same_arm: between two seeds of one arm, likewise.
        spread: standard deviation of an arm's true accuracy among seeds, as a share.
        comparisons: size of the family that alpha is divided by.
    """

    n: int
    seeds: int = 1
    correlation: float = 0.4
    same_arm: float = 0.6
    spread: float = 0.01
    comparisons: float = 1


def power(design: Design, baseline: float, difference: float) -> float:
    """Return how often `design` would show `difference` over an arm that solves `baseline`."""
    alpha = ALPHA / design.comparisons
    other = baseline + difference
    if 1 < design.seeds < MIN_SEEDS:
        return 0.0  # no verdict is given
    if design.seeds == 1:
        return power_of_models(
            other, baseline, n=design.n, correlation=design.correlation, alpha=alpha
        )
    if design.n < MIN_GROUPS:
        return 0.0
    return power_of_methods(difference, *expected(design, other, baseline), alpha)


def power_of_models(
    a: float, b: float, *, n: int, correlation: float, alpha: float = ALPHA
) -> float:
    """Return the power of the exact McNemar test between models that solve shares a and b."""
    only_a, only_b = discordant(a, b, correlation)
    either = only_a + only_b
    if either <= 0.0 or n < 1:
        return 0.0
    tosses, weights = likely_tosses(n, either)
    # The largest count of the rarer side that is still significant: 2 P(X <= c) <= alpha.
    limits = np.floor(bdtrik(alpha / 2, tosses, 0.5))
    limits -= 2 * at_most(limits, tosses, 0.5) > alpha
    heads = only_a / either
    shown = at_most(limits, tosses, heads) + at_most(limits, tosses, 1 - heads)
    return float(np.sum(weights * np.where(limits >= 0, shown, 0.0)))


def likely_tosses(n: int, either: float) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Return how many of n problems only one of two models may solve, and how often.

    All numbers but the rarest, which S. Bernstein's inequality (1924) leaves out. `either` is the
    share of such problems.
    """
    rare = -log(_TAIL)
    reach = rare / 3 + sqrt(rare**2 / 9 + 2 * rare * n * either * (1 - either))
    low, high = max(0, int(n * either - reach)), min(n, int(n * either + reach) + 1)
    tosses = np.arange(low, high + 1)
    return tosses, at_most(tosses, n, either) - at_most(tosses - 1, n, either)


def power_of_methods(
    difference: float,
    shared: tuple[float, int],
    seeds: Sequence[tuple[float, int]],
    alpha: float = ALPHA,
) -> float:
    """Return the power of the test of an estimate with these variances.

    `shared` and `seeds` are those of `crossed.Estimate`, taken as the true ones.
    """
    return _shown(difference, reaches(shared, seeds, alpha))


@dataclass(frozen=True, slots=True)
class Reaches:
    """Distances that must be reached to be shown, for what the variances may be found to be."""

    distances: NDArray[np.float64]
    error: float


def reaches(shared: tuple[float, int], seeds: Sequence[tuple[float, int]], alpha: float) -> Reaches:
    """Return how far an estimate with these variances must lie from nought to be shown."""
    points = _points(max(1, len(seeds)))
    found = [
        (variance * chi_squared(points[:, at], df) / df, df)
        for at, (variance, df) in enumerate(seeds)
    ]
    total, freedom = pooled(found) if found else (np.zeros(1), np.ones(1))
    distances = _least_shown(shared, possible(total, freedom), alpha)
    error = sqrt(shared[0] + sum(variance for variance, _ in seeds))
    return Reaches(distances=distances, error=error)


@lru_cache
def _points(dimensions: int) -> NDArray[np.float64]:
    """Return [_POINTS, dimensions] shares, spread evenly: not every combination of quantiles.

    A matrix of eight arms would have millions of those.
    """
    from scipy.stats import qmc  # slow to import: only several seeds need it

    return np.asarray(qmc.Sobol(dimensions, rng=0).random(_POINTS))


def _least_shown(
    shared: tuple[float, int], variances: NDArray[np.float64], alpha: float
) -> NDArray[np.float64]:
    """Return the least distances, of 2**_HALVINGS in (0, 1], that show; 1 where none does.

    Bisection finds them, in 16 rounds; secants of the log of the tail come next to nearly all of
    them in 3 to 6, and what they did not find is bisected.
    """
    steps = 2**_HALVINGS
    before, depth_before = np.zeros(len(variances)), np.zeros(len(variances))
    now = np.sqrt(-log(alpha) * 2 * (shared[0] + np.median(variances, axis=-1)))
    for _ in range(_SECANTS):
        now = np.clip(now, 1 / steps, 1.0)
        depth = np.log(np.maximum(tail(now, shared, variances), _TAIL**2))
        run, rise = now - before, depth - depth_before
        move = np.divide((log(alpha) - depth) * run, rise, where=rise != 0, out=0 * now)
        before, depth_before, now = now, depth, now + move
        if np.abs(move).max() < 0.01 / steps:
            break
    high = np.asarray(np.ceil(np.clip(now, 1 / steps, 1.0) * steps) / steps)
    found = tail(high, shared, variances) < alpha
    found &= tail(high - 1 / steps, shared, variances) >= alpha
    if not found.all():
        high[~found] = _bisected(shared, variances[~found], alpha)
    return high


def _bisected(
    shared: tuple[float, int], variances: NDArray[np.float64], alpha: float
) -> NDArray[np.float64]:
    low, high = np.zeros(len(variances)), np.ones(len(variances))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        shown = tail(middle, shared, variances) < alpha
        low, high = np.where(shown, low, middle), np.where(shown, middle, high)
    return high


def chi_squared(share: ArrayLike, df: float) -> NDArray[np.float64]:
    """Return what chi squared with `df` degrees of freedom stays below so often."""
    return np.asarray(2 * gammaincinv(df / 2, share))


def _shown(difference: float, needed: Reaches) -> float:
    above = ndtr((difference - needed.distances) / needed.error)
    below = ndtr((-difference - needed.distances) / needed.error)
    return float(np.mean(above + below))


@lru_cache
def detectable(design: Design, baseline: float) -> float | None:
    """Return the smallest gain over `baseline` with enough power, or None if none has it."""
    return _smallest(lambda gain: _reached(design, baseline, gain), 1 - baseline)


def detectable_about(design: Design, mean: float) -> float | None:
    """Return the smallest difference of two arms with enough power, or None if none has it.

    `mean` is the accuracy half-way between them, as assumed before a run or found after it.
    """

    def reached(difference: float) -> float:
        low = min(max(mean - difference / 2, 0.0), 1 - difference)
        return _reached(design, low, difference)

    return _smallest(reached, 1.0)


def _reached(design: Design, low: float, difference: float) -> float:
    """Return the power for an arm at `low` and one above it, which cannot correlate too much."""
    highest = highest_correlation(low + difference, low)
    kept = replace(design, correlation=min(design.correlation, highest))
    return power(kept, low, difference)


def detectable_between_methods(
    shared: tuple[float, int], seeds: Sequence[tuple[float, int]], alpha: float
) -> float | None:
    """Return the smallest detectable difference of an estimate over seeds or groups."""
    found = reaches(shared, seeds, alpha)
    return _smallest(lambda difference: _shown(difference, found), 1.0)


@lru_cache
def problems_needed(design: Design, baseline: float, difference: float) -> int | None:
    """Return the fewest problems with enough power, or None if seeds alone hide the difference."""
    return fewest_problems(lambda n: power(replace(design, n=n), baseline, difference) >= POWER)


def fewest_problems(enough: Callable[[int], bool]) -> int | None:
    """Return the fewest problems that are `enough`, or None if a million are not."""
    if not enough(MAX_PROBLEMS):
        return None
    low, high = 1, 2
    while high < MAX_PROBLEMS and not enough(high):
        low, high = high, min(2 * high, MAX_PROBLEMS)
    while high - low > max(1, high // 500):  # half a percent: the exact power is a saw
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def discordant(a: float, b: float, correlation: float) -> tuple[float, float]:
    """Return the shares of problems that only A and only B solve. Raises UserError."""
    highest = highest_correlation(a, b)
    if correlation > highest + 1e-9:
        raise UserError(
            f"a correlation of {correlation:g} is impossible between accuracies of {a:.3g} and "
            f"{b:.3g}: at most {highest:.3f}",
            f"give a correlation of {int(highest * 100) / 100} or less",
        )
    both = a * b + correlation * sqrt(a * (1 - a) * b * (1 - b))
    both = min(max(both, a + b - 1, 0.0), a, b)
    return a - both, b - both


def highest_correlation(a: float, b: float) -> float:
    """Return the correlation of two arms of which the weaker solves nothing of its own."""
    low, high = sorted((a, b))
    if low <= 0.0 or high >= 1.0:
        return 0.0
    return sqrt(low * (1 - high) / (high * (1 - low)))


def expected(
    design: Design, a: float, b: float
) -> tuple[tuple[float, int], list[tuple[float, int]]]:
    """Return the variances of mean(A) - mean(B) that `design` would find: problems, seeds."""
    of_a, of_b = a * (1 - a), b * (1 - b)
    discordant(a, b, design.correlation)  # raises if impossible
    both = design.correlation * sqrt(of_a * of_b)
    apart = max(0.0, design.same_arm * (of_a + of_b) - 2 * both)
    # A pseudo-problem on each side: see `crossed.estimate`.
    shared = (apart * design.n + 1 / design.seeds) / design.n**2
    chance = [(1 - design.same_arm) * variance / design.n for variance in (of_a, of_b)]
    seeds = [((design.spread**2 + each) / design.seeds, design.seeds - 1) for each in chance]
    return (shared, max(1, design.n - 1)), seeds


def _smallest(reached: Callable[[float], float], room: float) -> float | None:
    """Return the smallest difference in (0, room] at which `reached` gives enough power."""
    if reached(room) < POWER:
        return None
    low, high = 0.0, room
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) >= POWER else (middle, high)
    return high
