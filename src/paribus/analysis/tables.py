"""An experiment as frozen tables: who was run, what each run wrote, scored and cost.

    tables.run("full-main", 0).scores["canonical"].accuracy     # 0.31
    tables.missing                                              # ["lora-main, seed 1: not run."]

A run that is missing, unfinished, failed or damaged is a row without scores, never a zero. The
scores are computed here from the texts, so a better scorer needs no new run. `reading` fills the
tables from a store, `elsewhere.external` from generations that other tools made.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paribus.config.nested import flatten
from paribus.evaluation.mistakes import Signal, signal
from paribus.evaluation.scorers import NUMBERS, Scorers
from paribus.evaluation.scoring import style_seen
from paribus.records import Generation, Likelihood, Measure, Outcome
from paribus.statistics.crossed import components
from paribus.statistics.groups import numbered
from paribus.statistics.intervals import Interval
from paribus.statistics.real.means import mean_of
from paribus.statistics.verdicts import mean_interval
from paribus.store.experiments import ArmTuning
from paribus.store.ledger import Look, Reading, TestRead
from paribus.store.results import DataCounts, RunResult, TrainingCost
from paribus.store.runs import RunState

FILE = "file"
"""The factor of arms of which nobody knows in what else they differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one scorer says of `n` problems.

    Attributes:
        correct: problems solved; None of a scorer that is not binary.
        accuracy: share of problems solved, mean score or mean loss; None if n is 0.
        interval: 95 %, of `accuracy`.
    """

    correct: int | None
    n: int
    accuracy: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LossPoint:
    """Mean training loss per target token over a block of steps that ends with `step`."""

    step: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One condition: its name, its values of the factors, and all that defines its result."""

    name: str
    factors: dict[str, Any]
    identity: dict[str, Any]

    @property
    def method(self) -> str | None:
        """How it is trained, "none" if it is not; None if that is not known."""
        method: str | None = self.identity.get("method", self.factors.get("method"))
        return method

    @property
    def trained(self) -> bool:
        """Whether it is known to have been trained; of external files that is not known."""
        return self.method not in (None, "none")

    @property
    def untuned(self) -> bool:
        """Whether nothing is trained: such an arm is run once, not once per seed."""
        return self.method == "none"


