"""The models that benchmarks are measured on: stored ones, and those whose weights are random.

    weights(asked, torch.bfloat16)        # transformers' own: a folder's, or random ones of a shape
    own(asked, torch.bfloat16, device)    # the same, as paribus computes it
    vocabulary_model(65_536, folder)      # a small one with 65,536 tokens, written to a folder

`asked.model` is an absolute folder, or a Hub id that `paribus plan` knows offline. Speed does not
depend on the weights: those of a shape are made on the device, and its tokenizer is the tiny one.
"""

from pathlib import Path
from typing import Any

import torch
from speed_work import Asked, shape_values

from paribus.models.load import load_model, use_own_layers
from paribus.models.source import find_model
from paribus.testing.tiny import tiny_tokenizer

LOUDER = 10
"""How much larger random MLPs are, so that a text wanders. Where head and embedding are one, those
of the usual size write the last token for ever, and whoever guesses tokens guesses all of them."""


def weights(asked: Asked, dtype: torch.dtype, **loading: Any) -> Any:
    """Return the model in `dtype`; random weights are the same rounded to bf16 in any dtype."""
    from transformers import AutoConfig, AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM
    if Path(asked.model).is_absolute():
        return auto.from_pretrained(asked.model, dtype=dtype, **loading)
    values = shape_values(asked.model)
    config = AutoConfig.for_model(str(values.pop("model_type")), **values)
    torch.manual_seed(0)
    with torch.device(asked.device):
        model = auto.from_config(config, dtype=torch.bfloat16, **loading)
    for name, parameter in model.named_parameters():
        if name.endswith("_proj.weight"):
            louder = LOUDER if "down_proj" in name else 1
            torch.nn.init.normal_(parameter, std=louder * parameter.shape[1] ** -0.5)
    return model.to(dtype)


def own(asked: Asked, dtype: torch.dtype, device: torch.device) -> Any:
    """Return the model as `paribus run` has it after loading."""
    if Path(asked.model).is_absolute():
        return load_model(find_model(asked.model, None), dtype, device)
    return use_own_layers(weights(asked, dtype))


def tokenizer(asked: Asked) -> Any:
    """Return the model's tokenizer, padding at the end; of a shape the tiny one."""
    from transformers import AutoTokenizer

    if Path(asked.model).is_absolute():
        return AutoTokenizer.from_pretrained(asked.model, padding_side="right")
    found = tiny_tokenizer()
    found.padding_side = "right"
    return found


def written(asked: Asked, folder: Path) -> Path:
    """Write a shape's weights and tokenizer to `folder`, for who reads only folders."""
    if not (folder / "tokenizer.json").exists():
        weights(asked, torch.bfloat16).save_pretrained(folder)
        tokenizer(asked).save_pretrained(folder)
    return folder


def vocabulary_model(size: int, folder: Path) -> Path:
    """Write a random model of 4 layers, 512 wide, with `size` tokens in its vocabulary.

    Its tokenizer knows the first 262 of them: texts are a token a byte.
    """
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    tokenizer = tiny_tokenizer()
    config = Gemma3TextConfig(
        vocab_size=size,
        hidden_size=512,
        intermediate_size=1024,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=128,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    made: Any = Gemma3ForCausalLM(config)
    made.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
