"""The plain `transformers.Trainer`'s parts: what a tutorial would write.

train_work(work, "lora", folder, setting="trainer")

| setting      | weights | kernels |
|--------------|---------|---------|
| trainer      | bf16    |         |
| trainer-fp32 | fp32    |         |
| liger        | bf16    | Liger's |
| liger-fp32   | fp32    | Liger's |

Products are in the precision of the work, in bf16 by autocast. Nothing is recomputed, prompts have
a label of -100, and the library's collator pads.
"""

from pathlib import Path
from typing import Any

import torch
from peer_steps import Steps, adapted, arguments, labelled
from speed_model import tokenizer, weights
from speed_work import Work
from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments


def train_work(
    work: Work, method: str, folder: Path, *, setting: str = "trainer"
) -> dict[str, Any]:
    """Train on `work` and return what was measured."""
    reduced = work.asked.precision == "bf16"
    model = weights(
        work.asked,
        torch.bfloat16 if reduced and not setting.endswith("-fp32") else torch.float32,
    )
    steps = Steps(work.asked.device)
    trainer = Trainer(
        model=adapted(model, work) if method == "lora" else model,
        args=TrainingArguments(
            **arguments(work, method, str(folder)),
            bf16=reduced,
            use_liger_kernel=setting.startswith("liger"),
        ),
        train_dataset=labelled(work),
        data_collator=DataCollatorForSeq2Seq(tokenizer(work.asked)),
        callbacks=[steps.callback()],
    )
    trainer.train()
    return steps.figures()
