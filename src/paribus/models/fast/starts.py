"""Adapters that start from the weights themselves (PiSSA, OLoRA), over a base that stays as it is.

peft takes the part of each weight that the adapter starts from out of the base:

    y = (W - s · B₀ A₀) x + s · B A x          peft, while it trains
    y = W x + s · (B A - B₀ A₀) x              here: the same, and its W is the one that is stored

B₀ and A₀ do not train. After training the difference is a plain adapter of twice the rank, which
any program adds to the untouched model:

    B A - B₀ A₀ = [B -B₀] · [A; A₀] = Q₁ R₁ (Q₂ R₂)ᵀ = (Q₁ U √S) (√S Vᵀ Q₂ᵀ),   R₁ R₂ᵀ = U S Vᵀ

peft writes the middle form (`path_initial_model_for_weight_conversion`). Its two halves nearly
cancel, so rounding them to bf16 would round away what was learnt; the last form has no such halves.
Shapes: A [r, in], B [out, r].
"""

from collections.abc import Callable, Iterator
from math import sqrt
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from paribus.errors import ConfigError
from paribus.models.shapes import refuse_rank

ADAPTER = "default"
"""What peft calls the adapter in training."""


def start_from_weights(model: nn.Module, init: str) -> None:
    """Let every adapter of `model` start by peft's `pissa`, `pissa_niter_N` or `olora`.

    Raises ConfigError where a weight is in 4 bits, or has fewer singular values than the rank.
    """
    adapted = dict(_adapted(model))
    for name, layer in adapted.items():
        _refuse_packed(name, layer.base_layer.weight, init)
    rank = max(layer.r[ADAPTER] for layer in adapted.values())
    refuse_rank(rank, init, {n: tuple(m.base_layer.weight.shape) for n, m in adapted.items()})
    for layer in adapted.values():
        weight = layer.base_layer.weight
        original = weight.data
        weight.data = original.clone()  # peft subtracts in place
        if init == "olora":
            layer.olora_init(ADAPTER)
        else:
            layer.pissa_init(ADAPTER, init)
        layer.base_layer.weight.data = original
        layer.register_buffer("start_A", layer.lora_A[ADAPTER].weight.data.clone(), False)
        layer.register_buffer("start_B", layer.lora_B[ADAPTER].weight.data.clone(), False)


def start_of(layer: Any) -> tuple[Tensor, Tensor] | None:
    """Return A₀ and B₀ of a LoRA layer; None where it starts from nothing."""
    if getattr(layer, "start_A", None) is None:
        return None
    return layer.start_A, layer.start_B


def make_plain(model: nn.Module) -> Callable[[], None]:
    """Put plain adapters of twice the rank in place of those that started from weights.

    Returns what puts them back, bit for bit. Without any it does nothing.
    """
    started = [layer for _, layer in _adapted(model) if start_of(layer) is not None]
    undo = [_replace(layer) for layer in started]
    if started:
        config: Any = model.peft_config[ADAPTER]  # type: ignore[index]  # a PeftModel's
        undo.append(_double(config))

    def put_back() -> None:
        for step in undo:
            step()

    return put_back


def _adapted(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the layers with an adapter in training, by name."""
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer) and ADAPTER in module.lora_A:
            yield name, module


def _refuse_packed(name: str, weight: Any, init: str) -> None:
    if hasattr(weight, "quant_state"):
        raise ConfigError(
            f"lora.init_lora_weights={init!r} takes its start out of the weights, and {name} is in "
            "4 bits (quantization='nf4'): peft's residual would be rounded again",
            "set quantization: null, or lora.init_lora_weights: null",
        )


@torch.no_grad()
def _replace(layer: Any) -> Callable[[], None]:
    inner, outer = layer.lora_A[ADAPTER], layer.lora_B[ADAPTER]
    kept = (layer.start_A, layer.start_B, layer.r[ADAPTER])
    new_A, new_B = _difference(inner.weight, outer.weight, layer.start_A, layer.start_B)
    layer.lora_A[ADAPTER], layer.lora_B[ADAPTER] = _linear(new_A), _linear(new_B)
    layer.start_A = layer.start_B = None
    layer.r[ADAPTER] = len(new_A)

    def put_back() -> None:
        layer.lora_A[ADAPTER], layer.lora_B[ADAPTER] = inner, outer
        layer.start_A, layer.start_B, layer.r[ADAPTER] = kept

    return put_back


def _difference(A: Tensor, B: Tensor, start_A: Tensor, start_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return the adapter [2r, in], [out, 2r] whose product is B A - B₀ A₀, in the dtype of `A`."""
    outer = torch.cat([B, -start_B], dim=1).double()
    inner = torch.cat([A, start_A], dim=0).double()
    q_out, r_out = torch.linalg.qr(outer)
    q_in, r_in = torch.linalg.qr(inner.T)
    left, values, right = torch.linalg.svd(r_out @ r_in.T, full_matrices=False)
    root = values.sqrt()
    new_B, new_A = torch.zeros_like(outer), torch.zeros_like(inner)  # zeros where 2r is over a side
    new_B[:, : len(root)] = q_out @ (left * root)
    new_A[: len(root)] = (root[:, None] * right) @ q_in.T
    return new_A.to(A.dtype), new_B.to(A.dtype)


def _linear(weight: Tensor) -> nn.Linear:
    out, wide = weight.shape
    layer = nn.Linear(wide, out, bias=False, device="meta")
    layer.weight = nn.Parameter(weight)
    return layer


def _double(config: Any) -> Callable[[], None]:
    """Give an adapter's config twice the rank and the same scale, and no start of its own."""
    kept = (config.r, config.lora_alpha, config.init_lora_weights)
    scale = sqrt(2) if config.use_rslora else 2
    config.r, config.lora_alpha = 2 * config.r, scale * config.lora_alpha
    config.init_lora_weights = True

    def put_back() -> None:
        config.r, config.lora_alpha, config.init_lora_weights = kept

    return put_back
