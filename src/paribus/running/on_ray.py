"""Runs on the nodes of a Ray cluster: Ray finds the place, paribus says what a run takes.

    executor = OnRay("auto")            # an executor as `running/executing` describes it
    resources(planned, threads=4, gpu=False)        # {"num_cpus": 4, "memory": 6400000000}

Each run is an actor with a process of its own on some node (`ray_node`). Ray starts it once the
processors, the memory and the share of a GPU that the plan predicts are free: there is no scheduler
of ours. A run whose node is lost goes on elsewhere from its last verified checkpoint.
"""

import os
import uuid
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Any

from paribus.errors import InUse, ParibusError, RunFailed, StoreError, UserError
from paribus.files import remove, write_text
from paribus.planning.forecast import Planned
from paribus.running.executing import Ended, OnMessage, Request
from paribus.running.isolated import record_failure
from paribus.running.progress import Progress
from paribus.running.ray_node import Arrived, Node, Part, RunOnNode, add, parts_of
from paribus.stopping import Stopped
from paribus.store.ledger import append_read
from paribus.store.locks import locked
from paribus.store.manifest import check
from paribus.store.runs import writing

LOST = 3
"""Nodes that a run may lose; with the next it fails."""
_SLICE = 0.5
"""Seconds after which a wait looks whether it was asked to stop."""
_AHEAD = 8
"""Messages of a run that wait for the driver; parts of files are among them."""
_INCOMING = ".incoming"


def resources(planned: Planned | None, threads: int, *, gpu: bool) -> dict[str, float]:
    """Return what Ray is to reserve for a run: as its options are called, memory in bytes.

    A share of a `gpu`, rounded up to a hundredth, or memory of the machine. A whole GPU, or
    processors alone, where nothing is predicted.
    """
    taken: dict[str, float] = {"num_cpus": threads}
    if gpu:
        share = 1.0 if planned is None else planned.peak_bytes / planned.device_bytes
        taken["num_gpus"] = min(1.0, ceil(100 * share) / 100)
    elif planned is not None:
        taken["memory"] = planned.peak_bytes
    return taken


def on_ray(address: str | None) -> "OnRay":
    """Return the executor of a cluster, whose runs compute as this machine would: see `OnRay`."""
    import torch

    from paribus.models.device import default_device
    from paribus.models.kernels import on_gpu

    return OnRay(address, threads=torch.get_num_threads(), gpu=on_gpu(default_device()))


@dataclass(slots=True, eq=False)
class _Job:
    """A run on its way: its actor, and what is awaited of it."""

    request: Request
    actor: Any
    awaited: Any
    node: Node | None = None
    lost: int = 0
    held: ExitStack = field(default_factory=ExitStack)

    @property
    def incoming(self) -> Path:
        """Where files of a node that does not see the store lie until they are whole."""
        return self.request.folder.path / _INCOMING


