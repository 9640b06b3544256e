"""Compare two arms problem by problem. Pure: tables in, contrasts out.

    contrasts(tables)[0].verdict            # not_shown

An untuned arm has one run, whatever the seeds: greedy decoding leaves nothing to chance. The
p-values of all declared contrasts are corrected together (Holm). `statistics/verdicts` has the
tests; where one would mean nothing there is none, and `reason` says why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from paribus.analysis.pairing import Aligned, align
from paribus.analysis.tables import Run, Tables
from paribus.statistics.detectable import Range
from paribus.statistics.intervals import Interval
from paribus.statistics.split import Split, split
from paribus.statistics.verdicts import (
    Scope,
    Verdict,
    compare,
    decide,
    detectable,
    detectable_range,
    holm,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Arm a against arm b, over the problems that all runs compared share.

    Attributes:
        scope: what it speaks of.
        seeds: of a and of b.
        n: problems in common. 0: nothing to compare.
        left_out: problems that only some of the runs were tested on.
        only_a: problems that a solves (more often than b, over seeds).
        only_b: likewise b.
        both: problems solved by every run of both.
        neither: problems solved by no run of either.
        difference: share solved by a minus share solved by b; None if n is 0.
        by_seed: the difference of each replicate that both have; an untuned arm's run serves all.
        interval: 95 % interval of the difference; None where `reason` says why.
        p_value: two-sided; None where there is no test.
        p_holm: corrected for all declared contrasts.
        paired: whether its seeds were compared one by one, as declared.
        detectable: the smallest difference that would be shown 8 times in 10.
        detectable_range: what that may truly be, as far as the seeds say; None with one seed.
        split: where its uncertainty comes from; None with one seed or without an interval.
        reason: why there is no interval or no test; else "".
    """

    a: str
    b: str
    factor: str
    scope: Scope = Scope.MODELS
    seeds: tuple[int, int] = (0, 0)
    n: int = 0
    left_out: int = 0
    only_a: int = 0
    only_b: int = 0
    both: int = 0
    neither: int = 0
    difference: float | None = None
    by_seed: tuple[float, ...] = ()
    interval: Interval | None = None
    p_value: float | None = None
    p_holm: float | None = None
    paired: bool = False
    detectable: float | None = None
    detectable_range: Range | None = None
    split: Split | None = None
    reason: str = ""

    @property
    def verdict(self) -> Verdict:
        """Of "a solves more than b"."""
        return decide(self.p_holm, self.difference)


def contrasts(tables: Tables) -> list[Contrast]:
    """Return every declared contrast, comparable or not, corrected as one family."""
    family = len(tables.declared)
    found = [contrast(tables, a, b, factor, family=family) for a, b, factor in tables.declared]
    corrected = holm([each.p_value for each in found])
    return [replace(each, p_holm=p) for each, p in zip(found, corrected, strict=True)]


def contrast(tables: Tables, a: str, b: str, factor: str, *, family: int = 1) -> Contrast:
    """Return a against b, not corrected yet; `family` comparisons share the level."""
    runs_a, runs_b = comparable(tables, a, b)
    if not runs_a or not runs_b:
        ran = {run.arm for run in tables.complete} >= {a, b}
        reason = "the arms share no complete seed" if ran else "there are no results of both arms"
        return Contrast(a=a, b=b, factor=factor, reason=reason)
    lined_up = align([runs_a, runs_b])
    n = len(lined_up.keys)
    if not n:
        reason = "the arms were tested on different problems"
        return Contrast(a=a, b=b, factor=factor, left_out=lined_up.left_out, reason=reason)
    solved_a, solved_b = lined_up.solved
    paired = pairs_seeds(tables, [runs_a, runs_b])
    ahead = solved_a.mean(axis=0) - solved_b.mean(axis=0)
    together = np.vstack(lined_up.solved)
    made = Contrast(
        a=a,
        b=b,
        factor=factor,
        scope=Scope.METHODS if len(together) > 2 else Scope.MODELS,
        seeds=(len(runs_a), len(runs_b)),
        n=n,
        left_out=lined_up.left_out,
        only_a=int((ahead > 0).sum()),
        only_b=int((ahead < 0).sum()),
        both=int(together.all(axis=0).sum()),
        neither=int((~together).all(axis=0).sum()),
        difference=float(solved_a.mean() - solved_b.mean()),
        by_seed=_by_seed(runs_a, runs_b, lined_up),
        paired=paired,
    )
    tested = compare(solved_a, solved_b, lined_up.groups, paired=paired)
    return replace(
        made,
        interval=tested.interval,
        p_value=tested.p_value,
        reason=tested.reason,
        detectable=detectable(tested, solved_a, solved_b, family),
        detectable_range=detectable_range(tested, family),
        split=split(tested.crossed) if tested.crossed else None,
    )


def pairs_seeds(tables: Tables, runs: Sequence[Sequence[Run]]) -> bool:
    """Return whether these arms are compared seed by seed: declared, and all have several."""
    return bool(tables.config.get("paired_seeds")) and all(len(found) > 1 for found in runs)


def of_shared_seeds(runs: Sequence[Sequence[Run]]) -> list[list[Run]]:
    """Return of each arm the runs whose seeds all arms have, in one order."""
    shared = set.intersection(*({run.seed for run in found} for found in runs))
    return [
        sorted((run for run in found if run.seed in shared), key=lambda run: run.seed)
        for found in runs
    ]


def comparable(tables: Tables, a: str, b: str) -> tuple[list[Run], list[Run]]:
    """Return the runs to compare: all, or one of each if a tuned arm has only one."""
    runs = [[run for run in tables.complete if run.arm == name] for name in (a, b)]
    tuned = [found for found, name in zip(runs, (a, b), strict=True) if not untuned(tables, name)]
    if all(len(found) > 1 for found in tuned) or not tuned:
        runs = of_shared_seeds(runs) if pairs_seeds(tables, runs) else runs
        return runs[0], runs[1]
    # One trained model says nothing of its method: compare models, of the same replicate.
    shared = set.intersection(*({run.seed for run in found} for found in tuned))
    kept = min(shared) if shared else None
    chosen = [
        found if untuned(tables, name) else [run for run in found if run.seed == kept]
        for found, name in zip(runs, (a, b), strict=True)
    ]
    return chosen[0], chosen[1]


def untuned(tables: Tables, name: str) -> bool:
    """Return whether the arm called `name` trains nothing."""
    arm = tables.arm(name)
    return arm is not None and arm.untuned


def _by_seed(runs_a: Sequence[Run], runs_b: Sequence[Run], lined_up: Aligned) -> tuple[float, ...]:
    means: list[Mapping[int, float]] = [
        {run.seed: float(row.mean()) for run, row in zip(runs, table, strict=True)}
        for runs, table in zip((runs_a, runs_b), lined_up.solved, strict=True)
    ]
    of_a, of_b = means
    if len(of_b) == 1:
        return tuple(mean - next(iter(of_b.values())) for mean in of_a.values())
    if len(of_a) == 1:
        return tuple(next(iter(of_a.values())) - mean for mean in of_b.values())
    return tuple(of_a[seed] - of_b[seed] for seed in sorted(of_a.keys() & of_b.keys()))
