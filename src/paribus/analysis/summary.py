"""What each arm solves: over its seeds, and under each protocol it was tested under.

    summaries(tables)[1]        # ArmSummary(name="full-main", seeds=3, n=1319, mean=0.31, ...)
    grid(tables).cells["full-main"]["zero_shot/raw"].mean      # 0.31
    calculator_gains(tables)[0].difference                     # 0.032: with it minus without

With one seed it is a trained model's accuracy and its interval. With several it is the method's:
the mean over seeds, their spread, and an interval that covers seeds and problems. Of runs that are
not known to be separate training runs it is their mean, with an interval for problems alone.

A protocol with `+calculator` completes each `<<12*3=` while the model writes. Nothing else differs,
so the gain is what arithmetic alone costs the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import stdev

from paribus.analysis.contrasts import compare_tables
from paribus.analysis.pairing import Aligned, align
from paribus.analysis.tables import Run, Tables
from paribus.prompts.formats import Protocol
from paribus.records import Generation, Measure
from paribus.statistics.crossed import components, estimate, too_uncertain
from paribus.statistics.intervals import Interval
from paribus.statistics.real.comparison import as_given
from paribus.statistics.real.means import mean_of, of_runs
from paribus.statistics.verdicts import (
    Split,
    Verdict,
    as_existing,
    decide,
    holm,
    mean_interval,
    split,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSummary:
    """The main scorer's accuracy of an arm, as shares; or its mean score.

    Attributes:
        seeds: complete runs.
        n: problems that all of them were tested on.
        mean: accuracy or mean score, averaged over seeds; None without a run.
        spread: standard deviation of the seeds' accuracies or mean scores; None for one seed.
        interval: 95 %; None where `reason` says why.
        reason: why there is no interval; else "".
        split: where the uncertainty of the mean comes from; None for one seed, or without interval.
    """

    name: str
    seeds: int
    n: int = 0
    mean: float | None = None
    spread: float | None = None
    interval: Interval | None = None
    reason: str = ""
    split: Split | None = None


def summaries(tables: Tables) -> list[ArmSummary]:
    """Return one summary for each arm, in the order of the experiment."""
    return [summary(tables, arm.name) for arm in tables.arms]


def summary(tables: Tables, name: str) -> ArmSummary:
    """Return the summary of the arm called `name`."""
    runs = tables.complete_of(name)
    if not runs:
        return ArmSummary(name=name, seeds=0, reason="not run")
    lined_up = align([runs])
    if not lined_up.keys:
        reason = "its runs were tested on different problems"
        return ArmSummary(name=name, seeds=len(runs), reason=reason)
    (scores,) = lined_up.scores
    of_arm = _of_solved if lined_up.measure is Measure.SOLVED else _of_scores
    return of_arm(
        ArmSummary(
            name=name,
            seeds=len(runs),
            n=len(lined_up.keys),
            spread=stdev(float(row.mean()) for row in scores) if len(runs) > 1 else None,
        ),
        lined_up,
        existing=tables.existing(name),
    )


def _of_solved(of_arm: ArmSummary, lined_up: Aligned, *, existing: bool) -> ArmSummary:
    (solved,), groups = lined_up.solved, lined_up.groups
    arm = as_existing(components(solved)) if existing else components(solved)
    interval = mean_interval(arm, groups)
    return replace(
        of_arm,
        mean=arm.mean,
        interval=interval,
        reason="" if interval else too_uncertain([arm], groups),
        split=split(estimate([(1.0, arm)], groups)) if interval else None,
    )


def _of_scores(of_arm: ArmSummary, lined_up: Aligned, *, existing: bool) -> ArmSummary:
    (scores,), groups = lined_up.scores, lined_up.groups
    own = as_given(scores, existing)
    mean = mean_of(own, groups, bounded=lined_up.measure is Measure.SCORE)
    return replace(
        of_arm,
        mean=mean.value,
        interval=mean.interval,
        reason=mean.reason,
        split=split(of_runs(own, groups)) if mean.interval else None,
    )


_SHOTS = ("zero_shot", "one_shot", "few_shot")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Arms by protocols.

    Attributes:
        protocols: full names: zero-shot before few-shot, raw before chat, unaided first.
        main: arm -> the protocol that conclusions are drawn from.
        cells: arm -> protocol -> its summary over seeds; no entry where it was not tested so.
    """

    protocols: tuple[str, ...]
    main: dict[str, str]
    cells: dict[str, dict[str, ArmSummary]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalculatorGain:
    """An arm under a protocol with the calculator, against itself without it.

    Attributes:
        protocol: the one without; the other is `protocol` + calculator.
        seeds: runs of the arm that were tested under both.
        n: problems that all of them share.
        without: share solved without it.
        aided: share solved with it.
        interval: 95 %, of `aided` minus `without`; None where `reason` says why. Over seeds that
            of `contrasts.compare`, which is wide here: both sides are the same trained models.
        p_holm: p-value corrected for all gains.
    """

    arm: str
    protocol: str
    seeds: int
    n: int
    without: float
    aided: float
    interval: Interval | None
    p_value: float | None
    p_holm: float | None = None
    reason: str = ""

    @property
    def difference(self) -> float:
        """Share solved with the calculator minus share solved without."""
        return self.aided - self.without

    @property
    def verdict(self) -> Verdict:
        """Supported: the calculator helps. Refuted: it does harm."""
        return decide(self.p_holm, self.difference)


def texts(run: Run) -> dict[str, tuple[Generation, ...]]:
    """Return what `run` wrote, by protocol, the main one first; {} if its protocol is not known."""
    main = main_protocol(run)
    return {} if main is None else {main: run.generations, **run.also}


def main_protocol(run: Run) -> str | None:
    """Return the protocol that conclusions are drawn from; None for texts made elsewhere."""
    return run.result.evaluation.protocol if run.result else None


def under(run: Run, protocol: str) -> Run:
    """Return `run` with what it wrote under `protocol` for its generations, judged again."""
    generations = texts(run)[protocol]
    judged = [run.scorers.judge(generation) for generation in generations]
    return replace(
        run,
        generations=generations,
        judged=tuple(outcome for outcome, _ in judged),
        judged_values=None if run.scorers.binary else tuple(value for _, value in judged),
    )


def grid(tables: Tables) -> Grid | None:
    """Return the arms under all protocols; None unless an arm was tested under more than one."""
    if not any(run.also for run in tables.complete):
        return None
    main: dict[str, str] = {}
    cells: dict[str, dict[str, ArmSummary]] = {}
    for arm in tables.arms:
        runs = _runs(tables, arm.name)
        if not runs:
            continue
        main[arm.name] = next(iter(texts(runs[0])))
        cells[arm.name] = {
            name: summary(replace(tables, runs=_asked(runs, name)), arm.name)
            for name in dict.fromkeys(name for run in runs for name in texts(run))
        }
    names = {name for row in cells.values() for name in row}
    return Grid(protocols=tuple(sorted(names, key=_place)), main=main, cells=cells)


def calculator_gains(tables: Tables) -> list[CalculatorGain]:
    """Return each arm with against without the calculator, corrected as one family."""
    measured = []
    for arm in tables.arms:
        runs = _runs(tables, arm.name)
        names = dict.fromkeys(name for run in runs for name in texts(run))
        for name in sorted(names, key=_place):
            aided = replace(Protocol.parse(name), calculator=True).name
            both = [run for run in runs if {name, aided} <= texts(run).keys()]
            if aided != name and both:
                measured.append(_gain(_asked(both, aided), _asked(both, name), name))
    gains = [gain for gain in measured if gain is not None]
    corrected = holm([gain.p_value for gain in gains])
    return [replace(gain, p_holm=p) for gain, p in zip(gains, corrected, strict=True)]


def _gain(aided: Sequence[Run], without: Sequence[Run], protocol: str) -> CalculatorGain | None:
    lined_up = align([aided, without])
    if not lined_up.keys:
        return None
    of_aided, of_without = lined_up.compared
    tested = compare_tables(of_aided, of_without, lined_up.groups, measure=lined_up.measure)
    return CalculatorGain(
        arm=aided[0].arm,
        protocol=protocol,
        seeds=len(aided),
        n=len(lined_up.keys),
        without=float(of_without.mean()),
        aided=float(of_aided.mean()),
        interval=tested.interval,
        p_value=tested.p_value,
        reason=tested.reason,
    )


def _runs(tables: Tables, arm: str) -> list[Run]:
    return [run for run in tables.complete if run.arm == arm and texts(run)]


def _asked(runs: Sequence[Run], protocol: str) -> tuple[Run, ...]:
    return tuple(under(run, protocol) for run in runs if protocol in texts(run))


def _place(name: str) -> tuple[int, bool, str, bool]:
    protocol = Protocol.parse(name)
    shots = _SHOTS.index(protocol.shots)
    return (shots, protocol.format != "raw", protocol.format, protocol.calculator)
