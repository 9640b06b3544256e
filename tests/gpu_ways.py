"""The ways of a GPU, taken on a CPU: a stand-in for what only a GPU has, and counts of its work.

take(monkeypatch)
with Counted() as counted:
    ...
kernels_and_stops(counted.names)         # (1983, 2)
"""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode

from paribus.models import kernels
from paribus.models.fast import layers, varlen
from paribus.prompts.encode import Encoded

VIEWS = {
    "alias", "as_strided", "detach", "expand", "lift_fresh", "permute", "reshape", "select",
    "slice", "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unsqueeze",
    "_unsafe_view", "view",
}  # fmt: skip
"""Operations that start no kernel: views."""
ALLOCATIONS = {"empty_like", "empty", "empty_strided", "new_empty"}
STOPS = {"_local_scalar_dense", "nonzero", "is_nonzero", "_unique2", "masked_select"}
"""Operations whose results the process waits for."""


def _texts(query: Tensor, key: Tensor, value: Tensor, bounds: list[int], window: int) -> Tensor:
    """Each text's attention to itself, [T, heads, dim]."""
    parts = []
    for start, stop in zip(bounds, bounds[1:], strict=False):
        q, k, v = (x[start:stop].transpose(0, 1)[None] for x in (query, key, value))
        back = torch.arange(stop - start)[:, None] - torch.arange(stop - start)
        seen = (back >= 0) & (back <= (window if window >= 0 else stop))
        part = scaled_dot_product_attention(q, k, v, seen, enable_gqa=True)
        parts.append(part[0].transpose(0, 1))
    return torch.cat(parts)


class Counted(TorchDispatchMode):
    """Operations by name, and casts of weights among them; `lap` begins anew."""

    active: "Counted | None" = None

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()
        self.laps: list[Counter[str]] = []
        self.rounded = 0
        self.silent = False

    def __enter__(self):
        Counted.active = self
        return super().__enter__()

    def __exit__(self, *raised):
        Counted.active = None
        return super().__exit__(*raised)

    @classmethod
    @contextmanager
    def as_one(cls, name: str) -> Iterator[None]:
        """Count what happens inside as one operation."""
        counting = cls.active
        if counting is None:
            yield
            return
        counting.names[name] += 1
        counting.silent = True
        try:
            yield
        finally:
            counting.silent = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not self.silent:
            _, name, *_ = str(func).split(".")
            masks = [x for x in args[1] if x is not None] if name == "index" else []
            stops = any(mask.dtype in (torch.bool, torch.uint8) for mask in masks)
            if name == "_to_copy" and isinstance(args[0], nn.Parameter):
                self.rounded += args[0].dtype is torch.float32
            self.names["nonzero" if stops else name] += 1
        return func(*args, **(kwargs or {}))

    def lap(self, *_: object) -> dict[str, float]:
        self.laps.append(self.names.copy())
        self.names.clear()
        return {}


class _Varlen(torch.autograd.Function):
    """What is one kernel on a GPU, forward and backward."""

    @staticmethod
    def forward(ctx, query, key, value, bounds, window):
        ctx.save_for_backward(query, key, value)
        ctx.how = bounds.tolist(), window
        with Counted.as_one("varlen"):
            return _texts(query, key, value, *ctx.how)

    @staticmethod
    def backward(ctx, grad):
        inputs = [x.detach().requires_grad_() for x in ctx.saved_tensors]
        with Counted.as_one("varlen_backward"), torch.enable_grad():
            return *torch.autograd.grad(_texts(*inputs, *ctx.how), inputs, grad), None, None


def stand_in(  # noqa: PLR0913  # torch's interface
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, window_size=(-1, -1), enable_gqa=False
):
    """torch's `varlen_attn`, as one operation; without `scale`, as its first version."""
    assert enable_gqa or query.shape[1] == key.shape[1]
    assert type(max_q) is int
    assert window_size[1] == 0
    attended: Tensor = _Varlen.apply(query, key, value, cu_seq_q, window_size[0])
    return attended


def _fused_norm(*given):
    """torch's own, which is several operations on a CPU."""
    with Counted.as_one("_fused_rms_norm"):
        return torch.ops.aten._fused_rms_norm(*given)


def take(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process take the ways of a GPU, whatever computes."""
    monkeypatch.setattr(varlen, "varlen_attn", stand_in)
    monkeypatch.setattr(varlen, "fits", lambda query: True)
    monkeypatch.setattr(varlen, "_flex_works", lambda *_: False)
    monkeypatch.setattr(layers, "fused_norm", _fused_norm)
    monkeypatch.setattr(kernels, "on_gpu", lambda _: True)
    for user in ("training.loss", "models.load", "models.fast.layers"):
        monkeypatch.setattr(f"paribus.{user}.on_gpu", lambda _: True)


def kernels_and_stops(names: Counter[str]) -> tuple[int, int]:
    started = sum(count for name, count in names.items() if name not in VIEWS | ALLOCATIONS | STOPS)
    return started, sum(names[name] for name in STOPS)


def examples(vocabulary: int, count: int, lengths: tuple[int, int]) -> list[Encoded]:
    draw = random.Random(0)
    sizes = [draw.randrange(*lengths) for _ in range(count)]
    return [
        Encoded(tuple(draw.randrange(vocabulary) for _ in range(size)), size // 3) for size in sizes
    ]
