"""`paribus clean [PATH or FILE]`: show what can be made again, ask, and remove it.

where               what         why                                                       size
gsm8k/lora/seed-0   checkpoints  it resumes from step 120 of 400: this work would be lost  2.1 GB
2.1 GB in all; nothing of complete runs, and not the ledger
remove? [y/N]
"""

import sys
from argparse import Namespace
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from paribus.cli.console import PlainConsole, table_of
from paribus.cli.folders import experiment_folder
from paribus.errors import StoreError
from paribus.store.clean import Leftover, Place, cache_place, encodings_place, places_in

Found = list[tuple[Place, list[Leftover]]]


def from_options(options: Namespace) -> int:
    """Run `paribus clean`."""
    return clean(options.target, options.runs, yes=options.yes, cache=options.cache)


def clean(target: Path | None, root: Path, *, yes: bool, cache: bool) -> int:
    """Remove what can be made again of `target`, or of all under `root`, if that is wanted.

    Raises StoreError if there is nothing to look at, or something cannot be removed.
    """
    console = PlainConsole(highlight=False)
    places = _places(target, root, cache=cache)
    busy = [place for place in places if place.in_use()]
    removable = [(place, place.look()) for place in places if place not in busy]
    removable = [(place, leftovers) for place, leftovers in removable if leftovers]
    for place in busy:
        console.print(f"{escape(str(place.path))}: in use, nothing of it is removed")
    if not removable:
        console.print("nothing to remove")
        return 0
    console.print(_table(removable, root))
    size = sum(leftover.bytes for _, leftovers in removable for leftover in leftovers)
    console.print(f"{decimal(size)} in all; nothing of complete runs, and not the ledger")
    if not yes and not sys.stdin.isatty():
        console.print("nothing is removed: give --yes to remove all of it without a question")
        return 0
    if yes or _wanted():
        _remove(removable, console)
    else:
        console.print("nothing is removed")
    return 0


def _places(target: Path | None, root: Path, *, cache: bool) -> list[Place]:
    """Return where to look. Raises StoreError if there are no runs, and the cache is not asked."""
    if target is not None and not target.is_dir():
        target = experiment_folder(target, [], root).path
    places: list[Place] = []
    if cache:
        from paribus.models.source import cache_folder

        folder = cache_folder()
        places = [cache_place(folder / "models"), encodings_place(folder / "encodings")]
    try:
        return [*places_in(target or root), *places]
    except StoreError:
        if target is None and cache:  # there need be no runs beside it
            return places
        raise


def _table(removable: Found, root: Path) -> Table:
    table = table_of(("where", "what", "why"), ("size",))
    for place, leftovers in removable:
        where = place.path.relative_to(root) if place.path.is_relative_to(root) else place.path
        for leftover in leftovers:
            table.add_row(
                escape(str(where)), leftover.what, escape(leftover.why), decimal(leftover.bytes)
            )
    return table


def _wanted() -> bool:
    """Ask; no answer is a no."""
    try:
        return input("remove? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def _remove(removable: Found, console: Console) -> None:
    """Remove all but what is in use or changed since it was listed. Raises StoreError."""
    removed, failed = 0, list[StoreError]()
    for place, leftovers in removable:
        try:
            kept = place.remove(leftovers)
        except StoreError as error:
            failed.append(error)
            continue
        removed += sum(leftover.bytes for leftover in leftovers if leftover not in kept)
        for changed in kept:
            what = f"{changed.what} changed since they were listed; not removed"
            console.print(f"{escape(str(place.path))}: {what}")
    console.print(f"{decimal(removed)} removed")
    if failed:
        raise StoreError("\n  ".join(error.message for error in failed), failed[0].remedy)
