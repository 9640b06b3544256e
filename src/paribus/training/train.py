"""Train one arm: encoded examples in, a tuned model and its measured cost out.

plan batches -> Trainer -> one record per optimizer step -> TrainingCost
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments

from paribus.config.schema import TrainingConfig
from paribus.models import ranks
from paribus.models.device import default_device, peaks, reset_peak_memory, return_freed
from paribus.models.kernels import on_gpu
from paribus.models.load import count_parameters
from paribus.prompts.encode import Encoded
from paribus.seeds import derive
from paribus.stopping import asked, at_a_step
from paribus.store.results import TrainingCost, most_reserved
from paribus.training import optimizers
from paribus.training.batching import order_seed, plan_training, share_of
from paribus.training.checkpointing import Checkpoints
from paribus.training.parallel import Replicated, Sharded
from paribus.training.trainer import RECOMPUTING, Additions, CompletionTrainer


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
        peak_memory_bytes: since training began, or the model was last measured.
        peak_reserved_bytes: what torch held of a GPU meanwhile; None on a CPU.
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
    peak_reserved_bytes: int | None = None


def step_record(
    step: int,
    num_steps: int,
    figures: dict[str, float],
    micro_batches: Sequence[Sequence[Encoded]],
    seconds: float,
    peaks: Mapping[str, int],
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
        **peaks,
    )


def tracked(record: StepRecord) -> dict[str, float]:
    """Return what trackers get in addition to the Trainer's own logs."""
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
        **most_reserved(record.peak_reserved_bytes for record in records),
        trainable_parameters=trainable,
        total_parameters=total,
    )


def event(record: StepRecord) -> dict[str, Any]:
    """Return the record as a line of `events.jsonl`."""
    row = {"event": "step", **asdict(record)}
    if record.peak_reserved_bytes is None:  # as on a CPU
        del row["peak_reserved_bytes"]
    return row


def from_event(row: dict[str, Any]) -> StepRecord:
    """Return what `event` made a line of."""
    return StepRecord(**{name: value for name, value in row.items() if name != "event"})


_SCHEDULES = {
    "cosine": "cosine_with_min_lr",
    "linear": "linear",
    "constant": "constant_with_warmup",
    "inverse_sqrt": "inverse_sqrt",
    "wsd": "warmup_stable_decay",
}
USUAL_DECAY, USUAL_BETAS, USUAL_EPSILON = 0.2, (0.9, 0.999), 1e-8
"""What `training.decay`, `beta1`, `beta2`, `epsilon` are where the experiment states nothing."""


def train(  # noqa: PLR0913  # what a training needs to know
    model: nn.Module,
    examples: Sequence[Encoded],
    config: TrainingConfig,
    *,
    seed: int,
    compute: torch.dtype,
    folder: Path,
    on_step: Callable[[StepRecord], None],
    checkpoints: Checkpoints | None = None,
    validate: Callable[[Sequence[StepRecord]], dict[str, float]] = lambda _: {},
    loraplus_lr_ratio: float | None = None,
    sharded: bool = False,
) -> TrainingCost:
    """Train `model` in place and return the measured cost.

    `seed` is the root of the run's random streams, `folder` is for trackers' files. With
    `checkpoints` training resumes from their `point`, and the trained weights are saved at the end.
    `validate` is called after each step with all steps so far: it may measure the model, which it
    leaves as it was. Its time is none of training's; trackers get what it returns.
    `loraplus_lr_ratio` is LoRA's key. Where there are several ranks all call it, each with the same
    model: the steps are those of one process, and every rank computes its share of each. With
    `sharded` each is left with a part of every weight.
    Raises RunFailed if loss or gradient norm is not finite, StoreError if a checkpoint cannot be
    written, Stopped if that was asked for.
    """
    device = default_device() if sharded else next(model.parameters()).device
    steps = plan_training(examples, config, order_seed(seed))
    num_steps, rank = len(steps), ranks.rank()
    own = [share_of(step, rank, ranks.count(), config.pass_size) for step in steps]
    point = checkpoints.point if checkpoints else None
    records = [from_event(row) for row in checkpoints.events()] if checkpoints else []
    if checkpoints and point and point.step >= num_steps:
        checkpoints.restore_weights(model)  # training was over before the run was interrupted
        return cost(records, *count_parameters(model))
    started = time.perf_counter()

    def record(step: int, figures: dict[str, float]) -> dict[str, float]:
        nonlocal started
        seconds, started = time.perf_counter() - started, time.perf_counter()
        micro_batches = [[examples[i] for i in batch] for batch in steps[step - 1]]
        warm = step > 1 + (point.step if point else 0)
        row = step_record(
            step, num_steps, figures, micro_batches, seconds, _largest(device), warm=warm
        )
        records.append(row)
        on_step(row)
        before = time.perf_counter()
        measured = validate(records)
        started += time.perf_counter() - before
        return tracked(row) | measured

    reset_peak_memory(device)
    trainer = CompletionTrainer(
        model,
        arguments(config, num_steps, _dropout_seed(seed, rank), device, folder, len(own[0])),
        examples=examples,
        micro_batches=[batch for step in own for batch in step],
        compute=compute,
        on_step=record,
        checkpoints=checkpoints,
        additions=Additions(
            muon=config.optimizer == "muon",
            loraplus_lr_ratio=loraplus_lr_ratio,
            neftune_noise_alpha=config.neftune_noise_alpha,
            together=(Sharded if sharded else Replicated) if ranks.count() > 1 else None,
        ),
    )
    if sharded:  # what was whole until now
        return_freed(device)
        reset_peak_memory(device)
    started = time.perf_counter()
    with at_a_step() if checkpoints else nullcontext():
        trainer.train(resume_from_checkpoint=str(point.path) if point else None)
        if checkpoints is not None:
            checkpoints.save(num_steps, model)
            if asked():
                checkpoints.wait()
    return cost(records, *count_parameters(model))


