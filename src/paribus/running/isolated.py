"""Run one spec in its own process, hear from it meanwhile, and record why it stopped if it did.

A process returns all of its memory, has its own peak, and confines a crash, an out-of-memory kill
or a library's global state. On the CPU processes are forked from a server that has done the heavy
imports, so one starts in milliseconds. A GPU driver does not survive a fork, and some libraries
initialise it when imported: with a GPU each process imports anew.

A run that needs more memory than there is fails as `OutOfMemory`, with what was predicted.
"""

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from paribus.config.spec import RunSpec
from paribus.errors import OutOfMemory, ParibusError, RunFailed, StoreError
from paribus.planning.devices import GB
from paribus.planning.forecast import PLANNED, Planned
from paribus.planning.stored import is_complete
from paribus.running.progress import Progress
from paribus.stopping import Stopped, enduring, hear, passing_on
from paribus.store.layout import RunFolder
from paribus.store.locks import locked
from paribus.store.runs import RunState, fail, read_events, state

Send = Callable[[Any], None]


class Died(Exception):  # noqa: N818  # it says what happened, and is always caught
    """The process ended without saying why.

    Attributes:
        code: its exit code, negative for a signal.
        out_of_memory: whether it was killed while the kernel killed for memory.
    """

    def __init__(self, code: int | None, out_of_memory: bool) -> None:
        super().__init__(code, out_of_memory)
        self.code = code
        self.out_of_memory = out_of_memory


def get_ready() -> None:
    """Start the imports that children need, in parallel with this process."""
    _settle()
    if not _may_have_gpu():
        _ignoring_signals(forkserver.ensure_running)


class Child:
    """A process that does one piece of work, from its start to its end.

    Attributes:
        receiver: becomes readable when the child says something, or ends.
    """

    def __init__(self, work: Callable[[Send], None], environment: Mapping[str, str]) -> None:
        """Start a process that calls `work`, which must be picklable.

        `environment` holds variables that it is started with, beside this process's own.
        """
        _settle()
        forked = not _may_have_gpu()
        context: Any = multiprocessing.get_context("forkserver" if forked else "spawn")
        self.receiver, sender = context.Pipe(duplex=False)
        self._killed_before = _kills()
        self._process = context.Process(
            target=_child, args=(work, sender, dict(environment)), daemon=True
        )
        self._said: ParibusError | Stopped | None = None
        try:
            with _set(environment):
                _start(self._process, forked)
        except BaseException:
            self.close()
            raise
        sender.close()

    def hear(self, on_message: Callable[[Any], None]) -> bool:
        """Hand on the next message, waiting for it; return False once there are no more."""
        try:
            message = self.receiver.recv()
        except EOFError:
            return False
        if isinstance(message, ParibusError | Stopped):
            self._said = message
            return False
        on_message(message)
        return True

    def ask(self) -> None:
        """Ask the child to stop as soon as what it has done is safe."""
        self._process.terminate()

    def end(self) -> ParibusError | Stopped | Died | None:
        """Wait for the end of a child that has no more to say; return why it ended, if not well."""
        self._process.join()
        if self._said is not None or self._process.exitcode == 0:
            return self._said
        # The counter is the machine's: it rises for other programs too.
        starved = _kills() > self._killed_before and self._process.exitcode == -signal.SIGKILL
        return Died(self._process.exitcode, out_of_memory=starved)

    def close(self) -> None:
        """Kill the child if it is alive."""
        self.receiver.close()
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def in_child(
    work: Callable[[Send], None],
    on_message: Callable[[Any], None],
    on_asked: Callable[[], None] = lambda: None,
) -> None:
    """Call `work`, which must be picklable, in a child process; hand on what it sends.

    Raises the ParibusError that `work` raised, or Died. The first signal to stop is passed on to
    the child, which may finish a step, and `on_asked` is called; then Stopped is raised. A second
    one kills the child.
    """
    child = Child(work, {})

    def ask(_: Stopped) -> None:
        child.ask()
        on_asked()

    try:
        with passing_on(ask) as stopped:
            while child.hear(on_message):
                pass
            failure = child.end()
    finally:
        child.close()
    asked = stopped()
    if asked is not None:
        raise Stopped(last_words(failure), asked.number)
    if failure is not None:
        raise failure


@contextmanager
def _set(environment: Mapping[str, str]) -> Iterator[None]:
    """Let this process, and what it starts meanwhile, have these variables while the block runs."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _settle() -> None:
    """Say what the server and its children are to import, and how they are to compute."""
    # Read by the server's OpenMP when it starts. By default a waiting thread spins for
    # milliseconds; where anything else runs it then takes the core from the thread it waits for.
    # LOG.md has the figures.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # Each pass has a number of tokens of its own, and what is compiled for its products is kept:
    # up to 1,024 by oneDNN, and as many by its wrapper in torch. That was 1.4 GB after 40 steps of
    # a small model. These cover one pass, and cost nothing (LOG.md).
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
    os.environ.setdefault("LRU_CACHE_CAPACITY", "16")
    forkserver.set_forkserver_preload(["paribus.running.preload"])


def _start(child: Any, forked: bool) -> None:
    """Start `child`, deaf to Ctrl-C from its first instruction."""
    if not forked:
        _ignoring_signals(child.start)
        return
    _ignoring_signals(forkserver.ensure_running)
    child.start()  # waits for the server's imports: here an interrupt must get through


def _ignoring_signals(start: Callable[[], None]) -> None:
    """Call `start` so that the program it starts does not hear Ctrl-C or that its terminal closed.

    A terminal sends both to the whole group. What interrupts a process's imports is a traceback,
    and with the server its children would go. That a signal is blocked is inherited by the program
    that is started; here it is heard afterwards, and not lost as if it had been ignored.
    """
    resource_tracker.ensure_running()  # when it starts it lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _may_have_gpu() -> bool:
    """Return whether a GPU's device file is there. Asking torch would wake the driver."""
    if sys.platform != "linux":
        return True
    dev = Path("/dev")
    return any(dev.glob("nvidia[0-9]*")) or (dev / "kfd").exists() or (dev / "dxg").exists()


