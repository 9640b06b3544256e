"""What is known of an experiment as a whole: its description, and its learning rates.

`experiment.yaml` says what was asked, of which arms. `tuning.json` holds, by arm, the trials of
learning rates and the chosen one:

    {"format": 1, "arms": {"full-main": {"chosen": 2e-05, "edge": null, "trials": [...]}}}
"""

from typing import Any

import yaml

from paribus.errors import StoreError
from paribus.files import read_json, write_json, write_text
from paribus.store.layout import ExperimentFolder
from paribus.store.runs import writing

TUNING_FORMAT = 1
"""Version of `tuning.json`."""


def write_description(folder: ExperimentFolder, description: dict[str, Any]) -> None:
    """Replace the experiment's description, atomically."""
    with writing(folder.description):
        write_text(folder.description, yaml.safe_dump(description, sort_keys=False))


def read_description(folder: ExperimentFolder) -> dict[str, Any]:
    """Return the experiment's description. Raises StoreError if it is missing or damaged."""
    try:
        description: dict[str, Any] = yaml.safe_load(folder.description.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise StoreError(
            f"{folder.description} cannot be read: {error}",
            "run the experiment first, or name another folder",
        ) from error
    return description


def write_tuning(folder: ExperimentFolder, arms: dict[str, Any]) -> None:
    """Replace the record of trials and chosen learning rates, atomically."""
    with writing(folder.tuning):
        write_json(folder.tuning, {"format": TUNING_FORMAT, "arms": arms})


def read_tuning(folder: ExperimentFolder) -> dict[str, Any]:
    """Return trials and chosen rates by arm; nothing if there were none. Raises StoreError."""
    if not folder.tuning.exists():
        return {}
    try:
        arms: dict[str, Any] = read_json(folder.tuning)["arms"]
        for row in arms.values():
            row["chosen"], row["edge"], [trial["fingerprint"] for trial in row["trials"]]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(
            f"{folder.tuning} cannot be read: {error!r}",
            "delete it: rates are chosen again from the trials that are complete",
        ) from error
    return arms