class OnRay:
    """An executor of a Ray cluster."""

    def __init__(self, address: str | None, *, threads: int, gpu: bool) -> None:
        """Join the cluster at `address`; None: one of this machine, which ends with `close`.

        `threads` of every run; `gpu`: whether runs were planned for one. Raises UserError where
        Ray is not installed, or the cluster cannot be reached or has GPUs unlike this machine.
        """
        self._ray = _ray()
        self._threads, self._gpu = threads, gpu
        self._jobs: list[_Job] = []
        self._asked = self._stopping = False
        self._mark: Path | None = None
        self._connect(address)
        if not gpu and self._ray.cluster_resources().get("GPU"):
            self.close()
            raise UserError(
                "the cluster has GPUs, and what runs take is planned for this machine, without one",
                "give the command on a node with a GPU",
            )

    def has_room(self, _request: Request) -> bool:
        """Return True: runs wait at Ray's."""
        return True

    def start(self, request: Request) -> None:
        """Have Ray start the run where there is room."""
        self._jobs.append(self._begin(request, lost=0))

    def wait(self, seconds: float | None, on_message: OnMessage) -> None:
        """Hand on what runs say."""
        if self._asked and not self._stopping:
            self._ask_all(on_message)
        if not self._jobs:
            return
        by_reference = {job.awaited: job for job in self._jobs}
        until = _SLICE if seconds is None else min(seconds, _SLICE)
        ready, _ = self._ray.wait(list(by_reference), timeout=until, fetch_local=False)
        for reference in ready:
            self._hear(by_reference[reference], on_message)

    def stop(self) -> None:
        """Ask every run to stop: at the next `wait`, for this may be called in a signal's midst."""
        self._asked = True

    def close(self) -> None:
        """Kill what still runs, and leave the cluster."""
        for job in self._jobs:
            self._ray.kill(job.actor)
            job.held.close()
            remove(job.incoming)
        self._jobs.clear()
        if self._mark is not None:
            self._mark.unlink(missing_ok=True)
        self._ray.shutdown()

    def _connect(self, address: str | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            self._ray.init(
                address=address or "local",
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level="CRITICAL",
                namespace="paribus",
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(
                f"no Ray cluster is reached at {address or 'this machine'}: {error}",
                "start one (ray start --head), or name its address with --address",
            ) from error

    def _begin(self, request: Request, *, lost: int) -> _Job:
        options = {**resources(request.planned, self._threads, gpu=self._gpu)}
        actor = self._ray.remote(RunOnNode).options(max_concurrency=2, **options).remote()
        seen = (request, Path.cwd(), self._marked(request), _needed(request))
        return _Job(request, actor, actor.look.remote(*seen), lost=lost)

    def _marked(self, request: Request) -> Path:
        """Return a file in the store whose name nobody knows but this driver."""
        if self._mark is None:
            folder = request.folder.experiment.path.resolve()
            self._mark = folder / f".driver-{uuid.uuid4().hex}"
            with writing(self._mark):
                write_text(self._mark, "")
        return self._mark

    def _hear(self, job: _Job, on_message: OnMessage) -> None:
        """Take the next message of a run."""
        try:
            message = self._next(job)
            if isinstance(message, Node):
                self._arrive(job, message)
            elif isinstance(message, Part):
                with writing(job.incoming):
                    add(message, job.incoming)
            elif isinstance(message, Arrived):
                _place(job, message)
            elif isinstance(message, Ended):
                self._end(job, message.failure, on_message)
            else:
                on_message(job.request, message)
        except self._ray.exceptions.RayActorError as error:
            self._lose(job, str(error).strip().splitlines()[0], on_message)
        except self._ray.exceptions.OutOfMemoryError as error:
            self._end(job, _failed(job, str(error).strip().splitlines()[0]), on_message)
        except ParibusError as error:
            self._ray.kill(job.actor)
            self._end(job, error, on_message)

    def _next(self, job: _Job) -> Any:
        if job.node is None:
            return self._ray.get(job.awaited)
        return self._ray.get(next(job.awaited))

    def _arrive(self, job: _Job, node: Node) -> None:
        """Let a run begin on the node that Ray found. Raises UserError if it cannot there."""
        job.node = node
        _check(node, job.request)
        if not node.shared:
            if job.request.folder.manifest.exists():
                raise UserError(
                    f"{job.request.spec.title} is complete, and can be tested further only where "
                    f"its store is: {node.name} does not see {job.request.folder.path}",
                    "run it without --on ray, or put the store where every node sees it",
                )
            job.held.enter_context(locked(job.request.folder.lock))
            remove(job.incoming)
            for part in parts_of(job.request.folder):
                self._ray.get(job.actor.receive.remote(part))
        work = job.actor.work.options(
            num_returns="streaming", _generator_backpressure_num_objects=_AHEAD
        )
        job.awaited = work.remote(_environment(self._threads), shared=node.shared)

    def _end(
        self, job: _Job, failure: ParibusError | Stopped | None, on_message: OnMessage
    ) -> None:
        if failure is None and job.node is not None and not job.node.shared:
            try:
                check(job.request.folder, hashing=True)
                remove(job.request.folder.checkpoints)
                remove(job.request.folder.pieces)
            except StoreError as error:
                failure = error
        self._jobs.remove(job)
        self._ray.kill(job.actor)
        remove(job.incoming)
        job.held.close()
        on_message(job.request, Ended(failure=failure))

    def _lose(self, job: _Job, why: str, on_message: OnMessage) -> None:
        """Start a run again whose node was lost, or give it up."""
        job.held.close()
        remove(job.incoming)
        self._jobs.remove(job)
        where = job.node.name if job.node else "a node"
        if self._stopping:
            on_message(job.request, Ended(failure=Stopped()))
        elif job.lost == LOST:
            failure = _failed(
                job, f"lost its node for the {LOST + 1}. time, the last on {where} ({why})"
            )
            on_message(job.request, Ended(failure=failure))
        else:
            note = f"{where} was lost: goes on elsewhere from the last checkpoint"
            on_message(job.request, Progress(stage="loading", note=note))
            self._jobs.append(self._begin(job.request, lost=job.lost + 1))

    def _ask_all(self, on_message: OnMessage) -> None:
        self._stopping = True
        for job in list(self._jobs):
            if job.node is None:  # it waits for its place
                self._end(job, Stopped(), on_message)
            else:
                job.actor.ask.remote()


def refuse_without_ray() -> None:
    """Raise UserError if Ray is not installed."""
    if find_spec("ray") is None:
        raise UserError("Ray is not installed", "pip install 'paribus[ray]'")


def _ray() -> Any:
    refuse_without_ray()
    import ray

    return ray


def _environment(threads: int) -> Mapping[str, str]:
    """Return the variables of a run's process: threads change what sums round to."""
    return {"OMP_NUM_THREADS": str(threads)}


def _needed(request: Request) -> tuple[Path, ...]:
    """Return the folders here that a run reads: its model's and its data's."""
    config = request.spec.config
    named = [Path(name) for name in (config.model, config.data.path) if name]
    return tuple(path.resolve() for path in named if path.exists())


def _check(node: Node, request: Request) -> None:
    here = version("paribus")
    if node.paribus != here:
        raise UserError(
            f"{node.name} has paribus {node.paribus}, and this driver {here}",
            "install the same version on every node",
        )
    if node.missing:
        raise UserError(
            f"{node.name} has no {', '.join(node.missing)}, which {request.spec.title} reads",
            "put it at the same path on every node, or name it by its place on the Hub",
        )


def _place(job: _Job, arrived: Arrived) -> None:
    """Put in place what has arrived whole, by one rename each; the manifest comes last of all."""
    folder = job.request.folder
    with writing(folder.path):
        for name in arrived.paths:
            source, target = job.incoming / name, folder.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                remove(target)
            source.replace(target)
        remove(job.incoming)
        if folder.checkpoints.is_dir():
            for path in folder.checkpoints.iterdir():
                if arrived.checkpoints and path.name not in arrived.checkpoints:
                    remove(path)
    for read in arrived.reads:
        append_read(folder.experiment.ledger, read)


def _failed(job: _Job, why: str) -> RunFailed:
    """Return, and record, that a run was given up."""
    error = RunFailed(
        f"{job.request.spec.title}: {why}",
        "give the same command again: it goes on from the last checkpoint",
    )
    folder = job.request.folder
    job.held.close()
    with suppress(InUse), locked(folder.lock):  # another command may have it by now
        record_failure(folder, error, "")
    return error
