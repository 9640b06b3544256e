"""The same models asked in other ways: a heat map of arms by protocols, and the calculator.

section(tables).heat_map.svg      # one cell an arm and protocol, its percentage in it
section(tables).sentence          # "A calculator that completes each “<<…=” ..."
"""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from paribus.analysis import summary, wording
from paribus.analysis.measures import terms
from paribus.analysis.summary import ArmSummary, CalculatorGain, Grid
from paribus.analysis.tables import Tables
from paribus.records import Measure
from paribus.report import drawing
from paribus.report.drawing import Picture
from paribus.report.rows import Table
from paribus.report.units import UNKNOWN, mean_cell, mean_heading, points_cell, protocol_words
from paribus.statistics.verdicts import Verdict

MAX_NARROW = 5
"""With more protocols than this the heat map is wide and names its columns upright."""

_SHADES = LinearSegmentedColormap.from_list("shares", ["#f4f7fa", "#6db1dc"])
"""Light enough for dark text in every cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocols:
    """The section. `sentence` is "" and `calculator` has no rows where none was tried."""

    heat_map: Picture
    table: Table
    sentence: str
    calculator: Table


def section(tables: Tables) -> Protocols | None:
    """Return the section, None unless an arm was tested under more than one protocol."""
    grid = summary.grid(tables)
    if grid is None:
        return None
    gains = summary.calculator_gains(tables)
    return Protocols(
        heat_map=_heat_map(grid, tables.measure),
        table=_table(grid, tables.measure),
        sentence=_sentence(gains),
        calculator=_calculator(gains),
    )


def _table(grid: Grid, measure: Measure) -> Table:
    """A row for each arm and protocol; several columns of intervals would fit no page."""
    rows = [
        [
            arm,
            protocol_words(name) + (" (main)" if name == grid.main[arm] else ""),
            mean_cell(cell.mean, cell.interval, measure),
            str(cell.seeds),
        ]
        for arm, cells in grid.cells.items()
        for name in grid.protocols
        if (cell := cells.get(name))
    ]
    return Table(["arm", "protocol", mean_heading(measure), "seeds"], rows)


def _calculator(gains: list[CalculatorGain]) -> Table:
    rows = [
        [
            gain.arm,
            protocol_words(gain.protocol),
            wording.percent(gain.without),
            wording.percent(gain.aided),
            points_cell(gain.difference, gain.interval),
            wording.p_value(gain.p_value),
            wording.p_value(gain.p_holm),
        ]
        for gain in gains
    ]
    headings = ["arm", "protocol", "without", "with", "points [95 % interval]", "p", "p, Holm"]
    return Table(headings, rows)


def _sentence(gains: list[CalculatorGain]) -> str:
    """Return what slips in arithmetic cost, arm by arm: the calculator takes only them away."""
    if not gains:
        return ""
    shown = [gain for gain in gains if gain.verdict is not Verdict.NOT_SHOWN]
    lead = "A calculator that completes each “<<…=” while the model writes"
    if all(gain.p_value is None for gain in gains):
        reasons = wording.join(list(dict.fromkeys(gain.reason for gain in gains)))
        return f"{lead} changes what is solved by the points below; there is no test: {reasons}."
    if not shown:
        sizes = sorted(gain.difference for gain in gains)
        ends = dict.fromkeys((wording.signed(sizes[0]), wording.signed(sizes[-1])))
        return f"{lead} is not shown to matter: {' to '.join(ends)} points."
    parts = wording.join([_changed(contrast) for contrast in shown])
    rest = "; for the others nothing is shown" if len(shown) < len(gains) else ""
    return f"{lead} changes what is solved: {parts}{rest}."


def _changed(gain: CalculatorGain) -> str:
    size = points_cell(gain.difference, gain.interval)
    return f"{gain.arm} by {size} points ({protocol_words(gain.protocol)})"


def _heat_map(grid: Grid, measure: Measure) -> Picture:
    words = terms(measure)
    wide = len(grid.protocols) > MAX_NARROW
    width = 2.0 + 0.5 * len(grid.protocols) if wide else drawing.FIGURE_WIDTH
    top = 1.9 if wide else 0.85
    with drawing.style("protocols"):
        figure = Figure(figsize=(width, top + 0.36 * len(grid.cells)))
        axes = figure.add_subplot()
        highest = max(cell.mean or 0.0 for row in grid.cells.values() for cell in row.values())
        for y, (arm, cells) in enumerate(grid.cells.items()):
            for x, name in enumerate(grid.protocols):
                _cell(axes, x, y, cells.get(name), highest)
            _frame(axes, grid.protocols.index(grid.main[arm]), y)
        axes.set_xlim(-0.5, len(grid.protocols) - 0.5)
        axes.set_ylim(len(grid.cells) - 0.5, -0.5)
        axes.set_yticks(range(len(grid.cells)), labels=[drawing.short(arm) for arm in grid.cells])
        axes.xaxis.tick_top()
        axes.set_xticks(
            range(len(grid.protocols)),
            labels=[_heading(name, upright=wide) for name in grid.protocols],
            rotation=90 if wide else 0,
            fontsize=8.5,
        )
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        what = f"{words.mean.capitalize()} by arm and protocol: {_grid_words(grid, measure)}."
        drawn = drawing.to_svg(figure, "protocols", what)
    return Picture(
        "protocols",
        drawn,
        f"{words.axis.capitalize()}, by arm and protocol, averaged over seeds: the darker the "
        "more. Framed: the arm's main protocol, from which conclusions are drawn. “–”: not tested "
        "so.",
        wide=wide,
    )


def _cell(axes: Axes, x: int, y: int, cell: ArmSummary | None, highest: float) -> None:
    if cell is None or cell.mean is None:
        axes.text(x, y, UNKNOWN, ha="center", va="center", color=drawing.UNTUNED)
        return
    shade = _SHADES(cell.mean / highest if highest else 0.0)
    axes.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, facecolor=shade, lw=0))
    text = f"{100 * cell.mean:.1f}" if cell.mean < 0.0995 else f"{100 * cell.mean:.0f}"
    axes.text(x, y, text, ha="center", va="center")


def _frame(axes: Axes, x: int, y: int) -> None:
    frame = Rectangle((x - 0.46, y - 0.44), 0.92, 0.88, fill=False, edgecolor=drawing.INK, lw=1.6)
    axes.add_patch(frame)


def _heading(name: str, *, upright: bool) -> str:
    words = protocol_words(name)
    return words if upright else words.replace(", ", "\n")


def _grid_words(grid: Grid, measure: Measure) -> str:
    return "; ".join(
        f"{arm} "
        + ", ".join(
            f"{protocol_words(name)} {wording.mean(cells[name].mean, measure)}" for name in cells
        )
        for arm, cells in grid.cells.items()
    )