OUTCOME_NUMBERS = {outcome: number for number, outcome in enumerate(Outcome)}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One arm with one seed. What each comparison of it asks again is found once.

    Attributes:
        state: only a complete run has scores.
        note: why there are no scores; of a complete run what it is still to be tested for.
        result: what it measured; None unless complete, and of texts whose making is not known.
        data: counts of its problems; known also where nothing else of `result` counts.
        generations: what the model wrote, in the order of the test problems.
        by_scorer: each scorer's outcome of each generation.
        values: each scorer's score of each generation, only of scorers that are not binary.
        judged: the outcomes that conclusions are drawn from: the main scorer's, or another's.
        judged_values: the scores that conclusions are drawn from; None where outcomes are.
        scores: one entry for each scorer; empty unless complete.
        losses: the training loss; empty for an untuned arm.
        also: what the model wrote under each further protocol, by its name.
        heldout: the likelihood of each tested problem's gold solution.
        stated: filter -> what the run's file itself says of each text (lm-eval's `exact_match`):
            whether it is right, None where it does not say.
        scorers: what its texts are scored by.
        tasks: name of a further task -> the same run as tested on it.
        made_on: the `environment` of its result, kept where nothing else of that counts.
    """

    arm: str
    seed: int
    state: RunState
    note: str = ""
    result: RunResult | None = None
    data: DataCounts | None = None
    generations: tuple[Generation, ...] = ()
    by_scorer: dict[str, tuple[Outcome, ...]] = field(default_factory=dict)
    values: dict[str, tuple[float, ...]] = field(default_factory=dict)
    judged: tuple[Outcome, ...] = ()
    judged_values: tuple[float, ...] | None = None
    scores: dict[str, Score] = field(default_factory=dict)
    losses: tuple[LossPoint, ...] = ()
    also: dict[str, tuple[Generation, ...]] = field(default_factory=dict)
    heldout: tuple[Likelihood, ...] = ()
    stated: dict[str, tuple[bool | None, ...]] = field(default_factory=dict)
    scorers: Scorers = NUMBERS
    tasks: "dict[str, Run]" = field(default_factory=dict)
    made_on: dict[str, str] | None = None

    @property
    def complete(self) -> bool:
        """Whether the run has scores."""
        return self.state is RunState.COMPLETE

    @property
    def environment(self) -> dict[str, str] | None:
        """Versions and machine, by fact; None if nothing is known of its making."""
        return self.result.environment if self.result else self.made_on

    @property
    def training(self) -> TrainingCost | None:
        """What training took, None for an untuned arm or an incomplete run."""
        return self.result.training if self.result else None

    @property
    def score(self) -> Score:
        """By the main scorer. Of a complete run."""
        return self.scores[self.scorers.main]

    @property
    def measure(self) -> Measure:
        """What conclusions are drawn from: problems solved, scores, or losses."""
        if self.scorers.loss:
            return Measure.LOSS
        return Measure.SOLVED if self.judged_values is None else Measure.SCORE

    @property
    def tested(self) -> Sequence[Generation | Likelihood]:
        """What there is of each problem: its text, or the likelihood of its gold solution."""
        return self.heldout if self.scorers.loss else self.generations

    @cached_property
    def problem_ids(self) -> tuple[str, ...]:
        """The problem of each text or likelihood, in their order."""
        return tuple(row.problem_id for row in self.tested)

    @cached_property
    def has_groups(self) -> bool:
        """Whether any of its problems belongs to a group."""
        return any(row.group for row in self.tested)

    @cached_property
    def outcome_numbers(self) -> NDArray[np.int8]:
        """`judged` as places in `Outcome`, [n]."""
        return np.array([OUTCOME_NUMBERS[outcome] for outcome in self.judged], dtype=np.int8)

    @property
    def outcomes(self) -> dict[str, int]:
        """Problems by the main scorer's outcome, every outcome it has named. Sums to n."""
        solved = {Outcome.CORRECT, Outcome.WRONG}
        never = {Outcome.SCORED} if self.measure is Measure.SOLVED else solved
        counts = Counter(self.judged)
        return {outcome.value: counts[outcome] for outcome in Outcome if outcome not in never}

    @cached_property
    def signals(self) -> tuple[Signal | None, ...]:
        """What went wrong in each text; None where nothing did. Empty if answers are no numbers."""
        if not self.scorers.numbers:
            return ()
        return tuple(
            signal(generation, outcome, self.scorers.style)
            for generation, outcome in zip(self.generations, self.judged, strict=True)
        )

    @cached_property
    def styles(self) -> dict[str, int]:
        """Texts by the style of their final answer, the most frequent first; "none" has none.

        Empty where answers are not numbers.
        """
        if not self.scorers.numbers:
            return {}
        return dict(
            Counter(
                style_seen(generation, self.scorers.style) for generation in self.generations
            ).most_common()
        )

    def ask_all(self) -> None:
        """Find now what is kept and takes long: it may be found in another process."""
        for run in (self, *self.tasks.values()):
            _ = run.problem_ids, run.has_groups, run.outcome_numbers, run.signals, run.styles


