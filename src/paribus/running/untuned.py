"""Candidate models, each tested untuned under several protocols before an experiment uses it.

    planned = plan_models(loaded, ["gemma-3-270m", "google/gemma-2b-it"], [])
    planned[0].runs[0].arm                      # "gemma-3-270m-zero_shot-raw-1f2e3d4c"
    failed = run_models(planned, loaded, Path("runs"), on_progress)

Each model and protocol is an ordinary run of a baseline in the experiment `baselines`, under a name
that no other data or settings share: what is there already is kept, and `reuse` finds it for any
experiment that includes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from paribus.config.check import absolute_paths
from paribus.config.keys import nearest
from paribus.config.load import Loaded
from paribus.config.schema import ArmConfig, ExperimentConfig, Shots
from paribus.config.spec import RunSpec
from paribus.design.arms import Arm, name_of
from paribus.design.matrix import Design, expand
from paribus.errors import ConfigError, DoesNotFit, PromptError, UserError
from paribus.files import sha256_of_json
from paribus.models.source import context_length, find_model
from paribus.planning import devices
from paribus.planning.encodings import tokenizer_of
from paribus.planning.prepare import prepare
from paribus.planning.settle import settle_alone
from paribus.planning.survey import native_precision
from paribus.running.executing import OnRun
from paribus.running.local import run_experiment

_Format = Literal["raw", "chat"]

BASELINES = "baselines"
"""Folder of all candidates' runs."""
PROTOCOLS: dict[str, tuple[Shots, _Format]] = {
    f"{shots}/{format}": (shots, format)
    for format in get_args(_Format)
    for shots in get_args(Shots)
}
"""What a candidate is tested under unless told otherwise; chat where its tokenizer can."""
_QUESTION = "What do these models solve before any tuning?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model that an experiment might use.

    Attributes:
        model: as it was named.
        runs: one for each protocol; empty if it cannot be had.
        skipped: what it is not tested under, and why that is not a fault.
        errors: what was asked for and cannot be done: message and remedy.
    """

    model: str
    runs: tuple[RunSpec, ...]
    skipped: tuple[str, ...]
    errors: tuple[str, ...]


def plan_models(loaded: Loaded, models: Sequence[str], protocols: Sequence[str]) -> list[Candidate]:
    """Return the candidates: `models`, or those of the experiment if there are none.

    Raises UserError if a model is named twice or a protocol is none of `PROTOCOLS`; what keeps a
    single model from being tested is among its errors.
    """
    _check(models, protocols)
    arms = expand(loaded).arms
    known = {arm.config.model: arm.config.revision for arm in arms}
    # Of another model, only a revision that was typed can be meant.
    typed = loaded.origins["revision"].kind == "command line"
    other = loaded.config.revision if typed else None
    also = dict.fromkeys(name for arm in arms for name in arm.config.evaluation.also)
    training = loaded.config.training
    if training.precision == "auto":
        training = replace(training, precision=native_precision(devices.device_here()))
    evaluation = replace(loaded.config.evaluation, also=tuple(also))
    shared = replace(loaded.config, training=training, evaluation=evaluation)
    return [
        _candidate(model, known.get(_located(model), other), protocols, shared)
        for model in models or known
    ]


def run_models(
    planned: Sequence[Candidate], loaded: Loaded, root: Path, on_progress: OnRun
) -> dict[str, str]:
    """Run what is not complete yet; return message and remedy of each failed run by its arm.

    A run that a rule refuses fails before anything is spent. Raises StoreError if the store cannot
    be used.
    """
    runs = [spec for candidate in planned for spec in candidate.runs]
    if not runs:
        return {}
    experiment = replace(loaded, config=_config(loaded))
    outcome = run_experiment(experiment, _design(runs, loaded), root, on_progress)
    return {spec.arm: message for spec, message in outcome.failed}


def _check(models: Sequence[str], protocols: Sequence[str]) -> None:
    located = [_located(model) for model in models]
    for model in models:
        if located.count(_located(model)) > 1:
            raise UserError(f"{model} is named twice", "name each model once")
    for name in protocols:
        if name not in PROTOCOLS:
            raise UserError(
                f"--protocols: {name!r} is not a protocol{nearest(name, list(PROTOCOLS))}",
                f"choose from {', '.join(PROTOCOLS)}",
            )


def _located(model: str) -> str:
    """Return `model` as a config holds it: a folder's path is absolute."""
    return str(absolute_paths({"model": model}, {})["model"])


