"""The labels of a task: which was taken for which, the recall of each, macro-F1.

section(analysis).recalls.rows[0]   # ["refund", "40", "81 % [62.0 to 92.1]", ...]
section(analysis).matrices[0].svg   # gold in rows, what the texts say in columns
"""

from dataclasses import dataclass

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from paribus.analysis import wording
from paribus.analysis.classes import OTHER, ArmClasses, Classes, F1Contrast
from paribus.analysis.findings import Analysis
from paribus.report import drawing
from paribus.report.drawing import Picture
from paribus.report.rows import Table
from paribus.report.units import UNKNOWN, accuracy_cell, points_cell
from paribus.statistics.real.means import Mean
from paribus.statistics.verdicts import Verdict

MAX_NARROW = 8
"""With more labels than this a matrix is wide."""
_CELL, _NAMES = 0.36, 1.7
"""Inches: of a cell, and for the names beside them."""
_SHADES = LinearSegmentedColormap.from_list("shares", ["#ffffff", "#6db1dc"])
"""Light enough for dark text in every cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassesSection:
    """The section. `notes` says where a figure has no interval, and why."""

    matrices: list[Picture]
    recalls: Table
    contrasts: Table
    notes: list[str]


def section(analysis: Analysis) -> ClassesSection | None:
    """Return the section, None where answers are no labels."""
    of_labels = analysis.classes
    if of_labels is None or not of_labels.arms:
        return None
    return ClassesSection(
        matrices=[
            _matrix(of_labels.labels, arm, number) for number, arm in enumerate(of_labels.arms)
        ],
        recalls=_recalls(of_labels),
        contrasts=_contrasts(of_labels),
        notes=_notes(of_labels),
    )


def _recalls(of_labels: Classes) -> Table:
    """A row for each label, then macro-F1."""
    arms = of_labels.arms
    rows = [
        [label, str(arms[0].counts[row]), *(_recall(arm, row) for arm in arms)]
        for row, label in enumerate(of_labels.labels)
    ]
    macro = ["macro-F1", str(sum(arms[0].counts)), *(_cell(arm.macro_f1) for arm in arms)]
    return Table(["label", "problems", *(arm.name for arm in arms)], [*rows, macro])


def _contrasts(of_labels: Classes) -> Table:
    rows = [
        [
            f"{contrast.a} − {contrast.b}",
            points_cell(contrast.difference, contrast.interval),
            wording.p_value(contrast.p_value),
            wording.p_value(contrast.p_holm),
            _shown(contrast),
        ]
        for contrast in of_labels.contrasts
    ]
    headings = ["A − B", "macro-F1, points [95 % interval]", "p", "p, Holm", "what it shows"]
    return Table(headings, rows)


def _shown(contrast: F1Contrast) -> str:
    if contrast.reason:
        return f"No verdict: {contrast.reason}."
    if contrast.verdict is Verdict.NOT_SHOWN:
        return "Not shown."
    pair = (contrast.a, contrast.b)
    higher, lower = pair if contrast.verdict is Verdict.SUPPORTED else pair[::-1]
    return f"{higher} has a higher macro-F1 than {lower}."


def _recall(arm: ArmClasses, row: int) -> str:
    return _cell(arm.recalls[row]) if arm.counts[row] else UNKNOWN


def _cell(mean: Mean) -> str:
    return accuracy_cell(mean.value, mean.interval)


def _notes(of_labels: Classes) -> list[str]:
    reasons = dict.fromkeys(
        mean.reason
        for arm in of_labels.arms
        for mean in (*arm.recalls, arm.macro_f1)
        if mean.reason
    )
    return [f"Without an interval: {reason}." for reason in reasons]


def _matrix(labels: tuple[str, ...], arm: ArmClasses, number: int) -> Picture:
    name, columns = f"confusion-{number}", (*labels, OTHER)
    width = max(drawing.FIGURE_WIDTH, _NAMES + _CELL * len(columns))
    with drawing.style(name):
        figure = Figure(figsize=(width, 1.3 + _CELL * len(labels)))
        axes = figure.add_subplot()
        shares = arm.confusion / arm.confusion.sum(axis=1, keepdims=True).clip(1)
        axes.pcolormesh(shares, cmap=_SHADES, vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
        for row, column in zip(*arm.confusion.nonzero(), strict=True):
            count = str(arm.confusion[row, column])
            axes.text(column + 0.5, row + 0.5, count, ha="center", va="center", fontsize=8.5)
        axes.set_xticks(
            [place + 0.5 for place in range(len(columns))],
            labels=[drawing.short(label) for label in columns],
            rotation=90,
        )
        axes.set_yticks(
            [place + 0.5 for place in range(len(labels))],
            labels=[drawing.short(label) for label in labels],
        )
        axes.set_ylim(len(labels), 0)
        axes.xaxis.tick_top()
        axes.tick_params(length=0, labelsize=8.5)
        axes.spines[:].set_visible(False)
        axes.set_title(drawing.short(arm.name), fontsize=9.5, loc="left")
        drawn = drawing.to_svg(figure, name, f"Confusion of {arm.name}: {_words(labels, arm)}.")
    caption = (
        f"{arm.name}, seed {arm.seed}: problems by gold label (rows) and by the label that the "
        f"text names (columns); {OTHER}: none of them. Shaded by the share of the row."
    )
    return Picture(name, drawn, caption, wide=len(labels) > MAX_NARROW)


def _words(labels: tuple[str, ...], arm: ArmClasses) -> str:
    return "; ".join(
        f"{label} right {wording.percent(arm.confusion[row, row] / max(1, arm.counts[row]))} of "
        f"{arm.counts[row]}"
        for row, label in enumerate(labels)
    )
