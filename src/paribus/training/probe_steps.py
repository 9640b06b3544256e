"""Real passes of two short examples through the model, and what their gradients show.

    steps = Steps(model, examples, config, compute=torch.bfloat16, device=device, folder=folder)
    first, apart = steps.passes(0, 1)           # one optimizer step of two passes
    (together,) = steps.passes(BOTH)            # one of a single pass with both examples
    gradient_failures(first)                    # (): every weight has a finite gradient
    distance(together, apart)                   # (0.018, "model.layers.4.mlp.down_proj.weight")

The passes are the run's own: its collation, its count of target tokens, its `training_step`.
Gradients are kept as sketches, a norm and some thousand entries of each tensor: a second full
set of them could take a run that just fits its device over the edge.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from paribus.config.peft_method import is_peft
from paribus.config.schema import ArmConfig
from paribus.prompts.encode import Encoded
from paribus.training.train import arguments
from paribus.training.trainer import RECOMPUTING, CompletionTrainer

BOTH = 2
"""The batch of both examples; 0 and 1 are those of one."""

SAMPLED = 4096
"""Entries kept of a gradient. A fault that is worth a card is in every entry, not in a few."""

LIMITS = {torch.float32: 1e-4, torch.bfloat16: 0.08}
"""Largest relative distance of two gradients that are the same but for rounding.

Two examples in one pass change the order of sums. Measured on Gemma 3 270M: 4.5e-6 in fp32 and
0.018 in bf16, where every value is rounded by up to 1/512; and 0.18 to 0.20 where each pass is
divided by its own tokens.
"""

_ENOUGH = 4000
"""Target tokens: fewer seem more predictable than they are."""

SAME_PASS = 0.01
"""Largest relative distance of the same pass made twice: 0 on a CPU; a GPU may sum in any order."""


class Probe(StrEnum):
    """What is probed, by the id of its card."""

    GRADIENT = "PB050"
    FINITE = "PB051"
    ADAPTERS = "PB052"
    EVALUATION = "PB053"
    SAVING = "PB054"
    ACCUMULATION = "PB055"
    BEGINNING = "PB056"
    TARGETS = "PB057"
    PRECISION = "PB058"
    PROCESSES = "PB059"
    CHANCE = "PB067"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A probe that failed.

    Attributes:
        id: of the card that explains it.
        found: what was found, with the values.
    """

    id: Probe
    found: str


@dataclass(frozen=True, slots=True)
class Sketch:
    """A gradient: its norm, and entries at even distances."""

    norm: float
    sample: Tensor


Gradients = Mapping[str, Sketch | None]
"""Of each trainable weight by name; None where there is no gradient."""


class Steps:
    """Two examples of a run, and the trainer that passes them through the model."""

    def __init__(
        self,
        model: nn.Module,
        examples: Sequence[Encoded],
        config: ArmConfig,
        *,
        compute: torch.dtype,
        device: torch.device,
        folder: Path,
    ) -> None:
        """`folder` is a temporary one, for files that the trainer writes."""
        first, second = choose_probed(examples)
        self.model: Any = model
        self.adapters = config.trains_beside
        self.starts_at_zero = is_peft(config.method)
        self.compute, self.device, self.folder = compute, device, folder
        self.shortest = examples[first]
        self.loss = math.nan  # of the last pass, over the target tokens of its step
        self.trainer = CompletionTrainer(
            model,
            arguments(replace(config.training, trackers=()), 1, 0, device, folder),
            examples=examples,
            micro_batches=[[first], [second], [first, second]],
            compute=compute,
            on_step=lambda _step, _figures: {},
        )
        self.batches = list(self.trainer.get_train_dataloader())

    def passes(self, *batches: int) -> Iterator[Gradients]:
        """Accumulate `batches` as one optimizer step; yield sketches of the gradient after each."""
        self.forget()
        chosen, items = self.trainer.get_batch_samples(
            iter([self.batches[index] for index in batches]), len(batches), self.device
        )
        self.trainer.current_gradient_accumulation_steps = len(chosen)
        for batch in chosen:
            with self._recomputing():
                loss = self.trainer.training_step(self.model, dict(batch), items)
            self.loss = float(loss)
            weights = self.model.named_parameters()
            yield {name: _sketch(p.grad) for name, p in weights if p.requires_grad}

    def forget(self) -> None:
        """Drop the gradients."""
        for parameter in self.model.parameters():
            parameter.grad = None

    @contextmanager
    def _recomputing(self) -> Iterator[None]:
        """Recompute activations, as the trainer does once training begins, if the run is to."""
        arguments = self.trainer.args
        if not getattr(arguments, RECOMPUTING):
            yield
            return
        settings = f"{RECOMPUTING}_kwargs"
        how = {settings: getattr(arguments, settings)}
        getattr(self.model, f"{RECOMPUTING}_enable")(**how)
        try:
            yield
        finally:
            getattr(self.model, f"{RECOMPUTING}_disable")()
            self.model.disable_input_require_grads()