def _candidate(
    model: str, revision: str | None, wanted: Sequence[str], shared: ExperimentConfig
) -> Candidate:
    runs: list[RunSpec] = []
    skipped: list[str] = []
    errors: list[str] = []
    try:
        source = find_model(_located(model), revision)
        tokenizer, context = tokenizer_of(source), context_length(source)
        for name in dict.fromkeys(wanted or PROTOCOLS):
            if name.endswith("/chat") and not tokenizer.chat_template:
                skipped.append(f"{name}: its tokenizer has no chat template")
                continue
            try:
                runs.append(_run(_located(model), revision, name, shared, context))
            except (DoesNotFit, ConfigError) as error:
                if wanted:
                    errors.append(f"{name}: {error}")
                else:
                    skipped.append(f"{name}: {error.message}")
            except PromptError as error:
                errors.append(f"{name}: {error}")
    except UserError as error:
        errors.append(str(error))
    return Candidate(
        model=model,
        runs=tuple(runs),
        skipped=tuple(skipped),
        errors=tuple(errors),
    )


def _run(
    model: str, revision: str | None, protocol: str, shared: ExperimentConfig, context: int | None
) -> RunSpec:
    """Return one model's run under one protocol. Raises UserError if its texts cannot be made.

    A calculator that arms of the experiment have is tried with the protocol it belongs to.
    `prompt.max_tokens` spares training memory and time: here the model's context is the limit.
    """
    shots, format = PROTOCOLS[protocol]
    evaluation, limit = shared.evaluation, max(shared.prompt.max_tokens, context or 0)
    also = tuple(name for name in evaluation.also if name == f"{protocol}+calculator")
    config = ArmConfig(
        model=model,
        task=shared.task,
        revision=revision,
        method="none",
        data=shared.data,
        prompt=replace(shared.prompt, format=format, max_tokens=limit),
        lora=shared.lora,
        training=shared.training,
        evaluation=replace(evaluation, protocol=shots, also=also),
    )
    inputs = prepare(config, shared.seed)
    config = settle_alone(config, inputs, devices.device_here)
    draft = RunSpec(experiment=BASELINES, arm="", replicate=0, seed=shared.seed, config=config)
    # The fingerprint knows no content of folders, and no precision of an arm that trains nothing.
    parts = [draft.fingerprint, inputs.identity(), config.training.computes_in]
    return replace(draft, arm=name_of([model, shots, format, sha256_of_json(parts)[:8]]))


def _config(loaded: Loaded) -> ExperimentConfig:
    """Return the values of the experiment that all candidates together are."""
    return replace(
        loaded.config, name=BASELINES, question=_QUESTION, hypothesis="", matrix={}, arms={},
        contrasts="auto", tune=None, strict=False, paired_seeds=False, labels=None, seeds=1,
        budget=None, looks=None,
    )  # fmt: skip


def _design(runs: Sequence[RunSpec], loaded: Loaded) -> Design:
    """Return `runs` as an experiment: an arm for each, and nothing to compare."""
    arms = [
        Arm(name=run.arm, config=run.config, factors={}, set_by={}, origins=loaded.origins)
        for run in runs
    ]
    return Design(
        arms=arms, contrasts=[], runs=list(runs), trials=[], open=frozenset(), independent=True
    )
