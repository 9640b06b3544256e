"""Runs are done by an executor, many at once; this driver says which, and what became of each.

    requests = [Request(spec=spec, folder=folder.of(spec), planned=planned) for spec in specs]
    results = carry_out(requests, executor, on_run)      # Results(ran=5, kept=1, failed=[])

An executor starts runs and says what it hears from them: `running/processes` on this machine. The
driver alone decides. A run is claimed by its lock, which its process takes; one that another
command works on is left to that and waited for, and done here if it is given up there. One run's
failure leaves the others; what a file of the store cannot be written for, or a signal to stop,
stops all of them where they can resume.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from paribus.config.spec import RunSpec
from paribus.errors import InUse, ParibusError, StoreError
from paribus.files import UNREADABLE, read_bytes
from paribus.planning.forecast import Planned
from paribus.planning.stored import is_complete
from paribus.running.isolated import Send, last_words, run_here
from paribus.running.progress import Progress
from paribus.stopping import Stopped, passing_on
from paribus.store.layout import RunFolder
from paribus.store.locks import held, owner_of
from paribus.store.runs import RunState, state
from paribus.store.status import why_it_failed

_POLL = 1.0
"""Seconds between two looks at what other commands work on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A run, or a trial, that is to be done.

    Attributes:
        spec: what it is.
        folder: where it is stored.
        planned: what it is predicted to take; None if the model's shape is not known.
        fork: whether it resumes even where it was begun with other settings.
    """

    spec: RunSpec
    folder: RunFolder
    planned: Planned | None
    fork: bool = False

    @property
    def work(self) -> Callable[[Send], None]:
        """What its process calls, with a function that sends each Progress. It can be pickled.

        It raises the ParibusError that the run failed with, InUse where another process works on
        the run, Stopped if the process was asked to.
        """
        return partial(run_here, self.spec, self.folder, planned=self.planned, fork=self.fork)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The process of a run has ended; `failure` says why if it did not complete the run."""

    failure: ParibusError | Stopped | None = None


OnMessage = Callable[[Request, Progress | Ended], None]


class Executor(Protocol):
    """Where runs are done. One thread calls it."""

    def has_room(self, request: Request) -> bool:
        """Return whether the run can start now; of an executor that does nothing any run can."""

    def start(self, request: Request) -> None:
        """Start the run."""

    def wait(self, seconds: float | None, on_message: OnMessage) -> None:
        """Hand on what runs say, waiting up to so many seconds for it; None: without a limit.

        Each run's last message is Ended. A process that died becomes a RunFailed, which is
        recorded in the run's folder.
        """

    def stop(self) -> None:
        """Ask every run to stop as soon as what it has done is safe. Each still says Ended."""

    def close(self) -> None:
        """End at once what still runs."""


OnRun = Callable[[RunSpec, Progress], None]


@dataclass(slots=True, kw_only=True)
class Results:
    """What became of the runs that were asked for.

    Attributes:
        ran: how many were done here.
        kept: how many other commands completed meanwhile.
        failed: each that failed, here or there, and why.
    """

    ran: int = 0
    kept: int = 0
    failed: list[tuple[RunSpec, str]] = field(default_factory=list)

    def add(self, more: "Results") -> None:
        """Count what became of more runs."""
        self.ran += more.ran
        self.kept += more.kept
        self.failed += more.failed


def carry_out(requests: Sequence[Request], executor: Executor, on_run: OnRun) -> Results:
    """Have all runs done, and return how it went; `on_run` is told of each run's progress.

    Raises StoreError if the store cannot be used, and Stopped when that was asked for: in both
    cases once every run has stopped.
    """
    return _Driver(requests, executor, on_run).drive()


