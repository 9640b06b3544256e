"""Figures as small inline SVG, with the same name, colour and line for an arm everywhere.

    with style("accuracy"):
        figure = Figure(figsize=SIZE)
        ...
        svg = to_svg(figure, "accuracy", "Accuracy: baseline 2 %, full-main 31 %.")

    colour(tables, "lora-main")     # "#D55E00"
    run_name(tables, run)           # "lora-main, seed 1", or "lora-main" if there is one seed only

Text stays text: a phone, a screen reader and a diff can read it. The same data give the same bytes:
no date, no random ids. Ids are prefixed, because several figures share one page.
"""

import html
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import StringIO

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paribus.analysis.reading import RunReads
from paribus.analysis.tables import Run, Tables

FIGURE_WIDTH = 4.5
"""Inches. At 72 points each this fits a phone without shrinking the text below 9 points much."""

INK = "#222222"
FAINT = "#d4d4d4"
UNTUNED = "#5f5f5f"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Okabe and Ito's colours, told apart by people with any common colour blindness."""

DASHES = ("-", "--", ":", "-.")
"""Once the colours are used up the line changes too."""

LONGEST_NAME = 22
"""Characters of an arm's name in a figure; the tables have the whole name."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG element and the text below it. A wide one scrolls on a phone."""

    name: str
    svg: str
    caption: str
    wide: bool = False


_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def style(name: str) -> AbstractContextManager[None]:
    """The settings every figure is drawn under; `name` makes its ids its own."""
    return rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": name,
            "text.parse_math": False,
            "font.size": 9.5,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "text.color": INK,
            "axes.axisbelow": True,
            "grid.color": FAINT,
            "grid.linewidth": 0.6,
            "figure.constrained_layout.use": True,
        }
    )


def to_svg(figure: Figure, name: str, description: str) -> str:
    """Return `figure` as an `<svg>` element. `description` is read out in place of the picture."""
    buffer = StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    width, height = (72 * inches for inches in figure.get_size_inches())
    text = html.escape(description)
    opening = (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{text}" '
        f'stroke-linejoin="round"><title>{text}</title>'
    )
    drawn = opening + drawn[drawn.index(">") + 1 :]
    # Its style sheet would apply to the whole page; the line joins go on the element instead.
    drawn = re.sub(r"<(metadata|style)\b.*?</\1>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", drawn)
    # Matplotlib lays out with its own font; the page draws with the reader's.
    return re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", drawn)


def standalone(svg: str) -> str:
    """Return an element that `to_svg` made as the content of a file."""
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return svg.replace("<svg ", f"<svg {spaces} ", 1) + "\n"


def short(name: str) -> str:
    """Return an arm's name as it fits beside an axis."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def label_at_right(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write a label beside each end (x, y, text, colour), moved apart where they would overlap.

    Direct labels need no legend and no colour vision. Each is tied to its end by a thin line.
    """
    axes.figure.canvas.draw()  # fixes the limits, which place the labels
    low, high = axes.get_ylim()
    spacing = min(0.08, 1.0 / max(1, len(ends)))
    at = -1.0
    for x, y, text, colour in sorted(ends, key=lambda end: (end[1], end[2])):
        at = max(at + spacing, (y - low) / (high - low))
        axes.annotate(
            short(text),
            xy=(x, y),
            xycoords="data",
            xytext=(1.06, at),
            textcoords="axes fraction",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.7,
                "shrinkB": 3,
                "relpos": (0, 0.5),
            },
        )
    axes.set_ylim(low, high)


def several_seeds(tables: Tables) -> bool:
    """Return whether any arm is run more than once."""
    return len({run.seed for run in tables.runs}) > 1


def run_name(tables: Tables, run: Run | RunReads) -> str:
    """Return the run's name in tables and sentences."""
    return f"{run.arm}, seed {run.seed}" if several_seeds(tables) else run.arm


def first_runs(tables: Tables) -> list[Run]:
    """Return the first complete run of each arm."""
    first: dict[str, Run] = {}
    for run in tables.complete:
        first.setdefault(run.arm, run)
    return list(first.values())


def further_runs(tables: Tables) -> dict[int, list[Run]]:
    """Return seed -> the complete runs that are not the first of their arm."""
    first = {(run.arm, run.seed) for run in first_runs(tables)}
    others = [run for run in tables.complete if (run.arm, run.seed) not in first]
    return {
        seed: [run for run in others if run.seed == seed]
        for seed in sorted({run.seed for run in others})
    }


def colour(tables: Tables, name: str) -> str:
    """Return the arm's colour: grey for an untuned one."""
    tuned = _tuned(tables)
    return PALETTE[tuned.index(name) % len(PALETTE)] if name in tuned else UNTUNED


def dash(tables: Tables, name: str) -> str:
    """Return the arm's line style: it changes once the colours are used up."""
    tuned = _tuned(tables)
    if name not in tuned:
        return DASHES[0]
    return DASHES[tuned.index(name) // len(PALETTE) % len(DASHES)]


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows of a figure, first on top, one unit each."""
    axes.set_yticks(range(len(names)), labels=names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _tuned(tables: Tables) -> list[str]:
    return [arm.name for arm in tables.arms if not arm.untuned]
