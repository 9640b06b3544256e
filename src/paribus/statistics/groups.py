"""Groups of dependent problems, such as those made from one template.

    groups = numbered(["a", "b", "a", ""])              # [0, 1, 0, 2]
    squares(values, groups)                             # sum of squares, by group
    worth(4, groups)                                    # 2.7: effective number of groups

`None` in place of groups means that problems are independent.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Groups = NDArray[np.intp]
"""[n] the group of each problem, numbered 0, 1, ... without gaps."""


def numbered(labels: Sequence[str]) -> Groups | None:
    """Return labels as group numbers; each "" is a group of its own. None if all labels are ""."""
    if not any(labels):
        return None
    numbers: dict[tuple[str, int], int] = {}
    keys = [(label, 0 if label else index) for index, label in enumerate(labels)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)


def sums(values: NDArray[np.float64], groups: Groups | None) -> NDArray[np.float64]:
    """Return the sums of `values` [n] by group [G], or `values` without groups."""
    return values if groups is None else np.bincount(groups, weights=values).astype(np.float64)


def squares(
    values: NDArray[np.float64], groups: Groups | None, sizes: ArrayLike | None = None
) -> float:
    """Return the sum of squares of `values` [n], which sum to 0; of sums by group with groups.

    Divided by the square of the total of `sizes`, it is the variance of the mean. `sizes` [n] are
    the weights of the problems in the mean, 1 by default.

    For groups it is the jackknife's, CR3 of J. G. MacKinnon, M. O. Nielsen, M. D. Webb (2023),
    J. Econometrics 232: 272-299, from the mean without each group. The usual sum of squares times
    G / (G - 1) is too small if sizes differ, because a large group pulls the mean towards itself;
    for equal sizes both are the same.
    """
    if groups is None:
        return float(values @ values)
    weights = np.ones(len(groups)) if sizes is None else np.asarray(sizes, float)
    totals = np.bincount(groups, weights=weights)
    if len(totals) < 2:
        return 0.0  # one group gets no interval: see `crossed.too_uncertain`
    left_out = sums(values, groups) / (1 - totals / totals.sum())
    return float(left_out @ left_out) * (len(totals) - 1) / len(totals)


def worth(n: int, groups: Groups | None) -> float:
    """Return the effective number of groups (L. Kish 1965, Survey Sampling); n without groups."""
    if groups is None:
        return float(n)
    sizes = np.bincount(groups)
    return float(sizes.sum() ** 2 / (sizes @ sizes))
