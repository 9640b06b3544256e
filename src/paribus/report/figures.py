"""The four figures of the report. They draw what `analysis` computed and compute nothing.

    for figure in figures(tables):
        figure.svg, figure.caption

A figure for which there are no data is left out: an experiment without a complete trained run
has no loss to draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paribus.analysis.tables import MAIN_SCORER, Run, Tables
from paribus.analysis.wording import percent, percent_range
from paribus.report import svg
from paribus.report.units import GIB


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG element and the text below it."""

    name: str
    svg: str
    caption: str


def accuracy(tables: Tables) -> Picture | None:
    """Accuracy of each run as a dot with its 95 % interval."""
    runs = [run for run in tables.complete if run.scores[MAIN_SCORER].n]
    if not runs:
        return None
    with svg.style("accuracy"):
        figure = Figure(figsize=(svg.WIDTH, 0.75 + 0.36 * len(runs)))
        axes = figure.add_subplot()
        for y, run in enumerate(runs):
            _dot_with_interval(axes, y, run, _colour(tables, run.arm))
        _name_rows(axes, runs)
        axes.set_xlim(left=0)
        # Labels need room to the right of 100 %, where the axis has no meaning.
        axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= 100])
        axes.set_xlabel("problems solved, %")
        axes.grid(axis="x")
        said = "; ".join(f"{_name(run, tables)} {_share(run)}" for run in runs)
        drawn = svg.to_svg(figure, "accuracy", f"Accuracy with 95 % interval: {said}.")
    return Picture(
        "accuracy",
        drawn,
        "Share of the test problems that each arm solves. The bar is the 95 % interval (Wilson) "
        "of that share. Arms are compared problem by problem below, which is sharper than "
        "looking at whether bars overlap.",
    )


def losses(tables: Tables) -> Picture | None:
    """Training loss of each run over its steps."""
    runs = [run for run in tables.complete if run.losses]
    if not runs:
        return None
    with svg.style("losses"):
        figure = Figure(figsize=(svg.WIDTH, 3.0))
        axes = figure.add_subplot()
        ends: dict[str, tuple[float, float, str, str]] = {}
        for run in runs:
            steps = [point.step for point in run.losses]
            values = [point.loss for point in run.losses]
            colour = _colour(tables, run.arm)
            marker = "o" if len(steps) == 1 else ""
            axes.plot(
                steps, values, color=colour, linestyle=_dash(tables, run.arm), marker=marker, lw=1.3
            )
            ends.setdefault(run.arm, (steps[-1], values[-1], run.arm, colour))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("training loss, nats per target token")
        axes.grid(axis="y")
        svg.label_at_right(axes, list(ends.values()))
        said = "; ".join(f"{_name(run, tables)} ends at {run.losses[-1].loss:.2f}" for run in runs)
        drawn = svg.to_svg(figure, "losses", f"Training loss by step: {said}.")
    return Picture(
        "losses",
        drawn,
        "Training loss: mean over the target tokens of each step, or of a block of steps in long "
        "runs. There is no interval: the loss is of the very examples trained on.",
    )


def loss_and_accuracy(tables: Tables) -> Picture | None:
    """Final training loss beside test accuracy, a point for each trained run."""
    runs = [run for run in tables.complete if run.losses and run.scores[MAIN_SCORER].n]
    if not runs:
        return None
    with svg.style("loss-accuracy"):
        figure = Figure(figsize=(svg.WIDTH, 3.0))
        axes = figure.add_subplot()
        ends: dict[str, tuple[float, float, str, str]] = {}
        for run in runs:
            loss, share, colour = run.losses[-1].loss, _percent(run), _colour(tables, run.arm)
            axes.errorbar(
                loss,
                share,
                yerr=_errors(run),
                fmt="o",
                color=colour,
                capsize=2,
                markersize=5,
                lw=1.2,
            )
            ends.setdefault(run.arm, (loss, share, run.arm, colour))
        axes.margins(x=0.12)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("training loss at the end, nats per target token")
        axes.set_ylabel("problems solved, %")
        axes.grid()
        svg.label_at_right(axes, list(ends.values()))
        said = "; ".join(
            f"{_name(run, tables)} loss {run.losses[-1].loss:.2f}, {_share(run)}" for run in runs
        )
        drawn = svg.to_svg(figure, "loss-accuracy", f"Loss beside accuracy: {said}.")
    return Picture(
        "loss-accuracy",
        drawn,
        "The last training loss of each tuned arm beside its test accuracy, with the 95 % "
        "interval of the accuracy. A lower loss on the training text need not solve more.",
    )


