"""`paribus replay`: what a smaller experiment would have concluded, drawn from a large one."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from paribus.analysis import wording
from paribus.analysis.reading import read_experiment
from paribus.analysis.replay import Accuracies, Replay, replay
from paribus.analysis.tables import Tables
from paribus.cli.console import PlainConsole, table_of
from paribus.cli.folders import experiment_folder
from paribus.design.questions import ask_for_scorer
from paribus.errors import UserError
from paribus.files import write_text
from paribus.store.experiments import read_description
from paribus.store.runs import writing

MOST = 1_000_000
"""Replays: more change no digit that is printed."""


def from_options(options: Namespace) -> int:
    """Run `paribus replay`."""
    if not 1 <= options.times <= MOST:
        raise UserError(f"--times is {options.times}, outside 1 to {MOST:,}", "choose 10000")
    folder = experiment_folder(options.file, [], options.runs)
    tables = read_experiment(folder, ask_for_scorer(read_description(folder), options.score))
    claims = [_claim(text) for text in options.claim]
    declared = [(a, b) for a, b, _ in tables.declared]
    pairs = list(dict.fromkeys([*((a, b) for a, b, _ in claims), *declared]))
    if not pairs:
        raise UserError("the experiment compares no arms", "name two with --claim A:B:POINTS")
    replays, arms = replay(tables, pairs, problems=options.problems, times=options.times)
    record = _record(tables, replays, arms, claims, options)
    if options.json:
        print(json.dumps(record, indent=2))
    else:
        _show(record, PlainConsole(highlight=False, soft_wrap=True))
    if options.figure:
        _draw(options.figure, replays, options.problems)
    return 0


def _claim(text: str) -> tuple[str, str, float]:
    parts = text.rsplit(":", 1)
    a, colon, b = parts[0].partition(":")
    try:
        points = float(parts[1])
    except (IndexError, ValueError):
        points = float("nan")
    if not a or not colon or not b or not 0 <= points <= 100:
        raise UserError(
            f"--claim {text[:60]!r} says not by how much an arm is ahead of another",
            "write --claim A:B:POINTS, such as full:lora:11; 0 points: ahead at all",
        )
    return a, b, points / 100


def _record(
    tables: Tables,
    replays: list[Replay],
    arms: list[Accuracies],
    claims: list[tuple[str, str, float]],
    options: Namespace,
) -> dict[str, Any]:
    """Return what `--json` prints. Shares are 0..1."""
    by_pair = {(each.a, each.b): each for each in replays}
    held = [by_pair[a, b].claims(by) for a, b, by in claims]
    return {
        "experiment": tables.config["name"],
        "times": options.times,
        "problems": options.problems,
        "arms": [_arm(each) for each in arms],
        "differences": [_difference(each) for each in replays],
        "claims": [
            {"a": a, "b": b, "at_least": by, "replays": by_pair[a, b].ahead(by)}
            for a, b, by in claims
        ],
        "all_claims": float(np.mean(np.all(held, axis=0))) if held else None,
    }


def _arm(found: Accuracies) -> dict[str, Any]:
    low, high = np.quantile(found.replays, [0.05, 0.95])
    return {"name": found.arm, "accuracy": found.whole, "range": [float(low), float(high)]}


def _difference(found: Replay) -> dict[str, Any]:
    return {
        "a": found.a,
        "b": found.b,
        "difference": found.whole,
        "range": list(found.range()),
        "a_ahead": found.ahead(),
        "b_ahead": found.behind(),
        "a_shown": found.shown[0],
        "b_shown": found.shown[1],
    }


def _show(record: dict[str, Any], to: Console) -> None:
    if record["all_claims"] is not None:
        _show_claims(record, to)
    to.print(
        f"{record['times']:,} replays of {record['experiment']} with {record['problems']:,} "
        "problems and one seed of each arm, differences in points:\n"
    )
    numbers = ["all", "9 of 10 replays", "A ahead", "shown", "B ahead", "shown"]
    table = table_of(["A − B"], numbers)
    for row in record["differences"]:
        low, high = (f"{100 * end:+.1f}" for end in row["range"])
        shares = [row[key] for key in ("a_ahead", "a_shown", "b_ahead", "b_shown")]
        table.add_row(
            f"{row['a']} − {row['b']}",
            f"{100 * row['difference']:+.1f}",
            f"{low} to {high}",
            *map(wording.percent, shares),
        )
    to.print(table)
    arms = table_of(["arm"], ["accuracy, all", "9 of 10 replays"])
    for arm in record["arms"]:
        low, high = (f"{100 * end:.1f}" for end in arm["range"])
        arms.add_row(arm["name"], wording.percent(arm["accuracy"]), f"{low} to {high}")
    to.print()
    to.print(arms)
    to.print(
        "\nall: by every seed and problem. shown: by McNemar's test alone, p < 0.05."
        "\nDrawn from this experiment's own seeds and problems: others would add to the scatter."
    )


def _show_claims(record: dict[str, Any], to: Console) -> None:
    for claim in record["claims"]:
        by = f"by {100 * claim['at_least']:g} points or more " if claim["at_least"] else ""
        share = wording.percent(claim["replays"])
        to.print(escape(f"{claim['a']} ahead of {claim['b']} {by}in {share} of the replays"))
    if len(record["claims"]) > 1:
        to.print(f"all of it at once in {wording.percent(record['all_claims'])}")
    to.print()


def _draw(path: Path, replays: list[Replay], problems: int) -> None:
    from paribus.report.replays import figure

    with writing(path):
        write_text(path, figure(replays, problems))
