"""What takes long in a report, done by a forked process for each processor.

    runs = read_all(lambda at: read_run(folders[at], scorers), sizes=[1_400_000] * 1000)
    contrasts = each(lambda at: contrast(tables, *declared[at]), 280, lambda result: result)

A process reads and scores every k-th run and sends it, packed: its texts, and the problems they
answer only where no run before it answered the same. So the texts of a thousand runs are kept
beside one copy of the problems.
"""

import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from operator import attrgetter
from typing import Any, TypeVar

from paribus.analysis.tables import Run
from paribus.errors import UserError
from paribus.records import Generation, Likelihood

Packed = TypeVar("Packed")
Made = TypeVar("Made")

FROM_BYTES = 16_000_000
"""Size of the texts from which processes are worth their start: a second and a half of scoring."""

_OF_PROBLEM = ("problem_id", "question", "answer", "prompt_sha256", "solution", "group", "answers",
               "choices", "document")  # fmt: skip
_OF_TEXT = ("text", "num_tokens", "stop", "choice_nlls")
_FIELDS = (*_OF_PROBLEM, *_OF_TEXT)


def read_all(read: Callable[[int], Run], sizes: Sequence[int]) -> list[Run]:
    """Return `read(0)`, `read(1)`, … of runs whose texts have these sizes, in bytes.

    Raises what the first of them raises that fails with a UserError.
    """
    if sum(sizes) < FROM_BYTES:
        return [read(at) for at in range(len(sizes))]
    known: list[list[Any]] = []
    packing: list[Packing] = []  # of this process, once it is forked: it reads more than one run
    unpacking: dict[int, Unpacking] = {}

    def pack(at: int) -> tuple[int, dict[str, Any]]:
        packing[:] = packing or [Packing()]
        return os.getpid(), packing[0].run(read(at))

    def unpack(packed: tuple[int, dict[str, Any]]) -> Run:
        process, content = packed
        return unpacking.setdefault(process, Unpacking(known)).run(content)

    return each(pack, len(sizes), unpack)


def each(work: Callable[[int], Packed], count: int, unpack: Callable[[Packed], Made]) -> list[Made]:
    """Return `unpack(work(at))` of each place below `count`, worked on by several processes.

    What `work` returns is pickled. Raises what the first of them raises that fails with a
    UserError.
    """
    processes = min(count, _processors())
    if processes < 2:
        return [unpack(work(at)) for at in range(count)]
    context = get_context("fork")
    receivers: list[Connection] = []
    for first in range(processes):
        receiver, sender = context.Pipe(duplex=False)
        places = range(first, count, processes)
        context.Process(target=_send, args=(sender, work, places), daemon=True).start()
        sender.close()
        receivers.append(receiver)
    made: dict[int, Made] = {}
    faults: dict[int, UserError] = {}
    while receivers:
        ready: list[Any] = wait(receivers)
        for receiver in ready:
            try:
                at, result = receiver.recv()
            except EOFError:
                receiver.close()
                receivers.remove(receiver)
                continue
            if isinstance(result, UserError):
                faults[at] = result
            else:
                made[at] = unpack(result)
    if faults:
        raise faults[min(faults)]
    # A process may have been killed, as where memory is short: what it left is done here.
    return [made[at] if at in made else unpack(work(at)) for at in range(count)]


def _processors() -> int:
    """Return how many processes can work at once; 1 where a fork beside threads is not safe."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


def _send(sender: Connection, work: Callable[[int], Any], places: Sequence[int]) -> None:
    """Send what becomes of each of `places`, with its place. A UserError is sent like a result."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C, and ends this one
    gc.disable()  # a collection would copy what both share
    with suppress(OSError):  # the parent failed meanwhile, and reads nothing any more
        for at in places:
            try:
                result = work(at)
            except UserError as error:
                result = error
            sender.send((at, result))


_Problems = tuple[int, list[Any] | None]
"""Number of a list of problems, and the list the first time that it is sent."""


@dataclass(slots=True)
class Packing:
    """What a process sends: a list of problems once.

    Attributes:
        sent: the lists that were sent; a list's number is its place.
    """

    sent: list[list[Any]] = field(default_factory=list)

    def run(self, run: Run) -> dict[str, Any]:
        """Return the run's attributes, and what was found out about it."""
        return {
            **run.__dict__,
            "generations": self._texts(run.generations),
            "also": {name: self._texts(texts) for name, texts in run.also.items()},
            "heldout": self._likelihoods(run.heldout),
            "tasks": {name: self.run(own) for name, own in run.tasks.items()},
        }

    def _texts(self, texts: Sequence[Generation]) -> tuple[_Problems, list[Any]]:
        problems = list(map(attrgetter(*_OF_PROBLEM), texts))
        return self._once(problems), list(map(attrgetter(*_OF_TEXT), texts))

    def _likelihoods(self, rows: Sequence[Likelihood]) -> tuple[_Problems, list[Any]]:
        problems = [(row.problem_id, row.group) for row in rows]
        return self._once(problems), [(row.nll, row.tokens) for row in rows]

    def _once(self, problems: list[Any]) -> _Problems:
        for number, sent in enumerate(self.sent):
            if sent == problems:
                return number, None
        self.sent.append(problems)
        return len(self.sent) - 1, problems


@dataclass(slots=True)
class Unpacking:
    """What was received from a process.

    Attributes:
        known: lists of problems from any process: of equal ones the first is kept.
        received: those of this process, by number.
    """

    known: list[list[Any]]
    received: list[list[Any]] = field(default_factory=list)

    def run(self, content: dict[str, Any]) -> Run:
        """Return the run that `Packing.run` has packed."""
        run = object.__new__(Run)
        run.__dict__.update(
            content,
            generations=self._texts(*content["generations"]),
            also={name: self._texts(*texts) for name, texts in content["also"].items()},
            heldout=self._likelihoods(*content["heldout"]),
            tasks={name: self.run(own) for name, own in content["tasks"].items()},
        )
        return run

    def _texts(self, problems: _Problems, texts: list[Any]) -> tuple[Generation, ...]:
        return tuple(
            Generation(**dict(zip(_FIELDS, (*problem, *text), strict=True)))
            for problem, text in zip(self._of(*problems), texts, strict=True)
        )

    def _likelihoods(self, problems: _Problems, rows: list[Any]) -> tuple[Likelihood, ...]:
        return tuple(
            Likelihood(problem_id=id, group=group, nll=nll, tokens=tokens)
            for (id, group), (nll, tokens) in zip(self._of(*problems), rows, strict=True)
        )

    def _of(self, number: int, problems: list[Any] | None) -> list[Any]:
        if problems is not None:
            same = next((known for known in self.known if known == problems), None)
            if same is None:
                self.known.append(problems)
            self.received.append(same or problems)
        return self.received[number]
