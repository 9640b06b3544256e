"""Probe a run's model before its first step; what fails stops the run, with its card."""

from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import nn

from paribus.config.schema import ArmConfig
from paribus.errors import RunFailed
from paribus.experiment.saving import save_model
from paribus.models.load import load_model
from paribus.models.source import ModelSource
from paribus.planning.inputs import Inputs
from paribus.planning.rules.cards import card
from paribus.prompts.encode import leading_bos
from paribus.store.layout import RunFolder
from paribus.training.probe_checks import Ends
from paribus.training.probe_saving import Saving
from paribus.training.probes import probe


def probe_model(
    model: nn.Module,
    inputs: Inputs,
    config: ArmConfig,
    folder: RunFolder,
    *,
    compute: torch.dtype,
    device: torch.device,
) -> dict[str, Any]:
    """Return the event of a model that passed all probes. Raises RunFailed, with the cards, if not.

    The model is afterwards what it was, bit for bit.
    """
    probed = probe(
        model,
        inputs.examples,
        config,
        compute=compute,
        device=device,
        ends=Ends(bos=leading_bos(inputs.tokenizer), stop=inputs.prompt_sets[0].stop),
        saving=Saving(
            folder=folder.path,
            save=partial(save_model, model, inputs, config),
            reload=lambda path: load_model(ModelSource(path=path, identity=""), compute, device),
        ),
    )
    if probed.failures:
        found = [f"{each.id} {card(each.id).title}: {each.found}" for each in probed.failures]
        remedies = dict.fromkeys(card(each.id).instead for each in probed.failures)
        raise RunFailed(
            "\n  ".join(["stopped before the first step:", *found]),
            "\n    ".join([*remedies, f"more: paribus explain {probed.failures[0].id}"]),
        )
    return {
        "event": "probed",
        "seconds": probed.seconds,
        "warnings": [f"{each.id} {card(each.id).title}: {each.found}" for each in probed.warnings],
        "dtypes": [asdict(row) for row in probed.dtypes],
    }
