"""Adapters, and LoRA layers that compute in fewer passes over memory than peft's own.

    y = base(x) + s · B A dropout(x)          peft: three passes over y, which is wide
    y = base(x) + B (s · A dropout(x))        here: the product is added as it is made, and s is
                                              taken on the narrow side

Shapes: [..., in] to [..., out], A is [r, in], B is [out, r].
"""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from paribus.config.schema import LoraConfig
from paribus.errors import ConfigError, ModelError


def add_adapters(model: nn.Module, lora: LoraConfig, head: nn.Module) -> nn.Module:
    """Return `model` frozen, with adapters in fp32 beside the layers that `lora` names.

    The loss takes the weight of `head` itself, so an adapter there would never learn: it and names
    of no linear layer are refused with a ConfigError.
    """
    linear = {name.rpartition(".")[2] for name, m in model.named_modules()
              if isinstance(m, nn.Linear) and m is not head}  # fmt: skip
    unknown = sorted(set(lora.targets) - linear)
    if unknown:
        raise ConfigError(
            f"lora.targets names no linear layer of this model's decoder: {', '.join(unknown)}",
            f"choose from {', '.join(sorted(linear))}" if linear else "set method=full",
        )
    model.requires_grad_(False)
    config = PeftLoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
    )
    adapted: nn.Module = get_peft_model(model, config, autocast_adapter_dtype=True)
    use(adapted)
    return adapted


def load_adapter(model: nn.Module, folder: Path) -> nn.Module:
    """Return `model` with the adapter saved in `folder`; see `models/load.for_inference`.

    Raises ModelError if it is not stored as safetensors: peft would read a pickle instead.
    """
    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(
            f"{folder} holds no adapter_model.safetensors",
            "pickled adapters (adapter_model.bin) are not read; save it as safetensors",
        )
    adapted: nn.Module = PeftModel.from_pretrained(model, str(folder), is_trainable=False)
    use(adapted)
    return adapted


def use(model: nn.Module) -> None:
    """Let every linear LoRA layer of `model` compute by `_adapted`."""
    for module in model.modules():
        if isinstance(module, LoraLayer) and len(module.lora_A):
            _use(module)


def _use(layer: Any) -> None:
    usual = layer.forward
    # Autocast rounds what enters an adapter; peft would first make it fp32, for nothing.
    layer.cast_input_dtype_enabled = False

    def forward(x: Tensor) -> Tensor:
        active = layer.active_adapters
        if layer.disable_adapters or layer.merged or len(active) != 1:
            found: Tensor = usual(x)
            return found
        return _adapted(layer, active[0], x)

    layer.forward = forward


def _adapted(layer: Any, adapter: str, x: Tensor) -> Tensor:
    base: Tensor = layer.base_layer(x)
    inner = layer.lora_A[adapter](layer.lora_dropout[adapter](x)) * layer.scaling[adapter]
    outer_OR: Tensor = layer.lora_B[adapter].weight
    added = torch.addmm(base.flatten(0, -2), inner.flatten(0, -2), outer_OR.T)
    return added.view(base.shape)
