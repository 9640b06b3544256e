"""The data-scaling curve: each arm's mean over training problems, and what more would bring.

    scaling_figure(analysis).caption     # "… 2,000 more: +1.8 points [+0.4 to +3.1]. …"

It draws and computes nothing. Without three sizes there is none.
"""

from math import log2

from matplotlib.figure import Figure

from paribus.analysis import wording
from paribus.analysis.findings import Analysis
from paribus.analysis.measures import terms
from paribus.analysis.scaling import Scaling
from paribus.records import Measure
from paribus.report import drawing
from paribus.report.drawing import Picture, colour, dash
from paribus.report.units import count


def scaling_figure(analysis: Analysis) -> Picture | None:
    """Means over the number of training problems, with 95 % bands and the fitted trends."""
    if not analysis.scaling:
        return None
    measure = analysis.scaling[0].measure
    words = terms(measure)
    intervals = {arm.name: arm.interval for arm in analysis.arms}
    with drawing.style("scaling"):
        figure = Figure(figsize=(drawing.FIGURE_WIDTH, 3.0))
        axes = figure.add_subplot()
        ends = []
        for curve in analysis.scaling:
            paint = colour(analysis.tables, curve.arms[-1])
            means = [words.scale * mean for mean in curve.means]
            axes.plot(curve.sizes, means, "o", color=paint, markersize=4)
            bands = [
                (size, interval)
                for size, name in zip(curve.sizes, curve.arms, strict=True)
                if (interval := intervals[name]) is not None
            ]
            axes.fill_between(
                [size for size, _ in bands],
                [words.scale * interval.low for _, interval in bands],
                [words.scale * interval.high for _, interval in bands],
                color=paint,
                alpha=0.12,
                lw=0,
            )
            across = [curve.sizes[0], curve.sizes[-1] + curve.more]
            axes.plot(
                across,
                [words.scale * _trend(curve, size) for size in across],
                color=paint,
                linestyle=dash(analysis.tables, curve.arms[-1]),
                lw=1.2,
            )
            if curve.label:
                ends.append(
                    (across[-1], words.scale * _trend(curve, across[-1]), curve.label, paint)
                )
        axes.set_xscale("log", base=2)
        sizes = sorted({size for curve in analysis.scaling for size in curve.sizes})
        axes.set_xticks(sizes, labels=[count(size) for size in sizes])
        axes.minorticks_off()
        if measure is not Measure.LOSS:
            axes.set_ylim(bottom=0)
        axes.set_xlabel("training problems")
        axes.set_ylabel(words.axis)
        axes.grid(axis="y")
        drawing.label_at_right(axes, ends)
        text = f"{_called(measure)} by training problems: {_words(analysis)}."
        drawn = drawing.to_svg(figure, "scaling", text)
    return Picture("scaling", drawn, _caption(analysis))


def _trend(curve: Scaling, size: int) -> float:
    """Return the fitted mean at `size`: the line goes through the means of both."""
    x = [log2(each) for each in curve.sizes]
    centre = sum(x) / len(x)
    mean = sum(curve.means) / len(curve.means)
    return mean + (curve.per_doubling or 0.0) * (log2(size) - centre)


def _words(analysis: Analysis) -> str:
    return "; ".join(
        ", ".join(
            f"{curve.label} {count(size)} {wording.mean(mean, curve.measure)}".strip()
            for size, mean in zip(curve.sizes, curve.means, strict=True)
        )
        for curve in analysis.scaling
    )


def _caption(analysis: Analysis) -> str:
    measure = analysis.scaling[0].measure
    gains = []
    for curve in analysis.scaling:
        name = f"{curve.label}, " if curve.label else ""
        gain = f"{name}{count(curve.more)} more would bring {wording.points(curve.gain, measure)}"
        known = (
            f" [{wording.points_range(curve.interval, measure)}]"
            if curve.interval
            else f" ({curve.reason})"
        )
        gains.append(gain + known)
    return (
        f"{_called(measure)} by the number of training problems, which are nested, with 95 % "
        "intervals as bands, and the straight trend over each doubling, carried on to the right. "
        f"Along it: {'; '.join(gains)}. Nobody has trained on so many: a trend that flattens "
        "brings less."
    )


def _called(measure: Measure) -> str:
    return terms(measure).mean.capitalize()
