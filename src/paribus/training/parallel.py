"""A pass on several ranks: each has examples of its own, and all have the gradient of all.

    parallel = Replicated(PassLoss(model, compute, by_autograd=True))
    with parallel.accumulating(last=False):
        parallel(batch, divisor).backward()         # this rank's gradient grows
    with parallel.accumulating(last=True):
        parallel(batch, divisor).backward()         # and now holds that of all ranks

`divisor` is the target tokens of the whole step on all ranks, so that gradients are to be summed.
What is wrapped takes their mean, and the loss is multiplied by the number of ranks beforehand: the
sum over passes, averaged over ranks, is the loss of one process.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from paribus.models import ranks
from paribus.models.fast.layers import without_copies
from paribus.models.load import decoder_and_head
from paribus.training.passes import PassLoss


class Parallel(Protocol):
    """A `PassLoss` that all ranks compute together."""

    def __call__(self, batch: dict[str, Any], divisor: Tensor | float) -> Tensor:
        """Return this rank's loss, multiplied by the number of ranks."""

    def accumulating(self, *, last: bool) -> AbstractContextManager[None]:
        """Let a pass add to the gradient; the `last` of a step reduces it over all ranks."""


class Replicated:
    """Every rank holds the whole model, and gradients are reduced while they are made (DDP)."""

    def __init__(self, passing: PassLoss) -> None:
        """Wrap `passing`; its weights become those of rank 0. Collective."""
        self._wrapped = DistributedDataParallel(passing, gradient_as_bucket_view=True)

    def __call__(self, batch: dict[str, Any], divisor: Tensor | float) -> Tensor:
        """Return this rank's loss, multiplied by the number of ranks."""
        loss: Tensor = self._wrapped(batch, divisor)
        return loss * ranks.count()

    def accumulating(self, *, last: bool) -> AbstractContextManager[None]:
        """Let a pass add to the gradient; the `last` of a step reduces it over all ranks."""
        return nullcontext() if last else self._wrapped.no_sync()


class Sharded:
    """Every rank holds a part of each weight, of its gradient and of its state (FSDP2).

    A layer's weights are gathered, in the compute dtype, while the layer is at work; embedding,
    head and last norm for the whole pass. Every pass reduces its gradients: to keep them whole
    until a step's last pass would take the memory that this is to save.
    """

    def __init__(self, passing: PassLoss) -> None:
        """Shard the weights of `passing` in place, onto this rank's device. Collective."""
        decoder: Any = decoder_and_head(passing.model)[0]
        reduced = None if passing.compute is torch.float32 else passing.compute
        policy = MixedPrecisionPolicy(
            param_dtype=reduced, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
        without_copies(passing.model)
        for layer in decoder.layers:
            fully_shard(layer, mp_policy=policy)
        fully_shard(passing, mp_policy=policy)
        passing.settle()
        self._wrapped = passing

    def __call__(self, batch: dict[str, Any], divisor: Tensor | float) -> Tensor:
        """Return this rank's loss, multiplied by the number of ranks."""
        loss: Tensor = self._wrapped(batch, divisor)
        return loss * ranks.count()

    def accumulating(self, *, last: bool) -> AbstractContextManager[None]:
        """Do nothing: every pass reduces its gradients."""
        return nullcontext()
