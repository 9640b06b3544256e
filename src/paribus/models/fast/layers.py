"""RMS norms, logits and LoRA layers in fewer passes over memory than transformers and peft take.

RMS norms take four passes instead of ten:

    y = x · r · g,   r = 1 / √(mean(x²) + ε),   g = weight, or 1 + weight (Gemma)

The gradient is that of a layer norm whose mean is zero, for which torch has one kernel, plus the
term by which a layer norm's own mean depends on x:

    ∂x = layer_norm_backward(∂y, x, mean=0, r, g) + r · mean(∂y · g)

All of it is computed in fp32, as transformers does, and x is kept for the backward pass as it came.
On a GPU, where each call counts, y and r are made by one kernel.
Shapes: [..., D]; r is [..., 1].

Logits exist one tile of the vocabulary at a time:

    for start in range(0, V, TILE):
        logits_RW = …                                           # columns start … start + W
        label_R = at_labels(logits_RW, labels_R, start, label_R)     # where a label is one of them

Shapes: R rows of a block, V vocabulary, W columns of a tile.

LoRA layers add their product as it is computed, and scale on the narrow side:

    y = base(x) + s · B A dropout(x)          peft: three passes over y, which is wide
    y = base(x) + B (s · A dropout(x))        here

Shapes: [..., in] to [..., out], A is [r, in], B is [out, r].
"""

from functools import lru_cache
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn
from torch.nn.functional import linear

from paribus.config.schema import LoraConfig
from paribus.errors import ModelError
from paribus.models.fast.adapters import AdapterCopies, low_rank
from paribus.models.fast.starts import ADAPTER, start_from_weights, start_of
from paribus.models.kernels import on_gpu
from paribus.models.shapes import refuse_unknown_layers, refuse_unknown_targets, saved_modules


def use_fast_norms(model: nn.Module) -> None:
    """Let every RMS norm of `model` compute by `_Norm`; a module that is something else stays."""
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm") and hasattr(module, "weight"):
            _use_fast_norm(module)


def _use_fast_norm(module: Any) -> None:
    eps = getattr(module, "eps", None) or getattr(module, "variance_epsilon", None)
    offset = None if eps is None else _offset(module, eps)
    if eps is not None and offset is not None:
        # A method of the module: a copy, as peft makes of modules to save, has its own weight.
        module.forward = MethodType(lambda own, x: rms_norm(x, own.weight, eps, offset), module)


def _offset(module: Any, eps: float) -> float | None:
    """Return what is added to the weight, found by trying; None if the module is no RMS norm."""
    weight = module.weight.detach()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, len(weight), generator=generator).to(weight.device)
    with torch.no_grad():
        normed = module(x).float()
        for offset in (0.0, 1.0):
            if torch.allclose(normed, rms_norm(x, weight, eps, offset), rtol=0.02, atol=1e-3):
                return offset
    return None


def rms_norm(x: Tensor, weight_D: Tensor, eps: float, offset: float) -> Tensor:
    """Return x · r · (weight + offset), in the dtype of `x`."""
    if x.dim() == 4 and not x.is_contiguous():  # heads before tokens: as they lie in memory
        normed: Tensor = _Norm.apply(x.transpose(1, 2), weight_D, eps, offset)
        return normed.transpose(1, 2)
    straight: Tensor = _Norm.apply(x, weight_D, eps, offset)
    return straight


fused_norm = getattr(torch.ops.aten, "_fused_rms_norm", None)
"""torch's own, with what its gradient takes; from torch 2.9 on. It wants x in the gains' dtype."""


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight_D, eps, offset):  # type: ignore[no-untyped-def]
        gain_D = weight_D.float() + offset
        if on_gpu(x.device) and fused_norm is not None:
            normed, r = fused_norm(x.float(), gain_D.shape, gain_D, eps)
            ctx.save_for_backward(x, gain_D, r)
            return normed.to(x.dtype)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        r = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, gain_D, r)
        return (x * r).mul_(gain_D).to(x.dtype)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        x, gain_D, r = ctx.saved_tensors
        width, grad32 = x.shape[-1], grad.float()
        wanted = [True, ctx.needs_input_grad[1], False]
        grad_x, grad_D, _ = torch.ops.aten.native_layer_norm_backward(
            grad32, x.float(), [width], _zeros(r.shape, r.device), r, gain_D, None, wanted
        )
        means = torch.mv(grad32.reshape(-1, width), gain_D).view(r.shape)
        grad_x.addcmul_(means, r, value=1 / width)
        return grad_x.to(x.dtype), grad_D, None, None


