"""What went wrong in a run, counted; seeds that stand out; examples to read.

    signal_table(run).rows[0]      failed                0 of 100    0 %  [0 to 3.7]
    by_gold_steps(run)[1]          2 steps        31 of 80 solved   39 %  [28.8 to 49.7]
    mean_step_accuracy(run)        mean 0.41 over 98 problems [0.35 to 0.47]
    pick(run)                      the first wrong, the first correct, the first without an answer

A run without generations gives counts of 0 and no shares. Examples are the first in the order of
the test problems: nobody selected them.

    bad_seeds(tables)[0].sentence
    # "lora-main, seed 2, solves 3 % where its other seeds solve 31 % and 33 %: ..."

Intervals and tests over seeds assume a normal distribution. One diverged seed of three invalidates
them, and three seeds cannot tell a rare failure from a wide spread. So a seed far from the others
of its arm, or whose loss rose, is named; it is never left out.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean

import numpy as np

from paribus.analysis import wording
from paribus.analysis.measures import terms
from paribus.analysis.pairing import align
from paribus.analysis.tables import Run, Tables
from paribus.evaluation import mistakes
from paribus.evaluation.mistakes import Signal, count_gold_steps
from paribus.records import Generation, Measure, Outcome
from paribus.statistics.crossed import MIN_SEEDS
from paribus.statistics.intervals import Interval, share
from paribus.statistics.real.means import Scores, mean_of

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
    counts = Counter(run.signals)
    n = len(run.generations)
    rows = tuple(
        SignalRow(
            signal=kind,
            count=counts[kind],
            share=counts[kind] / n if n else None,
            interval=share(counts[kind], n) if n else None,
        )
        for kind in Signal
    )
    return SignalTable(n=n, correct=counts[None], rows=rows)


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
    """Return the mean of `mistakes.step_accuracy` with its interval."""
    accuracies = [mistakes.step_accuracy(generation) for generation in run.generations]
    values = [value for value in accuracies if value is not None]
    if not values:
        return StepAccuracy(mean=None, n=0, interval=None)
    interval = mean_of([values], bounded=True).interval
    return StepAccuracy(mean=fmean(values), n=len(values), interval=interval)


_WANTED = (
    ("First wrong", {Outcome.WRONG}),
    ("First correct", {Outcome.CORRECT}),
    ("First without an answer", {Outcome.NO_ANSWER, Outcome.TRUNCATED, Outcome.FAILED}),
)


@dataclass(frozen=True, slots=True)
class Example:
    """A generation, and what it stands for."""

    title: str
    outcome: Outcome
    generation: Generation


def pick(run: Run) -> list[Example]:
    """Return the run's first generation of each kind that occurs, at most three.

    By scores, the lowest and the highest stand in the place of the first wrong and correct.
    """
    picked = _extremes(run)
    for title, outcomes in _WANTED:
        for generation, outcome in zip(run.generations, run.judged, strict=True):
            if outcome in outcomes:
                picked.append(Example(title, outcome, generation))
                break
    return picked


def _extremes(run: Run) -> list[Example]:
    """Return the generations with the lowest and the highest score, the first of each."""
    if run.judged_values is None:
        return []
    rows = zip(run.judged_values, run.generations, run.judged, strict=True)
    scored = [(value, text) for value, text, outcome in rows if outcome is Outcome.SCORED]
    values = [value for value, _ in scored]
    ends = dict.fromkeys((min(values), max(values))) if values else {}
    return [
        Example(
            f"{title}, {wording.mean(end, run.measure)}",
            Outcome.SCORED,
            scored[values.index(end)][1],
        )
        for title, end in zip(("Lowest score", "Highest score"), ends, strict=False)
    ]


FAR = 4.0
"""Times what the other seeds' scatter explains, from which a seed is far from them."""
SCATTER = 0.015
"""Seeds are expected to scatter by as much at least: by 1 to 2 points in most fine-tuning."""
ROSE = 1.5
"""Times the lowest loss of a fifth of the training, above which the last fifth has risen."""
NATS = 0.1
"""And by so much at least: a loss that is nearly nought doubles for nothing."""
_PARTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class BadSeed:
    """One run that is not like the others of its arm.

    Attributes:
        accuracy: of the run, or its mean score; others: of the arm's other seeds.
        far: whether it lies far from them.
        rose: its mean training loss where it was lowest, and at the end; None if that is no higher.
    """

    arm: str
    seed: int
    accuracy: float
    others: tuple[float, ...]
    far: bool
    rose: tuple[float, float] | None
    measure: Measure = Measure.SOLVED

    @property
    def caveat(self) -> str:
        """What stands beside each comparison of the arm."""
        what = "lies far from its other seeds" if self.far else "ended at a risen training loss"
        return f"{self.arm}, seed {self.seed}, {what}"

    @property
    def sentence(self) -> str:
        """What is unlike, what that means for verdicts, and what two more seeds would settle."""
        text = f"{self.arm}, seed {self.seed},"
        parts = []
        if self.far:
            own, *others = (
                wording.mean(value, self.measure) for value in (self.accuracy, *self.others)
            )
            words = terms(self.measure)
            parts.append(
                f" {words.does} {own} where its other seeds {words.do} {wording.join(others)}"
            )
        if self.rose:
            parts.append(
                f" ended at a training loss of {self.rose[1]:.2f}, after {self.rose[0]:.2f}"
            )
        text += " and".join(parts) + "."
        if len(self.others) + 1 < MIN_SEEDS:
            return f"{text} It may have diverged: its figures say little of the method."
        return (
            f"{text} Verdicts over seeds assume a normal scatter and are not to be trusted with "
            f"such a seed, in either direction. Run two more seeds (seeds={len(self.others) + 3}): "
            f"if they come out like the others, {self.arm} fails now and then, which a mean hides; "
            "if they scatter as far, the wide interval is right."
        )


