"""Where the runs lie that the words of a command line mean."""

from collections.abc import Sequence
from pathlib import Path

from paribus.cli.arguments import command
from paribus.errors import StoreError
from paribus.store.layout import ExperimentFolder


def experiment_folder(file: Path, values: Sequence[str], root: Path) -> ExperimentFolder:
    """Return the folder of runs that `file` names, itself or by the experiment's name.

    Raises StoreError if it holds no runs.
    """
    if not file.exists():
        raise StoreError(
            f"there is no file and no folder {file}",
            "name an experiment's file, or its folder under runs/",
        )
    folder = ExperimentFolder(file if file.is_dir() else root / _name(file, values))
    if not folder.description.is_file():
        raise StoreError(
            f"{folder.path} holds no experiment",
            "name an experiment's file, or its folder under runs/"
            if file.is_dir()
            else f"run it first: {command('run', file, values, root)}",
        )
    return folder


def _name(file: Path, values: Sequence[str]) -> str:
    from paribus.config.load import load  # a verb that is given a folder need not wait for it

    return load(file, values).config.name
