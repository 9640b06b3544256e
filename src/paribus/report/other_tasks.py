"""The other tasks that arms were tested on: a table for each, and what was kept by its margin.

sections(analysis)[0].heading       # "gsm8k"
sections(analysis)[0].arms.rows[1]  # ["full", "7 % [3.1 to 12.0]", "−3.1 [−6.0 to −0.2]", …]
"""

from dataclasses import dataclass

from paribus.analysis import wording
from paribus.analysis.findings import Analysis
from paribus.analysis.machines import about_machines
from paribus.analysis.measures import terms
from paribus.analysis.other_tasks import Kept, TaskResults, TaskRow
from paribus.report.rows import Table, but
from paribus.report.units import UNKNOWN, mean_cell, mean_heading, points_cell, protocol_words

_KEPT = {Kept.SHOWN: "yes", Kept.LOST: "no, more is lost", Kept.NOT_SHOWN: "not shown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSection:
    """One task. `comparisons` has every pair of arms that the experiment declares."""

    heading: str
    lead: str
    arms: Table
    comparisons: Table
    missing: list[str]


def sections(analysis: Analysis) -> list[TaskSection]:
    """Return a section for each further task."""
    return [
        TaskSection(
            heading=task.name,
            lead=_lead(task),
            arms=_arms(task),
            comparisons=_comparisons(task),
            missing=task.tables.missing,
        )
        for task in analysis.tasks
    ]


def _lead(task: TaskResults) -> str:
    sizes = {row.arm.n for row in task.rows if row.arm.mean is not None}
    problems = f"{max(sizes):,} problems" if sizes else "not tested yet"
    asked = f", {protocol_words(task.protocol)}" if task.protocol else ""
    guarded = ""
    if task.margin is not None:
        within = wording.points(task.margin).lstrip("+")
        guarded = f" Guarded: an arm may lose less than {within} against its untuned model."
    return f"{problems}{asked}, scored by {task.tables.scorers.main}.{guarded}"


def _arms(task: TaskResults) -> Table:
    measure = task.tables.measure
    unit = terms(measure).unit
    guarded = task.margin is not None
    headings = ["arm", "seeds", mean_heading(measure), f"against untuned, {unit} [95 % interval]"]
    rows = [
        [
            row.arm.name,
            str(row.arm.seeds),
            mean_cell(row.arm.mean, row.arm.interval, measure),
            _against(row),
            *([_KEPT[row.kept] if row.kept else UNKNOWN] if guarded else []),
        ]
        for row in task.rows
    ]
    within = wording.points(task.margin).lstrip("+")
    return Table([*headings, *([f"loses less than {within}"] if guarded else [])], rows)


def _against(row: TaskRow) -> str:
    contrast = row.against
    if contrast is None:
        return UNKNOWN
    return points_cell(contrast.difference, contrast.interval, contrast.measure)


def _comparisons(task: TaskResults) -> Table:
    measure = task.tables.measure
    rows = [
        [
            f"{contrast.a} − {contrast.b}",
            points_cell(contrast.difference, contrast.interval, measure),
            wording.p_value(contrast.p_holm) if contrast.n else UNKNOWN,
            wording.verdict_sentence(contrast)
            + but(about_machines(task.tables, (contrast.a, contrast.b))),
        ]
        for contrast in task.contrasts
    ]
    return Table(
        ["A − B", f"{terms(measure).unit} [95 % interval]", "p, Holm", "what it shows"], rows
    )
