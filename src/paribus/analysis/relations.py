"""What arms cost, and how much of a gain may be answer format: figures that need no new runs.

costs(tables)                                         # memory and speed beside accuracy
format_and_skill(tables, "full-main", "baseline")     # how much of a gain is more than format
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from paribus.analysis.contrasts import compared, untuned
from paribus.analysis.pairing import Aligned, align
from paribus.analysis.summary import summary
from paribus.analysis.tables import Run, Tables, judged_by
from paribus.evaluation.signals import mentions
from paribus.records import Generation, Outcome
from paribus.statistics.intervals import Interval
from paribus.statistics.verdicts import Tested, Verdict, decide


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an arm took, averaged over its seeds, beside what it solves."""

    name: str
    accuracy: float
    examples_per_second: float
    peak_memory_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A gain over the untuned model, and how much of it cannot be answer format.

    Attributes:
        gain: a minus b, as a share of the n problems both have.
        least: what is left of it if the untuned model counts as right wherever the right number
            stands anywhere in its text: a lower bound of what is more than format.
        least_tested: interval and test of `least`; none where too few seeds.
        last: what is left of it if only its last number counts: neither bound, for that may be
            another number than its answer, or the right one by accident.
        last_interval: 95 %; None where too few seeds.
        p_holm: of `least_tested`, corrected; asked only once the gain is shown, see `family`.
    """

    a: str
    b: str
    n: int
    gain: float
    least: float
    least_tested: Tested
    last: float
    last_interval: Interval | None
    p_holm: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Of "the gain is more than answer format"."""
        shown = decide(self.p_holm, self.least) is Verdict.SUPPORTED
        return Verdict.SUPPORTED if shown else Verdict.NOT_SHOWN


def costs(tables: Tables) -> list[Cost]:
    """Return what every tuned arm took, where it was measured on one kind of machine."""
    trained = [run for run in tables.complete if run.training]
    machines = {run.result.environment.get("machine") for run in trained if run.result}
    if len(machines) != 1:
        return []
    found = []
    for arm in tables.arms:
        runs = [run.training for run in trained if run.arm == arm.name and run.training]
        speeds = [cost.examples_per_second for cost in runs if cost.examples_per_second]
        peaks = [cost.peak_memory_bytes for cost in runs if cost.peak_memory_bytes]
        accuracy = summary(tables, arm.name).mean
        # A run of an earlier version may lack a figure: its arm is left out.
        if runs and accuracy is not None and len(speeds) == len(peaks) == len(runs):
            found.append(
                Cost(
                    name=arm.name,
                    accuracy=accuracy,
                    examples_per_second=fmean(speeds),
                    peak_memory_bytes=fmean(peaks),
                )
            )
    return found


def frontier(points: Sequence[Cost], by: Literal["speed", "memory"]) -> list[str]:
    """Return the arms than which no other is both more accurate and cheaper (Pareto)."""

    def price(each: Cost) -> float:
        return each.peak_memory_bytes if by == "memory" else -each.examples_per_second

    return [
        each.name
        for each in points
        if not any(
            other.accuracy >= each.accuracy
            and price(other) <= price(each)
            and (other.accuracy > each.accuracy or price(other) < price(each))
            for other in points
        )
    ]


def format_and_skill(tables: Tables, a: str, b: str) -> Gain | None:
    """Return how much of the gain of the tuned `a` over the untuned `b` is more than answer format.

    None if there is none to split. The tuned arm is judged by its own answer line.
    """
    if untuned(tables, a) or not untuned(tables, b):
        return None
    runs_a = [run for run in tables.complete if run.arm == a]
    runs_b = [run for run in tables.complete if run.arm == b]
    if not runs_a or not runs_b:
        return None
    gain = align([runs_a, runs_b])
    if not gain.keys:
        return None
    last = align([runs_a, [judged_by(run, "flexible") for run in runs_b]])
    least = align([runs_a, [_right_anywhere(run) for run in runs_b]])
    return Gain(
        a=a,
        b=b,
        n=len(gain.keys),
        gain=_difference(gain),
        least=_difference(least),
        least_tested=compared(tables, a, b, least),
        last=_difference(last),
        last_interval=compared(tables, a, b, last).interval,
    )


def _right_anywhere(run: Run) -> Run:
    """Return `run` with every text correct in which the right number stands, wherever."""

    def judge(generation: Generation, outcome: Outcome) -> Outcome:
        right = outcome is Outcome.CORRECT or mentions(generation.text, generation.answer)
        return Outcome.CORRECT if right else outcome

    return replace(run, judged=tuple(map(judge, run.generations, run.judged)))


def _difference(lined_up: Aligned) -> float:
    first, second = lined_up.solved
    return float(first.mean() - second.mean())