@lru_cache(maxsize=2)
def _zeros(shape: torch.Size, device: torch.device) -> Tensor:
    """Return zeros that nobody writes to, for all norms of a pass."""
    return torch.zeros(shape, device=device)


def refuse_outside(labels_N: Tensor, vocabulary: int) -> None:
    """Raise ModelError for labels that no column belongs to: a loss would do without theirs."""
    if not len(labels_N):
        return
    least, most = (int(tensor) for tensor in labels_N.aminmax())
    if least < 0 or most >= vocabulary:
        raise ModelError(
            f"token ids {least} to {most} are to be predicted, and the model has only 0 to "
            f"{vocabulary - 1}",
            "use the tokenizer that the model was published with, or resize the model's embedding",
        )


def at_labels(values_RW: Tensor, labels_R: Tensor, start: int, otherwise_R: Tensor) -> Tensor:
    """Return each row's value at its label; `otherwise_R` where the label is in another tile."""
    wide = values_RW.shape[1]
    inside_R = (labels_R >= start) & (labels_R < start + wide)
    at_R1 = (labels_R - start).clamp(0, wide - 1)[:, None]
    return torch.where(inside_R, values_RW.gather(1, at_R1)[:, 0], otherwise_R)


def add_adapters(model: nn.Module, lora: LoraConfig, head: nn.Module) -> nn.Module:
    """Return `model` frozen, with fp32 adapters on the layers that `lora` names.

    Modules that are to be trained whole are fp32 too. The loss takes the weight of `head` itself,
    so an adapter there would never learn: it and names of nothing in the model are refused with a
    ConfigError.
    """
    linear = {name.rpartition(".")[2] for name, m in model.named_modules()
              if isinstance(m, nn.Linear) and m is not head}  # fmt: skip
    targets = lora.target_names(linear)
    refuse_unknown_targets(targets, sorted(linear))
    refuse_unknown_layers(lora.layers_to_transform, _count_layers(model))
    weighted = {name: m for name, m in model.named_modules() if m._parameters}
    packed = [
        n for n, m in weighted.items() if any(hasattr(p, "quant_state") for p in m.parameters())
    ]
    saved_modules(lora.modules_to_save, weighted, targets, packed)
    model.requires_grad_(False)
    config = PeftLoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(targets),
        use_rslora=lora.use_rslora,
        # Those that read weights or data come after: peft would change the base.
        init_lora_weights="gaussian" if lora.init_lora_weights == "gaussian" else True,
        use_dora=lora.use_dora,
        modules_to_save=list(lora.modules_to_save) or None,
        layers_to_transform=lora.layers_to_transform and list(lora.layers_to_transform),
    )
    adapted: nn.Module = get_peft_model(model, config, autocast_adapter_dtype=True)
    for name, parameter in adapted.named_parameters():
        if f".{SAVED}." in name:
            parameter.data = parameter.data.float()
    if lora.init_lora_weights and lora.starts_from_weights:
        start_from_weights(adapted, lora.init_lora_weights)
    use_fast_adapters(adapted)
    return adapted


SAVED = "modules_to_save"
"""Part of the names of weights that are trained whole beside adapters, as peft calls them."""


def _count_layers(model: nn.Module) -> int:
    """Return how many decoder layers `model` has."""
    config: Any = model.config
    layers: int = config.get_text_config().num_hidden_layers
    return layers