def _largest(device: torch.device) -> dict[str, Any]:
    """Return the peaks of the rank that took most. Collective."""
    of_ranks = ranks.gathered(peaks(device))
    return {name: max(each[name] for each in of_ranks) for name in of_ranks[0]}


def _dropout_seed(seed: int, rank: int) -> int:
    """Return the seed of what a rank drops: that of rank 0 is that of one process."""
    return derive(seed, "dropout", rank) if rank else derive(seed, "dropout")


def _shape(config: TrainingConfig, num_steps: int) -> dict[str, Any]:
    """Return what a schedule must know beyond its steps and its warm-up."""
    if config.schedule == "cosine":
        return {"min_lr": config.min_learning_rate}
    if config.schedule == "wsd":
        share = USUAL_DECAY if config.decay is None else config.decay
        return {
            "num_decay_steps": min(
                round(share * num_steps), num_steps - warmup_steps(config, num_steps)
            ),
            "min_lr_ratio": config.min_learning_rate / config.peak_rate,
        }
    return {}


def warmup_steps(config: TrainingConfig, num_steps: int) -> int:
    """Return the steps over which the learning rate rises from zero."""
    return round(config.warmup * num_steps)


def arguments(
    config: TrainingConfig,
    num_steps: int,
    seed: int,
    device: torch.device,
    folder: Path,
    passes: int | None = None,
) -> TrainingArguments:
    """Return what `config` means to the Trainer: every value stated, none left to its defaults.

    `passes` are those of a step on this rank; None: all.
    """
    recomputing: dict[str, Any] = {
        RECOMPUTING: config.recomputes,
        f"{RECOMPUTING}_kwargs": {"use_reentrant": False} if config.recomputes else None,
    }
    stated = TrainingArguments(
        output_dir=str(folder),
        max_steps=num_steps,
        per_device_train_batch_size=config.pass_size,
        gradient_accumulation_steps=passes or config.batch_size // config.pass_size,
        learning_rate=config.peak_rate,
        lr_scheduler_type=_SCHEDULES[config.schedule],
        lr_scheduler_kwargs=_shape(config, num_steps),
        warmup_steps=warmup_steps(config, num_steps),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        optim=optimizers.NAMES[config.optimizer],
        adam_beta1=USUAL_BETAS[0] if config.beta1 is None else config.beta1,
        adam_beta2=USUAL_BETAS[1] if config.beta2 is None else config.beta2,
        adam_epsilon=USUAL_EPSILON if config.epsilon is None else config.epsilon,
        **recomputing,
        bf16=False,  # autocast is applied where the loss is computed, for every arm alike
        use_cpu=not on_gpu(device),
        seed=seed % 2**32,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=list(config.trackers) or "none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=on_gpu(device),
    )
    # Where several GPUs are visible the Trainer would split batches over them by DataParallel.
    stated._n_gpu = min(stated.n_gpu, 1)
    return stated
