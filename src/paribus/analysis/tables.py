"""Read an experiment's folder into frozen tables: who was run, what each run scored and cost.

    tables = load(ExperimentFolder(Path("runs/gsm8k")))
    tables.run("full-main", 0).scores["canonical"].accuracy     # 0.31
    tables.missing                                              # ["lora-main, seed 1: not run."]

A run that is missing, unfinished, failed or damaged is a row without scores, never a zero. The
scores are computed here from the stored texts, so a better scorer needs no new run.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from paribus.analysis.intervals import Interval, wilson
from paribus.errors import StoreError
from paribus.evaluation.score import SCORERS, score
from paribus.files import read_json
from paribus.records import Generation, Outcome
from paribus.store.experiments import read_description
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.runs import RunState, read_events, read_generations, state

MAIN_SCORER = SCORERS[0]
"""The scorer conclusions are drawn from."""

DAMAGED = "damaged"
"""State of a run that has a manifest but whose files cannot be read."""

MAX_CURVE_POINTS = 80
"""A loss curve is drawn with at most this many points; longer ones are averaged in blocks."""

_NOTES = {
    RunState.MISSING: "not run.",
    RunState.UNFINISHED: "unfinished: it is still running, or was stopped.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How many of `n` problems one scorer calls correct; `accuracy` is a share, None if n is 0."""

    correct: int
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
    def untuned(self) -> bool:
        """Whether nothing is trained: such an arm is run once, not once per seed."""
        return self.identity.get("method", self.factors.get("method")) == "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One arm with one seed.

    Attributes:
        state: a `RunState`, or `DAMAGED`.
        note: why there are no scores; empty for a complete run.
        result: the run's `result.json`; empty unless complete.
        generations: what the model wrote, in the order of the test problems.
        judged: the main scorer's outcome of each generation.
        scores: one entry for each scorer; empty unless complete.
        losses: the training loss; empty for an untuned arm.
    """

    arm: str
    seed: int
    state: str
    note: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    generations: tuple[Generation, ...] = ()
    judged: tuple[Outcome, ...] = ()
    scores: dict[str, Score] = field(default_factory=dict)
    losses: tuple[LossPoint, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the run has scores."""
        return self.state == RunState.COMPLETE

    @property
    def training(self) -> dict[str, Any] | None:
        """Figures of the training, None for an untuned arm or an incomplete run."""
        return self.result.get("training")

    @property
    def outcomes(self) -> dict[str, int]:
        """Problems by the main scorer's outcome, every outcome named. Sums to n."""
        counts = Counter(self.judged)
        return {outcome.value: counts[outcome] for outcome in Outcome}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """An experiment as it lies in the store. `declared` are its contrasts: a, b, factor."""

    config: dict[str, Any]
    origins: dict[str, str]
    arms: tuple[Arm, ...]
    declared: tuple[tuple[str, str, str], ...]
    runs: tuple[Run, ...]

    def run(self, arm: str, seed: int) -> Run | None:
        """Return the run of `arm` with `seed`, complete or not; None if none is declared."""
        return next((run for run in self.runs if (run.arm, run.seed) == (arm, seed)), None)

    def arm(self, name: str) -> Arm | None:
        """Return the arm called `name`, or None."""
        return next((arm for arm in self.arms if arm.name == name), None)

    @property
    def complete(self) -> list[Run]:
        """The runs with scores."""
        return [run for run in self.runs if run.complete]

    @property
    def missing(self) -> list[str]:
        """One line for each run without scores, with the reason."""
        return [f"{run.arm}, seed {run.seed}: {run.note}" for run in self.runs if not run.complete]


def load(folder: ExperimentFolder) -> Tables:
    """Read the experiment in `folder`. Raises StoreError only if its description is unreadable."""
    description = read_description(folder)
    config: dict[str, Any] = description["config"]
    arms = tuple(
        Arm(name=arm["name"], factors=arm["factors"], identity=arm["identity"])
        for arm in description["arms"]
    )
    declared = tuple((each["a"], each["b"], each["factor"]) for each in description["contrasts"])
    runs = tuple(
        _read_run(folder.run(arm.name, seed))
        for arm in arms
        for seed in range(1 if arm.untuned else int(config.get("seeds", 1)))
    )
    origins: dict[str, str] = description["origins"]
    return Tables(config=config, origins=origins, arms=arms, declared=declared, runs=runs)


def score_all(generations: Sequence[Generation], scorer: str) -> Score:
    """Return the score of `generations`. Every one counts in n, whatever its outcome."""
    n = len(generations)
    correct = sum(score(each, scorer) is Outcome.CORRECT for each in generations)
    if n == 0:
        return Score(correct=0, n=0, accuracy=None, interval=None)
    return Score(correct=correct, n=n, accuracy=correct / n, interval=wilson(correct, n))


def loss_curve(events: Sequence[dict[str, Any]]) -> tuple[LossPoint, ...]:
    """Return the loss of the steps in `events`, in blocks weighted by their target tokens."""
    steps = [event for event in events if event.get("loss") is not None]
    size = max(1, ceil(len(steps) / MAX_CURVE_POINTS))
    blocks = [steps[start : start + size] for start in range(0, len(steps), size)]
    return tuple(LossPoint(step=block[-1]["step"], loss=_mean_loss(block)) for block in blocks)


def _mean_loss(block: Sequence[dict[str, Any]]) -> float:
    tokens = [event.get("target_tokens") or 1 for event in block]
    total = sum(event["loss"] * count for event, count in zip(block, tokens, strict=True))
    return float(total / sum(tokens))


def _read_run(folder: RunFolder) -> Run:
    """Return the run in `folder`; what keeps it from being scored becomes its note."""
    arm, seed, reached = folder.arm, folder.replicate, state(folder)
    if reached is RunState.FAILED:
        return Run(arm=arm, seed=seed, state=reached, note=f"failed: {_failure(folder)}")
    if reached is not RunState.COMPLETE:
        return Run(arm=arm, seed=seed, state=reached, note=_NOTES[reached])
    try:
        result, generations = _read_complete(folder)
    except (OSError, ValueError, KeyError, TypeError, StoreError) as error:
        reason = error.message if isinstance(error, StoreError) else repr(error)
        return Run(arm=arm, seed=seed, state=DAMAGED, note=f"damaged: {reason}")
    return Run(
        arm=arm,
        seed=seed,
        state=reached,
        result=result,
        generations=generations,
        judged=tuple(score(each, MAIN_SCORER) for each in generations),
        scores={scorer: score_all(generations, scorer) for scorer in SCORERS},
        losses=loss_curve(read_events(folder, "step")),
    )


def _read_complete(folder: RunFolder) -> tuple[dict[str, Any], tuple[Generation, ...]]:
    """Read a complete run. Raises StoreError if generations were lost after it was measured.

    The manifest is not checked whole: deleting `weights/` to save room must not cost the scores.
    """
    result: dict[str, Any] = read_json(folder.result)
    evaluation = result["evaluation"]
    path = folder.generations(evaluation["protocol"])
    generations = tuple(read_generations(path))
    if len(generations) != evaluation["problems"]:
        raise StoreError(
            f"{path} holds {len(generations)} generations, the result speaks of "
            f"{evaluation['problems']}"
        )
    return result, generations


def _failure(folder: RunFolder) -> str:
    """The first line of what went wrong."""
    try:
        error = str(read_json(folder.failure)["error"])
    except (OSError, json.JSONDecodeError, KeyError):
        return "the reason was not recorded."
    return error.strip().partition("\n")[0] or "no reason given."
