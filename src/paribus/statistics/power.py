"""Power, the smallest detectable difference and the number of problems that a comparison needs.

    power_of_models(0.36, 0.31, n=1319, correlation=0.4)               # 0.93
    detectable(Design(n=1319, seeds=3), baseline=0.31)                 # 0.050
    detectable_about(Design(n=100, comparisons=8), mean=0.5)           # 0.204
    problems_needed(Design(n=0, seeds=1), baseline=0.31, difference=0.05)      # 878

Accuracies and differences are shares. For one seed it is the power of the exact McNemar test,
summed over the number of discordant problems. Over seeds it is the power of the Behrens-Fisher
test, averaged over the distribution of the estimated variances. `benchmarks/calibration.py`
compares both with simulated experiments.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import log, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrik, gammaincinv, ndtr

from paribus.errors import UserError
from paribus.statistics.crossed import MIN_GROUPS, MIN_SEEDS, pooled, possible, tail
from paribus.statistics.intervals import at_most

POWER = 0.8
"""A difference is detectable if it is shown with this probability."""
ALPHA = 0.05
"""Level of the tests, for the whole family of comparisons."""
MAX_PROBLEMS = 1_000_000
"""The largest number of problems that is tried."""
_POINTS = 64
"""Number of fixed, evenly spread points of the distribution of estimated variances. Power is then
accurate to half a point."""
_HALVINGS = 16
"""Bisections of [0, 1]: differences are accurate to 0.002 points."""
_SECANTS = 8
"""Limit of secant steps; each costs as much as a bisection."""
_TAIL = 1e-9
"""Probability of the numbers of discordant problems that are neglected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The design of a comparison of two arms.

    Attributes:
        n: number of test problems.
        seeds: number of seeds of each arm; 1 compares two trained models, more compare methods.
        correlation: correlation of the outcomes of two arms over problems.
        same_arm: correlation of the outcomes of two seeds of one arm over problems.
        spread: standard deviation of an arm's true accuracy among seeds, as a share.
        comparisons: size of the family, by which the level is divided.
    """

    n: int
    seeds: int = 1
    correlation: float = 0.4
    same_arm: float = 0.6
    spread: float = 0.01
    comparisons: float = 1


def power(design: Design, baseline: float, difference: float) -> float:
    """Return the power to show `difference` over an arm with accuracy `baseline`.

    Raises UserError where `design.correlation` is impossible for these accuracies.
    """
    alpha = ALPHA / design.comparisons
    other = baseline + difference
    if 1 < design.seeds < MIN_SEEDS:
        return 0.0  # there is no verdict
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
    """Return the power of the exact McNemar test for models with accuracies a and b."""
    only_a, only_b = discordant(a, b, correlation)
    either = only_a + only_b
    if either <= 0.0 or n < 1:
        return 0.0
    tosses, weights = likely_tosses(n, either)
    # The largest count c of the rarer side that is significant: 2 P(X <= c) <= alpha.
    limits = np.floor(bdtrik(alpha / 2, tosses, 0.5))
    limits -= 2 * at_most(limits, tosses, 0.5) > alpha
    heads = only_a / either
    shown = at_most(limits, tosses, heads) + at_most(limits, tosses, 1 - heads)
    return float(np.sum(weights * np.where(limits >= 0, shown, 0.0)))


def likely_tosses(n: int, either: float) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Return the numbers of discordant problems among n, and the probability of each.

    `either` is the share of discordant problems. Numbers in the tails are left out, by
    S. Bernstein's inequality (1924).
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
    """Return the power of the test of an estimate with these true variances.

    `shared` and `seeds` are as in `crossed.Estimate`.
    """
    return _shown(difference, critical_distances(shared, seeds, alpha))


@dataclass(frozen=True, slots=True)
class Critical:
    """When an estimate is significant.

    Attributes:
        distances: smallest significant distance from 0, for each point of the estimated variances.
        error: the true standard error.
    """

    distances: NDArray[np.float64]
    error: float


def critical_distances(
    shared: tuple[float, int], seeds: Sequence[tuple[float, int]], alpha: float
) -> Critical:
    """Return the distances from 0 at which an estimate with these true variances is significant."""
    points = _points(max(1, len(seeds)))
    estimated = [
        (variance * chi_squared(points[:, arm], df) / df, df)
        for arm, (variance, df) in enumerate(seeds)
    ]
    total, freedom = pooled(estimated) if estimated else (np.zeros(1), np.ones(1))
    distances = _least_shown(shared, possible(total, freedom), alpha)
    error = sqrt(shared[0] + sum(variance for variance, _ in seeds))
    return Critical(distances=distances, error=error)


@lru_cache
def _points(dimensions: int) -> NDArray[np.float64]:
    """Return [_POINTS, dimensions] evenly spread probabilities, a Sobol sequence.

    A grid of quantiles would have millions of points for eight arms.
    """
    from scipy.stats import qmc  # slow to import: only several seeds need it

    return np.asarray(qmc.Sobol(dimensions, rng=0).random(_POINTS))


def _least_shown(
    shared: tuple[float, int], variances: NDArray[np.float64], alpha: float
) -> NDArray[np.float64]:
    """Return the smallest significant distances on a grid of 2**_HALVINGS in (0, 1]; 1 if none is.

    Secants of the logarithm of `tail` find nearly all of them in 3 to 6 steps, where bisection
    takes 16. The others are bisected.
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
    exact = tail(high, shared, variances) < alpha
    exact &= tail(high - 1 / steps, shared, variances) >= alpha
    if not exact.all():
        high[~exact] = _bisected(shared, variances[~exact], alpha)
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
    """Return the quantile at `share` of chi squared with `df` degrees of freedom."""
    return np.asarray(2 * gammaincinv(df / 2, share))


