"""`plan --probe`: two real steps at the longest batch and one evaluation batch, measured.

A forecast is arithmetic; a rehearsal is the run itself, cut to its most expensive moments, in its
own process. The second step has optimizer states, as all later ones do; it is the one timed.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from paribus.config.spec import RunSpec
from paribus.errors import OutOfMemory, ParibusError, RunFailed
from paribus.planning.forecast import cache_bytes
from paribus.planning.inputs import Inputs
from paribus.planning.plan import Rehearsal, RunEstimate
from paribus.planning.prepare import prepare
from paribus.planning.rules.environment import room
from paribus.planning.survey import Prospect
from paribus.running.isolated import Died, in_child

if TYPE_CHECKING:  # `plan` must not wait for torch
    import torch
    from torch import nn

    from paribus.training.train import StepRecord

DECODED = 16
"""New tokens of the evaluation batch; cache and time for the others are extrapolated."""


def correct(prospect: Prospect, measured: Rehearsal) -> RunEstimate:
    """Return what an arm's first run takes, with what was measured in place of what was predicted.

    Peaks have the cache of all new tokens; all steps take the measured time per token; solutions
    are taken to be as long as the mean gold one, and likelihoods take no time. The arm must have a
    forecast.
    """
    forecast, shape = prospect.forecast, prospect.shape
    assert forecast is not None
    assert shape is not None
    load, device = forecast.load, forecast.device
    rest = cache_bytes(shape, load, max(0, load.new_tokens - DECODED))
    peak = max(measured.training_held_bytes, measured.evaluation_held_bytes + rest)
    tensors = max(measured.training_peak_bytes or 0, measured.evaluation_peak_bytes + rest)
    rate, train = None, 0.0
    if measured.step_seconds is not None and measured.step_tokens is not None:
        batch = load.micro_batch * load.accumulation
        share = min(1.0, load.train_tokens * batch / measured.step_tokens)
        rate = batch / (measured.step_seconds * share)
        train = load.steps * batch / rate
    batches = -(-load.eval_problems // load.eval_batch)
    decoding = forecast.lengths.mean_gold * measured.decode_seconds
    return replace(
        RunEstimate.of(forecast),
        peak_bytes=peak,
        tensor_bytes=tensors if device.kind == "cuda" else None,
        fits=peak <= device.memory_bytes,
        fits_with_a_tenth_to_spare=peak <= room(device),
        examples_per_second=rate,
        train_seconds=train,
        eval_seconds=batches * (measured.prompt_seconds + decoding),
    )


def rehearse(prospect: Prospect) -> Rehearsal:
    """Return what the most expensive step and batch of an arm's first run take here.

    Raises OutOfMemory or RunFailed: what the run itself would have met.
    """
    rehearsals: list[Rehearsal] = []
    title = f"the rehearsal of {prospect.arm}"
    try:
        in_child(partial(_work, prospect.first), rehearsals.append)
    except Died as died:
        if died.out_of_memory:
            raise OutOfMemory(f"{title} ran out of memory: the kernel killed it") from died
        raise RunFailed(f"{title} ended with code {died.code}") from died
    return rehearsals[0]


def _work(spec: RunSpec, send: Callable[[Rehearsal], None]) -> None:
    """Rehearse in this process and send what was measured. Raises ParibusError."""
    from paribus.models.device import is_out_of_memory

    try:
        with TemporaryDirectory() as folder:
            send(_measure(spec, Path(folder)))
    except ParibusError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        kind = OutOfMemory if is_out_of_memory(error) else RunFailed
        raise kind(f"the rehearsal of {spec.arm} stopped: {what}") from error


def _measure(spec: RunSpec, folder: Path) -> Rehearsal:
    import torch

    from paribus.models.device import compute_dtype, default_device, return_freed
    from paribus.models.fast import blocked
    from paribus.models.load import for_inference, load_model, make_trainable
    from paribus.running.record import context_bytes
    from paribus.seeds import derive

    config, device = spec.config, default_device()
    compute = compute_dtype(config.training.computes_in, device)
    inputs = prepare(config, spec.seed)
    model = load_model(inputs.source, compute, device, config.quantization)
    second = None
    if config.method != "none":
        torch.manual_seed(derive(spec.stream, "init"))
        chosen = config.training.train_only
        model = make_trainable(model, config.method, config.lora, compute, chosen)
        second = _train(model, inputs, spec, compute, device, folder)
    for_inference(model, compute)
    return_freed(device)
    blocked.use(model)
    tested, prompt_seconds, decode_seconds = _evaluate(model, inputs, spec)
    return Rehearsal(
        training_peak_bytes=second.peak_memory_bytes if second else None,
        training_reserved_bytes=second.peak_reserved_bytes if second else None,
        step_seconds=second.seconds if second else None,
        step_tokens=second.tokens if second else None,
        evaluation_peak_bytes=tested["peak_memory_bytes"],
        evaluation_reserved_bytes=tested.get("peak_reserved_bytes"),
        context_bytes=context_bytes(device) if device.type == "cuda" else 0,
        prompt_seconds=prompt_seconds,
        decode_seconds=decode_seconds,
    )


def _train(
    model: "nn.Module",
    inputs: Inputs,
    spec: RunSpec,
    compute: "torch.dtype",
    device: "torch.device",
    folder: Path,
) -> "StepRecord":
    """Return the second of two steps at the longest batch."""
    from paribus.training.batching import order_seed, plan_training
    from paribus.training.train import train

    examples, config = inputs.examples, spec.config.training
    steps = plan_training(examples, config, order_seed(spec.stream))
    longest = max(steps, key=lambda step: max(sum(len(examples[i].ids) for i in m) for m in step))
    records: list[StepRecord] = []
    train(
        model,
        [examples[index] for micro_batch in longest for index in micro_batch],
        replace(config, epochs=2.0, max_steps=2, target_tokens=None, trackers=()),
        seed=spec.stream,
        compute=compute,
        folder=folder,
        on_step=records.append,
    )
    return records[-1]


def _evaluate(
    model: "nn.Module", inputs: Inputs, spec: RunSpec
) -> tuple[dict[str, int], float, float]:
    """Return peaks, seconds of the prompts and seconds per further token of the longest batch."""
    from paribus.evaluation.engine.generate import generate
    from paribus.evaluation.engine.likelihood import likelihoods
    from paribus.models.device import peaks, reset_peak_memory

    asked = max(
        inputs.prompt_sets, key=lambda prompt_set: max(len(p.ids) for p in prompt_set.prompts)
    )
    size = spec.config.evaluation.at_once
    prompts = sorted(asked.prompts, key=lambda prompt: len(prompt.ids))[-size:]
    device = next(model.parameters()).device
    reset_peak_memory(device)

    def seconds(tokens: int) -> float:
        started = time.perf_counter()
        generate(
            model,
            inputs.tokenizer,
            prompts,
            stop_ids=frozenset(),  # every row to the end
            max_new_tokens=tokens,
            batch_size=size,
            on_batch=lambda _done: None,
        )
        return time.perf_counter() - started

    first, several = seconds(1), seconds(DECODED)
    longest = sorted(inputs.gold, key=lambda example: len(example.ids))[-size:]
    likelihoods(model, longest, [""] * len(longest), batch_size=size, on_batch=lambda _done: None)
    return peaks(device), first, max(0.0, several - first) / (DECODED - 1)
