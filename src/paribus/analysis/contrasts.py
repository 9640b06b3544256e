"""Compare two arms problem by problem. Pure: tables in, contrasts out.

    contrast(tables, "full-main", "lora-main", "method").p_value         # 0.003

All complete runs of both arms count. An arm with one run, an untuned one, and one whose runs are
not known to be separate training runs stand for models that exist; the others for methods, over
their seeds. Nothing is corrected here: `family` does that for all that is asked. Where a test would
mean nothing there is none, and `reason` says why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paribus.analysis.looks import at_looks, each_side, two_sided
from paribus.analysis.pairing import Aligned, align
from paribus.analysis.tables import Run, Tables
from paribus.records import Measure
from paribus.statistics.equivalence import not_worse, opposite
from paribus.statistics.groups import Groups, worth
from paribus.statistics.intervals import Interval
from paribus.statistics.power import ALPHA
from paribus.statistics.real import comparison, power
from paribus.statistics.verdicts import (
    Range,
    Scope,
    Split,
    Tested,
    Verdict,
    compare,
    decide,
    detectable,
    detectable_range,
    split,
)

_ROUNDING = 1e-9
"""Mean scores that differ by less are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Arm a against arm b, over the problems that all runs compared share.

    Attributes:
        measure: what the arms are compared by: problems solved, or scores.
        scope: what it speaks of.
        seeds: runs of a and of b.
        existing: tuned arms that stand for the models that exist, not for their method.
        n: problems in common. 0: nothing to compare.
        left_out: problems that only some of the runs were tested on.
        only_a: problems that a solves (more often than b, over seeds), or scores higher on, or has
            a lower loss on.
        only_b: likewise b.
        both: problems solved by every run of both; None of scores and losses.
        neither: problems solved by no run of either; None of scores and losses.
        difference: share solved, mean score or mean loss of a minus that of b; None if n is 0.
        by_seed: the difference of each replicate that both have; an untuned arm's run serves all.
        interval: 95 % interval of the difference; None where `reason` says why.
        p_value: two-sided, of all declared looks so far together; None where there is no test.
        p_holm: corrected for all that the experiment asks; see `family`.
        paired: whether its seeds were compared one by one, as declared.
        detectable: the smallest difference that would be shown 8 times in 10; None if none is
            large enough, or nobody asked.
        detectable_range: what that may truly be, as far as the seeds say; None with one seed.
        split: where its uncertainty comes from; None with one seed or without an interval.
        margin: the largest difference that would not matter, as a share; None if none is stated.
        p_not_worse: that a is not worse by `margin` or more, and that b is not; one-sided;
            corrected where `p_holm` is; None without a test.
        p_worse: that a is, and that b is; two-sided.
        reason: why there is no interval or no test; else "".
    """

    a: str
    b: str
    factor: str
    measure: Measure = Measure.SOLVED
    scope: Scope = Scope.MODELS
    seeds: tuple[int, int] = (0, 0)
    existing: tuple[str, ...] = ()
    n: int = 0
    left_out: int = 0
    only_a: int = 0
    only_b: int = 0
    both: int | None = 0
    neither: int | None = 0
    difference: float | None = None
    by_seed: tuple[float, ...] = ()
    interval: Interval | None = None
    p_value: float | None = None
    p_holm: float | None = None
    paired: bool = False
    detectable: float | None = None
    detectable_range: Range | None = None
    split: Split | None = None
    margin: float | None = None
    p_not_worse: tuple[float | None, float | None] = (None, None)
    p_worse: tuple[float | None, float | None] = (None, None)
    reason: str = ""

    @property
    def verdict(self) -> Verdict:
        """Of "a solves more than b", "a scores higher than b" or "a has a lower loss than b"."""
        difference = self.difference or 0.0
        return decide(self.p_holm, self.measure.better * difference)

    @property
    def not_worse(self) -> tuple[str, ...]:
        """The arms shown not to be worse than the other by the margin; both: equivalent."""
        return self._shown(self.p_not_worse)

    @property
    def worse(self) -> tuple[str, ...]:
        """The arm that is shown to be worse by the margin or more, if one is."""
        return self._shown(self.p_worse)

    @property
    def equivalent(self) -> bool:
        """Whether the arms are shown to differ by less than the margin."""
        return len(self.not_worse) == 2

    def _shown(self, p_values: Sequence[float | None]) -> tuple[str, ...]:
        """Of what `family` has corrected."""
        pairs = zip((self.a, self.b), p_values, strict=True)
        return tuple(name for name, p in pairs if p is not None and p < ALPHA)


def contrast(tables: Tables, a: str, b: str, factor: str, *, family: int | None = 1) -> Contrast:
    """Return a against b, not corrected yet; `family` comparisons share the level.

    None: what the contrast could see is not computed, which takes longer than all else.
    """
    at_each_look = at_looks(
        tables, (a, b), lambda seen, among: _contrast(seen, a, b, factor, family=among), family
    )
    return replace(
        at_each_look[-1].of,
        p_value=two_sided(at_each_look),
        p_not_worse=each_side(at_each_look, lambda result: result.p_not_worse),
        p_worse=each_side(at_each_look, lambda result: result.p_worse),
    )


def _contrast(tables: Tables, a: str, b: str, factor: str, *, family: float | None) -> Contrast:
    runs_a, runs_b = comparable(tables, a, b)
    margin = tables.margins.get((a, b))
    empty = Contrast(a=a, b=b, factor=factor, margin=margin, measure=tables.measure)
    if not runs_a or not runs_b:
        ran = {run.arm for run in tables.complete} >= {a, b}
        reason = "the arms share no complete seed" if ran else "there are no results of both arms"
        return replace(empty, reason=reason)
    if _of_different_seeds(tables, runs_a, runs_b):
        return replace(empty, reason="the arms share no complete seed")
    lined_up = align([runs_a, runs_b])
    n = len(lined_up.keys)
    if not n:
        reason = "the arms were tested on different problems"
        return replace(empty, left_out=lined_up.left_out, reason=reason)
    scores_a, scores_b = lined_up.scores
    paired = pairs_seeds(tables, [runs_a, runs_b])
    ahead = lined_up.measure.better * (scores_a.mean(axis=0) - scores_b.mean(axis=0))
    together = np.vstack(lined_up.solved)
    binary = lined_up.measure is Measure.SOLVED
    methods = [
        name
        for name, runs in ((a, runs_a), (b, runs_b))
        if len(runs) > 1 and not tables.existing(name)
    ]
    tested = compared(tables, a, b, lined_up, paired=paired)
    p_within = (None, None) if margin is None else _not_worse(tested, lined_up, margin)
    return replace(
        empty,
        measure=lined_up.measure,
        scope=Scope.METHODS if methods else Scope.MODELS,
        seeds=(len(runs_a), len(runs_b)),
        existing=tuple(
            name for name in (a, b) if name not in methods and not untuned(tables, name)
        ),
        n=n,
        left_out=lined_up.left_out,
        only_a=int((ahead > _ROUNDING).sum()),
        only_b=int((ahead < -_ROUNDING).sum()),
        both=int(together.all(axis=0).sum()) if binary else None,
        neither=int((~together).all(axis=0).sum()) if binary else None,
        difference=float(scores_a.mean() - scores_b.mean()),
        by_seed=_by_seed(runs_a, runs_b, lined_up),
        paired=paired,
        interval=tested.interval,
        p_value=tested.p_value,
        reason=tested.reason,
        detectable=family and _detectable(tested, lined_up, family),
        detectable_range=_detectable_range(tested, lined_up, family) if family else None,
        split=split(tested.crossed) if tested.crossed else None,
        p_not_worse=p_within,
        p_worse=opposite(p_within),
    )


def pairs_seeds(tables: Tables, runs: Sequence[Sequence[Run]]) -> bool:
    """Return whether these arms are compared seed by seed: declared, and all have several."""
    several = all(of_arm and not tables.existing(of_arm[0].arm) for of_arm in runs)
    return bool(tables.config.get("paired_seeds")) and several


def of_shared_seeds(runs: Sequence[Sequence[Run]]) -> list[Sequence[Run]]:
    """Return of each arm the runs whose seeds all arms have, in one order."""
    shared = set.intersection(*({run.seed for run in of_arm} for of_arm in runs))
    return [
        sorted((run for run in of_arm if run.seed in shared), key=lambda run: run.seed)
        for of_arm in runs
    ]


def comparable(tables: Tables, a: str, b: str) -> tuple[Sequence[Run], Sequence[Run]]:
    """Return the runs of a and of b that are compared: all complete ones, or those of one seed."""
    runs: list[Sequence[Run]] = [tables.complete_of(name) for name in (a, b)]
    runs = of_shared_seeds(runs) if pairs_seeds(tables, runs) else runs
    return runs[0], runs[1]


def compared(tables: Tables, a: str, b: str, lined_up: Aligned, *, paired: bool = False) -> Tested:
    """Return the test of a against b, `lined_up`, as what the arms of `tables` stand for."""
    existing = tables.existing(a), tables.existing(b)
    one, other = lined_up.compared
    return compare_tables(
        one, other, lined_up.groups, measure=lined_up.measure, paired=paired, existing=existing
    )


def compare_tables(
    one: NDArray[Any],
    other: NDArray[Any],
    groups: Groups | None,
    *,
    measure: Measure,
    paired: bool = False,
    existing: tuple[bool, bool] = (False, False),
) -> Tested:
    """Return the test of two arms, [R, n] each: by whether problems are solved, or by scores."""
    if measure is Measure.SOLVED:
        return compare(one, other, groups, paired=paired, existing=existing)
    return comparison.compare(
        one, other, groups, paired=paired, existing=existing, bounded=measure is Measure.SCORE
    )


def _not_worse(
    tested: Tested, lined_up: Aligned, margin: float
) -> tuple[float | None, float | None]:
    if lined_up.measure is Measure.SOLVED:
        a, b = lined_up.solved
        return not_worse(tested, a, b, margin)
    units = int(worth(len(lined_up.keys), lined_up.groups))
    return comparison.not_worse(tested, units, margin)


def _detectable(tested: Tested, lined_up: Aligned, family: float) -> float | None:
    if lined_up.measure is Measure.SOLVED:
        a, b = lined_up.solved
        return detectable(tested, a, b, family)
    return power.measured_detectable(tested, family)


def _detectable_range(tested: Tested, lined_up: Aligned, family: float) -> Range | None:
    if lined_up.measure is Measure.SOLVED:
        return detectable_range(tested, family)
    return power.measured_range(tested, family)


def _of_different_seeds(tables: Tables, runs_a: Sequence[Run], runs_b: Sequence[Run]) -> bool:
    """Whether two single runs of tuned arms are of different seeds: another order, other draws."""
    (first_a, *more_a), (first_b, *more_b) = runs_a, runs_b
    alone = not more_a and not more_b and first_a.seed != first_b.seed
    return alone and not untuned(tables, first_a.arm) and not untuned(tables, first_b.arm)


def untuned(tables: Tables, name: str) -> bool:
    """Return whether the arm called `name` trains nothing."""
    arm = tables.arm(name)
    return arm is not None and arm.untuned


def _by_seed(runs_a: Sequence[Run], runs_b: Sequence[Run], lined_up: Aligned) -> tuple[float, ...]:
    means: list[Mapping[int, float]] = [
        {run.seed: float(row.mean()) for run, row in zip(runs, table, strict=True)}
        for runs, table in zip((runs_a, runs_b), lined_up.scores, strict=True)
    ]
    of_a, of_b = means
    if len(of_b) == 1:
        return tuple(mean - next(iter(of_b.values())) for mean in of_a.values())
    if len(of_a) == 1:
        return tuple(next(iter(of_a.values())) - mean for mean in of_b.values())
    return tuple(of_a[seed] - of_b[seed] for seed in sorted(of_a.keys() & of_b.keys()))
