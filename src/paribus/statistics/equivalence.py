"""Equivalence of two arms within a margin: two one-sided tests, and their power.

    not_worse(compare(a, b), a, b, 0.02)        # (0.003, 0.21): A is not worse by 2 points
    problems_for_equivalence(Design(n=0, seeds=3), 0.31, 0.02)           # 9,744

D. J. Schuirmann (1987), J. Pharmacokin. Biopharm. 15: 657-680. Each test has the full level: a true
difference cannot lie beyond both ends. For one seed it is T. Tango's score test (1998, Statist.
Med. 17: 891-908), which matches the interval of the contrast; for several seeds or for groups it is
the Behrens-Fisher test of the distance to the margin.
"""

from dataclasses import replace
from functools import lru_cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from paribus.errors import UserError
from paribus.statistics import power
from paribus.statistics.crossed import MIN_GROUPS, MIN_SEEDS, Estimate, pooled, possible, tail
from paribus.statistics.intervals import at_least, score_parts
from paribus.statistics.power import ALPHA, POWER, Design
from paribus.statistics.verdicts import Solved, Tested

SMALLEST, LARGEST = 0.001, 0.5
"""Limits of a margin, as shares: 0.1 to 50 points."""
_HALVINGS = 40


def margin_of(points: float) -> float:
    """Return a margin in points as a share; raise UserError if it is out of range."""
    if not SMALLEST <= points / 100 <= LARGEST:
        raise UserError(
            f"a margin of {points:g} points is outside {100 * SMALLEST:g} to {100 * LARGEST:g}",
            "write 2 for two points: the largest difference that would not matter",
        )
    return points / 100


def not_worse(
    tested: Tested, a: Solved, b: Solved, margin: float
) -> tuple[float | None, float | None]:
    """Return the one-sided p-values of "A is not worse by `margin` or more", and of the same for B.

    `margin` is a share. None where there is no test.
    """
    if tested.crossed is not None:
        return _beyond(tested.crossed, -margin), _beyond(tested.crossed, margin)
    if tested.interval is None:
        return None, None
    only_a, only_b, n = int((a & ~b).sum()), int((b & ~a).sum()), a.shape[1]
    return _score_p(only_a, only_b, n, margin), _score_p(only_b, only_a, n, margin)


def opposite(
    p_values: tuple[float | None, float | None],
) -> tuple[float | None, float | None]:
    """Return the two-sided p-values of "A is worse by the margin or more", and of the same for B.

    `p_values` are those of `not_worse`.
    """
    a, b = (None if p is None else min(1.0, 2 * (1 - p)) for p in p_values)
    return a, b


def _score_p(ahead: int, behind: int, n: int, margin: float) -> float:
    distance, variance = score_parts(ahead, behind, n, -margin)
    return float(ndtr(-distance / sqrt(variance)))


def _beyond(estimate: Estimate, end: float) -> float:
    """Return the one-sided p-value of a true value at `end` or further from 0."""
    inside = (estimate.value - end) * (1 if end < 0 else -1)
    half = float(tail(abs(inside), estimate.at(end), possible(*pooled(estimate.seeds)))) / 2
    return half if inside > 0 else 1 - half


@lru_cache
def power_of_equivalence(design: Design, accuracy: float, margin: float) -> tuple[float, float]:
    """Return the power to show equivalence, and to show that A is not worse than B.

    Both arms truly have `accuracy`. `accuracy` and `margin` are shares.
    """
    alpha = ALPHA / design.comparisons
    if 1 < design.seeds < MIN_SEEDS or (design.seeds > 1 and design.n < MIN_GROUPS):
        return 0.0, 0.0  # there is no verdict
    if design.seeds == 1:
        return _of_models(design, accuracy, margin, alpha)
    # A one-sided test at alpha has the critical distance of a two-sided test at 2 * alpha.
    shared, seeds = power.expected(design, accuracy, accuracy)
    needed = power.critical_distances(shared, seeds, 2 * alpha)
    room = (margin - needed.distances) / needed.error
    one_side = ndtr(room)
    return float(np.mean(np.maximum(0.0, 2 * one_side - 1))), float(np.mean(one_side))


def _of_models(design: Design, accuracy: float, margin: float, alpha: float) -> tuple[float, float]:
    """Return `power_of_equivalence` for one seed: a sum over the number of discordant problems."""
    only_a, only_b = power.discordant(accuracy, accuracy, design.correlation)
    counts, weights = power.likely_tosses(design.n, only_a + only_b)
    tosses = counts.astype(np.float64)
    # Bisect the lead of A, in problems, from which on A is shown to be not worse.
    low, high = -tosses, tosses
    limit = float(-ndtri(alpha))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        shown = _statistic(middle, tosses, design.n, margin) > limit
        low, high = np.where(shown, low, middle), np.where(shown, middle, high)
    enough = _statistic(tosses, tosses, design.n, margin) > limit
    fewest = np.ceil((tosses + high) / 2 - 1e-9)  # problems that only A must solve
    one_side = np.where(enough, at_least(fewest, tosses, 0.5), 0.0)
    return float(weights @ np.maximum(0.0, 2 * one_side - 1)), float(weights @ one_side)


def _statistic(
    ahead: NDArray[np.float64], tosses: NDArray[np.float64], n: int, margin: float
) -> NDArray[np.float64]:
    """Return the score statistic of -margin if A leads by `ahead` in `tosses` discordant ones."""
    distance, variance = score_parts((tosses + ahead) / 2, (tosses - ahead) / 2, n, -margin)
    return np.asarray(distance / np.sqrt(variance))


def problems_for_equivalence(
    design: Design, accuracy: float, margin: float
) -> tuple[int | None, int | None]:
    """Return the fewest problems for a power of 0.8 to show equivalence, and that A is not worse.

    Both arms truly have `accuracy`. None where no number of problems is enough.
    """

    def fewest(which: int) -> int | None:
        return power.fewest_problems(
            lambda n: power_of_equivalence(replace(design, n=n), accuracy, margin)[which] >= POWER
        )

    return fewest(0), fewest(1)
