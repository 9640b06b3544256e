"""Test a trained model: its texts under every protocol, and the likelihood of gold solutions.

Before any of it reads the test split, a line in the experiment's ledger says so.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from paribus.config.spec import RunSpec
from paribus.data.problems import hash_of_tests
from paribus.evaluation import by_vllm
from paribus.evaluation.by_vllm import Continued
from paribus.evaluation.generate import generate, measure
from paribus.evaluation.likelihood import likelihoods, measure_likelihoods
from paribus.experiment.progress import OnProgress, Progress, Stage
from paribus.models.device import peak_memory_bytes
from paribus.planning.inputs import Inputs, PromptSet
from paribus.records import Generation
from paribus.store.layout import RunFolder
from paribus.store.ledger import LIKELIHOOD, TestRead, append_read, now
from paribus.store.runs import append_event, write_generations, write_heldout


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What testing cost, as it is stored in `result.json`: the texts are in files of their own.

    Attributes:
        evaluation: figures of the main protocol.
        also: figures of each further protocol, by its full name.
        heldout: likelihood of the gold solutions after the main protocol's prompts.
    """

    evaluation: dict[str, Any]
    also: dict[str, dict[str, Any]]
    heldout: dict[str, Any]


def measure_all(
    model: nn.Module,
    inputs: Inputs,
    spec: RunSpec,
    folder: RunFolder,
    on_progress: OnProgress,
    vllm: Continued | None = None,
) -> Measured:
    """Test `model` under each of the arm's protocols and store what it wrote. Raises StoreError.

    Where there is a `vllm`, it decodes; likelihoods are always computed here.
    """
    figures: dict[str, dict[str, Any]] = {}
    device = next(model.parameters()).device
    for asked in inputs.prompt_sets:
        name = asked.protocol.name
        _enter(name, inputs, spec, folder)
        run = partial(_generate, model, inputs, asked, spec, on_progress, vllm)
        generations, cost = measure(run, device)
        if vllm is not None:
            cost["peak_memory_bytes"] = None  # what was measured is not the process that decoded
        figures[name] = {"protocol": name, **cost}
        append_event(folder, {"event": "tested", **figures[name]})
        write_generations(folder, name, generations)
    main = inputs.prompt_sets[0].protocol.name
    evaluation = figures.pop(main)
    heldout = _measure_heldout(model, inputs, spec, folder, on_progress)
    return Measured(evaluation=evaluation, also=figures, heldout=heldout)


def _measure_heldout(
    model: nn.Module, inputs: Inputs, spec: RunSpec, folder: RunFolder, on_progress: OnProgress
) -> dict[str, Any]:
    _enter(LIKELIHOOD, inputs, spec, folder)
    device = next(model.parameters()).device
    report = _reporter("likelihood", len(inputs.gold), device, on_progress)
    found, figures = measure_likelihoods(
        lambda: likelihoods(
            model,
            inputs.gold,
            [problem.id for problem in inputs.tested],
            batch_size=spec.config.evaluation.batch_size,
            on_batch=report,
        )
    )
    variant = spec.config.data.variant if inputs.trial else inputs.problems.test_variant.value
    figures = {"variant": variant, **figures}
    append_event(folder, {"event": "likelihood", **figures})
    write_heldout(folder, map(asdict, found))
    return figures


def _enter(protocol: str, inputs: Inputs, spec: RunSpec, folder: RunFolder) -> None:
    """Write into the ledger that the test split is about to be read; a trial does not read it."""
    if spec.trial:
        return
    read = TestRead(
        time=now(),
        arm=spec.arm,
        seed=spec.replicate,
        protocol=protocol,
        problems=len(inputs.tested),
        test_sha256=hash_of_tests(inputs.tested),
        fingerprint=spec.fingerprint,
    )
    append_read(folder.experiment.ledger, read)


def _generate(
    model: nn.Module,
    inputs: Inputs,
    asked: PromptSet,
    spec: RunSpec,
    on_progress: OnProgress,
    vllm: Continued | None,
) -> list[Generation]:
    device = next(model.parameters()).device
    report = _reporter("testing", len(asked.prompts), device, on_progress)
    report(0)
    decode = partial(generate, model) if vllm is None else partial(by_vllm.generate, vllm)
    return decode(
        inputs.tokenizer,
        asked.prompts,
        stop_ids=_stop_ids(model, inputs, asked),
        max_new_tokens=spec.config.evaluation.max_new_tokens,
        batch_size=spec.config.evaluation.batch_size,
        on_batch=report,
        calculator=asked.protocol.calculator,
    )


def _reporter(
    stage: Stage, total: int, device: torch.device, on_progress: OnProgress
) -> Callable[[int], None]:
    """Return a function that reports how many of `total` problems are done."""
    started = time.perf_counter()

    def report(done: int) -> None:
        seconds = time.perf_counter() - started
        on_progress(
            Progress(
                stage=stage,
                done=done,
                total=total,
                examples_per_second=done / seconds if done else None,
                memory_bytes=peak_memory_bytes(device),
                seconds_left=(total - done) * seconds / done if done else None,
            )
        )

    return report


def _stop_ids(model: nn.Module, inputs: Inputs, asked: PromptSet) -> frozenset[int]:
    """Return the stop token trained on, and whatever else the model itself ends texts with."""
    config: Any = getattr(model, "generation_config", None)
    own = getattr(config, "eos_token_id", None)
    ids = {asked.stop, inputs.tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])}
    return frozenset(id for id in ids if id is not None)
