"""How the arms came along on the validation problems while they trained, and what was tested.

    (full, lora) = curves(tables)           # one for each arm that was measured
    full.points[0].loss, full.points[0].interval        # 0.812, 0.790 to 0.834 over three seeds
    full.tested                             # (2, 3, 2): which moment each seed was tested at
    remarks(full)                           # ["full: its loss was lowest at the first …"]

A curve is the mean over an arm's seeds, moment by moment. Its interval is Student's t over the
seeds alone: all of them were measured on the same validation problems. The problems are drawn from
the training pool, and curves are described, never tested.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import fmean, stdev

from paribus.analysis.tables import Run, Tables
from paribus.statistics.crossed import MIN_SEEDS, critical
from paribus.statistics.intervals import Interval
from paribus.store.results import Validated


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One moment of an arm: means over its seeds.

    Attributes:
        step: optimizer steps that were done.
        examples: seen so far, as the two below.
        tokens: prompt and target tokens.
        seconds: of training.
        loss: nats per token; interval: 95 %, None under three seeds.
        score: mean of the main scorer, 0 to 1; None if nothing was generated. score_interval: 95 %.
    """

    step: float
    examples: float
    tokens: float
    seconds: float
    loss: float
    interval: Interval | None = None
    score: float | None = None
    score_interval: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """An arm's moments.

    Attributes:
        arm: its name.
        seeds: how many runs it is the mean of.
        problems: validation problems.
        points: its moments, the earliest first.
        lowest: of each run, the place in `points` of its lowest loss.
        tested: of each run, the place in `points` whose weights were tested.
        chooses: whether the tested weights were chosen by the loss.
        scorer: by which texts were scored; "" if none were generated.
    """

    arm: str
    seeds: int
    problems: int
    points: tuple[Point, ...]
    lowest: tuple[int, ...]
    tested: tuple[int, ...]
    chooses: bool
    scorer: str = ""


def curves(tables: Tables) -> list[Curve]:
    """Return the curve of each arm that was measured while it trained."""
    return [
        curve for arm in tables.arms if (curve := _curve(tables.complete_of(arm.name))) is not None
    ]


def _curve(runs: Sequence[Run]) -> Curve | None:
    results = [run.result for run in runs if run.result and run.result.validated]
    measured = [_with_loss(result.validated) for result in results]
    # Runs that train for a number of tokens may differ by a step at their end, and in no moment.
    moments = list(zip(*measured, strict=False))
    if not moments:
        return None
    steps = [[now.step for now in of_run[: len(moments)]] for of_run in measured]
    losses = [[now.loss or 0.0 for now in of_run[: len(moments)]] for of_run in measured]
    tested = [result.tested_step for result in results]
    return Curve(
        arm=runs[0].arm,
        seeds=len(measured),
        problems=moments[0][0].heldout.problems,
        points=tuple(_point(moment) for moment in moments),
        lowest=tuple(of_run.index(min(of_run)) for of_run in losses),
        tested=tuple(
            of_run.index(step) if step in of_run else len(of_run) - 1
            for step, of_run in zip(tested, steps, strict=True)
        ),
        chooses=any(step is not None for step in tested),
        scorer=moments[0][0].scorer or "",
    )


def _with_loss(measured: Sequence[Validated]) -> list[Validated]:
    """Return the measurements up to the first at which a loss is not defined."""
    undefined = [place for place, now in enumerate(measured) if now.loss is None]
    return list(measured[: undefined[0]] if undefined else measured)


def _point(moment: Sequence[Validated]) -> Point:
    losses = [now.loss for now in moment if now.loss is not None]
    scores = [now.score for now in moment if now.score is not None]
    return Point(
        step=fmean(now.step for now in moment),
        examples=fmean(now.examples for now in moment),
        tokens=fmean(now.tokens for now in moment),
        seconds=fmean(now.seconds for now in moment),
        loss=fmean(losses),
        interval=_over_seeds(losses, inf),
        score=fmean(scores) if scores else None,
        score_interval=_over_seeds(scores, 1.0),
    )


def _over_seeds(values: Sequence[float], most: float) -> Interval | None:
    """Return the interval of the mean, within 0 and `most`."""
    if len(values) < MIN_SEEDS:
        return None
    mean, error = fmean(values), stdev(values) / sqrt(len(values))
    beside = critical(len(values) - 1) * error
    return Interval(max(0.0, mean - beside), min(most, mean + beside))


def remarks(curve: Curve) -> list[str]:
    """Return what the curve says of how long the arm was trained, and how fast."""
    last, runs = len(curve.points) - 1, curve.seeds
    if last == 0:
        return []
    early, late = (sum(place == end for place in curve.lowest) for end in (0, last))
    lines = []
    if early:
        lines.append(
            f"{curve.arm}: the loss was lowest at the first moment{_in(early, runs)}. The learning "
            "rate may be too high, or the best weights lie before it: measure earlier."
        )
    if late and curve.chooses:
        lines.append(
            f"{curve.arm}: the loss was lowest at the last moment{_in(late, runs)}, and may fall "
            "further: train longer before you say which checkpoint is best."
        )
    passed = sum(0 < place < last for place in curve.lowest)
    if passed and not curve.chooses:
        lines.append(
            f"{curve.arm}: the loss was lowest before the end{_in(passed, runs)}, and the last "
            "weights were tested; evaluation.checkpoint=best_loss tests the others."
        )
    return lines


def _in(some: int, runs: int) -> str:
    if runs == 1:
        return ""
    return " in all runs" if some == runs else f" in {some} of {runs} runs"
