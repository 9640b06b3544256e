"""Findings that need no new test: they set verdicts beside losses, costs and other scorers.

    loss_against_accuracy(tables, contrasts, "token")     # did the lower loss mean more solved?
    format_and_skill(tables, "full-main", "baseline")     # how much of a gain is answer format

Training losses are compared per target token and per example: a socratic solution is longer, so
its loss per token is lower and per example higher for the same knowledge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np
from scipy.stats import kendalltau

from paribus.analysis.contrasts import Contrast, untuned
from paribus.analysis.pairing import Aligned, align
from paribus.analysis.summary import summary
from paribus.analysis.tables import Run, Tables, with_generations
from paribus.statistics.intervals import Interval
from paribus.statistics.verdicts import Verdict, compare

Per = Literal["token", "example"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossOrder:
    """Whether the order of the arms by training loss is their order by accuracy.

    Attributes:
        losses: arm -> final training loss in nats, averaged over its seeds.
        tau: Kendall's rank correlation of low loss with accuracy over the arms; None under 3.
        against: contrasts that show the arm with the higher loss to solve more: (better, worse).
        along: contrasts that show the arm with the lower loss to solve more.
    """

    per: Per
    losses: dict[str, float]
    tau: float | None
    against: tuple[tuple[str, str], ...]
    along: tuple[tuple[str, str], ...]

    @property
    def verdict(self) -> Verdict:
        """Of "lower training loss did not mean higher accuracy"."""
        if self.against:
            return Verdict.SUPPORTED
        return Verdict.REFUTED if self.along else Verdict.NOT_SHOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an arm took, averaged over its seeds, beside what it solves."""

    name: str
    accuracy: float
    examples_per_second: float
    peak_memory_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A gain over the untuned model, split in two: gain = form + skill, as shares of n.

    Attributes:
        form: what the flexible scorer gives the untuned model without any training.
        skill: the tuned model over the untuned one so scored.
        skill_interval: 95 %; None where too few seeds.
    """

    a: str
    b: str
    gain: float
    form: float
    form_interval: Interval | None
    skill: float
    skill_interval: Interval | None


def loss_against_accuracy(tables: Tables, found: Sequence[Contrast], per: Per) -> LossOrder | None:
    """Return how the order by loss relates to the order by accuracy; None under two tuned arms."""
    losses = {
        arm.name: loss for arm in tables.arms if (loss := _loss(tables, arm.name, per)) is not None
    }
    if len(losses) < 2:
        return None
    against: list[tuple[str, str]] = []
    along: list[tuple[str, str]] = []
    for each in found:
        if each.verdict is Verdict.NOT_SHOWN or each.a not in losses or each.b not in losses:
            continue
        ahead = each.verdict is Verdict.SUPPORTED
        better, worse = (each.a, each.b) if ahead else (each.b, each.a)
        (against if losses[better] > losses[worse] else along).append((better, worse))
    accuracies = [summary(tables, name).mean for name in losses]
    tau = None
    if len(losses) > 2 and None not in accuracies:
        found_tau = float(kendalltau([-loss for loss in losses.values()], accuracies).statistic)
        tau = None if np.isnan(found_tau) else found_tau
    return LossOrder(per=per, losses=losses, tau=tau, against=tuple(against), along=tuple(along))


def costs(tables: Tables) -> list[Cost]:
    """Return what every tuned arm took, where it was measured on one kind of machine."""
    machines = {
        (run.result.get("environment") or {}).get("machine")
        for run in tables.complete
        if run.training
    }
    if len(machines) != 1:
        return []
    found = []
    for arm in tables.arms:
        runs = [run for run in tables.complete if run.arm == arm.name and run.training]
        accuracy = summary(tables, arm.name).mean
        if runs and accuracy is not None:
            found.append(
                Cost(
                    name=arm.name,
                    accuracy=accuracy,
                    examples_per_second=_mean(runs, "examples_per_second"),
                    peak_memory_bytes=_mean(runs, "peak_memory_bytes"),
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
    """Return the gain of the tuned `a` over the untuned `b`, split; None if there is none to split.

    The form is what `b` gains when any last number counts as its answer; the skill is what the
    tuned arm, scored strictly by its own answer line, solves beyond that.
    """
    if untuned(tables, a) or not untuned(tables, b):
        return None
    runs_a = [run for run in tables.complete if run.arm == a]
    runs_b = [run for run in tables.complete if run.arm == b]
    if not runs_a or not runs_b:
        return None
    loosely = [with_generations(run, run.generations, "flexible") for run in runs_b]
    form, skill = align([loosely, runs_b]), align([runs_a, loosely])
    if not form.keys or not skill.keys:
        return None
    return Gain(
        a=a,
        b=b,
        gain=_difference(form) + _difference(skill),
        form=_difference(form),
        form_interval=_interval(form),
        skill=_difference(skill),
        skill_interval=_interval(skill),
    )


def _difference(lined_up: Aligned) -> float:
    first, second = lined_up.solved
    return float(first.mean() - second.mean())


def _interval(lined_up: Aligned) -> Interval | None:
    first, second = lined_up.solved
    return compare(first, second, lined_up.groups).interval


def _loss(tables: Tables, name: str, per: Per) -> float | None:
    """Final training loss of an arm per target token or per example, in nats."""
    values = []
    for run in tables.complete:
        training = run.training
        if run.arm != name or not training or training.get("final_loss") is None:
            continue
        loss, tokens = training["final_loss"], training.get("target_tokens")
        examples = training.get("examples")
        if per == "token":
            values.append(loss)
        elif tokens and examples:
            values.append(loss * tokens / examples)
    return fmean(values) if values else None


def _mean(runs: Sequence[Run], figure: str) -> float:
    return fmean(float((run.training or {})[figure]) for run in runs)
