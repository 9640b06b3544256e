"""The description of an experiment, `experiment.yaml`: what was asked, of which arms."""

from typing import Any

import yaml

from paribus.errors import StoreError
from paribus.files import write_text
from paribus.store.layout import ExperimentFolder
from paribus.store.runs import writing


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
