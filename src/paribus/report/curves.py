"""The arms while they trained: validation loss and score over examples, tokens and time.

section(analysis).figures[0].caption    # "Loss on 200 validation problems while it trained …"
section(analysis).warnings              # ["full: the loss was lowest at the first moment. …"]
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from paribus.analysis.curves import Curve, Point, remarks
from paribus.analysis.findings import Analysis
from paribus.analysis.measures import terms
from paribus.analysis.tables import Tables
from paribus.analysis.wording import join
from paribus.report import drawing
from paribus.report.drawing import Picture, colour, dash
from paribus.report.rows import Table
from paribus.report.units import UNKNOWN, count, duration, mean_cell, nats, rounded
from paribus.statistics.intervals import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """The section. `chosen` says which weights were tested."""

    chosen: str
    warnings: list[str]
    figures: list[Picture]
    arms: Table
    moments: Table


def section(analysis: Analysis) -> Curves | None:
    """Return the section, None if no arm was measured while it trained."""
    curves, tables = analysis.curves, analysis.tables
    if not curves:
        return None
    scored = [curve for curve in curves if curve.scorer]
    return Curves(
        chosen=_chosen(curves),
        warnings=[line for curve in curves for line in remarks(curve)],
        figures=[_losses(tables, curves), *([_scores(tables, scored)] if scored else [])],
        arms=_arms(curves),
        moments=_moments(tables, curves),
    )


def _chosen(curves: Sequence[Curve]) -> str:
    choosing = [curve.arm for curve in curves if curve.chooses]
    if not choosing:
        return "The weights after the last step were tested."
    whose = "of each run" if len(choosing) == len(curves) else f"of {join(choosing)}"
    return f"The weights {whose} with the lowest loss here were tested; the test took no part."


def _arms(curves: Sequence[Curve]) -> Table:
    """A row for each arm: its lowest loss and when that was, its last, and what was tested.

    Of means over seeds: each seed is tested at its own lowest loss.
    """
    rows = []
    for curve in curves:
        place = min(range(len(curve.points)), key=lambda at: curve.points[at].loss)
        best, last = curve.points[place], curve.points[-1]
        rows.append(
            [
                curve.arm,
                _loss(best.loss, best.interval),
                f"{count(best.examples)} examples, {duration(best.seconds)}",
                _loss(last.loss, last.interval),
                _tested(curve),
            ]
        )
    return Table(["arm", "lowest loss", "after", "loss at the end", "tested after"], rows)


def _tested(curve: Curve) -> str:
    """Return after how many examples the tested weights were reached."""
    seen = sorted({curve.points[place].examples for place in curve.tested})
    return f"{' or '.join(count(examples) for examples in seen)} examples"


def _moments(tables: Tables, curves: Sequence[Curve]) -> Table:
    rows = []
    for curve in curves:
        for place, point in enumerate(curve.points):
            score = mean_cell(point.score, point.score_interval, tables.scorers.measure())
            here = curve.tested.count(place)
            rows.append(
                [
                    curve.arm,
                    count(point.step),
                    count(point.examples),
                    count(point.tokens),
                    duration(point.seconds),
                    _loss(point.loss, point.interval),
                    score if point.score is not None else UNKNOWN,
                    f"{here} of {curve.seeds}" if here else "",
                ]
            )
    headings = ["arm", "step", "examples", "tokens", "time", "loss [95 %]", "score", "tested"]
    return Table(headings, rows)


def _loss(loss: float, interval: Interval | None) -> str:
    return nats(loss) + (f" [{nats(interval.low)} to {nats(interval.high)}]" if interval else "")


def _losses(tables: Tables, curves: Sequence[Curve]) -> Picture:
    """Loss over examples, with the arms' names; below it the same over tokens and over time."""
    with drawing.style("validation-loss"):
        figure = Figure(figsize=(drawing.FIGURE_WIDTH, 4.6))
        parts: dict[str, Axes] = figure.subplot_mosaic(
            [["examples", "examples"], ["tokens", "time"]], height_ratios=[1.5, 1]
        )
        over: dict[str, tuple[str, Callable[[Point], float]]] = {
            "examples": ("training examples seen", lambda point: point.examples),
            "tokens": ("training tokens seen", lambda point: point.tokens),
            "time": ("minutes of training", lambda point: point.seconds / 60),
        }
        for name, (label, place_of) in over.items():
            _draw(parts[name], tables, curves, place_of, lambda p: (p.loss, p.interval))
            parts[name].xaxis.set_major_locator(MaxNLocator(4 if name == "examples" else 2))
            parts[name].set_xlabel(label)
        for name in ("tokens", "time"):
            parts[name].sharey(parts["examples"])
        parts["examples"].set_ylabel("validation loss,\nnats per token")
        _name(parts["examples"], tables, curves, lambda point: point.loss)
        text = "; ".join(
            f"{curve.arm} {nats(curve.points[0].loss)} to {nats(curve.points[-1].loss)}"
            for curve in curves
        )
        drawn = drawing.to_svg(figure, "validation-loss", f"Validation loss in training: {text}.")
    return Picture("validation-loss", drawn, _caption(curves))


