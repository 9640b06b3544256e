"""Figures of training: loss, loss beside accuracy, cost, accuracy against cost.

    losses(tables).svg, losses(tables).caption
    tradeoff(analysis).svg      # arms than which no other is better and cheaper stand out

They draw and compute nothing. A figure without data is None.
"""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paribus.analysis import wording
from paribus.analysis.family import Cost, costs, frontier
from paribus.analysis.findings import Analysis
from paribus.analysis.measures import terms
from paribus.analysis.tables import Run, Tables
from paribus.analysis.wording import percent_range
from paribus.records import Measure
from paribus.report import drawing
from paribus.report.drawing import Picture, colour, dash, name_rows, run_name, several_seeds
from paribus.report.units import GB


def tradeoff(analysis: Analysis) -> Picture | None:
    """Accuracy of the tuned arms over memory and over speed; None under two measured arms."""
    points = costs(analysis.tables)
    if len(points) < 2:
        return None
    measure = analysis.tables.measure
    words = terms(measure)
    intervals = {arm.name: arm.interval for arm in analysis.arms}
    with drawing.style("tradeoff"):
        figure = Figure(figsize=(drawing.FIGURE_WIDTH, 2.9))
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, by, label in (
            (left, "memory", "peak GB (less is better)"),
            (right, "speed", "examples/s (more is better)"),
        ):
            best = frontier(points, "memory" if by == "memory" else "speed")
            for point in points:
                interval = intervals[point.name]
                paint = colour(analysis.tables, point.name)
                x = point.peak_memory_bytes / GB if by == "memory" else point.examples_per_second
                y = 100 * point.accuracy
                if interval is not None:
                    axes.vlines(x, 100 * interval.low, 100 * interval.high, color=paint, lw=1)
                filled = paint if point.name in best else "white"
                axes.plot(x, y, "o", color=paint, markerfacecolor=filled, markersize=6)
            axes.set_xlabel(label, fontsize=8.5)
            axes.margins(x=0.2)
            axes.grid()
        left.set_ylabel(words.axis)
        left.set_ylim(bottom=0)
        _name(right, points, analysis)
        text = "; ".join(
            f"{point.name} {wording.mean(point.accuracy, measure)}, "
            f"{point.peak_memory_bytes / GB:.3g} GB, "
            f"{point.examples_per_second:.3g} examples per second"
            for point in points
        )
        what = words.mean.capitalize()
        drawn = drawing.to_svg(figure, "tradeoff", f"{what} against cost: {text}.")
    return Picture(
        "tradeoff",
        drawn,
        f"What each tuned arm {words.does} (with its 95 % interval) against what its training "
        f"took. Filled: by these figures alone no other arm {words.does} as much for less; whether "
        f"arms differ in what they {words.do} is tested above. Costs were measured once per run "
        "and have no interval.",
    )


def _name(axes: Axes, points: list[Cost], analysis: Analysis) -> None:
    ends = [
        (
            point.examples_per_second,
            100 * point.accuracy,
            point.name,
            colour(analysis.tables, point.name),
        )
        for point in points
    ]
    drawing.label_at_right(axes, ends)


def losses(tables: Tables) -> Picture | None:
    """Training loss of each run over its steps."""
    runs = [run for run in tables.complete if run.losses]
    if not runs:
        return None
    with drawing.style("losses"):
        figure = Figure(figsize=(drawing.FIGURE_WIDTH, 3.0))
        axes = figure.add_subplot()
        ends: dict[str, tuple[float, float, str, str]] = {}
        for run in runs:
            steps = [point.step for point in run.losses]
            values = [point.loss for point in run.losses]
            paint = colour(tables, run.arm)
            marker = "o" if len(steps) == 1 else ""
            axes.plot(
                steps, values, color=paint, linestyle=dash(tables, run.arm), marker=marker, lw=1.3
            )
            ends.setdefault(run.arm, (steps[-1], values[-1], run.arm, paint))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("training loss, nats per target token")
        axes.grid(axis="y")
        drawing.label_at_right(axes, list(ends.values()))
        text = "; ".join(
            f"{run_name(tables, run)} ends at {run.losses[-1].loss:.2f}" for run in runs
        )
        drawn = drawing.to_svg(figure, "losses", f"Training loss by step: {text}.")
    return Picture(
        "losses",
        drawn,
        "Training loss: mean over the target tokens of each step, or of a block of steps in long "
        "runs. There is no interval: the loss is of the training examples themselves.",
    )


