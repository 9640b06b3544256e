"""How much memory a run takes at its peak, part by part, without loading weights.

    estimate(shape, load, device("cpu-24gb")).training.total       # bytes
    estimate(shape, load, device("rtx-4090")).peak_bytes

`planning/moments` lists the tensors alive at each moment that can be the peak. On a GPU the peak is
the largest moment. On a CPU it is what the kernel counts, and that depends on where a tensor lies:
one over `LARGE` bytes has pages of its own and returns them when it is freed; smaller ones share
the heap, whose pages stay with the process once they were used.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from paribus.models.shapes import Shape
from paribus.planning.activations import recomputed
from paribus.planning.devices import Device
from paribus.planning.moments import (
    Moment,
    evaluation_moments,
    trained_parameters,
    training_moments,
)
from paribus.planning.workload import Workload

__all__ = ["Estimate", "Parts", "Workload", "estimate"]

LARGE = 32 * 2**20
"""Bytes from which glibc maps an allocation by itself: its DEFAULT_MMAP_THRESHOLD_MAX."""

LIBRARIES = 428 * 2**20
"""Resident memory of a run's process before it has a model, on Linux with torch 2.13 for CPUs:
measured."""

TOKENIZER_BYTES = 1284
"""Resident memory of a tokenizer per token of its vocabulary: measured with Gemma 3's."""

GRADIENT_GAPS = 0.35
"""Of the heap that a backward pass frees, what its gradients do not fit into: fitted."""

LORA_GAPS = 4.0
"""Layers' worth of heap between the pieces that dropout's fp32 copies leave: fitted. glibc cannot
put an aligned tensor into the place of a freed one of the same size."""

CACHE_GAPS = 0.5
"""Of the keys and values on the heap, what is left behind as they grow by a token: fitted."""

CUDA_CONTEXT = 600 * 10**6
"""What a process takes on a GPU before its first tensor: usual, not measured here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Bytes at the peak of one stage, by what they are for. On a CPU `runtime` is the libraries.

    Attributes:
        weights: model weights as stored in memory, adapters and quantisation constants included;
            for full SFT that is the fp32 master.
        copies: working copies of weights in the compute dtype.
        gradients: of trainable weights.
        optimizer: states.
        activations: kept for the backward pass, or of the largest layer without one.
        logits: logits and what the loss makes of them.
        kv_cache: keys and values, while decoding.
        runtime: CUDA context, or the process with its libraries.
    """

    weights: int = 0
    copies: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    logits: int = 0
    kv_cache: int = 0
    runtime: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return sum(asdict(self).values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The peaks of one run.

    Attributes:
        total_parameters: of the model with its adapters; tied weights count once.
        trainable_parameters: of these.
        training: at the peak of training; None for a baseline.
        evaluation: at the peak of decoding and of the likelihood pass.
    """

    total_parameters: int
    trainable_parameters: int
    training: Parts | None
    evaluation: Parts

    @property
    def peak_bytes(self) -> int:
        """The larger of the two peaks."""
        return max(self.training.total if self.training else 0, self.evaluation.total)


def estimate(shape: Shape, load: Workload, device: Device) -> Estimate:
    """Return the memory of a run of `load` on `device`."""
    training = training_moments(shape, load, device.kind) if load.method != "none" else {}
    evaluation = evaluation_moments(shape, load)
    adapters = sum(trained_parameters(shape, load)) if load.method == "lora" else 0
    total = shape.parameters + adapters
    trained = {"full": shape.parameters, "lora": adapters, "none": 0}[load.method]
    if device.kind == "cuda":
        stages = [_largest(moments) for moments in (training, evaluation) if moments]
    else:
        stages = _resident(shape, load, training, evaluation)
    return Estimate(
        total_parameters=total,
        trainable_parameters=trained,
        training=stages[0] if training else None,
        evaluation=stages[-1],
    )


def _largest(moments: Mapping[str, Moment]) -> Parts:
    """Return the parts of the moment with most bytes, on a GPU."""
    worst = max(moments.values(), key=_bytes)
    return _parts(worst, CUDA_CONTEXT)


def _resident(
    shape: Shape,
    load: Workload,
    training: Mapping[str, Moment],
    evaluation: Mapping[str, Moment],
) -> list[Parts]:
    """Return the parts of training, if there is any, and of evaluation, on a CPU."""
    base = float(LIBRARIES + TOKENIZER_BYTES * shape.vocab)
    if load.quantization:  # the file's pages, read to be rounded, stay mapped for the embedding
        base += 2 * shape.linear_parameters
    heap, stages = 0.0, []
    if training:
        heap = max(map(_small, training.values()))
        gaps = _left_behind(shape, load, training)
        stages.append(_on_heap(training, base, heap + gaps))
        heap += gaps if load.method == "lora" else 0.0
    heap = max(heap, *(_small(one) + CACHE_GAPS * _cache(one) for one in evaluation.values()))
    return [*stages, _on_heap(evaluation, base, heap)]


def _on_heap(moments: Mapping[str, Moment], base: float, heap: float) -> Parts:
    """Return the parts of the moment with most bytes off the heap, which stays as it is."""
    worst = max(moments.values(), key=lambda moment: _bytes(moment) - _small(moment))
    return _parts(worst, base + heap - _small(worst))


def _cache(moment: Moment) -> float:
    return _small({"kv_cache": moment.get("kv_cache", [])})


def _left_behind(shape: Shape, load: Workload, moments: Mapping[str, Moment]) -> float:
    """Return the bytes of heap that training leaves in pieces which it cannot use again."""
    if load.method == "lora":
        return LORA_GAPS * _small({"activations": recomputed(shape, load)})
    loss = moments["loss"]
    freed = _small({key: loss[key] for key in ("activations", "copies")})
    made = _small({"gradients": moments["backward"]["gradients"]})
    # accumulated gradients are in place before the activations are
    return 0.0 if loss["gradients"] else GRADIENT_GAPS * min(freed, made)


def _parts(moment: Moment, runtime: float) -> Parts:
    return Parts(runtime=round(runtime), **{part: round(sum(of)) for part, of in moment.items()})


def _bytes(moment: Moment) -> float:
    return sum(map(sum, moment.values()))


def _small(moment: Moment) -> float:
    """Return the bytes of the tensors that lie on the heap."""
    return sum(size for tensors in moment.values() for size in tensors if size <= LARGE)
