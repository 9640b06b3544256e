"""Attention that needs no padding: texts of one pass lie end to end, and each attends to itself.

    use(model)                                           # once, after loading
    decoder(**packed([(2, 10, 11), (2, 20)]))            # a pass over 5 tokens, none of it padding

                     text 0     text 1
    input_ids        2 10 11    2 20
    position_ids     0  1  2    0  1
    cu_seq_lens_q    0          3     5
    text_lengths     3          2

Calls without `cu_seq_lens_q` are those of transformers' own `sdpa`, masks and all; where scores are
capped (Gemma 2), attention is written out. On a GPU all texts are attended to in one call, where
`varlen` can.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from paribus.errors import ModelError
from paribus.models.fast.varlen import at_once
from paribus.models.kernels import leave_out_cudnn

_NAME = "paribus"


def packed(texts: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return the arguments of a decoder for one pass over `texts`, T tokens in all.

    `input_ids` and `position_ids` are int64 [1, T], `cu_seq_lens_q` int32 [texts + 1] says where
    each text begins, and `text_lengths` the same without a tensor, so that no layer has to ask a
    GPU for it. `attention_mask` only keeps the decoder from making one, of [T, T]; whatever
    would apply it fails on its shape.
    """
    lengths = [len(text) for text in texts]
    return {
        "input_ids": torch.tensor([[token for text in texts for token in text]]),
        "position_ids": torch.tensor([[at for length in lengths for at in range(length)]]),
        "cu_seq_lens_q": torch.tensor([0, *lengths]).cumsum(0, dtype=torch.int32),
        "text_lengths": tuple(lengths),
        "attention_mask": torch.zeros(1, 1, 0, 0),
    }


def use(model: Any) -> None:
    """Let `model` attend by `attend`. Raises ModelError if its attention cannot be replaced."""
    if not model._supports_attention_backend:
        raise ModelError(
            f"{model.config.model_type} has its own attention, in which packed examples would "
            "attend to each other",
            "choose a model whose attention transformers can replace (attn_implementation)",
        )
    leave_out_cudnn()
    AttentionInterface.register(_NAME, attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)


def attend(  # noqa: PLR0913  # the interface
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    cu_seq_lens_q: Tensor | None = None,
    text_lengths: tuple[int, ...] = (),
    **others: Any,
) -> tuple[Tensor, None]:
    """Return the attended values [B, T, heads, dim], by transformers' interface for attention.

    Raises ModelError for attention sinks (gpt-oss).

    Args:
        query: [B, heads, T, dim].
        key: [B, kv_heads, S, dim].
        value: as `key`.
        attention_mask: added to the scores, or bool; not looked at where texts are packed.
        sliding_window: how many tokens back a text's token sees; where texts are not packed
            the mask says so.
        cu_seq_lens_q, text_lengths: see `packed`.
    """
    if others.get("s_aux") is not None:
        raise ModelError(
            "this model's attention has sinks, which paribus does not compute",
            "choose another model",
        )
    if cu_seq_lens_q is None and softcap is None:
        shares_keys = key.shape[1] < query.shape[1]
        if shares_keys and attention_mask is not None and attention_mask.shape[1] == 1:
            tensor = _grouped(query, key, value, attention_mask, dropout, scaling)
            return tensor.transpose(1, 2), None
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
    if cu_seq_lens_q is not None:
        texts_at_once = at_once(
            query,
            key,
            value,
            cu_seq_lens_q,
            max(text_lengths),
            dropout=dropout,
            scaling=scaling,
            window=sliding_window,
            softcap=softcap,
        )
        if texts_at_once is not None:
            return texts_at_once, None
    # The CPU's kernel takes a third more time for the gradient of keys that it shares by itself.
    key, value = (_repeated(tensor, query.shape[1]) for tensor in (key, value))
    if cu_seq_lens_q is None:
        assert softcap is not None
        if attention_mask is None and query.shape[2] > 1:  # left to the kernel, as causal
            attention_mask = _band(query.shape[2], None, query.device)
        tensor = _capped(query, key, value, attention_mask, dropout, scaling, softcap)
        return tensor.transpose(1, 2), None
    texts = zip(*(tensor.split(text_lengths, dim=2) for tensor in (query, key, value)), strict=True)
    parts = [
        _of_text(query, key, value, dropout, scaling, sliding_window, softcap)
        for query, key, value in texts
    ]
    return torch.cat(parts, dim=2).transpose(1, 2), None


def _of_text(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout: float,
    scaling: float | None,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """Return the attention of one text to itself, causal, [1, heads, length, dim]."""
    length = query.shape[2]
    hides = window is not None and length > window
    band = _band(length, window, query.device) if hides or softcap else None
    if softcap is not None:
        return _capped(query, key, value, band, dropout, scaling, softcap)
    return scaled_dot_product_attention(
        query, key, value, attn_mask=band, dropout_p=dropout, is_causal=band is None, scale=scaling
    )


def _grouped(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    dropout: float,
    scaling: float | None,
) -> Tensor:
    """Return attention under a mask that all heads share, [B, heads, T, dim].

    Heads with the same keys follow each other as if they were further tokens: kernels read keys
    once for all of them, and for a few tokens reading them is the work.
    """
    batch, heads, tokens, width = query.shape
    groups = heads // key.shape[1]
    tensor = scaled_dot_product_attention(
        query.reshape(batch, key.shape[1], groups * tokens, width),
        key,
        value,
        attn_mask=mask.repeat(1, 1, groups, 1),
        dropout_p=dropout,
        scale=scaling,
    )
    return tensor.reshape(batch, heads, tokens, width)


def _band(length: int, window: int | None, device: torch.device) -> Tensor:
    """Return which tokens each token of a text sees, bool [length, length]."""
    back = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)
    return (back >= 0) & (back < (window or length))


def _repeated(keys: Tensor, heads: int) -> Tensor:
    """Return keys or values for each of `heads`; a single one is only viewed so."""
    if keys.shape[1] == 1:
        return keys.expand(-1, heads, -1, -1)
    return keys.repeat_interleave(heads // keys.shape[1], dim=1)


def _capped(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout: float,
    scaling: float | None,
    softcap: float,
) -> Tensor:
    """Return attention with scores of c·tanh(score / c), [B, heads, T, dim]."""
    # In place: of long texts each copy is large.
    scores = (query @ key.transpose(2, 3)).mul_(scaling or query.shape[-1] ** -0.5)
    scores = scores.div_(softcap).tanh_() * softcap
    if mask is not None and mask.dtype is torch.bool:
        scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores.add_(mask[..., : key.shape[2]])
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    return drop(weights, dropout, training=dropout > 0) @ value
