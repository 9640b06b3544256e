"""Optimizers by our names, and two that transformers' Trainer does not build itself.

    arguments = TrainingArguments(optim=NAMES["lion"], …)
    raise_rate_of_B(optimizer, model, 16.0)      # LoRA+
    muon_with_adamw(model, groups, lr=1e-3, betas=(0.9, 0.999), eps=1e-8)

Muon makes each step of a matrix orthogonal, which says nothing of an embedding's rows or of a
norm: as its authors do, embedding, head and what is no matrix are left to AdamW.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from paribus.models.load import decoder_and_head

NAMES = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "paged_adamw_32bit": "paged_adamw_32bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "lion": "lion_32bit",
    "lion_8bit": "lion_8bit",
    "paged_lion_8bit": "paged_lion_8bit",
    "adafactor": "adafactor",
    "adagrad": "adagrad",
    "rmsprop": "rmsprop",
    "sgd": "sgd",
    "muon": "adamw_torch_fused",
}
"""What transformers calls each; for Muon, which it does not know, the one of the other weights."""


class MuonWithAdamW(Optimizer):
    """Muon for some groups of weights and AdamW for others, as one optimizer."""

    def __init__(self, parts: Sequence[Optimizer], lr: float) -> None:
        """`parts` are the two; `lr` is the rate that schedules take their shares of."""
        self.parts = list(parts)
        super().__init__([group for part in parts for group in part.param_groups], {"lr": lr})
        self._join()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._join()

    def _join(self) -> None:
        """Let the parts have groups and states in common with the whole."""
        start = 0
        for part in self.parts:
            stop = start + len(part.param_groups)
            part.param_groups, part.state = self.param_groups[start:stop], self.state
            start = stop

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # it has two forms
        """Take a step of both."""
        assert closure is None
        for part in self.parts:
            part.step()


def muon_with_adamw(
    model: nn.Module, groups: Sequence[Mapping[str, Any]], **settings: Any
) -> MuonWithAdamW:
    """Return Muon for the matrices in `groups`, and AdamW with `settings` for what else is there.

    Muon's steps are scaled to the size of AdamW's (`match_rms_adamw`, J. Liu et al. 2025,
    arXiv:2502.16982), so both go by one learning rate, `settings["lr"]`.
    """
    _, head, _ = decoder_and_head(model)
    ends = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    ends.add(id(head.weight))

    def is_matrix(weight: torch.Tensor) -> bool:
        return weight.ndim == 2 and id(weight) not in ends

    matrices = [{**g, "params": [w for w in g["params"] if is_matrix(w)]} for g in groups]
    others = [{**g, "params": [w for w in g["params"] if not is_matrix(w)]} for g in groups]
    lr = settings["lr"]
    parts = [
        Muon(matrices, lr=lr, adjust_lr_fn="match_rms_adamw"),
        AdamW(others, fused=True, **settings),
    ]
    return MuonWithAdamW(parts, lr)


def raise_rate_of_b(optimizer: Optimizer, model: nn.Module, ratio: float) -> None:
    """Let the B matrices of LoRA learn at `ratio` times the rate, in groups of their own."""
    matrices = {id(weight) for name, weight in model.named_parameters() if ".lora_B." in name}
    for group in list(optimizer.param_groups):
        raised = [weight for weight in group["params"] if id(weight) in matrices]
        if raised:
            group["params"] = [w for w in group["params"] if id(w) not in matrices]
            optimizer.add_param_group({**group, "params": raised, "lr": ratio * group["lr"]})
