"""What went wrong in a run, counted: signals, accuracy by number of steps, step accuracy.

    signal_table(run).rows[0]      failed                0 of 100    0 %  [0 to 3.7]
    by_gold_steps(run)[1]          2 steps        31 of 80 solved   39 %  [28.8 to 49.7]
    mean_step_accuracy(run)        mean 0.41 over 98 problems [0.35 to 0.47]

A run without generations gives counts of 0 and no shares.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from paribus.analysis.tables import Run
from paribus.evaluation import annotations
from paribus.evaluation.annotations import count_gold_steps
from paribus.evaluation.signals import Signal, signal
from paribus.records import Outcome
from paribus.statistics.crossed import critical
from paribus.statistics.intervals import Interval, Z, share

POOLED_FROM = 8
"""Problems with this many gold steps or more are one row: GSM8K has few of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRow:
    """How many of the run's problems show `signal`. `share` is of all n; None if n is 0."""

    signal: Signal
    count: int
    share: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalTable:
    """A row for each signal, in the order of `Signal`; counts and `correct` sum to n."""

    n: int
    correct: int
    rows: tuple[SignalRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsRow:
    """Accuracy, as a share, over the problems whose gold solution has `gold_steps` steps.

    `gold_steps` is `POOLED_FROM` for that many or more, and None where the gold solution is not
    known or not annotated.
    """

    gold_steps: int | None
    solved: int
    n: int
    accuracy: float
    interval: Interval

    @property
    def label(self) -> str:
        """`3`, `8 or more`, `not known`."""
        if self.gold_steps is None:
            return "not known"
        return f"{self.gold_steps}{' or more' if self.gold_steps == POOLED_FROM else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAccuracy:
    """Mean step accuracy (0 to 1) over the `n` problems whose gold solution is annotated.

    `mean` is None if n is 0; `interval`, 95 % over problems, is None if n is below 2.
    """

    mean: float | None
    n: int
    interval: Interval | None


def signal_table(run: Run) -> SignalTable:
    """Return how often each signal fires in `run`, with its interval."""
    found = Counter(
        signal(each, outcome, run.style)
        for each, outcome in zip(run.generations, run.judged, strict=True)
    )
    n = len(run.generations)
    rows = tuple(
        SignalRow(
            signal=each,
            count=found[each],
            share=found[each] / n if n else None,
            interval=share(found[each], n) if n else None,
        )
        for each in Signal
    )
    return SignalTable(n=n, correct=found[None], rows=rows)


def by_gold_steps(run: Run) -> tuple[StepsRow, ...]:
    """Return a row for each number of gold steps that occurs, ascending, None last."""
    solved: defaultdict[int, list[bool]] = defaultdict(list)
    for generation, outcome in zip(run.generations, run.judged, strict=True):
        gold = min(count_gold_steps(generation.solution), POOLED_FROM)
        solved[gold].append(outcome is Outcome.CORRECT)
    return tuple(
        StepsRow(
            gold_steps=gold or None,
            solved=sum(solved[gold]),
            n=len(solved[gold]),
            accuracy=sum(solved[gold]) / len(solved[gold]),
            interval=share(sum(solved[gold]), len(solved[gold])),
        )
        for gold in sorted(solved, key=lambda steps: (steps == 0, steps))
    )


def mean_step_accuracy(run: Run) -> StepAccuracy:
    """Return the mean of `annotations.step_accuracy` with its interval."""
    found = [annotations.step_accuracy(generation) for generation in run.generations]
    values = [value for value in found if value is not None]
    return StepAccuracy(
        mean=fmean(values) if values else None, n=len(values), interval=_mean_interval(values)
    )


def _mean_interval(values: Sequence[float]) -> Interval | None:
    """Return the interval of a mean of shares.

    E. L. Korn and B. I. Graubard (1998), Survey Methodology 24: 193-201: that of a share of as many
    problems as would give the same standard error. Simulated with n = 100 and 2 to 95 % of the
    values above 0, it holds the truth at least 94 times in 100; mean +- t sd / sqrt(n) as seldom
    as 77, just where accuracy is near 0 and this figure is asked for.
    """
    if len(values) < 2:
        return None
    n, mean, error = len(values), fmean(values), stdev(values) / sqrt(len(values))
    if error == 0:
        return share(mean * n, n)
    effective = mean * (1 - mean) * (Z / critical(n - 1) / error) ** 2
    return share(mean * effective, effective)
