"""How arms that search a space were tuned, and whether fresh seeds confirm their best trials.

    searches(tables)[0].expected         # [1.31, 1.22, ...]: the best of one trial, of two, ...
    searches(tables)[0].confirmed        # Confirmed(loss=1.19, difference=0.03, ...)

The lowest of many noisy losses is low by luck too ("winner's curse"). No run of an arm repeats a
trial: its random streams are none of the trials', so nothing was chosen by its loss. That is a loss
on other problems, too, those of the test. The interval of the difference knows of both samples of
problems and of the seeds, the trial's own among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, variance
from typing import Any

from paribus.analysis.heldout import RunLikelihood, likelihoods
from paribus.analysis.tables import Tables
from paribus.statistics.crossed import MIN_SEEDS, critical
from paribus.statistics.intervals import Interval
from paribus.statistics.real.best import expected_best
from paribus.store.experiments import ArmTuning, Searched, Tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """The loss of runs with fresh seeds beside the trial that their values were chosen by.

    Attributes:
        seeds: how many runs.
        loss: their mean loss, in nats per token.
        difference: that minus the trial's loss.
        interval: of the difference; None under three seeds, or if a standard error is not known.
    """

    seeds: int
    loss: float
    difference: float
    interval: Interval | None

    @property
    def is_worse(self) -> bool:
        """Whether the trial's loss was better than chance explains."""
        return self.interval is not None and self.interval.low > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The search of one arm.

    Attributes:
        arm: its name.
        tuning: its trials.
        how: what was asked, and what was chosen.
        expected: the expected best loss of one trial, of two, and so on.
        operations: what each trial trained with, on average; None if not known.
        confirmed: None without a chosen trial, or without a complete run that has a loss.
    """

    arm: str
    tuning: ArmTuning
    how: Searched
    expected: list[float]
    operations: float | None
    confirmed: Confirmed | None

    @property
    def keys(self) -> dict[str, Any]:
        """The keys that were searched, with their ranges."""
        return dict(self.how.asked["keys"])

    @property
    def by_operations(self) -> bool:
        """Whether operations bounded the trials, not their number."""
        return self.how.asked["trials"] is None


def searches(tables: Tables) -> list[Search]:
    """Return the search of each arm that had one."""
    measured = likelihoods(tables) if tables.tuning else []
    return [
        Search(
            arm=arm,
            tuning=tuning,
            how=tuning.search,
            expected=expected_best([trial.nll_per_token for trial in tuning.trials]),
            operations=_operations(tuning),
            confirmed=_confirmed(tuning.best, [row for row in measured if row.run.arm == arm]),
        )
        for arm, tuning in tables.tuning.items()
        if tuning.search
    ]


def _operations(tuning: ArmTuning) -> float | None:
    known = [trial.flops for trial in tuning.trials if trial.flops is not None]
    return fmean(known) if len(known) == len(tuning.trials) > 0 else None


def _confirmed(trial: Tried | None, runs: Sequence[RunLikelihood]) -> Confirmed | None:
    losses = [row.per_token.value for row in runs if row.per_token.value is not None]
    if trial is None or trial.nll_per_token is None or not losses:
        return None
    difference = fmean(losses) - trial.nll_per_token
    return Confirmed(
        seeds=len(losses),
        loss=fmean(losses),
        difference=difference,
        interval=_interval(difference, trial, runs, losses),
    )


def _interval(
    difference: float, trial: Tried, runs: Sequence[RunLikelihood], losses: Sequence[float]
) -> Interval | None:
    """Return difference ± t times its standard error, with Welch and Satterthwaite's freedom."""
    halves = [
        ((row.per_token.interval.high - row.per_token.interval.low) / 2, row.per_token.n)
        for row in runs
        if row.per_token.interval
    ]
    if len(losses) < MIN_SEEDS or not halves or not trial.nll_error or not trial.n:
        return None
    seeds = len(losses)
    of_tests = fmean(half / critical(n - 1) for half, n in halves) ** 2
    parts = [
        (trial.nll_error**2, trial.n - 1),
        (of_tests, halves[0][1] - 1),
        (variance(losses) * (1 + 1 / seeds), seeds - 1),
    ]
    total = sum(part for part, _ in parts)
    freedom = total**2 / sum(part**2 / df for part, df in parts)
    half = critical(freedom) * sqrt(total)
    return Interval(difference - half, difference + half)
