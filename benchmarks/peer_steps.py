"""One stopwatch and one gauge for every peer: how long each optimizer step took, and its loss.

    steps = Steps("cpu")
    trainer.add_callback(steps.callback())
    trainer.train()
    steps.figures()       # {"losses": […], "seconds": […], "peak_memory_bytes": …}

Peak memory is counted from the moment before the first step, weights included: the high-water mark
of resident memory on a CPU, what torch's allocator gave out on a GPU. Of a GPU also what that
allocator held at most, and what the card held in the end, by all its processes and the driver.
"""

import time
from typing import Any

import torch
from speed_work import Work, lora
from transformers import TrainerCallback

from paribus.models.device import peaks, reset_peak_memory, return_freed


class Steps:
    """Notes each step's end and loss."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.losses: list[float] = []
        self.seconds: list[float] = []
        self._last = 0.0

    def begin(self) -> None:
        """Start to measure: the model is loaded."""
        return_freed(self.device)
        reset_peak_memory(self.device)
        self._last = time.perf_counter()

    def mark(self, loss: float) -> None:
        """Note that a step has ended."""
        wait(self.device)
        now = time.perf_counter()
        self.losses.append(float(loss))
        self.seconds.append(now - self._last)
        self._last = now

    def callback(self) -> TrainerCallback:
        """Return what tells this of the steps of a `transformers.Trainer` that logs each."""
        return _Marks(self)

    def figures(self) -> dict[str, Any]:
        """Return what was measured."""
        return {"losses": self.losses, "seconds": self.seconds, **memory(self.device)}


def wait(device: torch.device) -> None:
    """Wait until a GPU has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def memory(device: torch.device) -> dict[str, Any]:
    """Return peak memory in bytes since it was reset, and what a GPU holds beside it."""
    found = peaks(device)
    if device.type != "cuda":
        return found
    free, total = torch.cuda.mem_get_info(device)
    return {**found, "card_bytes": total - free}


class _Marks(TrainerCallback):
    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.steps.begin()

    def on_log(self, *_: Any, **told: Any) -> None:
        if "loss" in told["logs"]:  # not so at the end of training
            self.steps.mark(told["logs"]["loss"])


_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


def arguments(work: Work, method: str, folder: str) -> dict[str, Any]:
    """Return what a `transformers.Trainer` must be told to do paribus' steps in paribus' order."""
    config = work.training[method]
    return {
        "output_dir": folder,
        "max_steps": len(work.batches),
        "per_device_train_batch_size": config.pass_size,
        "gradient_accumulation_steps": config.batch_size // config.pass_size,
        "train_sampling_strategy": "sequential",
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": _SCHEDULES[config.schedule],
        "warmup_steps": round(config.warmup * len(work.batches)),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "use_cpu": work.asked.device == "cpu",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def labelled(work: Work) -> list[dict[str, list[int]]]:
    """Return the examples in their order, with labels of -100 where there is no loss."""
    return [
        {"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]} for ids, prompt in work.ordered
    ]


def adapted(model: Any, work: Work) -> Any:
    """Return `model` with paribus' adapters by peft, from the same random numbers."""
    from peft import LoraConfig, get_peft_model

    chosen = lora(work.asked.dropout)
    torch.manual_seed(work.seed)
    return get_peft_model(
        model,
        LoraConfig(
            task_type="CAUSAL_LM",
            r=chosen.r,
            lora_alpha=chosen.alpha,
            lora_dropout=chosen.dropout,
            target_modules=list(chosen.targets),
        ),
    )
