"""`paribus publish`: an experiment as a folder for others; `paribus unpack`: as runs again."""

from argparse import Namespace
from pathlib import Path

from rich.markup import escape

from paribus.cli.console import PlainConsole
from paribus.cli.folders import experiment_folder
from paribus.errors import StoreError


def from_options(options: Namespace) -> int:
    """Run `paribus publish` or `paribus unpack`."""
    if options.verb == "unpack":
        return _unpack(options.folder, options.into)
    from paribus.report.publication import publish

    publish(experiment_folder(options.file, [], options.runs), options.into)
    _say(f"published: {options.into}")
    return 0


def _unpack(folder: Path, into: Path) -> int:
    from paribus.store.packed import SEAL, is_packed, unpack

    if not is_packed(folder):
        raise StoreError(
            f"{folder} holds no published experiment: there is no {SEAL}",
            "name a folder that `paribus publish` wrote",
        )
    unpack(folder, into)
    _say(f"unpacked: {into}")
    return 0


def _say(text: str) -> None:
    PlainConsole(highlight=False).print(escape(text), soft_wrap=True)
