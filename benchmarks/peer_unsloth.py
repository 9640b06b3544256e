"""Unsloth's part of benchmarks/speed_gpu.py: its model, with its own kernels, in TRL's SFTTrainer.

train_work(work, "full", folder, weights)

It reads weights from a folder. Nothing is recomputed. `peer.py` imports it before all others, as it
asks for: it replaces parts of them.
"""

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peer_steps import Steps, arguments, labelled
from speed_model import tokenizer
from speed_work import Work, lora
from trl import SFTConfig, SFTTrainer
from unsloth import FastLanguageModel


def train_work(work: Work, method: str, folder: Path, weights: Path) -> dict[str, Any]:
    """Train on `work` and return what was measured."""
    model, _ = FastLanguageModel.from_pretrained(
        str(weights),
        max_seq_length=max(len(ids) for ids, _ in work.examples),
        dtype=torch.bfloat16,
        load_in_4bit=False,
        full_finetuning=method == "full",
        use_gradient_checkpointing=False,
        use_exact_model_name=True,
    )
    if method == "lora":
        chosen = lora(work.asked.dropout)
        model = FastLanguageModel.get_peft_model(
            model,
            r=chosen.r,
            lora_alpha=chosen.alpha,
            lora_dropout=chosen.dropout,
            target_modules=list(chosen.targets),
            use_gradient_checkpointing=False,
            random_state=work.seed,
        )
    steps = Steps(work.asked.device)
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(**arguments(work, method, str(folder)), bf16=True),
        train_dataset=Dataset.from_list(labelled(work)),
        processing_class=tokenizer(work.asked),
        callbacks=[steps.callback()],
    )
    trainer.train()
    return steps.figures()
