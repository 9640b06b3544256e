"""RMS norms: what transformers writes as ten passes over memory, in four.

    y = x · r · g,   r = 1 / √(mean(x²) + ε),   g = weight, or 1 + weight (Gemma)

The gradient is that of a layer norm whose mean is zero, for which torch has one kernel, but for the
term by which a layer norm's own mean depends on x:

    ∂x = layer_norm_backward(∂y, x, mean=0, r, g) + r · mean(∂y · g)

Everything is computed in fp32, as by transformers, and x is kept for the backward pass as it came.
Shapes: [..., D]; r is [..., 1].
"""

from typing import Any

import torch
from torch import Tensor, nn


def use(model: nn.Module) -> None:
    """Let every RMS norm of `model` compute by `_Norm`; a module that is something else stays."""
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm") and hasattr(module, "weight"):
            _use(module)


def _use(module: Any) -> None:
    eps = getattr(module, "eps", None) or getattr(module, "variance_epsilon", None)
    offset = None if eps is None else _offset(module, eps)
    if eps is not None and offset is not None:
        module.forward = lambda x: rms_norm(x, module.weight, eps, offset)


def _offset(module: Any, eps: float) -> float | None:
    """Return what is added to the weight, found by trying; None if the module is no RMS norm."""
    weight = module.weight.detach()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, len(weight), generator=generator).to(weight.device)
    with torch.no_grad():
        found = module(x).float()
        for offset in (0.0, 1.0):
            if torch.allclose(found, rms_norm(x, weight, eps, offset), rtol=0.02, atol=1e-3):
                return offset
    return None


def rms_norm(x: Tensor, weight_D: Tensor, eps: float, offset: float) -> Tensor:
    """Return x · r · (weight + offset), in the dtype of `x`."""
    if x.dim() == 4 and not x.is_contiguous():  # heads before tokens: as they lie in memory
        normed: Tensor = _Norm.apply(x.transpose(1, 2), weight_D, eps, offset)
        return normed.transpose(1, 2)
    straight: Tensor = _Norm.apply(x, weight_D, eps, offset)
    return straight


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight_D, eps, offset):  # type: ignore[no-untyped-def]
        gain_D = weight_D.float() + offset
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
            grad32, x.float(), [width], torch.zeros_like(r), r, gain_D, None, wanted
        )
        means = torch.mv(grad32.reshape(-1, width), gain_D).view(r.shape)
        grad_x.addcmul_(means, r, value=1 / width)
        return grad_x.to(x.dtype), grad_D, None, None
