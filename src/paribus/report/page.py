"""Write the report: one self-contained HTML page, and the findings as JSON beside it.

    write_report(ExperimentFolder(Path("runs/gsm8k")))    # runs/gsm8k/report/index.html

The page asks nothing of the network and runs no script but ours (`mistakes`). All text from models,
data and files is escaped by the template, and what the script reads by `mistakes`; figures are the
only markup made elsewhere, and `drawing` escapes theirs.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from paribus.analysis.findings import Analysis, conclude, payload
from paribus.analysis.looks import new_look
from paribus.analysis.measures import terms
from paribus.analysis.reading import read_experiment
from paribus.analysis.signals import Example, pick
from paribus.analysis.tables import Tables
from paribus.errors import StoreError
from paribus.records import Measure
from paribus.report import (
    accuracy,
    classes,
    curves,
    figures,
    findings,
    mistakes,
    other_tasks,
    protocols,
    rows,
    searching,
    tuning,
    units,
)
from paribus.report.drawing import Picture, first_runs
from paribus.report.scaling import scaling_figure
from paribus.store.experiments import Description, write_conclusions
from paribus.store.layout import ExperimentFolder
from paribus.store.ledger import append_look
from paribus.store.locks import briefly
from paribus.untrusted import printable

NO_BREAK = "\u00a0"
LONGEST_KEPT = 30
"""Characters of a line. Longer cells are sentences and may break anywhere."""


def write_report(folder: ExperimentFolder, description: Description | None = None) -> Path:
    """Analyse `folder`, write its report and findings, and return the path of the page.

    With a `description` its questions are answered instead of the store's own.
    Raises StoreError if a file of the experiment is damaged or the report cannot be written.
    """
    write_analysis(folder, description)
    return folder.report


def write_analysis(folder: ExperimentFolder, description: Description | None = None) -> Analysis:
    """Do as `write_report`, and return what the report tells."""
    with briefly(folder.files_lock):  # several commands may end, and report, at once
        analysis = conclude(entered(read_experiment(folder, description), folder))
        write_conclusions(folder, render(analysis), payload(analysis))
    return analysis


def entered(tables: Tables, folder: ExperimentFolder) -> Tables:
    """Return `tables` with the look that showing them is, once it is in the ledger.

    Where that cannot be written, the report says so.
    """
    look = new_look(tables)
    if look is None:
        return tables
    looks, why = (*tables.looks, look), ""
    try:
        append_look(folder.ledger, look)
    except StoreError as error:
        why = f"This look is not in the ledger: {error.message}."
    return replace(tables, looks=looks, not_entered=why)


def render(analysis: Analysis) -> str:
    """Return the page. The same analysis gives the same bytes."""
    environment = Environment(
        loader=PackageLoader("paribus.report"),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"keep_cell": _keep_cell, "keep_percent": _keep_percent}
    return environment.get_template("page.html.jinja").render(_context(analysis))


def _visible(value: Any) -> Any:
    """Spell out what cannot be seen or turns the text around it, in all but our own markup."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return printable(value.replace("\r\n", "\n"))


def _keep_percent(sentence: str) -> str:
    """Keep each % on the line of its number."""
    return sentence.replace(" %", f"{NO_BREAK}%")


def _keep_cell(cell: str) -> str:
    """Keep a short cell on one line, save for a break before its interval."""
    if max(map(len, cell.split("\n"))) > LONGEST_KEPT:
        return _keep_percent(cell)
    return cell.replace(" ", NO_BREAK).replace(f"{NO_BREAK}[", " [")


def _context(analysis: Analysis) -> dict[str, Any]:
    """Everything the template names."""
    tables = analysis.tables
    return {
        "name": tables.config["name"],
        "question": tables.config.get("question") or tables.config["name"],
        "hypothesis": tables.config.get("hypothesis", ""),
        "answer": analysis.answer,
        "warnings": findings.warnings(analysis),
        "missing": tables.missing,
        "limits": analysis.limits,
        "binary": tables.measure is Measure.SOLVED,
        "loss": tables.measure is Measure.LOSS,
        "words": terms(tables.measure),
        "findings": findings.findings_table(analysis),
        "fairness": findings.fairness(analysis),
        "by_seed": rows.by_seed(analysis),
        "uncertainty": rows.uncertainty(analysis),
        "effects": rows.effects(analysis),
        "scorer_notes": units.scorer_notes(tables.scorers),
        "arms": accuracy.over_seeds(analysis),
        "without_interval": accuracy.without_interval(analysis),
        "runs": accuracy.runs(analysis),
        "contrasts": rows.contrasts(analysis),
        "test_note": rows.test_note(analysis),
        "scorers": rows.scorers(tables),
        "training": rows.training(tables),
        "evaluation": rows.evaluation(tables),
        "differing": rows.differing_table(tables),
        "shared": rows.shared(tables),
        "equal": rows.equal(tables),
        "config": rows.config(tables),
        "examples": _examples(tables),
        "flips": mistakes.browser(tables),
        "accuracy_figure": accuracy.figure(analysis),
        "other_tasks": other_tasks.sections(analysis),
        "classes": classes.section(analysis),
        "wrong": mistakes.section(tables),
        "heldout": accuracy.section(tables),
        "protocols": protocols.section(tables),
        "tuning": tuning.section(tables),
        "search": searching.section(tables),
        "curves": curves.section(analysis),
        "ledger": findings.section(tables),
        "training_figures": training_figures(analysis),
    }


def training_figures(analysis: Analysis) -> list[Picture]:
    """Return the figures of what training did and took, as far as there is something to draw."""
    tables = analysis.tables
    drawn = (
        figures.losses(tables),
        figures.loss_and_accuracy(tables),
        figures.cost_figure(tables),
        figures.tradeoff(analysis),
        scaling_figure(analysis),
    )
    return [picture for picture in drawn if picture is not None]


def _examples(tables: Tables) -> list[tuple[str, list[Example]]]:
    """The examples of each arm, from its first complete run."""
    if tables.scorers.loss:  # nothing was written
        return []
    return [(run.arm, pick(run)) for run in first_runs(tables)]
