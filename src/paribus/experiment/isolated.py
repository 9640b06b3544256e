"""Run one spec in a process of its own, and record why it stopped if it did.

A run that needs more memory than there is fails as `OutOfMemory`, with what was predicted for it.
"""

import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from functools import partial

from paribus.config.spec import RunSpec
from paribus.errors import OutOfMemory, ParibusError, RunFailed, StoreError
from paribus.experiment.forecast import PLANNED, Planned
from paribus.experiment.process import Died, in_child
from paribus.experiment.progress import Progress
from paribus.planning.devices import GB
from paribus.store.layout import RunFolder
from paribus.store.lock import locked
from paribus.store.runs import RunState, fail, read_events, state

_LESS = (
    "set training.micro_batch=auto and training.checkpointing=auto, or lower evaluation.batch_size;"
    " `paribus plan --probe` measures"
)


def run_isolated(
    spec: RunSpec,
    folder: RunFolder,
    on_progress: Callable[[Progress], None],
    planned: Planned | None = None,
    *,
    fork: bool = False,
) -> None:
    """Run `spec` in a child process. Raises what it raised, or RunFailed if it died.

    Raises Stopped if that was asked for: the run goes on from a checkpoint next time.
    """

    def tell() -> None:
        text = "stopping as soon as what is done is safe; once more stops at once"
        on_progress(Progress(stage="stopping", note=text))

    try:
        in_child(partial(run_here, spec, folder, planned=planned, fork=fork), on_progress, tell)
    except Died as died:
        failure: RunFailed
        if died.out_of_memory:
            failure = _out_of_memory(spec, folder, "the kernel killed it to free memory")
        else:
            failure = RunFailed(
                f"the process of {spec.title} ended with code {died.code}",
                f"-9 is most often the kernel's out-of-memory killer: {_LESS}"
                if died.code == -9
                else "give the same command again; if it ends so again, look in the kernel's log",
            )
        with locked(folder.lock):
            _record(folder, failure, "")
        raise failure from died


def run_here(
    spec: RunSpec,
    folder: RunFolder,
    on_progress: Callable[[Progress], None],
    planned: Planned | None = None,
    *,
    fork: bool = False,
) -> None:
    """Run `spec` in this process. A failure is recorded in the run's folder and raised."""
    with locked(folder.lock):
        _run_locked(spec, folder, on_progress, planned, fork=fork)


def _run_locked(
    spec: RunSpec,
    folder: RunFolder,
    on_progress: Callable[[Progress], None],
    planned: Planned | None,
    *,
    fork: bool,
) -> None:
    from paribus.experiment.run import run_one
    from paribus.models.device import is_out_of_memory

    try:
        run_one(spec, folder, on_progress, planned, fork=fork)
    except ParibusError as error:
        _record(folder, error, traceback.format_exc())
        raise
    except Exception as error:
        failure = RunFailed(
            f"{spec.title}: {type(error).__name__}: {error}",
            f"the traceback is in {folder.failure}",
        )
        if is_out_of_memory(error):
            failure = _out_of_memory(spec, folder, str(error).strip().splitlines()[0])
        _record(folder, failure, traceback.format_exc())
        raise failure from error


def _planned(folder: RunFolder) -> Planned | None:
    """Return what was predicted when the run began; None if nothing was."""
    events = read_events(folder, PLANNED)
    return Planned(**{f.name: events[-1][f.name] for f in fields(Planned)}) if events else None


def _out_of_memory(spec: RunSpec, folder: RunFolder, what: str) -> OutOfMemory:
    planned = _planned(folder)
    if planned is None:
        return OutOfMemory(f"{spec.title} ran out of memory: {what}", _LESS)
    return OutOfMemory(
        f"{spec.title} ran out of memory; {planned.peak_bytes / GB:.1f} GB were predicted, and "
        f"{planned.device} has {planned.device_bytes / GB:.1f}: {what}",
        _LESS,
    )


def _record(folder: RunFolder, error: ParibusError, trace: str) -> None:
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
