"""The processes that compute one run together, one on each device: its ranks.

    torchrun --nproc-per-node 2 -m paribus run experiment.yaml

    join()                                  # in each of the two, once
    count(), rank()                         # 2 and 0, 2 and 1; without a launcher 1 and 0

`running/ranks` says what rank 0 does and what the others do. A function here that is called
collective must be called by all ranks, in the same order; with one rank each returns what it is
given.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal, TypeAlias, TypeVar

from paribus.errors import UserError

Value = TypeVar("Value")

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
"""By which torchrun and accelerate launch tell a process which one it is."""

_PATIENCE = timedelta(days=7)
"""A rank may wait for another that loads or measures a model: no limit of seconds is meant. Where a
process dies its launcher ends the others."""

Parallel: TypeAlias = Literal["auto", "ddp", "fsdp"]
"""How ranks train: each with the whole model, each with a part of every weight, or as it fits."""

_local = 0
_parallel: Parallel = "auto"


def launched() -> bool:
    """Return whether torchrun, or accelerate by it, started this process as one of several."""
    values = [os.environ.get(name, "") for name in _VARIABLES]
    return all(value.isdecimal() for value in values) and "MASTER_ADDR" in os.environ


def join(parallel: Parallel) -> None:
    """Join the others, to train as `parallel` says.

    Afterwards no variable says that there are any: libraries act on them. Raises UserError if a
    rank has no GPU of its own on a machine with GPUs.
    """
    global _local, _parallel
    import torch
    from torch import distributed

    local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if gpus and local >= gpus:
        raise UserError(
            f"rank {local} of this machine has no GPU of its own: {gpus} can be used",
            f"start at most {gpus} processes on it (--nproc-per-node)",
        )
    if int(os.environ["WORLD_SIZE"]) > 1:
        if gpus:
            torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
        distributed.init_process_group(backend, timeout=_PATIENCE)
        _local, _parallel = local, parallel
    for name in _VARIABLES:
        del os.environ[name]


def leave() -> None:
    """Part from the others, at the end: what listens to them must not outlive this process."""
    from torch import distributed

    if count() > 1:
        distributed.destroy_process_group()


def count() -> int:
    """Return how many ranks there are."""
    from torch import distributed

    joined = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if joined else 1


def rank() -> int:
    """Return which one this is, from 0."""
    from torch import distributed

    return distributed.get_rank() if count() > 1 else 0


def local_rank() -> int:
    """Return which one of its machine's this is: the number of its GPU."""
    return _local


def parallel() -> Parallel:
    """Return how the ranks were asked to train."""
    return _parallel


def from_first(value: Value) -> Value:
    """Return the `value` of rank 0, which must be picklable. Collective."""
    if count() == 1:
        return value
    from torch import distributed

    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def gathered(value: Value) -> list[Value]:
    """Return the values of all ranks, in their order. Collective."""
    if count() == 1:
        return [value]
    from torch import distributed

    values: list[Any] = [None] * count()
    distributed.all_gather_object(values, value)
    return values


def total(number: float) -> float:
    """Return the sum of all ranks' numbers. Collective."""
    return float(sum(gathered(number)))


class RankLost(Exception):  # noqa: N818  # it says what happened
    """Another rank is gone in the middle of what all compute together."""


@contextmanager
def connected() -> Iterator[None]:
    """Raise RankLost where the block fails because another process is gone."""
    try:
        yield
    except RuntimeError as error:
        if not _is_lost(error):
            raise
        raise RankLost(str(error).splitlines()[0]) from error


_LOST = (
    "connection closed by peer",
    "connection reset by peer",
    "connection refused",
    "broken pipe",
    "remote process exited",
)
"""What gloo and NCCL say of a peer that has ended."""


def _is_lost(error: RuntimeError) -> bool:
    text = str(error).lower()
    return any(words in text for words in _LOST)
