"""How much memory a run takes at its peak, part by part, without loading weights.

    estimate(shape, load, device("cpu-24gb")).training.total       # bytes
    estimate(shape, load, device("rtx-4090")).peak_bytes

`planning/cost/peaks` lists the tensors alive at each moment that can be the peak; the peak is the
largest moment and what the process has beside its tensors. docs/memory.md has what was measured.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from paribus.models.shapes import Shape
from paribus.planning.cost.activations import Workload
from paribus.planning.cost.peaks import (
    Moment,
    evaluation_moments,
    trained_parameters,
    training_moments,
    validation_moments,
)
from paribus.planning.devices import Device

__all__ = ["Estimate", "Parts", "Workload", "estimate"]

LIBRARIES = 428 * 2**20
"""Resident memory of a run's process before it has a model, on Linux with torch 2.13 for CPUs:
measured."""

TRAINER = 150 * 2**20
"""What such a process has more once it trained in bf16, and keeps: measured; in fp32 none was."""

TOKENIZER_BYTES = 1284
"""Resident memory of a tokenizer per token of its vocabulary: measured with Gemma 3's."""

CUDA_CONTEXT, MOST_CONTEXT = 600 * 10**6, 2 * 10**9
"""What a process takes on a GPU before its first tensor, and what none takes: usual, not measured
here."""

UNUSED = 0.6
"""What torch holds of a GPU beyond its tensors, as a share of those that come and go in a step: all
but weights and the optimizer's states. Measured: 0.54 to 0.62 (docs/memory.md), before segments
grew in place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Bytes at the peak of one stage, by what they are for. Their sum is what a GPU must hold.

    Attributes:
        weights: model weights as stored in memory, adapters and quantisation constants included;
            for full SFT that is the fp32 master.
        copies: working copies of weights in the compute dtype.
        gradients: of trainable weights.
        optimizer: states.
        activations: kept for the backward pass, or of the largest layer without one.
        logits: logits and what the loss makes of them.
        kv_cache: keys and values, while decoding.
        unused: what torch holds of a GPU and no tensor takes.
        runtime: CUDA context, or the process with its libraries.
    """

    weights: int = 0
    copies: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    logits: int = 0
    kv_cache: int = 0
    unused: int = 0
    runtime: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return sum(asdict(self).values())

    @property
    def tensors(self) -> int:
        """What a GPU reports as allocated."""
        return self.total - self.unused - self.runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The peaks of one run.

    Attributes:
        total_parameters: of the model with its adapters; tied weights count once.
        trainable_parameters: of these.
        training: at the peak of training and of what is measured meanwhile; None for a baseline.
        evaluation: at the peak of decoding and of the likelihood pass.
    """

    total_parameters: int
    trainable_parameters: int
    training: Parts | None
    evaluation: Parts

    @property
    def peak_bytes(self) -> int:
        """The larger of the two peaks: what the device must hold."""
        return max(self.training.total if self.training else 0, self.evaluation.total)

    @property
    def tensor_bytes(self) -> int:
        """The most that tensors take."""
        return max(self.training.tensors if self.training else 0, self.evaluation.tensors)


def estimate(shape: Shape, load: Workload, device: Device) -> Estimate:
    """Return the memory of a run of `load` on `device`."""
    training = training_moments(shape, load, device.kind) if load.method != "none" else {}
    training |= validation_moments(shape, load, device.kind)
    evaluation = evaluation_moments(shape, load, device.kind)
    trained = 0 if load.method == "none" else sum(trained_parameters(shape, load))
    total = shape.parameters + (0 if load.method == "full" else trained)
    runtime = _runtime(shape, load, device)
    unused = UNUSED * (device.kind == "cuda")
    stages = [_largest(moments, runtime, unused) for moments in (training, evaluation) if moments]
    return Estimate(
        total_parameters=total,
        trainable_parameters=trained,
        training=stages[0] if training else None,
        evaluation=stages[-1],
    )


def _runtime(shape: Shape, load: Workload, device: Device) -> int:
    """Return the memory of a run's process without its tensors."""
    if device.kind == "cuda":
        return CUDA_CONTEXT
    # With nf4 the file's pages that were read to be rounded stay mapped, for the embedding's sake.
    mapped = 2 * shape.linear_parameters if load.quantization else 0
    trainer = TRAINER if load.method != "none" and load.precision == "bf16" else 0
    return LIBRARIES + trainer + TOKENIZER_BYTES * shape.vocab + mapped


def _largest(moments: Mapping[str, Moment], runtime: int, unused: float) -> Parts:
    """Return the parts of the moment with most bytes; `unused` is a share, as `UNUSED`."""
    stages = []
    for moment in moments.values():
        parts = {part: round(sum(of)) for part, of in moment.items()}
        passing = sum(parts.values()) - parts["weights"] - parts.get("optimizer", 0)
        stages.append(Parts(**parts, unused=round(unused * passing), runtime=runtime))
    return max(stages, key=lambda stage: stage.total)
