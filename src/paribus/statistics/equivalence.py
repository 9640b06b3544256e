"""Whether two arms are as good as each other within a margin: two one-sided tests, and their power.

    not_worse(compare(a, b), a, b, 0.02)        # (0.003, 0.21): A is not worse by 2 points
    problems_for_equivalence(Design(n=0, seeds=3), 0.31, 0.02)           # 9,744

D. J. Schuirmann (1987), J. Pharmacokin. Biopharm. 15: 657-680. The two are held against one level
each: a true difference cannot lie beyond both ends. One seed has T. Tango's score test (1998,
Statist. Med. 17: 891-908), whose interval stands beside it; several seeds or groups the
Behrens-Fisher test of the distance to the margin.
"""

from dataclasses import replace
from functools import lru_cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from paribus.errors import UserError
from paribus.statistics import power
from paribus.statistics.binomial import at_least
from paribus.statistics.crossed import MIN_GROUPS, MIN_SEEDS, Estimate, pooled, possible, tail
from paribus.statistics.intervals import score_parts
from paribus.statistics.power import ALPHA, POWER, Design
from paribus.statistics.verdicts import Solved, Tested

SMALLEST, LARGEST = 0.001, 0.5
"""Margins that make sense, as shares: a tenth of a point to 50 points."""
_HALVINGS = 40


def margin_of(points: float) -> float:
    """Return a margin in points as a share. Raises UserError where it makes no sense."""
    if not SMALLEST <= points / 100 <= LARGEST:
        raise UserError(
            f"a margin of {points:g} points is outside {100 * SMALLEST:g} to {100 * LARGEST:g}",
            "write 2 for two points: the largest difference that would not matter",
        )
    return points / 100


def not_worse(
    tested: Tested, a: Solved, b: Solved, margin: float
) -> tuple[float | None, float | None]:
    """Return p that A is not worse than B by `margin` or more, and that B is not. None: no test."""
    if tested.crossed is not None:
        return _beyond(tested.crossed, -margin), _beyond(tested.crossed, margin)
    if tested.interval is None:
        return None, None
    only_a, only_b, n = int((a & ~b).sum()), int((b & ~a).sum()), a.shape[1]
    return _score_p(only_a, only_b, n, margin), _score_p(only_b, only_a, n, margin)


def opposite(
    p_values: tuple[float | None, float | None],
) -> tuple[float | None, float | None]:
    """Return p, two-sided, that A is worse by the margin or more, and B, from `not_worse`."""
    a, b = (None if p is None else min(1.0, 2 * (1 - p)) for p in p_values)
    return a, b


def _score_p(ahead: int, behind: int, n: int, margin: float) -> float:
    distance, variance = score_parts(ahead, behind, n, -margin)
    return float(ndtr(-distance / sqrt(variance)))


def _beyond(found: Estimate, end: float) -> float:
    """Return p, one-sided, that the true value lies at `end` or beyond it, seen from nought."""
    inside = (found.value - end) * (1 if end < 0 else -1)
    half = float(tail(abs(inside), found.at(end), possible(*pooled(found.seeds)))) / 2
    return half if inside > 0 else 1 - half


@lru_cache
def power_of_equivalence(design: Design, accuracy: float, margin: float) -> tuple[float, float]:
    """Return how often two arms that truly solve `accuracy` are shown equivalent, and one no worse.

    The one is the arm that was asked about: how often A is shown no worse than B by `margin`.
    """
    alpha = ALPHA / design.comparisons
    if 1 < design.seeds < MIN_SEEDS or (design.seeds > 1 and design.n < MIN_GROUPS):
        return 0.0, 0.0  # no verdict is given
    if design.seeds == 1:
        return _of_models(design, accuracy, margin, alpha)
    # One-sided at alpha: what a two-sided test needs at twice that.
    shared, seeds = power.expected(design, accuracy, accuracy)
    needed = power.reaches(shared, seeds, 2 * alpha)
    room = (margin - needed.distances) / needed.error
    one = ndtr(room)
    return float(np.mean(np.maximum(0.0, 2 * one - 1))), float(np.mean(one))


def _of_models(design: Design, accuracy: float, margin: float, alpha: float) -> tuple[float, float]:
    """Sum over all numbers of problems that only one arm may solve."""
    only_a, only_b = power.discordant(accuracy, accuracy, design.correlation)
    counts, weights = power.likely_tosses(design.n, only_a + only_b)
    tosses = counts.astype(np.float64)
    # By how many problems A may fall behind and still be shown no worse.
    low, high = -tosses, tosses
    limit = float(-ndtri(alpha))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        shown = _statistic(middle, tosses, design.n, margin) > limit
        low, high = np.where(shown, low, middle), np.where(shown, middle, high)
    enough = _statistic(tosses, tosses, design.n, margin) > limit
    fewest = np.ceil((tosses + high) / 2 - 1e-9)  # problems that A alone must solve
    one = np.where(enough, at_least(fewest, tosses, 0.5), 0.0)
    return float(weights @ np.maximum(0.0, 2 * one - 1)), float(weights @ one)


def _statistic(
    ahead: NDArray[np.float64], tosses: NDArray[np.float64], n: int, margin: float
) -> NDArray[np.float64]:
    """Return the score statistic of -margin where A leads by `ahead` of `tosses` problems."""
    distance, variance = score_parts((tosses + ahead) / 2, (tosses - ahead) / 2, n, -margin)
    return np.asarray(distance / np.sqrt(variance))


def problems_for_equivalence(
    design: Design, accuracy: float, margin: float
) -> tuple[int | None, int | None]:
    """Return the fewest problems that show true equals equivalent, and one no worse: 8 in 10."""

    def fewest(which: int) -> int | None:
        return power.fewest_problems(
            lambda n: power_of_equivalence(replace(design, n=n), accuracy, margin)[which] >= POWER
        )

    return fewest(0), fewest(1)
