"""The model of a run, made ready and trained: what every rank of it does alike.

model = trainable(job, point)
training = train_job(model, job, saves, on_step, validate)
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from paribus.models import ranks
from paribus.models.device import CPU
from paribus.models.load import for_inference, load_model, make_trainable
from paribus.running.job import Job
from paribus.seeds import derive
from paribus.store.checkpoints import Checkpoint
from paribus.store.results import TrainingCost
from paribus.training.checkpointing import Checkpoints, trained
from paribus.training.eva import start_from_inputs
from paribus.training.parts import all_of
from paribus.training.train import StepRecord, train


def untuned(job: Job) -> nn.Module:
    """Return the model of a run that trains none, ready to be tested."""
    return for_inference(_loaded(job, job.device), job.compute)


def _loaded(job: Job, device: torch.device) -> nn.Module:
    return load_model(job.inputs.source, job.compute, device, job.config.quantization)


def trainable(job: Job, point: Checkpoint | None) -> nn.Module:
    """Return the model as its first step finds it; what a `point` will replace may be other.

    One that is to be sharded is in the process's own memory.
    """
    config = job.config
    model = _trainable(job, _loaded(job, CPU if job.sharded else job.device))
    if point is None and config.method == "lora" and config.lora.init_lora_weights == "eva":
        start_from_inputs(model, job.inputs.examples, job.compute)
    return model


def _trainable(job: Job, model: nn.Module) -> nn.Module:
    config = job.config
    torch.manual_seed(derive(job.spec.stream, "init"))
    chosen = config.training.train_only
    return make_trainable(model, config.method, config.lora, job.compute, chosen)


def tested(model: nn.Module, job: Job) -> nn.Module:
    """Return `model`, once trained, as it is tested: all of it on this rank's device, rounded.

    Of a sharded one the weights are gathered into a model that is loaded for it: in the compute
    dtype and without gradients and states they take an eighth of what training took of each. To
    decode with sharded weights all ranks would have to take as many steps. Collective.
    """
    if not job.sharded:
        return for_inference(model, job.compute)
    whole = _loaded(job, job.device)
    if job.config.method != "full":
        whole = _trainable(job, whole)
    weights = dict(whole.named_parameters())
    for name, weight in trained(model).items():
        weights[name].data.copy_(all_of(weight))
    return for_inference(whole, job.compute)


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
        sharded=job.sharded,
    )
