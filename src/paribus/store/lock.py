"""One process at a time works on a run: a lock that ends with its owner, however that ends.

The kernel holds it (`flock`), so a process that was killed holds nothing. The file says who has
it, for the message; it stays when the lock is gone and means nothing then.
"""

import fcntl
import os
import socket
import stat
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

    Raises StoreError if another process holds it, it is a link or no file, or cannot be written.
    """
    with writing(path):
        missing = [each for each in path.parents if not each.exists()]
        descriptor = _taken(path)
    try:
        with suppress(OSError):  # who has it is for the message alone; the disk may be full
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        with suppress(OSError):  # somebody removed the folder, or uses it by now
            if [each.name for each in path.parent.iterdir()] == [path.name]:
                path.unlink()  # nothing came of it: leave no trace
                for folder in missing or [path.parent]:
                    folder.rmdir()
        os.close(descriptor)


def _taken(path: Path) -> int:
    """Return the open file of the lock, taken. Raises StoreError, OSError."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _open(path, os.O_RDWR | os.O_CREAT)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise StoreError(f"{path} is no file", "remove it: it keeps paribus from the run")
            _take(descriptor)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.lstat()):
                    return descriptor
        except BlockingIOError as error:
            owner = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise StoreError(
                f"{path.parent} is in use by {owner or 'another process'}",
                "wait until it is done, or stop it; two at once would write into each other",
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last owner removed it: what holds it now locks nothing


def _open(path: Path, flags: int) -> int:
    """Open a lock's file: never through a link, and without waiting for anyone to write a pipe."""
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


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
        descriptor = _open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # the disk knows no locks
        return False
    finally:
        os.close(descriptor)
    return False
