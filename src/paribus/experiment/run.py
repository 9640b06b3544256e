"""One run, from its spec to a complete folder: `run_one` is the method section."""

import errno
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from paribus.config.spec import RunSpec
from paribus.evaluation.generate import generate, measure
from paribus.experiment.progress import Progress
from paribus.models.device import compute_dtype, default_device, describe, peak_memory_bytes
from paribus.models.load import for_inference, load_model, make_trainable
from paribus.planning.inputs import Inputs, prepare
from paribus.records import Generation
from paribus.seeds import derive
from paribus.store.layout import RunFolder
from paribus.store.runs import (
    FORMAT,
    append_event,
    begin,
    finish,
    write_generations,
    writing,
)
from paribus.training.train import StepRecord, event, train

OnProgress = Callable[[Progress], None]


def run_one(spec: RunSpec, folder: RunFolder, on_progress: OnProgress) -> None:
    """Train and test one arm with one seed, and store everything. Raises ParibusError."""
    on_progress(Progress(stage="loading"))
    config, device = spec.config, default_device()
    compute = compute_dtype(config.training.precision, device)
    seed = derive(spec.seed, "replicate", spec.replicate)

    inputs = prepare(config, spec.seed)
    begin(folder, spec_record(spec, inputs))
    model: nn.Module = load_model(inputs.source, compute, device)
    training = None
    if config.method != "none":
        torch.manual_seed(derive(seed, "init"))
        model = make_trainable(model, config.method, config.lora, compute)
        training = train(
            model,
            inputs.examples,
            config.training,
            seed=seed,
            compute=compute,
            device=device,
            folder=folder.path / "trackers",
            on_step=_step_reporter(folder, on_progress),
        )
        append_event(folder, {"event": "trained", **training})
    for_inference(model, compute)
    if training is not None and config.training.save_weights:
        _save(model, inputs.tokenizer, folder, config.model)

    generations, evaluation = measure(lambda: _generate(model, inputs, spec, on_progress), device)
    append_event(folder, {"event": "tested", **evaluation})
    write_generations(folder, config.evaluation.protocol, generations)
    finish(folder, _result(spec, inputs, training, evaluation, device))


def spec_record(spec: RunSpec, inputs: Inputs) -> dict[str, Any]:
    """Return the content of `spec.json`."""
    return {
        "format": FORMAT,
        "fingerprint": spec.fingerprint,
        "arm": spec.arm,
        "replicate": spec.replicate,
        "identity": spec.identity(),
        "inputs": inputs.identity(),
    }


def _step_reporter(folder: RunFolder, on_progress: OnProgress) -> Callable[[StepRecord], None]:
    spent: list[float] = []

    def report(record: StepRecord) -> None:
        append_event(folder, event(record))
        spent.append(record.seconds)
        timed = spent[1:] or spent
        on_progress(
            Progress(
                stage="training",
                done=record.step,
                total=record.num_steps,
                loss=record.loss,
                examples_per_second=record.examples / record.seconds,
                memory_bytes=record.peak_memory_bytes,
                seconds_left=(record.num_steps - record.step) * sum(timed) / len(timed),
            )
        )

    return report


def _generate(
    model: nn.Module, inputs: Inputs, spec: RunSpec, on_progress: OnProgress
) -> list[Generation]:
    started = time.perf_counter()
    total = len(inputs.prompts)
    device = next(model.parameters()).device

    def report(done: int) -> None:
        seconds = time.perf_counter() - started
        on_progress(
            Progress(
                stage="testing",
                done=done,
                total=total,
                examples_per_second=done / seconds if done else None,
                memory_bytes=peak_memory_bytes(device),
                seconds_left=(total - done) * seconds / done if done else None,
            )
        )

    report(0)
    return generate(
        model,
        inputs.tokenizer,
        inputs.prompts,
        stop_ids=_stop_ids(model, inputs),
        max_new_tokens=spec.config.evaluation.max_new_tokens,
        batch_size=spec.config.evaluation.batch_size,
        on_batch=report,
    )


def _stop_ids(model: nn.Module, inputs: Inputs) -> frozenset[int]:
    """Return the stop token trained on, and whatever else the model itself ends texts with."""
    config: Any = getattr(model, "generation_config", None)
    own = getattr(config, "eos_token_id", None)
    ids = {inputs.stop, inputs.tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])}
    return frozenset(id for id in ids if id is not None)


def _save(model: Any, tokenizer: Any, folder: RunFolder, base: str) -> None:
    """Save the adapter, or the whole model as a folder that `model:` takes."""
    with writing(folder.weights), _full_disk(folder):
        if hasattr(model, "peft_config"):
            # The base as the experiment names it; and no question to the Hub (peft asks otherwise).
            model.peft_config["default"].base_model_name_or_path = base
            model.save_pretrained(folder.weights, save_embedding_layers=False)
        else:
            model.save_pretrained(folder.weights)
            tokenizer.save_pretrained(folder.weights)


@contextmanager
def _full_disk(folder: RunFolder) -> Iterator[None]:
    """safetensors reports a full disk by an error of its own; make it the system's again."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(errno.ENOSPC, str(error), str(folder.weights)) from error


def _result(
    spec: RunSpec,
    inputs: Inputs,
    training: dict[str, Any] | None,
    evaluation: dict[str, Any],
    device: torch.device,
) -> dict[str, Any]:
    """Return the content of `result.json`: what was measured. Scores are derived, not stored."""
    config = spec.config
    reduced = config.training.precision
    frozen = {"full": "none", "lora": reduced, "none": reduced}[config.method]
    if training is not None:
        training = {
            **training,
            "train_examples": len(inputs.examples),
            "dropped_too_long": inputs.dropped,
        }
    return {
        "training": training,
        "evaluation": {"protocol": config.evaluation.protocol, **evaluation},
        "data": {
            "train_problems": len(inputs.problems.train),
            "test_problems": len(inputs.problems.test),
            "train_duplicates": inputs.problems.train_duplicates,
            "overlap": inputs.problems.overlap,
            "shot_id": inputs.problems.shot.id,
        },
        "precision": {
            "compute": reduced,
            "trainable": "none" if config.method == "none" else "fp32",
            "frozen": frozen,
        },
        "weights_note": inputs.source.note,
        "environment": {
            **{name: version(name) for name in ("paribus", "torch", "transformers", "peft")},
            "python": platform.python_version(),
            "device": device.type,
            "machine": f"{describe(device)}, {platform.system()} {platform.machine()}",
        },
    }
