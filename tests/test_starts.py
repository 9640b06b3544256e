"""PiSSA and OLoRA: trained as peft trains them, stored as plain adapters of the untouched model."""

from typing import Any

import pytest
import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch.testing import assert_close

from paribus.config.load import load
from paribus.config.schema import ArmConfig, DataConfig, LoraConfig, TrainingConfig
from paribus.design.matrix import expand
from paribus.errors import ConfigError
from paribus.models.fast.layers import load_adapter
from paribus.models.load import as_tested, for_inference, load_model, make_trainable
from paribus.models.shapes import shape_of
from paribus.models.source import find_model
from paribus.planning.devices import device
from paribus.planning.forecast import forecast
from paribus.training.eva import start_from_inputs
from paribus.training.passes import collate
from probed import look
from test_memory import DTYPES
from training_cases import word_problems

CPU = torch.device("cpu")
IDS = torch.arange(6, 86)[None]
STARTS = ["pissa", "pissa_niter_4", "olora"]


def base(folder, precision: str = "fp32") -> Any:
    return load_model(find_model(str(folder), None), DTYPES[precision], CPU)


def ours(folder, init: str, precision: str = "fp32", **keys: Any) -> Any:
    torch.manual_seed(3)
    lora = LoraConfig(r=4, alpha=12, dropout=0.0, init_lora_weights=init, **keys)
    return make_trainable(base(folder, precision), "lora", lora, DTYPES[precision])


def peft(folder, init: str) -> Any:
    torch.manual_seed(3)
    names = list(LoraConfig().targets)
    config = PeftLoraConfig(r=4, lora_alpha=12, target_modules=names, init_lora_weights=init)
    return get_peft_model(base(folder), config)


