"""Intervals and the exact test for counts of solved problems. Pure, tiny, each with its source.

    share(31, 100)                                               -> 0.228 to 0.406
    paired_difference(only_a=12, only_b=2, n=50)                 -> 0.061 to 0.345
    mcnemar(only_a=12, only_b=2)                                 -> 0.013
    mcnemar(only_a=0, only_b=0)                                  -> None: nothing to test

All intervals are 95 %. They are for problems that are independent of each other and for models
that exist: they cover the choice of test problems, nothing else. `crossed` has what covers
seeds and groups of problems. `benchmarks/calibration.py` measures how often each holds the truth.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any

from scipy.special import betainccinv, betaincinv, ndtri

from paribus.statistics.binomial import at_most

CONFIDENCE = 0.95
"""Level of every interval paribus prints."""
Z = -float(ndtri((1 - CONFIDENCE) / 2))
"""1.96: the standard normal quantile of that level."""
FEW = 15
"""Below this many solved, or unsolved, a share gets the exact interval: Wilson's falls to 91 %."""
_HALVINGS = 60
"""Bisections of [-1, 1]: the ends are found to 2e-18."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, as shares: 0.05 is five percent or five points."""

    low: float
    high: float


def share(correct: float, n: float) -> Interval:
    """Return the interval of `correct` out of `n` (n > 0), which may be effective counts.

    Wilson's score interval (E. B. Wilson 1927, J. Amer. Statist. Assoc. 22: 209-212); with fewer
    than `FEW` solved or unsolved the exact one of C. J. Clopper and E. S. Pearson (1934),
    Biometrika 26: 404-413. Both stay within [0, 1] and have a width at 0 of n.
    """
    few = min(correct, n - correct) < FEW
    return _clopper_pearson(correct, n) if few else _wilson(correct / n, n)


def _wilson(accuracy: float, n: float) -> Interval:
    middle = accuracy + Z**2 / (2 * n)
    reach = Z * sqrt(accuracy * (1 - accuracy) / n + Z**2 / (4 * n**2))
    whole = 1 + Z**2 / n
    return Interval(middle / whole - reach / whole, middle / whole + reach / whole)


def _clopper_pearson(correct: float, n: float) -> Interval:
    """Return the shares at which so many, or so few, solved would be a tail of (1 - 0.95) / 2."""
    tail = (1 - CONFIDENCE) / 2
    low = float(betaincinv(correct, n - correct + 1, tail)) if correct > 0 else 0.0
    high = float(betainccinv(correct + 1, n - correct, tail)) if correct < n else 1.0
    return Interval(low, high)


def paired_difference(*, only_a: int, only_b: int, n: int) -> Interval:
    """Return the interval of share(A solves) - share(B solves) over the same problems.

    The differences that the score test does not reject: T. Tango (1998), "Equivalence test and
    confidence interval for the difference in proportions for the paired-sample design",
    Statist. Med. 17: 891-908. It is defined for every table with at least one problem (n > 0), also
    without discordant pairs, and holds the truth more evenly than Newcombe's method 10, which is
    too wide for strongly correlated arms.
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
    """Tango's score statistic of `assumed` as the true difference: about standard normal."""
    distance, variance = score_parts(only_a, only_b, n, assumed)
    if variance <= 0.0:
        return 0.0 if distance == 0 else distance * float("inf")
    return float(distance / sqrt(variance))


def score_parts(only_a: Any, only_b: Any, n: float, assumed: float) -> tuple[Any, Any]:
    """Return how far a table lies from `assumed`, in problems, and the variance of that.

    Numbers or arrays of them. The share of problems that only B solves is estimated under the
    assumption: the root q of
    2n q² + (assumed (2n - a + b) - a - b) q - b assumed (1 - assumed) = 0.
    """
    linear = assumed * (2 * n - only_a + only_b) - only_a - only_b
    root = linear * linear + 8 * n * only_b * assumed * (1 - assumed)
    q = (abs(root) ** 0.5 - linear) / (4 * n)  # never below 0 but for rounding
    return only_a - only_b - n * assumed, n * (2 * q + assumed * (1 - assumed))


def mcnemar(*, only_a: int, only_b: int) -> float | None:
    """Return the exact two-sided p-value that A and B solve equally many problems, or None.

    Q. McNemar (1947), Psychometrika 12: 153-157, in its exact form: the problems that only one
    of the two solves are coin tosses under the hypothesis. Without any there is no test: None.
    """
    tosses, fewer = only_a + only_b, min(only_a, only_b)
    if tosses - 2 * fewer <= 1:  # as even as can be: the two tails are all there is
        return 1.0 if tosses else None
    return 2 * float(at_most(fewer, tosses, 0.5))
