"""`paribus report FILE`: conclusions from the store alone; no model, no torch."""

import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from paribus.cli.console import PlainConsole
from paribus.cli.folders import experiment_folder
from paribus.config.load import load, typed
from paribus.design.questions import ask, ask_for_scorer
from paribus.errors import DamagedError, UserError
from paribus.files import read_json
from paribus.report.page import write_report
from paribus.report.terminal import remarks, summary_table
from paribus.store.experiments import Description, read_description, read_tuning
from paribus.store.layout import ExperimentFolder
from paribus.store.ledger import read_ledger
from paribus.store.runs import RunState

_WITH_NOTE = {RunState.DAMAGED, RunState.TESTED_LESS, RunState.FAILED, RunState.COMPLETE}
"""States of runs whose notes are printed: of the others the table says all there is."""


def from_options(options: Namespace) -> int:
    """Run `paribus report`."""
    return report(options.file, options.values, options.runs, options.score)


def report(file: Path, values: Sequence[str], root: Path, scorer: str = "") -> int:
    """Write the report of an experiment file, or of its folder of runs.

    It answers what the file, or who typed `values`, asks by now; see `design/questions`. Stored
    texts are scored anew, by `scorer` first if that is given.
    """
    folder = experiment_folder(file, values, root)
    _refuse_damaged(folder)
    description = read_description(folder)
    if not file.is_dir():
        description = ask(description, load(file, values))
    elif values:
        keys = [word.partition("=")[0] for word in values]
        description = ask(description, typed(values, description.name), keys)
    description = ask_for_scorer(description, scorer)
    console = PlainConsole(highlight=False)
    for line in description.asked:
        console.print(escape(line), soft_wrap=True)
    _conclude(folder, description, console)
    return 0


def show_report(folder: ExperimentFolder, console: Console) -> None:
    """Write report and findings, print the table and the report's path.

    Raises DamagedError, which names them all, if files of the experiment are not what was written;
    UserError in the end if it is `strict` and arms were not alike.
    """
    _refuse_damaged(folder)
    _conclude(folder, read_description(folder), console)


def _conclude(folder: ExperimentFolder, description: Description, console: Console) -> None:
    page = write_report(folder, description)
    findings = read_json(folder.findings)
    console.print(summary_table(findings))
    for line in remarks(findings):
        console.print(line, soft_wrap=True)
    _print_run_notes(findings, folder, console)
    if findings["unrecorded"]:
        console.print(f"[yellow]warning:[/] {escape(findings['unrecorded'])}", soft_wrap=True)
    for line in findings["looks"]["warnings"]:
        console.print(f"[yellow]warning:[/] {escape(line)}", soft_wrap=True)
    console.print(f"report: {escape(str(page))}", soft_wrap=True)
    unlike = [
        f"{contrast['a']} and {contrast['b']}: {unlike}"
        for contrast in findings["contrasts"]
        for unlike in contrast["unlike"]
    ]
    if findings["strict"] and unlike:
        raise UserError(
            "\n  ".join(["strict: more than the compared factor differed:", *unlike]),
            "run the arms again under equal conditions, or set strict=false: the report says "
            "on each finding what else differed",
        )


def _print_run_notes(findings: dict[str, Any], folder: ExperimentFolder, console: Console) -> None:
    """Print why a run is not counted that was begun, what to do, and which were forked."""
    for run in findings["arms"]:
        if run["note"] and run["state"] in _WITH_NOTE:
            text = f"{run['name']}, seed {run['seed']}: {run['note']}"
            console.print(escape(text), soft_wrap=True)
    if any(run["state"] == RunState.DAMAGED for run in findings["arms"]):
        verify = escape(f"paribus verify {shlex.quote(str(folder.path))}")
        remedy = f"{verify} names all that is; delete a run's folder to run it again"
        console.print(f"  → {remedy}", soft_wrap=True)


def _refuse_damaged(folder: ExperimentFolder) -> None:
    """Raise DamagedError if what the report rests on, besides the runs, is not what was written."""
    damaged = []
    for read in (
        lambda: read_description(folder),
        lambda: read_tuning(folder),
        lambda: read_ledger(folder.ledger),
    ):
        try:
            read()
        except DamagedError as error:
            damaged.append(error)
    if damaged:
        lines = "\n  ".join(error.message for error in damaged)
        raise DamagedError(lines, "\n  → ".join(error.remedy for error in damaged))
