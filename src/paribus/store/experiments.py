"""What is known of an experiment as a whole: its description, learning rates and conclusions.

`experiment.yaml` says what was asked, of which arms; its first line is the hash of the others.
`tuning.json`, sealed, holds by arm the trials of learning rates and the chosen one:

    {"format": 1, "arms": {"full-main": {"chosen": 2e-05, "edge": null, "trials": [...]}}}

`report/manifest.json`, sealed and written last, holds the hashes of the page and the findings.
"""

import hashlib
from typing import Any

import yaml

from paribus.errors import DamagedError, StoreError
from paribus.files import sha256_of_file, write_json, write_text
from paribus.store.layout import ExperimentFolder
from paribus.store.runs import writing
from paribus.store.sealed import read_sealed, write_sealed

TUNING_FORMAT = 1
"""Version of `tuning.json`."""

_SEAL = b"# SHA-256 of what follows: "


def write_description(folder: ExperimentFolder, description: dict[str, Any]) -> None:
    """Replace the experiment's description, atomically. Raises StoreError."""
    text = yaml.safe_dump(description, sort_keys=False)
    seal = _SEAL.decode() + hashlib.sha256(text.encode()).hexdigest()
    with writing(folder.description):
        write_text(folder.description, f"{seal}\n{text}")


def read_description(folder: ExperimentFolder) -> dict[str, Any]:
    """Return the experiment's description. Raises StoreError if it is missing or damaged."""
    remedy = "restore it, or delete it and run the experiment again: complete runs are kept"
    try:
        seal, _, text = folder.description.read_bytes().partition(b"\n")
        found = hashlib.sha256(text).hexdigest()
        if seal != _SEAL + found.encode():
            raise DamagedError(
                f"{folder.description} is not what was written: the SHA-256 of all but its first "
                f"line is {found}, that line says {seal.decode(errors='replace')[:120]!r}",
                remedy,
            )
        description: dict[str, Any] = yaml.safe_load(text)
    except FileNotFoundError as error:
        raise StoreError(
            f"{folder.description} cannot be read: {error}",
            "run the experiment first, or name another folder",
        ) from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DamagedError(f"{folder.description} cannot be read: {error}", remedy) from error
    return description


def write_tuning(folder: ExperimentFolder, arms: dict[str, Any]) -> None:
    """Replace the record of trials and chosen learning rates, atomically. Raises StoreError."""
    with writing(folder.tuning):
        write_sealed(folder.tuning, {"format": TUNING_FORMAT, "arms": arms})


def read_tuning(folder: ExperimentFolder) -> dict[str, Any]:
    """Return trials and chosen rates by arm; nothing if there were none. Raises DamagedError."""
    if not folder.tuning.exists():
        return {}
    remedy = "delete it and run the experiment again: rates are chosen from the complete trials"
    try:
        arms: dict[str, Any] = read_sealed(folder.tuning)["arms"]
        for row in arms.values():
            row["chosen"], row["edge"], [trial["fingerprint"] for trial in row["trials"]]
    except DamagedError as error:
        raise DamagedError(error.message, remedy) from error
    except (TypeError, KeyError, AttributeError) as error:
        raise DamagedError(f"{folder.tuning} cannot be read: {error!r}", remedy) from error
    return arms


def write_conclusions(folder: ExperimentFolder, page: str, findings: dict[str, Any]) -> None:
    """Replace report and findings, and say in a manifest what they are. Raises StoreError."""
    with writing(folder.report):
        write_json(folder.findings, findings)
        write_text(folder.report, page)
        hashes = {path.name: sha256_of_file(path) for path in (folder.report, folder.findings)}
        write_sealed(folder.report_manifest, {"files": hashes})


def check_conclusions(folder: ExperimentFolder) -> list[str]:
    """Return a line for each file of the report that is not what was written; none without one."""
    paths = (folder.report, folder.findings)
    if not any(path.exists() for path in (*paths, folder.report_manifest)):
        return []
    try:
        hashes = read_sealed(folder.report_manifest)["files"]
        return [
            f"{path} is missing or is not what was written"
            for path in paths
            if not path.is_file() or sha256_of_file(path) != hashes[path.name]
        ]
    except DamagedError as error:
        return [error.message]
    except (OSError, TypeError, KeyError) as error:
        return [f"{folder.report_manifest} cannot be compared: {error!r}"]
