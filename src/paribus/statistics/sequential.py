"""Looking at growing data at times that were declared beforehand: levels, decisions, giving up.

    parts = shares((4, 7, 10))              # (0.057, 0.043, 0.9): of the level, at each look
    over_looks([0.03, 0.004], [0.1, 0.1], parts[:2])    # 0.093: the p-value of both looks together
    decide([0.02, 0.3], estimates, [False, False], looks=(4, 7, 10), taken=1)

A test repeated whenever there is more data claims too often: each look is another chance to be
wrong. So each look gets a share of the level, the shares sum to 1, and a comparison's p-value over
its looks is the least of p / share (Bonferroni, weighted). Under a true null

    P(min p_k / w_k <= u) <= sum P(p_k <= w_k u) <= sum w_k u = u

whatever the looks have in common, whatever test made each p, and whichever looks are left out
because an arm had stopped: a look that is not taken can only take claims away. Holm then corrects
these p-values for the family as any others. The boundaries of K. K. G. Lan and D. L. DeMets (1983,
Biometrika 70: 659-663) reckon with the looks' correlation and could spend more early on; but theirs
is that of normal means: for t statistics over 4, 7 and 10 seeds, at the small levels of a family,
they claim up to 1.14 times too often (LOG.md). So the early looks spend little, as those of P. C.
O'Brien and T. R. Fleming (1979, Biometrics 35: 549-556) do, and the last keeps nearly all.
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
"""A comparison is given up where its chance of being shown by the last look is below this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How a comparison stands, and its chance of being shown by the last look, where asked."""

    state: Settled
    chance: float | None = None


def shares(looks: Sequence[int]) -> tuple[float, ...]:
    """Return the share of the level that each look may spend: they sum to 1.

    `looks` are numbers of seeds, ascending. Among the early ones what is spent by then grows with
    the seeds: a steeper rise leaves the first look nothing that a test of few seeds could pass.
    """
    if len(looks) == 1:
        return (1.0,)
    *early, _ = looks
    spent = [EARLY * seeds / early[-1] for seeds in early] + [1.0]
    return tuple(now - before for now, before in zip(spent, [0.0, *spent[:-1]], strict=True))


def over_looks(
    p_values: Sequence[float | None], differences: Sequence[float | None], parts: Sequence[float]
) -> float | None:
    """Return the p-value of all looks taken so far together; None if the last made no test.

    `parts` are their shares. A look whose difference has the other sign than the last one's does
    not count: what is claimed is claimed of the last one's direction.
    """
    agree = [
        p if (difference or 0.0) * (differences[-1] or 0.0) >= 0 else None
        for p, difference in zip(p_values, differences, strict=True)
    ]
    return least(agree, parts)


def least(p_values: Sequence[float | None], parts: Sequence[float]) -> float | None:
    """Return the p-value of tests of one hypothesis at all looks; None if the last made none."""
    if p_values[-1] is None:
        return None
    found = [p / part for p, part in zip(p_values, parts, strict=True) if p is not None]
    return min(1.0, *found)


def decide(
    corrected: Sequence[float | None],
    found: Sequence[Estimate | None],
    given_up: Sequence[bool],
    *,
    looks: Sequence[int],
    taken: int,
) -> list[Decision]:
    """Return how the comparisons of a family stand after the first `taken` of `looks`.

    `corrected` are their p-values over looks, for the family; `found` their estimates at this look,
    None where nothing can be tested; `given_up` those that an earlier look gave up, which stay so
    unless they are shown none the less. Giving up binds nobody: it claims nothing.
    """
    shown = [p is not None and p < ALPHA for p in corrected]
    level = ALPHA * shares(looks)[-1] / max(1, shown.count(False))
    now, last = looks[taken - 1], looks[-1]

    def of(is_shown: bool, estimate: Estimate | None, gone: bool) -> Decision:
        if is_shown:
            return Decision(state=Settled.SHOWN)
        if gone or now == last:
            return Decision(state=Settled.UNLIKELY if gone else Settled.NOT_SHOWN)
        odds = 0.0 if estimate is None else chance(estimate, now=now, last=last, level=level)
        return Decision(state=Settled.UNLIKELY if odds < UNLIKELY else Settled.OPEN, chance=odds)

    return [of(*each) for each in zip(shown, found, given_up, strict=True)]


def chance(found: Estimate, *, now: int, last: int, level: float) -> float:
    """Return how likely `found`, of `now` seeds, is to pass its test at `level` with `last` seeds.

    Predictive power: the seeds to come scatter about the difference found as the seeds so far may
    truly do, averaged over the variances `possible`; the problems stay as they are (D. J.
    Spiegelhalter, L. S. Freedman, P. R. Blackburn 1986, Controlled Clinical Trials 7: 8-17). It
    decides when to stop trying, never what is claimed.
    """
    if not found.varies or not found.seeds:
        return 0.0
    total, freedom = pooled(found.seeds)
    later, left = now / last, 1 - now / last
    expected = float(total) * later
    needed = _distance(found, expected, float(freedom) * (last - 1) / (now - 1), level)
    # As many standard errors as that, whatever the seeds' variance truly is.
    true = possible(total, freedom)
    scale = (found.shared[0] + true * later) / (found.shared[0] + expected)
    reach, drift = needed * np.sqrt(scale), np.sqrt(true * left)
    drift = np.maximum(drift, 1e-12)  # where no seed varies it is decided already
    passed = ndtr((found.value - reach) / drift) + ndtr((-found.value - reach) / drift)
    return float(np.mean(passed))


def _distance(found: Estimate, variance: float, freedom: float, level: float) -> float:
    """Return the difference that just passes at `level` with this variance among seeds; at most 1.

    No difference of shares is larger.
    """
    from scipy.optimize import brentq  # slow to import: only a declared look needs it

    variances = possible(variance, freedom)

    def above(distance: float) -> float:
        return float(tail(distance, found.shared, variances)) - level

    return 1.0 if above(1.0) >= 0 else float(brentq(above, 0.0, 1.0, xtol=1e-5))
