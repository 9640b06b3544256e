"""Which kernels a device computes with: the one place where a GPU's ways part from a CPU's.

    on_gpu(query.device)                              # whether the ways of a GPU are taken
    varlen(query, key, value, bounds, 279, …)         # attention over all texts of a pass at once
    sent([[2, 10], [2, 20]], device)                  # numbers of this process, as a tensor there

A GPU is fed by its process, one kernel at a time: there the number of calls counts, and each
question whose answer the process needs (`tensor.item()`, a boolean index) stops the feeding. A CPU
has neither cost, and caches that a large tensor does not fit.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

WIDEST_HEAD = 256
"""Numbers of a head that the fused kernel takes at most (Dao 2023, arXiv:2307.08691)."""


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


def _torchs_varlen() -> Callable[..., Any] | None:
    """Return torch's attention over texts of different lengths; None before torch 2.10."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn


varlen_attn = _torchs_varlen()


def takes_varlen(query: Tensor, dropout: float) -> bool:
    """Return whether `varlen` computes this attention: [1, heads, T, dim]."""
    return (
        varlen_attn is not None
        and on_gpu(query.device)
        and query.dtype in (torch.bfloat16, torch.float16)
        and dropout == 0
        and query.shape[-1] <= WIDEST_HEAD
        and query.shape[-1] % 8 == 0
    )


def varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bounds: Tensor,
    longest: int,
    *,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    """Return the causal attention of each text to itself, [1, T, heads, dim], in one call.

    Args:
        query: [1, heads, T, dim]; key and value have as many heads or fewer.
        bounds: int32 [texts + 1], where each text begins, and the end.
        longest: tokens of the longest text.
        scaling: of the scores; None: 1 / √dim.
        window: tokens that one sees, itself included; None: all before it.
    """
    assert varlen_attn is not None
    heads, shared = query.shape[1], key.shape[1]
    known = _parameters(varlen_attn)
    more: dict[str, Any] = {"window_size": (-1 if window is None else window - 1, 0)}
    if shared < heads and "enable_gqa" in known:
        more["enable_gqa"] = True
    elif shared < heads:
        key, value = (each.repeat_interleave(heads // shared, dim=1) for each in (key, value))
    relative = 1.0 if scaling is None else scaling * query.shape[-1] ** 0.5
    if scaling is not None and "scale" in known:
        more["scale"] = scaling
    elif not math.isclose(relative, 1.0):
        query = query * relative
    texts = [each.squeeze(0).transpose(0, 1) for each in (query, key, value)]
    attended: Tensor = varlen_attn(*texts, bounds, bounds, longest, longest, **more)
    return attended.unsqueeze(0)


@lru_cache(maxsize=2)  # asked by every layer of every pass
def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
