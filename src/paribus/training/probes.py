"""Probe a model for a moment before it is trained, and leave no trace.

    probed = probe(model, examples, config, compute=torch.bfloat16, device=device,
                   ends=Ends(bos=2, stop=1), saving=Saving(folder=run, save=save, reload=reload))
    probed.failures        # (Failure(id="PB050", found="….k_proj.weight: no gradient …"),)

First what costs nothing: processes, texts, dtypes. Then two of the shortest examples:

    pass [0] → round, evaluate, save, load → pass [0] again, pass [1] → both in one pass

Weights, random streams, modes and gradients are afterwards what they were, bit for bit. The
cards are in `planning/rules/probes.py`.
"""

import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from paribus.config.schema import ArmConfig
from paribus.prompts.encode import Encoded
from paribus.training.probe_checks import (
    DtypeRow,
    Ends,
    Saving,
    dtype_table,
    evaluation_failures,
    process_failures,
    rows,
    text_failures,
    weight_failures,
)
from paribus.training.probe_steps import (
    BOTH,
    LIMITS,
    SAME_PASS,
    Failure,
    Gradients,
    Probe,
    Steps,
    distance,
    gradient_failures,
    loss_by_chance,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What the probes found.

    Attributes:
        failures: what failed; none of it is for the run to continue with.
        warnings: what is unusual, and may be intended.
        dtypes: of all weights, what trains first.
        seconds: how long it took.
    """

    failures: tuple[Failure, ...]
    warnings: tuple[Failure, ...]
    dtypes: tuple[DtypeRow, ...]
    seconds: float


def probe(
    model: nn.Module,
    examples: Sequence[Encoded],
    config: ArmConfig,
    *,
    compute: torch.dtype,
    device: torch.device,
    ends: Ends,
    saving: Saving,
    passes: bool = True,
) -> Probed:
    """Probe `model`, which `make_trainable` made ready, on the run's own examples.

    Saving is probed where the run saves its weights. Without `passes` only what costs nothing is: a
    model that is to be sharded may be too large for one. Raises what the passes themselves raise.
    """
    started = time.perf_counter()
    failures = (
        *process_failures(os.environ),
        *text_failures([(e.ids, e.ids[e.prompt_length :]) for e in examples], ends),
        *weight_failures(model, config, compute),
    )
    warnings: tuple[Failure, ...] = ()
    if passes and not failures:
        with (
            _unchanged(model, device),
            _without_dropout(model),
            TemporaryDirectory(dir=saving.folder, prefix=".probe-") as folder,
        ):
            steps = Steps(
                model, examples, config, compute=compute, device=device, folder=Path(folder)
            )
            failures = _step_failures(steps, ends, saving if config.training.save_weights else None)
            warnings = _chance_warnings(steps.loss, examples)
    return Probed(
        failures=failures,
        warnings=warnings,
        dtypes=dtype_table(model),
        seconds=time.perf_counter() - started,
    )


def _step_failures(steps: Steps, ends: Ends, saving: Saving | None) -> tuple[Failure, ...]:
    """Return what the batches and their passes show, up to what makes the rest meaningless."""
    failures = text_failures([row for batch in steps.batches for row in rows(batch)], ends)
    if failures:
        return failures
    try:
        first = next(steps.passes(0, 1))
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
        return (Failure(id=Probe.GRADIENT, found=f"the loss depends on no weight: {error}"),)
    failures = gradient_failures(first, zeros=steps.starts_at_zero)
    if failures:
        return failures
    failed = evaluation_failures(steps, saving)
    again, apart = steps.passes(0, 1)
    changed = _difference(first, again, SAME_PASS)
    if changed:  # evaluating twice gives two models then: nothing it showed can be relied on
        return (Failure(id=Probe.EVALUATION, found=f"after an evaluation {changed}"),)
    (together,) = steps.passes(BOTH)
    changed = _difference(together, apart, LIMITS[steps.compute])
    if changed:
        failed.append(
            Failure(id=Probe.ACCUMULATION, found=f"in two passes instead of one {changed}")
        )
    return tuple(failed)


def _chance_warnings(loss: float, examples: Sequence[Encoded]) -> tuple[Failure, ...]:
    """Return a warning if the `loss` before any step is that of one who knows no language."""
    guessed = loss_by_chance(examples)
    if guessed is None or not loss >= guessed:
        return ()
    message = (
        f"its loss on two gold solutions is {loss:.2f} nats a token, and {guessed:.2f} for whoever "
        "knows only how often each token occurs in the solutions"
    )
    return (Failure(id=Probe.CHANCE, found=message),)


def _difference(reference: Gradients, other: Gradients, limit: float) -> str:
    apart, worst = distance(reference, other)
    if apart <= limit:
        return ""
    return f"the gradient is off by {apart:.2g} of its norm (limit {limit}), most of all {worst}"


@contextmanager
def _unchanged(model: Any, device: torch.device) -> Iterator[None]:
    """Restore all that passes and a trainer change, except the weights."""
    modes = [(module, module.training) for module in model.modules()]
    streams = random.getstate(), np.random.get_state()  # noqa: NPY002  # libraries draw from it
    use_cache = model.config.use_cache
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            for parameter in model.parameters():
                parameter.grad = None
            for module, training in modes:
                module.training = training
            model.config.use_cache = use_cache
            random.setstate(streams[0])
            np.random.set_state(streams[1])  # noqa: NPY002


@contextmanager
def _without_dropout(model: nn.Module) -> Iterator[None]:
    """Drop nothing: gradients of several passes are compared."""
    layers = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    rates = [layer.p for layer in layers]
    try:
        for layer in layers:
            layer.p = 0.0
        yield
    finally:
        for layer, rate in zip(layers, rates, strict=True):
            layer.p = rate
