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
from typing import Any

from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from paribus.models import ranks
from paribus.training.passes import PassLoss


class Replicated:
    """Every rank holds the whole model, and gradients are reduced while they are made."""

    def __init__(self, passing: PassLoss) -> None:
        """Wrap `passing`; its weights become those of rank 0. Collective."""
        self._wrapped = DistributedDataParallel(
            passing, broadcast_buffers=False, gradient_as_bucket_view=True
        )

    def __call__(self, batch: dict[str, Any], divisor: Tensor | float) -> Tensor:
        """Return this rank's loss, multiplied by the number of ranks."""
        loss: Tensor = self._wrapped(batch, divisor)
        return loss * ranks.count()

    def accumulating(self, *, last: bool) -> AbstractContextManager[None]:
        """Let a pass add to the gradient; the `last` of a step reduces it over all ranks."""
        return nullcontext() if last else self._wrapped.no_sync()
