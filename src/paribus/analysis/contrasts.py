"""Compare two arms problem by problem. Pure: tables in, contrasts out.

    contrast(tables, "full-main", "lora-main", "method", seed=0).verdict      # not_shown

Pairing is what makes the comparison sharp: two models that fail on the same hard problems
differ only on the others. Each seed is compared by itself; over several seeds there is the mean
difference and its range, and no test: the seeds share their problems, so pooling them as if
they were new problems would claim too much. A crossed seeds-by-problems bootstrap will do it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from paribus.analysis.intervals import Interval, mcnemar, paired_difference
from paribus.analysis.tables import Run, Tables
from paribus.records import Outcome

ALPHA = 0.05
"""A p-value below this is called a difference. Not corrected for the number of contrasts."""


class Verdict(StrEnum):
    """What a contrast says of "a is better than b"."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    """b is better than a."""
    NOT_SHOWN = "not_shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Arm a against arm b with one seed, over the problems both were tested on.

    Attributes:
        n: problems in common; both + only_a + only_b + neither. 0: nothing to compare.
        left_out: problems that only one of the two was tested on.
        difference: share solved by a minus share solved by b; None if n is 0.
        interval: 95 % interval of the difference.
        p_value: exact McNemar; None where no problem was solved by only one of the two.
    """

    a: str
    b: str
    factor: str
    seed: int
    n: int = 0
    left_out: int = 0
    only_a: int = 0
    only_b: int = 0
    both: int = 0
    neither: int = 0
    difference: float | None = None
    interval: Interval | None = None
    p_value: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Supported or refuted if p < ALPHA, else not shown."""
        if self.p_value is None or self.p_value >= ALPHA:
            return Verdict.NOT_SHOWN
        return Verdict.SUPPORTED if self.only_a > self.only_b else Verdict.REFUTED


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanDifference:
    """The differences of one pair of arms over its seeds (at least two), as shares."""

    a: str
    b: str
    factor: str
    seeds: int
    mean: float
    smallest: float
    largest: float


def contrasts(tables: Tables) -> list[Contrast]:
    """Return every declared contrast with every seed, comparable or not."""
    return [
        contrast(tables, a, b, factor, seed=seed)
        for a, b, factor in tables.declared
        for seed in _seeds(tables, a, b)
    ]


def contrast(tables: Tables, a: str, b: str, factor: str, *, seed: int) -> Contrast:
    """Return a against b with `seed`. An untuned arm has one run, paired with every seed."""
    run_a, run_b = _run(tables, a, seed), _run(tables, b, seed)
    if run_a is None or run_b is None:
        return Contrast(a=a, b=b, factor=factor, seed=seed)
    solved_a, solved_b = _solved(run_a), _solved(run_b)
    common = solved_a.keys() & solved_b.keys()
    left_out = len(solved_a.keys() ^ solved_b.keys())
    if not common:
        return Contrast(a=a, b=b, factor=factor, seed=seed, left_out=left_out)
    pairs = Counter((solved_a[key], solved_b[key]) for key in common)
    both, neither = pairs[True, True], pairs[False, False]
    only_a, only_b = pairs[True, False], pairs[False, True]
    return Contrast(
        a=a,
        b=b,
        factor=factor,
        seed=seed,
        n=len(common),
        left_out=left_out,
        only_a=only_a,
        only_b=only_b,
        both=both,
        neither=neither,
        difference=(only_a - only_b) / len(common),
        interval=paired_difference(both=both, only_a=only_a, only_b=only_b, neither=neither),
        p_value=mcnemar(only_a=only_a, only_b=only_b),
    )


def mean_differences(found: Sequence[Contrast]) -> list[MeanDifference]:
    """Return the mean over seeds of each pair of arms that was compared with at least two."""
    by_pair: dict[tuple[str, str, str], list[float]] = {}
    for each in found:
        if each.difference is not None:
            by_pair.setdefault((each.a, each.b, each.factor), []).append(each.difference)
    return [
        MeanDifference(
            a=a,
            b=b,
            factor=factor,
            seeds=len(values),
            mean=sum(values) / len(values),
            smallest=min(values),
            largest=max(values),
        )
        for (a, b, factor), values in by_pair.items()
        if len(values) > 1
    ]


def _seeds(tables: Tables, a: str, b: str) -> list[int]:
    """The seeds of whichever arm has more of them."""
    return sorted({run.seed for run in tables.runs if run.arm in (a, b)})


def _run(tables: Tables, name: str, seed: int) -> Run | None:
    arm = tables.arm(name)
    run = tables.run(name, 0 if arm is not None and arm.untuned else seed)
    return run if run is not None and run.complete else None


def _solved(run: Run) -> dict[tuple[str, int], bool]:
    """Whether each problem was solved. A question asked twice is two problems: (id, 0), (id, 1)."""
    seen: Counter[str] = Counter()
    solved = {}
    for generation, outcome in zip(run.generations, run.judged, strict=True):
        key = (generation.problem_id, seen[generation.problem_id])
        seen[generation.problem_id] += 1
        solved[key] = outcome is Outcome.CORRECT
    return solved
