"""LoRA layers against peft's own, where they step aside, and weights that come back."""

from typing import Any

import pytest
import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch.testing import assert_close

from paribus.config.schema import LoraConfig
from paribus.models.fast.layers import load_adapter, use_fast_adapters
from paribus.models.load import count_parameters, for_inference, load_model, make_trainable
from paribus.models.source import find_model

CPU = torch.device("cpu")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
IDS = torch.arange(6, 86)[None]


def base(folder, precision: str = "fp32") -> Any:
    return load_model(find_model(str(folder), None), DTYPES[precision], CPU)


def moved(model: Any, seed: int = 0) -> Any:
    """Adapters as training leaves them: lora_B, too, is not zero."""
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = 0.1 * torch.randn_like(parameter)
    return model


def ours(folder, precision: str = "fp32", dropout: float = 0.0, **lora_keys: Any) -> Any:
    lora = LoraConfig(r=4, alpha=12, dropout=dropout, **lora_keys)
    return moved(make_trainable(base(folder, precision), "lora", lora, DTYPES[precision]))


def peft(folder, precision: str = "fp32", dropout: float = 0.0, **peft_keys: Any) -> Any:
    """The same model by peft alone; the base with the same stream of residuals."""
    names = list(LoraConfig().targets)
    config = PeftLoraConfig(
        r=4, lora_alpha=12, lora_dropout=dropout, target_modules=names, **peft_keys
    )
    return moved(get_peft_model(base(folder, precision), config))


def pairs(one: Any, other: Any) -> list[tuple[LoraLayer, LoraLayer]]:
    """The LoRA layers of two models, by name."""
    layers = [[m for m in model.modules() if isinstance(m, LoraLayer)] for model in (one, other)]
    assert len(layers[0]) == len(layers[1]) == 2 * 7
    return list(zip(*layers, strict=True))


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    """In fp32: sums in another order."""
    assert found.dtype is expected.dtype
    assert_close(found, expected, rtol=0, atol=1e-6 * expected.abs().max().item())


def passed(layer: Any, x: torch.Tensor, precision: str) -> list[torch.Tensor]:
    """Output, and gradients of the input and of both adapters, under autocast as in training."""
    given = x.to(DTYPES[precision]).requires_grad_()
    with torch.autocast("cpu", DTYPES[precision], enabled=precision == "bf16"):
        found = layer(given)
    (found * torch.linspace(-1, 1, found.numel()).view(found.shape)).sum().backward()
    A, B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    assert (found.dtype, given.grad.dtype) == (DTYPES[precision],) * 2
    assert A.grad.dtype is B.grad.dtype is torch.float32
    return [found, given.grad, A.grad, B.grad]


def exact(layer: Any, x: torch.Tensor) -> list[torch.Tensor]:
    """The same in float64, from weights and an input that are rounded to bf16."""
    weights = [layer.base_layer, layer.lora_A["default"], layer.lora_B["default"]]
    W, A, B, given = (
        each.detach().bfloat16().double().requires_grad_()
        for each in (*(part.weight for part in weights), x)
    )
    found = given @ W.T + layer.scaling["default"] * (given @ A.T @ B.T)
    along = torch.linspace(-1, 1, found.numel()).view(found.shape)
    return [found, *torch.autograd.grad((found * along).sum(), (given, A, B))]


@pytest.mark.parametrize("shape", [(2, 5), (7,)], ids=["batch", "tokens"])
def test_every_layer_gives_what_peft_gives(tiny, shape):
    for mine, theirs in pairs(ours(tiny), peft(tiny)):
        assert "forward" in vars(mine)
        assert "forward" not in vars(theirs)
        x = torch.randn(*shape, mine.in_features, generator=torch.Generator().manual_seed(1))
        results = zip(passed(mine, x, "fp32"), passed(theirs, x, "fp32"), strict=True)
        for found, expected in results:
            assert_same(found, expected)


def test_in_bf16_every_layer_is_no_further_from_exact_than_peft(tiny):
    """Both round, in different places: ours by less (0.76 to 0.94 of peft's squares)."""
    squares = torch.zeros(2, 4, dtype=torch.float64)
    for layers in pairs(ours(tiny, "bf16"), peft(tiny, "bf16")):
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(3, 40, layers[0].in_features, generator=generator)
        errors = [
            [
                float((found.double() - true).norm() / true.norm())
                for found, true in zip(passed(layer, x, "bf16"), exact(layer, x), strict=True)
            ]
            for layer in layers
        ]
        assert max(errors[0]) < 2**-7
        squares += torch.tensor(errors, dtype=torch.float64) ** 2
    assert (squares[0] <= squares[1]).all(), squares


def test_a_whole_model_gives_what_peft_gives(tiny):
    with torch.no_grad():
        found, expected = ours(tiny)(IDS).logits, peft(tiny)(IDS).logits
        assert (expected - base(tiny)(IDS).logits).abs().max() > 0.1
    assert_close(found, expected, rtol=0, atol=1e-5)


def test_all_linear_is_what_peft_calls_so_and_comes_back_by_peft_alone(tiny, tmp_path):
    mine = ours(tiny, targets="all-linear")
    config = PeftLoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")
    theirs = get_peft_model(base(tiny), config)
    assert count_parameters(mine) == count_parameters(theirs)
    assert mine.state_dict().keys() == theirs.state_dict().keys()
    mine.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(base(tiny), tmp_path)
    with torch.no_grad():
        assert_close(mine.eval()(IDS).logits, loaded(IDS).logits, rtol=0, atol=1e-5)


