"""EVA: adapters whose A holds the directions in which each layer's inputs vary the most.

    start_from_inputs(model, examples, compute)       # A changes, B stays zero; so does the model

peft's `initialize_lora_eva_weights` on the run's own training examples, in their order: inputs at
the positions with loss, by incremental PCA until its directions stand still. Ranks are not moved
from layer to layer (`rho` 1): every arm trains as many weights as its rank says.
"""

from collections.abc import Sequence
from typing import Any

import torch
from peft import initialize_lora_eva_weights
from peft.tuners.lora.config import EvaConfig
from torch import Tensor, nn

from paribus.errors import ConfigError
from paribus.models.fast.starts import ADAPTER
from paribus.models.load import decoder_and_head
from paribus.prompts.encode import Encoded
from paribus.training.passes import IGNORED, collate

_TIMES = 4
"""Positions with loss that a pass has at least, as a multiple of the rank: fewer than the rank
would be left out by peft."""


def start_from_inputs(model: nn.Module, examples: Sequence[Encoded], compute: torch.dtype) -> None:
    """Let every adapter of `model` start from what enters its layer on `examples`, in place.

    Raises ConfigError if all examples together have fewer target tokens than 4 times the rank.
    """
    peft_model: Any = model
    config = peft_model.peft_config[ADAPTER]
    device = next(model.parameters()).device
    passes = [_tensors(collate(part), device) for part in _parts(examples, config.r)]
    kept = config.target_modules, config.init_lora_weights
    config.init_lora_weights, config.eva_config = "eva", EvaConfig(rho=1.0)
    decoder, _, _ = decoder_and_head(model)

    def forward(_model: nn.Module, inputs: dict[str, Tensor]) -> None:
        read: dict[str, Any] = {
            name: tensor for name, tensor in inputs.items() if name not in ("labels", "places")
        }
        read["text_lengths"] = tuple(inputs["cu_seq_lens_q"].diff().tolist())
        with torch.autocast(device.type, compute, enabled=compute is not torch.float32):
            decoder(**read, use_cache=False)

    initialize_lora_eva_weights(
        peft_model,
        passes,
        forward_fn=forward,
        prepare_model_inputs_fn=lambda inputs, _config: (inputs["labels"] != IGNORED).nonzero(),
        show_progress_bar=False,
    )
    config.target_modules, config.init_lora_weights = kept
    config.eva_config = None


def _tensors(batch: dict[str, Any], device: torch.device) -> dict[str, Tensor]:
    """Return the tensors of a pass: peft warns of what is none."""
    return {name: v.to(device) for name, v in batch.items() if isinstance(v, Tensor)}


def _parts(examples: Sequence[Encoded], rank: int) -> list[list[Encoded]]:
    """Return the examples in their order, in parts with enough target tokens each."""
    parts: list[list[Encoded]] = []
    part: list[Encoded] = []
    for example in examples:
        part.append(example)
        if sum(each.target_length for each in part) >= _TIMES * rank:
            parts.append(part)
            part = []
    if not parts:
        tokens = sum(example.target_length for example in examples)
        raise ConfigError(
            f"lora.init_lora_weights=eva: all training examples have {tokens} target tokens, and "
            f"lora.r={rank} directions need {_TIMES * rank}",
            "set a lower lora.r, a larger data.train_size, or lora.init_lora_weights: null",
        )
    return parts
