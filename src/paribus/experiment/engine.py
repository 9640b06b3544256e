"""Which engine decodes: paribus' own, or vLLM on the weights as they lie on disk."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from paribus.config.schema import ArmConfig
from paribus.errors import ModelError
from paribus.evaluation.by_vllm import Continued, Weights, serving
from paribus.experiment.job import Job
from paribus.experiment.saving import save_weights
from paribus.models.shapes import shape_of


@contextmanager
def engine(model: nn.Module, job: Job) -> Iterator[Continued | None]:
    """Start what `evaluation.engine` names, and stop it in the end; None is paribus' own.

    `model` is what `for_inference` made. Raises RunFailed if vLLM does not start.
    """
    inputs, evaluation = job.inputs, job.config.evaluation
    if evaluation.engine == "paribus":
        yield None
        return
    longest = inputs.tokens().longest_prompt + evaluation.max_new_tokens
    rows = min(evaluation.batch_size, len(inputs.tested))
    with (
        tempfile.TemporaryDirectory(prefix="paribus-") as scratch,
        serving(
            _weights(model, job, Path(scratch)),
            compute=job.compute,
            device=job.device,
            longest=longest,
            rows=rows,
            cache_bytes=_cache_bytes(job.config, rows * longest, job.compute),
        ) as continued,
    ):
        yield continued


def _weights(model: nn.Module, job: Job, scratch: Path) -> Weights:
    inputs, config = job.inputs, job.config
    if config.method == "none":
        return Weights(model=inputs.source.path)
    saved = job.folder.weights
    if not config.training.save_weights:
        saved = scratch
        save_weights(model, inputs, config, saved)
    if config.method == "full":
        return Weights(model=saved)
    return Weights(model=inputs.source.path, adapter=saved, rank=config.lora.r)


def _cache_bytes(config: ArmConfig, tokens: int, compute: torch.dtype) -> float | None:
    """Return the bytes of keys and values of so many tokens; None for an unknown family."""
    try:
        shape = shape_of(config.model, config.revision)
    except ModelError:
        return None
    return float(tokens * shape.kv_bytes_per_token(compute.itemsize))