def load_adapter(model: nn.Module, folder: Path) -> nn.Module:
    """Return `model` with the adapter saved in `folder`; see `models/load.for_inference`.

    Raises ModelError if it is not stored as safetensors: peft would read a pickle instead.
    """
    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(
            f"{folder} holds no adapter_model.safetensors",
            "save it as safetensors: pickled adapters (adapter_model.bin) are not read",
        )
    adapted: nn.Module = PeftModel.from_pretrained(model, str(folder), is_trainable=False)
    use_fast_adapters(adapted)
    return adapted


def use_fast_adapters(model: nn.Module) -> None:
    """Let every linear LoRA layer of `model` compute by `_adapted`; those with DoRA by peft."""
    adapted = [m for m in model.modules() if isinstance(m, LoraLayer) and len(m.lora_A)]
    copies = AdapterCopies(adapted)
    for place, layer in enumerate(adapted):
        _use_fast_adapter(layer, copies, place)


def forget_copies(model: nn.Module) -> None:
    """Free the copies of adapters that a GPU trains with; the next step makes them anew."""
    for module in model.modules():
        if isinstance(module, LoraLayer) and hasattr(module, "copies"):
            module.copies.made.clear()


def without_copies(model: nn.Module) -> None:
    """Let adapters that train round in each pass: copies would be of parts of their weights."""
    for module in model.modules():
        if isinstance(module, LoraLayer) and hasattr(module, "copies"):
            module.copies.used = False


def settle_row_lengths(model: nn.Module) -> None:
    """Compute DoRA's scales once: the weights no longer change, and only products read them.

    peft measures every weight again in each pass.
    """
    for module in model.modules():
        if isinstance(module, LoraLayer) and any(module.use_dora.values()):
            _settle_row_length(module)


@torch.no_grad()
def _settle_row_length(layer: Any) -> None:
    (adapter,) = layer.active_adapters
    inner, outer = layer.lora_A[adapter], layer.lora_B[adapter]
    scaling, lengths = layer.scaling[adapter], layer.lora_magnitude_vector[adapter]
    base = layer.base_layer
    weight = dequantize_module_weight(base)
    change = (outer.weight @ inner.weight).to(weight.dtype)
    scale_O = lengths.weight / lengths.get_weight_norm(weight, change, scaling)

    def forward(x: Tensor) -> Tensor:
        result: Tensor = base(x)
        plain = result if base.bias is None else result - base.bias
        change = (scale_O - 1) * plain + scale_O * outer(inner(x)) * scaling
        return (result + change).to(result.dtype)

    layer.forward = forward


def _use_fast_adapter(layer: Any, copies: AdapterCopies, place: int) -> None:
    usual, variants = layer.forward, layer.lora_variant
    # Autocast rounds what enters an adapter; peft would first make it fp32, for nothing.
    layer.cast_input_dtype_enabled = False
    layer.copies = copies

    def forward(x: Tensor) -> Tensor:
        active = layer.active_adapters
        if layer.disable_adapters or layer.merged or len(active) != 1 or active[0] in variants:
            tensor: Tensor = usual(x)
            return tensor
        return _adapted(layer, active[0], x, copies, place)

    layer.forward = forward


def _adapted(layer: Any, adapter: str, x: Tensor, copies: AdapterCopies, place: int) -> Tensor:
    base: Tensor = layer.base_layer(x)
    start = start_of(layer) if adapter == ADAPTER else None
    copied = copies.used and on_gpu(x.device) and torch.is_grad_enabled()
    if start is None and copied and x.dtype is base.dtype:
        return low_rank(layer, adapter, base, x, copies.of(place, adapter, x.dtype))
    inner = layer.lora_A[adapter](layer.lora_dropout[adapter](x)) * layer.scaling[adapter]
    outer_OR: Tensor = layer.lora_B[adapter].weight
    if start is not None:
        start_A, start_B = start
        inner = torch.cat([inner, linear(x, start_A) * layer.scaling[adapter]], dim=-1)
        outer_OR = torch.cat([outer_OR, -start_B], dim=1)
    added = torch.addmm(base.flatten(0, -2), inner.flatten(0, -2), outer_OR.T)
    return added.view(base.shape)