@dataclass(frozen=True, kw_only=True)
class Tables:
    """An experiment, run or not.

    Attributes:
        config: every value of the experiment file; origins: where each was set.
        declared: its contrasts: a, b, factor.
        runs: every run of the design.
        reads: every reading of the test split, oldest first.
        unrecorded: readings that runs speak of and the ledger does not.
        tuning: arm -> its trials of learning rates and the chosen one.
        repeats: arms whose several runs are not known to be separate training runs.
        likely: arms of files whose texts or answers are too much alike, and in what; see
            `elsewhere.repeats.likenesses`.
        alike: what `about_alike` says of the problems; None if it has not been asked.
        margins: (a, b) of a contrast -> the largest difference that would not matter, as a share.
        asked: one sentence for each question that was asked after the runs.
        looks: every look at the verdicts, this one too, oldest first.
        not_entered: why this look is not in the ledger, or "".
        tasks: name of a further task -> what its texts are scored by.
        guards: name of one that must not get worse -> the largest loss that would not matter, as a
            share.
    """

    config: dict[str, Any]
    origins: dict[str, str]
    arms: tuple[Arm, ...]
    declared: tuple[tuple[str, str, str], ...]
    runs: tuple[Run, ...]
    reads: tuple[TestRead, ...] = ()
    unrecorded: tuple[Reading, ...] = ()
    tuning: dict[str, ArmTuning] = field(default_factory=dict)
    repeats: frozenset[str] = frozenset()
    likely: tuple[tuple[frozenset[str], str], ...] = ()
    alike: str | None = None
    margins: dict[tuple[str, str], float] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    looks: tuple[Look, ...] = ()
    not_entered: str = ""
    tasks: dict[str, Scorers] = field(default_factory=dict)
    guards: dict[str, float] = field(default_factory=dict)

    def on(self, task: str) -> "Tables":
        """Return the experiment as tested on a further task, with its guard for a margin.

        Where it is guarded each arm is compared with its untuned model, declared or not. No other
        contrast has a margin there.
        """
        margin = self.guards.get(task)
        own = self._against_untuned() if margin else []
        turned = {(b, a) for a, b in own}
        declared = [pair for pair in self.declared if pair[:2] not in turned]
        there = {pair[:2] for pair in declared}
        missing = [(a, b, "tuning") for a, b in own if (a, b) not in there]
        return replace(
            self,
            declared=(*declared, *missing),
            runs=tuple(_on(run, task, self.tasks[task]) for run in self.runs),
            margins=dict.fromkeys(own, margin) if margin else {},
            tuning={},
            alike=None,
            tasks={},
            guards={},
        )

    def _against_untuned(self) -> list[tuple[str, str]]:
        """Return each trained arm with the untuned one of its model and prompt format."""
        untuned = {_kind(arm): arm.name for arm in self.arms if arm.untuned}
        return [
            (arm.name, untuned[_kind(arm)])
            for arm in self.arms
            if not arm.untuned and _kind(arm) in untuned
        ]

    @property
    def scorers(self) -> Scorers:
        """What the texts are scored by."""
        return self.runs[0].scorers if self.runs else NUMBERS

    @property
    def measure(self) -> Measure:
        """What conclusions are drawn from: problems solved, scores, or losses."""
        return next((run.measure for run in self.complete), self.scorers.measure())

    def run(self, arm: str, seed: int) -> Run | None:
        """Return the run of `arm` with `seed`, complete or not; None if none is declared."""
        return next((run for run in self.runs if (run.arm, run.seed) == (arm, seed)), None)

    def arm(self, name: str) -> Arm | None:
        """Return the arm called `name`, or None."""
        return self._arms.get(name)

    @cached_property
    def _arms(self) -> dict[str, Arm]:
        return {arm.name: arm for arm in self.arms}

    def existing(self, name: str) -> bool:
        """Whether an arm's complete runs stand for models that exist, not for a method's seeds."""
        arm = self.arm(name)
        single = len(self.complete_of(name)) < 2
        return single or name in self.repeats or (arm is not None and arm.untuned)

    @cached_property
    def complete(self) -> tuple[Run, ...]:
        """The runs with scores."""
        return tuple(run for run in self.runs if run.complete)

    def complete_of(self, arm: str) -> tuple[Run, ...]:
        """Return the runs of `arm` with scores, in the order of the experiment."""
        return self._complete_of.get(arm, ())

    @cached_property
    def _complete_of(self) -> dict[str, tuple[Run, ...]]:
        by_arm: dict[str, list[Run]] = {}
        for run in self.complete:
            by_arm.setdefault(run.arm, []).append(run)
        return {arm: tuple(runs) for arm, runs in by_arm.items()}

    @property
    def missing(self) -> list[str]:
        """One line for each run without scores, with the reason."""
        return [f"{run.arm}, seed {run.seed}: {run.note}" for run in self.runs if not run.complete]


