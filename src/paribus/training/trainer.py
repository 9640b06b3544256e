"""A thin `transformers.Trainer`: its loop and optimizers, our batches and our loss.

Overridden: the data loader (batches are planned, not sampled), the loss (completion tokens from
hidden states), the log (our figures reach the trackers too), and nothing else.
A batch, B examples padded to length L:

    input_ids_BL   bos q  q  q  a  a  eos pad
    labels_BL      -100 … -100  a  a  eos -100
"""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainingArguments

from paribus.errors import RunFailed
from paribus.models.load import decoder_and_head
from paribus.prompts.encode import Encoded
from paribus.training.loss import completion_loss

OnStep = Callable[[int, dict[str, float]], dict[str, float]]
"""From a step's number and its loss, gradient norm and learning rate to further figures."""

IGNORED = -100
"""Label of positions without loss: the convention the Trainer counts target tokens by."""


def collate(examples: Sequence[Encoded]) -> dict[str, Tensor]:
    """Return right-padded `input_ids`, `attention_mask` and `labels`, each int64 [B, L].

    Padding is id 0 and masked out by position, so a tokenizer whose padding token equals its
    stop token still learns to stop.
    """
    longest = max(len(example.ids) for example in examples)
    ids = torch.zeros(len(examples), longest, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, IGNORED)
    for row, example in enumerate(examples):
        length = len(example.ids)
        ids[row, :length] = torch.tensor(example.ids)
        mask[row, :length] = 1
        labels[row, example.prompt_length : length] = ids[row, example.prompt_length : length]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


class CompletionTrainer(Trainer):
    """Trains on planned micro-batches with `completion_loss`."""

    def __init__(
        self,
        model: nn.Module,
        args: TrainingArguments,
        *,
        examples: Sequence[Encoded],
        micro_batches: list[list[int]],
        compute: torch.dtype,
        on_step: OnStep,
    ) -> None:
        super().__init__(model=model, args=args, train_dataset=examples)
        self.remove_callback(PrinterCallback)  # the steps go to `on_step`, not to the terminal
        self.on_step = on_step
        self.examples = examples
        self.micro_batches = micro_batches
        self.compute = compute
        self.model_accepts_loss_kwargs = True  # the loss is divided by the whole step's tokens

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the planned micro-batches in their order."""
        return DataLoader(
            self.examples,  # type: ignore[arg-type]  # a sequence serves as a map-style data set
            batch_sampler=self.micro_batches,
            collate_fn=collate,
        )

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
        decoder, head, softcap = decoder_and_head(model)
        targets_BL = inputs["labels"][:, 1:]
        device = inputs["input_ids"].device.type
        reduced = self.compute is not torch.float32
        with torch.autocast(device, self.compute, enabled=reduced):
            hidden_BLD = decoder(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                use_cache=False,
            ).last_hidden_state
        predicts = targets_BL != IGNORED
        hidden_ND = hidden_BLD[:, :-1][predicts].to(self.compute)
        with torch.autocast(device, enabled=False):
            return completion_loss(
                hidden_ND,
                head.weight,
                targets_BL[predicts],
                softcap=softcap,
                divisor=num_items_in_batch,
            )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Hand a step's figures to `on_step`, and with what it adds to the trackers.

        Called after every step, and once at the end without a loss. Raises RunFailed on the
        first figure that is not a number.
        """
        if "loss" in logs:
            figures = {key: float(logs[key]) for key in ("loss", "grad_norm", "learning_rate")}
            bad = [f"{key} is {value}" for key, value in figures.items() if not isfinite(value)]
            if bad:
                raise RunFailed(
                    f"step {self.state.global_step}: {', '.join(bad)}",
                    "lower training.learning_rate, or set training.precision=fp32",
                )
            logs = {**logs, **self.on_step(self.state.global_step, figures)}
        super().log(logs, start_time)
