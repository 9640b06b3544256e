"""Problems that belong together, such as those made from one template: sums, squares, how many.

    groups = numbered(["a", "b", "a", ""])              # [0, 1, 0, 2]
    squares(values, groups)                             # of the groups' sums, added up
    worth(groups)                                       # 2.7 groups of one size say as much

`None` in place of groups: each problem stands alone.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Groups = NDArray[np.intp]
"""[n] the group of each problem, numbered 0, 1, ... without gaps."""


def numbered(labels: Sequence[str]) -> Groups | None:
    """Return labels as group numbers; "" is a group of its own. None if there are no groups."""
    if not any(labels):
        return None
    numbers: dict[tuple[str, int], int] = {}
    keys = [(label, 0 if label else place) for place, label in enumerate(labels)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)


def sums(values: NDArray[np.float64], groups: Groups | None) -> NDArray[np.float64]:
    """Return `values` [n] added up by group [G], or as they are."""
    return values if groups is None else np.bincount(groups, weights=values).astype(np.float64)


def squares(
    values: NDArray[np.float64], groups: Groups | None, sizes: ArrayLike | None = None
) -> float:
    """Return the squares of `values` [n], which sum to 0, added up by group first.

    Over the square of the total of `sizes` ([n], a problem's weight in the mean; one each) that is
    the variance of the mean. For groups it is the jackknife's, CR3 of J. G. MacKinnon, M. O.
    Nielsen, M. D. Webb (2023), J. Econometrics 232: 272-299: each group's sum is what the mean
    lacks without it. Where sizes differ the plain sum, times G/(G-1), is too small: a large group
    pulls the mean to itself. Where they are equal both are the same.
    """
    if groups is None:
        return float(values @ values)
    weights = np.ones(len(groups)) if sizes is None else np.asarray(sizes, float)
    of_groups = np.bincount(groups, weights=weights)
    if len(of_groups) < 2:
        return 0.0  # nothing to compare it with: see `crossed.too_uncertain`
    left_out = sums(values, groups) / (1 - of_groups / of_groups.sum())
    return float(left_out @ left_out) * (len(of_groups) - 1) / len(of_groups)


def worth(n: int, groups: Groups | None) -> float:
    """Return how many groups of one size say as much as these: L. Kish (1965), Survey Sampling.

    Of problems that stand alone: n.
    """
    if groups is None:
        return float(n)
    sizes = np.bincount(groups)
    return float(sizes.sum() ** 2 / (sizes @ sizes))
