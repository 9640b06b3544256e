"""`paribus report FILE`: conclusions from the store alone; no model, no torch."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from paribus.analysis.findings import analyse, payload
from paribus.config.load import load
from paribus.errors import StoreError
from paribus.report.page import write_report
from paribus.report.terminal import summary_table
from paribus.store.layout import ExperimentFolder


def report(file: Path, values: Sequence[str], root: Path) -> int:
    """Write the report of an experiment file, or of its folder of runs."""
    conclude(experiment_folder(file, values, root), Console(highlight=False))
    return 0


def conclude(folder: ExperimentFolder, console: Console) -> None:
    """Write report and findings, print the table and the report's path."""
    page = write_report(folder)
    console.print(summary_table(payload(analyse(folder))))
    console.print(f"report: {page}", soft_wrap=True)


def experiment_folder(file: Path, values: Sequence[str], root: Path) -> ExperimentFolder:
    """Return the folder of runs that `file` names, itself or by the experiment's name.

    Raises StoreError if it holds no runs.
    """
    folder = ExperimentFolder(file if file.is_dir() else root / load(file, values).config.name)
    if not folder.description.is_file():
        raise StoreError(f"{folder.path} holds no experiment", f"run it first: paribus run {file}")
    return folder
