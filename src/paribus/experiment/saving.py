"""Save what a run has trained: an adapter, or the whole model as a folder that `model:` takes."""

from pathlib import Path
from typing import Any

from paribus.store.runs import full_disk, writing


def save_weights(model: Any, tokenizer: Any, base: str, folder: Path) -> None:
    """Save `model` to `folder`; `base` is its base model as the experiment names it.

    Raises StoreError if it cannot be written.
    """
    with writing(folder), full_disk(folder):
        if hasattr(model, "peft_config"):
            # The base as the experiment names it; and no question to the Hub (peft asks otherwise).
            config = model.peft_config["default"]
            config.base_model_name_or_path = base
            config.target_modules = sorted(config.target_modules)  # a set has no order to save
            model.save_pretrained(folder, save_embedding_layers=False)
        else:
            model.config.use_cache = True  # the Trainer switches it off; whoever loads it decodes
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
