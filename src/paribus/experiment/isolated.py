"""Run one spec in a process of its own, and hear from it while it works.

A process per run gives each its own peak memory, returns all of it, and confines a crash, an
out-of-memory kill or a library's global state to one run. On the CPU the processes are forked
from a server that has the heavy imports done, so a run starts in milliseconds. A GPU's driver
does not survive a fork, and some libraries wake it when imported: there each run imports anew.
"""

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from paribus.config.spec import RunSpec
from paribus.errors import ParibusError, RunFailed
from paribus.experiment.progress import Progress
from paribus.store.layout import RunFolder
from paribus.store.runs import RunState, fail, state


def run_isolated(spec: RunSpec, folder: RunFolder, on_progress: Callable[[Progress], None]) -> None:
    """Run `spec` in a child process. Raises what it raised, or RunFailed if it died.

    An interrupt kills the child; its folder has no manifest and counts as unfinished.
    """
    # Read by the server's OpenMP when it starts. By default a waiting thread spins for
    # milliseconds; where anything else runs it then takes the core from the thread it waits for.
    # LOG.md has the figures.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    context: Any = multiprocessing.get_context("spawn" if _may_have_gpu() else "forkserver")
    context.set_forkserver_preload(["paribus.experiment.preload"])
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(spec, folder, sender), daemon=True)
    child.start()
    sender.close()
    try:
        failure = _listen(receiver, on_progress)
        child.join()
    finally:
        if child.is_alive():
            child.kill()
            child.join()
    if failure is not None:
        raise failure
    if child.exitcode != 0:
        ended = f"the process of {spec.title} ended with code {child.exitcode}"
        _record(folder, ended, "")
        raise RunFailed(
            ended,
            "code -9 is most often the kernel's out-of-memory killer: lower training.micro_batch "
            "or evaluation.batch_size, or set training.checkpointing=true",
        )


def _may_have_gpu() -> bool:
    """Return whether a GPU's device file is there. Asking torch would wake the driver."""
    if sys.platform != "linux":
        return True
    dev = Path("/dev")
    return any(dev.glob("nvidia[0-9]*")) or (dev / "kfd").exists() or (dev / "dxg").exists()


def run_here(spec: RunSpec, folder: RunFolder, on_progress: Callable[[Progress], None]) -> None:
    """Run `spec` in this process. A failure is recorded in the run's folder and raised."""
    from paribus.experiment.run import run_one

    try:
        run_one(spec, folder, on_progress)
    except ParibusError as error:
        _record(folder, str(error), traceback.format_exc())
        raise
    except Exception as error:
        _record(folder, f"{type(error).__name__}: {error}", traceback.format_exc())
        raise RunFailed(
            f"{spec.title}: {type(error).__name__}: {error}",
            f"the traceback is in {folder.failure}",
        ) from error


def _record(folder: RunFolder, error: str, trace: str) -> None:
    if state(folder) is RunState.UNFINISHED:
        fail(folder, error, trace)


def _listen(receiver: Connection, on_progress: Callable[[Progress], None]) -> ParibusError | None:
    """Pass progress on until the child hangs up; return the error it sent, if any."""
    while True:
        try:
            message = receiver.recv()
        except EOFError:
            return None
        if isinstance(message, ParibusError):
            return message
        on_progress(message)


def _child(spec: RunSpec, folder: RunFolder, sender: Connection) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and kills
    import paribus.experiment.preload  # noqa: F401  # done already where the process was forked

    try:
        run_here(spec, folder, sender.send)
    except ParibusError as error:
        error.__cause__ = None  # causes need not be picklable
        sender.send(error)
