"""Probe a run's model before its first step; what fails stops the run, with its card."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from paribus.errors import RunFailed
from paribus.experiment.job import Job
from paribus.experiment.saving import save_model
from paribus.models.load import load_model
from paribus.models.source import ModelSource
from paribus.planning.rules.cards import card
from paribus.prompts.encode import leading_bos
from paribus.training.probe_checks import Ends
from paribus.training.probe_saving import Saving
from paribus.training.probes import probe


def probe_model(model: nn.Module, job: Job) -> dict[str, Any]:
    """Return the event of a model that passed all probes. Raises RunFailed, with the cards, if not.

    The model is afterwards what it was, bit for bit.
    """
    inputs = job.inputs
    probed = probe(
        model,
        inputs.examples,
        job.config,
        compute=job.compute,
        device=job.device,
        ends=Ends(bos=leading_bos(inputs.tokenizer), stop=inputs.prompt_sets[0].stop),
        saving=Saving(
            folder=job.folder.path,
            save=partial(save_model, model, inputs, job.config),
            reload=partial(_reload, job),
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


def _reload(job: Job, path: Path) -> nn.Module:
    return load_model(ModelSource(path=path, identity=""), job.compute, job.device)