def _kills() -> int:
    """Return how many processes the kernel has killed for memory; 0 where it does not say."""
    counters = Path("/proc/vmstat")
    lines = counters.read_text().splitlines() if counters.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def last_words(failure: BaseException | None) -> str:
    """Return what to say of a child that was asked to stop: where it resumes, or why it failed."""
    if isinstance(failure, ParibusError):
        return f", and this run failed meanwhile: {failure.message}"
    return failure.text if isinstance(failure, Stopped) else ""


def _child(
    work: Callable[[Send], None], sender: Connection, environment: Mapping[str, str]
) -> None:
    os.environ.update(environment)  # a forked one has its server's
    hear()  # the parent decides, and passes it on
    # A library prints what it likes, and who read it may have left.
    sys.stdout, sys.stderr = enduring(sys.stdout), enduring(sys.stderr)
    import paribus.running.preload  # noqa: F401  # done already where the process was forked

    def send(message: Any) -> None:
        try:
            sender.send(message)
        except BrokenPipeError:  # the parent is gone: there is nobody to work for
            raise SystemExit from None

    try:
        work(send)
    except ParibusError as error:
        error.__cause__ = None  # causes need not be picklable
        send(error)
    except Stopped as stop:
        send(stop)


_LESS = (
    "set training.micro_batch=auto and training.checkpointing=auto, or lower evaluation.batch_size;"
    " `paribus plan --probe` measures"
)


def why_it_died(died: Died, spec: RunSpec, folder: RunFolder) -> RunFailed:
    """Return, and record in the run's folder, what the end of its process means."""
    failure: RunFailed
    if died.out_of_memory:
        failure = _out_of_memory(spec, folder, "the kernel killed it to free memory")
    else:
        failure = RunFailed(
            f"the process of {spec.title} ended with code {died.code}",
            f"{_LESS} (code -9 is most often the kernel's out-of-memory killer)"
            if died.code == -9
            else "give the same command again; if it ends so again, look in the kernel's log",
        )
    with locked(folder.lock):
        record_failure(folder, failure, "")
    return failure


def run_here(
    spec: RunSpec,
    folder: RunFolder,
    on_progress: Callable[[Progress], None],
    planned: Planned | None = None,
    *,
    fork: bool = False,
) -> None:
    """Run `spec` in this process. A failure is recorded in the run's folder and raised.

    Nothing is done if another process has completed it by now. Raises InUse if one works on it.
    """
    with locked(folder.lock):
        if folder.manifest.exists() and is_complete(spec, folder.experiment):
            on_progress(Progress(stage="kept"))
        else:
            _run_locked(spec, folder, on_progress, planned, fork=fork)


def _run_locked(
    spec: RunSpec,
    folder: RunFolder,
    on_progress: Callable[[Progress], None],
    planned: Planned | None,
    *,
    fork: bool,
) -> None:
    from paribus.models.device import is_out_of_memory
    from paribus.running.run import run_one

    try:
        run_one(spec, folder, on_progress, planned, fork=fork)
    except ParibusError as error:
        record_failure(folder, error, traceback.format_exc())
        raise
    except Exception as error:
        failure = RunFailed(
            f"{spec.title}: {type(error).__name__}: {error}",
            f"read the traceback in {folder.failure}",
        )
        if is_out_of_memory(error):
            failure = _out_of_memory(spec, folder, str(error).strip().splitlines()[0])
        record_failure(folder, failure, traceback.format_exc())
        raise failure from error


def _planned(folder: RunFolder) -> Planned | None:
    """Return what was predicted when the run began; None if nothing was."""
    events = read_events(folder, PLANNED)
    if not events:
        return None
    known = {f.name: events[-1][f.name] for f in fields(Planned) if f.name in events[-1]}
    return Planned(**known)


def _out_of_memory(spec: RunSpec, folder: RunFolder, what: str) -> OutOfMemory:
    planned = _planned(folder)
    if planned is None:
        return OutOfMemory(f"{spec.title} ran out of memory: {what}", _LESS)
    return OutOfMemory(
        f"{spec.title} ran out of memory; {planned.peak_bytes / GB:.1f} GB were predicted, and "
        f"{planned.device} has {planned.device_bytes / GB:.1f}: {what}",
        _LESS,
    )


def record_failure(folder: RunFolder, error: ParibusError, trace: str) -> None:
    """Store why the run failed; where that cannot be stored either, the failure itself counts."""
    with suppress(StoreError):
        if state(folder) is not RunState.UNFINISHED:
            return
        planned = _planned(folder)
        fail(
            folder,
            str(error),
            trace,
            kind="out of memory" if isinstance(error, OutOfMemory) else "failed",
            predicted_peak_bytes=planned.peak_bytes if planned else None,
        )
