"""What a Ray node does for one run: it starts the run's process, and hands on what that says.

The run works in the store itself where the node sees it, which the driver's mark in it shows. Else
it works in a folder of the node's own: the driver sends what the run resumes from, and gets every
checkpoint, piece of tests and reading of the test split once it is written, and all files in the
end. Files travel in parts, so that weights need not fit into the object store at once.
"""

import os
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from paribus.running.executing import Ended, Request
from paribus.running.isolated import Child, Died, why_it_died
from paribus.stopping import Stopped
from paribus.store.checkpoints import BEST, STEP
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.ledger import TestRead, read_ledger

PART = 2**26
"""Bytes of a file that travel together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Where a run got to.

    Attributes:
        name: of the host.
        shared: whether it sees the store that the driver writes.
        paribus: the version installed there.
        missing: what the run reads and the node does not have.
    """

    name: str
    shared: bool
    paribus: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some bytes of a file of the run, by its path in the run's folder, in order."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """All parts of these files and folders were sent: they can be put in place.

    Attributes:
        paths: of files, and of folders of checkpoints, in the run's folder.
        checkpoints: names of those that the node keeps.
        reads: readings of the test split since the last message.
    """

    paths: tuple[str, ...]
    checkpoints: tuple[str, ...]
    reads: tuple[TestRead, ...]


class RunOnNode:
    """An actor: one run on one node. `ask` may be called while `work` runs."""

    def __init__(self) -> None:
        self._child: Child | None = None
        self._asked = False
        self._scratch = tempfile.TemporaryDirectory(prefix="paribus-")
        self._sent: set[str] = set()
        self._reads = 0

    def look(self, request: Request, folder: Path, mark: Path, needed: Sequence[Path]) -> Node:
        """Return what this node sees: of the driver's working `folder` and mark, and what it needs.

        Paths in an experiment may be relative to that folder.
        """
        self._request = request
        if folder.is_dir():
            os.chdir(folder)
        if not mark.exists():
            name = request.folder.experiment.path.name
            own = ExperimentFolder(Path(self._scratch.name) / name).of(request.spec)
            self._request = replace(request, folder=own)
        return Node(
            name=socket.gethostname(),
            shared=mark.exists(),
            paribus=version("paribus"),
            missing=tuple(str(path) for path in needed if not path.exists()),
        )

    def receive(self, part: Part) -> None:
        """Add a part of a file that the run resumes from."""
        add(part, self._request.folder.path)
        self._sent.add("/".join(Path(part.path).parts[:2]))

    def work(self, environment: Mapping[str, str], *, shared: bool) -> Iterator[Any]:
        """Do the run; yield its messages, what it wrote where nobody else sees it, and Ended."""
        folder = self._request.folder
        child = self._child = Child(self._request.work, environment)
        if self._asked:
            child.ask()
        messages: list[Any] = []
        while child.hear(messages.append):
            if not shared:
                yield from self._news(folder)
            yield messages.pop()
        failure = child.end()
        child.close()
        if isinstance(failure, Died):
            died = why_it_died(failure, self._request.spec, folder)
            failure = Stopped() if self._asked else died
        if not shared:
            yield from self._news(folder, last=True)
            if failure is None:
                yield from self._rest(folder)
        yield Ended(failure=failure)

    def ask(self) -> None:
        """Ask the run to stop as soon as what it has done is safe."""
        self._asked = True
        if self._child is not None:
            self._child.ask()

    def _news(self, folder: RunFolder, *, last: bool = False) -> Iterator[Part | Arrived]:
        """Yield the checkpoints and pieces that were written since, and the run's own account."""
        checkpoints = _names(folder.checkpoints, (STEP, BEST))
        pieces = _names(folder.pieces, ("",), end=".json")
        written = [*(f"checkpoints/{name}" for name in checkpoints)]
        written += [f"pieces/{name}" for name in pieces]
        fresh = [name for name in written if name not in self._sent]
        reads = self._new_reads(folder)
        if not (fresh or reads or last):
            return
        own = [path.name for path in (folder.spec, folder.events, folder.failure) if path.exists()]
        whole = []
        for name in [*fresh, *own]:
            try:
                yield from _parts(folder.path, name)
            except OSError:  # a checkpoint that is not kept any more
                continue
            whole.append(name)
            self._sent.add(name)
        yield Arrived(paths=tuple(whole), checkpoints=tuple(checkpoints), reads=reads)

    def _rest(self, folder: RunFolder) -> Iterator[Part | Arrived]:
        """Yield the files of a complete run, its manifest last."""
        names = [path.name for path in folder.written() if path != folder.manifest and _holds(path)]
        for name in names:
            yield from _parts(folder.path, name)
        yield Arrived(paths=tuple(names), checkpoints=(), reads=self._new_reads(folder))
        yield from _parts(folder.path, folder.manifest.name)
        yield Arrived(paths=(folder.manifest.name,), checkpoints=(), reads=())

    def _new_reads(self, folder: RunFolder) -> tuple[TestRead, ...]:
        ledger = folder.experiment.ledger
        reads = read_ledger(ledger) if ledger.exists() else []
        fresh, self._reads = tuple(reads[self._reads :]), len(reads)
        return fresh


def parts_of(folder: RunFolder) -> Iterator[Part]:
    """Yield what a run that was begun resumes from."""
    for place in (folder.spec, folder.events, folder.checkpoints, folder.pieces):
        if place.exists():
            yield from _parts(folder.path, place.name)


def add(part: Part, folder: Path) -> None:
    """Add a part to its file in `folder`."""
    path = folder / part.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(part.content)


def _parts(folder: Path, name: str) -> Iterator[Part]:
    """Yield the parts of a file, or of the files in a folder. Raises OSError."""
    path = folder / name
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    for each in files:
        relative = each.relative_to(folder).as_posix()
        with each.open("rb") as file:
            content = file.read(PART)
            yield Part(path=relative, content=content)
            while content := file.read(PART):
                yield Part(path=relative, content=content)


def _holds(path: Path) -> bool:
    """Return whether there is something to send: a file, or a folder with any."""
    return path.is_file() or any(each.is_file() for each in path.rglob("*"))


def _names(folder: Path, beginnings: tuple[str, ...], end: str = "") -> list[str]:
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir())
    return [name for name in names if name.startswith(beginnings) and name.endswith(end)]
