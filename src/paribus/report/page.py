"""Write the report: one self-contained HTML page, and the findings as JSON beside it.

    write_report(ExperimentFolder(Path("runs/gsm8k")))    # runs/gsm8k/report/index.html

The page asks nothing of the network and runs no script but ours (`flips`). All text from models,
data and files is escaped by the template, and what the script reads by `flips`; the figures are
the only markup made elsewhere, and `svg` escapes theirs.
"""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from paribus.analysis.examples import Example, pick
from paribus.analysis.findings import Analysis, analyse, payload
from paribus.analysis.tables import Tables
from paribus.report import (
    accuracy,
    figures,
    findings,
    flips,
    heldout,
    ledger,
    protocols,
    rows,
    settings,
    tradeoff,
    tuning,
    what_went_wrong,
    words,
)
from paribus.report.arms import first_runs
from paribus.store.experiments import write_conclusions
from paribus.store.layout import ExperimentFolder
from paribus.untrusted import printable

NO_BREAK = "\u00a0"
LONGEST_KEPT = 30
"""Characters of a line. Longer cells are sentences and may break anywhere."""


def write_report(folder: ExperimentFolder, description: dict[str, Any] | None = None) -> Path:
    """Analyse `folder`, write its report and findings, and return the path of the page.

    With a `description` its questions are answered instead of the store's own.
    Raises StoreError if a file of the experiment is damaged or the report cannot be written.
    """
    analysis = analyse(folder, description)
    page = render(analysis)
    write_conclusions(folder, page, payload(analysis))
    return folder.report


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
        "findings": findings.findings(analysis),
        "fairness": findings.fairness(analysis),
        "by_seed": rows.by_seed(analysis),
        "uncertainty": rows.uncertainty(analysis),
        "effects": rows.effects(analysis),
        "scorer_notes": words.SCORER_NOTES,
        "arms": accuracy.over_seeds(analysis),
        "without_interval": accuracy.without_interval(analysis),
        "runs": accuracy.runs(analysis),
        "contrasts": rows.contrasts(analysis),
        "test_note": rows.test_note(analysis),
        "scorers": rows.scorers(tables),
        "training": rows.training(tables),
        "evaluation": rows.evaluation(tables),
        "differing": settings.differing(tables),
        "shared": settings.shared(tables),
        "equal": settings.equal(tables),
        "config": settings.config(tables),
        "examples": _examples(tables),
        "flips": flips.browser(tables),
        "accuracy_figure": accuracy.figure(analysis),
        "wrong": what_went_wrong.section(tables),
        "heldout": heldout.section(tables),
        "protocols": protocols.section(tables),
        "tuning": tuning.section(tables),
        "ledger": ledger.section(tables),
        "training_figures": [
            picture
            for picture in (
                figures.losses(tables),
                figures.loss_and_accuracy(tables),
                figures.cost(tables),
                tradeoff.tradeoff(analysis),
            )
            if picture is not None
        ],
    }


def _examples(tables: Tables) -> list[tuple[str, list[Example]]]:
    """The examples of each arm, from its first complete run."""
    return [(run.arm, pick(run)) for run in first_runs(tables)]
