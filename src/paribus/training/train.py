"""Train one arm: encoded examples in, a tuned model and its measured cost out.

plan batches -> Trainer -> one figure row per optimizer step -> TrainingCost
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments

from paribus.config.schema import TrainingConfig
from paribus.models.device import peak_memory_bytes, reset_peak_memory
from paribus.models.load import count_parameters
from paribus.prompts.encode import Encoded
from paribus.seeds import derive
from paribus.stopping import asked, at_a_step
from paribus.store.results import TrainingCost
from paribus.training.batching import order_seed, plan_training
from paribus.training.checkpointing import Checkpoints
from paribus.training.steps import StepRecord, cost, from_event, step_record, tracked
from paribus.training.trainer import CompletionTrainer

RECOMPUTING = (
    "activation_checkpointing"
    if hasattr(TrainingArguments, "activation_checkpointing")
    else "gradient_checkpointing"
)
"""What transformers calls it: the second up to 5.19, which vLLM 0.32 still asks for."""

_SCHEDULES = {
    "cosine": "cosine_with_min_lr",
    "linear": "linear",
    "constant": "constant_with_warmup",
}
_OPTIMIZERS = {"adamw": "adamw_torch_fused", "adamw_8bit": "adamw_bnb_8bit"}


def train(
    model: nn.Module,
    examples: Sequence[Encoded],
    config: TrainingConfig,
    *,
    seed: int,
    compute: torch.dtype,
    folder: Path,
    on_step: Callable[[StepRecord], None],
    checkpoints: Checkpoints | None = None,
) -> TrainingCost:
    """Train `model` in place and return the measured cost.

    `folder` is for trackers' files. With `checkpoints` it goes on where their `point` ends, and
    the trained weights are saved at the end. Raises RunFailed on a loss that is not a number,
    StoreError if a checkpoint cannot be written, Stopped if that was asked for.
    """
    device = next(model.parameters()).device
    steps = plan_training(examples, config, order_seed(seed))
    num_steps = len(steps)
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
        peak = peak_memory_bytes(device)
        made = step_record(step, num_steps, figures, micro_batches, seconds, peak, warm=warm)
        records.append(made)
        on_step(made)
        return tracked(made)

    reset_peak_memory(device)
    trainer = CompletionTrainer(
        model,
        arguments(config, num_steps, derive(seed, "dropout"), device, folder),
        examples=examples,
        micro_batches=[batch for step in steps for batch in step],
        compute=compute,
        on_step=record,
        checkpoints=checkpoints,
    )
    started = time.perf_counter()
    with at_a_step() if checkpoints else nullcontext():
        trainer.train(resume_from_checkpoint=str(point.path) if point else None)
        if checkpoints is not None:
            checkpoints.save(num_steps, model)
            if asked():
                checkpoints.wait()
    return cost(records, *count_parameters(model))


def arguments(
    config: TrainingConfig, num_steps: int, seed: int, device: torch.device, folder: Path
) -> TrainingArguments:
    """Return what `config` means to the Trainer: every value said, none left to its defaults."""
    recomputing: dict[str, Any] = {
        RECOMPUTING: config.recomputes,
        f"{RECOMPUTING}_kwargs": {"use_reentrant": False} if config.recomputes else None,
    }
    made = TrainingArguments(
        output_dir=str(folder),
        max_steps=num_steps,
        per_device_train_batch_size=config.pass_size,
        gradient_accumulation_steps=config.batch_size // config.pass_size,
        learning_rate=config.peak_rate,
        lr_scheduler_type=_SCHEDULES[config.schedule],
        lr_scheduler_kwargs=(
            {"min_lr": config.min_learning_rate} if config.schedule == "cosine" else {}
        ),
        warmup_steps=round(config.warmup * num_steps),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        optim=_OPTIMIZERS[config.optimizer],
        **recomputing,
        bf16=False,  # autocast is applied where the loss is computed, for every arm alike
        use_cpu=device.type == "cpu",
        seed=seed % 2**32,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=list(config.trackers) or "none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=device.type == "cuda",
    )
    # Where several GPUs are visible the Trainer would split batches over them by DataParallel.
    made._n_gpu = min(made.n_gpu, 1)
    return made
