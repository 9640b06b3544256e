"""Who works on what in a store: locks that the kernel holds, and that end with their process.

    with locked(run.lock): ...                   # one process works on a run
    with joined(folder.lock, tell) as joining:   # every `paribus run` of an experiment
        if joining.alone: ...                    # the first one writes its description,
            joining.share()                      # then others may join
    with briefly(folder.files_lock): ...         # what several of them may write

All are taken by `flock`. A lock's file names a process for messages; without the lock its content
means nothing. On NFS the kernel asks the server (version 4 itself, version 3 its lockd), so that
locks hold between machines; a file system that knows no locks is refused when one is taken.
"""

import fcntl
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from paribus.errors import InUse, StoreError
from paribus.store.runs import writing

_INSTANT = 0.05
"""Seconds after which whoever only looked at a lock has let go of it."""
_AGAIN = 0.2
"""Seconds between two tries of whoever waits."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock `path` alone while the block runs.

    Raises InUse if another process holds it, StoreError if it is a link or no file, or cannot be
    written.
    """
    with writing(path):
        missing = _missing(path)
        descriptor = _taken(path, fcntl.LOCK_EX)
    if descriptor is None:
        raise InUse(
            f"{path.parent} is in use by {owner_of(path)}",
            "wait until it is done, or stop it; two at once would write into each other",
        )
    try:
        _sign(descriptor)
        yield
    finally:
        _leave_no_trace(path, missing)
        os.close(descriptor)


@contextmanager
def briefly(path: Path) -> Iterator[None]:
    """Hold the lock `path` alone while the block runs, which is short: others wait for it.

    The file is there for as long. Raises StoreError as `locked` does.
    """
    with writing(path):
        while (descriptor := _taken(path, fcntl.LOCK_EX)) is None:
            time.sleep(_INSTANT)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # whoever waits for it looks whether it is still there
        os.close(descriptor)


class Joining:
    """How this process holds a lock that others may hold too.

    Attributes:
        alone: whether nobody else holds it, or can before `share`.
    """

    def __init__(self, descriptor: int, *, alone: bool) -> None:
        self._descriptor, self.alone = descriptor, alone

    def share(self) -> None:
        """Stay, and let others join. One may have held the lock alone for an instant in between."""
        if self.alone:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
            self.alone = False
        _sign(self._descriptor)


@contextmanager
def joined(path: Path, on_wait: Callable[[str], None]) -> Iterator[Joining]:
    """Hold the lock `path` alone if nobody holds it, else with those who share it.

    While one process holds it alone this one waits; `on_wait` is told once who that is. Raises
    StoreError as `locked` does.
    """
    with writing(path):
        missing, told = _missing(path), False
        while True:
            alone = _taken(path, fcntl.LOCK_EX)
            descriptor = _taken(path, fcntl.LOCK_SH) if alone is None else alone
            if descriptor is not None:
                break
            if not told:
                on_wait(owner_of(path))
                told = True
            time.sleep(_AGAIN)
    joining = Joining(descriptor, alone=alone is not None)
    try:
        if joining.alone:
            _sign(descriptor)
        yield joining
    finally:
        if joining.alone:
            _leave_no_trace(path, missing)
        elif os.pread(descriptor, 200, 0) == _signature():
            os.ftruncate(descriptor, 0)  # those who stay are others
        os.close(descriptor)


def held(path: Path, *, shared: bool = False) -> bool:
    """Return whether a process holds the lock `path` alone; with `shared` also whether some share.

    It is tried for an instant; `locked` waits that long. Whoever may not open the file cannot
    tell; then it counts as free.
    """
    kind = fcntl.LOCK_EX if shared else fcntl.LOCK_SH
    try:
        descriptor = _open(path, os.O_RDWR if shared else os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # the disk knows no locks
        return False
    finally:
        os.close(descriptor)
    return False


def owner_of(path: Path) -> str:
    """Return who holds the lock, as its file has it: `process 12 on host`."""
    try:
        descriptor = _open(path, os.O_RDONLY)
    except OSError:
        return "another process"
    try:
        return os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
    finally:
        os.close(descriptor)


def _missing(path: Path) -> list[Path]:
    """Return the folders that are made for a lock, and go with it if nothing came of it."""
    return [parent for parent in path.parents if not parent.exists()]


def _sign(descriptor: int) -> None:
    with suppress(OSError):  # who has it is for messages alone; the disk may be full
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _signature(), 0)


def _signature() -> bytes:
    return f"process {os.getpid()} on {socket.gethostname()}\n".encode()


def _leave_no_trace(path: Path, missing: list[Path]) -> None:
    """Remove the lock that is held alone, and the folders made for it, if nothing came of it."""
    with suppress(OSError):  # somebody removed the folder, or uses it by now
        if [each.name for each in path.parent.iterdir()] == [path.name]:
            path.unlink()
            for folder in missing or [path.parent]:
                folder.rmdir()


def _taken(path: Path, kind: int) -> int | None:
    """Return the open file of the lock, taken; None if it is held. Raises StoreError, OSError."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _open(path, os.O_RDWR | os.O_CREAT)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise StoreError(f"{path} is not a file", "remove it: a lock must be a file")
            _take(descriptor, kind)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.lstat()):
                    return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last owner removed it: what holds it now locks nothing


def _open(path: Path, flags: int) -> int:
    """Open a lock's file: never through a link, and without waiting for anyone to write a pipe."""
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def _take(descriptor: int, kind: int) -> None:
    """Take the lock. Raises BlockingIOError if another process holds it, and not for an instant."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(_INSTANT)
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
