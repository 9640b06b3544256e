"""All that an experiment asks, compared and corrected as one family; decisions at a declared look.

    found = judged(tables)
    found.contrasts[0].verdict, found.effects[0].verdict       # at most 1 null experiment in 20
    found.gains[0].verdict                                     # claims anything, all together

Members are the declared contrasts and the effects of a full matrix. A contrast with an untuned arm
also asks whether the gain is more than format, once the gain is shown; one with a margin, whether
either arm is no worse. `statistics/family` says how the level is shared. Claims about cost follow
from contrasts. Losses, and contrasts that are judged differently, are outside: each kind is
corrected on its own, and the page says so.

    costs(tables)                                         # memory and speed beside accuracy
    format_and_skill(tables, "full-main", "baseline")     # how much of a gain is more than format

    look = judge(tables, 7)          # a Look, for the ledger: decided, goes_on
    look.decided[0]                  # Decided(a="full", b="lora", state=Settled.OPEN, …)

At a look an arm gets more seeds while one of its contrasts is open: neither shown nor given up.
All contrasts count in the family at every look. `statistics/sequential` decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from paribus.analysis import effects
from paribus.analysis.contrasts import (
    Contrast,
    comparable,
    compared,
    contrast,
    pairs_seeds,
    untuned,
)
from paribus.analysis.effects import Effect
from paribus.analysis.looks import declared_look, declared_looks, last, reached, upto
from paribus.analysis.pairing import Aligned, align
from paribus.analysis.several import each
from paribus.analysis.summary import summary
from paribus.analysis.tables import Run, Tables, judged_by
from paribus.evaluation.mistakes import mentions
from paribus.records import Generation, Measure, Outcome, Settled
from paribus.statistics import sequential
from paribus.statistics.crossed import Estimate
from paribus.statistics.family import Asked, corrected
from paribus.statistics.intervals import Interval
from paribus.statistics.sequential import least
from paribus.statistics.verdicts import Tested, Verdict, decide
from paribus.store.ledger import Decided, Look


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
    if tables.measure is Measure.LOSS:
        return []  # there less is better, and costs stand beside what is solved
    machines = [run.environment for run in trained if run.environment is not None]
    kinds = {tuple(map(facts.get, ("machine", "processor", "ranks"))) for facts in machines}
    if len(kinds) != 1:
        return []
    measured = []
    for arm in tables.arms:
        runs = [run.training for run in trained if run.arm == arm.name and run.training]
        speeds = [cost.examples_per_second for cost in runs if cost.examples_per_second]
        peaks = [cost.peak_memory_bytes for cost in runs if cost.peak_memory_bytes]
        accuracy = summary(tables, arm.name).mean
        # A run of an earlier version may lack a figure: its arm is left out.
        if runs and accuracy is not None and len(speeds) == len(peaks) == len(runs):
            measured.append(
                Cost(
                    name=arm.name,
                    accuracy=accuracy,
                    examples_per_second=fmean(speeds),
                    peak_memory_bytes=fmean(peaks),
                )
            )
    return measured


def frontier(points: Sequence[Cost], by: Literal["speed", "memory"]) -> list[str]:
    """Return the arms than which no other is both more accurate and cheaper (Pareto)."""

    def price(cost: Cost) -> float:
        return cost.peak_memory_bytes if by == "memory" else -cost.examples_per_second

    return [
        point.name
        for point in points
        if not any(
            other.accuracy >= point.accuracy
            and price(other) <= price(point)
            and (other.accuracy > point.accuracy or price(other) < price(point))
            for other in points
        )
    ]


def format_and_skill(tables: Tables, a: str, b: str) -> Gain | None:
    """Return how much of the gain of the tuned `a` over the untuned `b` is more than answer format.

    None if there is none to split, or if answers are not numbers. The tuned arm is judged by its
    own answer line.
    """
    if not tables.scorers.numbers or untuned(tables, a) or not untuned(tables, b):
        return None
    runs_a = tables.complete_of(a)
    runs_b = tables.complete_of(b)
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
    """Return `run` with every text scored correct that contains the right number anywhere."""

    def judge(generation: Generation, outcome: Outcome) -> Outcome:
        right = outcome is Outcome.CORRECT or mentions(generation.text, generation.answer)
        return Outcome.CORRECT if right else outcome

    return replace(run, judged=tuple(map(judge, run.generations, run.judged)))


def _difference(lined_up: Aligned) -> float:
    first, second = lined_up.scores
    return float(first.mean() - second.mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Every member of the family, with its corrected p-values.

    Attributes:
        gains: one for each contrast that has a gain to split, in their order.
    """

    contrasts: list[Contrast]
    effects: list[Effect]
    gains: list[Gain]


