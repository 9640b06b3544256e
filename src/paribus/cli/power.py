"""`paribus power`: how many problems and seeds a difference takes, before anything is run."""

import json
import math
from argparse import Namespace
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table

from paribus.cli.console import PlainConsole
from paribus.errors import UserError
from paribus.statistics.crossed import MIN_SEEDS, too_few_seeds
from paribus.statistics.equivalence import margin_of, problems_for_equivalence
from paribus.statistics.power import (
    ALPHA,
    MAX_PROBLEMS,
    POWER,
    Design,
    detectable,
    highest_correlation,
    problems_needed,
)

SEEDS = (1, 3, 5, 10)
"""Listed beside the number asked for."""
SIZES = (100, 200, 500, 1319)
"""Problems for which the smallest difference is told; 1,319 is GSM8K's test set."""
SPREADS = (0.005, 0.01, 0.02, 0.03)
"""How far seeds may scatter, told beside what was asked: nobody knows it before the runs."""


def from_options(options: Namespace) -> int:
    """Run `paribus power`."""
    if options.pilot is not None:
        from paribus.cli.power_pilot import power_of_pilot  # reads files, which nothing else does

        return power_of_pilot(options)
    for name in ("task", "metric", "loss", "gold"):
        if getattr(options, name):
            raise UserError(f"--{name} says how a pilot is read", "give --pilot, or leave it out")
    design = design_of(
        options.baseline,
        options.difference or 0.0,
        seeds=options.seeds,
        correlation=options.correlation,
        seed_correlation=options.seed_correlation,
        seed_spread=Design(n=0).spread if options.seed_spread is None else options.seed_spread,
        comparisons=options.comparisons,
    )
    if options.margin is not None:
        return power_of_equivalence(design, options.baseline, options.margin, as_json=options.json)
    return power(design, options.baseline, options.difference, as_json=options.json)


def power(design: Design, baseline: float, difference: float, *, as_json: bool) -> int:
    """Print how many problems show `difference` over `baseline`, for several numbers of seeds.

    `design.n` is not read. Raises UserError on values that no experiment can have.
    """
    _check(design)
    if difference == 0:
        remedy = "give the smallest that matters, or --margin to show that there is none"
        raise UserError("a difference of 0 cannot be shown", remedy)
    record = power_record(design, baseline, difference)
    if as_json:
        print(json.dumps(record, indent=2))
    else:
        _show(record, PlainConsole(highlight=False, soft_wrap=True))
    return 0


def power_of_equivalence(design: Design, accuracy: float, points: float, *, as_json: bool) -> int:
    """Print how many problems show arms that are truly equal to be so within a margin in points.

    `design.n` is not read. Raises UserError on values that no experiment can have.
    """
    _check(design)
    record = answer_equivalence(design, accuracy, margin_of(points))
    if as_json:
        print(json.dumps(record, indent=2))
    else:
        _show_equivalence(record, PlainConsole(highlight=False, soft_wrap=True))
    return 0


def design_of(
    baseline: float,
    difference: float,
    *,
    seeds: int,
    correlation: float | None,
    seed_correlation: float | None,
    seed_spread: float,
    comparisons: int,
) -> Design:
    """Return the design to ask about; what is None is assumed, as far as it is possible.

    A `difference` of 0: two arms that are equal.
    """
    _check_accuracies(baseline, difference)
    usual = Design(n=0)
    if correlation is None:
        # Arms that differ much cannot correlate much.
        highest = highest_correlation(baseline, baseline + difference)
        correlation = min(usual.correlation, int(100 * highest) / 100)
    if seed_correlation is None:
        seed_correlation = max(usual.same_arm, correlation)
    return Design(
        n=0,
        seeds=seeds,
        correlation=correlation,
        same_arm=seed_correlation,
        spread=seed_spread,
        comparisons=comparisons,
    )


