"""`paribus report FILE`: conclusions from the store alone; no model, no torch."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from paribus.cli.console import PlainConsole
from paribus.config.load import load
from paribus.errors import StoreError, UserError
from paribus.files import read_json
from paribus.report.page import write_report
from paribus.report.terminal import summary_table
from paribus.store.layout import ExperimentFolder


def report(file: Path, values: Sequence[str], root: Path) -> int:
    """Write the report of an experiment file, or of its folder of runs."""
    conclude(experiment_folder(file, values, root), PlainConsole(highlight=False))
    return 0


def conclude(folder: ExperimentFolder, console: Console) -> None:
    """Write report and findings, print the table and the report's path.

    Raises UserError after that if the experiment is `strict` and arms were not alike.
    """
    page = write_report(folder)
    findings = read_json(folder.findings)
    console.print(summary_table(findings))
    console.print(f"report: {escape(str(page))}", soft_wrap=True)
    unlike = [
        f"{finding['claim']}: {caveat}"
        for finding in findings["findings"]
        for caveat in finding["caveats"]
    ]
    if findings["strict"] and unlike:
        raise UserError(
            "\n  ".join(["strict: more than the compared factor differed:", *unlike]),
            "run the arms again under equal conditions, or set strict=false: the report says "
            "on each finding what else differed",
        )


def experiment_folder(file: Path, values: Sequence[str], root: Path) -> ExperimentFolder:
    """Return the folder of runs that `file` names, itself or by the experiment's name.

    Raises StoreError if it holds no runs.
    """
    folder = ExperimentFolder(file if file.is_dir() else root / load(file, values).config.name)
    if not folder.description.is_file():
        raise StoreError(f"{folder.path} holds no experiment", f"run it first: paribus run {file}")
    return folder
