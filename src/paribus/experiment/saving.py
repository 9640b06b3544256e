"""Save what a run has trained: an adapter, or the whole model as a folder that `model:` takes."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from paribus.store.runs import writing


def save_weights(model: Any, tokenizer: Any, base: str, folder: Path) -> None:
    """Save `model` to `folder`; `base` is its base model as the experiment names it.

    Raises StoreError if it cannot be written.
    """
    with writing(folder), _full_disk(folder):
        if hasattr(model, "peft_config"):
            # The base as the experiment names it; and no question to the Hub (peft asks otherwise).
            model.peft_config["default"].base_model_name_or_path = base
            model.save_pretrained(folder, save_embedding_layers=False)
        else:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)


@contextmanager
def _full_disk(folder: Path) -> Iterator[None]:
    """safetensors reports a full disk by an error of its own; make it the system's again."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(errno.ENOSPC, str(error), str(folder)) from error
