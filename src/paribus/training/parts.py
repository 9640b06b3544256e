"""Weights of which every rank holds a part, and their files.

    write_parts(folder, {"layer.weight": weight})       # in each rank, its own
    read_parts(folder, {"layer.weight": weight})        # in place, on any number of ranks

torch.distributed.checkpoint does it in the form of safetensors: where a part lies in the whole is
in its file's header, so that no pickle is written or read. A file that holds whole tensors is read
alike.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

from paribus.models import ranks

_STREAMS = "random.safetensors"
"""A file beside that holds no part of anything."""


def is_part(weight: Tensor) -> bool:
    """Return whether this rank holds a part of `weight` alone."""
    return isinstance(weight, DTensor)


def is_sharded(model: nn.Module) -> bool:
    """Return whether this rank holds a part of each weight alone."""
    return any(map(is_part, model.parameters()))


def part_of(weight: Tensor) -> Tensor:
    """Return what this rank holds of `weight`."""
    return weight.to_local() if isinstance(weight, DTensor) else weight


def all_of(weight: Tensor) -> Tensor:
    """Return all of `weight`, gathered where it is sharded. Collective."""
    return weight.full_tensor() if isinstance(weight, DTensor) else weight


def write_parts(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Write each rank's parts of `tensors` into a file of its own. Collective."""
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    with _quiet():
        save(dict(tensors), storage_writer=writer)


def read_parts(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Read into `tensors`, in place, such parts of them as this rank holds. Collective.

    Raises RuntimeError if they are not in the folder, or of other shapes there.
    """
    stored = shapes_in(folder)
    for name, tensor in tensors.items():
        if name not in stored or stored[name][0] != tensor.shape:
            raise RuntimeError(f"{name} of shape {list(tensor.shape)} is not in {folder}")
    with _quiet():
        load(
            dict(tensors),
            storage_reader=HuggingFaceStorageReader(str(folder)),
            no_dist=ranks.count() == 1,
        )


def shapes_in(folder: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Return shape and dtype of each whole tensor whose parts lie in `folder`."""
    stored = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    streams = folder / _STREAMS
    others = load_file(streams).keys() if streams.exists() else ()
    return {
        name: (entry.size, entry.properties.dtype)
        for name, entry in stored.items()
        if name not in others and isinstance(entry, TensorStorageMetadata)
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out the advice that a single process joins no others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
