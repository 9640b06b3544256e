"""DoRA, whole modules and chosen layers: the gradients of peft's own model, and a true plan."""

from dataclasses import replace
from math import prod
from typing import Any

import pytest
import torch
from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model
from torch.testing import assert_close

from loads import LOAD
from paribus.config.load import load
from paribus.config.schema import ArmConfig, LoraConfig, TrainingConfig
from paribus.config.spec import RunSpec
from paribus.design.matrix import expand
from paribus.errors import ConfigError
from paribus.models.fast import blocked
from paribus.models.fast.layers import load_adapter
from paribus.models.load import count_parameters, for_inference, load_model, make_trainable
from paribus.models.shapes import saved_modules, shape_of
from paribus.models.source import find_model
from paribus.planning.cost.memory import estimate
from paribus.planning.cost.peaks import training_moments
from paribus.planning.devices import device
from probed import look
from test_memory import DTYPES, bytes_saved
from training_cases import word_problems

CPU = torch.device("cpu")
IDS = torch.arange(6, 86)[None]
OPTIONS: dict[str, dict[str, Any]] = {
    "DoRA": {"use_dora": True},
    "embedding and head": {"modules_to_save": ("embed_tokens", "lm_head")},
    "norms": {"modules_to_save": ("layernorm", "norm")},
    "a layer trained whole": {"targets": ("q_proj", "v_proj"), "modules_to_save": ("down_proj",)},
    "the upper layer": {"layers_to_transform": (1,)},
    "PiSSA": {"init_lora_weights": "pissa"},
    "all": {"use_dora": True, "modules_to_save": ("embed_tokens",), "layers_to_transform": (1,)},
}


def base(folder, precision: str = "fp32") -> Any:
    return load_model(find_model(str(folder), None), DTYPES[precision], CPU)


def moved(model: Any) -> Any:
    """Weights as training leaves them: lora_B is not zero, lengths are not those of the base."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            noise = torch.randn_like(parameter)
            parameter.data = parameter.data + (0.1 if "lora_" in name else 0.01) * noise
    return model


def ours(folder, precision: str = "fp32", dropout: float = 0.0, **keys: Any) -> Any:
    torch.manual_seed(1)
    lora = LoraConfig(r=4, alpha=12, dropout=dropout, **keys)
    return moved(make_trainable(base(folder, precision), "lora", lora, DTYPES[precision]))


def peft(folder, **options: Any) -> Any:
    torch.manual_seed(1)
    keys = {"targets": LoraConfig().targets, **options}
    keys["target_modules"] = keys.pop("targets")
    lists = {key: list(value) if isinstance(value, tuple) else value for key, value in keys.items()}
    config = PeftLoraConfig(r=4, lora_alpha=12, **lists)
    return moved(get_peft_model(base(folder), config))


def passed(model: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    loss = model(input_ids=IDS, labels=IDS).loss
    loss.backward()
    return loss, {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "PiSSA"])
def test_loss_and_gradients_are_those_of_pefts_own_model(tiny, name):
    loss, gradients = passed(ours(tiny, **OPTIONS[name]))
    expected, theirs = passed(peft(tiny, **OPTIONS[name]))
    assert_close(loss, expected, rtol=1e-6, atol=0)
    assert gradients.keys() == theirs.keys()
    for weight, gradient in theirs.items():
        assert gradient.abs().max() > 0
        assert_close(gradients[weight], gradient, rtol=0, atol=2e-5 * gradient.abs().max().item())


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("name", OPTIONS)
def test_what_is_saved_and_loaded_is_the_same_to_the_bit(tiny, tmp_path, name, precision):
    """Also as it decodes: with weights in blocks, and DoRA's scales computed once."""
    model, compute = ours(tiny, precision, **OPTIONS[name]), DTYPES[precision]
    tested = for_inference(model, compute)
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    loaded = for_inference(load_adapter(base(tiny, precision), tmp_path), compute)
    with torch.inference_mode():
        expected = tested(IDS).logits
        assert torch.equal(loaded(IDS).logits, expected)
        blocked.use(loaded)
        error = (loaded(IDS).logits - expected).norm() / expected.norm()
    assert error < {"fp32": 1e-5, "bf16": 0.02}[precision]


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("dropout", [0.0, 0.05])
@pytest.mark.parametrize("name", OPTIONS)
def test_the_plan_counts_what_trains_and_what_a_pass_keeps(tiny, name, dropout, precision):
    model = ours(tiny, precision, dropout, **OPTIONS[name])
    shape, lora = shape_of(str(tiny), None), LoraConfig(r=4, **OPTIONS[name])
    modules = saved_modules(lora.modules_to_save, shape.modules, lora.targets)
    asked = replace(
        LOAD, method="lora", precision=precision, steps=1, lora_r=4, lora_targets=lora.targets,
        lora_dropout=dropout, lora_layers=lora.layers_to_transform, dora=lora.use_dora,
        lora_starts=lora.starts_from_weights,
        whole=tuple(name for name in shape.weights if name.rpartition(".")[0] in modules),
        train_length=72, pass_tokens=3 * 72,
    )  # fmt: skip
    planned = estimate(shape, asked, device("h100-80gb"))
    assert (planned.trainable_parameters, planned.total_parameters) == count_parameters(model)
    moment = training_moments(shape, asked, "cuda")["loss"]
    saved = bytes_saved(model.train(), 3, 72, DTYPES[precision])
    head = 2 * shape.vocab * shape.hidden * asked.trains_whole("lm_head")
    copy = head if precision == "bf16" else 0
    kept = sum(moment["activations"]) + sum(moment["copies"]) - copy
    # Over it where the first layers keep less: angles and keys that reach nothing that trains.
    assert 0.99 * saved < kept < 1.05 * saved


