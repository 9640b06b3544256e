"""One run, from its spec to a complete folder: `run_one` is the method section.

    run_one(spec, folder, on_progress)      # RunFailed, with the rule cards, if a probe fails

The model is probed before its first step.
"""

import gc
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from paribus.config.spec import RunSpec
from paribus.errors import RunFailed
from paribus.models.device import beside_torch, compute_dtype, default_device, return_freed
from paribus.models.fast import blocked
from paribus.models.load import load_model
from paribus.models.source import ModelSource
from paribus.planning.cost.memory import CUDA_CONTEXT
from paribus.planning.forecast import Planned
from paribus.planning.prepare import prepare
from paribus.planning.rules.cards import card
from paribus.planning.stored import length_of, take_up
from paribus.prompts.encode import leading_bos
from paribus.running.engine import engine, save_model, save_weights
from paribus.running.further import go_further, stored_before
from paribus.running.job import Job
from paribus.running.progress import OnProgress, Pace, Progress
from paribus.running.ranks import Hold, Ready, Train, together
from paribus.running.record import result_record, spec_record
from paribus.running.reuse import reuse
from paribus.running.testing import measure_all
from paribus.running.trained import tested, train_job, trainable, untuned
from paribus.running.validating import Validating
from paribus.store.checkpoints import Pieces
from paribus.store.layout import RunFolder
from paribus.store.runs import append_event, begin, finish
from paribus.training.checkpointing import Checkpoints
from paribus.training.probe_checks import Ends, Saving
from paribus.training.probes import probe
from paribus.training.train import StepRecord, event


def probe_model(model: nn.Module, job: Job) -> dict[str, Any]:
    """Return the event of a model that passed all probes. Raises RunFailed, with the cards, if not.

    The model is afterwards what it was, bit for bit.
    """
    inputs = job.inputs
    probed = probe(
        model,
        inputs.examples,
        job.config,
        compute=job.compute,
        device=job.device,
        passes=not job.sharded,
        ends=Ends(bos=leading_bos(inputs.tokenizer), stop=inputs.prompt_sets[0].stop),
        saving=Saving(
            folder=job.folder.path,
            save=partial(save_model, model, inputs, job.config),
            reload=partial(_reload, job),
        ),
    )
    if probed.failures:
        lines = [
            f"{failure.id} {card(failure.id).title}: {failure.found}" for failure in probed.failures
        ]
        remedies = dict.fromkeys(card(failure.id).instead for failure in probed.failures)
        raise RunFailed(
            "\n  ".join(["stopped before the first step:", *lines]),
            "\n    ".join([*remedies, f"more: paribus explain {probed.failures[0].id}"]),
        )
    return {
        "event": "probed",
        "seconds": probed.seconds,
        "warnings": [
            f"{warning.id} {card(warning.id).title}: {warning.found}" for warning in probed.warnings
        ],
        "dtypes": [asdict(row) for row in probed.dtypes],
    }


def _reload(job: Job, path: Path) -> nn.Module:
    return load_model(ModelSource(path=path, identity=""), job.compute, job.device)


def run_one(
    spec: RunSpec,
    folder: RunFolder,
    on_progress: OnProgress,
    planned: Planned | None = None,
    *,
    fork: bool = False,
) -> None:
    """Train and test one arm with one seed, and store everything. Raises ParibusError, Stopped.

    A trial is a run like any other, tested on the validation problems. What was
    `planned` for it is stored beside what is measured. An unfinished run resumes where it stopped;
    with `fork` also if it was another run. The caller holds its lock.
    """
    on_progress(Progress(stage="loading"))
    config, device = spec.config, default_device()
    job = Job(
        spec=spec,
        inputs=prepare(config, spec.seed, trial=spec.trial is not None),
        folder=folder,
        device=device,
        compute=compute_dtype(config.training.computes_in, device),
        on_progress=on_progress,
        sharded=bool(planned and planned.sharded),
    )
    if before := stored_before(spec, folder):
        go_further(before, job)
    elif not reuse(job):
        _train_and_test(job, planned, fork=fork)


def _train_and_test(job: Job, planned: Planned | None, *, fork: bool) -> None:
    config, folder = job.config, job.folder
    record = spec_record(job)
    steps = length_of(job.spec, job.inputs)
    point = take_up(folder, record, steps=steps, fork=fork, on_note=job.note)
    begin(folder, record, events=point.path / folder.events.name if point else None)
    if point:
        append_event(folder, {"event": "resumed", "step": point.step})
    elif planned:
        append_event(folder, planned.event())
    if planned and job.device.type == "cuda":
        tell_of_others(planned, job)
    training = None
    minutes = config.training.checkpoint_minutes
    saves = Checkpoints(folder=folder, run=record, minutes=minutes, point=point)
    pieces = Pieces(folder=folder, run=record, on_damaged=job.note)
    validated: dict[str, Any] = {}
    if config.method == "none":
        with together(Hold.of(job, untuned)):
            model = untuned(job)
    else:
        model = trainable(job, point)
        validating = Validating(model, job, pieces, saves)
        if point is None:
            _probe(model, job)
        with together(Train.of(job, point)):
            training = train_job(model, job, saves, _step_reporter(job), validating)
        append_event(folder, {"event": "trained", **training.record()})
        validated = validating.conclude()
        with together(Ready(best=validating.best)):
            model = tested(model, job)
    gc.collect()  # a library's objects may hold each other, and with them what training took
    return_freed(job.device)
    if training is not None and config.training.save_weights:
        save_weights(model, job.inputs, config, folder.weights)

    with engine(model, job) as vllm:
        blocked.use(model)
        measured = measure_all(model, job, pieces, vllm)
    saves.wait()
    result = result_record(job, training, measured, planned, saves.forked_from)
    finish(folder, result.model_copy(update=validated))


def tell_of_others(planned: Planned, job: Job) -> None:
    """Say so if what other programs hold of the GPU leaves less than was planned for."""
    text = planned.beside(max(0, beside_torch(job.device) - CUDA_CONTEXT))
    if text:
        job.note(text)


def _probe(model: nn.Module, job: Job) -> None:
    job.on_progress(Progress(stage="probing"))
    probed = probe_model(model, job)
    append_event(job.folder, probed)
    for warning in probed["warnings"]:
        job.note(warning)


def _step_reporter(job: Job) -> Callable[[StepRecord], None]:
    pace = Pace(at_once=1)  # whose first one warms up

    def report(record: StepRecord) -> None:
        append_event(job.folder, event(record))
        left = record.num_steps - record.step
        steps_a_second = pace.rate(1, record.seconds, left)
        job.on_progress(
            Progress(
                stage="training",
                done=record.step,
                total=record.num_steps,
                loss=record.loss,
                examples_per_second=record.examples_per_second,
                memory_bytes=record.peak_memory_bytes,
                seconds_left=left / steps_a_second if steps_a_second else None,
            )
        )

    return report
