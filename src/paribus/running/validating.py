"""Measure a model on the validation problems while it trains, and choose which weights are tested.

    validating = Validating(model, job, pieces, saves)
    train(model, …, validate=validating)                 # at the steps of `evaluation.at`
    validating.conclude()                                # puts back the weights to be tested

What is measured is the model as it would be tested: its weights rounded, without dropout. Then it
trains on as if nothing had happened, bit for bit. A measurement is kept as a piece: a run that is
interrupted does not make it again. No text is kept, only what the main scorer says of all.
"""

from collections import Counter
from collections.abc import Sequence
from math import fsum
from pathlib import Path
from typing import Any

import torch
from torch import nn

from paribus.evaluation.engine.likelihood import likelihoods, measure_likelihoods
from paribus.evaluation.scorers import scorers_of
from paribus.models.device import peak_memory_bytes, reset_peak_memory, return_freed
from paribus.models.load import as_tested
from paribus.planning.inputs import Validation
from paribus.planning.stored import length_of
from paribus.running.job import Job
from paribus.running.testing import reporter, write
from paribus.store.checkpoints import Pieces
from paribus.store.results import Validated
from paribus.store.runs import append_event, read_events
from paribus.training.batching import measured_steps
from paribus.training.checkpointing import Checkpoints
from paribus.training.train import StepRecord

VALIDATED = "validated"
"""The event of one measurement."""


class Validating:
    """The measurements of one training."""

    def __init__(self, model: nn.Module, job: Job, pieces: Pieces, saves: Checkpoints) -> None:
        self.model, self.job, self.pieces, self.saves = model, job, pieces, saves
        self.steps = steps_of(job)
        self.best: Path | None = None  # where the weights to be tested lie, if not the last

    @property
    def measured(self) -> list[Validated]:
        """What was measured so far, in the order of the steps."""
        rows = read_events(self.job.folder, VALIDATED)
        return [
            Validated(**{name: value for name, value in row.items() if name != "event"})
            for row in rows
        ]

    def __call__(self, records: Sequence[StepRecord]) -> dict[str, float]:
        """Measure the model if it is time after the last of `records`; return what trackers get."""
        step, validation = records[-1].step, self.job.inputs.validation
        if validation is None or step not in self.steps:
            return {}
        moment = Validated(
            step=step,
            examples=sum(record.examples for record in records),
            tokens=sum(record.tokens for record in records),
            target_tokens=sum(record.target_tokens for record in records),
            seconds=fsum(record.seconds for record in records),
            **self._measured_at(step, validation),
        )
        append_event(self.job.folder, {"event": VALIDATED, **moment.record()})
        if self._chooses and self._best_step() == step != max(self.steps):
            self.saves.keep_best(step, self.model)
        figures = {"eval_loss": moment.loss, "eval_score": moment.score}
        return {name: value for name, value in figures.items() if value is not None}

    def conclude(self) -> dict[str, Any]:
        """Put the weights that are to be tested into the model; return what `RunResult` holds."""
        if not self.steps:
            return {}
        best = self._best_step() if self._chooses else None
        if best is not None and best != max(self.steps):
            self.best = self.saves.restore_best(best, self.model)
        chosen = {} if best is None else {"tested_step": best}
        return {"validated": self.measured, **chosen}

    @property
    def _chooses(self) -> bool:
        return self.job.config.evaluation.checkpoint == "best_loss"

    def _best_step(self) -> int | None:
        """Return the step with the lowest loss, the first of equals.

        Not of a run that this one continues from: its weights are not kept.
        """
        begun = (self.saves.forked_from or {}).get("step", 0)
        own = [moment for moment in self.measured if moment.step > begun]
        losses = [(moment.loss, moment.step) for moment in own if moment.loss is not None]
        return min(losses)[1] if losses else None

    def _measured_at(self, step: int, validation: Validation) -> dict[str, Any]:
        """Return what the model comes to after `step`, by the names of `Validated`."""
        name = f"validation-step{step}"
        piece = self.pieces.read(name)
        if piece is None:
            device = self.job.device
            return_freed(device)
            with (
                as_tested(self.model, self.job.compute),
                torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
            ):
                piece = self._measure(validation)
            return_freed(device)
            reset_peak_memory(device)
            self.pieces.write(name, piece)
        return piece

    def _measure(self, validation: Validation) -> dict[str, Any]:
        job, problems = self.job, [prompt.problem for prompt in validation.asked.prompts]
        reset_peak_memory(job.device)
        _, heldout = measure_likelihoods(
            lambda: likelihoods(
                self.model,
                validation.gold,
                [problem.id for problem in problems],
                batch_size=job.config.evaluation.at_once,
                on_batch=reporter("validating", len(problems), job),
            )
        )
        peak, texts = peak_memory_bytes(job.device), dict[str, Any]()
        if job.config.evaluation.at_generates:
            texts = self._generate(validation)
            peak = max(peak, texts["evaluation"]["peak_memory_bytes"])
        return {"heldout": heldout.record(), **texts, "peak_memory_bytes": peak}

    def _generate(self, validation: Validation) -> dict[str, Any]:
        """Return what the texts for the problems come to; it is never vLLM that writes them."""
        config, asked = self.job.config, validation.asked
        whole = slice(0, len(asked.prompts))
        generations, cost = write(self.model, self.job, asked, None, whole, stage="validating")
        scorers = scorers_of(config.task, config.evaluation.answer)
        judged = [scorers.judge(generation) for generation in generations]
        return {
            "evaluation": {**cost.record(), "protocol": asked.protocol.name},
            "scorer": scorers.main,
            "score": fsum(value for _, value in judged) / len(judged),
            "outcomes": dict(Counter(outcome.value for outcome, _ in judged)),
        }


def steps_of(job: Job) -> frozenset[int]:
    """Return the optimizer steps after which a run is measured; none without `evaluation.at`."""
    if job.inputs.validation is None:
        return frozenset()
    steps = measured_steps(
        job.config.evaluation.at,
        length_of(job.spec, job.inputs),
        num_examples=len(job.inputs.examples),
        batch_size=job.config.training.batch_size,
    )
    return frozenset(steps)