def _shown(difference: float, needed: Critical) -> float:
    above = ndtr((difference - needed.distances) / needed.error)
    below = ndtr((-difference - needed.distances) / needed.error)
    return float(np.mean(above + below))


@lru_cache
def detectable(design: Design, baseline: float) -> float | None:
    """Return the smallest gain over `baseline` with a power of `POWER`, or None if none has it."""
    return _smallest(lambda gain: _power_between(design, baseline, gain), 1 - baseline)


def detectable_about(design: Design, mean: float) -> float | None:
    """Return the smallest difference with a power of `POWER`, or None if none has it.

    `mean` is the mean accuracy of the two arms, assumed before a run or measured after it.
    """

    def power_at(difference: float) -> float:
        low = min(max(mean - difference / 2, 0.0), 1 - difference)
        return _power_between(design, low, difference)

    return _smallest(power_at, 1.0)


def _power_between(design: Design, low: float, difference: float) -> float:
    """Return the power for accuracies `low` and `low + difference`, with a possible correlation."""
    highest = highest_correlation(low + difference, low)
    possible_design = replace(design, correlation=min(design.correlation, highest))
    return power(possible_design, low, difference)


def detectable_between_methods(
    shared: tuple[float, int], seeds: Sequence[tuple[float, int]], alpha: float
) -> float | None:
    """Return the smallest detectable difference of an estimate with these true variances."""
    needed = critical_distances(shared, seeds, alpha)
    return _smallest(lambda difference: _shown(difference, needed), 1.0)


@lru_cache
def problems_needed(design: Design, baseline: float, difference: float) -> int | None:
    """Return the fewest problems with a power of `POWER`, or None if `MAX_PROBLEMS` are too few."""
    return fewest_problems(lambda n: power(replace(design, n=n), baseline, difference) >= POWER)


def fewest_problems(enough: Callable[[int], bool]) -> int | None:
    """Return the fewest problems for which `enough` holds, to 0.2 %; None above `MAX_PROBLEMS`."""
    if not enough(MAX_PROBLEMS):
        return None
    low, high = 1, 2
    while high < MAX_PROBLEMS and not enough(high):
        low, high = high, min(2 * high, MAX_PROBLEMS)
    while high - low > max(1, high // 500):  # exact power is not monotonic in n
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def discordant(a: float, b: float, correlation: float) -> tuple[float, float]:
    """Return the shares of problems that only A and only B solve, for accuracies a and b.

    Raises UserError where `correlation` is impossible for these accuracies.
    """
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
    """Return the correlation of outcomes if the better arm solves all that the other solves."""
    low, high = sorted((a, b))
    if low <= 0.0 or high >= 1.0:
        return 0.0
    return sqrt(low * (1 - high) / (high * (1 - low)))


def expected(
    design: Design, a: float, b: float
) -> tuple[tuple[float, int], list[tuple[float, int]]]:
    """Return the expected variances of mean(A) - mean(B), as `shared` and `seeds` of an Estimate.

    Raises UserError where `design.correlation` is impossible for accuracies a and b.
    """
    of_a, of_b = a * (1 - a), b * (1 - b)
    discordant(a, b, design.correlation)  # raises UserError if impossible
    both = design.correlation * sqrt(of_a * of_b)
    apart = max(0.0, design.same_arm * (of_a + of_b) - 2 * both)
    # A pseudo-problem on each side: see `crossed.estimate`.
    shared = (apart * design.n + 1 / design.seeds) / design.n**2
    chance = [(1 - design.same_arm) * variance / design.n for variance in (of_a, of_b)]
    seeds = [((design.spread**2 + cell) / design.seeds, design.seeds - 1) for cell in chance]
    return (shared, max(1, design.n - 1)), seeds


def _smallest(power_at: Callable[[float], float], limit: float) -> float | None:
    """Return the smallest difference in (0, limit] with a power of `POWER`, or None."""
    if power_at(limit) < POWER:
        return None
    low, high = 0.0, limit
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if power_at(middle) >= POWER else (middle, high)
    return high
