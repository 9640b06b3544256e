"""`paribus power --pilot FILE FILE`: what a difference takes, by how much a pilot's scores vary.

For scores and losses, whose variance no accuracy tells. A pilot is two arms as `paribus compare`
reads them: files, or runs of a store.
"""

import json
from argparse import Namespace
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from paribus.analysis import wording
from paribus.analysis.elsewhere.asked import way_of
from paribus.analysis.elsewhere.external import collect
from paribus.analysis.measures import terms
from paribus.analysis.pairing import align
from paribus.analysis.tables import Tables
from paribus.cli.console import PlainConsole
from paribus.errors import UserError
from paribus.records import Measure
from paribus.statistics.crossed import too_few_seeds
from paribus.statistics.groups import Groups
from paribus.statistics.power import ALPHA, MAX_PROBLEMS, POWER
from paribus.statistics.real.means import Scores
from paribus.statistics.real.power import Spread, detectable, problems_needed, spread_of

SEEDS = (1, 3, 5, 10)
SIZES = (100, 200, 500, 1000)
"""Listed beside what is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """What a pilot shows.

    Attributes:
        arms: their names, A and B; runs: of each.
        units: problems in common, or groups of them.
        grouped: whether problems come in groups, which are then what is counted.
        difference: mean of A minus that of B.
        knows_seeds: whether `spread` says how far seeds scatter.
    """

    arms: tuple[str, str]
    runs: tuple[int, int]
    units: int
    grouped: bool
    measure: Measure
    difference: float
    spread: Spread
    knows_seeds: bool


def power_of_pilot(options: Namespace) -> int:
    """Print how many problems show `options.difference`, as much as the pilot's scores vary.

    Raises UserError if the files are no two arms that can be compared, or show no spread.
    """
    if options.difference is None:
        raise UserError("--margin is answered by --baseline alone", "give --difference instead")
    if not options.difference:
        raise UserError("a difference of 0 cannot be shown", "give the smallest that matters")
    for name in ("correlation", "seed_correlation"):
        if getattr(options, name) is not None:
            said = name.replace("_", "-")
            raise UserError(f"--{said} is what the pilot shows", "leave it out")
    way = way_of(options.pilot, task=options.task, metric=options.metric, loss=options.loss)
    collected = collect(options.pilot, gold=options.gold, way=way)
    pilot = pilot_of(collected.tables)
    if options.seed_spread is not None:
        spread = replace(pilot.spread, seeds=options.seed_spread)
        pilot = replace(pilot, spread=spread, knows_seeds=True)
    record = pilot_record(pilot, options.difference, options.seeds, options.comparisons)
    if options.json:
        print(json.dumps(record, indent=2, allow_nan=False))
    else:
        _show(record, pilot, PlainConsole(highlight=False, soft_wrap=True))
    return 0


def pilot_of(tables: Tables) -> Pilot:
    """Return what the two arms of `tables` show. Raises UserError if there are not two."""
    names = [arm.name for arm in tables.arms]
    if len(names) != 2:
        raise UserError(
            f"a pilot is two arms, and the files are {len(names)}: {', '.join(names)}",
            "give the files of two arms: --pilot a.jsonl b.jsonl",
        )
    of_arms = [tables.complete_of(name) for name in names]
    lined_up = align(of_arms)
    a, b = (_by_group(table, lined_up.groups) for table in lined_up.scores)
    several = [name for name, runs in zip(names, of_arms, strict=True) if len(runs) > 1]
    return Pilot(
        arms=(names[0], names[1]),
        runs=(len(a), len(b)),
        units=a.shape[1],
        grouped=lined_up.groups is not None,
        measure=lined_up.measure,
        difference=float(a.mean() - b.mean()),
        spread=spread_of(a, b),
        knows_seeds=bool(several),
    )


def _by_group(scores: Scores, groups: Groups | None) -> Scores:
    """Return [R, groups]: the mean of each group's problems."""
    if groups is None:
        return scores
    counts = np.bincount(groups)
    return np.array([np.bincount(groups, weights=run) / counts for run in scores])


