"""Attention over all texts of a pass in one call, where a GPU computes.

    attended = at_once(query, key, value, bounds, 279, dropout=0, …)     # None: text by text

All of these know windows and keys that heads share:

| by | for |
|---|---|
| `torch.nn.attention.varlen`, from torch 2.10 on | neither dropout nor capped scores |
| flash-attention 4, 3 or 2, where it is installed | the same, under older versions of torch |
| flash-attention 2 | dropout, capped scores (Gemma 2) |
| `flex_attention`, compiled | capped scores |

Each takes heads of up to 256 numbers in bf16 or fp16. A loop over texts is left for what none does:
fp32, wider heads, dropout without flash-attention 2.
Shapes: [1, heads, T, dim]; key and value may have fewer heads. B blocks of `BLOCK` tokens.
"""

import inspect
import math
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch
import transformers.utils
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.utils.weak import WeakTensorKeyDictionary
from transformers.modeling_flash_attention_utils import _flash_attention_forward

from paribus.models.kernels import on_gpu

WIDEST_HEAD = 256
"""Numbers of a head that the fused kernels take at most (Dao 2023, arXiv:2307.08691)."""

BLOCK = 128
"""Tokens that flex_attention leaves out, or looks at, together: its default."""

States = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values."""


def _torchs_varlen() -> Callable[..., Any] | None:
    """Return torch's attention over texts of different lengths; None before torch 2.10."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn


varlen_attn = _torchs_varlen()


def fits(query: Tensor) -> bool:
    """Return whether kernels that a GPU has take heads such as these."""
    return (
        on_gpu(query.device)
        and query.dtype in (torch.bfloat16, torch.float16)
        and query.shape[-1] <= WIDEST_HEAD
        and query.shape[-1] % 8 == 0
    )


def at_once(  # noqa: PLR0913  # what attention depends on
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bounds: Tensor,
    longest: int,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
) -> Tensor | None:
    """Return the causal attention of each text to itself, [1, T, heads, dim]; None if nothing can.

    Args:
        query: [1, heads, T, dim]; key and value have as many heads or fewer.
        bounds: int32 [texts + 1], where each text begins, and the end.
        longest: tokens of the longest text.
        dropout: the share of weights that are dropped.
        scaling: of the scores; None: 1 / √dim.
        window: tokens that one sees, itself included; None: all before it.
        softcap: scores become c·tanh(score / c).
    """
    if not fits(query):
        return None
    if not dropout and softcap is None and varlen_attn is not None:
        return _by_torch(query, key, value, bounds, longest, scaling, window)
    flash = _flash(bool(dropout), softcap is not None)
    if flash is not None:
        how = {"softmax_scale": scaling, "sliding_window": window, "softcap": softcap}
        return _by_flash(flash, (query, key, value), bounds, longest, dropout=dropout, **how)
    if softcap is not None and not dropout and _flex_works(query, scaling, softcap):
        return _by_flex(_compiled(), (query, key, value), bounds, scaling, window, softcap)
    return None


def _by_torch(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bounds: Tensor,
    longest: int,
    scaling: float | None,
    window: int | None,
) -> Tensor:
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


@lru_cache
def _flash(drops: bool, caps: bool) -> str | None:
    """Return what transformers calls the installed flash-attention that does this, if one does.

    Only version 2 drops weights, and has gradients of capped scores, from 2.6 on.
    """

    utils: Any = transformers.utils

    def installed(version: int) -> bool:
        available = getattr(utils, f"is_flash_attn_{version}_available", None)
        return available is not None and available()

    if drops or caps:
        does = installed(2) and utils.is_flash_attn_greater_or_equal("2.6.0")
        return "flash_attention_2" if does else None
    newest = next((version for version in (4, 3, 2) if installed(version)), None)
    return None if newest is None else f"flash_attention_{newest}"


def _by_flash(name: str, states: States, bounds: Tensor, longest: int, **how: Any) -> Tensor:
    forward: Any = _flash_attention_forward  # its types are not what it takes
    attended: Tensor = forward(
        *(each.transpose(1, 2) for each in states),
        attention_mask=None,
        query_length=states[0].shape[2],
        is_causal=True,
        cu_seq_lens_q=bounds,
        cu_seq_lens_k=bounds,
        max_length_q=longest,
        max_length_k=longest,
        attn_implementation=name,
        **how,
    )
    return attended