def power_record(design: Design, baseline: float, difference: float) -> dict[str, Any]:
    """Return what `--json` prints. Shares are 0..1; where a figure is null, `reason` says why."""
    designs = [replace(design, seeds=seeds) for seeds in sorted({*SEEDS, design.seeds})]
    needed = {option: problems_needed(option, baseline, difference) for option in designs}
    return {
        "baseline": baseline,
        "difference": difference,
        **_assumed(design),
        "problems": needed[design],
        "reason": _why_not(design, needed[design]),
        "by_seeds": [
            {"seeds": option.seeds, "problems": n, "reason": _why_not(option, n)}
            for option, n in needed.items()
        ],
        "detectable": [_at_size(replace(design, n=n), baseline) for n in SIZES],
        "by_spread": [_at_spread(design, spread, baseline, difference) for spread in SPREADS],
    }


def _why_not(design: Design, *problems: int | None) -> str | None:
    """Return why one of these numbers of problems is None; None if none is."""
    if None not in problems:
        return None
    even = f"even {MAX_PROBLEMS:,} problems are too few"
    if design.seeds > 1 and design.spread:
        even += f" where seeds scatter by {100 * design.spread:g} points: take more seeds"
    return too_few_seeds(design.seeds) or even


def _at_size(design: Design, baseline: float) -> dict[str, Any]:
    """Return the smallest difference that so many problems show."""
    smallest = detectable(design, baseline)
    none = f"no difference is large enough to be seen with {design.n:,} problems"
    reason = None if smallest is not None else too_few_seeds(design.seeds) or none
    return {"problems": design.n, "difference": smallest, "reason": reason}


def _at_spread(design: Design, spread: float, baseline: float, difference: float) -> dict[str, Any]:
    """Return the answer for seeds that scatter by `spread`: one seed cannot show it."""
    scattered = replace(design, spread=spread, seeds=max(design.seeds, MIN_SEEDS))
    needed, seen = problems_needed(scattered, baseline, difference), replace(scattered, n=SIZES[-1])
    at_size = _at_size(seen, baseline)
    reasons = [why for why in (_why_not(scattered, needed), at_size["reason"]) if why]
    return {
        "seed_spread": spread,
        "seeds": scattered.seeds,
        "problems": needed,
        "difference": at_size["difference"],
        "reason": "; ".join(reasons) or None,
    }


def answer_equivalence(design: Design, accuracy: float, margin: float) -> dict[str, Any]:
    """Return what `--json` prints of a margin; where a figure is null, `reason` says why."""
    designs = [replace(design, seeds=seeds) for seeds in sorted({*SEEDS, design.seeds})]
    needed = {option: problems_for_equivalence(option, accuracy, margin) for option in designs}
    return {
        "baseline": accuracy,
        "margin": margin,
        **_assumed(design),
        "problems": needed[design][0],
        "reason": _why_not(design, needed[design][0]),
        "by_seeds": [
            {
                "seeds": option.seeds,
                "problems": equivalent,
                "problems_not_worse": not_worse,
                "reason": _why_not(option, equivalent, not_worse),
            }
            for option, (equivalent, not_worse) in needed.items()
        ],
    }


def _assumed(design: Design) -> dict[str, Any]:
    return {
        "seeds": design.seeds,
        "correlation": design.correlation,
        "seed_correlation": design.same_arm,
        "seed_spread": design.spread,
        "comparisons": design.comparisons,
        "alpha": ALPHA,
        "power": POWER,
    }


def _check_accuracies(baseline: float, difference: float) -> None:
    if not math.isfinite(difference):
        remedy = "write 5 points as 0.05"
        raise UserError(f"the difference is {difference:g}, which is not a number", remedy)
    for name, value in (("baseline", baseline), ("baseline + difference", baseline + difference)):
        if not 0 < value < 1:
            raise UserError(
                f"{name} is {value:g}; an accuracy must lie between 0 and 1, both excluded",
                "write 31 % as 0.31 and 5 points as 0.05",
            )


def _check(design: Design) -> None:
    for name, low, value, high in (
        ("seeds", 1, design.seeds, 1000),
        ("comparisons", 1, design.comparisons, 10_000),
        ("correlation", 0, design.correlation, 0.999),
        ("seed correlation", 0, design.same_arm, 0.999),
        ("seed spread", 0, design.spread, 0.5),
    ):
        if not low <= value <= high:
            raise UserError(
                f"{name} is {value:g}, outside {low:g} to {high:g}", f"choose {low:g} to {high:g}"
            )
    if design.same_arm < design.correlation:
        raise UserError(
            f"two seeds of one arm correlate by {design.same_arm:g}, less than two arms do "
            f"({design.correlation:g})",
            "raise --seed-correlation: seeds of one arm are at least as alike as two arms",
        )