class _Driver:
    """Sees to it that every run is done once."""

    def __init__(self, requests: Sequence[Request], executor: Executor, on_run: OnRun) -> None:
        self.waiting = list(requests)
        self.elsewhere: list[Request] = []
        self.running: list[Request] = []
        self.executor, self.on_run = executor, on_run
        self.results = Results()
        self.failures_before = {request.folder: _failure(request.folder) for request in requests}
        self.kept: set[RunFolder] = set()
        self.stops: ParibusError | Stopped | None = None
        self.words: list[str] = []

    def drive(self) -> Results:
        try:
            with passing_on(self._ask) as asked:
                while self.running or (not self._stopping(asked) and self._left()):
                    if not self._stopping(asked):
                        self._look_elsewhere()
                        self._start()
                    if self.running or self.elsewhere:
                        self.executor.wait(_POLL if self.elsewhere else None, self._hear)
        finally:
            self.executor.close()
        signal = asked()
        if signal is not None:
            raise Stopped("".join(self.words), signal.number)
        if self.stops is not None:
            raise self.stops
        return self.results

    def _left(self) -> bool:
        return bool(self.waiting or self.elsewhere)

    def _stopping(self, asked: Callable[[], Stopped | None]) -> bool:
        return asked() is not None or self.stops is not None

    def _ask(self, asked: Stopped) -> None:
        """Pass on a signal to stop; where nothing runs, as while the first run starts, end."""
        if not self.running:
            raise asked
        self.executor.stop()
        text = "stopping as soon as what is done is safe; once more stops at once"
        self.on_run(self.running[0].spec, Progress(stage="stopping", note=text))

    def _start(self) -> None:
        """Start what there is room for; leave out what is complete, or in other hands, by now."""
        for request in list(self.waiting):
            if not self.executor.has_room(request):
                continue
            self.waiting.remove(request)
            if held(request.folder.lock):
                self._leave(request)
            elif self._failed_elsewhere(request):
                self._fail(request, why_it_failed(request.folder))
            elif self._is_done(request):
                self._keep(request)
            elif self.stops is None:
                self.executor.start(request)
                self.running.append(request)

    def _look_elsewhere(self) -> None:
        """Take back the runs that no other command works on any more."""
        free = [request for request in self.elsewhere if not held(request.folder.lock)]
        self.elsewhere = [request for request in self.elsewhere if request not in free]
        self.waiting = [*free, *self.waiting]

    def _leave(self, request: Request) -> None:
        self.elsewhere.append(request)
        text = f"in the hands of {owner_of(request.folder.lock)}"
        self.on_run(request.spec, Progress(stage="elsewhere", note=text))

    def _keep(self, request: Request) -> None:
        self.results.kept += 1
        self.on_run(request.spec, Progress(stage="kept"))

    def _fail(self, request: Request, why: str) -> None:
        self.results.failed.append((request.spec, why))
        self.on_run(request.spec, Progress(stage="failed"))

    def _is_done(self, request: Request) -> bool:
        if state(request.folder) is not RunState.COMPLETE:
            return False
        try:
            return is_complete(request.spec, request.folder.experiment)
        except StoreError as error:
            self._stop(error)
            return False

    def _failed_elsewhere(self, request: Request) -> bool:
        """Return whether another command has tried the run, and failed, since this one began."""
        now = _failure(request.folder)
        return now is not None and now != self.failures_before[request.folder]

    def _hear(self, request: Request, message: Progress | Ended) -> None:
        if isinstance(message, Ended):
            self.running.remove(request)
            self._end(request, message.failure)
        elif message.stage == "kept":
            self.kept.add(request.folder)
        else:
            self.on_run(request.spec, message)

    def _end(self, request: Request, failure: ParibusError | Stopped | None) -> None:
        words = last_words(failure)
        alone = not (self.running or self.words)
        if words:
            self.words.append(words if alone else words.replace("this one", request.spec.title))
        if isinstance(failure, InUse):
            self._leave(request)
        elif isinstance(failure, StoreError | Stopped):  # the disk: the next would fail likewise
            self._stop(failure)
        elif failure is not None:
            self._fail(request, str(failure))
        elif request.folder in self.kept:
            self._keep(request)
        else:
            self.results.ran += 1
            self.on_run(request.spec, Progress(stage="complete"))

    def _stop(self, failure: StoreError | Stopped) -> None:
        """Stop all because of `failure`, the first of its kind; an error counts for more."""
        if self.stops is None:
            self.executor.stop()
        if self.stops is None or isinstance(self.stops, Stopped):
            self.stops = failure


def _failure(folder: RunFolder) -> bytes | None:
    """Return what a failed run recorded."""
    try:
        return read_bytes(folder.failure)
    except UNREADABLE:
        return None
