"""Accuracy against what it costs: the arms than which no other is better and cheaper stand out.

tradeoff(analysis).svg
"""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paribus.analysis.findings import Analysis
from paribus.analysis.relations import Cost, costs, frontier
from paribus.analysis.wording import percent
from paribus.report import svg
from paribus.report.arms import colour
from paribus.report.svg import Picture
from paribus.report.units import GB


def tradeoff(analysis: Analysis) -> Picture | None:
    """Accuracy of the tuned arms over memory and over speed; None under two measured arms."""
    points = costs(analysis.tables)
    if len(points) < 2:
        return None
    intervals = {arm.name: arm.interval for arm in analysis.arms}
    with svg.style("tradeoff"):
        figure = Figure(figsize=(svg.FIGURE_WIDTH, 2.9))
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
        left.set_ylabel("problems solved, %")
        left.set_ylim(bottom=0)
        _name(right, points, analysis)
        said = "; ".join(
            f"{point.name} {percent(point.accuracy)}, {point.peak_memory_bytes / GB:.3g} GB, "
            f"{point.examples_per_second:.3g} examples per second"
            for point in points
        )
        drawn = svg.to_svg(figure, "tradeoff", f"Accuracy against cost: {said}.")
    return Picture(
        "tradeoff",
        drawn,
        "What each tuned arm solves (with its 95 % interval) against what its training took. "
        "Filled: by these figures alone no other arm solves as much for less; whether arms differ "
        "in what they solve is tested above. Costs were measured once per run and have no "
        "interval.",
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
    svg.label_at_right(axes, ends)
