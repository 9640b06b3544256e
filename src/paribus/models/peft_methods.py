"""Methods of peft beside LoRA: their keys checked by peft's own classes, counted, and added.

    config_of('VERA {"r": 64}')             # peft's VeraConfig; ConfigError for an unknown key
    added(shape, "IA3").trained             # ((256,), (256,), …): sizes of the weights that train
    add_method(model, "IA3")                # the model, with what IA3 trains

What is added is counted on a skeleton: a model's modules by their names, without weights.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, get_type_hints

import torch
from peft import PeftConfig, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners._buffer_dict import BufferDict
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import PeftType
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import nn

from paribus.config.peft_method import parse_method
from paribus.errors import ConfigError
from paribus.models.shapes import Shape

_OURS = frozenset(field.name for field in fields(PeftConfig)) | {"modules_to_save"}
"""Keys of peft's that paribus sets itself, or that `method: lora` alone has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What a method adds to a model.

    Attributes:
        trained: the size of each tensor that trains.
        frozen: values that it keeps beside them, in fp32.
        kept: values that a pass keeps, in fp32, apart from its tokens': a bound.
        passing: most values that exist for a moment while a layer is computed: a bound.
        targets: names of the linear layers that it changes.
    """

    trained: tuple[tuple[int, ...], ...]
    frozen: int
    kept: int
    passing: int
    targets: tuple[str, ...]


def config_of(method: str) -> PeftConfig:
    """Return peft's config of a method. Raises ConfigError for an unknown key or a wrong value."""
    name, stated = parse_method(method)
    of_peft = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(name)]
    hints = get_type_hints(of_peft)
    known = {field.name: hints[field.name] for field in fields(of_peft) if field.name not in _OURS}
    for key, value in stated.items():
        if key not in known:
            raise ConfigError(
                f"method: peft's {name} has no key {key}",
                f"it has {', '.join(known)}",
            )
        if not _fits(value, known[key]):
            wanted = str(known[key]).replace("typing.", "").removeprefix("<class '").rstrip("'>")
            raise ConfigError(
                f"method: {key} of peft's {name} must be {wanted}, got {value!r:.60}",
                "correct the value, or leave the key out for peft's own",
            )
    with _faults_of(name):
        return of_peft(task_type="CAUSAL_LM", **stated)


def add_method(model: nn.Module, method: str, compute: torch.dtype) -> nn.Module:
    """Return `model` frozen, with the weights of a method of peft's, fp32.

    What it draws and keeps (VeRA's projections) is in the compute dtype, as when it is tested.

    Raises ConfigError where peft refuses the model.
    """
    model.requires_grad_(False)
    with _faults_of(method):
        changed: nn.Module = get_peft_model(model, config_of(method))
    for parameter in changed.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    round_kept(changed, compute)
    return changed


def round_kept(model: nn.Module, compute: torch.dtype) -> None:
    """Round what methods keep beside their weights to `compute`, in place.

    peft's layers multiply by it without a cast.
    """
    for module in model.modules():
        if isinstance(module, BufferDict):
            for name, values in module.items():
                module[name] = values.to(compute)


@cache
def added(shape: Shape, method: str) -> Added:
    """Return what `method` adds to a model of this shape. Raises ConfigError as `add_method`."""
    with torch.device("meta"):
        skeleton = _skeleton(shape)
    before = {name for name, _ in skeleton.named_buffers()}
    config = config_of(method)
    config.task_type = None  # a skeleton generates nothing
    with _faults_of(method):
        changed = get_peft_model(skeleton, config)
    layers = {n: m for n, m in changed.named_modules() if isinstance(m, BaseTunerLayer)}
    bases = [layer.get_base_layer() for layer in layers.values()]
    widths = [(b.in_features, b.out_features) for b in bases if isinstance(b, nn.Linear)]
    square = parse_method(method)[0] in _SQUARE
    buffers = sum(b.numel() for n, b in changed.named_buffers() if n not in before)
    return Added(
        trained=tuple(tuple(p.shape) for p in changed.parameters() if p.requires_grad),
        frozen=buffers,
        kept=sum(_kept(config, wide, out) for wide, out in widths),
        passing=max((4 * wide * max(out, wide * square) for wide, out in widths), default=0),
        targets=tuple(sorted({n.rpartition(".")[2] for n in layers} & set(shape.linears))),
    )


_SQUARE = frozenset({"BOFT", "HRA"})
"""Methods that turn a layer's inputs by a matrix of their width squared."""


def _kept(config: Any, wide: int, out: int) -> int:
    """Return more values than a method was seen to keep of one layer, whatever the tokens.

    Measured: BOFT 1.2 · in², HRA (r + 1.1) · in², WaveFT in · out, OFT 3 · b · in with blocks of b,
    others under 12 · (in + out).
    """
    name = config.peft_type.value
    if name in _SQUARE:
        return 2 * wide**2 if name == "BOFT" else (config.r + 2) * wide**2
    if name == "WAVEFT":
        return 2 * wide * out
    block = (config.oft_block_size or wide // config.r) if name == "OFT" else 0
    return 4 * block * wide + 32 * (wide + out)


def _skeleton(shape: Shape) -> Any:
    """Return modules with a model's names and sizes; the caller says on which device."""
    root: Any = nn.Module()
    root.config = {"model_type": shape.model_type, "tie_word_embeddings": shape.tied}
    for name, sizes in shape.modules.items():
        *parents, last = name.split(".")
        place = root
        for parent in parents:
            if parent not in place._modules:
                place.add_module(parent, nn.Module())
            place = place._modules[parent]
        place.add_module(last, _module(last, sizes))
    return root


def _module(name: str, sizes: tuple[tuple[int, ...], ...]) -> nn.Module:
    if len(sizes[0]) == 1:
        return nn.RMSNorm(sizes[0][0])
    out, wide = sizes[0]
    if name == "embed_tokens":
        return nn.Embedding(out, wide)
    return nn.Linear(wide, out, bias=len(sizes) > 1)


def _fits(value: Any, hint: Any) -> bool:
    try:
        TypeAdapter(hint, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError:
        return False
    return True


@contextmanager
def _faults_of(method: str) -> Iterator[None]:
    """Say what peft refuses as a ConfigError."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise ConfigError(
            f"method: peft's {method} cannot be added: {str(error).splitlines()[0]}",
            "state other keys of the method, such as target_modules: [q_proj, v_proj]",
        ) from error
