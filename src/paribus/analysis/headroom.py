"""Which models leave an experiment something to show: judged from untuned runs in the store.

    tested = read_scores(RunFolder(Path("runs/baselines/gemma-2b-it-few_shot-chat-1f2e/seed-0")))
    judge_headroom(tested, Design(n=200), difference=0.05)
    # verdict="good", reason="solves 62 of 200 under few_shot/chat, 31.0 % [25.0 to 37.7]: …"

A model is judged by its best protocol, as it is the model's ability that leaves room or none, and
at the upper end of that accuracy's interval. Tuned arms seldom lie below the untuned model, so what
they can show is decided there; and of two mistakes, an experiment without headroom costs most.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from paribus.analysis.reading import read_run
from paribus.analysis.summary import texts
from paribus.analysis.tables import score_all
from paribus.evaluation.scorers import NUMBERS, Scorers
from paribus.records import Generation, Outcome
from paribus.statistics.intervals import Interval, share
from paribus.statistics.power import Design, detectable, highest_correlation, problems_needed
from paribus.store.layout import RunFolder

HeadroomVerdict = Literal["too strong", "good", "at the floor"]

FLOOR = 0.05
"""An accuracy that may reach this is off the floor, however large a difference is asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolScore:
    """What one untuned model solves under one protocol.

    Attributes:
        protocol: its full name.
        solved: problems solved, by the main scorer; None of a metric that is not binary.
        n: problems asked.
        unanswered: problems whose text holds no final answer.
        cut: how many of these the token limit ended.
        interval: 95 % interval of the accuracy, or of the mean score.
        mean: mean score of a metric that is not binary.
        numbers: whether answers are numbers, reached in steps.
    """

    protocol: str
    solved: int | None
    n: int
    unanswered: int
    cut: int
    interval: Interval
    mean: float = 0.0
    numbers: bool = True

    @property
    def accuracy(self) -> float:
        """Share of the problems solved, or mean score."""
        return self.mean if self.solved is None else self.solved / self.n


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What an experiment could show of a model.

    Attributes:
        best: what it solves under its best protocol.
        verdict: `too strong`, `good` or `at the floor`.
        reason: why, in words and numbers.
        detectable: smallest improvement that would be shown 8 times in 10; None if none would.
        problems_needed: for the difference of interest; None if no number of problems shows it.
    """

    best: ProtocolScore
    verdict: HeadroomVerdict
    reason: str
    detectable: float | None
    problems_needed: int | None


def read_scores(folder: RunFolder, scorers: Scorers = NUMBERS) -> list[ProtocolScore]:
    """Return what the run in `folder` solves under each protocol; none if it is not complete."""
    run = read_run(folder, scorers)
    return [_tested(protocol, written, scorers) for protocol, written in texts(run).items()]


def judge_headroom(tested: Sequence[ProtocolScore], design: Design, difference: float) -> Judgement:
    """Return whether `design` could show `difference`, a share, of a model that solves `tested`.

    With u the upper end of the interval of its best accuracy:

    too strong    1 - u < difference: no arm can be that much better; or not even the step from u
                  to 1 would be shown
    at the floor  u < difference and u < `FLOOR`: no arm that stays there can be that much worse
                  than another; or not even the step from u to 0 would be shown, which is as
                  visible as the one from 1 - u to 1

    The smallest improvement and the problems needed are those at the accuracy itself. `design`
    must be able to show something at some accuracy, and `tested` must not be empty.
    """
    best = max(
        tested,
        key=lambda score_of_protocol: (score_of_protocol.accuracy, -score_of_protocol.unanswered),
    )
    high = best.interval.high
    gain = detectable(design, best.accuracy)
    needed = _needed(design, best.accuracy, difference)
    verdict: HeadroomVerdict
    if gain is None or 1 - high < difference or detectable(design, high) is None:
        verdict, reason = "too strong", _strong(best, design, difference)
    elif high < min(difference, FLOOR) or detectable(design, 1 - high) is None:
        verdict, reason = "at the floor", _floor(best, design, difference, needed)
    else:
        verdict, reason = "good", _fair(best, design, difference, gain, needed)
    return Judgement(
        best=best,
        verdict=verdict,
        reason=f"{_solves(best)}: {reason}",
        detectable=gain,
        problems_needed=needed,
    )


def _tested(protocol: str, generations: Sequence[Generation], scorers: Scorers) -> ProtocolScore:
    outcomes, n = Counter(map(scorers.outcome, generations)), len(generations)
    score = score_all(generations, scorers)
    mean = score.accuracy or 0.0
    return ProtocolScore(
        protocol=protocol,
        solved=score.correct,
        n=n,
        unanswered=outcomes[Outcome.NO_ANSWER] + outcomes[Outcome.TRUNCATED],
        cut=outcomes[Outcome.TRUNCATED],
        interval=score.interval or share(mean * n, n),
        mean=mean,
        numbers=scorers.numbers,
    )


def _strong(best: ProtocolScore, design: Design, difference: float) -> str:
    room = 1 - best.interval.high
    what = (
        f"{_points(difference)} are asked about"
        if room < difference
        else f"{_sample(best, design)} would not show even all of them"
    )
    return f"perhaps only {_points(room)} are left to gain, and {what}. Take a weaker model."


def _floor(best: ProtocolScore, design: Design, difference: float, needed: int | None) -> str:
    """Say what accuracy cannot show there, and what is known of the cause."""
    lacks = (
        f"arms that stay there cannot be {_points(min(difference, FLOOR))} apart"
        if best.interval.high < min(difference, FLOOR)
        else f"{_sample(best, design)} could not tell it from an arm that solves nothing"
    )
    misses = best.n - (best.solved or 0)
    cause = (
        "so the answer's format may be what fails, and tuning may lift it far"
        if best.unanswered > misses / 2
        else "so the format alone does not explain it; what tuning adds is not known"
    )
    gain = f" Showing a gain of {_points(difference)} takes {needed:,} problems."
    shown = "" if needed is None else gain
    if best.solved is None:
        return (
            f"{lacks}.{shown} Compare held-out loss. {best.unanswered} of {best.n} texts hold no "
            f"answer ({best.cut} cut by the token limit)."
        )
    also = " and step accuracy" if best.numbers else ""
    return (
        f"{lacks}.{shown} Compare held-out loss{also}. {best.unanswered} of {misses} "
        f"misses hold no final answer ({best.cut} cut by the token limit), {cause}."
    )


def _fair(
    best: ProtocolScore, design: Design, difference: float, gain: float, needed: int | None
) -> str:
    shown = f"{_sample(best, design)} would show a gain of {_points(gain)} or more"
    if needed is None:
        return f"{shown}; no number of problems shows {_points(difference)}."
    return f"{shown}; {_points(difference)} take {needed:,} problems."


def _needed(design: Design, accuracy: float, difference: float) -> int | None:
    """Return the problems that show `difference` over `accuracy`; None if none can."""
    if accuracy + difference > 1:
        return None
    # Arms that differ much cannot correlate much.
    highest = highest_correlation(accuracy + difference, accuracy)
    kept = replace(design, correlation=min(design.correlation, highest))
    return problems_needed(kept, accuracy, difference)


def _solves(best: ProtocolScore) -> str:
    low, high = 100 * best.interval.low, 100 * best.interval.high
    span = f"[{low:.1f} to {high:.1f}]"
    if best.solved is None:
        points = f"{100 * best.accuracy:.1f} points {span}"
        return f"scores {points} on {best.n} problems under {best.protocol}"
    share = f"{100 * best.accuracy:.1f} % {span}"
    return f"solves {best.solved} of {best.n} under {best.protocol}, {share}"


def _sample(best: ProtocolScore, design: Design) -> str:
    """Say how many problems the design has, and whose they are if others were asked."""
    whose = "" if design.n == best.n else "the experiment's "
    seeds = f"{design.seeds} seed{'s' if design.seeds > 1 else ''}"
    return f"{whose}{design.n:,} problems with {seeds}"


def _points(difference: float) -> str:
    return f"{100 * difference:.3g} points"