def bad_seeds(tables: Tables) -> list[BadSeed]:
    """Return the runs that are unlike the others of their arm, arm by arm."""
    return [
        bad_seed
        for arm in tables.arms
        if not arm.untuned
        for bad_seed in _of_arm(tables.complete_of(arm.name))
    ]


def _of_arm(runs: Sequence[Run]) -> list[BadSeed]:
    if not runs:
        return []
    (scores,) = align([runs]).scores
    shares = [float(row.mean()) if row.size else 0.0 for row in scores]
    away = None if runs[0].measure is Measure.LOSS else far_from_others(scores)
    bad_seeds = []
    for at, run in enumerate(runs):
        rose = _loss_rise(run)
        if at == away or rose:
            others = tuple(shares[:at] + shares[at + 1 :])
            bad_seeds.append(
                BadSeed(
                    arm=run.arm,
                    seed=run.seed,
                    accuracy=shares[at],
                    others=others,
                    far=at == away,
                    rose=rose,
                    measure=run.measure,
                )
            )
    return bad_seeds


def far_from_others(scores: Scores) -> int | None:
    """Return the row of `scores` [R, n] that lies far from the others; None if none does, or R < 3.

    The others' scatter is what they show, but no less than chance in their problems together with
    `SCATTER`: two seeds that agree by luck must not make the third look far.
    """
    runs, n = scores.shape
    if runs < MIN_SEEDS or not n:
        return None
    means = scores.mean(axis=1)
    at = int(np.argmax(np.abs(means - np.median(means))))
    others = np.delete(scores, at, axis=0)
    of_others = others.mean(axis=1)
    chance = float(others.var(axis=0, ddof=1).mean()) / n
    scatter = sqrt(max(float(of_others.var(ddof=1)), chance + SCATTER**2))
    distance = abs(float(means[at] - of_others.mean()))
    return at if distance > FAR * scatter * sqrt(1 + 1 / (runs - 1)) else None


def _loss_rise(run: Run) -> tuple[float, float] | None:
    losses = [point.loss for point in run.losses]
    if len(losses) < 2 * _PARTS:
        return None
    parts = [fmean(part) for part in np.array_split(losses, _PARTS)]
    lowest, last = min(parts), parts[-1]
    return (lowest, last) if last > max(ROSE * lowest, lowest + NATS) else None
