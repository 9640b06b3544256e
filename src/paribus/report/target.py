"""Where a report may be written that a user puts somewhere: nothing else is lost by it.

check_target(Path("page.html"))     # StoreError if it is there, and no report of ours

A page of ours is known by its head, whatever it is called.
"""

import os
import stat
from pathlib import Path

from paribus.errors import StoreError
from paribus.files import open_file
from paribus.store.places import store_of
from paribus.store.runs import writing

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
        nearest = next(each for each in page.absolute().parents if os.path.lexists(each))
        if not nearest.is_dir():
            raise StoreError(f"{nearest} is no folder", _REMEDY)
        if os.path.lexists(page) and not _is_ours(page):
            raise StoreError(f"{page} exists and is no report of paribus", _REMEDY)


def _is_ours(path: Path) -> bool:
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    with open_file(path) as file:
        return _MARK in file.read(_HEAD)
