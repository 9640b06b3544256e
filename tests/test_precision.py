"""Loading, precision and saving: the table of `models/load.py`, and weights that come back."""

import json
from pathlib import Path

import pytest
import torch

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
from paribus.models.source import ModelSource, find_model

CPU = torch.device("cpu")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
IDS = torch.arange(6, 86)[None]


def loaded(folder: Path, precision: str):
    return load_model(find_model(str(folder), None), DTYPES[precision], CPU)


def tuned(folder: Path, method: str, precision: str):
    """A model as training leaves it: every trainable weight has moved."""
    model = make_trainable(loaded(folder, precision), method, LoraConfig(), DTYPES[precision])
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize(
    ("method", "precision", "trainable", "frozen"),
    [
        ("full", "bf16", {torch.float32}, set()),
        ("lora", "bf16", {torch.float32}, {torch.bfloat16}),
        ("full", "fp32", {torch.float32}, set()),
        ("lora", "fp32", {torch.float32}, {torch.float32}),
    ],
)
def test_precision_policy(tiny, method, precision, trainable, frozen):
    model = tuned(tiny, method, precision)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == trainable
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == frozen
    with torch.autocast("cpu", DTYPES[precision], enabled=precision == "bf16"):
        stack, _, _ = decoder_and_head(model)
        assert stack(input_ids=IDS).last_hidden_state.dtype is DTYPES[precision]
    for_inference(model, DTYPES[precision])
    assert {(p.dtype, p.requires_grad) for p in model.parameters()} == {(DTYPES[precision], False)}
    assert not model.training
    frequencies = [buffer for name, buffer in model.named_buffers() if "inv_freq" in name]
    assert {buffer.dtype for buffer in frequencies} == {torch.float32}


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("method", ["full", "lora"])
def test_saved_weights_give_the_same_logits_to_the_bit(tiny, tmp_path, method, precision):
    compute = DTYPES[precision]
    model = tuned(tiny, method, precision)
    if method == "lora":
        model.save_pretrained(tmp_path, save_embedding_layers=False)
        for_inference(model, compute)
        reloaded = load_adapter(loaded(tiny, precision), tmp_path)
    else:
        for_inference(model, compute).save_pretrained(tmp_path)
        reloaded = loaded(tmp_path, precision)
    for_inference(reloaded, compute)
    untrained = for_inference(loaded(tiny, precision), compute)
    with torch.inference_mode():
        logits = model(IDS).logits
        assert torch.equal(logits, reloaded(IDS).logits)
        assert (logits - untrained(IDS).logits).abs().max() > 0.1


def test_parameters_are_counted_once(tiny):
    """The head is tied to the embedding; LoRA of rank 16 on seven matrices in two layers."""
    assert count_parameters(tuned(tiny, "full", "fp32")) == (91_200, 91_200)
    shapes = [(64, 64), (64, 32), (64, 32), (64, 64), (64, 128), (64, 128), (128, 64)]
    adapters = 2 * sum(16 * (rows + columns) for rows, columns in shapes)
    assert count_parameters(tuned(tiny, "lora", "fp32")) == (adapters, 91_200 + adapters)


def test_adapters_for_no_layer_of_the_model_are_refused(tiny):
    lora = LoraConfig(targets=("q_proj", "k_prj"))
    with pytest.raises(
        ConfigError, match="names no linear layer of this model's decoder: k_prj"
    ) as caught:
        make_trainable(loaded(tiny, "fp32"), "lora", lora, torch.float32)
    assert caught.value.remedy.startswith("choose from down_proj, gate_proj, k_proj")


SLIDING, FULL = "sliding_attention", "full_attention"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 1, "layer_types": [FULL]}, "unexpected_keys.*layers.1"),
        ({"num_hidden_layers": 3, "layer_types": [SLIDING, FULL, FULL]}, "missing_keys.*layers.2"),
        ({"intermediate_size": 96}, "mismatched_keys.*128.*96"),
        ({"model_type": "gemma-99"}, "gemma-99"),
    ],
    ids=["fewer-layers", "more-layers", "another-shape", "no-kind"],
)
def test_weights_that_do_not_match_the_config_are_refused(tiny, tmp_path, changes, message):
    for file in tiny.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    assert set(changes) <= set(config)
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ModelError, match=message):
        loaded(tmp_path, "fp32")


@pytest.mark.parametrize("kept", [100, -100], ids=["head", "tail-lost"])
def test_weights_cut_short_are_refused(tiny, tmp_path, kept):
    for file in tiny.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ModelError, match="cannot be loaded: .*deserializing header") as caught:
        load_model(ModelSource(path=tmp_path, identity="?"), torch.float32, CPU)
    assert caught.value.remedy.startswith("check that the folder is complete")
