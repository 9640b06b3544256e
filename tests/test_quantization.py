"""LoRA on a 4-bit base (QLoRA): what is rounded, that it trains, and that it comes back."""

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from inside import paribus
from paribus.config.schema import LoraConfig
from paribus.errors import ConfigError, ModelError
from paribus.models.fast.layers import load_adapter
from paribus.models.load import (
    count_parameters,
    decoder_and_head,
    for_inference,
    load_model,
    make_trainable,
)
from paribus.models.source import find_model

bitsandbytes = pytest.importorskip("bitsandbytes")
Linear4bit = bitsandbytes.nn.Linear4bit

CPU = torch.device("cpu")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
IDS = torch.arange(6, 86)[None]


def loaded(folder: Path, precision: str = "bf16", quantization: str | None = "nf4"):
    return load_model(find_model(str(folder), None), DTYPES[precision], CPU, quantization)


def adapted(folder: Path, precision: str = "bf16", quantization: str | None = "nf4", scale=0.05):
    """A model with adapters as training leaves them: every trainable weight has moved."""
    torch.manual_seed(0)
    model = loaded(folder, precision, quantization)
    model = make_trainable(model, "lora", LoraConfig(dropout=0.0), DTYPES[precision])
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += scale * torch.randn_like(parameter)
    return model


def gradients(model) -> dict[str, torch.Tensor]:
    model.train().zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        model(input_ids=IDS, labels=IDS).loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


def copied(folder: Path, to: Path, **changes) -> Path:
    """A copy of the model in `folder` with other values in its config."""
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    config = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(config | changes))
    return to


@pytest.mark.parametrize("precision", DTYPES)
def test_precision_policy(tiny, precision):
    compute = DTYPES[precision]
    model = adapted(tiny, precision)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    frozen = {n: p.dtype for n, p in model.named_parameters() if not p.requires_grad}
    packed = {name for name, dtype in frozen.items() if dtype is torch.uint8}
    assert packed == {name for name in frozen if "proj" in name}
    assert len(packed) == 2 * 7
    assert {dtype for name, dtype in frozen.items() if name not in packed} == {compute}
    with torch.autocast("cpu", compute, enabled=precision == "bf16"):
        stack, head, _ = decoder_and_head(model)
        assert stack(input_ids=IDS).last_hidden_state.dtype is compute
    assert head.weight.dtype is compute

    before = {n: p.data.clone() for n, p in model.named_parameters() if n in packed}
    for_inference(model, compute)
    after = dict(model.named_parameters())
    assert all(torch.equal(before[name], after[name].data) for name in packed)
    assert {p.dtype for n, p in after.items() if n not in packed} == {compute}
    assert not any(p.requires_grad for p in after.values())


def test_weights_are_rounded_to_sixteen_values_a_block(tiny):
    """NF4: each 64 weights share a scale and 16 levels; normal weights move by about a tenth."""
    exact = dict(loaded(tiny, quantization=None).named_modules())
    errors = []
    for name, layer in loaded(tiny).named_modules():
        if isinstance(layer, Linear4bit):
            packed = layer.weight
            weight = bitsandbytes.functional.dequantize_4bit(
                packed.data, packed.quant_state
            ).float()
            assert max(len(block.unique()) for block in weight.reshape(-1, 64)) <= 16
            original = exact[name].weight.float()
            errors.append(((weight - original).norm() / original.norm()).item())
    assert len(errors) == 14
    assert 0.08 < min(errors) < max(errors) < 0.11


def test_a_head_of_its_own_is_not_rounded(tiny, tmp_path):
    untied = copied(tiny, tmp_path, tie_word_embeddings=False)
    weights = load_file(untied / "model.safetensors")
    head = torch.randn_like(weights["model.embed_tokens.weight"])
    save_file({**weights, "lm_head.weight": head}, untied / "model.safetensors", {"format": "pt"})
    model = loaded(untied)
    assert torch.equal(decoder_and_head(model)[1].weight, head.bfloat16())
    assert sum(isinstance(layer, Linear4bit) for layer in model.modules()) == 14


def test_lora_begins_with_the_same_adapters_on_either_base(tiny):
    four, sixteen = (adapted(tiny, quantization=kind, scale=0.0) for kind in ("nf4", None))
    started = dict(sixteen.named_parameters())
    adapters = [name for name, p in four.named_parameters() if p.requires_grad]
    assert len(adapters) == 2 * 14
    assert all(torch.equal(four.get_parameter(name), started[name]) for name in adapters)


