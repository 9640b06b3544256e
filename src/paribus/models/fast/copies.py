"""Copies of fp32 masters in the compute dtype, made once a step and not once a pass.

    copies = use(decoder, torch.bfloat16)       # its linear layers multiply by copies
    copies.free()                               # after the step's last forward pass
    note_steps(optimizer)                       # once: torch does not count what fused ones write

Autocast copies each weight in each pass, one kernel each. Here one kernel copies all of them, when
torch counts that a master was changed. Gradients go to the masters, in fp32, as autocast's do.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version
from torch.nn.functional import linear
from torch.optim import Optimizer


class Copies:
    """Copies of `masters` in `dtype`; the first ones times `scalings`."""

    def __init__(
        self, masters: Sequence[Tensor], dtype: torch.dtype, scalings: Sequence[float] = ()
    ) -> None:
        """Make none yet: they are made when one is first asked for."""
        self.masters, self.dtype, self.scalings = list(masters), dtype, list(scalings)
        self.free()

    def free(self) -> None:
        """Forget the copies. A graph that was computed with them keeps them until it is gone."""
        self.copies: list[Tensor] = []
        self.states: list[tuple[int, int]] = []

    def of(self, place: int) -> Tensor:
        """Return the copy of the master at `place`, as it is by now."""
        if not self.states or self.states[place] != _state(self.masters[place]):
            self._make()
        return self.copies[place]

    @torch.no_grad()
    def _make(self) -> None:
        if not self.copies:
            self.copies = [torch.empty_like(each, dtype=self.dtype) for each in self.masters]
        torch._foreach_copy_(self.copies, self.masters)
        if self.scalings:
            torch._foreach_mul_(self.copies[: len(self.scalings)], self.scalings)
        self.states = [_state(master) for master in self.masters]


def _state(master: Tensor) -> tuple[int, int]:
    """Return what changes when a weight is written to, or is given other memory."""
    return master._version, master.data_ptr()


def note_steps(optimizer: Optimizer) -> None:
    """Let torch count each step of `optimizer` as a change of its weights.

    torch's fused kernels and those of bitsandbytes write to weights without being counted.
    """

    def count(stepped: Optimizer, *_: Any) -> None:
        for group in stepped.param_groups:
            increment_version(group["params"])

    optimizer.register_step_post_hook(count)


def use(decoder: nn.Module, dtype: torch.dtype) -> Copies:
    """Let the linear layers of `decoder` that train multiply by copies of their weights.

    Only while a graph is made, for inputs in `dtype`. Matrices of adapters are left out: their
    layers round them.
    """
    layers = [
        module
        for name, module in decoder.named_modules()
        if type(module) is nn.Linear and module.weight.requires_grad and "lora_" not in name
    ]
    weights = [(layer.weight, layer.bias) for layer in layers]
    trained = [each for pair in weights for each in pair if each is not None and each.requires_grad]
    copies = Copies(trained, dtype)
    places = {id(master): place for place, master in enumerate(trained)}
    for layer in layers:
        _use_copy(layer, copies, places)
    return copies


def _use_copy(layer: Any, copies: Copies, places: dict[int, int]) -> None:
    weight, bias = layer.weight, layer.bias
    at, bias_at = places[id(weight)], places.get(id(bias))

    def forward(x: Tensor) -> Tensor:
        if x.dtype is not copies.dtype or layer.weight is not weight or not torch.is_grad_enabled():
            tensor: Tensor = nn.Linear.forward(layer, x)
            return tensor
        copied = _Copy.apply(weight, copies.of(at))
        return linear(x, copied, bias if bias_at is None else _Copy.apply(bias, copies.of(bias_at)))

    layer.forward = forward


class _Copy(torch.autograd.Function):
    """The copy, whose gradient is the master's."""

    @staticmethod
    def forward(ctx, master, copy):  # type: ignore[no-untyped-def]
        ctx.dtype = master.dtype
        return copy

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        return grad.to(ctx.dtype), None
