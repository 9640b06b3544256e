"""Compare two tables of solved problems: interval, test, verdict, smallest detectable difference.

    tested = compare(a, b)                  # [R, n] booleans each, the same problems in columns
    decide(holm([tested.p_value])[0], 0.04)             # Verdict.NOT_SHOWN

| runs                              | speaks of          | interval       | test              |
|-----------------------------------|--------------------|----------------|-------------------|
| one of each arm                   | two trained models | score, paired  | McNemar, exact    |
| several seeds of each tuned arm   | the methods        | crossed, t     | Behrens-Fisher    |
| one of each, problems in groups   | two trained models | clustered, t   | t                 |
| several, declared to be paired    | the methods        | crossed, t     | Behrens-Fisher    |
| several that exist (`existing`)   | these models       | by problem, t  | t                 |

Where a test would mean nothing there is none, and `reason` says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from paribus.statistics import power
from paribus.statistics.accuracy import as_existing
from paribus.statistics.crossed import (
    Estimate,
    components,
    estimate,
    too_uncertain,
)
from paribus.statistics.detectable import Range, detectable_by, range_by
from paribus.statistics.family import Asked, corrected
from paribus.statistics.groups import Groups
from paribus.statistics.intervals import Interval, mcnemar, paired_difference
from paribus.statistics.power import ALPHA


class Verdict(StrEnum):
    """What a test says of "a is better than b"."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    """b is better than a."""
    NOT_SHOWN = "not_shown"


class Scope(StrEnum):
    """What a verdict speaks of."""

    MODELS = "models"
    """These two trained models, on problems like these."""
    METHODS = "methods"
    """The two ways to make a model, over their seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """What a comparison gives; `crossed` if it was made over seeds or groups."""

    interval: Interval | None = None
    p_value: float | None = None
    reason: str = ""
    crossed: Estimate | None = None


SAME = "both solve the very same problems"
"""Why there is no test: nothing tells the arms apart."""

Solved = NDArray[np.bool_]
"""[R, n]: whether each of R runs solved each of n problems."""


def compare(
    a: Solved,
    b: Solved,
    groups: Groups | None = None,
    *,
    paired: bool = False,
    existing: tuple[bool, bool] = (False, False),
) -> Tested:
    """Return the interval and the test of mean(a) - mean(b), [R, n] each over the same problems.

    One run is a model that exists; `existing` says so of all runs of a, or of b: other problems
    are uncertain then, not other seeds. `paired` seeds: row by row a and b share what a seed
    decides, so they have as many. See the table above.
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
    found = estimate([(1.0, arms[0]), (-1.0, arms[1])], groups, paired=paired)
    low, high = found.interval.low, found.interval.high
    return Tested(
        interval=Interval(max(-1.0, low), min(1.0, high)),
        p_value=found.p_value,
        reason="" if found.varies else SAME,
        crossed=found,
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the p-values corrected for their number; None, no test, counts as a test failed.

    `family.corrected` where nothing but a difference is asked of each.
    """
    return [each.differ for each in corrected([Asked(differ=p) for p in p_values])]


def decide(p_holm: float | None, difference: float | None) -> Verdict:
    """Return the verdict: supported or refuted if the corrected p is below ALPHA."""
    if p_holm is None or p_holm >= ALPHA or not difference:
        return Verdict.NOT_SHOWN
    return Verdict.SUPPORTED if difference > 0 else Verdict.REFUTED


def detectable(tested: Tested, a: Solved, b: Solved, comparisons: float) -> float | None:
    """Return the smallest difference that would be shown 8 times in 10 in such a family.

    It is what `plan` foresees, with the accuracies and variances found in place of assumed ones.
    """
    if tested.crossed is not None:
        return detectable_by(tested.crossed, ALPHA / comparisons)
    if tested.interval is None:
        return None
    correlation = _correlation(a[0], b[0])
    design = power.Design(n=a.shape[1], correlation=correlation, comparisons=comparisons)
    return power.detectable_about(design, float(a.mean() + b.mean()) / 2)


def detectable_range(tested: Tested, comparisons: float) -> Range | None:
    """Return what `detectable` may truly be, as far as the seeds say; None with one seed."""
    return range_by(tested.crossed, ALPHA / comparisons) if tested.crossed else None


def _correlation(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Correlation of two columns of booleans; 0 where one of them does not vary."""
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
