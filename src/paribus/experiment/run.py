"""One run, from its spec to a complete folder: `run_one` is the method section."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from paribus.config.spec import RunSpec
from paribus.experiment.measurement import measure_all
from paribus.experiment.progress import OnProgress, Progress
from paribus.experiment.result import result_record, spec_record
from paribus.models.device import compute_dtype, default_device
from paribus.models.load import for_inference, load_model, make_trainable
from paribus.planning.inputs import prepare
from paribus.seeds import derive
from paribus.store.layout import RunFolder
from paribus.store.runs import append_event, begin, finish, writing
from paribus.training.train import StepRecord, event, train


def run_one(spec: RunSpec, folder: RunFolder, on_progress: OnProgress) -> None:
    """Train and test one arm with one seed, and store everything. Raises ParibusError.

    A trial of a learning rate is a run like any other, tested on the validation problems.
    """
    on_progress(Progress(stage="loading"))
    config, device = spec.config, default_device()
    compute = compute_dtype(config.training.precision, device)

    inputs = prepare(config, spec.seed, trial=spec.trial)
    begin(folder, spec_record(spec, inputs))
    model: nn.Module = load_model(inputs.source, compute, device)
    training = None
    if config.method != "none":
        torch.manual_seed(derive(spec.stream, "init"))
        model = make_trainable(model, config.method, config.lora, compute)
        training = train(
            model,
            inputs.examples,
            config.training,
            seed=spec.stream,
            compute=compute,
            device=device,
            folder=folder.path / "trackers",
            on_step=_step_reporter(folder, on_progress),
        )
        append_event(folder, {"event": "trained", **training})
    for_inference(model, compute)
    if training is not None and config.training.save_weights:
        _save(model, inputs.tokenizer, folder, config.model)

    measured = measure_all(model, inputs, spec, folder, on_progress)
    finish(folder, result_record(spec, inputs, training, measured, device))


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
