"""What a training is at the end of a step, as safetensors and JSON: nothing else is ever read.

    weights.safetensors     every weight that trains, fp32 (LoRA: the adapters)
    optimizer.safetensors   the tensors of its state, by number of the weight
    random.safetensors      torch's generators, of the CPU and of the GPU that trains
    state.json              the rest of optimizer and schedule

Training draws from torch's generators alone (dropout). Data order has no state: it is a function
of the seed, and the step says how far it was read. Neither has the loss: its window is one step.
JSON keeps floats exactly.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from paribus.files import read_json, write_json

_TENSOR = "tensor of the file"


def trained(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights that train, by name; tied ones once."""
    return {name: each.data for name, each in model.named_parameters() if each.requires_grad}


def not_finite(model: nn.Module) -> str | None:
    """Return the name of a weight that trains and holds a NaN or an infinity, or None."""
    for name, weight in trained(model).items():
        if weight.numel() and not all(bool(end.isfinite()) for end in torch.aminmax(weight)):
            return name
    return None


def state_bytes(model: nn.Module, optimizer: Any) -> int:
    """Return about how many bytes `save` will write; without an optimizer the weights alone."""
    tensors = dict(trained(model))
    if optimizer is not None:
        _take_out(optimizer.state_dict()["state"], "", tensors)
    return sum(each.numel() * each.element_size() for each in tensors.values())


def save(folder: Path, model: nn.Module, optimizer: Any, schedule: Any) -> None:
    """Write all of it into `folder`. Raises OSError, SafetensorError.

    Without `optimizer` and `schedule` the training is over: only the weights are written.
    """
    save_file(
        {k: v.contiguous() for k, v in trained(model).items()}, folder / "weights.safetensors"
    )
    if optimizer is None:
        return
    tensors: dict[str, Tensor] = {}
    plain = _take_out(optimizer.state_dict(), "", tensors)
    save_file(_apart(tensors), folder / "optimizer.safetensors")
    save_file(_generators(next(model.parameters()).device), folder / "random.safetensors")
    rest = {"optimizer": plain, "schedule": schedule.state_dict()}
    write_json(folder / "state.json", rest)


def restore_weights(folder: Path, model: nn.Module) -> None:
    """Put the weights that train back, in place. Raises KeyError or RuntimeError if they differ."""
    stored, mine = load_file(folder / "weights.safetensors"), trained(model)
    if stored.keys() != mine.keys():
        odd = sorted(stored.keys() ^ mine.keys())
        raise KeyError(f"weights are not those that train here: {odd[:3]}")
    for name, weight in mine.items():
        weight.copy_(stored[name])


def restore_optimizer(folder: Path, optimizer: Any, schedule: Any) -> None:
    """Put back the state of the optimizer, and how far the schedule is.

    Settings are those the two were made with: after a fork not those of the checkpoint, which
    torch would put back silently. In the same run they are equal.
    """
    state = read_json(folder / "state.json")
    found = _put_back(state["optimizer"], load_file(folder / "optimizer.safetensors"))
    found["state"] = {int(number): each for number, each in found["state"].items()}
    found["param_groups"] = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict(found)
    far = {key: state["schedule"][key] for key in ("last_epoch", "_step_count")}
    schedule.load_state_dict(schedule.state_dict() | far)
    rates = schedule.get_lr()
    schedule.load_state_dict(schedule.state_dict() | {"_last_lr": rates})
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def restore_random(folder: Path, device: torch.device) -> None:
    """Put back the generators that a training on `device` draws from.

    Those of other GPUs are left out: earlier versions saved one of every GPU that was visible, and
    fewer may be now. A GPU that has none goes on from its seed: a fork of a training on a CPU.
    """
    stored = load_file(folder / "random.safetensors")
    torch.set_rng_state(stored["cpu"])
    if device.type == "cuda" and _name(device) in stored:
        torch.cuda.set_rng_state(stored[_name(device)], device)


def _generators(device: torch.device) -> dict[str, Tensor]:
    """Return the states of the generators that a training on `device` draws from."""
    found = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        found[_name(device)] = torch.cuda.get_rng_state(device)
    return found


def _name(device: torch.device) -> str:
    return f"cuda-{device.index or 0}"


def _take_out(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return `value` for JSON; its tensors go to `tensors`, by their place in it."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        return {str(key): _take_out(each, f"{name}/{key}", tensors) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_take_out(each, f"{name}/{i}", tensors) for i, each in enumerate(value)]
    return value


def _put_back(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return what `_take_out` was given, but for tuples, which are lists."""
    if isinstance(value, dict):
        if value.keys() == {_TENSOR}:
            # A copy: what was loaded lies in the file's own pages, which may be cut or removed.
            return tensors[value[_TENSOR]].clone()
        return {key: _put_back(each, tensors) for key, each in value.items()}
    return [_put_back(each, tensors) for each in value] if isinstance(value, list) else value


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors, none in the memory of another: 8-bit AdamW's share their tables."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, each in tensors.items():
        shared = each.numel() > 0 and each.data_ptr() in seen
        found[name] = each.clone() if shared else each.contiguous()
        seen.add(each.data_ptr())
    return found
