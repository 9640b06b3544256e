"""Group sequential tests of a growing experiment: levels, decisions and stopping for futility.

    parts = shares((4, 7, 10))              # (0.057, 0.043, 0.9): of the level, at each look
    over_looks([0.03, 0.004], [0.1, 0.1], parts[:2])    # 0.093: the p-value of both looks together
    decide([0.02, 0.3], estimates, [False, False], looks=(4, 7, 10), taken=1)

A look is an interim analysis at a number of seeds that was declared before the first run. A test
that is repeated at the full level whenever there is more data rejects true hypotheses too often. So
each look gets a share of the level, the shares sum to 1, and a comparison's p-value over its looks
is the smallest p / share (weighted Bonferroni). Under a true null hypothesis

    P(min p_k / w_k <= u) <= sum P(p_k <= w_k u) <= sum w_k u = u

for any correlation of the looks and any valid test. Leaving out a look, because an arm has stopped,
can only remove claims. Holm's method then corrects these p-values for the family.

The boundaries of K. K. G. Lan and D. L. DeMets (1983, Biometrika 70: 659-663) use the correlation
of the looks and could spend more at the early ones. But they assume normal means: for t statistics
over 4, 7 and 10 seeds, at the small levels of a family, they reject up to 1.14 times too often
(LOG.md). As with the boundaries of P. C. O'Brien and T. R. Fleming (1979, Biometrics 35: 549-556)
the early looks spend little, and the last keeps nearly all of the level.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from paribus.records import Settled
from paribus.statistics.crossed import Estimate, pooled, possible, tail
from paribus.statistics.power import ALPHA

EARLY = 0.1
"""Share of the level that all looks but the last spend together."""
UNLIKELY = 0.05
"""A comparison is given up if its predictive power at the last look is below this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The state of a comparison after a look.

    Attributes:
        state: shown, not shown, given up as unlikely, or open.
        chance: predictive power at the last look; None where the state does not depend on it.
    """

    state: Settled
    chance: float | None = None


def shares(looks: Sequence[int]) -> tuple[float, ...]:
    """Return the share of the level that each look may spend; the shares sum to 1.

    `looks` are numbers of seeds, ascending. The level spent by the early looks grows in proportion
    to the seeds: a steeper rise would leave the first look a level that few seeds cannot reach.
    """
    if len(looks) == 1:
        return (1.0,)
    *early, _ = looks
    spent = [EARLY * seeds / early[-1] for seeds in early] + [1.0]
    return tuple(after - before for after, before in zip(spent, [0.0, *spent[:-1]], strict=True))


def over_looks(
    p_values: Sequence[float | None], differences: Sequence[float | None], parts: Sequence[float]
) -> float | None:
    """Return the p-value over all looks taken so far; None if there was no test at the last one.

    `parts` are the shares of these looks. Looks at which the difference had the opposite sign of
    the last one's do not count, because a claim is about the direction at the last look.
    """
    same_sign = [
        p if (difference or 0.0) * (differences[-1] or 0.0) >= 0 else None
        for p, difference in zip(p_values, differences, strict=True)
    ]
    return least(same_sign, parts)


def least(p_values: Sequence[float | None], parts: Sequence[float]) -> float | None:
    """Return the smallest p / share, at most 1; None if there was no test at the last look."""
    if p_values[-1] is None:
        return None
    weighted = [p / part for p, part in zip(p_values, parts, strict=True) if p is not None]
    return min(1.0, *weighted)


def decide(
    corrected: Sequence[float | None],
    estimates: Sequence[Estimate | None],
    given_up: Sequence[bool],
    *,
    looks: Sequence[int],
    taken: int,
) -> list[Decision]:
    """Return the states of a family's comparisons after the first `taken` of `looks`.

    Args:
        corrected: p-value of each comparison over its looks, corrected for the family.
        estimates: the estimates at this look; None where there is no test.
        given_up: whether an earlier look gave the comparison up. It stays given up, unless it is
            shown; giving up makes no claim, so the level needs no allowance for it.
        looks: declared numbers of seeds, ascending.
        taken: how many of `looks` have been taken.
    """
    shown = [p is not None and p < ALPHA for p in corrected]
    level = ALPHA * shares(looks)[-1] / max(1, shown.count(False))
    now, last = looks[taken - 1], looks[-1]

    def decision(is_shown: bool, estimate: Estimate | None, was_given_up: bool) -> Decision:
        if is_shown:
            return Decision(state=Settled.SHOWN)
        if was_given_up or now == last:
            return Decision(state=Settled.UNLIKELY if was_given_up else Settled.NOT_SHOWN)
        odds = 0.0 if estimate is None else chance(estimate, now=now, last=last, level=level)
        return Decision(state=Settled.UNLIKELY if odds < UNLIKELY else Settled.OPEN, chance=odds)

    return [decision(*args) for args in zip(shown, estimates, given_up, strict=True)]


def chance(estimate: Estimate, *, now: int, last: int, level: float) -> float:
    """Return the predictive power at the last look: how likely its test is to pass at `level`.

    `now` and `last` are numbers of seeds. Further seeds are drawn around the estimated difference,
    averaged over the variances `possible`; the problems stay the same (D. J. Spiegelhalter,
    L. S. Freedman, P. R. Blackburn 1986, Controlled Clinical Trials 7: 8-17). It decides when to
    stop for futility, never what is claimed.
    """
    if not estimate.varies or not estimate.seeds:
        return 0.0
    total, freedom = pooled(estimate.seeds)
    later, left = now / last, 1 - now / last
    expected = float(total) * later
    needed = _distance(estimate, expected, float(freedom) * (last - 1) / (now - 1), level)
    # The critical distance in standard errors is taken as the same for all true variances.
    true = possible(total, freedom)
    scale = (estimate.shared[0] + true * later) / (estimate.shared[0] + expected)
    reach, drift = needed * np.sqrt(scale), np.sqrt(true * left)
    drift = np.maximum(drift, 1e-12)  # without variance among seeds the result is certain
    passed = ndtr((estimate.value - reach) / drift) + ndtr((-estimate.value - reach) / drift)
    return float(np.mean(passed))


def _distance(estimate: Estimate, variance: float, freedom: float, level: float) -> float:
    """Return the difference that just passes at `level` with this variance of seeds; at most 1."""
    from scipy.optimize import brentq  # slow to import: only a declared look needs it

    variances = possible(variance, freedom)

    def above(distance: float) -> float:
        return float(tail(distance, estimate.shared, variances)) - level

    return 1.0 if above(1.0) >= 0 else float(brentq(above, 0.0, 1.0, xtol=1e-5))
