"""When a training is saved, and how it goes on: the store's checkpoints filled with its state.

    saves = Checkpoints(folder, run=spec_record, minutes=5.0, point=None)
    train(…, checkpoints=saves)          # or with point=newest(…): goes on where that one ends

Files are written between two steps, from the very memory that trains: nothing is copied. What
takes as long again, waiting for the disk and hashing, goes on in a thread beside the next steps.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from paribus.errors import RunFailed, StoreError
from paribus.models.device import is_out_of_memory
from paribus.stopping import asked
from paribus.store.checkpoints import Checkpoint, make_room, publish
from paribus.store.layout import RunFolder
from paribus.store.runs import full_disk, read_events_of, writing
from paribus.training import state

NAN_REMEDY = (
    "lower training.learning_rate, or set training.precision=fp32; with --fork it goes on from its "
    "newest checkpoint, after `paribus clean` it begins anew"
)
"""What to do when a loss, a gradient or a weight is not one."""

_SPARE = 1.2
"""Room that must be free, as a multiple of what is to be written."""


@dataclass(kw_only=True)
class Checkpoints:
    """The checkpoints of one training.

    Attributes:
        folder: the run's.
        run: what the run is, as in `spec.json`.
        minutes: between two checkpoints; 0: after every step; None: only when asked to stop.
        point: the checkpoint to go on from, if there is one.
    """

    folder: RunFolder
    run: Mapping[str, Any]
    minutes: float | None
    point: Checkpoint | None = None
    _last: float = field(default_factory=time.monotonic)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max_workers=1))
    _pending: "Future[Checkpoint] | None" = None

    @property
    def forked_from(self) -> dict[str, Any] | None:
        """Where the run came from if it began at a checkpoint of another run."""
        return self.point.forked_from if self.point else None

    def due(self) -> bool:
        """Return whether the step that just ended is to be saved."""
        if asked():
            return True
        return self.minutes is not None and time.monotonic() - self._last >= 60 * self.minutes

    def save(
        self,
        step: int,
        model: nn.Module,
        optimizer: Any = None,
        schedule: Any = None,
        write_more: Callable[[Path], None] = lambda _: None,
    ) -> None:
        """Save the training as it is after `step`; once it is over, without an optimizer.

        `write_more` may add files. Raises RunFailed if a weight is no number; StoreError: no room,
        not writable, or the one before was not what had been written. Those that are verified stay.
        """
        self.wait()
        spoiled = state.not_finite(model)
        if spoiled:
            raise RunFailed(f"step {step} left a weight that is no number: {spoiled}", NAN_REMEDY)
        self._check_room(state.state_bytes(model, optimizer))
        temporary = make_room(self.folder.checkpoints, step)
        try:
            with writing(temporary), full_disk(temporary):
                state.save(temporary, model, optimizer, schedule)
                write_more(temporary)
                shutil.copyfile(self.folder.events, temporary / self.folder.events.name)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        self._pending = self._pool.submit(publish, temporary, step, self.run, self.forked_from)
        self._last = time.monotonic()

    def wait(self) -> None:
        """Wait until what was saved is verified. Raises StoreError if it cannot be."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def events(self) -> list[dict[str, Any]]:
        """Return the steps that were done before `point`, as they were logged."""
        return (
            [] if self.point is None else read_events_of(self.point.path / "events.jsonl", "step")
        )

    def restore_weights(self, model: nn.Module) -> None:
        """Put the weights of `point` into `model`. Raises RunFailed if they do not fit."""
        assert self.point is not None
        try:
            state.restore_weights(self.point.path, model)
        except (KeyError, RuntimeError, OSError, SafetensorError) as error:
            if is_out_of_memory(error):
                raise
            raise RunFailed(
                f"{self.point.path} does not fit this model: {error}",
                "a fork may change settings, not the model or which of its weights train",
            ) from error

    def restore_optimizer(self, optimizer: Any, schedule: Any) -> None:
        """Put the state of `point` into optimizer and schedule. Raises RunFailed."""
        assert self.point is not None
        try:
            state.restore_optimizer(self.point.path, optimizer, schedule)
        except (KeyError, ValueError, RuntimeError, OSError, SafetensorError) as error:
            if is_out_of_memory(error):
                raise
            raise RunFailed(
                f"{self.point.path} does not fit this optimizer: {error}",
                "a fork may change settings, not the optimizer",
            ) from error

    def restore_random(self, device: torch.device) -> None:
        """Put back the generators of random numbers that a training on `device` draws from."""
        assert self.point is not None
        state.restore_random(self.point.path, device)

    def _check_room(self, needed: int) -> None:
        with writing(self.folder.path):
            free = shutil.disk_usage(self.folder.path).free
        if free < _SPARE * needed:
            raise StoreError(
                f"{self.folder.checkpoints}: a checkpoint needs {needed / 1e9:.2f} GB, and "
                f"{_SPARE:g} times that must be free; {free / 1e9:.2f} GB are",
                "free some disk space, then give the same command: the run goes on from its "
                "newest checkpoint",
            )
