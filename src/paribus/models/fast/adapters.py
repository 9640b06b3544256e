"""LoRA layers in training on a GPU, which waits for each call: three kernels, and seven back.

    y = base(x) + B (s · A dropout(x))

    copies = AdapterCopies(layers)                              # of all adapters of a model
    low_rank(layer, "default", base, x, copies.of(0, "default", x.dtype))

Copies of A and B in the compute dtype are made for all layers at once, after each step.
Shapes: N tokens, I and O numbers of a layer's input and output, R the rank.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from paribus.models.fast.copies import Copies


class AdapterCopies:
    """Adapters of LoRA layers in the compute dtype, the inner one times its scale."""

    def __init__(self, layers: Sequence[Any]) -> None:
        """Make none yet: they are made when one is first asked for."""
        self.layers, self.used = layers, True
        self.made: dict[tuple[str, torch.dtype], tuple[Copies, dict[int, int]]] = {}

    def of(self, place: int, adapter: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return s · A and B of the layer at `place`, as they are by now."""
        if (adapter, dtype) not in self.made:
            self.made[adapter, dtype] = self._copies(adapter, dtype)
        copies, places = self.made[adapter, dtype]
        return copies.of(places[place]), copies.of(len(places) + places[place])

    def _copies(self, adapter: str, dtype: torch.dtype) -> tuple[Copies, dict[int, int]]:
        """Return copies of all A, then all B; and where among them each layer's are."""
        having = [at for at, layer in enumerate(self.layers) if adapter in layer.lora_A]
        layers = [self.layers[at] for at in having]
        inner = [layer.lora_A[adapter].weight for layer in layers]
        outer = [layer.lora_B[adapter].weight for layer in layers]
        scalings = [layer.scaling[adapter] for layer in layers]
        places = {place: at for at, place in enumerate(having)}
        return Copies([*inner, *outer], dtype, scalings), places


def low_rank(
    layer: Any, adapter: str, base: Tensor, x: Tensor, copies: tuple[Tensor, Tensor]
) -> Tensor:
    """Return what `layer` comes to, where its base came to `base`; both of the dtype of `x`."""
    drop = layer.lora_dropout[adapter]
    changed: Tensor = _LowRank.apply(
        base.flatten(0, -2),
        x.flatten(0, -2),
        layer.lora_A[adapter].weight,
        layer.lora_B[adapter].weight,
        copies,
        layer.scaling[adapter],
        drop.p if isinstance(drop, nn.Dropout) and drop.training else 0.0,
    )
    return changed.view(base.shape)


class _LowRank(torch.autograd.Function):
    """y + s · B A dropout(x) in three kernels and seven back: a GPU waits for each call of one.

    `inner_RI` and `outer_OR` are what is trained; it computes with the copies, of s · A and B.
    """

    @staticmethod
    def forward(ctx, base_NO, x_NI, inner_RI, outer_OR, copies, scaling, dropout):  # type: ignore[no-untyped-def]
        mask_NI, (scaled_RI, rounded_OR) = None, copies
        if dropout:
            x_NI, mask_NI = torch.native_dropout(x_NI, dropout, train=True)
        narrow_NR = x_NI @ scaled_RI.T
        ctx.save_for_backward(x_NI, mask_NI, scaled_RI, rounded_OR, narrow_NR)
        ctx.scaling, ctx.kept = scaling, 1 - dropout
        return torch.addmm(base_NO, narrow_NR, rounded_OR.T)

    @staticmethod
    def backward(ctx, grad_NO):  # type: ignore[no-untyped-def]
        x_NI, mask_NI, scaled_RI, rounded_OR, narrow_NR = ctx.saved_tensors
        grad_NR = grad_NO @ rounded_OR
        grad_OR = (grad_NO.T @ narrow_NR).float()
        product_RI = grad_NR.T @ x_NI
        grad_RI = torch.empty_like(product_RI, dtype=torch.float32)
        torch.mul(product_RI, ctx.scaling, out=grad_RI)
        grad_NI = None
        if ctx.needs_input_grad[1]:
            grad_NI = grad_NR @ scaled_RI
            if mask_NI is not None:
                grad_NI = torch.ops.aten.native_dropout_backward(grad_NI, mask_NI, 1 / ctx.kept)
        return grad_NO, grad_NI, grad_RI, grad_OR, None, None, None
