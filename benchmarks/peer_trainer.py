"""The plain `transformers.Trainer`'s part of benchmarks/speed.py: what a tutorial would write.

train_work(work, "lora", folder)

bf16 weights, nothing recomputed, a label of -100 on prompts, padding by the library's collator.
"""

from pathlib import Path
from typing import Any

import torch
from peer_steps import Steps, adapted, arguments, labelled
from speed_work import Work
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainingArguments,
)


def train_work(work: Work, method: str, folder: Path) -> dict[str, Any]:
    """Train on `work` and return what was measured."""
    reduced = work.asked.precision == "bf16"
    tokenizer = AutoTokenizer.from_pretrained(work.asked.model, padding_side="right")
    model: Any = AutoModelForCausalLM.from_pretrained(
        work.asked.model, dtype=torch.bfloat16 if reduced else torch.float32
    )
    steps = Steps(work.asked.device)
    trainer = Trainer(
        model=adapted(model, work) if method == "lora" else model,
        args=TrainingArguments(**arguments(work, method, str(folder)), bf16=reduced),
        train_dataset=labelled(work),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
        callbacks=[steps.callback()],
    )
    trainer.train()
    return steps.figures()
