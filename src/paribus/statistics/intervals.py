"""Confidence intervals and the exact test for counts of solved problems.

    share(31, 100)                                               # 0.228 to 0.406
    paired_difference(only_a=12, only_b=2, n=50)                 # 0.061 to 0.345
    mcnemar(only_a=12, only_b=2)                                 # 0.013
    mcnemar(only_a=0, only_b=0)                                  # None: there is no test

All intervals are 95 % intervals. They assume independent problems and given models: they cover the
choice of test problems only. `crossed` covers seeds and groups of problems too.
`benchmarks/calibration.py` measures the coverage.

Tail probabilities of the binomial distribution.

    at_least(12, 14, 0.5)       # 0.0065

They use the incomplete beta function of `scipy.special`: importing `scipy.stats` takes longer than
a small comparison.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betainccinv, betaincinv, ndtri


def at_least(heads: ArrayLike, tosses: ArrayLike, chance: ArrayLike) -> NDArray[np.float64]:
    """Return P(X >= heads) for X ~ Binomial(tosses, chance), elementwise.

    `heads` is at most tosses + 1.
    """
    heads, tosses = np.asarray(heads, float), np.asarray(tosses, float)
    tail = betainc(heads, tosses - heads + 1, chance)
    return np.where(heads <= 0, 1.0, np.where(heads > tosses, 0.0, tail))


def at_most(heads: ArrayLike, tosses: ArrayLike, chance: ArrayLike) -> NDArray[np.float64]:
    """Return P(X <= heads) for X ~ Binomial(tosses, chance), elementwise.

    `heads` is at least -1.
    """
    heads, tosses = np.asarray(heads, float), np.asarray(tosses, float)
    return at_least(tosses - heads, tosses, 1 - np.asarray(chance))


CONFIDENCE = 0.95
"""Level of every interval that paribus prints."""
Z = -float(ndtri((1 - CONFIDENCE) / 2))
"""1.96: the two-sided standard normal quantile of that level."""
FEW = 15
"""With fewer solved or unsolved problems a share gets the exact interval: Wilson's covers 91 %."""
_HALVINGS = 60
"""Bisections for an end of an interval in [-1, 1]: more than double precision needs."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, in shares: 0.05 is 5 % of a share, or a difference of 5 points."""

    low: float
    high: float


def share(correct: float, n: float) -> Interval:
    """Return the interval of the share `correct` / `n`, n > 0; both may be effective counts.

    It is Wilson's score interval (E. B. Wilson 1927, J. Amer. Statist. Assoc. 22: 209-212). With
    fewer than `FEW` solved or unsolved problems it is the exact interval of C. J. Clopper and
    E. S. Pearson (1934), Biometrika 26: 404-413. Both stay within [0, 1] and have a positive width
    at 0 and at n.
    """
    few = min(correct, n - correct) < FEW
    return _clopper_pearson(correct, n) if few else _wilson(correct / n, n)


def _wilson(accuracy: float, n: float) -> Interval:
    middle = accuracy + Z**2 / (2 * n)
    reach = Z * sqrt(accuracy * (1 - accuracy) / n + Z**2 / (4 * n**2))
    whole = 1 + Z**2 / n
    return Interval(middle / whole - reach / whole, middle / whole + reach / whole)


def _clopper_pearson(correct: float, n: float) -> Interval:
    """Return the shares at which `correct` or more, or `correct` or fewer, is 2.5 % likely."""
    tail = (1 - CONFIDENCE) / 2
    low = float(betaincinv(correct, n - correct + 1, tail)) if correct > 0 else 0.0
    high = float(betainccinv(correct + 1, n - correct, tail)) if correct < n else 1.0
    return Interval(low, high)


def paired_difference(*, only_a: int, only_b: int, n: int) -> Interval:
    """Return the interval of A's share minus B's over the same n problems, n > 0.

    It holds the differences that the score test does not reject: T. Tango (1998), "Equivalence test
    and confidence interval for the difference in proportions for the paired-sample design",
    Statist. Med. 17: 891-908. It is also defined without discordant problems. Its coverage varies
    less than that of Newcombe's method 10, which is too wide for strongly correlated arms.
    """
    difference = (only_a - only_b) / n

    def end(outside: float, sign: float) -> float:
        inside = difference
        for _ in range(_HALVINGS):
            middle = (outside + inside) / 2
            rejected = sign * _score(only_a, only_b, n, middle) > Z
            outside, inside = (middle, inside) if rejected else (outside, middle)
        return inside

    return Interval(end(-1.0, 1.0), end(1.0, -1.0))


def _score(only_a: int, only_b: int, n: int, assumed: float) -> float:
    """Return Tango's score statistic of a true difference `assumed`: about standard normal."""
    distance, variance = score_parts(only_a, only_b, n, assumed)
    if variance <= 0.0:
        return 0.0 if distance == 0 else distance * float("inf")
    return float(distance / sqrt(variance))


def score_parts(only_a: Any, only_b: Any, n: float, assumed: float) -> tuple[Any, Any]:
    """Return the distance of the counts from a true difference `assumed`, and its variance.

    The distance is in problems, the variance in problems squared; both have the shape of `only_a`
    and `only_b`, numbers or arrays. The variance needs the share q of problems that only B solves,
    estimated under the assumption as the root of

        2n q² + (assumed (2n - a + b) - a - b) q - b assumed (1 - assumed) = 0

    where a and b are `only_a` and `only_b`.
    """
    linear = assumed * (2 * n - only_a + only_b) - only_a - only_b
    root = linear * linear + 8 * n * only_b * assumed * (1 - assumed)
    q = (abs(root) ** 0.5 - linear) / (4 * n)  # abs: negative by rounding only
    return only_a - only_b - n * assumed, n * (2 * q + assumed * (1 - assumed))


def mcnemar(*, only_a: int, only_b: int) -> float | None:
    """Return the two-sided p-value of McNemar's exact test of equal shares, or None.

    Under the hypothesis the discordant problems are tosses of a fair coin. Without any there is no
    test, and the result is None. Q. McNemar (1947), Psychometrika 12: 153-157.
    """
    tosses, fewer = only_a + only_b, min(only_a, only_b)
    if tosses - 2 * fewer <= 1:  # as even as possible: both tails together are 1
        return 1.0 if tosses else None
    return 2 * float(at_most(fewer, tosses, 0.5))
