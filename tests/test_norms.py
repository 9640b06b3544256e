"""RMS norms against float64 and against transformers' own, and what must be left alone."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from paribus.models.fast import layers
from paribus.models.load import load_model
from paribus.models.source import find_model

D = 24
KINDS = [(Gemma3RMSNorm, 1.0), (LlamaRMSNorm, 0.0), (Qwen3RMSNorm, 0.0)]
SHAPES = {"tokens": (3, 5, D), "heads": (2, 3, 5, D)}


def norm(kind: type[nn.Module], *, eps: float = 1e-6, dtype=torch.float32):
    """Weights as of a trained model: none of them zero or one."""
    made = kind(D, eps=eps).to(dtype)
    torch.manual_seed(1)
    nn.init.normal_(made.weight, std=0.5)
    return made


def fast(kind: type[nn.Module], **how):
    """The same norm as `norm` makes, after `use`."""
    made = norm(kind, **how)
    layers.use_fast_norms(nn.ModuleList([made]))
    assert "forward" in vars(made)
    return made


def example(shape, *, size: float = 3.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return (size * torch.randn(shape, generator=generator)).to(dtype)


def exact(x, weight, offset: float, eps: float):
    """The formula, in float64."""
    mean = (x * x).mean(dim=-1, keepdim=True)
    return x / (mean + eps).sqrt() * (weight + offset)


@pytest.mark.parametrize("eps", [1e-6, 0.5])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(("kind", "offset"), KINDS)
def test_values_and_gradients_are_exact(kind, offset, shape, transposed, eps):
    """As contiguous tensors, and as heads lie: tokens and heads swapped."""
    made = fast(kind, eps=eps)
    x = example(shape).requires_grad_()
    given = x.transpose(-3, -2) if transposed else x
    found = made(given)
    assert found.shape == given.shape
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
    (found * direction).sum().backward()

    twin, weight = (each.detach().double().requires_grad_() for each in (x, made.weight))
    expected = exact(twin.transpose(-3, -2) if transposed else twin, weight, offset, eps)
    (expected * direction).sum().backward()
    assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    assert_close(x.grad.double(), twin.grad, rtol=0, atol=1e-6 * twin.grad.abs().max().item())
    largest = weight.grad.abs().max().item()
    assert_close(made.weight.grad.double(), weight.grad, rtol=0, atol=1e-6 * largest)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e4])
@pytest.mark.parametrize(("kind", "offset"), KINDS)
def test_no_size_of_the_input_loses_digits(kind, offset, size):
    """Where epsilon is all of it, and where squares are 1e8."""
    made, x = fast(kind), example((3, 5, D), size=size)
    expected = exact(x.double(), made.weight.double(), offset, 1e-6)
    assert_close(made(x).double(), expected, rtol=2e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize(("kind", "_offset"), KINDS)
def test_it_is_the_norm_of_transformers(kind, _offset, dtype):
    """In bf16 to the last digit or the next: 2^-7 of a value, and of the largest of a gradient."""
    within = {torch.float32: 1e-6, torch.bfloat16: 2**-7}[dtype]
    own, made = norm(kind, dtype=dtype), fast(kind, dtype=dtype)
    results = []
    for each in (own, made):
        x = example((2, 7, D), dtype=dtype).requires_grad_()
        found = each(x)
        assert found.dtype is dtype
        (found * example(found.shape, size=1.0, dtype=dtype)).sum().backward()
        assert x.grad.dtype is dtype
        assert each.weight.grad.dtype is dtype
        results.append((found, x.grad, each.weight.grad))
    for theirs, ours in zip(*results, strict=True):
        assert_close(ours, theirs, rtol=within, atol=within * theirs.abs().max().item())


@pytest.mark.parametrize(("kind", "offset"), KINDS)
def test_a_frozen_weight_gets_no_gradient_and_the_input_its_own(kind, offset):
    made = fast(kind).requires_grad_(False)
    x = example((4, D)).requires_grad_()
    made(x).sum().backward()
    twin = x.detach().double().requires_grad_()
    exact(twin, made.weight.double(), offset, 1e-6).sum().backward()
    assert made.weight.grad is None
    assert_close(x.grad.double(), twin.grad, rtol=0, atol=1e-6 * twin.grad.abs().max().item())


@pytest.mark.parametrize(("kind", "offset"), KINDS)
def test_weights_that_move_are_used(kind, offset):
    """Training changes them in place, `for_inference` puts others in their place."""
    made, x = fast(kind), example((4, D))
    with torch.no_grad():
        made.weight.add_(1.0)
    moved = made.weight.double()
    assert_close(made(x).double(), exact(x.double(), moved, offset, 1e-6), rtol=1e-6, atol=1e-6)
    made.weight.data = made.weight.data.bfloat16()
    rounded = made.weight.double()
    assert not rounded.equal(moved)
    assert_close(made(x).double(), exact(x.double(), rounded, offset, 1e-6), rtol=1e-6, atol=1e-6)


class MeanRMSNorm(LlamaRMSNorm):
    """A layer norm by another name."""

    def forward(self, hidden_states):
        return super().forward(hidden_states - hidden_states.mean(-1, keepdim=True))


class TwiceRMSNorm(Gemma3RMSNorm):
    def forward(self, x):
        return 2 * super().forward(x)


class NoEpsRMSNorm(nn.Module):
    """Nothing says what its epsilon is."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * x.square().mean(-1, keepdim=True).rsqrt() * self.weight


@pytest.mark.parametrize("kind", [MeanRMSNorm, TwiceRMSNorm, NoEpsRMSNorm])
def test_what_only_bears_the_name_is_left_alone(kind):
    made, x = norm(kind), example((4, D))
    before = made(x)
    layers.use_fast_norms(nn.ModuleList([made]))
    assert "forward" not in vars(made)
    assert torch.equal(made(x), before)


def test_other_norms_are_left_alone():
    others = nn.ModuleList([nn.LayerNorm(D), nn.Linear(D, D)])
    layers.use_fast_norms(others)
    assert not any("forward" in vars(each) for each in others)


def test_every_norm_of_a_loaded_model(tiny):
    """Six a layer, those of queries and keys among them, and the last."""
    model = load_model(find_model(str(tiny), None), torch.float32, torch.device("cpu"))
    used = [name for name, m in model.named_modules() if isinstance(m, Gemma3RMSNorm)]
    assert len(used) == 2 * 6 + 1
    assert all("forward" in vars(model.get_submodule(name)) for name in used)
