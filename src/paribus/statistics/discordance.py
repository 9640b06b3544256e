"""Variance from the problems in which two sides differ, under an assumed true difference.

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

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paribus.statistics.groups import Groups, sums, worth
from paribus.statistics.intervals import score_parts


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
