"""One process at a time works on a run: a lock that ends with its owner, however that ends.

The kernel holds it (`flock`), so a process that was killed holds nothing. The file says who has
it, for the message; it stays when the lock is gone and means nothing then.
"""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from paribus.errors import StoreError
from paribus.store.runs import writing

_INSTANT = 0.05
"""Seconds after which whoever only looked at a lock has let go of it."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock `path` while the block runs.

    Raises StoreError if another process holds it, or it cannot be written.
    """
    with writing(path):
        missing = [each for each in path.parents if not each.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            _take(descriptor)
        except BlockingIOError as error:
            owner = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            raise StoreError(
                f"{path.parent} is in use by {owner or 'another process'}",
                "wait until it is done, or stop it; two at once would write into each other",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        try:
            yield
        finally:
            if [each.name for each in path.parent.iterdir()] == [path.name]:
                path.unlink()  # nothing came of it: leave no trace
                with suppress(OSError):  # another began to use one of them
                    for folder in missing or [path.parent]:
                        folder.rmdir()
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> None:
    """Take the lock. Raises BlockingIOError if another process holds it, and not for an instant."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(_INSTANT)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def held(path: Path) -> bool:
    """Return whether a process holds the lock `path`, without keeping it from anyone.

    It is tried for an instant, shared; `locked` waits that long. Whoever may not open the file
    cannot tell; then it counts as free.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
