"""Did the lower training loss mean more problems solved? A finding over the arms' losses.

Losses are compared between arms whose targets are the same texts: a socratic solution is longer,
so its loss per token is lower, and per example higher, for the same knowledge. And only beyond
what seeds scatter: two losses differ if a t test over seeds says so (B. L. Welch 1947, Biometrika
34: 28-35), corrected for all pairs (Holm), and by more than `EQUAL_LOSS`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isclose
from statistics import fmean, stdev

import numpy as np

from paribus.analysis import wording
from paribus.analysis.contrasts import Contrast
from paribus.analysis.measures import terms
from paribus.analysis.summary import summary
from paribus.analysis.tables import Tables
from paribus.analysis.wording import Finding
from paribus.config.nested import flatten
from paribus.records import Measure
from paribus.statistics.crossed import MIN_SEEDS
from paribus.statistics.power import ALPHA
from paribus.statistics.verdicts import Verdict, holm
from paribus.store.results import TrainingCost

EQUAL_LOSS = 0.01
"""Losses this near each other, as a share of the larger, count as equal whatever seeds say."""
_SAME_LENGTH = 0.01
"""Target tokens per example may differ by this share where the last batch is another."""
_TARGETS = ("data.source", "data.path", "data.revision", "data.variant", "model", "prompt.format")
"""Settings that make targets other texts, or other tokens."""

Arms = tuple[str, str]
"""The arm shown to solve more, and the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossOrder:
    """Whether the order of the arms by training loss is their order by accuracy.

    Attributes:
        losses: arm -> final training loss in nats per target token, averaged over its seeds.
        spreads: arm -> standard deviation of its seeds' losses; None for one seed.
        tau: Kendall's rank correlation of low loss with accuracy over the arms; None under 3, and
            where their targets are not the same texts.
        against: the loss of the better arm is shown to be higher.
        along: it is shown to be lower.
        equal: no difference between the losses is shown.
        unknown: too few seeds to say how far losses scatter.
        apart: the two were trained on other targets, whose losses say nothing of each other.
    """

    losses: dict[str, float]
    spreads: dict[str, float | None]
    tau: float | None
    against: tuple[Arms, ...] = ()
    along: tuple[Arms, ...] = ()
    equal: tuple[Arms, ...] = ()
    unknown: tuple[Arms, ...] = ()
    apart: tuple[Arms, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Of "lower training loss did not mean higher accuracy"."""
        if self.against:
            return Verdict.SUPPORTED
        return Verdict.REFUTED if self.along else Verdict.NOT_SHOWN


def of_losses(tables: Tables, contrasts: Sequence[Contrast]) -> Iterator[Finding]:
    """Yield the finding on losses, if at least two tuned arms have one."""
    if tables.measure is Measure.LOSS:
        return
    order = loss_against_accuracy(tables, contrasts)
    if order is not None:
        yield Finding(
            kind="loss",
            claim=f"lower training loss did not mean {_HIGHER[tables.measure]}",
            verdict=order.verdict,
            scope=None,
            sentence=_loss_sentence(order, tables.measure),
            evidence={
                "losses": order.losses,
                "spreads": order.spreads,
                "kendall_tau": order.tau,
                "against": _listed(order.against),
                "along": _listed(order.along),
                "equal": _listed(order.equal),
                "noise_unknown": _listed(order.unknown),
                "other_targets": _listed(order.apart),
            },
        )


def _listed(pairs: Sequence[Arms]) -> list[list[str]]:
    return [list(pair) for pair in pairs]


_HIGHER = {Measure.SOLVED: "higher accuracy", Measure.SCORE: "a higher score"}


def _loss_sentence(order: LossOrder, measure: Measure) -> str:
    words = terms(measure)
    shown = f"Shown to {words.do} {words.up}"
    parts = [
        f"{lead}: {wording.join([f'{better} than {worse}' for better, worse in pairs])}{rest}."
        for lead, pairs, rest in (
            (f"{shown} at a higher loss", order.against, ""),
            (f"{shown} at a lower loss", order.along, ""),
            (f"{shown} at a loss that is not shown to differ", order.equal, ""),
            (
                f"{shown}, with too few seeds to say how far losses scatter",
                order.unknown,
                f" (it takes {MIN_SEEDS} of both)",
            ),
            (
                f"{shown}, but trained on targets of other text or tokens",
                order.apart,
                ", whose losses say nothing of each other",
            ),
        )
        if pairs
    ]
    if order.tau is not None:
        parts.append(f"Rank correlation over the arms: {order.tau:+.2f}.")
    return " ".join(parts or [f"No two tuned arms are shown to differ in {words.mean}."])


def loss_against_accuracy(tables: Tables, contrasts: Sequence[Contrast]) -> LossOrder | None:
    """Return how the order by loss relates to the order by accuracy; None under two tuned arms."""
    losses = {arm.name: of_arm for arm in tables.arms if (of_arm := _losses(tables, arm.name))}
    if len(losses) < 2:
        return None
    shown = [contrast for contrast in contrasts if contrast.verdict is not Verdict.NOT_SHOWN]
    pairs = [
        (contrast.a, contrast.b)
        if contrast.verdict is Verdict.SUPPORTED
        else (contrast.b, contrast.a)
        for contrast in shown
        if contrast.a in losses and contrast.b in losses
    ]
    apart = [pair for pair in pairs if not _same_targets(tables, pair)]
    alike = [pair for pair in pairs if pair not in apart]
    unknown = [pair for pair in alike if min(len(losses[name]) for name in pair) < MIN_SEEDS]
    known = [pair for pair in alike if pair not in unknown]
    # The whole family counts, also pairs whose seeds are too few.
    p_values = holm([_p_of_losses(losses, pair) if pair in known else None for pair in alike])
    differ = [pair for pair, p in zip(alike, p_values, strict=True) if p is not None and p < ALPHA]
    means = {name: fmean(of_arm) for name, of_arm in losses.items()}
    return LossOrder(
        losses=means,
        spreads={
            name: stdev(of_arm) if len(of_arm) > 1 else None for name, of_arm in losses.items()
        },
        tau=_rank_correlation(tables, means),
        against=tuple(pair for pair in differ if means[pair[0]] > means[pair[1]]),
        along=tuple(pair for pair in differ if means[pair[0]] < means[pair[1]]),
        equal=tuple(pair for pair in known if pair not in differ),
        unknown=tuple(unknown),
        apart=tuple(apart),
    )


def _losses(tables: Tables, name: str) -> list[float]:
    """Final training losses of an arm's seeds, in nats per target token."""
    costs = _trainings(tables, name)
    return [cost.final_loss for cost in costs if cost.final_loss is not None]


def _trainings(tables: Tables, name: str) -> list[TrainingCost]:
    return [run.training for run in tables.complete if run.arm == name and run.training]


def _p_of_losses(losses: dict[str, list[float]], pair: Arms) -> float:
    first, second = (losses[name] for name in pair)
    difference = fmean(first) - fmean(second)
    if abs(difference) <= EQUAL_LOSS * max(fmean(first), fmean(second)):
        return 1.0
    if stdev(first) == stdev(second) == 0:
        return 0.0
    from scipy.stats import ttest_ind  # slow to import: files of generations have no losses

    return float(ttest_ind(first, second, equal_var=False).pvalue)


def _same_targets(tables: Tables, names: Sequence[str]) -> bool:
    """Return whether these arms' losses are over the same kind of texts, in the same tokens."""
    arms = [tables.arm(name) for name in names]
    targets = [
        [
            arm.identity.get("task"),
            *({**flatten(arm.identity), **arm.factors}.get(key) for key in _TARGETS),
        ]
        for arm in arms
        if arm
    ]
    lengths = [length for name in names for length in _target_lengths(tables, name)]
    return all(target == targets[0] for target in targets) and all(
        isclose(length, lengths[0], rel_tol=_SAME_LENGTH) for length in lengths
    )


def _target_lengths(tables: Tables, name: str) -> list[float]:
    """Target tokens per example of each run that says so."""
    counts = [(cost.target_tokens, cost.examples) for cost in _trainings(tables, name)]
    return [tokens / examples for tokens, examples in counts if tokens and examples]


def _rank_correlation(tables: Tables, losses: dict[str, float]) -> float | None:
    if len(losses) < 3 or not _same_targets(tables, list(losses)):
        return None
    accuracies = [summary(tables, name).mean for name in losses]
    if None in accuracies:
        return None
    from scipy.stats import kendalltau  # slow to import, as `ttest_ind` is

    tau = float(kendalltau([-loss for loss in losses.values()], accuracies).statistic)
    return None if np.isnan(tau) else tau