def cost(tables: Tables) -> Picture | None:
    """Training speed and peak memory of each trained run."""
    runs = [run for run in tables.complete if run.training]
    if not runs:
        return None
    with svg.style("cost"):
        figure = Figure(figsize=(svg.WIDTH, 0.85 + 0.34 * len(runs)))
        left, right = figure.subplots(1, 2, sharey=True)
        speeds = [_figure(run, "examples_per_second") for run in runs]
        peaks = [_figure(run, "peak_memory_bytes") / GIB for run in runs]
        colours = [_colour(tables, run.arm) for run in runs]
        for axes, values, label in (
            (left, speeds, "examples/s (more is better)"),
            (right, peaks, "peak GiB (less is better)"),
        ):
            bars = axes.barh(range(len(runs)), values, height=0.55, color=colours)
            axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=8.5)
            axes.set_xlabel(label, fontsize=8.5)
            axes.margins(x=0.28)
            axes.locator_params(axis="x", nbins=4)
        _name_rows(left, runs)
        right.tick_params(axis="y", length=0)
        said = "; ".join(
            f"{_name(run, tables)} {speed:.3g} examples per second, {peak:.3g} GiB"
            for run, speed, peak in zip(runs, speeds, peaks, strict=True)
        )
        drawn = svg.to_svg(figure, "cost", f"Cost of training: {said}.")
    return Picture(
        "cost",
        drawn,
        "Training speed and the process's peak memory while training, each measured once: the "
        "bars have no interval, and small differences may be the machine's.",
    )


def _dot_with_interval(axes: Axes, y: int, run: Run, colour: str) -> None:
    axes.errorbar(
        _percent(run), y, xerr=_errors(run), fmt="o", color=colour, capsize=3, markersize=6, lw=1.5
    )
    interval = run.scores[MAIN_SCORER].interval
    if interval is not None:
        share = percent(run.scores[MAIN_SCORER].accuracy)
        axes.annotate(
            share, (100 * interval.high, y), xytext=(5, 0), textcoords="offset points", va="center"
        )
    axes.margins(x=0.16)


def _name_rows(axes: Axes, runs: Sequence[Run]) -> None:
    """Name the rows after their arms, first arm on top; seeds too where there are several."""
    several = len({run.seed for run in runs}) > 1
    names = [svg.short(run.arm) + (f" · {run.seed}" if several else "") for run in runs]
    axes.set_yticks(range(len(runs)), labels=names)
    axes.set_ylim(len(runs) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _colour(tables: Tables, name: str) -> str:
    tuned = [arm.name for arm in tables.arms if not arm.untuned]
    return svg.PALETTE[tuned.index(name) % len(svg.PALETTE)] if name in tuned else svg.UNTUNED


def _dash(tables: Tables, name: str) -> str:
    names = [arm.name for arm in tables.arms if not arm.untuned]
    return svg.DASHES[names.index(name) // len(svg.PALETTE) % len(svg.DASHES)]


def _percent(run: Run) -> float:
    return 100 * (run.scores[MAIN_SCORER].accuracy or 0.0)


def _errors(run: Run) -> list[list[float]]:
    """Distances from the share to the ends of its interval, as errorbar wants them."""
    score = run.scores[MAIN_SCORER]
    if score.accuracy is None or score.interval is None:
        return [[0.0], [0.0]]
    below, above = score.accuracy - score.interval.low, score.interval.high - score.accuracy
    return [[max(0.0, 100 * below)], [max(0.0, 100 * above)]]


def _share(run: Run) -> str:
    score = run.scores[MAIN_SCORER]
    return f"{percent(score.accuracy)} ({percent_range(score.interval)})"


def _name(run: Run, tables: Tables) -> str:
    several = len({each.seed for each in tables.runs}) > 1
    return f"{run.arm} seed {run.seed}" if several else run.arm


def _figure(run: Run, key: str) -> float:
    return float((run.training or {}).get(key) or 0.0)
