"""A stand-in for a GPU: its tensors are apart from the CPU's, and all that it does is counted.

    with StandIn() as gpu:
        there = put(model)                    # its weights are on the device now
        …
    gpu.waited                                # questions that stop a GPU

Its tensors claim to be on `meta`, which torch computes nothing on, and hold those of a CPU.
As on a GPU, an operation on tensors of both sides fails, unless one of them is a single number.
"""

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

THERE = torch.device("meta")
ASKS = {"_local_scalar_dense", "nonzero", "is_nonzero", "_unique2", "masked_select", "equal"}
"""Operations whose results the process needs."""


class There(Tensor):
    """A tensor on the device."""

    @staticmethod
    def __new__(cls, held):
        return Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=THERE,
        )  # fmt: skip

    def __init__(self, held):
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} outside of a StandIn")


def _held(value):
    if isinstance(value, torch.device) and value == THERE:
        return torch.device("cpu")
    return value.held if isinstance(value, There) else value


class StandIn(TorchDispatchMode):
    """The device at work.

    Attributes:
        waited: operations for which the process waits for the device, by name.
        sent: tensors copied to the device.
        here: operations that made a tensor of more than one number on the CPU.
        started: operations on the device.
        recording: what is added for each operation while `capture` runs, else None.
        recorded, replayed: how often `capture` ran, and what it returned.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waited: Counter[str] = Counter()
        self.here: Counter[str] = Counter()
        self.sent = 0
        self.started = 0
        self.recording: list[tuple[Callable, tuple, dict, object]] | None = None
        self.replaying = False
        self.recorded = self.replayed = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.replaying:
            return func(*args, **kwargs)
        name = str(func).split(".")[1]
        given = tree_flatten((args, kwargs))[0]
        tensors = [x for x in given if isinstance(x, Tensor)]
        there = [x for x in tensors if isinstance(x, There)]
        device = next((x for x in given if isinstance(x, torch.device)), None)
        moves = name == "copy_" or (name in ("to", "_to_copy") and device is not None)
        crosses = moves and (len(there) < len(tensors) or device == torch.device("cpu"))
        assert self.recording is None or not crosses, f"{func} while recording"
        mixed = there and any(x.dim() for x in tensors if not isinstance(x, There))
        assert moves or not mixed, f"{func}: tensors of both sides"
        goes_there = device == THERE or (device is None and bool(there))
        if moves and there and (not goes_there or not isinstance(args[0], There)):
            self.waited["read"] += 1
        if moves and goes_there and len(there) < len(tensors):
            self.sent += 1
        masked = name == "index" and any(x.dtype is torch.bool for x in there[1:])
        if there and (name in ASKS or masked):
            self.waited[name] += 1
            assert self.recording is None, f"{func} while recording"
        held_args, held_kwargs = tree_map(_held, args), tree_map(_held, kwargs)
        result = func(*held_args, **held_kwargs)
        if not goes_there:
            made = [x for x in tree_flatten(result)[0] if isinstance(x, Tensor) and x.dim()]
            if made and not any(x is y for x in made for y in tensors):
                self.here[name] += 1
            return result
        self.started += 1
        if self.recording is not None:
            self.recording.append((func, held_args, held_kwargs, result))
        known = {id(x.held): x for x in there}
        return tree_map(
            lambda x: known.get(id(x), There(x)) if isinstance(x, Tensor) else x, result
        )

    def capture(self, run: Callable[[], Tensor], _pool: object) -> Callable[[], Tensor]:
        """Record as a CUDA graph does: what is done again is done to the same tensors."""
        self.recording = []
        answer = run()
        recorded, self.recording = self.recording, None
        self.recorded += 1

        def replay() -> Tensor:
            self.replaying = True
            self.replayed += 1
            for func, args, kwargs, before in recorded:
                after = func(*args, **kwargs)
                pairs = zip(*(tree_flatten(x)[0] for x in (before, after)), strict=True)
                for old, new in pairs:
                    if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)
            self.replaying = False
            return answer

        return replay


def put(model: nn.Module) -> nn.Module:
    """Move weights and buffers to the device, in place."""
    for module in model.modules():
        for name, tensor in module._buffers.items():
            module._buffers[name] = None if tensor is None else There(tensor)
        for name, tensor in module._parameters.items():
            if tensor is not None:
                module._parameters[name] = nn.Parameter(There(tensor.data), requires_grad=False)
    return model
