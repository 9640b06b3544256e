"""How the learning rates were found: held-out loss over the rates tried, arm by arm.

section(tables).warnings     # ["The best rate of lora-main is the highest tried: ..."]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from paribus.analysis.tables import Tables
from paribus.report import drawing
from paribus.report.drawing import Picture, colour
from paribus.report.rows import Table
from paribus.report.units import UNKNOWN, duration, nats, rate
from paribus.store.experiments import ArmTuning, Tried

COLUMNS = 2
"""Panels beside each other."""
MAX_TICKS = 6
"""More rates than this are not named one by one."""
STEEP = 4.0
"""The axis of losses is logarithmic if the highest is more than so many times the lowest."""
LONGEST_ERROR = 200
"""Characters of an error that are shown."""

_EDGES = {
    "low": "The best rate of {arm} is the lowest tried ({rate}): the grid should go further down.",
    "high": "The best rate of {arm} is the highest tried ({rate}): the grid should go further up.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The section. `curves` is None if no trial has a loss."""

    warnings: list[str]
    curves: Picture | None
    chosen: Table
    trials: Table
    failed: list[str]


def section(tables: Tables) -> Tuning | None:
    """Return the section, None without grids of learning rates."""
    grids = {arm: row for arm, row in tables.tuning.items() if row.search is None}
    if not grids:
        return None
    return Tuning(
        warnings=_warnings(grids),
        curves=_curves(tables),
        chosen=_chosen(grids),
        trials=_trials(grids),
        failed=[
            f"{arm} at {rate(trial.learning_rate)}: {first_line(trial)}"
            for arm, row in grids.items()
            for trial in row.trials
            if trial.error
        ],
    )


def _warnings(tuning: dict[str, ArmTuning]) -> list[str]:
    parts = []
    for arm, row in tuning.items():
        if row.chosen is None:
            parts.append(f"No rate could be chosen for {arm}: none of its trials has a loss.")
        elif row.edge in _EDGES:
            parts.append(_EDGES[row.edge].format(arm=arm, rate=rate(row.chosen)))
    return parts


def _chosen(tuning: dict[str, ArmTuning]) -> Table:
    rows = []
    for arm, row in tuning.items():
        tried = [t.learning_rate for t in row.trials if t.learning_rate is not None]
        rows.append(
            [
                arm,
                rate(row.chosen),
                nats(None if row.chosen is None else _points(row).get(row.chosen)),
                f"{len(tried)} from {rate(min(tried))} to {rate(max(tried))}",
            ]
        )
    return Table(["arm", "rate chosen", "its loss", "rates tried"], rows)


def _trials(tuning: dict[str, ArmTuning]) -> Table:
    rows = [
        [
            arm,
            rate(trial.learning_rate),
            nats(trial.nll_per_token),
            UNKNOWN if trial.solved is None else f"{trial.solved} of {trial.n}",
            duration(trial.seconds),
            "chosen" if trial.learning_rate == row.chosen else _outcome(trial),
        ]
        for arm, row in tuning.items()
        for trial in row.trials
    ]
    headings = ["arm", "learning rate", "held-out loss, nats per token", "solved", "time", ""]
    return Table(headings, rows)


def _outcome(trial: Tried) -> str:
    return "failed" if trial.error else ""


def first_line(trial: Tried) -> str:
    """The first line of a trial's error, as far as a line of the report holds it."""
    line = str(trial.error).strip().partition("\n")[0]
    return line if len(line) <= LONGEST_ERROR else line[:LONGEST_ERROR] + "…"


def _curves(tables: Tables) -> Picture | None:
    """A panel for each arm: held-out loss over learning rate, the chosen rate ringed."""
    measured = {arm: points for arm, row in tables.tuning.items() if (points := _points(row))}
    if not measured:
        return None
    down = ceil(len(measured) / COLUMNS)
    with drawing.style("tuning"):
        figure = Figure(figsize=(drawing.FIGURE_WIDTH, 0.3 + 1.6 * down))
        grid = figure.subplots(down, COLUMNS, sharey=True, squeeze=False)
        for axes in grid.flat[len(measured) :]:
            axes.set_visible(False)
        for axes, (arm, points) in zip(grid.flat, measured.items(), strict=False):
            axes.set_title(drawing.short(arm), fontsize=9.5, loc="left")
            _panel(axes, points, tables.tuning[arm].chosen, colour(tables, arm))
        _loss_axis(grid[0, 0], [loss for points in measured.values() for loss in points.values()])
        figure.supxlabel("learning rate", fontsize=9.5)
        figure.supylabel("held-out loss, nats per token", fontsize=9.5)
        drawn = drawing.to_svg(
            figure, "tuning", f"Held-out loss by learning rate: {_losses_words(measured)}."
        )
    return Picture(
        "tuning",
        drawn,
        "Loss on the validation problems, which are drawn from the training problems, for every "
        "rate tried; the ring is the rate chosen. There is no interval: each rate was tried once. "
        "Arms whose solutions are written differently are judged on different texts.",
    )


def _points(row: ArmTuning) -> dict[float, float]:
    """Learning rate to held-out loss, of the trials that have one."""
    losses = [(trial.learning_rate, trial.nll_per_token) for trial in row.trials]
    return {at: loss for at, loss in losses if at is not None and loss is not None}


def _panel(axes: Axes, points: dict[float, float], chosen: float | None, paint: str) -> None:
    rates = list(points)
    axes.plot(rates, list(points.values()), color=paint, marker="o", markersize=4, lw=1.2)
    if chosen in points:
        ring = axes.plot([chosen], [points[chosen]], "o", markersize=10)
        ring[0].set(markerfacecolor="none", markeredgecolor=drawing.INK)
    axes.set_xscale("log")
    if len(rates) <= MAX_TICKS:
        axes.set_xticks(rates)
    else:
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: rate(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelsize=8)
    axes.margins(x=0.12, y=0.2)
    axes.grid(axis="y")


def _loss_axis(axes: Axes, losses: Sequence[float]) -> None:
    """Name three or four losses; logarithmic where a rate that diverged would flatten the rest."""
    if min(losses) > 0 and max(losses) > STEEP * min(losses):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _losses_words(measured: dict[str, dict[float, float]]) -> str:
    return "; ".join(
        f"{arm} "
        + ", ".join(
            f"{rate(learning_rate)}: {nats(loss)}" for learning_rate, loss in points.items()
        )
        for arm, points in measured.items()
    )
