"""What can be said before any pass: of processes, of texts, of the weights' dtypes.

text_failures([((2, 105, 7, 1), (7, 1))], Ends(bos=2, stop=1))        # ()
dtype_table(model)      # (DtypeRow(trains=True, dtype="float32", tensors=252), ...)
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from paribus.config.schema import ArmConfig
from paribus.records import LAUNCHERS
from paribus.training.probe_steps import Failure, Probe
from paribus.training.trainer import IGNORED


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The token that begins every text, None if there is none, and the one that ends it."""

    bos: int | None
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DtypeRow:
    """How many tensors that train, or do not, are of one dtype: `float32`, `bfloat16`, `nf4`."""

    trains: bool
    dtype: str
    tensors: int


def dtype_table(model: nn.Module) -> tuple[DtypeRow, ...]:
    """Return the dtypes of all weights, what trains first; tied weights count once."""
    found = Counter((p.requires_grad, _dtype(p)) for p in model.parameters())
    return tuple(
        DtypeRow(trains=trains, dtype=dtype, tensors=tensors)
        for (trains, dtype), tensors in sorted(found.items(), reverse=True)
    )


def process_failures(environment: Mapping[str, str]) -> tuple[Failure, ...]:
    """Return a failure if a launcher started several processes: each would train on its own."""
    said = [
        f"{name}={environment[name]}" for name in LAUNCHERS if environment.get(name, "1") != "1"
    ]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        said.append(f"torch.distributed has {torch.distributed.get_world_size()} processes")
    return (Failure(id=Probe.PROCESSES, found=", ".join(said)),) if said else ()


TokenRow = tuple[Sequence[int], Sequence[int]]
"""The ids of a text, and those with loss."""


def rows(batch: Mapping[str, torch.Tensor]) -> list[TokenRow]:
    """Return the texts of a pass as the model gets them."""
    lengths = batch["cu_seq_lens_q"].diff().tolist()
    texts, labels = (batch[name][0].split(lengths) for name in ("input_ids", "labels"))
    return [
        (ids.tolist(), [y for y in targets.tolist() if y != IGNORED])
        for ids, targets in zip(texts, labels, strict=True)
    ]


def text_failures(rows: Sequence[TokenRow], ends: Ends) -> tuple[Failure, ...]:
    """Return a failure if texts do not begin with one <bos>, or targets not end with one stop."""
    begins = [list(ids[:8]) for ids, _ in rows if not _begins(ids, ends.bos)]
    finishes = [list(targets[-8:]) for ids, targets in rows if not _ends(ids, targets, ends.stop)]
    return tuple(
        Failure(id=id, found=f"{len(bad)} of {len(rows)} texts {what}: {bad[0]}")
        for id, bad, what in [
            (Probe.BEGINNING, begins, f"do not begin with one token {ends.bos}"),
            (Probe.TARGETS, finishes, f"have targets that do not end with one token {ends.stop}"),
        ]
        if bad
    )


def _begins(ids: Sequence[int], bos: int | None) -> bool:
    return bos is None or (list(ids[:1]) == [bos] and ids.count(bos) == 1)


def _ends(ids: Sequence[int], targets: Sequence[int], stop: int) -> bool:
    at_the_end = list(targets) == list(ids[len(ids) - len(targets) :])
    return at_the_end and list(targets[-1:]) == [stop] and targets.count(stop) == 1


def weight_failures(
    model: nn.Module, config: ArmConfig, compute: torch.dtype
) -> tuple[Failure, ...]:
    """Return a failure if weights are frozen that should train, or of another dtype than stated.

    What trains is fp32; what does not is of the compute dtype, or in 4 bits where that is asked.
    """
    weights = list(model.named_parameters())
    frozen = [
        f"{name} is frozen, and method={config.method} trains it"
        for name, p in weights
        if not p.requires_grad and (config.method == "full" or ".lora_" in name)
    ]
    short = str(compute).removeprefix("torch.")
    allowed = {True: {"float32"}, False: {short, config.quantization or short}}
    wrong = [
        f"{name}, {'trained' if p.requires_grad else 'frozen'}, is {_dtype(p)}"
        for name, p in weights
        if _dtype(p) not in allowed[p.requires_grad]
    ]
    if config.quantization and config.quantization not in {_dtype(p) for _, p in weights}:
        wrong.append(f"quantization={config.quantization} and no weight is in 4 bits")
    return tuple(
        Failure(id=id, found=f"{bad[0]} ({len(bad)} such of {len(weights)} tensors)")
        for id, bad in [(Probe.GRADIENT, frozen), (Probe.PRECISION, wrong)]
        if bad
    )


def _dtype(parameter: nn.Parameter) -> str:
    """Return the name of a weight's dtype; of a packed one, what it stands for: nf4."""
    packed: Any = getattr(parameter, "quant_state", None)
    return packed.quant_type if packed else str(parameter.dtype).removeprefix("torch.")
