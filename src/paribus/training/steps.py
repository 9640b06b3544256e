"""What is recorded of each optimizer step, and what a whole training cost."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from paribus.prompts.encode import Encoded
from paribus.store.results import TrainingCost


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One optimizer step, as it is written to `events.jsonl`.

    Attributes:
        step: from 1.
        num_steps: how many there will be.
        loss: mean cross-entropy over the step's target tokens, in nats.
        grad_norm: before clipping.
        learning_rate: used in this step.
        seconds: duration of this step.
        examples: in this step.
        target_tokens: tokens with loss.
        tokens: prompt and target tokens: all that is computed, nothing is padded.
        examples_per_second: None for the first step of a process, which warms up.
        tokens_per_second: of `tokens`; None where that is.
        peak_memory_bytes: since training began.
    """

    step: int
    num_steps: int
    loss: float
    grad_norm: float
    learning_rate: float
    seconds: float
    examples: int
    target_tokens: int
    tokens: int
    examples_per_second: float | None
    tokens_per_second: float | None
    peak_memory_bytes: int


def step_record(
    step: int,
    num_steps: int,
    figures: dict[str, float],
    micro_batches: Sequence[Sequence[Encoded]],
    seconds: float,
    peak: int,
    *,
    warm: bool,
) -> StepRecord:
    """Return the record of a step; while a process is not `warm`, its step has no rates."""
    counts = _tokens(micro_batches)
    return StepRecord(
        step=step,
        num_steps=num_steps,
        loss=figures["loss"],
        grad_norm=figures["grad_norm"],
        learning_rate=figures["learning_rate"],
        seconds=seconds,
        **counts,
        examples_per_second=counts["examples"] / seconds if warm else None,
        tokens_per_second=counts["tokens"] / seconds if warm else None,
        peak_memory_bytes=peak,
    )


def tracked(record: StepRecord) -> dict[str, float]:
    """Return what trackers get beside what the Trainer logs itself."""
    figures = {
        "examples_per_second": record.examples_per_second,
        "tokens_per_second": record.tokens_per_second,
        "peak_memory_gb": record.peak_memory_bytes / 10**9,
    }
    return {key: value for key, value in figures.items() if value is not None}


def _tokens(micro_batches: Sequence[Sequence[Encoded]]) -> dict[str, int]:
    """Return what a step's micro-batches hold, by the names of StepRecord."""
    batch = [example for micro_batch in micro_batches for example in micro_batch]
    return {
        "examples": len(batch),
        "target_tokens": sum(example.target_length for example in batch),
        "tokens": sum(len(example.ids) for example in batch),
    }


def cost(records: Sequence[StepRecord], trainable: int, total: int) -> TrainingCost:
    """Return what the steps took. Rates leave out the steps that warm up."""
    timed = [record for record in records if record.examples_per_second is not None] or records
    seconds = sum(record.seconds for record in timed)
    return TrainingCost(
        steps=len(records),
        examples=sum(record.examples for record in records),
        seconds=sum(record.seconds for record in records),
        examples_per_second=sum(record.examples for record in timed) / seconds,
        tokens_per_second=sum(record.tokens for record in timed) / seconds,
        target_tokens_per_second=sum(record.target_tokens for record in timed) / seconds,
        target_tokens=sum(record.target_tokens for record in records),
        first_loss=records[0].loss,
        final_loss=median(record.loss for record in records[-4:]),
        peak_memory_bytes=max(record.peak_memory_bytes for record in records),
        trainable_parameters=trainable,
        total_parameters=total,
    )


def event(record: StepRecord) -> dict[str, Any]:
    """Return the record as a line of `events.jsonl`."""
    return {"event": "step", **asdict(record)}


def from_event(row: dict[str, Any]) -> StepRecord:
    """Return what `event` made a line of."""
    return StepRecord(**{name: value for name, value in row.items() if name != "event"})