def pilot_record(pilot: Pilot, difference: float, seeds: int, comparisons: int) -> dict[str, Any]:
    """Return what `--json` prints; where a figure is null, `reason` says why."""
    if not (1 <= seeds <= 1000 and 1 <= comparisons <= 10_000):
        raise UserError(
            f"seeds is {seeds}, comparisons {comparisons}",
            "choose 1 to 1,000 seeds, and 1 to 10,000 comparisons",
        )
    rows = [_needed(pilot, difference, option, comparisons) for option in sorted({*SEEDS, seeds})]
    return {
        "pilot": {**asdict(pilot), "measure": pilot.measure.value},
        "difference": difference,
        "seeds": seeds,
        "comparisons": comparisons,
        "alpha": ALPHA,
        "power": POWER,
        **next(row for row in rows if row["seeds"] == seeds),
        "by_seeds": rows,
        "detectable": [
            {
                "problems": n,
                "difference": None
                if _unknown(pilot, seeds)
                else detectable(pilot.spread, n=n, seeds=seeds, comparisons=comparisons),
            }
            for n in SIZES
        ],
    }


def _needed(pilot: Pilot, difference: float, seeds: int, comparisons: int) -> dict[str, Any]:
    reason = _unknown(pilot, seeds)
    n = None
    if not reason:
        n = problems_needed(pilot.spread, difference, seeds=seeds, comparisons=comparisons)
        reason = "" if n else f"even {MAX_PROBLEMS:,} are too few"
    return {"seeds": seeds, "problems": n, "reason": reason or None}


def _unknown(pilot: Pilot, seeds: int) -> str:
    """Return why so many seeds cannot be answered, or ""."""
    if seeds > 1 and not pilot.knows_seeds:
        return "the pilot has one run of each arm: how far seeds scatter is not known"
    return too_few_seeds(seeds) or ""


def _show(record: dict[str, Any], pilot: Pilot, console: Console) -> None:
    measure = pilot.measure
    what = "groups of problems" if pilot.grouped else "problems"
    words = terms(measure)
    spread = pilot.spread

    def size(value: float) -> str:
        return f"{words.scale * value:.{words.digits}f}"

    unit = words.unit
    varies = f"the paired differences vary by {size(spread.problems)} {unit}"
    if pilot.knows_seeds:
        varies = (
            f"the arms' difference varies by {size(spread.problems)} {unit} over {what}, an arm's "
            f"mean by {size(spread.seeds)} over seeds, a single score by {size(spread.cells)}"
        )
    console.print(
        f"Pilot: {pilot.arms[0]} − {pilot.arms[1]} is {wording.points(pilot.difference, measure)} "
        f"on {pilot.units:,} {what}, with {' and '.join(map(str, pilot.runs))} runs; {varies} "
        "(standard deviations)."
    )
    divided = f" divided among {record['comparisons']} comparisons" * (record["comparisons"] > 1)
    console.print(
        f"To show {wording.points(record['difference'], measure)}, {10 * POWER:g} times in 10 at "
        f"the {100 * ALPHA:g} % level{divided}:"
    )
    table = Table(box=None, pad_edge=False)
    for heading in ("seeds of each arm", f"{what} needed"):
        table.add_column(heading, justify="right")
    for row in record["by_seeds"]:
        needed = f"{row['problems']:,}" if row["problems"] else "–"
        mark = "[bold]" if row["seeds"] == record["seeds"] else ""
        table.add_row(f"{mark}{row['seeds']}", f"{mark}{needed}")
    console.print(table)
    for reason in dict.fromkeys(row["reason"] for row in record["by_seeds"] if row["reason"]):
        console.print(f"–: {reason}.")
    seen = [
        f"{row['problems']:,}: {size(row['difference'])}"
        for row in record["detectable"]
        if row["difference"] is not None
    ]
    if seen:
        plural = "s" if record["seeds"] > 1 else ""
        console.print(
            f"Smallest difference seen with {record['seeds']} seed{plural}, in {words.unit}, by "
            f"{what}: {'; '.join(seen)}."
        )
    console.print("A pilot's variance is itself an estimate: from few problems it may be far off.")
