"""Evaluate a model that is about to be trained, save and load it, and leave it as it was.

    evaluation_failures(steps, Saving(folder=run, save=save, reload=reload))      # ()

What is evaluated and saved is what the run will test and save: weights rounded to the compute
dtype. Adapters begin as zero, where a lost one would not be missed: they are moved first.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from paribus.errors import ModelError
from paribus.models.load import decoder_and_head, for_inference
from paribus.training.probe_steps import Failure, Probe, Steps
from paribus.training.trainer import IGNORED, collate

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
    with _as_tested(steps):
        untrained = _logits(steps, steps.model)
    with _moved(steps):
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
    with _as_tested(steps):
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
    found = (
        f"{int(differs.sum())} of {differs.numel()} logits of the loaded weights differ from "
        f"those that were saved, by up to {most:.2g}"
    )
    return [Failure(id=Probe.SAVING, found=found)], tested


@contextmanager
def _as_tested(steps: Steps) -> Iterator[None]:
    """Round the weights as the run does before it tests and saves, and undo it by keeping them."""
    kept = [
        (parameter, parameter.data, parameter.requires_grad, parameter.grad)
        for parameter in steps.model.parameters()
        if parameter.is_floating_point()  # packed 4-bit weights are not rounded
    ]
    try:
        for_inference(steps.model, steps.compute)
        yield
    finally:
        for parameter, data, trains, gradient in kept:
            parameter.data = data
            parameter.requires_grad_(trains)
            parameter.grad = gradient


@contextmanager
def _moved(steps: Steps) -> Iterator[None]:
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
        with _as_tested(steps):
            yield steps.model
    finally:
        steps.model.set_adapter("default")
        steps.model.delete_adapter(_BESIDE)


@torch.no_grad()  # not inference_mode: a buffer made in it could never be trained through
def _logits(steps: Steps, model: nn.Module) -> Tensor:
    """Return the logits of the shorter example's target tokens, [N, V]."""
    decoder, head, _ = decoder_and_head(model)
    batch = {name: values.to(steps.device) for name, values in collate([steps.shortest]).items()}
    labels_1T = batch.pop("labels")
    hidden_1TD = decoder(**batch, use_cache=False).last_hidden_state
    hidden_ND = hidden_1TD[:, :-1][labels_1T[:, 1:] != IGNORED]
    return hidden_ND @ head.weight.T
