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
    global _parallel
    import torch
    from torch import distributed

    if int(os.environ["WORLD_SIZE"]) > 1:
        gpu = take_gpu(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if gpu else "gloo",
            timeout=_PATIENCE,
            device_id=torch.device("cuda", 0) if gpu else None,
        )
        _parallel = parallel
    for name in _VARIABLES:
        del os.environ[name]


def take_gpu(local: int) -> bool:
    """Let this process see the machine's GPU of that number alone; return False if it has none.

    Libraries take the first they see, whatever the rank. Raises UserError if there is none for it.
    """
    import torch

    gpus = torch.cuda.device_count()  # which does not wake the driver
    if not gpus:
        return False
    named = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
    if local >= gpus:
        raise UserError(
            f"rank {local} of this machine has no GPU of its own: {gpus} can be used ({named})",
            "start at most as many processes on it (--nproc-per-node)",
        )
    os.environ["CUDA_VISIBLE_DEVICES"] = named.split(",")[local].strip()
    return True


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