def test_the_modules_of_a_shape_are_those_of_the_model(tiny):
    sizes = {
        name: tuple(tuple(p.shape) for p in module.parameters(recurse=False))
        for name, module in base(tiny).named_modules()
        if list(module.parameters(recurse=False))
    }
    modules = shape_of(str(tiny), None).modules
    assert modules == sizes
    tied = prod(modules["lm_head"][0])
    assert sum(prod(size) for of in modules.values() for size in of) - tied == sum(
        p.numel() for p in base(tiny).parameters()
    )


@pytest.mark.parametrize("name", ["DoRA", "embedding and head", "all"])
@pytest.mark.parametrize("precision", DTYPES)
def test_a_healthy_model_passes_the_probes(tiny, tmp_path, name, precision):
    lora = LoraConfig(r=4, **OPTIONS[name])
    model = make_trainable(base(tiny, precision), "lora", lora, DTYPES[precision])
    probed = look(model, word_problems(), tmp_path, precision=precision)
    assert probed.failures == ()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"modules_to_save": ("wte",)}, r"wte ends the name of no module.*\n.*embed_tokens"),
        ({"modules_to_save": ("q_proj",)}, "lora.targets gives q_proj an adapter"),
        ({"layers_to_transform": (0, 2)}, r"\[0, 2\] must name decoder layers, 0 to 1"),
        ({"layers_to_transform": ()}, r"\[\] must name decoder layers"),
    ],
)
def test_what_is_not_in_the_model_is_refused(tiny, keys, words):
    with pytest.raises(ConfigError, match=words):
        make_trainable(base(tiny), "lora", LoraConfig(**keys), torch.float32)


def test_vllm_is_refused_for_what_it_does_not_load(tiny, tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(
        f"model: {tiny}\nevaluation: {{engine: vllm}}\nbaseline: null\n"
        "data: {train_size: 9, test_size: 9}\n"
        "arms: {a: {lora.use_dora: true}, b: {method: full, lora.use_dora: true}}"
    )
    with pytest.raises(ConfigError) as refused:
        expand(load(file))
    assert refused.value.message.splitlines() == [
        f"{file}:2: arm a: evaluation.engine='vllm' with method=lora: vLLM loads plain LoRA "
        "adapters, and lora.use_dora makes another kind; set evaluation.engine=paribus"
    ]


def test_an_identity_holds_the_options_only_where_they_are_set():
    def lora(**keys: Any) -> dict[str, Any]:
        config = ArmConfig(lora=LoraConfig(**keys), training=TrainingConfig(learning_rate=1e-4))
        spec = RunSpec(experiment="x", arm="a", replicate=0, seed=0, config=config)
        return spec.identity()["lora"]

    assert lora().keys() == {"r", "alpha", "dropout", "targets"}
    assert lora(use_dora=True)["use_dora"] is True
    assert lora(modules_to_save=("lm_head",))["modules_to_save"] == ["lm_head"]
    assert lora(layers_to_transform=(0,))["layers_to_transform"] == [0]


def test_of_a_tied_pair_the_module_that_is_not_named_stays_as_it_was(tiny):
    model = ours(tiny, modules_to_save=("embed_tokens",))
    passed(model)
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1).step()
    untuned = base(tiny).get_output_embeddings().weight
    causal = model.get_base_model()
    assert torch.equal(causal.get_output_embeddings().weight, untuned)
    assert not torch.equal(causal.get_input_embeddings().weight, untuned)


@pytest.mark.parametrize(
    "text",
    [
        "lora: {target_modules: all-linear}\n",
        "lora.target_modules: all-linear\n",
        "matrix: {lora.target_modules: [all-linear]}\n",
        "arms: {one: {lora: {target_modules: all-linear}}}\n",
        "matrix: {method: {lora: {lora.target_modules: all-linear}}}\n",
    ],
)
def test_peft_s_name_of_the_targets_is_read_everywhere(tmp_path, text):
    (tmp_path / "x.yaml").write_text("data: {train_size: 8, test_size: 8}\n" + text)
    arms = expand(load(tmp_path / "x.yaml")).arms
    assert [arm.config.lora.targets for arm in arms if arm.config.method == "lora"] == [
        "all-linear"
    ]
    typed = load(tmp_path / "x.yaml", ["matrix={}", "arms={}", "lora.target_modules=[q_proj]"])
    assert typed.config.lora.targets == ("q_proj",)


def test_both_names_of_the_targets_are_refused(tmp_path):
    (tmp_path / "x.yaml").write_text("lora: {targets: all-linear, target_modules: [q_proj]}\n")
    with pytest.raises(ConfigError, match="target_modules and targets are one key"):
        load(tmp_path / "x.yaml")
