"""Models whose weights are random, for measurements that do not depend on them.

random_model("google/gemma-2b-it", "gemma-3-270m", folder)    # a known model's widths
vocabulary_model(65_536, folder)                              # a small one with 65,536 tokens
"""

from pathlib import Path
from typing import Any

from paribus.models.configs import CONFIGS
from paribus.models.source import find_model, load_tokenizer
from paribus.testing.tiny import tiny_tokenizer


def random_model(shape: str, model: str, folder: Path) -> Path:
    """Write random bf16 weights of a known model's widths with `model`'s tokenizer to `folder`.

    `shape` is a Hub id that `paribus plan` knows offline. Speed does not depend on the weights. The
    vocabulary is the tokenizer's.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = load_tokenizer(find_model(model, None))
    values = {**CONFIGS[shape], "vocab_size": len(tokenizer)}
    kind = str(values.pop("model_type"))
    config = AutoConfig.for_model(kind, **values)
    torch.manual_seed(0)
    auto: Any = AutoModelForCausalLM
    made = auto.from_config(config, dtype=torch.bfloat16)
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def vocabulary_model(size: int, folder: Path) -> Path:
    """Write a random model of 4 layers, 512 wide, with `size` tokens in its vocabulary.

    Its tokenizer knows the first 262 of them: texts are a token a byte.
    """
    import torch
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
