"""What went wrong: signals by arm, accuracy by length of the gold solution, step accuracy.

    section(tables).signals.rows[3]   # ["fewer steps than gold", "12: 12 %\n[7.0 to 19.8]", ...]

Arms are columns, so that a row is read across. The first run of each arm speaks for it; the
others are in tables of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from paribus.analysis import wording
from paribus.analysis.signals import (
    SignalTable,
    StepsRow,
    by_gold_steps,
    mean_step_accuracy,
    signal_table,
)
from paribus.analysis.tables import MAIN_SCORER, Run, Tables
from paribus.evaluation.signals import Signal
from paribus.report import svg
from paribus.report.arms import colour, dash, first_runs, further_runs
from paribus.report.rows import Table
from paribus.report.svg import Picture
from paribus.report.units import UNKNOWN, accuracy_cell, count
from paribus.report.words import signal_words
from paribus.statistics.intervals import Interval

MAX_LINES = 7
"""More arms than this in one figure cannot be told apart; the table has them all."""
_APART = 0.06
"""Steps between the intervals of two arms at the same number of gold steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatWentWrong:
    """The section. Tables without rows and a figure that is None have nothing to show."""

    signals: Table
    other_seeds: list[tuple[str, Table]]
    steps_figure: Picture | None
    steps: Table
    step_accuracy: Table


def section(tables: Tables) -> WhatWentWrong | None:
    """Return the section, None if nothing was generated."""
    runs = [run for run in first_runs(tables) if run.generations]
    if not runs:
        return None
    steps = {run.arm: _known(by_gold_steps(run)) for run in runs}
    return WhatWentWrong(
        signals=_signals(runs),
        other_seeds=[
            (f"Seed {seed}", _signals(others)) for seed, others in further_runs(tables).items()
        ],
        steps_figure=_steps_figure(tables, steps),
        steps=_steps(runs, steps),
        step_accuracy=_step_accuracy(runs),
    )


def _signals(runs: Sequence[Run]) -> Table:
    """A row for each signal that any of `runs` shows, led by what was solved."""
    found = [signal_table(run) for run in runs]
    solved = ["solved", *(_solved(run) for run in runs)]
    rows = [
        [signal_words(each), *(_share(table, each) for table in found)]
        for each in Signal
        if any(row.count for table in found for row in table.rows if row.signal is each)
    ]
    return Table(["", *(run.arm for run in runs)], [solved, *rows])


def _solved(run: Run) -> str:
    score = run.scores[MAIN_SCORER]
    return _counted(f"{score.correct} of {score.n}", score.accuracy, score.interval)


def _share(table: SignalTable, signal: Signal) -> str:
    row = next(row for row in table.rows if row.signal is signal)
    return _counted(str(row.count), row.share, row.interval)


def _counted(number: str, share: float | None, interval: Interval | None) -> str:
    """`12: 12 %`, its interval on a line of its own."""
    ends = "" if interval is None else f"\n[{wording.percent_range(interval)}]"
    return f"{number}: {wording.percent(share)}{ends}"


def _steps(runs: Sequence[Run], steps: dict[str, list[StepsRow]]) -> Table:
    """Accuracy by number of gold steps, a row for each number; no rows if it is not known."""
    labels = {row.gold_steps: row.label for rows in steps.values() for row in rows}
    by_arm = {arm: {row.gold_steps: row for row in rows} for arm, rows in steps.items()}
    return Table(
        ["steps of gold", *(run.arm for run in runs)],
        [
            [labels[each], *(_solved_of(by_arm[run.arm].get(each)) for run in runs)]
            for each in sorted(labels, key=lambda number: number or 0)
        ],
    )


def _solved_of(row: StepsRow | None) -> str:
    if row is None:
        return UNKNOWN
    return _counted(f"{row.solved} of {row.n}", row.accuracy, row.interval)


def _step_accuracy(runs: Sequence[Run]) -> Table:
    """Step accuracy of each run; no rows if no gold solution is annotated."""
    found = [(run, mean_step_accuracy(run)) for run in runs]
    return Table(
        ["arm", "steps right [95 % interval]", "problems"],
        [
            [run.arm, accuracy_cell(each.mean, each.interval), count(each.n)]
            for run, each in found
            if each.n
        ],
    )


def _known(rows: Sequence[StepsRow]) -> list[StepsRow]:
    return [row for row in rows if row.gold_steps is not None]


def _steps_figure(tables: Tables, steps: dict[str, list[StepsRow]]) -> Picture | None:
    """Accuracy over the number of gold steps, a line for each arm."""
    numbers = sorted({row.gold_steps or 0 for rows in steps.values() for row in rows})
    if len(numbers) < 2 or len(steps) > MAX_LINES:
        return None
    labels = {row.gold_steps or 0: row.label for rows in steps.values() for row in rows}
    with svg.style("steps"):
        figure = Figure(figsize=(svg.FIGURE_WIDTH, 3.0))
        axes = figure.add_subplot()
        ends = []
        for place, (arm, rows) in enumerate(steps.items()):
            aside = _APART * (place - (len(steps) - 1) / 2)
            across = [numbers.index(row.gold_steps or 0) + aside for row in rows]
            shares = [100 * row.accuracy for row in rows]
            errors = [
                [max(0.0, 100 * (row.accuracy - row.interval.low)) for row in rows],
                [max(0.0, 100 * (row.interval.high - row.accuracy)) for row in rows],
            ]
            paint = colour(tables, arm)
            axes.errorbar(
                across,
                shares,
                yerr=errors,
                color=paint,
                fmt="o",
                linestyle=dash(tables, arm),
                markersize=4,
                lw=1.2,
                elinewidth=0.7,
            )
            ends.append((across[-1], shares[-1], arm, paint))
        axes.set_ylim(bottom=0)
        axes.set_xticks(range(len(numbers)), labels=[labels[number] for number in numbers])
        axes.set_xlabel("steps of the gold solution")
        axes.set_ylabel("problems solved, %")
        axes.grid(axis="y")
        svg.label_at_right(axes, ends)
        drawn = svg.to_svg(figure, "steps", f"Accuracy by steps of gold: {_said(steps)}.")
    return Picture(
        "steps",
        drawn,
        "Share solved of the problems whose gold solution takes so many steps, with its 95 % "
        "interval. Where few problems have so many steps it is wide.",
    )


def _said(steps: dict[str, list[StepsRow]]) -> str:
    return "; ".join(
        f"{arm} {', '.join(f'{row.label}: {wording.percent(row.accuracy)}' for row in rows)}"
        for arm, rows in steps.items()
    )
