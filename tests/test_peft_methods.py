"""Methods of peft beside LoRA: stated, checked, planned, probed, stored, loaded again."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from loads import LOAD
from paribus.config.load import load
from paribus.config.peft_method import SUPPORTED, canonical_method, parse_method
from paribus.config.schema import LoraConfig
from paribus.design.matrix import expand
from paribus.errors import ConfigError
from paribus.models.fast import blocked
from paribus.models.fast.layers import load_adapter
from paribus.models.load import count_parameters, for_inference, load_model, make_trainable
from paribus.models.peft_methods import added, config_of
from paribus.models.shapes import shape_of
from paribus.models.source import find_model
from paribus.planning.cost.memory import estimate
from paribus.planning.cost.peaks import training_moments
from paribus.planning.devices import device
from paribus.planning.survey import refuse_wrong_methods
from probed import look
from test_memory import DTYPES, bytes_saved
from training_cases import word_problems

CPU = torch.device("cpu")
IDS = torch.arange(6, 86)[None]
TARGETS = {"target_modules": ["q_proj", "v_proj", "down_proj"]}
KEYS: dict[str, dict[str, Any]] = {
    "C3A": {"block_size": 32, **TARGETS},
    "HIRA": {"r": 4, **TARGETS},
    "IA3": {**TARGETS, "feedforward_modules": ["down_proj"]},
    "LN_TUNING": {},
    "ROAD": {"group_size": 32, **TARGETS},
    "VBLORA": {"vector_length": 32, "num_vectors": 16, "topk": 2, **TARGETS},
    "WAVEFT": {"n_frequency": 64, **TARGETS},
}  # fmt: skip
METHODS = {name: canonical_method({"peft": name, **KEYS.get(name, TARGETS)}, "x.yaml:1")
           for name in SUPPORTED}  # fmt: skip


def base(folder, precision: str = "fp32") -> Any:
    return load_model(find_model(str(folder), None), DTYPES[precision], CPU)


def ours(folder, name: str, precision: str = "fp32") -> Any:
    torch.manual_seed(0)
    return make_trainable(base(folder, precision), METHODS[name], LoraConfig(), DTYPES[precision])


@pytest.mark.parametrize(
    ("stated", "text", "parsed"),
    [
        ({"peft": "(IA)³"}, "IA3", ("IA3", {})),
        ({"peft": "VeRA", "r": 64}, 'VERA {"r": 64}', ("VERA", {"r": 64})),
        ({"peft": "LN tuning"}, "LN_TUNING", ("LN_TUNING", {})),
        ("loha", "LOHA", ("LOHA", {})),
        ("lora", "lora", None),
        ("sideways", "sideways", None),  # the schema refuses it
    ],
)
def test_a_method_is_one_text(stated, text, parsed):
    assert canonical_method(stated, "x.yaml:1") == text
    if parsed:
        assert parse_method(text) == parsed


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"peft": "prompt tuning"}, r"x.yaml:3: method: .* puts virtual tokens before each text"),
        ({"peft": "AdaLoRA"}, "x.yaml:3: .*moves ranks between layers at every step"),
        ({"peft": "LoRA"}, "x.yaml:3: .*is `method: lora`, with its keys under lora:"),
        ({"peft": "Sideways"}, "x.yaml:3: method has peft='Sideways', which was not tried"),
        ({"r": 4}, "x.yaml:3: method={'r': 4} names no method of peft's"),
    ],
)
def test_a_method_that_cannot_be_run_is_refused_with_the_reason(stated, words):
    with pytest.raises(ConfigError, match=words):
        canonical_method(stated, "x.yaml:3")


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ('VERA {"rank": 4}', "peft's VERA has no key rank\n.*it has r, target_modules"),
        ('VERA {"r": "x"}', "r of peft's VERA must be int, got 'x'"),
        ('VERA {"modules_to_save": ["lm_head"]}', "has no key modules_to_save"),
        ('HRA {"layers_pattern": "x"}', "peft's HRA cannot be added: .*layers_to_transform"),
    ],
)
def test_pefts_own_class_checks_the_keys(method, words):
    with pytest.raises(ConfigError, match=words):
        config_of(method)


def test_a_layer_that_is_not_there_is_refused_as_peft_says_it(tiny):
    with pytest.raises(ConfigError, match="cannot be added: Target modules .*wte.* not found"):
        added(
            shape_of(str(tiny), None), 'IA3 {"target_modules": ["wte"], "feedforward_modules": []}'
        )


MATRIX = """
model: {tiny}
data: {{train_size: 9, test_size: 9}}
training: {{learning_rate: 1e-3}}
matrix:
  method: [lora, {{peft: IA3}}, {{peft: VeRA, r: 64}}]