def _by_flex(
    flex: Callable[..., Any],
    states: States,
    bounds: Tensor,
    scaling: float | None,
    window: int | None,
    softcap: float,
) -> Tensor:
    def capped(score: Tensor, *_: Tensor) -> Tensor:
        return softcap * torch.tanh(score / softcap)

    attended: Tensor = flex(
        *states,
        score_mod=capped,
        block_mask=block_mask(bounds, states[0].shape[2], window),
        scale=scaling,
        enable_gqa=states[1].shape[1] < states[0].shape[1],
    )
    return attended.transpose(1, 2)


_masks = WeakTensorKeyDictionary()
"""The masks of a pass by its bounds: all layers with the same window have the same one."""


def block_mask(bounds: Tensor, tokens: int, window: int | None) -> BlockMask:
    """Return which tokens see which, for `flex_attention`; made where `bounds` lie, of them alone.

    No tensor of [T, T] is made: a block of keys is seen by one of queries if the last text in it
    goes on there, and its last token is within the window.
    """
    of_pass = _masks.setdefault(bounds, {})
    if window not in of_pass:
        of_pass[window] = _made_mask(bounds, tokens, window)
    mask: BlockMask = of_pass[window]
    return mask


def _made_mask(bounds: Tensor, tokens: int, window: int | None) -> BlockMask:
    places_T = torch.arange(tokens, device=bounds.device)
    text_T = torch.searchsorted(bounds.long(), places_T, right=True)

    def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = (text_T[query] == text_T[key]) & (query >= key)
        return seen if window is None else seen & (query - key < window)

    first_B = places_T[::BLOCK]
    last_B = (first_B + BLOCK - 1).clamp(max=tokens - 1)
    goes_on_BB = text_T[first_B][:, None] <= text_T[last_B]
    near_BB = first_B[:, None] - last_B < (window or tokens)
    seen_BB = (goes_on_BB & near_BB & (first_B[:, None] >= first_B)).int()
    return BlockMask.from_kv_blocks(
        seen_BB.sum(dim=1, dtype=torch.int32)[None, None],
        seen_BB.argsort(dim=1, descending=True, stable=True).int()[None, None],
        BLOCK_SIZE=BLOCK,
        mask_mod=sees,
        seq_lengths=(tokens, tokens),
    )


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., Any]:
    """Return `flex_attention` as one kernel. From the second length on it is for any."""
    compiled: Callable[..., Any] = torch.compile(flex_attention)
    return compiled


_works: dict[tuple[Any, ...], bool] = {}


def _flex_works(query: Tensor, scaling: float | None, softcap: float) -> bool:
    """Return whether `flex_attention` can be compiled here for such heads, and is right.

    It takes a compiler and Triton, and heads whose blocks fit a GPU's shared memory. Two short
    texts are computed with it, gradients too, and by the same function uncompiled; in a thread of
    its own, where nothing that surrounds this pass is set, such as recomputation.
    """
    case = (query.dtype, query.shape[-1], scaling, softcap)
    if case not in _works:
        with ThreadPoolExecutor(1) as thread:
            error = thread.submit(_compare, query.device, *case).exception()
        if error is not None:  # of any compiler: the loop over texts does as well
            warnings.warn(f"attention is computed text by text: {error}", stacklevel=2)
        _works[case] = error is None
    return _works[case]


def _compare(
    device: torch.device, dtype: torch.dtype, width: int, scaling: float | None, softcap: float
) -> None:
    """Raise what the compiler does, or AssertionError where values or gradients differ."""
    generator = torch.Generator(device).manual_seed(0)
    for length in (300, 200):  # the second time for any length
        bounds = torch.tensor([0, 100, length], dtype=torch.int32, device=device)
        shapes = [(1, heads, length, width) for heads in (2, 1, 1)]
        query, key, value = (
            torch.randn(s, generator=generator, device=device, dtype=dtype, requires_grad=True)
            for s in shapes
        )
        found = []
        for flex in (flex_attention, _compiled()):
            given = query, key, value
            attended = _by_flex(flex, given, bounds, scaling, 150, softcap)
            found.append([attended, *torch.autograd.grad(attended.sum(), given)])
        for expected, tensor in zip(*found, strict=True):
            torch.testing.assert_close(tensor, expected, rtol=0.02, atol=0.05)
