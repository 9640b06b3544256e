"""How many problems tell two sides apart, and how many would have to if they truly differed.

    apart = discordance(values, scale=1.0)      # [n]: A's mean of each problem minus B's
    apart.variance(0.08)                        # of the problems' part, if A truly solved 8 % more

Two arms that agree on all of 30 problems may still differ: by up to 11 points, says T. Tango's
interval (`intervals.paired_difference`) for two models. The variance found in such a table is 0,
and seeds that agree add none, however many. So the variance of the problems is never taken as less
than Tango's score test has it under the difference that is being tried, for as many problems as
the table is worth:

    jump    what one problem that tells the sides apart moves: 1 where all seeds of an arm do the
            same, a third where one of three does; more where problems of a group go together
    n       becomes n / jump, and the problems that only A, or only B, solves become as many as give
            the sum and the squares of the differences found

For two models it is Tango's interval, but for Student's quantile in place of the normal one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paribus.statistics.groups import Groups, sums, worth
from paribus.statistics.intervals import score_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Discordance:
    """What tells two sides apart.

    Attributes:
        n: problems.
        scale: the difference of sides of which one solves every problem and the other none.
        whole: that difference, over the problems of one group.
        net: sum of the problems' differences.
        size: sum of how large they are.
        squares: of the differences, added up by group as far as they go together there.
    """

    n: int
    scale: float
    whole: float
    net: float
    size: float
    squares: float

    @property
    def jump(self) -> float:
        """What moves `net` at once, on average; 0 if nothing does."""
        return self.squares / self.size if self.size else 0.0

    def variance(self, assumed: float) -> float:
        """Return the least variance of the mean difference if it truly were `assumed`."""
        # With one more square, of a side that gains a whole group: where few problems tell the
        # sides apart, nobody knows how large the next jump is.
        jump = (self.squares + self.scale**2) / (self.size + self.scale**2 / self.whole)
        balance = self.net / jump
        fewer = max(0.0, self.squares / jump**2 - abs(balance)) / 2
        only_a, only_b = fewer + max(balance, 0.0), fewer + max(-balance, 0.0)
        units = self.n * self.scale / jump
        share = min(1.0, max(-1.0, assumed / self.scale))
        _, spread = score_parts(only_a, only_b, units, share)
        # What all problems have in common is no jump.
        common = (1 - jump / self.whole) * self.net**2 / self.n
        return max(0.0, float(jump**2 * spread - common)) / self.n**2


def discordance(
    values: NDArray[np.float64], scale: float, groups: Groups | None = None
) -> Discordance:
    """Return what tells the sides apart in `values` [n], differences from -scale to scale."""
    n, of_groups, net = len(values), sums(values, groups), float(values.sum())
    members = n / worth(n, groups)
    # Of independent problems, too, sums grow with their mean: no reason to call it a jump.
    together = float(of_groups @ of_groups) - (members - 1) * net**2 / n
    return Discordance(
        n=n,
        scale=scale,
        whole=scale * members,
        net=net,
        size=float(np.abs(values).sum()),
        squares=max(together, float(values @ values)),
    )