@pytest.mark.filterwarnings("ignore:bitsandbytes..gemv_4bit:UserWarning")
@pytest.mark.skipif(
    not bitsandbytes.functional.has_avx512bf16(), reason="needs a CPU with AVX512-BF16"
)
@pytest.mark.parametrize(("kept", "low", "high"), [(True, 0.0, 0.0), (False, 0.3, 1.5)])
def test_an_evaluation_between_two_steps_leaves_gradients_alone(tiny, kept, low, high):
    """Without `_keep_layout` bitsandbytes repacks weights in eval mode, and gradients are wrong."""
    model = adapted(tiny)
    for layer in model.modules():
        if isinstance(layer, Linear4bit) and not kept:
            layer.support_avx512bf16_for_cpu = True
    before = gradients(model)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        model.eval()(IDS)
    after = gradients(model)
    wrong = sorted(((after[n] - before[n]).norm() / before[n].norm()).item() for n in before)
    assert low <= wrong[len(wrong) // 2] <= high


def test_recomputing_activations_gives_the_same_gradients(tiny):
    model = adapted(tiny)
    plain = gradients(model)
    model.activation_checkpointing_enable({"use_reentrant": False})
    again = gradients(model)
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    assert all(gradient.abs().max() > 0 for gradient in plain.values())


@pytest.mark.parametrize("precision", DTYPES)
def test_a_saved_adapter_gives_the_same_logits_to_the_bit(tiny, tmp_path, precision):
    compute = DTYPES[precision]
    model = adapted(tiny, precision)
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    reloaded = load_adapter(loaded(tiny, precision), tmp_path)
    on_exact_base = load_adapter(loaded(tiny, precision, None), tmp_path)
    with torch.inference_mode():
        logits = for_inference(model, compute)(IDS).logits
        assert torch.equal(logits, for_inference(reloaded, compute)(IDS).logits)
        assert (logits - for_inference(on_exact_base, compute)(IDS).logits).abs().max() > 0.01


def test_packed_weights_are_counted_each(tiny):
    exact = count_parameters(adapted(tiny, quantization=None))
    assert count_parameters(adapted(tiny)) == exact
    assert exact[1] - exact[0] == 91_200


def test_full_training_of_a_4_bit_model_is_refused(tiny):
    with pytest.raises(ConfigError, match="method='full' cannot train weights of 4 bits"):
        make_trainable(loaded(tiny), "full", LoraConfig(), torch.bfloat16)


def test_without_bitsandbytes_nothing_is_loaded(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ConfigError, match="bitsandbytes, which is not installed") as caught:
        loaded(tiny)
    assert "paribus[8bit]" in caught.value.remedy


@pytest.mark.parametrize("quantization", ["nf4", None])
def test_a_quantised_checkpoint_is_refused(tiny, tmp_path, quantization):
    stored = copied(tiny, tmp_path, quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(ModelError, match=r"already quantised \(gptq\)"):
        loaded(stored, quantization=quantization)


SLIDING, FULL = "sliding_attention", "full_attention"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 1, "layer_types": [FULL]}, "unexpected_keys.*layers.1"),
        ({"num_hidden_layers": 3, "layer_types": [SLIDING, FULL, FULL]}, "missing_keys.*layers.2"),
        ({"intermediate_size": 96}, "mismatched_keys.*128.*96"),
    ],
    ids=["fewer-layers", "more-layers", "another-shape"],
)
def test_weights_that_do_not_match_the_config_are_refused(tiny, tmp_path, changes, message):
    with pytest.raises(ModelError, match=message):
        loaded(copied(tiny, tmp_path, **changes))


def test_full_fine_tuning_against_qlora_on_a_cpu(tiny, tmp_path):
    experiment = {
        "model": str(tiny),
        "data": {"train_size": 16, "test_size": 2, "max_steps": 1},
        "training": {"batch_size": 2, "micro_batch": 2, "learning_rate": 0.02},
        "evaluation": {"max_new_tokens": 8},
        "matrix": {
            "method": {"full": {"training.learning_rate": 1e-3}, "lora": {"quantization": "nf4"}}
        },
        "baseline": None,
    }
    (tmp_path / "four.yaml").write_text(yaml.safe_dump(experiment))
    done = paribus("run", "four.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gemm_4bit" not in done.stdout + done.stderr  # bitsandbytes's own advice
    assert done.stderr == ""

    run, other = (tmp_path / "runs" / "four" / arm / "seed-0" for arm in ("lora", "full"))
    result, plain = (json.loads((one / "result.json").read_text()) for one in (run, other))
    # Before the first step the arms differ by the rounding of the base and by nothing else.
    assert 0 < abs(result["training"]["first_loss"] - plain["training"]["first_loss"]) < 0.1
    compute = plain["precision"]["compute"]  # as this processor multiplies natively
    assert compute in {"bf16", "fp32"}
    assert plain["precision"] == {"compute": compute, "trainable": "fp32", "frozen": "none"}
    assert result["precision"] == {"compute": compute, "trainable": "fp32", "frozen": "nf4"}
    assert result["training"]["final_loss"] < result["training"]["first_loss"] - 0.2
    adapters = result["training"]["trainable_parameters"]
    assert result["training"]["total_parameters"] == 91_200 + adapters
    assert plain["training"]["trainable_parameters"] == 91_200
    assert "full − lora" in done.stdout
    texts = (run / "generations" / "zero_shot-raw.jsonl").read_text().splitlines()
    assert [bool(json.loads(line)["text"]) for line in texts] == [True] * 2
    assert load_adapter(loaded(tiny), run / "weights").peft_config["default"].r == 16