def test_adapters_that_are_zero_change_nothing_to_the_bit(tiny):
    model = make_trainable(base(tiny), "lora", LoraConfig(dropout=0.0), torch.float32)
    with torch.no_grad():
        assert torch.equal(model(IDS).logits, base(tiny)(IDS).logits)


def test_dropout_is_drawn_as_peft_draws_it_and_in_training_only(tiny):
    mine, theirs = pairs(ours(tiny, dropout=0.5), peft(tiny, dropout=0.5))[0]
    x = torch.randn(40, mine.in_features)
    results = {}
    for layer in (mine, theirs):
        for training in (True, False):
            torch.manual_seed(5)
            results[layer, training] = layer.train(training)(x)
    for training in (True, False):
        assert_same(results[mine, training], results[theirs, training])
    dropped = results[mine, True] - results[mine, False]
    added = results[mine, False] - mine.base_layer(x)
    assert 0.5 < (dropped.norm() / added.norm()).item() < 2.0  # p = 0.5: as large as what is added


def test_disabled_adapters_are_the_base(tiny):
    model = ours(tiny)
    with torch.no_grad(), model.disable_adapter():
        assert torch.equal(model(IDS).logits, base(tiny)(IDS).logits)


def test_merged_adapters_are_not_added_twice(tiny):
    model = ours(tiny)
    with torch.no_grad():
        before = model(IDS).logits
        model.merge_adapter()
        assert all(layer.merged for layer, _ in pairs(model, model))
        merged = model(IDS).logits
        model.unmerge_adapter()
        after = model(IDS).logits
    assert_close(merged, before, rtol=0, atol=1e-5)
    assert_close(after, before, rtol=0, atol=1e-5)


def test_two_active_adapters_are_both_added_as_peft_does(tiny):
    results = []
    for model in (ours(tiny), peft(tiny)):
        model.add_adapter("second", model.peft_config["default"])
        moved(model, seed=1)
        with torch.no_grad():
            model.set_adapter("second")
            second = model(IDS).logits
            model.base_model.set_adapter(["default", "second"])
            results.append((second, model(IDS).logits))
    for found, expected in zip(*results, strict=True):
        assert_close(found, expected, rtol=0, atol=1e-5)
    assert (results[0][0] - results[0][1]).abs().max() > 0.1


def test_another_adapter_that_is_set_is_the_one_that_is_used(tiny, tmp_path):
    """As the probe of saving does: loaded beside the one in training, and removed."""
    model = ours(tiny)
    other = moved(ours(tiny), seed=1)
    other.save_pretrained(tmp_path, save_embedding_layers=False)
    with torch.no_grad():
        before, expected = model(IDS).logits, other(IDS).logits
        model.load_adapter(str(tmp_path), "beside")
        model.set_adapter("beside")
        assert torch.equal(model(IDS).logits, expected)
        model.set_adapter("default")
        model.delete_adapter("beside")
        assert torch.equal(model(IDS).logits, before)
    assert (expected - before).abs().max() > 0.1


@pytest.mark.parametrize("precision", DTYPES)
def test_what_is_saved_and_loaded_is_the_same_to_the_bit(tiny, tmp_path, precision):
    model, compute = ours(tiny, precision), DTYPES[precision]
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    loaded = load_adapter(base(tiny, precision), tmp_path)
    assert all("forward" in vars(layer) for layer, _ in pairs(loaded, model))
    with torch.inference_mode():
        expected = for_inference(model, compute)(IDS).logits
        assert torch.equal(for_inference(loaded, compute)(IDS).logits, expected)


def test_use_leaves_layers_without_adapters_alone(tiny):
    model = base(tiny)
    before = [name for name, module in model.named_modules() if "forward" in vars(module)]
    use_fast_adapters(model)
    assert [n for n, module in model.named_modules() if "forward" in vars(module)] == before


def test_a_rank_stabilised_scale_is_pefts(tiny):
    x = torch.randn(3, 5, 64, generator=torch.Generator().manual_seed(1))
    own, theirs = ours(tiny, use_rslora=True), peft(tiny, use_rslora=True)
    checked = 0
    for one, other in pairs(own, theirs):
        assert one.scaling["default"] == other.scaling["default"] == 12 / 4**0.5
        if one.in_features == x.shape[-1]:
            for found, expected in zip(
                passed(one, x, "fp32"), passed(other, x, "fp32"), strict=True
            ):
                assert_same(found, expected)
            checked += 1
    assert checked > 4


def test_the_initialisation_is_the_one_that_is_named(tiny):
    def spread(**keys: Any) -> float:
        torch.manual_seed(0)
        lora = LoraConfig(r=8, dropout=0.0, **keys)
        model = make_trainable(base(tiny), "lora", lora, torch.float32)
        drawn = [m.lora_A["default"].weight for m in model.modules() if isinstance(m, LoraLayer)]
        return float(torch.cat([weight.flatten() for weight in drawn]).std())

    assert spread(init_lora_weights="gaussian") == pytest.approx(1 / 8, rel=0.05)
    assert spread() != pytest.approx(1 / 8, rel=0.05)
