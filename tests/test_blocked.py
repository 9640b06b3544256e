"""Weights in blocks: what plain products compute, and nothing else changed."""

import pytest
import torch
from torch import nn
from torch.nn.functional import linear
from transformers import AutoModelForCausalLM

from paribus.config.schema import LoraConfig
from paribus.models.fast import attention, blocked
from paribus.models.fast.attention import packed
from paribus.models.fast.blocked import product
from paribus.models.fast.layers import add_adapters
from paribus.models.load import count_parameters, decoder_and_head, for_inference

pytestmark = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this CPU has no bf16 kernels"
)


def normal(*sizes: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(sizes))
    return torch.randn(sizes, generator=generator).to(dtype)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 8, 50, 600])
@pytest.mark.parametrize(("wide", "out"), [(640, 1024), (2048, 640), (37, 261)])
def test_products_are_the_same_but_for_the_order_of_sums(rows, wide, out, biased):
    weight, x = normal(out, wide), normal(rows, wide)
    bias = normal(out) if biased else None
    multiply = product(weight, bias)
    with torch.inference_mode():
        expected = linear(x, weight, bias)
        assert (multiply(x) == expected).float().mean() > 0.98
        for found, same in [
            (multiply(x), expected),
            (multiply(x.view(1, rows, wide)), expected[None]),
            (multiply(normal(wide, rows).T), linear(normal(wide, rows).T, weight, bias)),
        ]:
            # A sum that is nearly 0 comes of products that are not.
            torch.testing.assert_close(found, same, rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_other_weights_stay_as_they_are(dtype):
    layer = nn.Linear(4, 3).to(dtype)
    model = nn.Module()
    assert not blocked._gains(layer.weight)
    with torch.inference_mode():
        x = normal(2, 4, dtype=dtype)
        assert torch.equal(product(layer.weight, layer.bias)(x), layer(x))
    assert not list(model.parameters())


@pytest.mark.parametrize("adapters", [False, True])
def test_a_model_computes_the_same(tiny, adapters):
    model = AutoModelForCausalLM.from_pretrained(tiny)
    if adapters:
        lora = LoraConfig(r=4, alpha=8.0, targets=("q_proj", "down_proj"))
        model = add_adapters(model, lora, decoder_and_head(model)[1])
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.data.normal_()
    attention.use(model.get_base_model() if adapters else model)
    for_inference(model, torch.bfloat16)
    counted = count_parameters(model)
    stack, head, _ = decoder_and_head(model)
    texts = packed([[2, *range(20, 60)], [2, 9, 9]])
    with torch.inference_mode():
        before = stack(**texts, use_cache=False).last_hidden_state
        plain = head.weight.clone()
        blocked.use(model)
        assert torch.equal(stack(**texts, use_cache=False).last_hidden_state, before)
    arranged = [
        name for name, module in stack.named_modules()
        if type(module) is nn.Linear and module.weight.is_mkldnn
    ]  # fmt: skip
    assert len(arranged) == 14  # 7 in each of 2 layers; not those of adapters
    assert not any("lora" in name for name in arranged) or adapters
    assert torch.equal(head.weight, plain)
    assert not head.weight.is_mkldnn
    assert count_parameters(model) == counted
