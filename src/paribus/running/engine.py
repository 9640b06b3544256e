"""Which engine decodes, paribus's own or vLLM on the saved weights, and how weights are saved.

    save_weights(model, inputs, config, folder)

The folder has all that other programs need: adapter or whole model, tokenizer,
generation_config.json with the trained stop token, README.md. An adapter names its base as the
experiment does, with the commit if it came from the Hub.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from paribus.config.peft_method import is_peft
from paribus.config.schema import ArmConfig, LoraConfig
from paribus.errors import ModelError
from paribus.evaluation.engine.vllm import Continued, Weights, serving
from paribus.files import read_json, write_json, write_text
from paribus.models.shapes import shape_of
from paribus.planning.inputs import Inputs
from paribus.running.job import Job
from paribus.store.runs import full_disk, writing

_GENERATION = "generation_config.json"


def save_weights(model: Any, inputs: Inputs, config: ArmConfig, folder: Path) -> None:
    """Save `model`, which `inputs` were made for, and all that is needed to use it, to `folder`.

    Raises StoreError if it cannot be written.
    """
    save_model(model, inputs, config, folder)
    with writing(folder):
        inputs.tokenizer.save_pretrained(folder)
        base = model.get_base_model() if hasattr(model, "peft_config") else model
        base.generation_config.save_pretrained(folder)
        _end_with(inputs.prompt_sets[0].stop, folder / _GENERATION)
        write_text(folder / "README.md", model_card(inputs, config))


def save_model(model: Any, inputs: Inputs, config: ArmConfig, folder: Path) -> None:
    """Save the weights alone, with their config. Raises StoreError if they cannot be written."""
    with writing(folder), full_disk(folder):
        if hasattr(model, "peft_config"):
            # The base as the experiment names it; and the Hub is not asked, as peft does.
            adapter = model.peft_config["default"]
            adapter.base_model_name_or_path = config.model
            adapter.revision = inputs.source.commit
            if isinstance(adapter.target_modules, set):  # which has no order to save
                adapter.target_modules = sorted(adapter.target_modules)
            model.save_pretrained(folder, save_embedding_layers=False)
        else:
            model.config.use_cache = True  # the Trainer switches it off; whoever loads it decodes
            model.save_pretrained(folder)


def _end_with(stop: int, file: Path) -> None:
    """Add the token that training ended texts with to those that other programs stop at."""
    found = read_json(file)
    own = found.get("eos_token_id")
    ends = own if isinstance(own, list) else [] if own is None else [own]
    if stop not in ends:
        write_json(file, {**found, "eos_token_id": [*ends, stop] if ends else stop})


def model_card(inputs: Inputs, config: ArmConfig) -> str:
    """Return the README of saved weights: what they are, and nothing that is not known."""
    stop = inputs.prompt_sets[0].stop
    data, training = config.data, config.training
    method = "full fine-tuning (SFT)"
    if training.train_only:
        method += f" of the weights that match {', '.join(training.train_only)} alone"
    if is_peft(config.method):
        method = f"{config.method}, by peft"
    elif config.method == "lora":
        method = _lora_in_words(config.lora)
    lines = [
        f"- Base: {config.model} ({inputs.source.identity})",
        f"- Method: {method}; learning rate {training.learning_rate}, "
        f"batches of {training.batch_size}",
        f"- Data: {len(inputs.examples)} training problems of {config.task.task}, {data.variant}",
        f"- Prompts: {config.prompt.format}; texts end with token {stop}, "
        f"`{inputs.tokenizer.convert_ids_to_tokens(stop)}`",
    ]
    if config.quantization:
        lines.append(f"- Base in 4 bits ({config.quantization}): trained and tested so")
    made = f"Made by `paribus run`, version {version('paribus')}."
    return "\n".join([f"# {config.model}, tuned", "", *lines, "", made, ""])


def _lora_in_words(lora: LoraConfig) -> str:
    named = lora.targets != "all-linear"
    targets = ", ".join(lora.targets) if named else "all linear layers"
    scale = " (scaled by the root of r)" if lora.use_rslora else ""
    method = f"{'DoRA' if lora.use_dora else 'LoRA'}, r {lora.r}, alpha {lora.alpha:g}{scale}, on "
    layers = lora.layers_to_transform
    method += targets if layers is None else f"{targets} of layers {', '.join(map(str, layers))}"
    if lora.init_lora_weights:
        method += f"; initialised by {lora.init_lora_weights}"
    if lora.starts_from_weights:
        method += f", stored with rank {lora.stored_rank}"
    whole = ", ".join(lora.modules_to_save)
    return f"{method}; trained whole: {whole}" if whole else method


@contextmanager
def engine(model: nn.Module, job: Job) -> Iterator[Continued | None]:
    """Start the engine that `evaluation.engine` names and stop it afterwards; yield None for ours.

    `model` is what `for_inference` made. Raises RunFailed if vLLM does not start.
    """
    inputs, evaluation = job.inputs, job.config.evaluation
    if evaluation.engine == "paribus":
        yield None
        return
    tests = (inputs, *inputs.further)
    longest = inputs.tokens().longest_prompt + max(own.max_new_tokens for own in tests)
    rows = min(evaluation.at_once, max(len(own.tested) for own in tests))
    with (
        tempfile.TemporaryDirectory(prefix="paribus-") as scratch,
        serving(
            _weights(model, job, Path(scratch)),
            compute=job.compute,
            device=job.device,
            longest=longest,
            rows=rows,
            cache_bytes=_cache_bytes(job.config, rows * longest, job.compute),
        ) as continued,
    ):
        yield continued


def _weights(model: nn.Module, job: Job, scratch: Path) -> Weights:
    inputs, config = job.inputs, job.config
    if config.method == "none":
        return Weights(model=inputs.source.path)
    saved = job.folder.weights
    if not config.training.save_weights:
        saved = scratch
        save_weights(model, inputs, config, saved)
    if config.method == "full":
        return Weights(model=saved)
    return Weights(model=inputs.source.path, adapter=saved, rank=config.lora.stored_rank)


def _cache_bytes(config: ArmConfig, tokens: int, compute: torch.dtype) -> float | None:
    """Return the bytes of keys and values of so many tokens; None for an unknown family."""
    try:
        shape = shape_of(config.model, config.revision)
    except ModelError:
        return None
    return float(tokens * shape.kv_bytes_per_token(compute.itemsize))
