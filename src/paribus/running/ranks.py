"""A run on several ranks: rank 0 decides and stores, the others compute their share with it.

    torchrun --nproc-per-node 2 -m paribus run experiment.yaml

    rank 0                                       every other rank
    run_experiment(…)                            follow()
      with together(Train(…)): train(…)          Train(…) is taken: it trains along
      dismiss()                                  follow() returns

Whatever depends on the store, on the clock or on a signal is decided by rank 0 and told. A rank
that fails or is killed ends them all, by the launcher; the run resumes from its newest checkpoint.
"""

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from paribus.config.spec import RunSpec, differences
from paribus.errors import DataError, ParibusError, RunFailed
from paribus.models import ranks
from paribus.models.device import compute_dtype, default_device, return_freed
from paribus.models.fast import blocked
from paribus.planning.prepare import prepare
from paribus.running.executing import OnMessage
from paribus.running.job import Job
from paribus.running.processes import Here
from paribus.running.trained import tested, train_job, trainable
from paribus.stopping import Stopped, hearing
from paribus.store.checkpoints import Checkpoint
from paribus.store.layout import RunFolder
from paribus.training.checkpointing import Checkpoints, restore_weights

_stranded = False
"""Whether the others were left in the middle of something: they take no further order."""


class Order(Protocol):
    """Something that all ranks compute together."""

    def __call__(self, held: "Held") -> None:
        """Compute a follower's part of it."""


@dataclass(slots=True)
class Held:
    """What a rank keeps from one order to the next.

    Attributes:
        model: of the run that is at work; once it is trained, as it is tested.
        job: that run.
    """

    model: nn.Module | None = None
    job: Job | None = None

    @property
    def tokenizer(self) -> Any:
        """Of the model."""
        assert self.job is not None
        return self.job.inputs.tokenizer

    def drop(self) -> None:
        """Keep nothing."""
        if self.job is not None:
            self.model, device = None, self.job.device
            gc.collect()
            return_freed(device)


class OnRanks(Here):
    """An executor that does one run after the other on all ranks, by rank 0's word."""

    def wait(self, seconds: float | None, on_message: OnMessage) -> None:
        """Do the run. A signal stops it where it can resume."""
        with hearing():
            super().wait(seconds, on_message)
        gc.collect()  # the next run has this process, too
        return_freed(default_device())


@contextmanager
def together(order: Order) -> Iterator[None]:
    """Let the other ranks take `order` while the block computes rank 0's part of it.

    A RunFailed of the block is one that all ranks raise at the same place. After any other error
    the ranks cannot go on: their launcher ends them when this process does. Raises Stopped if one
    of the others is gone.
    """
    global _stranded
    if ranks.count() == 1:
        yield
        return
    if _stranded:
        raise Stopped(", the ranks were left in the middle of a run")
    try:
        with ranks.connected():
            ranks.from_first(order)
            yield
    except RunFailed:
        raise
    except ranks.RankLost as lost:
        _stranded = True
        raise Stopped(", another rank has ended (its error is above)", signal.SIGTERM) from lost
    except BaseException:
        _stranded = True
        raise


def dismiss() -> None:
    """Part from the other ranks; rank 0 tells them that there is nothing more."""
    if not _stranded:
        with suppress(RuntimeError):  # they are gone
            if not ranks.rank():
                ranks.from_first(None)
        ranks.leave()


def follow() -> int:
    """Compute what rank 0 says, without a word, until it says no more; return the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # rank 0 hears them, and tells
    held = Held()
    try:
        with (
            Path(os.devnull).open("w") as nowhere,
            redirect_stdout(nowhere),
            redirect_stderr(nowhere),
        ):
            while (order := _heard()) is not None:
                _take(order, held)
    except ranks.RankLost:
        return 1  # the one that was lost says why
    except Stopped:
        return 0
    except Exception as error:  # noqa: BLE001  # whatever it is, this rank ends with it
        _say(error)
        return 1
    return 0


def _heard() -> Order | None:
    with ranks.connected():
        order: Order | None = ranks.from_first(None)
    return order


def _take(order: Order, held: Held) -> None:
    try:
        with ranks.connected():
            order(held)
    except RunFailed:  # rank 0 raises the same, and records it
        held.drop()


def _say(error: Exception) -> None:
    """Print why this rank ends: on the terminal, as rank 0 cannot know."""
    print(f"rank {ranks.rank()}: {type(error).__name__}: {error}", file=sys.__stderr__)
    if not isinstance(error, ParibusError):
        traceback.print_exception(error, file=sys.__stderr__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """Train a run from its start or from a checkpoint, then round its weights to be tested.

    Attributes:
        spec: of the run.
        inputs: what it reads, by hash: a follower reads it itself.
        folder: where rank 0 stores it.
        point: the checkpoint to resume from.
        sharded: whether every rank holds a part of each weight.
    """

    spec: RunSpec
    inputs: dict[str, Any]
    folder: RunFolder
    point: Checkpoint | None
    sharded: bool

    @classmethod
    def of(cls, job: Job, point: Checkpoint | None) -> "Train":
        """Return the order to train `job` from `point`."""
        return cls(
            spec=job.spec,
            inputs=job.inputs.identity(),
            folder=job.folder,
            point=point,
            sharded=job.sharded,
        )

    def __call__(self, held: Held) -> None:
        """Train along."""
        held.drop()
        job = _job(self.spec, self.folder, self.inputs)
        job = held.job = replace(job, sharded=self.sharded)
        model = held.model = trainable(job, self.point)
        saves = Checkpoints(folder=self.folder, run={}, minutes=None, point=self.point)
        train_job(model, job, saves, lambda _: None, lambda _: {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Make the model that was trained ready to be tested.

    Attributes:
        best: the weights to be tested, if those are not the last.
    """

    best: Path | None

    def __call__(self, held: Held) -> None:
        """Do so."""
        assert held.model is not None
        assert held.job is not None
        if self.best is not None:
            restore_weights(self.best, held.model)
        held.model = tested(held.model, held.job)
        gc.collect()
        return_freed(held.job.device)
        blocked.use(held.model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Load the model of a run that is tested without training.

    Attributes:
        spec, inputs, folder: as of `Train`.
        load: returns the model, ready to be tested.
    """

    spec: RunSpec
    inputs: dict[str, Any]
    folder: RunFolder
    load: Callable[[Job], nn.Module]

    @classmethod
    def of(cls, job: Job, load: Callable[[Job], nn.Module]) -> "Hold":
        """Return the order to load the model of `job`."""
        return cls(spec=job.spec, inputs=job.inputs.identity(), folder=job.folder, load=load)

    def __call__(self, held: Held) -> None:
        """Do so."""
        held.drop()
        job = held.job = _job(self.spec, self.folder, self.inputs)
        held.model = self.load(job)
        blocked.use(held.model)


def _job(spec: RunSpec, folder: RunFolder, inputs: dict[str, Any]) -> Job:
    """Return a follower's side of a run. Raises DataError if it reads other than rank 0."""
    config, device = spec.config, default_device()
    own = prepare(config, spec.seed, trial=spec.trial is not None)
    lines = differences(inputs, own.identity())
    if lines:
        raise DataError(
            "\n  ".join(["this rank does not read what rank 0 does:", *lines]),
            "give every machine the same files and the same model",
        )
    return Job(
        spec=spec,
        inputs=own,
        folder=folder,
        device=device,
        compute=compute_dtype(config.training.computes_in, device),
        on_progress=lambda _: None,
    )