"""


def test_arms_of_a_matrix_have_readable_names_and_a_fault_its_line(tiny, tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(MATRIX.format(tiny=tiny))
    design = expand(load(file))
    assert [arm.name for arm in design.arms] == ["baseline", "lora", "IA3", "VERA-r-64"]
    assert design.runs[3].identity()["method"] == 'VERA {"r": 64}'
    assert "lora" not in design.runs[3].identity()
    refuse_wrong_methods(design)

    file.write_text(MATRIX.replace("r: 64", "rank: 64").format(tiny=tiny))
    with pytest.raises(ConfigError, match=rf"^{file}:6: arm VERA-rank-64: .* no key rank"):
        refuse_wrong_methods(expand(load(file)))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("{}", "x.yaml:3: arm a: method=IA3 has no learning rate of its own"),
        ("{training.learning_rate: 1, quantization: nf4}", "in 4 bits is tried with LoRA alone"),
        ("{training.learning_rate: 1, evaluation.engine: vllm}", "vLLM loads LoRA adapters alone"),
    ],
)
def test_what_an_arm_by_peft_lacks_or_cannot_have(tiny, tmp_path, keys, words):
    file = tmp_path / "x.yaml"
    text = f"model: {tiny}\ndata: {{train_size: 9, test_size: 9}}\nmethod: {{peft: IA3}}\n"
    file.write_text(f"{text}baseline: null\narms: {{a: {keys}}}")
    with pytest.raises(ConfigError, match=words):
        expand(load(file))


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("name", SUPPORTED)
def test_a_healthy_model_passes_the_probes(tiny, tmp_path, name, precision):
    model = ours(tiny, name, precision)
    probed = look(model, word_problems(), tmp_path, precision=precision, method=METHODS[name])
    assert probed.failures == ()


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("name", SUPPORTED)
def test_what_is_saved_and_loaded_is_the_same_to_the_bit(tiny, tmp_path, name, precision):
    model, compute = ours(tiny, name, precision), DTYPES[precision]
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.01 * torch.randn_like(parameter)
    tested = for_inference(model, compute)
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    loaded = for_inference(load_adapter(base(tiny, precision), tmp_path), compute)
    with torch.inference_mode():
        expected = tested(IDS).logits
        assert torch.equal(loaded(IDS).logits, expected)
        blocked.use(loaded)
        error = (loaded(IDS).logits - expected).norm() / expected.norm()
        changed = (base(tiny, precision)(IDS).logits - expected).norm()
    assert error < {"fp32": 1e-5, "bf16": 0.02}[precision]
    assert changed > 0


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("name", SUPPORTED)
def test_the_plan_counts_what_trains_and_no_less_than_a_pass_keeps(tiny, name, precision):
    model = ours(tiny, name, precision)
    shape = shape_of(str(tiny), None)
    own = added(shape, METHODS[name])
    asked = replace(
        LOAD, method=METHODS[name], precision=precision, steps=1, train_length=72,
        pass_tokens=3 * 72, lora_targets=own.targets, peft_sizes=own.trained,
        peft_frozen=own.frozen, peft_kept=own.kept, peft_passing=own.passing,
    )  # fmt: skip
    planned = estimate(shape, asked, device("h100-80gb"))
    assert (planned.trainable_parameters, planned.total_parameters) == count_parameters(model)
    moment = training_moments(shape, asked, "cuda")["loss"]
    kept = sum(moment["activations"]) + sum(moment["copies"])
    assert kept >= bytes_saved(model.train(), 3, 72, DTYPES[precision])
