"""What each arm solves: one row an arm, over its seeds.

    summaries(tables)[1]        # ArmSummary(name="full-main", seeds=3, n=1319, mean=0.31, ...)

With one seed it is a trained model's accuracy and its interval. With several it is the method's:
the mean over seeds, their spread, and an interval that covers seeds and problems; of runs that are
not known to be separate training runs, the mean of just these and an interval for problems alone.
"""

from dataclasses import dataclass
from statistics import stdev

from paribus.analysis.pairing import align
from paribus.analysis.tables import Tables
from paribus.statistics.accuracy import as_existing, mean_interval
from paribus.statistics.crossed import components, estimate, too_uncertain
from paribus.statistics.intervals import Interval
from paribus.statistics.split import Split, split


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSummary:
    """The main scorer's accuracy of an arm, as shares.

    Attributes:
        seeds: complete runs.
        n: problems that all of them were tested on.
        mean: accuracy, averaged over seeds; None without a run.
        spread: standard deviation of the seeds' accuracies; None for one seed.
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
    runs = [run for run in tables.complete if run.arm == name]
    if not runs:
        return ArmSummary(name=name, seeds=0, reason="not run")
    lined_up = align([runs])
    if not lined_up.keys:
        reason = "its runs were tested on different problems"
        return ArmSummary(name=name, seeds=len(runs), reason=reason)
    (solved,) = lined_up.solved
    arm = components(solved)
    if tables.existing(name):
        arm = as_existing(arm)
    interval = mean_interval(arm, lined_up.groups)
    return ArmSummary(
        name=name,
        seeds=len(runs),
        n=len(lined_up.keys),
        mean=arm.mean,
        spread=stdev(float(row.mean()) for row in solved) if len(runs) > 1 else None,
        interval=interval,
        reason="" if interval else too_uncertain([arm], lined_up.groups),
        split=split(estimate([(1.0, arm)], lined_up.groups)) if interval else None,
    )
