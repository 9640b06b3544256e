"""The data-scaling curve: accuracy over training problems, and what more of them would bring.

    scaling_figure(analysis).caption     # "… 2,000 more: +1.8 points [+0.4 to +3.1]. …"

It draws and computes nothing. Without three sizes there is none.
"""

from math import log2

from matplotlib.figure import Figure

from paribus.analysis.findings import Analysis
from paribus.analysis.scaling import Scaling
from paribus.analysis.wording import percent, points, points_range
from paribus.report import drawing
from paribus.report.drawing import Picture, colour, dash
from paribus.report.units import count


def scaling_figure(analysis: Analysis) -> Picture | None:
    """Accuracy over the number of training problems, with 95 % bands and the fitted trends."""
    if not analysis.scaling:
        return None
    intervals = {arm.name: arm.interval for arm in analysis.arms}
    with drawing.style("scaling"):
        figure = Figure(figsize=(drawing.FIGURE_WIDTH, 3.0))
        axes = figure.add_subplot()
        ends = []
        for curve in analysis.scaling:
            paint = colour(analysis.tables, curve.arms[-1])
            shares = [100 * mean for mean in curve.means]
            axes.plot(curve.sizes, shares, "o", color=paint, markersize=4)
            bands = [
                (size, interval)
                for size, name in zip(curve.sizes, curve.arms, strict=True)
                if (interval := intervals[name]) is not None
            ]
            axes.fill_between(
                [size for size, _ in bands],
                [100 * interval.low for _, interval in bands],
                [100 * interval.high for _, interval in bands],
                color=paint,
                alpha=0.12,
                lw=0,
            )
            across = [curve.sizes[0], curve.sizes[-1] + curve.more]
            axes.plot(
                across,
                [100 * _trend(curve, size) for size in across],
                color=paint,
                linestyle=dash(analysis.tables, curve.arms[-1]),
                lw=1.2,
            )
            ends.append((across[-1], 100 * _trend(curve, across[-1]), curve.label, paint))
        axes.set_xscale("log", base=2)
        sizes = sorted({size for curve in analysis.scaling for size in curve.sizes})
        axes.set_xticks(sizes, labels=[count(size) for size in sizes])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_xlabel("training problems")
        axes.set_ylabel("problems solved, %")
        axes.grid(axis="y")
        drawing.label_at_right(axes, ends)
        text = f"Accuracy by training problems: {_words(analysis)}."
        drawn = drawing.to_svg(figure, "scaling", text)
    return Picture("scaling", drawn, _caption(analysis))


def _trend(curve: Scaling, size: int) -> float:
    """Return the fitted share at `size`: the line goes through the means of both."""
    x = [log2(each) for each in curve.sizes]
    centre = sum(x) / len(x)
    mean = sum(curve.means) / len(curve.means)
    return mean + (curve.per_doubling or 0.0) * (log2(size) - centre)


def _words(analysis: Analysis) -> str:
    return "; ".join(
        ", ".join(
            f"{curve.label} {count(size)} {percent(mean)}".strip()
            for size, mean in zip(curve.sizes, curve.means, strict=True)
        )
        for curve in analysis.scaling
    )


def _caption(analysis: Analysis) -> str:
    gains = []
    for curve in analysis.scaling:
        name = f"{curve.label}, " if curve.label else ""
        gain = f"{name}{count(curve.more)} more would bring {points(curve.gain or 0.0)}"
        known = f" [{points_range(curve.interval)}]" if curve.interval else f" ({curve.reason})"
        gains.append(gain + known)
    return (
        "Accuracy by the number of training problems, which are nested, with 95 % intervals as "
        "bands, and the straight trend over each doubling, carried on to the right. "
        f"Along it: {'; '.join(gains)}. Nobody has trained on so many: a trend that flattens "
        "brings less."
    )