def loss_and_accuracy(tables: Tables) -> Picture | None:
    """Final training loss beside test accuracy, a point for each trained run."""
    if tables.measure is Measure.LOSS:
        return None
    runs = [run for run in tables.complete if run.losses and run.score.n]
    words = terms(tables.measure)
    if not runs:
        return None
    with drawing.style("loss-accuracy"):
        figure = Figure(figsize=(drawing.FIGURE_WIDTH, 3.0))
        axes = figure.add_subplot()
        ends: dict[str, tuple[float, float, str, str]] = {}
        for run in runs:
            loss, share, paint = run.losses[-1].loss, _percent(run), colour(tables, run.arm)
            axes.errorbar(
                loss,
                share,
                yerr=_errors(run),
                fmt="o",
                color=paint,
                capsize=2,
                markersize=5,
                lw=1.2,
            )
            ends.setdefault(run.arm, (loss, share, run.arm, paint))
        axes.margins(x=0.12)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("training loss at the end, nats per target token")
        axes.set_ylabel(words.axis)
        axes.grid()
        drawing.label_at_right(axes, list(ends.values()))
        text = "; ".join(
            f"{run_name(tables, run)} loss {run.losses[-1].loss:.2f}, {_share(run)}" for run in runs
        )
        drawn = drawing.to_svg(figure, "loss-accuracy", f"Loss beside {words.mean}: {text}.")
    return Picture(
        "loss-accuracy",
        drawn,
        f"The last training loss of each trained run beside its test {words.mean}, with the 95 % "
        f"interval of the {words.mean}. A lower loss on the training text need not {words.do} "
        f"{words.up}.",
    )


def cost_figure(tables: Tables) -> Picture | None:
    """Training speed and peak memory of each trained run."""
    measured = [
        (run, cost.examples_per_second, cost.peak_memory_bytes / GB)
        for run in tables.complete
        if (cost := run.training) and cost.examples_per_second and cost.peak_memory_bytes
    ]
    if not measured:
        return None
    runs, speeds, peaks = zip(*measured, strict=True)
    with drawing.style("cost"):
        figure = Figure(figsize=(drawing.FIGURE_WIDTH, 0.85 + 0.34 * len(runs)))
        left, right = figure.subplots(1, 2, sharey=True)
        colours = [colour(tables, run.arm) for run in runs]
        for axes, values, label in (
            (left, speeds, "examples/s (more is better)"),
            (right, peaks, "peak GB (less is better)"),
        ):
            bars = axes.barh(range(len(runs)), values, height=0.55, color=colours)
            axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=8.5)
            axes.set_xlabel(label, fontsize=8.5)
            axes.margins(x=0.28)
            axes.locator_params(axis="x", nbins=4)
        name_rows(left, [_row_name(tables, run) for run in runs])
        right.tick_params(axis="y", length=0)
        text = "; ".join(
            f"{run_name(tables, run)} {speed:.3g} examples per second, {peak:.3g} GB"
            for run, speed, peak in zip(runs, speeds, peaks, strict=True)
        )
        drawn = drawing.to_svg(figure, "cost", f"Cost of training: {text}.")
    return Picture(
        "cost",
        drawn,
        "Training speed and the process's peak memory while training, each measured once: the "
        "bars have no interval, and small differences may be the machine's.",
    )


def _percent(run: Run) -> float:
    return 100 * (run.score.accuracy or 0.0)


def _errors(run: Run) -> list[list[float]]:
    """Distances from the share to the ends of its interval, as errorbar wants them."""
    score = run.score
    if score.accuracy is None or score.interval is None:
        return [[0.0], [0.0]]
    below, above = score.accuracy - score.interval.low, score.interval.high - score.accuracy
    return [[max(0.0, 100 * below)], [max(0.0, 100 * above)]]


def _share(run: Run) -> str:
    score = run.score
    return f"{wording.mean(score.accuracy, run.measure)} ({percent_range(score.interval)})"


def _row_name(tables: Tables, run: Run) -> str:
    return drawing.short(run.arm) + (f" · {run.seed}" if several_seeds(tables) else "")
