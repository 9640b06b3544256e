"""Intervals and the paired test for counts of solved problems. Pure, tiny, each with its source.

    wilson(31, 100)                                    -> 0.228 to 0.406
    paired_difference(both=20, only_a=12, only_b=2, neither=16)  -> 0.056 to 0.329
    mcnemar(only_a=12, only_b=2)                       -> 0.013
    mcnemar(only_a=0, only_b=0)                        -> None: nothing to test

All intervals are 95 %. They cover the choice of test problems, nothing else: not the seed, not
the prompt, not the data the models were trained on.
"""

from dataclasses import dataclass
from math import sqrt

from scipy.stats import binomtest

CONFIDENCE = 0.95
"""Level of every interval paribus prints."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, as shares: 0.05 is five percent or five points."""

    low: float
    high: float


def wilson(correct: int, n: int) -> Interval:
    """Return the Wilson score interval of `correct` out of `n` (n > 0), without correction.

    E. B. Wilson (1927), J. Amer. Statist. Assoc. 22: 209-212; by scipy. It stays within
    [0, 1] and has a width even at 0 of n, which mean ± 2 standard errors has not.
    """
    found = binomtest(correct, n).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return Interval(float(found.low), float(found.high))


def paired_difference(*, both: int, only_a: int, only_b: int, neither: int) -> Interval:
    """Return the interval of share(A solves) - share(B solves) over the same problems.

    R. G. Newcombe (1998), "Improved confidence intervals for the difference between binomial
    proportions based on paired data", Statist. Med. 17: 2635-2650, method 10. The distances
    from each share to its Wilson limits are squared and added, less twice their product times
    the correlation phi of the two columns:

        low  = d - sqrt((a - a_low)² - 2 phi (a - a_low)(b_high - b) + (b_high - b)²)
        high = d + sqrt((a_high - a)² - 2 phi (a_high - a)(b - b_low) + (b - b_low)²)

    It is defined for every table with at least one problem, also without discordant pairs.
    """
    n = both + only_a + only_b + neither
    a, b = (both + only_a) / n, (both + only_b) / n
    of_a, of_b = wilson(both + only_a, n), wilson(both + only_b, n)
    phi = _phi(both, only_a, only_b, neither)
    down = _add_squares(a - of_a.low, of_b.high - b, phi)
    up = _add_squares(of_a.high - a, b - of_b.low, phi)
    difference = (only_a - only_b) / n
    # Within [-1, 1] by construction; rounding may step over by one unit in the last place.
    return Interval(max(-1.0, difference - down), min(1.0, difference + up))


def mcnemar(*, only_a: int, only_b: int) -> float | None:
    """Return the exact two-sided p-value that A and B solve equally many problems, or None.

    Q. McNemar (1947), Psychometrika 12: 153-157, in its exact form: the problems that only one
    of the two solves are coin tosses under the hypothesis. Without any there is no test: None.
    """
    tosses = only_a + only_b
    return float(binomtest(only_a, tosses, 0.5).pvalue) if tosses else None


def _phi(both: int, only_a: int, only_b: int, neither: int) -> float:
    """The correlation of the two columns, a positive one shrunk by n/2 as method 10 asks."""
    n = both + only_a + only_b + neither
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if margins == 0:
        return 0.0
    product = both * neither - only_a * only_b
    shrunk = max(product - n / 2, 0.0) if product > 0 else float(product)
    return shrunk / sqrt(margins)


def _add_squares(x: float, y: float, phi: float) -> float:
    """sqrt(x² - 2 phi x y + y²), never of a negative rounding error."""
    return sqrt(max(0.0, x * x - 2 * phi * x * y + y * y))
