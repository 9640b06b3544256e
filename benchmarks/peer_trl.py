"""TRL's parts: SFTTrainer as it comes, and in settings that may be faster.

train_work(work, "full", folder, setting="defaults")

| setting  | weights | activations | on a GPU                                      |
|----------|---------|-------------|-----------------------------------------------|
| defaults | fp32    | recomputed  |                                               |
| kept     | fp32    | kept        | no padding, FlashAttention 2 where installed  |
| bf16     | bf16    | kept        | the same                                      |
| liger    | bf16    | kept        | the same, with Liger's kernels                |

All compute under bf16 autocast, which is the default. Which is fastest depends on the machine.
Its loss is its own: tiles of logits, on a GPU at target tokens only; on a CPU, for which it has no
kernel, at every position, with gradients by products in fp32.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peer_steps import Steps, adapted, arguments, labelled
from speed_model import tokenizer, weights
from speed_work import Work
from trl import SFTConfig, SFTTrainer


def train_work(
    work: Work, method: str, folder: Path, *, setting: str, save: bool = False
) -> dict[str, Any]:
    """Train on `work` and return what was measured; with `save`, the weights are in `folder`."""
    reduced = work.asked.precision == "bf16"
    chosen: dict[str, Any] = {"bf16": reduced}
    loading: dict[str, Any] = {}
    if setting != "defaults":
        chosen["gradient_checkpointing"] = False
    if setting != "defaults" and work.asked.device == "cuda":
        chosen |= {"padding_free": True, "max_length": None}
        if find_spec("flash_attn"):
            loading["attn_implementation"] = "flash_attention_2"
    if setting == "liger":
        chosen["use_liger_kernel"] = True
    model = weights(
        work.asked,
        torch.bfloat16 if setting in ("bf16", "liger") and reduced else torch.float32,
        **loading,
    )
    steps = Steps(work.asked.device)
    trainer = SFTTrainer(
        model=adapted(model, work) if method == "lora" else model,
        args=SFTConfig(**arguments(work, method, str(folder)), **chosen),
        train_dataset=Dataset.from_list(labelled(work)),
        processing_class=tokenizer(work.asked),
        callbacks=[steps.callback()],
    )
    trainer.train()
    if save:
        trainer.save_model(str(folder))
    return steps.figures() | {"settings": {**chosen, **loading}}
