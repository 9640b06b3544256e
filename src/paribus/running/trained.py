"""The model of a run, made ready and trained: what every rank of it does alike.

model = trainable(job, point)
training = train_job(model, job, saves, on_step, validate)
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from paribus.models import ranks
from paribus.models.load import for_inference, load_model, make_trainable
from paribus.running.job import Job
from paribus.seeds import derive
from paribus.store.checkpoints import Checkpoint
from paribus.store.results import TrainingCost
from paribus.training.checkpointing import Checkpoints
from paribus.training.eva import start_from_inputs
from paribus.training.train import StepRecord, train


def untuned(job: Job) -> nn.Module:
    """Return the model of a run that trains none, ready to be tested."""
    return for_inference(_loaded(job), job.compute)


def _loaded(job: Job) -> nn.Module:
    return load_model(job.inputs.source, job.compute, job.device, job.config.quantization)


def trainable(job: Job, point: Checkpoint | None) -> nn.Module:
    """Return the model as its first step finds it; with a `point`, which replaces them, its weights
    that train may be others.
    """
    config, model = job.config, _loaded(job)
    torch.manual_seed(derive(job.spec.stream, "init"))
    chosen = config.training.train_only
    model = make_trainable(model, config.method, config.lora, job.compute, chosen)
    if point is None and config.method == "lora" and config.lora.init_lora_weights == "eva":
        start_from_inputs(model, job.inputs.examples, job.compute)
    return model


def train_job(
    model: nn.Module,
    job: Job,
    saves: Checkpoints,
    on_step: Callable[[StepRecord], None],
    validate: Callable[[Sequence[StepRecord]], dict[str, float]],
) -> TrainingCost:
    """Train `model` as the run says and return what it cost; see `training.train`."""
    config, training = job.config, job.config.training
    if ranks.rank():
        training = replace(training, trackers=())  # rank 0 has the figures of all
    return train(
        model,
        job.inputs.examples,
        training,
        seed=job.spec.stream,
        compute=job.compute,
        folder=job.folder.trackers,
        on_step=on_step,
        checkpoints=saves,
        validate=validate,
        loraplus_lr_ratio=config.lora.loraplus_lr_ratio if config.method == "lora" else None,
    )
