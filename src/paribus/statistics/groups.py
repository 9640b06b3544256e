"""Groups of dependent problems, such as those made from one template.

    groups = numbered(["a", "b", "a", ""])              # [0, 1, 0, 2]
    squares(values, groups)                             # sum of squares, by group
    worth(4, groups)                                    # 2.7: effective number of groups

`None` in place of groups means that problems are independent.

Variance from the problems in which two sides differ, under an assumed true difference.

    apart = discordance(values, scale=1.0)      # [n]: mean of A minus mean of B for each problem
    apart.variance(0.08)                        # of the mean difference, if A truly solves 8 % more

Two arms that agree on all of 30 problems may still differ: by up to 11 points, according to
T. Tango's interval for two models (`intervals.paired_difference`). The estimated variance of such a
table is 0, and seeds that agree add none. So the variance from problems is never taken as less than
that of Tango's score test under the assumed difference, with these replacements:

    jump    the mean change by one problem in which the sides differ: 1 where all seeds of an arm
            agree, a third where one of three differs, more where problems of a group go together
    n       becomes n / jump; the counts of problems that only A or only B solves become those that
            give the sum and the sum of squares of the differences

For two models this is Tango's interval with Student's quantile in place of the normal one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from paribus.statistics.intervals import score_parts

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Discordance:
    """Sums over the differences of two sides, one difference per problem.

    Attributes:
        n: number of problems.
        scale: the difference in a problem that one side always solves and the other never.
        whole: the sum of that difference over a group of effective size.
        net: sum of the differences.
        size: sum of their absolute values.
        squares: sum of their squares; of the sums by group where problems of a group go together.
    """

    n: int
    scale: float
    whole: float
    net: float
    size: float
    squares: float

    @property
    def jump(self) -> float:
        """Mean change of `net` by one discordant problem or group; 0 if nothing differs."""
        return self.squares / self.size if self.size else 0.0

    def variance(self, assumed: float) -> float:
        """Return the least variance of the mean difference under a true difference of `assumed`."""
        # Count one more jump, of a whole group: from few differences the size of the next one is
        # uncertain.
        jump = (self.squares + self.scale**2) / (self.size + self.scale**2 / self.whole)
        balance = self.net / jump
        rarer = max(0.0, self.squares / jump**2 - abs(balance)) / 2
        only_a, only_b = rarer + max(balance, 0.0), rarer + max(-balance, 0.0)
        units = self.n * self.scale / jump
        share = min(1.0, max(-1.0, assumed / self.scale))
        _, spread = score_parts(only_a, only_b, units, share)
        # What all problems of a group have in common on average is not a jump.
        common = (1 - jump / self.whole) * self.net**2 / self.n
        return max(0.0, float(jump**2 * spread - common)) / self.n**2


def discordance(
    values: NDArray[np.float64], scale: float, groups: Groups | None = None
) -> Discordance:
    """Return the sums over `values` [n], differences from -scale to scale."""
    n, group_sums, net = len(values), sums(values, groups), float(values.sum())
    members = n / worth(n, groups)
    # Sums by group also grow with the mean of independent problems: subtract that part.
    together = float(group_sums @ group_sums) - (members - 1) * net**2 / n
    return Discordance(
        n=n,
        scale=scale,
        whole=scale * members,
        net=net,
        size=float(np.abs(values).sum()),
        squares=max(together, float(values @ values)),
    )
