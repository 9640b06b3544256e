"""Probes around the passes: texts and dtypes before them, evaluation, saving and loading after.

    text_failures([((2, 105, 7, 1), (7, 1))], Ends(bos=2, stop=1))        # ()
    dtype_table(model)      # (DtypeRow(trains=True, dtype="float32", tensors=252), ...)
    evaluation_failures(steps, Saving(folder=run, save=save, reload=reload))      # ()

What is evaluated and saved is what the run will test and save: weights rounded to the compute
dtype. Adapters begin as zero, where a lost one would go unnoticed: they are changed first. The
model is left as it was.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn

from paribus.config.schema import ArmConfig
from paribus.errors import ModelError
from paribus.models.fast.layers import SAVED
from paribus.models.load import as_tested, decoder_and_head, for_inference
from paribus.prompts.encode import begins_once
from paribus.records import LAUNCHERS
from paribus.training.passes import IGNORED, collate
from paribus.training.probe_steps import Failure, Probe, Steps


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
    counts = Counter((p.requires_grad, _dtype(p)) for p in model.parameters())
    return tuple(
        DtypeRow(trains=trains, dtype=dtype, tensors=tensors)
        for (trains, dtype), tensors in sorted(counts.items(), reverse=True)
    )


def process_failures(environment: Mapping[str, str]) -> tuple[Failure, ...]:
    """Return a failure if a launcher started several processes: each would train on its own."""
    parts = [
        f"{name}={environment[name]}" for name in LAUNCHERS if environment.get(name, "1") != "1"
    ]
    return (Failure(id=Probe.PROCESSES, found=", ".join(parts)),) if parts else ()


TokenRow = tuple[Sequence[int], Sequence[int]]
"""The ids of a text, and those with loss."""


def rows(batch: Mapping[str, Any]) -> list[TokenRow]:
    """Return the texts of a pass as the model gets them."""
    lengths = batch["text_lengths"]
    texts, labels = (batch[name][0].split(lengths) for name in ("input_ids", "labels"))
    return [
        (ids.tolist(), [y for y in targets.tolist() if y != IGNORED])
        for ids, targets in zip(texts, labels, strict=True)
    ]


def text_failures(rows: Sequence[TokenRow], ends: Ends) -> tuple[Failure, ...]:
    """Return a failure if texts do not begin with one <bos>, or targets not end with one stop."""
    begins = [list(ids[:8]) for ids, _ in rows if not _begins(ids, ends)]
    finishes = [list(targets[-8:]) for ids, targets in rows if not _ends(ids, targets, ends.stop)]
    return tuple(
        Failure(id=id, found=f"{len(bad)} of {len(rows)} texts {what}: {bad[0]}")
        for id, bad, what in [
            (Probe.BEGINNING, begins, f"do not begin with one token {ends.bos}"),
            (Probe.TARGETS, finishes, f"have targets that do not end with one token {ends.stop}"),
        ]
        if bad
    )


def _begins(ids: Sequence[int], ends: Ends) -> bool:
    return ends.bos is None or begins_once(ids, ends.bos, ends.stop)


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
        if not p.requires_grad and _is_to_train(name, config)
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


def _is_to_train(name: str, config: ArmConfig) -> bool:
    """Return whether the weight `name` is one that trains, in a model made ready for `config`."""
    if config.training.train_only:
        return any(re.search(pattern, name) for pattern in config.training.train_only)
    return config.method == "full" or ".lora_" in name or f".{SAVED}." in name


def _dtype(parameter: nn.Parameter) -> str:
    """Return the name of a weight's dtype; for a packed one its format: nf4."""
    packed: Any = getattr(parameter, "quant_state", None)
    return packed.quant_type if packed else str(parameter.dtype).removeprefix("torch.")


_STEP = 0.01
"""How far each adapter weight is moved: far enough that bf16 cannot round the change away."""

_BESIDE = "probe"
"""Name of the adapter that is loaded beside the one in training, called `default` by peft."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """How the run saves and loads its weights, and where there is room to try.

    Attributes:
        folder: of the run; a folder inside it is made and removed.
        save: saves the model that is probed, as it then is, into a folder.
        reload: loads a whole model from there. Not called for adapters: they are loaded beside
            those in training, which spares a second base.
    """

    folder: Path
    save: Callable[[Path], None]
    reload: Callable[[Path], nn.Module]


def evaluation_failures(steps: Steps, saving: Saving | None) -> list[Failure]:
    """Return what fails; the weights are afterwards what they were.

    The adapters' step goes along the gradient that is there. `saving` is None for a run that
    saves nothing.
    """
    if not steps.adapters:
        steps.forget()  # room for the rounded weights
        return _saving_failures(steps, saving)[0]
    with as_tested(steps.model, steps.compute):
        untrained = _logits(steps, steps.model)
    with _weights_moved(steps):
        failures, tested = _saving_failures(steps, saving)
    if torch.equal(untrained, tested):
        failures.append(
            Failure(
                id=Probe.ADAPTERS,
                found=f"each adapter weight with a gradient was moved by {_STEP} and not one "
                f"of {tested.numel()} logits changed",
            )
        )
    return failures


def _saving_failures(steps: Steps, saving: Saving | None) -> tuple[list[Failure], Tensor]:
    """Return whether the saved model differs from the tested one, and the tested one's logits."""
    folder = steps.folder / "weights"
    with as_tested(steps.model, steps.compute):
        tested = _logits(steps, steps.model)
        if saving is not None:
            saving.save(folder)
    if saving is None:
        return [], tested
    try:
        with _loaded(steps, saving, folder) as model:
            loaded = _logits(steps, model)
    except ModelError as error:
        return [Failure(id=Probe.SAVING, found=error.message)], tested
    if torch.equal(tested, loaded):
        return [], tested
    differs = tested != loaded
    most = float((tested.float() - loaded.float()).abs().max())
    message = (
        f"{int(differs.sum())} of {differs.numel()} logits of the loaded weights differ from "
        f"those that were saved, by up to {most:.2g}"
    )
    return [Failure(id=Probe.SAVING, found=message)], tested


@contextmanager
def _weights_moved(steps: Steps) -> Iterator[None]:
    """Move what trains against the sign of its gradient: Adam's first step, but for its length."""
    kept = [(p, p.data) for p in steps.model.parameters() if p.requires_grad]
    try:
        for parameter, data in kept:
            parameter.data = data - _STEP * parameter.grad.sign()
        yield
    finally:
        for parameter, data in kept:
            parameter.data = data


@contextmanager
def _loaded(steps: Steps, saving: Saving, folder: Path) -> Iterator[nn.Module]:
    """Load what was saved, ready to be tested."""
    if not steps.adapters:
        yield for_inference(saving.reload(folder), steps.compute)
        return
    steps.model.load_adapter(str(folder), _BESIDE, torch_device=str(steps.device))
    try:
        steps.model.set_adapter(_BESIDE)
        with as_tested(steps.model, steps.compute):
            yield steps.model
    finally:
        steps.model.set_adapter("default")
        steps.model.delete_adapter(_BESIDE)


@torch.no_grad()  # not inference_mode: a buffer made in it could never be trained through
def _logits(steps: Steps, model: nn.Module) -> Tensor:
    """Return the logits of the shorter example's target tokens, [N, V]."""
    decoder, head, _ = decoder_and_head(model)
    batch = send_to_device(collate([steps.shortest]), steps.device)
    del batch["labels"]
    places_N = batch.pop("places")
    hidden_1TD = decoder(**batch, use_cache=False).last_hidden_state
    return hidden_1TD[0].index_select(0, places_N) @ head.weight.T
