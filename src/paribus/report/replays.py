"""One figure: how far apart a small experiment's differences lie from the large one's.

figure(replays, problems=100)      # an SVG file's text
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paribus.analysis.replay import Replay
from paribus.report.drawing import (
    FIGURE_WIDTH,
    INK,
    PALETTE,
    UNTUNED,
    short,
    standalone,
    style,
    to_svg,
)

_BELOW, _ABOVE = PALETTE[1], PALETTE[0]
_HEIGHT = 0.8
"""Of the highest column, in rows."""


def figure(replays: Sequence[Replay], problems: int) -> str:
    """Return the differences of all replays, a row for each pair, as an SVG file.

    Replays in which the other arm is ahead are of another colour, even ones grey.
    """
    with style("replays"):
        drawing = Figure(figsize=(1.3 * FIGURE_WIDTH, 0.9 + 0.75 * len(replays)))
        axes = drawing.add_subplot()
        for row, each in enumerate(replays):
            _draw(axes, len(replays) - 1 - row, each, problems)
        axes.axvline(0, color=INK, linewidth=0.8)
        names = [f"{short(each.a)}\n− {short(each.b)}" for each in reversed(replays)]
        axes.set_yticks([row + _HEIGHT / 2 for row in range(len(replays))], names)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_ylim(-0.15, len(replays))
        axes.set_xlabel(
            f"points, by {problems:,} problems and one seed; line and number: all the data"
        )
        text = "; ".join(
            f"{each.a} minus {each.b}: {100 * each.whole:+.1f} points over all, the other way in "
            f"{100 * _other_way(each):.0f} % of the replays"
            for each in replays
        )
        return standalone(to_svg(drawing, "replays", f"Differences in replays. {text}."))


def _other_way(each: Replay) -> float:
    return each.behind() if each.whole >= 0 else each.ahead()


def _draw(axes: Axes, row: int, each: Replay, problems: int) -> None:
    counts = np.rint(each.differences * problems).astype(int)
    values, frequencies = np.unique(counts, return_counts=True)
    heights = _HEIGHT * frequencies / frequencies.max()
    points = 100 * values / problems
    same = np.sign(values) == np.sign(each.whole)
    colours = np.where(values == 0, UNTUNED, np.where(same, _ABOVE, _BELOW))
    axes.bar(points, heights, bottom=row, width=90 / problems, color=list(colours), alpha=0.75)
    whole = 100 * each.whole
    axes.plot([whole, whole], [row, row + _HEIGHT], color=INK, linewidth=1.6)
    axes.annotate(
        f"{whole:+.1f}",
        (whole, row + _HEIGHT),
        textcoords="offset points",
        xytext=(3, 0),
        fontsize=8,
    )
