"""Compare the outcomes of two arms: interval, test, verdict and smallest detectable difference.

    tested = compare(a, b)                  # [R, n] booleans each, the same problems in columns
    decide(holm([tested.p_value])[0], 0.04)             # Verdict.NOT_SHOWN

| runs                              | speaks of          | interval       | test              |
|-----------------------------------|--------------------|----------------|-------------------|
| one of each arm                   | two trained models | score, paired  | McNemar, exact    |
| several seeds of each tuned arm   | the methods        | crossed, t     | Behrens-Fisher    |
| one of each, problems in groups   | two trained models | clustered, t   | t                 |
| several, declared to be paired    | the methods        | crossed, t     | Behrens-Fisher    |
| several given models (`existing`) | these models       | by problem, t  | t                 |

Where no test is possible, `reason` says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from paribus.statistics import power
from paribus.statistics.accuracy import as_existing
from paribus.statistics.crossed import Estimate, components, estimate, too_uncertain
from paribus.statistics.detectable import Range, detectable_by, range_by
from paribus.statistics.family import Asked, corrected
from paribus.statistics.groups import Groups
from paribus.statistics.intervals import Interval, mcnemar, paired_difference
from paribus.statistics.power import ALPHA


class Verdict(StrEnum):
    """The verdict on the claim that a is better than b."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    """b is better than a."""
    NOT_SHOWN = "not_shown"


class Scope(StrEnum):
    """What a verdict generalizes to."""

    MODELS = "models"
    """The two trained models, on further problems of the same kind."""
    METHODS = "methods"
    """The two methods, over further seeds and problems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """The result of a comparison.

    Attributes:
        interval: 95 % interval of the difference, as shares; None if there is too little data.
        p_value: two-sided, uncorrected; None if there is no test.
        reason: why there is no test, or "".
        crossed: the estimate over seeds or groups; None if each arm has one run and no groups.
    """

    interval: Interval | None = None
    p_value: float | None = None
    reason: str = ""
    crossed: Estimate | None = None


SAME = "both solve the very same problems"
"""The reason for no test where no problem is discordant."""

Solved = NDArray[np.bool_]
"""[R, n]: whether run r solved problem i."""


def compare(
    a: Solved,
    b: Solved,
    groups: Groups | None = None,
    *,
    paired: bool = False,
    existing: tuple[bool, bool] = (False, False),
) -> Tested:
    """Return the interval and the test of mean(a) - mean(b). The table above lists the methods.

    Args:
        a: outcomes [R, n] of an arm.
        b: outcomes of the other arm on the same problems; R may differ.
        groups: the group of each problem; None if problems are independent.
        paired: whether row i of a and of b has the same seed; then both have the same R.
        existing: for a and for b, whether the runs are given models and not a sample of seeds.
            Then only problems are uncertain. An arm with one run is always a given model.
    """
    if len(a) == len(b) == 1 and groups is None:
        only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
        p = mcnemar(only_a=only_a, only_b=only_b)
        interval = paired_difference(only_a=only_a, only_b=only_b, n=a.shape[1])
        reason = SAME if p is None else ""
        return Tested(interval=interval, p_value=p, reason=reason)
    arms = [
        as_existing(components(solved)) if fixed else components(solved)
        for solved, fixed in zip((a, b), existing, strict=True)
    ]
    reason = too_uncertain(arms, groups)
    if reason:
        return Tested(reason=reason)
    difference = estimate([(1.0, arms[0]), (-1.0, arms[1])], groups, paired=paired)
    low, high = difference.interval.low, difference.interval.high
    return Tested(
        interval=Interval(max(-1.0, low), min(1.0, high)),
        p_value=difference.p_value,
        reason="" if difference.varies else SAME,
        crossed=difference,
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values corrected by Holm's method. None, no test, counts as a test too.

    It is `family.corrected` for comparisons without a margin or further hypotheses.
    """
    return [p.differ for p in corrected([Asked(differ=p) for p in p_values])]


def decide(p_holm: float | None, difference: float | None) -> Verdict:
    """Return supported or refuted, by the sign of `difference`, if `p_holm` < ALPHA."""
    if p_holm is None or p_holm >= ALPHA or not difference:
        return Verdict.NOT_SHOWN
    return Verdict.SUPPORTED if difference > 0 else Verdict.REFUTED


def detectable(tested: Tested, a: Solved, b: Solved, comparisons: float) -> float | None:
    """Return the smallest difference that this comparison would show with a power of 0.8.

    As in `plan`, but with the measured accuracies and variances. `comparisons` is the size of the
    family. None where no difference has that power, or without an interval.
    """
    if tested.crossed is not None:
        return detectable_by(tested.crossed, ALPHA / comparisons)
    if tested.interval is None:
        return None
    correlation = _correlation(a[0], b[0])
    design = power.Design(n=a.shape[1], correlation=correlation, comparisons=comparisons)
    return power.detectable_about(design, float(a.mean() + b.mean()) / 2)


def detectable_range(tested: Tested, comparisons: float) -> Range | None:
    """Return the range of `detectable` over the seeds' variance; None without several seeds."""
    return range_by(tested.crossed, ALPHA / comparisons) if tested.crossed else None


def _correlation(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return the correlation of two [n] outcomes; 0 if one of them is constant."""
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