def judged(tables: Tables, *, seeing: bool = True) -> Judged:
    """Return every declared contrast and effect, comparable or not, corrected as one family.

    Without `seeing`, what each could see is not computed: it takes longer than all else.
    """
    planned = effects.planned(tables)
    size = len(tables.declared) + len(planned) if seeing else None
    contrasts = _contrasts(tables, size)
    factors = [effects.measured(tables, effect, family=size) for effect in planned]
    seen = [last(tables, (result.a, result.b)) for result in contrasts]
    pairs = zip(seen, contrasts, strict=True)
    gains = [format_and_skill(look.of, result.a, result.b) for look, result in pairs]
    asked = [
        _asked(result, gain, look.share)
        for result, gain, look in zip(contrasts, gains, seen, strict=True)
    ]
    together = corrected([*asked, *(Asked(differ=effect.p_value) for effect in factors)])
    of_contrasts, of_effects = together[: len(contrasts)], together[len(contrasts) :]
    return Judged(
        contrasts=[
            replace(result, p_holm=p.differ, p_not_worse=p.within, p_worse=p.beyond)
            for result, p in zip(contrasts, of_contrasts, strict=True)
        ],
        effects=[
            replace(effect, p_holm=p.differ) for effect, p in zip(factors, of_effects, strict=True)
        ],
        gains=_gains(gains, of_contrasts),
    )


MANY = 40
"""Contrasts whose smallest detectable differences take long enough to share them out."""


def _contrasts(tables: Tables, size: int | None) -> list[Contrast]:
    """Return the declared contrasts, not corrected; `size` is the family's, None if not asked."""

    def compare(at: int) -> Contrast:
        a, b, factor = tables.declared[at]
        return contrast(tables, a, b, factor, family=size)

    count = len(tables.declared)
    if size is None or count < MANY:
        return list(map(compare, range(count)))
    return each(compare, count, lambda compared: compared)


def _asked(contrast: Contrast, gain: Gain | None, share: float) -> Asked:
    """Return what is asked of a contrast; of no gain it is never asked what it is made of.

    That is asked at the last declared look, which may spend its `share` of the level.
    """
    gained = gain is not None and (contrast.difference or 0.0) > 0
    return Asked(
        differ=contrast.p_value,
        within=contrast.p_not_worse,
        beyond=contrast.p_worse,
        asks_margin=contrast.margin is not None,
        then=least([gain.least_tested.p_value], [share]) if gain is not None and gained else None,
        asks_then=gain is not None,
    )


def _gains(gains: Sequence[Gain | None], corrected_values: Sequence[Asked]) -> list[Gain]:
    return [
        replace(gain, p_holm=p.then)
        for gain, p in zip(gains, corrected_values, strict=True)
        if gain is not None
    ]


def judge(tables: Tables, seeds: int) -> Look:
    """Return the declared look at `seeds` seeds, with what it decides by it and those before."""
    seen, looks = upto(tables, seeds), declared_looks(tables)
    contrasts = judged(seen, seeing=False).contrasts
    taken = looks.index(seeds) + 1
    gone = _given_up(tables.looks)
    decisions = sequential.decide(
        [contrast.p_holm for contrast in contrasts],
        [_estimate(seen, contrast, taken) for contrast in contrasts],
        [(contrast.a, contrast.b) in gone for contrast in contrasts],
        looks=looks,
        taken=taken,
    )
    rows = tuple(
        Decided(
            a=contrast.a,
            b=contrast.b,
            difference=contrast.difference,
            p_value=contrast.p_value,
            p_holm=contrast.p_holm,
            chance=decision.chance,
            state=decision.state,
        )
        for contrast, decision in zip(contrasts, decisions, strict=True)
    )
    arms = {arm for row in rows if row.state is Settled.OPEN for arm in (row.a, row.b)}
    going = tuple(arm.name for arm in tables.arms if arm.name in arms and not arm.untuned)
    return replace(declared_look(tables, seeds), decided=rows, goes_on=going)


def _given_up(looks: Sequence[Look]) -> set[tuple[str, str]]:
    """Return the pairs that an earlier look has given up."""
    rows = (row for look in looks for row in look.decided)
    return {(row.a, row.b) for row in rows if row.state is Settled.UNLIKELY}


def _estimate(seen: Tables, contrast: Contrast, taken: int) -> Estimate | None:
    """Return the estimate behind a contrast at this look; None where there is none."""
    pair = (contrast.a, contrast.b)
    if reached(seen, pair) < taken:
        return None
    runs = comparable(seen, *pair)
    lined_up = align(runs)
    if not lined_up.keys:
        return None
    return compared(seen, *pair, lined_up, paired=pairs_seeds(seen, runs)).crossed
