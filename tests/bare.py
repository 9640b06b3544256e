"""Training as a plain torch loop does it: transformers' own model and loss, a bare optimizer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from paribus.prompts.encode import Encoded


def untouched(folder: Any, patterns: Sequence[str] = ()) -> Any:
    """Return transformers' own model in fp32; with names, only these weights train."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in patterns or not patterns)
    return model


def take_steps(model: Any, optimizer: Any, examples: Sequence[Encoded], steps: int) -> list[float]:
    """Train on all `examples` in each step; return the losses."""
    total = sum(example.target_length for example in examples)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        parts = [_summed(model, example) / total for example in examples]
        loss = torch.stack(parts).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def _summed(model: Any, example: Encoded) -> torch.Tensor:
    ids = torch.tensor([example.ids])
    start = example.prompt_length
    logits = model(input_ids=ids).logits[0, start - 1 : -1]
    return cross_entropy(logits, ids[0, start:], reduction="sum")
