"""A thin `transformers.Trainer`: its loop and optimizers, our batches and our loss.

Overridden: the data loader (batches are planned, not sampled), the loss (completion tokens from
hidden states), the log (our figures reach the trackers too), and how a checkpoint is written and
read (whole, verified, no pickles); when there is to be one, `_Saving` says.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from paribus.errors import RunFailed
from paribus.models import ranks
from paribus.models.fast import copies
from paribus.models.fast.layers import refuse_outside
from paribus.models.load import decoder_and_head
from paribus.prompts.encode import Encoded
from paribus.stopping import Stopped
from paribus.training.checkpointing import NAN_REMEDY, Checkpoints
from paribus.training.optimizers import muon_with_adamw, raise_rate_of_b
from paribus.training.parallel import Parallel
from paribus.training.parts import all_of, is_sharded
from paribus.training.passes import PassLoss, collate

OnStep = Callable[[int, dict[str, float]], dict[str, float]]
"""From a step's number and its loss, gradient norm and learning rate to further figures."""

STATE = "trainer_state.json"
"""The Trainer's own account of how far it is; it wants it by this name."""

RECOMPUTING = (
    "activation_checkpointing"
    if hasattr(TrainingArguments, "activation_checkpointing")
    else "gradient_checkpointing"
)
"""What transformers calls it: the second up to 5.19, which vLLM 0.32 still asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    """What a training has that the Trainer lacks, or does otherwise.

    Attributes:
        muon: whether matrices are trained by Muon.
        loraplus_lr_ratio: LoRA's key.
        neftune_noise_alpha: as in `training`. The Trainer would take a pass for one text.
        together: what lets all ranks train one model. The Trainer is told of none.
    """

    muon: bool = False
    loraplus_lr_ratio: float | None = None
    neftune_noise_alpha: float | None = None
    together: Callable[[PassLoss], Parallel] | None = None


class CompletionTrainer(Trainer):
    """Trains on planned micro-batches by `CompletionLoss`."""

    def __init__(
        self,
        model: nn.Module,
        args: TrainingArguments,
        *,
        examples: Sequence[Encoded],
        micro_batches: list[list[int]],
        compute: torch.dtype,
        on_step: OnStep,
        checkpoints: Checkpoints | None = None,
        additions: Additions = Additions(),  # noqa: B008  # frozen
    ) -> None:
        """`micro_batches` are those of this rank."""
        together = additions.together
        passing = PassLoss(
            model, compute, additions.neftune_noise_alpha, by_autograd=together is not None
        )
        parallel = together(passing) if together else None  # before the Trainer places the model
        super().__init__(model=model, args=args, train_dataset=examples)
        self.remove_callback(PrinterCallback)  # the steps go to `on_step`, not to the terminal
        self.checkpoints = checkpoints
        if checkpoints is not None:
            self.add_callback(_Saving(checkpoints))
        self.on_step = on_step
        self.additions = additions
        self.examples = examples
        self.micro_batches = micro_batches
        self.passing, self.parallel = passing, parallel
        self.sharded = is_sharded(model)
        loss = passing.loss
        if loss.gpu:  # once, on the CPU: the loss itself does not look
            targets = [token for e in examples for token in e.ids[e.prompt_length :]]
            refuse_outside(torch.tensor(targets), len(loss.head_VD))
        self.copies: copies.Copies | None = None
        # Recomputation is there to save memory: autocast holds the copies of one layer at a time.
        copied = loss.gpu and compute is not torch.float32 and not self.sharded
        if copied and not getattr(args, RECOMPUTING):
            self.copies = copies.use(decoder_and_head(model)[0], compute)
        self.model_accepts_loss_kwargs = True  # the loss is divided by the whole step's tokens

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the planned micro-batches in their order."""
        return DataLoader(
            self.examples,  # type: ignore[arg-type]  # a sequence serves as a map-style data set
            batch_sampler=self.micro_batches,
            collate_fn=collate,
        )

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Return the optimizer; with Muon or LoRA+ made of the one that the Trainer makes."""
        made, trained = self.optimizer is None, cast("nn.Module", self.model)
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if made and self.additions.muon:
            groups = [{k: g[k] for k in ("params", "weight_decay")} for g in optimizer.param_groups]
            settings = {key: optimizer.defaults[key] for key in ("lr", "betas", "eps")}
            optimizer = self.optimizer = muon_with_adamw(trained, groups, **settings)
        elif made and self.additions.loraplus_lr_ratio is not None:
            raise_rate_of_b(optimizer, trained, self.additions.loraplus_lr_ratio)
        if made and not self.sharded:
            copies.note_steps(optimizer)
        return optimizer

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | int | None]:
        """Return a step's micro-batches, and the number of its target tokens on all ranks."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.parallel is not None and items is not None:
            items = round(ranks.total(int(items)))
        return batches, items

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Add a pass to the gradient, which is that of all ranks after a step's last pass."""
        if self.parallel is None:
            return super().training_step(model, inputs, num_items_in_batch)
        with self.parallel.accumulating(last=self.accelerator.sync_gradients):
            return super().training_step(model, inputs, num_items_in_batch)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Return the micro-batch's loss over the target tokens of its whole optimizer step."""
        assert not return_outputs
        assert num_items_in_batch is not None
        compute = self.parallel or self.passing
        loss: Tensor = compute(inputs, num_items_in_batch)
        if self.copies is not None and self.accelerator.sync_gradients:
            self.copies.free()  # this was the last pass before the weights change
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """Return the gradient's norm over all ranks' parts."""
        norm = super()._get_grad_norm(model, grad_norm)
        return all_of(norm) if isinstance(norm, Tensor) else norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Hand a step's figures to `on_step`, and with what it adds to the trackers.

        Called after every step, and once at the end without a loss. Raises RunFailed on the
        first figure that is not finite.
        """
        if "loss" in logs:
            if self.parallel is not None:
                logs["loss"] = ranks.total(logs["loss"]) / ranks.count()
            figures = {key: float(logs[key]) for key in ("loss", "grad_norm", "learning_rate")}
            bad = [f"{key} is {value}" for key, value in figures.items() if not isfinite(value)]
            if bad:
                raise RunFailed(f"step {self.state.global_step}: {', '.join(bad)}", NAN_REMEDY)
            logs = {**logs, **self.on_step(self.state.global_step, figures)}
        super().log(logs, start_time)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save the training as it is after this step, and stop if that was asked for."""
        assert self.checkpoints is not None
        step = self.state.global_step
        self.checkpoints.save(
            step,
            model,
            self.optimizer,
            self.lr_scheduler,
            lambda folder: self.state.save_to_json(str(folder / STATE)),
        )
        if self.checkpoints.ends():
            self.checkpoints.wait()
            raise Stopped(f", this one resumes from step {step} of {self.state.max_steps}")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        assert self.checkpoints is not None
        assert self.model is not None
        self.checkpoints.restore_weights(self.model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            assert self.checkpoints is not None
            self.checkpoints.restore_optimizer(self.optimizer, self.lr_scheduler)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Called when the first batch to train on has been read, before its forward pass."""
        if checkpoint is not None:
            assert self.checkpoints is not None
            self.checkpoints.restore_random(self.args.device)


class _Saving(TrainerCallback):
    """Asks for a checkpoint after a step, before the step is logged: it is saved after that.

    Not after the last: then `train` saves the weights alone.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        control.should_save = state.global_step < state.max_steps and self.checkpoints.due()
