"""Write the report: one self-contained HTML page, and the findings as JSON beside it.

    write_report(ExperimentFolder(Path("runs/gsm8k")))    # runs/gsm8k/report/index.html

The page asks nothing of the network and runs no script. All text from models, data and files is
escaped by the template; the figures are the only markup made elsewhere, and `svg` escapes theirs.
"""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from paribus.analysis.examples import Example, pick
from paribus.analysis.findings import Analysis, analyse, payload
from paribus.analysis.tables import Run, Tables
from paribus.files import write_json, write_text
from paribus.report import figures, rows, settings
from paribus.store.layout import ExperimentFolder
from paribus.store.runs import writing

SCORER_NOTES = {
    "canonical": "takes the first complete “#### N” and compares it as a number; $, commas and "
    "% do not matter. Conclusions are drawn from this one.",
    "strict": "is lm-evaluation-harness's strict-match: the first “#### N”, compared as text, so "
    "“#### $29” does not count.",
    "flexible": "is lm-evaluation-harness's flexible-extract: the last number anywhere in the "
    "text, so a model that never writes “####” can still be right, also by accident.",
}
"""What each scorer does, for the reader of the report."""


NO_BREAK = "\u00a0"
LONGEST_KEPT = 30
"""Characters. Longer cells are sentences and may break anywhere."""


def write_report(folder: ExperimentFolder) -> Path:
    """Analyse `folder`, write its report and findings, and return the path of the page.

    Raises StoreError if the experiment's description cannot be read or the report not written.
    """
    analysis = analyse(folder)
    page = render(analysis)
    with writing(folder.report):
        write_json(folder.findings, payload(analysis))
        write_text(folder.report, page)
    return folder.report


def render(analysis: Analysis) -> str:
    """Return the page. The same analysis gives the same bytes."""
    environment = Environment(
        loader=PackageLoader("paribus.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"keep_cell": _keep_cell, "keep_percent": _keep_percent}
    return environment.get_template("page.html.jinja").render(_context(analysis))


def _keep_percent(sentence: str) -> str:
    """Keep each % on the line of its number."""
    return sentence.replace(" %", f"{NO_BREAK}%")


def _keep_cell(cell: str) -> str:
    """Keep a short cell on one line, save for a break before its interval."""
    if len(cell) > LONGEST_KEPT:
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
        "missing": tables.missing,
        "limits": analysis.limits,
        "means": rows.means(analysis),
        "scorer_notes": SCORER_NOTES,
        "arms": rows.arms(analysis),
        "contrasts": rows.contrasts(analysis),
        "scorers": rows.scorers(tables),
        "training": rows.training(tables),
        "evaluation": rows.evaluation(tables),
        "differing": settings.differing(tables),
        "shared": settings.shared(tables),
        "equal": settings.equal(tables),
        "config": settings.config(tables),
        "examples": _examples(tables),
        "accuracy_figure": figures.accuracy(tables),
        "training_figures": [
            picture
            for draw in (figures.losses, figures.loss_and_accuracy, figures.cost)
            if (picture := draw(tables)) is not None
        ],
    }


def _examples(tables: Tables) -> list[tuple[str, list[Example]]]:
    """The examples of each arm, from its first complete run."""
    first: dict[str, Run] = {}
    for run in tables.complete:
        first.setdefault(run.arm, run)
    return [(name, pick(run)) for name, run in first.items()]
