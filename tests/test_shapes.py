"""Shapes from configs, compared with what transformers and peft build from the same configs."""

import json
from math import prod
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from paribus.errors import ConfigError
from paribus.files import read_json
from paribus.models.configs import CONFIGS, MODEL_FAMILIES
from paribus.models.shapes import Shape, read_shape, shape_of

SIZES = {"hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 7}
HEADS = {"num_attention_heads": 6, "num_key_value_heads": 2, "vocab_size": 301}

FAMILIES = {
    "gemma": {"model_type": "gemma", "head_dim": 8},
    "gemma, biases": {"model_type": "gemma", "head_dim": 8, "attention_bias": True},
    "gemma2": {"model_type": "gemma2", "head_dim": 24, "sliding_window": 32},
    "gemma2, untied": {"model_type": "gemma2", "head_dim": 24, "tie_word_embeddings": False},
    "gemma3": {"model_type": "gemma3_text", "head_dim": 8, "final_logit_softcapping": 20.0},
    "gemma3, every third": {"model_type": "gemma3_text", "sliding_window_pattern": 3},
    "gemma3, listed": {
        "model_type": "gemma3_text",
        "layer_types": ["full_attention"] * 5 + ["sliding_attention"] * 2,
    },
    "llama": {"model_type": "llama"},
    "llama, tied": {"model_type": "llama", "tie_word_embeddings": True, "head_dim": 8},
    "llama, biases": {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
    "llama, all heads": {"model_type": "llama", "num_key_value_heads": None},
    "mistral": {"model_type": "mistral"},
    "mistral, no window": {"model_type": "mistral", "sliding_window": None},
    "qwen2": {"model_type": "qwen2"},
    "qwen2, sliding": {"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 3},
    "qwen2, all heads": {"model_type": "qwen2", "num_key_value_heads": None},
    "qwen3": {"model_type": "qwen3", "tie_word_embeddings": True},
    "qwen3, biases": {"model_type": "qwen3", "head_dim": 24, "attention_bias": True},
}


def built(config: dict[str, Any]) -> tuple[Any, nn.Module]:
    """transformers' config and model, without memory for weights."""
    made = AutoConfig.for_model(**config)
    with torch.device("meta"):
        return made, AutoModelForCausalLM.from_config(made)


def count(model: nn.Module, ends: tuple[str, ...] = ("",)) -> int:
    return sum(p.numel() for name, p in model.named_parameters() if name.endswith(ends))


@pytest.mark.parametrize("config", [SIZES | HEADS | c for c in FAMILIES.values()], ids=FAMILIES)
def test_a_shape_counts_what_transformers_builds(config: dict[str, Any]) -> None:
    made, model = built(config)
    shape = read_shape(config, "folder")
    layers = tuple(f"{name}.weight" for name in shape.linears)
    assert shape.parameters == count(model)
    assert shape.embedding_parameters == count(model, ("embed_tokens.weight",))
    assert shape.head_parameters == count(model, ("lm_head.weight",))
    assert shape.linear_parameters == count(model, layers)
    assert shape.other_parameters == count(model, ("norm.weight", "layernorm.weight", "bias"))
    first = model.get_decoder().layers[0]
    linears = {
        n.rpartition(".")[2]: m for n, m in first.named_modules() if isinstance(m, nn.Linear)
    }
    assert shape.linears == {n: (m.in_features, m.out_features) for n, m in linears.items()}
    assert shape.context == made.max_position_embeddings
    assert shape.softcap == getattr(made, "final_logit_softcapping", None)
    assert shape.architecture == type(model).__name__


@pytest.mark.parametrize("config", [SIZES | HEADS | c for c in FAMILIES.values()], ids=FAMILIES)
def test_windows_are_where_transformers_has_them(config: dict[str, Any]) -> None:
    made, model = built(config)
    shape = read_shape(config, "folder")
    windows = [getattr(layer.self_attn, "sliding_window", None) for layer in model.model.layers]
    if config["model_type"] == "mistral":  # it keeps one window, in the config
        windows = [made.sliding_window] * 7
    assert shape.sliding_layers == sum(window is not None for window in windows)
    assert {shape.sliding_window, None} >= {*windows}


@pytest.mark.parametrize("config", [SIZES | HEADS | c for c in FAMILIES.values()], ids=FAMILIES)
def test_a_saved_config_has_the_shape_of_the_one_it_was_made_from(config: dict[str, Any]) -> None:
    made, _ = built(config)
    assert read_shape(json.loads(made.to_json_string()), "folder") == read_shape(config, "folder")


@pytest.mark.parametrize("kind", MODEL_FAMILIES)
def test_what_a_config_leaves_out_is_as_in_transformers(kind: str) -> None:
    sizes = {"hidden_size": 512, "intermediate_size": 64, "num_hidden_layers": 31}
    short = {"model_type": kind, **sizes}
    full = json.loads(AutoConfig.for_model(**short).to_json_string())
    assert {"vocab_size", "num_attention_heads", "max_position_embeddings"} <= set(full)
    assert read_shape(short, "folder") == read_shape(full, "folder")
    assert read_shape(short, "folder").parameters == count(built(short)[1])


@pytest.mark.parametrize("targets", [("q_proj",), ("v_proj", "o_proj", "down_proj"), None])
@pytest.mark.parametrize("name", ["gemma2", "gemma3", "llama", "qwen2", "qwen3"])
def test_adapters_are_counted_as_peft_makes_them(name: str, targets: tuple[str, ...] | None):
    from peft import LoraConfig, get_peft_model

    config = SIZES | HEADS | FAMILIES[name]
    shape = read_shape(config, "folder")
    targets = targets or tuple(shape.linears)
    with torch.device("meta"):
        adapted = get_peft_model(built(config)[1], LoraConfig(r=3, target_modules=list(targets)))
    sizes = shape.adapter_sizes(3, targets) * shape.layers
    assert sum(map(prod, sizes)) == adapted.get_nb_trainable_parameters()[0]


def test_adapters_on_layers_no_decoder_layer_has_are_refused() -> None:
    shape = shape_of("google/gemma-2b", None)
    with pytest.raises(ConfigError, match=r"decoder: c_attn, lm_head\n.*q_proj, .*down_proj"):
        shape.adapter_sizes(8, ("q_proj", "lm_head", "c_attn"))


def test_a_token_takes_keys_and_values_in_every_layer() -> None:
    # Gemma 3 270M: 18 layers, one head of 256, keys and values, two bytes each
    assert shape_of("gemma-3-270m", None).kv_bytes_per_token(2) == 18 * 2 * 256 * 2


VISION = {
    "model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 48,
    "num_attention_heads": 2, "num_hidden_layers": 1, "image_size": 28, "patch_size": 14,
}  # fmt: skip


def test_of_a_model_with_images_the_text_part_is_read() -> None:
    text = SIZES | {"vocab_size": 301, "tie_word_embeddings": False}  # the top level decides
    config = {
        "model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"],
        "torch_dtype": "bfloat16", "text_config": text, "vision_config": VISION,
    }  # fmt: skip
    _, model = built(config)
    shape = read_shape(config, "folder")
    assert shape.parameters == count(model.get_decoder()) < count(model)
    assert shape.tied
    assert count(model, ("lm_head.weight",)) == 0
    assert shape.architecture == "Gemma3ForConditionalGeneration, text part"
    assert (shape.model_type, shape.stored, shape.sliding_layers) == ("gemma3_text", "bfloat16", 6)


# Parameters as published: the Hub's counts of safetensors, a GGUF's parameter count, or keras-hub's
# presets, as public repositories quote them. Gemma 3 4B and 12B hold images too: text alone is
# published for 4B only, with 262,144 rows of embedding; the Hub's checkpoint has 64 more.
TEXT_4B = 3_880_099_328 + 64 * 2560
IMAGES_4B = 4_300_079_472 - TEXT_4B
IMAGES_12B = IMAGES_4B + 1152 * (3840 - 2560)  # a wider projection after the same tower
PUBLISHED = {
    "google/gemma-2b": 2_506_172_416,
    "google/gemma-7b": 8_537_680_896,
    "google/gemma-2-2b": 2_614_341_888,
    "google/gemma-2-9b": 9_241_705_984,
    "google/gemma-3-270m": 268_098_176,
    "google/gemma-3-1b-pt": 999_885_952,
    "google/gemma-3-4b-pt": TEXT_4B,
    "google/gemma-3-12b-pt": 12_187_325_040 - IMAGES_12B,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Llama-3.2-3B": 3_212_749_824,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-1.5B": 1_543_714_304,
    "Qwen/Qwen2.5-3B": 3_085_938_688,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-1.7B": 1_720_574_976,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "HuggingFaceTB/SmolLM2-135M": 134_515_008,
    "HuggingFaceTB/SmolLM2-360M": 361_821_120,
    "HuggingFaceTB/SmolLM2-1.7B": 1_711_376_384,
}
TUNED = {
    "google/gemma-2b": ["google/gemma-2b-it", "google/gemma-1.1-2b-it"],
    "google/gemma-7b": ["google/gemma-7b-it", "google/gemma-1.1-7b-it"],
    "google/gemma-3-1b-pt": ["google/gemma-3-1b-it"],
    "google/gemma-3-4b-pt": ["google/gemma-3-4b-it"],
    "google/gemma-3-12b-pt": ["google/gemma-3-12b-it"],
}


def family(name: str) -> list[str]:
    """The model and its tuned or base forms, which have its parameters."""
    ends = {"google": "-it", "Qwen": "-Instruct", "meta-llama": "-Instruct"}
    end = "-Base" if "Qwen3" in name else ends.get(name.split("/")[0], "-Instruct")
    return [name, *TUNED.get(name, [name + end])]


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_the_table_has_the_published_number_of_parameters(name: str, parameters: int) -> None:
    assert {shape_of(each, None).parameters for each in family(name)} == {parameters}


def test_the_published_numbers_cover_the_table() -> None:
    assert sorted(CONFIGS) == sorted(each for name in PUBLISHED for each in family(name))


@pytest.mark.parametrize("name", PUBLISHED)
def test_transformers_builds_the_table_with_as_many_parameters(name: str) -> None:
    config = CONFIGS[name]
    _, model = built(dict(config.get("text_config", config)))
    assert shape_of(name, None).parameters == count(model)
    assert count(model, ("norm.weight",)) > 0


def test_the_largest_sizes_are_counted_at_once() -> None:
    most = 100_000_000
    config = {"model_type": "gemma3_text", "num_attention_heads": 1, "num_key_value_heads": 1}
    keys = ("hidden_size", "intermediate_size", "num_hidden_layers", "head_dim", "vocab_size")
    shape = read_shape(config | dict.fromkeys(keys, most), "folder")
    assert shape.sliding_layers == most - most // 6
    assert shape.parameters == most**2 + most * (7 * most**2 + 6 * most) + most


@pytest.mark.slow
def test_the_packaged_weights_have_the_table_s_shape() -> None:
    from paribus.models.source import find_model

    config = read_json(find_model("gemma-3-270m", None).path / "config.json")
    shape: Shape = read_shape(config, "packaged")
    assert shape == shape_of("gemma-3-270m", None)
