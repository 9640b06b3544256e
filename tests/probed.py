"""A tiny model made ready for training, and probes of it as a run makes them."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from paribus.config.schema import ArmConfig, LoraConfig, TrainingConfig
from paribus.models.load import load_model, make_trainable
from paribus.models.source import ModelSource, find_model
from paribus.prompts.encode import Encoded
from paribus.training.probe_checks import Ends, Saving
from paribus.training.probes import Probed, probe
from training_cases import CPU, DTYPES

BOS, STOP = 2, 1


def ready(folder: Path, method: str, precision: str = "fp32", quantization: Any = None) -> Any:
    if quantization:
        pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    compute = DTYPES[precision]
    model = load_model(find_model(str(folder), None), compute, CPU, quantization)
    return make_trainable(model, method, LoraConfig(dropout=0.3), compute)


def look(model, examples, folder: Path, *, save: Any = None, reload: Any = None,
         quantization: Any = None, method: str = "", **training: Any) -> Probed:  # fmt: skip
    """Probe `model` as a run would; `training` are further values of the arm."""
    method = method or ("lora" if hasattr(model, "peft_config") else "full")
    settings = TrainingConfig(**{"precision": "fp32", "learning_rate": 1e-4, **training})
    compute = DTYPES[settings.precision]
    keep = {} if method == "full" else {"save_embedding_layers": False}
    return probe(
        model,
        examples,
        ArmConfig(method=method, quantization=quantization, training=settings),
        compute=compute,
        device=CPU,
        ends=Ends(bos=BOS, stop=STOP),
        saving=Saving(
            folder=folder,
            save=save or (lambda to: model.save_pretrained(to, **keep)),
            reload=reload
            or (lambda of: load_model(ModelSource(path=of, identity="?"), compute, CPU)),
        ),
    )


def found(probed: Probed) -> dict[str, str]:
    return {str(failure.id): failure.found for failure in probed.failures}


def layers(model) -> Any:
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    return base.get_decoder().layers


def state(model) -> dict[str, Any]:
    """Everything of a model and of the random streams that a probe could disturb."""
    return {
        "weights": {n: (t.dtype, t.clone()) for n, t in model.state_dict().items()},
        "weights are": [id(p) for p in model.parameters()],
        "memory": [p.data_ptr() for p in model.parameters()],
        "trains": [p.requires_grad for p in model.parameters()],
        "gradients": [p.grad for p in model.parameters()],
        "modes": [(n, m.training) for n, m in model.named_modules()],
        "dropout": [m.p for m in model.modules() if isinstance(m, nn.Dropout)],
        "hooks": [len(m._forward_hooks) for m in model.modules()],
        "cache": model.config.use_cache,
        "streams": (random.getstate(), np.random.get_state(), torch.get_rng_state()),  # noqa: NPY002
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def text(ids: list[int], prompt_length: int) -> Encoded:
    return Encoded(tuple(ids), prompt_length)
