"""How often so many of some independent tosses come out heads.

    at_least(12, 14, 0.5)       # 0.0065

By the incomplete beta function: `scipy.stats`, which has these too, takes longer to import than a
small comparison takes.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc


def at_least(heads: ArrayLike, tosses: ArrayLike, chance: ArrayLike) -> NDArray[np.float64]:
    """Return P(X >= heads) for each of these, `heads` from 0 to one more than `tosses`."""
    heads, tosses = np.asarray(heads, float), np.asarray(tosses, float)
    found = betainc(heads, tosses - heads + 1, chance)
    return np.where(heads <= 0, 1.0, np.where(heads > tosses, 0.0, found))  # whatever the chance


def at_most(heads: ArrayLike, tosses: ArrayLike, chance: ArrayLike) -> NDArray[np.float64]:
    """Return P(X <= heads) for each of these, `heads` from -1 to `tosses`."""
    heads, tosses = np.asarray(heads, float), np.asarray(tosses, float)
    return at_least(tosses - heads, tosses, 1 - np.asarray(chance))
