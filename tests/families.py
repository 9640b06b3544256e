"""Tiny models of every family that transformers knows and paribus trains."""

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from paribus.testing.tiny import tiny_tokenizer

FAMILIES = [
    "apertus", "arcee", "falcon", "glm", "glm4", "gpt2", "gpt_neox", "gpt_oss", "mixtral",
    "nanochat", "olmoe", "opt", "phi3", "qwen3_moe", "starcoder2", "llama", "gemma3_text", "qwen3",
]  # fmt: skip
SIZES: dict[str, Any] = {
    "vocab_size": len(tiny_tokenizer()),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 1,
}


def tiny(family: str, **changes: Any) -> nn.Module:
    """Two random layers of a family, as transformers builds them."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**SIZES, **changes})
    model: nn.Module = AutoModelForCausalLM.from_config(config).float().eval()
    return model