def choose_probed(examples: Sequence[Encoded]) -> tuple[int, int]:
    """Return the index of the shortest example and of the shortest with other target tokens.

    Other means twice as many, or as near to it as the examples come: with equal numbers, a pass
    divided by its own tokens instead of the step's would be off by nothing.
    """
    order = sorted(range(len(examples)), key=lambda index: len(examples[index].ids))
    tokens = examples[order[0]].target_length

    def ratio(index: int) -> float:
        low, high = sorted((tokens, examples[index].target_length))
        return min(2.0, high / low)

    return order[0], max(order[1:], key=ratio, default=order[0])


def loss_by_chance(examples: Sequence[Encoded]) -> float | None:
    """Return the loss, in nats per token, of guessing by the frequencies of target tokens.

    None where there are too few of them to say.
    """
    counts = Counter(id for example in examples for id in example.ids[example.prompt_length :])
    total = counts.total()
    if total < _ENOUGH:
        return None
    return -math.fsum(n / total * math.log(n / total) for n in counts.values())


def gradient_failures(gradients: Gradients, *, zeros: bool = False) -> tuple[Failure, ...]:
    """Return a failure if weights have no gradient, or none that is a number.

    At the start lora_B is zero, and so is the gradient of every lora_A. With `zeros` that may be
    so for any weight but all: methods of peft's begin with other weights at zero.
    """
    zeros = zeros and any(sketch is not None and sketch.norm for sketch in gradients.values())
    absent = [name for name, sketch in gradients.items() if sketch is None]
    absent += [
        name
        for name, sketch in gradients.items()
        if sketch is not None and sketch.norm == 0 and ".lora_A." not in name and not zeros
    ]
    broken = [n for n, sketch in gradients.items() if sketch and not math.isfinite(sketch.norm)]
    return tuple(
        Failure(id=id, found=f"{names[0]}: {what} ({len(names)} of {len(gradients)} tensors)")
        for id, names, what in [
            (Probe.GRADIENT, absent, "no gradient"),
            (Probe.FINITE, broken, "the gradient is not finite"),
        ]
        if names
    )


def distance(reference: Gradients, other: Gradients) -> tuple[float, str]:
    """Return the relative distance of `other` from `reference`, and the tensor that differs most.

    Of each tensor the sample gives the relative distance, the norm its weight among the others.
    """
    parts = {name: _squared(sketch, other[name]) for name, sketch in reference.items() if sketch}
    total = math.fsum(sketch.norm**2 for sketch in reference.values() if sketch)
    worst = max(parts, key=lambda name: parts[name])
    return math.sqrt(math.fsum(parts.values()) / total), worst


def _squared(reference: Sketch, other: Sketch | None) -> float:
    """Return the estimated square of the norm of the difference; infinite if it has no value."""
    if other is None:
        return math.inf
    apart, seen = float((reference.sample - other.sample).norm()), float(reference.sample.norm())
    estimates = [abs(reference.norm - other.norm), apart * (reference.norm / seen if seen else 1.0)]
    return max(estimates) ** 2 if all(map(math.isfinite, estimates)) else math.inf


def _sketch(gradient: Tensor | None) -> Sketch | None:
    if gradient is None:
        return None
    flat = gradient.detach().reshape(-1)
    # Odd, so that it does not keep step with the rows, whose widths are even.
    stride = (len(flat) // SAMPLED) | 1
    return Sketch(float(flat.norm()), flat[::stride].to("cpu", torch.float32, copy=True))
