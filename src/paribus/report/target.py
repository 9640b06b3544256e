"""Check that writing a report replaces nothing but an earlier report.

check_target(Path("page.html"))     # StoreError if it is there and not a report

A report is recognised by its head, whatever its name.
"""

import os
from pathlib import Path

from paribus.errors import StoreError
from paribus.files import open_file
from paribus.store.runs import writing
from paribus.store.status import store_of

_MARK = b'<meta name="generator" content="paribus">'
_HEAD = 1_000
"""Bytes of a page among which its mark stands."""
_REMEDY = "name another file for the report, one that does not exist"


def check_target(page: Path) -> None:
    """Raise StoreError if to write `page` would replace anything but an earlier report of ours.

    In a store everything has its place, so nothing is added there either.
    """
    with writing(page):
        store = store_of(page)
        if store is not None:
            raise StoreError(f"{page} lies in the store, in {store}", _REMEDY)
        nearest = next(parent for parent in page.absolute().parents if os.path.lexists(parent))
        if not nearest.is_dir():
            raise StoreError(f"{nearest} is not a folder", _REMEDY)
        if os.path.lexists(page):
            fault = _fault(page)
            if fault:
                raise StoreError(f"{page} {fault}", _REMEDY)


def _fault(path: Path) -> str:
    """Return what is at `path`, "" if it is a report of ours."""
    if path.is_symlink():
        return f"is a link, which leads {'elsewhere' if path.exists() else 'nowhere'}"
    if path.is_dir():
        return "is a folder"
    if not path.is_file():
        return "is a pipe, a socket or a device"
    with open_file(path) as file:
        return "" if _MARK in file.read(_HEAD) else "exists and is not a report of paribus"