def trained(model: Any, steps: int = 5, precision: str = "fp32") -> Any:
    """A few steps of SGD, which follows the gradient's size too."""
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", enabled=precision == "bf16"):
            loss = model(input_ids=IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
    return model


def logits(model: Any) -> torch.Tensor:
    bf16 = next(model.parameters()).dtype is torch.bfloat16
    with torch.no_grad(), torch.autocast("cpu", enabled=bf16):
        found: torch.Tensor = model(IDS).logits
    return found


@pytest.mark.parametrize("init", ["pissa", "olora"])  # iterations begin with random numbers
def test_training_is_that_of_pefts_own_model(tiny, init):
    mine, theirs = trained(ours(tiny, init)), trained(peft(tiny, init))
    weights = dict(theirs.named_parameters())
    checked = 0
    for name, weight in mine.named_parameters():
        if weight.requires_grad:
            assert_close(weight, weights[name], rtol=0, atol=1e-4 * weight.abs().max().item())
            checked += 1
    assert checked == 28
    assert_close(logits(mine), logits(theirs), rtol=0, atol=1e-4)
    assert (logits(mine) - logits(base(tiny))).abs().max() > 0.1


@pytest.mark.parametrize("init", STARTS)
def test_before_the_first_step_the_model_is_the_untuned_one(tiny, init):
    model, untouched = ours(tiny, init), base(tiny)
    assert_close(logits(model), logits(untouched), rtol=0, atol=1e-5)
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    assert all(float(layer.lora_B["default"].weight.detach().abs().max()) > 0 for layer in layers)
    names = dict(untouched.named_parameters())
    bases = [(n, p) for n, p in model.get_base_model().named_parameters() if "base_layer" in n]
    kept = [n for n, p in bases if torch.equal(p, names[n.replace(".base_layer", "")])]
    assert len(kept) == len(layers)


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("init", STARTS)
def test_the_stored_adapter_gives_the_tuned_model_on_the_untouched_base(
    tiny, tmp_path, init, rslora, precision
):
    model, compute = ours(tiny, init, precision, use_rslora=rslora), DTYPES[precision]
    trained(model, precision=precision)
    tuned = logits(model).float()
    tested = logits(for_inference(model, compute))
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    assert torch.equal(
        logits(for_inference(load_adapter(base(tiny, precision), tmp_path), compute)), tested
    )
    moved = (tuned - logits(base(tiny, precision)).float()).norm()
    assert (tested.float() - tuned).norm() < {"fp32": 1e-3, "bf16": 0.2}[precision] * moved
    if precision == "fp32":
        by_peft = PeftModel.from_pretrained(base(tiny), tmp_path)
        assert by_peft.peft_config["default"].r == 8
        assert_close(logits(by_peft), tested, rtol=0, atol=1e-5)


@pytest.mark.parametrize("init", STARTS)
def test_what_was_tested_in_between_changes_nothing(tiny, init):
    model = trained(ours(tiny, init, "bf16"), 1, "bf16")
    before = {name: p.clone() for name, p in model.named_parameters()}
    expected = logits(model)
    with as_tested(model, torch.bfloat16):
        inside = logits(model)
        assert model.peft_config["default"].r == 8
    assert not torch.equal(inside, expected)
    assert model.peft_config["default"].r == 4
    assert {n: torch.equal(p, before[n]) for n, p in model.named_parameters()} == dict.fromkeys(
        before, True
    )
    assert torch.equal(logits(model), expected)


@pytest.mark.parametrize(("init", "precision"), [("pissa", "fp32"), ("olora", "bf16")])
def test_a_healthy_model_passes_the_probes(tiny, tmp_path, init, precision):
    model = ours(tiny, init, precision)
    assert look(model, word_problems(), tmp_path, precision=precision).failures == ()


@pytest.mark.parametrize("precision", DTYPES)
def test_eva_starts_from_what_enters_each_layer(tiny, precision):
    """The directions are those of a PCA of all inputs at once, and are found again."""
    examples, compute = word_problems(), DTYPES[precision]
    models = [ours(tiny, "eva", precision), ours(tiny, "eva", precision, targets=("down_proj",))]
    for model in models:
        torch.manual_seed(7)  # the order of any random numbers does not matter
        start_from_inputs(model, examples, compute)
        assert model.peft_config["default"].init_lora_weights is True
        assert all(p.requires_grad == ("lora_" in name) for name, p in model.named_parameters())
    assert_close(logits(models[0]), logits(base(tiny, precision)), rtol=0, atol=0)
    found = [[m for m in model.modules() if isinstance(m, LoraLayer)] for model in models]
    (last,) = [m.lora_A["default"].weight for m in found[1][1:]]
    same = next(m for m in reversed(found[0]) if m.in_features == last.shape[1] == 128)
    assert torch.equal(same.lora_A["default"].weight, last)

    seen: list[torch.Tensor] = []
    layer = found[0][-1]
    hook = layer.register_forward_hook(lambda _m, inputs, _out: seen.append(inputs[0].float()))
    batch = collate(examples)
    labels = batch.pop("labels")
    with torch.no_grad(), torch.autocast("cpu", enabled=precision == "bf16"):
        models[0].get_base_model().get_decoder()(**batch, use_cache=False)
    hook.remove()
    inputs = seen[0][labels != -100]
    variance = (inputs - inputs.mean(0)).pow(2).sum()
    best = torch.linalg.svdvals(inputs - inputs.mean(0))[:4].pow(2).sum() / variance
    along = (inputs - inputs.mean(0)) @ layer.lora_A["default"].weight.T
    assert along.pow(2).sum() / variance > 0.9 * best


def test_eva_wants_more_target_tokens_than_directions(tiny):
    model = make_trainable(base(tiny), "lora", LoraConfig(r=32), torch.float32)
    with pytest.raises(ConfigError, match=r"target tokens, and lora.r=32 directions need 128\n"):
        start_from_inputs(model, word_problems()[:1], torch.float32)


def test_a_rank_over_a_layers_width_is_refused(tiny):
    lora = LoraConfig(r=40, init_lora_weights="pissa")
    with pytest.raises(ConfigError, match=r"40 directions .*k_proj has 32\n.*lora.r=32 or less"):
        make_trainable(base(tiny), "lora", lora, torch.float32)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("lora.use_dora: true", "DoRA's row lengths; set lora.use_dora=false"),
        ("quantization: nf4", "4 bits give back only rounded; set quantization=null"),
    ],
)
def test_what_peft_cannot_give_back_is_refused(tiny, tmp_path, keys, words):
    file = tmp_path / "x.yaml"
    file.write_text(
        f"model: {tiny}\nbaseline: null\ndata: {{train_size: 9, test_size: 9}}\n"
        f"arms: {{a: {{lora.init_lora_weights: olora, {keys}}}}}"
    )
    with pytest.raises(ConfigError, match=words):
        expand(load(file))


def test_a_plan_refuses_a_rank_that_no_layer_has():
    """Before anything is loaded: by the shape of Gemma 3 270M alone."""
    config = ArmConfig(
        lora=LoraConfig(r=300, init_lora_weights="pissa"),
        training=TrainingConfig(micro_batch=8, precision="fp32", checkpointing=False),
        data=DataConfig(train_size=8, test_size=8),
    )
    with pytest.raises(ConfigError, match="300 directions .lora.r., and k_proj has 256"):
        forecast(config, None, 0, shape_of("gemma-3-270m", None), device("h100"))
