"""How accuracy, mean score or loss changes with the number of training problems, where that varies.

    (line,) = scaling(tables)           # one for each combination of the other factors
    line.sizes, line.per_doubling       # (250, 500, 1000, 2000), 0.041
    line.gain, line.interval            # of `line.more` further training problems

`data.train_size` draws nested sets, so arms that differ in it alone are a curve. The trend is a
straight line over the logarithm of the size, fitted by least squares to the arms' means: a weighted
sum of them, whose interval is that of every other comparison (`statistics/crossed`; of scores and
losses `statistics/real`). What more problems would bring goes on along that line; nobody has tested
it there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import Any

import numpy as np

from paribus.analysis.contrasts import of_shared_seeds, pairs_seeds
from paribus.analysis.pairing import Aligned, align
from paribus.analysis.tables import Arm, Run, Tables
from paribus.records import Measure
from paribus.statistics.crossed import components, estimate, too_uncertain
from paribus.statistics.intervals import Interval
from paribus.statistics.real.comparison import combine

FACTOR = "data.train_size"
LEAST = 3
"""Sizes of a curve: two make a difference, which is compared already."""
MORE = 2000
"""Further training problems that are asked about, or as many as the largest arm had, if fewer: a
trend is not carried beyond one doubling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Arms that differ in the number of training problems alone.

    Attributes:
        label: values of the other factors; "" if there is none.
        arms: names, the smallest first; sizes: training problems of each.
        measure: what means are of.
        means: share solved, mean score or mean loss of each, over its seeds.
        more: further training problems asked about.
        per_doubling: change of the mean by twice as many training problems, of the fitted trend;
            interval_per_doubling: 95 %. None if there is no interval for `reason`.
        gain: what `more` would bring beyond the largest arm; interval: 95 %.
    """

    label: str
    arms: tuple[str, ...]
    sizes: tuple[int, ...]
    means: tuple[float, ...]
    more: int
    measure: Measure = Measure.SOLVED
    per_doubling: float | None = None
    interval_per_doubling: Interval | None = None
    gain: float | None = None
    interval: Interval | None = None
    reason: str = ""


def scaling(tables: Tables) -> list[Scaling]:
    """Return a curve for each set of at least three tuned arms that differ in their size alone."""
    groups: dict[str, list[Arm]] = {}
    for arm in tables.arms:
        if FACTOR in arm.factors and not arm.untuned:
            others = {key: value for key, value in arm.factors.items() if key != FACTOR}
            groups.setdefault(", ".join(map(_text, others.values())), []).append(arm)
    return [
        curve
        for label, arms in groups.items()
        if (curve := _curve(tables, label, arms)) is not None
    ]


def _text(value: Any) -> str:
    return str(value).rpartition("/")[2]


def _curve(tables: Tables, label: str, arms: list[Arm]) -> Scaling | None:
    by_size = {
        size: runs
        for arm in arms
        if (runs := tables.complete_of(arm.name)) and (size := _size(runs)) is not None
    }
    sizes = sorted(by_size)
    if len(sizes) < LEAST:
        return None
    of_arms: list[Sequence[Run]] = [by_size[size] for size in sizes]
    paired = pairs_seeds(tables, of_arms)
    of_arms = of_shared_seeds(of_arms) if paired else of_arms
    lined_up = align(of_arms)
    if not lined_up.keys or not all(of_arms):
        return None
    more = min(MORE, sizes[-1])
    means = tuple(float(table.mean()) for table in lined_up.compared)
    weights = _slope_weights(sizes)
    slope = sum(weight * mean for weight, mean in zip(weights, means, strict=True))
    doublings = log2((sizes[-1] + more) / sizes[-1])
    interval, reason = _of_slope(lined_up, weights, paired=paired)
    return Scaling(
        label=label,
        arms=tuple(runs[0].arm for runs in of_arms),
        sizes=tuple(sizes),
        measure=lined_up.measure,
        means=means,
        more=more,
        per_doubling=slope,
        interval_per_doubling=interval,
        gain=slope * doublings,
        interval=interval and Interval(interval.low * doublings, interval.high * doublings),
        reason=reason,
    )


def _of_slope(
    lined_up: Aligned, weights: Sequence[float], *, paired: bool
) -> tuple[Interval | None, str]:
    """Return the interval of the weighted sum of the arms' means, or why there is none."""
    if lined_up.measure is not Measure.SOLVED:
        weighted = list(zip(weights, lined_up.values, strict=True))
        tested = combine(weighted, lined_up.groups, paired=paired)
        return tested.interval, tested.reason
    parts = [components(solved) for solved in lined_up.solved]
    if reason := too_uncertain(parts, lined_up.groups):
        return None, reason
    weighted_parts = list(zip(weights, parts, strict=True))
    return estimate(weighted_parts, lined_up.groups, paired=paired).interval, ""


def _size(runs: Sequence[Run]) -> int | None:
    return next((run.data.train_problems for run in runs if run.data), None)


def _slope_weights(sizes: list[int]) -> list[float]:
    """Return what each arm's mean counts in the least-squares slope over log2 of its size."""
    x = np.log2(sizes)
    centred = x - x.mean()
    return [float(weight) for weight in centred / (centred @ centred)]