def _kind(arm: Arm) -> tuple[Any, ...]:
    """Return what an arm shares with the untuned arm that it is compared with."""
    settings = flatten(arm.identity)
    shared = ("model", "revision", "prompt.format", "data.source", "task.task")
    return tuple(settings.get(key) for key in shared)


def _on(run: Run, task: str, scorers: Scorers) -> Run:
    """Return `run` as tested on a further task; without scores where it was not."""
    if run.complete and task not in run.tasks:
        note, state = f"no {task} yet.", RunState.TESTED_LESS
        return Run(arm=run.arm, seed=run.seed, state=state, note=note, scorers=scorers)
    return run.tasks.get(task, replace(run, scorers=scorers))


def score_all(generations: Sequence[Generation], scorers: Scorers) -> Score:
    """Return the main score of `generations`. Every one counts in n, whatever its outcome."""
    judged = [scorers.judge(generation) for generation in generations]
    values = None if scorers.binary else [value for _, value in judged]
    return _counted(generations, [outcome for outcome, _ in judged], values)


def with_generations(run: Run, generations: Sequence[Generation]) -> Run:
    """Return `run` with these generations instead of its own, each scored once by each scorer."""
    scorers = run.scorers
    if scorers.loss:
        return _with_losses(run)
    judged = {
        name: [scorers.judge(generation, name) for generation in generations]
        for name in scorers.names
    }
    by_scorer = {name: tuple(outcome for outcome, _ in rows) for name, rows in judged.items()}
    values = {
        name: tuple(value for _, value in rows)
        for name, rows in judged.items()
        if scorers.measure(name) is not Measure.SOLVED
    }
    scores = {
        name: _counted(generations, outcomes, values.get(name))
        for name, outcomes in by_scorer.items()
    }
    scored = replace(
        run, generations=tuple(generations), by_scorer=by_scorer, values=values, scores=scores
    )
    return judged_by(scored, scorers.main)


def _with_losses(run: Run) -> Run:
    """Return `run` with the loss of each problem, which are all defined, as its score."""
    losses = tuple((row.nll or 0.0) / row.tokens for row in run.heldout)
    groups = numbered([row.group for row in run.heldout])
    mean = mean_of([losses], groups) if losses else None
    score = Score(
        correct=None,
        n=len(losses),
        accuracy=mean.value if mean else None,
        interval=mean.interval if mean else None,
    )
    main, judged = run.scorers.main, (Outcome.SCORED,) * len(losses)
    return replace(
        run,
        by_scorer={main: judged},
        values={main: losses},
        judged=judged,
        judged_values=losses,
        scores={main: score},
    )


def judged_by(run: Run, scorer: str) -> Run:
    """Return `run` with what `scorer` says as what conclusions are drawn from."""
    return replace(run, judged=run.by_scorer[scorer], judged_values=run.values.get(scorer))


def _counted(
    generations: Sequence[Generation],
    outcomes: Sequence[Outcome],
    values: Sequence[float] | None,
) -> Score:
    n = len(generations)
    solved = [outcome is Outcome.CORRECT for outcome in outcomes]
    correct = sum(solved) if values is None else None
    if n == 0:
        return Score(correct=correct, n=0, accuracy=None, interval=None)
    groups = numbered([generation.group for generation in generations])
    if values is not None:
        mean = mean_of([values], groups, bounded=True)
        return Score(correct=None, n=n, accuracy=mean.value, interval=mean.interval)
    interval = mean_interval(components([solved]), groups)
    return Score(correct=correct, n=n, accuracy=sum(solved) / n, interval=interval)
