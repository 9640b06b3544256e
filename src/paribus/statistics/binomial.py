"""Tail probabilities of the binomial distribution.

    at_least(12, 14, 0.5)       # 0.0065

They use the incomplete beta function of `scipy.special`: importing `scipy.stats` takes longer than
a small comparison.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc


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
