"""Weights as a CPU's matrix kernels read them: in blocks, arranged once, not at every product.

    use(model)                                 # for_inference first: the weights no longer change
    multiply = product(head.weight, head.bias)
    logits = multiply(hidden)                  # linear(hidden, weight, bias)

oneDNN arranges a weight again for each product with it. For the thousands of tokens of a training
step that is nothing; for the few of a decoding step it is half of the time. Results are the same
but for the order of sums, which oneDNN chooses by the number of tokens either way.
"""

from collections.abc import Callable
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn.functional import linear

from paribus.models.fast.layers import settle_row_lengths
from paribus.models.kernels import on_gpu
from paribus.models.load import decoder_and_head

Product = Callable[[Tensor], Tensor]
"""From [..., in] to [..., out]."""


def use(model: nn.Module) -> None:
    """Arrange the weights of the decoder's linear layers, in place: only products can read them.

    Adapters stay as they are: they are small, and their layers read them differently.
    """
    settle_row_lengths(model)
    stack, _, _ = decoder_and_head(model)
    changed = {id(part) for module in stack.modules() if _is_by_peft(module)
               for part in module.modules()}  # fmt: skip
    for name, module in stack.named_modules():
        plain = type(module) is nn.Linear and "lora_" not in name and id(module) not in changed
        if plain and _gains(module.weight):
            _use_blocks(module)


def _is_by_peft(module: nn.Module) -> bool:
    """Return whether peft's own code may read the weights of `module` otherwise than as a product.

    That of LoRA's layers is ours.
    """
    return isinstance(module, BaseTunerLayer) and not isinstance(module, LoraLayer)


def product(weight: Tensor, bias: Tensor | None) -> Product:
    """Return what multiplies by `weight`, [out, in], and adds `bias`."""
    if not _gains(weight):
        return lambda x: linear(x, weight, bias)
    return _blocked(_arranged(weight), bias)


def _use_blocks(module: Any) -> None:
    blocks = _arranged(module.weight)
    module.weight = nn.Parameter(blocks, requires_grad=False)
    module.forward = _blocked(blocks, module.bias)


def _arranged(weight: Tensor) -> Tensor:
    blocks: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
    return blocks


def _blocked(blocks: Tensor, bias: Tensor | None) -> Product:
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, blocks, bias, "none", [], "")


def _gains(weight: Tensor) -> bool:
    """Return whether kernels for the weight's blocks exist: fp32 has others, which need none."""
    return (
        not on_gpu(weight.device)
        and weight.dtype is torch.bfloat16
        and not weight.is_mkldnn
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
