"""`paribus audit`: what a published table of accuracies shows, and what it would have taken."""

import json
from argparse import Namespace
from itertools import combinations
from typing import Any

from rich.console import Console

from paribus.analysis import wording
from paribus.analysis.published import Count, Difference, Published, counted, judge, same_problems
from paribus.cli.console import PlainConsole, table_of
from paribus.cli.power import SEEDS
from paribus.errors import UserError
from paribus.statistics.crossed import too_few_seeds
from paribus.statistics.power import ALPHA, MAX_PROBLEMS, Design


def from_options(options: Namespace) -> int:
    """Run `paribus audit`."""
    arms = [counted(text) for text in options.counts]
    pairs = [_pair(text) for text in options.compare] or _every_pair(arms)
    if not pairs:
        raise UserError("one arm alone has no difference to judge", "name two or more arms")
    spread = options.seed_spread
    if not 0 <= spread <= 0.5:
        raise UserError(f"the seed spread is {spread:g}, outside 0 to 0.5", "write 1 point as 0.01")
    differences = judge(arms, pairs)
    if options.json:
        print(json.dumps(_record(arms, differences, spread), indent=2))
    else:
        _show(arms, differences, spread, PlainConsole(highlight=False, soft_wrap=True))
    return 0


def _every_pair(arms: list[Count]) -> list[tuple[str, str]]:
    """Return every two arms, the better one first."""
    ordered = sorted(arms, key=lambda arm: -arm.accuracy)
    return [(better.name, worse.name) for better, worse in combinations(ordered, 2)]


def _pair(text: str) -> tuple[str, str]:
    a, colon, b = text.partition(":")
    if not colon or not a or not b or a == b:
        raise UserError(f"--compare {text[:60]!r} names no two arms", "write --compare A:B")
    return a, b


def _record(arms: list[Count], differences: list[Difference], spread: float) -> dict[str, Any]:
    """Return what `--json` prints. Shares are 0..1."""
    return {
        "alpha": ALPHA,
        "comparisons": len(differences),
        "seed_spread": spread,
        "arms": [
            {
                "name": arm.name,
                "solved": arm.solved,
                "problems": arm.problems,
                "accuracy": arm.accuracy,
                "interval": wording.ends(arm.interval),
            }
            for arm in arms
        ],
        "differences": [_difference(each, spread) for each in differences],
    }


def _difference(found: Difference, spread: float) -> dict[str, Any]:
    return {
        "a": found.a.name,
        "b": found.b.name,
        "difference": found.difference,
        "same_problems": same_problems(found.a, found.b),
        "intervals": [wording.ends(interval) for interval in found.intervals],
        "p_holm": list(found.p_values),
        "verdict": found.verdict.value,
        "both_needed": found.both_needed,
        "detectable": found.detectable,
        "correlation": found.design.correlation,
        "needed": [
            {
                "seeds": seeds,
                "problems": found.needed(seeds, spread),
                "reason": too_few_seeds(seeds) or None,
            }
            for seeds in SEEDS
        ],
    }


def _show(arms: list[Count], differences: list[Difference], spread: float, to: Console) -> None:
    to.print(_answer(differences))
    accuracies = table_of(["arm"], ["solved", "accuracy", "95 % interval"])
    for arm in arms:
        cells = f"{arm.solved:,} of {arm.problems:,}", wording.percent(arm.accuracy)
        accuracies.add_row(arm.name, *cells, wording.percent_range(arm.interval))
    to.print(accuracies)
    to.print()
    judged = table_of(["difference"], ["points", "p, corrected", "verdict"])
    for found in differences:
        names = f"{found.a.name} − {found.b.name}"
        judged.add_row(names, f"{100 * found.difference:+.1f}", _p_values(found), _verdict(found))
    to.print(judged)
    if any(same_problems(found.a, found.b) for found in differences):
        to.print(
            "\nA count does not say which problems both solved. p from independent arms to one arm "
            "solving all\nthat the other solves; open: shown only if both solved at least so many."
        )
    if not all(same_problems(found.a, found.b) for found in differences):
        to.print("\nArms with different numbers of problems are compared as independent samples.")
    to.print(
        "One trained model each: nothing here speaks of methods. How far seeds scatter is unknown."
    )
    _show_needed(differences, spread, to)


def _answer(differences: list[Difference]) -> str:
    """Say first what the table shows."""
    shown, open_, _ = (
        sum(found.verdict is verdict for found in differences) for verdict in Published
    )
    total = len(differences)
    plural = "differences" if total > 1 else "difference"
    text = f"{shown} of {total} {plural} shown between the trained models, at the {100 * ALPHA:g} %"
    text += " level" + (f" over all {total} (Holm)" if total > 1 else "")
    return f"{text}; {open_} open.\n" if open_ else f"{text}.\n"


def _p_values(found: Difference) -> str:
    first, last = (wording.p_value(p) for p in found.p_values)
    return first if first == last else f"{first} to {last}"


def _verdict(found: Difference) -> str:
    if found.verdict is Published.OPEN and found.both_needed is not None:
        return f"open: {found.both_needed:,} in common"
    return found.verdict.replace("_", " ")


def _show_needed(differences: list[Difference], spread: float, to: Console) -> None:
    """Print what would have shown each difference, if it is the true one."""
    to.print(
        "\nProblems that show each difference 8 times in 10, if it is the true one, by seeds of "
        "each arm,\nand the smallest difference, in points, that the problems at hand show with "
        "one seed:"
    )
    seeds = [number for number in SEEDS if not too_few_seeds(number)]
    headings = [f"{number} seed{'s' if number > 1 else ''}" for number in seeds]
    needed = table_of(["difference"], [*headings, "smallest"])
    for found in differences:
        cells = [_needed(found, number, spread) for number in seeds]
        smallest = "none" if found.detectable is None else f"{100 * found.detectable:.1f}"
        needed.add_row(f"{found.a.name} − {found.b.name}", *cells, smallest)
    to.print(needed)
    correlations = [found.design.correlation for found in differences]
    low, high = min(correlations), max(correlations)
    stated = f"{low:.2g}" if low == high else f"{low:.2g} to {high:.2g}"
    to.print(
        f"\nAssumed: correlation {stated} between arms over problems, {Design(n=0).same_arm:g} "
        f"between seeds of an arm,\nseeds scatter by {100 * spread:g} points (--seed-spread). One "
        "seed shows a difference of two models, several of methods."
    )


def _needed(found: Difference, seeds: int, spread: float) -> str:
    if not found.difference or not all(0 < arm.accuracy < 1 for arm in (found.a, found.b)):
        return "–"
    problems = found.needed(seeds, spread)
    return f">{MAX_PROBLEMS:,}" if problems is None else f"{problems:,}"