def _scores(tables: Tables, curves: Sequence[Curve]) -> Picture:
    """Score over examples."""
    words = terms(tables.scorers.measure())
    with drawing.style("validation-score"):
        figure = Figure(figsize=(drawing.FIGURE_WIDTH, 2.8))
        axes = figure.add_subplot()
        _draw(axes, tables, curves, lambda point: point.examples, _score)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("training examples seen")
        axes.set_ylabel(words.axis)
        _name(axes, tables, curves, lambda point: _score(point)[0])
        text = "; ".join(
            f"{curve.arm} ends at {rounded(_score(curve.points[-1])[0])}" for curve in curves
        )
        drawn = drawing.to_svg(figure, "validation-score", f"{words.axis}, in training: {text}.")
    return Picture(
        "validation-score",
        drawn,
        f"What the texts for the validation problems came to, by the scorer {curves[0].scorer}. "
        "The checkpoint with the lowest loss need not be the one with the highest score.",
    )


def _score(point: Point) -> tuple[float, Interval | None]:
    """Return score and interval in points."""
    interval = point.score_interval
    hundredfold = interval and Interval(100 * interval.low, 100 * interval.high)
    return 100 * (point.score or 0.0), hundredfold


def _draw(
    axes: Axes,
    tables: Tables,
    curves: Sequence[Curve],
    place_of: Callable[[Point], float],
    value_of: Callable[[Point], tuple[float, Interval | None]],
) -> None:
    """Draw a line for each arm, its band over seeds, and a ring where it was tested."""
    for curve in curves:
        paint = colour(tables, curve.arm)
        places = [place_of(point) for point in curve.points]
        values, intervals = zip(*map(value_of, curve.points), strict=True)
        line = dash(tables, curve.arm)
        axes.plot(places, values, color=paint, linestyle=line, marker="o", markersize=3, lw=1.3)
        if all(intervals):
            axes.fill_between(
                places,
                [interval.low for interval in intervals],
                [interval.high for interval in intervals],
                color=paint,
                alpha=0.14,
                lw=0,
            )
        for place in set(curve.tested):
            (ring,) = axes.plot([places[place]], [values[place]], "o", markersize=8)
            ring.set(markerfacecolor="none", markeredgecolor=drawing.INK, clip_on=False)
    axes.grid(axis="y")
    axes.margins(x=0.06, y=0.12)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _short(value: float) -> str:
    """Return a number as an axis has room for: 7,500 as "7.5k"."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _name(
    axes: Axes, tables: Tables, curves: Sequence[Curve], value_of: Callable[[Point], float]
) -> None:
    ends = [
        (
            curve.points[-1].examples,
            value_of(curve.points[-1]),
            curve.arm,
            colour(tables, curve.arm),
        )
        for curve in curves
    ]
    drawing.label_at_right(axes, ends)


def _caption(curves: Sequence[Curve]) -> str:
    seeds = max(curve.seeds for curve in curves)
    banded = any(point.interval for curve in curves for point in curve.points)
    if banded:
        band = "Bands: 95 % intervals of the mean over seeds, for these problems. "
    elif seeds > 1:
        band = f"Means over {seeds} seeds, too few for a band. "
    else:
        band = "One seed, so there is no band. "
    return (
        f"Loss on the gold solutions of {count(curves[0].problems)} validation problems while the "
        f"arms trained, with the weights as they would be tested. {band}Rings: the weights that "
        "were tested. Arms whose solutions are written differently are judged on different texts."
    )