def _show(record: dict[str, Any], console: Console) -> None:
    difference = 100 * record["difference"]
    console.print(
        f"To show {difference:+.1f} points over {100 * record['baseline']:.1f} % between two "
        f"{_scope(record['seeds'])}, 8 times in 10 at {_level(record)}:"
    )
    console.print(_by_seeds(record, {"problems needed": "problems"}))
    _show_reason(record, console)
    if not too_few_seeds(record["seeds"]):
        seen = [f"{row['problems']:,} problems: {_seen(row)}" for row in record["detectable"]]
        plural = "s" if record["seeds"] > 1 else ""
        text = f"Smallest difference seen with {record['seeds']} seed{plural}: {'; '.join(seen)}."
        console.print(f"\n{text}")
    console.print(_assumptions(record))
    used = record["by_spread"][0]["seeds"]
    why = (
        "" if used == record["seeds"] else f"; fewer than {MIN_SEEDS} cannot tell how they scatter"
    )
    console.print(f"\nBy how far seeds scatter, with {used} of each arm{why}:")
    spreads = Table(box=None, pad_edge=False)
    for heading in ("points", "problems needed", f"seen with {SIZES[-1]:,} problems"):
        spreads.add_column(heading, justify="right")
    for row in record["by_spread"]:
        spread = f"{100 * row['seed_spread']:g}"
        spreads.add_row(spread, _needed(row["problems"]), _seen(row))
    console.print(spreads)


def _show_equivalence(record: dict[str, Any], console: Console) -> None:
    console.print(
        f"To show that two {_scope(record['seeds'])} which both solve "
        f"{100 * record['baseline']:.1f} % differ by less than {100 * record['margin']:g} "
        f"points, 8 times in 10 at {_level(record)}:"
    )
    columns = {"equivalent": "problems", "one not worse": "problems_not_worse"}
    console.print(_by_seeds(record, columns))
    _show_reason(record, console)
    console.print(
        "\nProblems needed for both to be within the margin, or for one of them to be no worse by "
        "more."
    )
    console.print(_assumptions(record))


def _show_reason(record: dict[str, Any], console: Console) -> None:
    """Print why there is no figure for what was asked, if there is none."""
    if record["reason"]:
        console.print(f"\nNo number of problems is enough: {record['reason']}.")


def _scope(seeds: int) -> str:
    return "trained models" if seeds == 1 else "methods"


def _level(record: dict[str, Any]) -> str:
    divided = (
        f" divided among {record['comparisons']} comparisons" if record["comparisons"] > 1 else ""
    )
    return f"the {100 * ALPHA:g} % level{divided}"


def _by_seeds(record: dict[str, Any], columns: dict[str, str]) -> Table:
    """A row for each number of seeds; `columns`: heading -> key of problems needed."""
    table = Table(box=None, pad_edge=False)
    for heading in ("seeds of each arm", *columns, "speaks of"):
        table.add_column(heading, justify="left" if heading == "speaks of" else "right")
    for row in record["by_seeds"]:
        shown = [_needed(row[key]) for key in columns.values()]
        mark = "[bold]" if row["seeds"] == record["seeds"] else ""
        untested = bool(too_few_seeds(row["seeds"]))
        speaks = "no verdict" if untested else f"the {_scope(row['seeds'])}"
        shown = ["–" for _ in shown] if untested else shown
        cells = (str(row["seeds"]), *shown, speaks)
        table.add_row(*(f"{mark}{cell}" for cell in cells))
    return table


def _assumptions(record: dict[str, Any]) -> str:
    return (
        f"Assumed: correlation {record['correlation']:g} between arms over problems, "
        f"{record['seed_correlation']:g} between seeds of an arm, seeds scatter by "
        f"{100 * record['seed_spread']:g} points."
    )


def _needed(problems: int | None) -> str:
    return f"{problems:,}" if problems else f"over {MAX_PROBLEMS:,}"


def _seen(row: dict[str, Any]) -> str:
    return "none" if row["difference"] is None else f"{100 * row['difference']:.1f} points"
