"""Which kernels a device computes with: the one place where a GPU's ways part from a CPU's.

    on_gpu(query.device)                              # whether the ways of a GPU are taken
    sent([[2, 10], [2, 20]], device)                  # numbers of this process, as a tensor there

A GPU is fed by its process, one kernel at a time: there the number of calls counts, and each
question whose answer the process needs (`tensor.item()`, a boolean index) stops the feeding. A CPU
has neither cost, and caches that a large tensor does not fit.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def on_gpu(device: torch.device) -> bool:
    """Return whether `device` is fed by this process and computes for itself."""
    return device.type == "cuda"


def kind(device: torch.device) -> str:
    """Return what plans call the device: `models/tiles` has sizes for each kind."""
    return "cuda" if on_gpu(device) else "cpu"


def leave_out_cudnn() -> None:
    """Keep cuDNN's attention out of `scaled_dot_product_attention`, in this process.

    torch prefers it on newer GPUs, and it plans anew for every shape, while each text of a pass and
    each step of decoding has a length of its own: 2.2 s of a step on an H100 (docs/speed.md).
    """
    torch.backends.cuda.enable_cudnn_sdp(False)


def sent(numbers: Sequence[Any], device: torch.device) -> Tensor:
    """Return `numbers`, integers in lists of one length, as a tensor on `device`.

    Of memory that cannot be swapped out a GPU takes a copy while this process goes on.
    """
    return torch.tensor(numbers, pin_memory=device.type == "cuda").to(device, non_blocking=True)
