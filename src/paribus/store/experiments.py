"""What is known of an experiment as a whole: its description, learning rates and conclusions.

`experiment.yaml` says what was asked, of which arms; its first line is the hash of the others.
`tuning.json`, sealed, holds by arm the trials of learning rates and the chosen one:

    {"format": 1, "arms": {"full-main": {"chosen": 2e-05, "edge": null, "trials": [...]}}}

`report/manifest.json`, sealed and written last, holds the hashes of the page and the findings.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from paribus.errors import DamagedError, StoreError
from paribus.files import UNREADABLE, open_file, read_bytes, sha256_of_file, write_json, write_text
from paribus.store.description import REMEDY, Description, parse_description, refuse_links
from paribus.store.layout import ExperimentFolder
from paribus.store.results import Recorded, first_fault
from paribus.store.runs import writing
from paribus.store.sealed import read_sealed, write_sealed
from paribus.untrusted import redacted_values


class Tried(Recorded):
    """What one trial of a learning rate came to.

    Attributes:
        learning_rate: the peak rate tried.
        state: `complete` or `failed`, as a run's.
        fingerprint: of the trial's spec.
        nll_per_token: held-out loss in nats; None if it failed or is undefined.
        solved: validation problems solved, by the main scorer; None if it failed.
        n: validation problems; None if it failed.
        seconds: of training and testing; None if it failed.
        error: why it failed, or None.
    """

    learning_rate: float
    state: str
    fingerprint: str
    nll_per_token: float | None = None
    solved: int | None = None
    n: int | None = None
    seconds: float | None = None
    error: str | None = None


class ArmTuning(Recorded):
    """How an arm's learning rate was found.

    Attributes:
        chosen: the peak rate with the lowest held-out loss; None if no trial has one.
        edge: the end of the grid at which it lies, or None.
        trials: every rate tried, the lowest first.
    """

    chosen: float | None
    edge: Literal["low", "high"] | None
    trials: list[Tried]


TUNING_FORMAT = 1
"""Version of `tuning.json`."""

_SEAL = b"# SHA-256 of what follows: "


def write_description(folder: ExperimentFolder, description: Description) -> None:
    """Replace the experiment's description, atomically, without secrets. Raises StoreError."""
    refuse_links(folder.path)
    if folder.description.exists() and not is_sealed(folder.description):
        raise StoreError(
            f"{folder.description} does not begin as paribus writes it, and would be replaced",
            "put runs elsewhere with --runs DIR if it is yours; delete it if it is damaged",
        )
    text = yaml.safe_dump(redacted_values(description.record()), sort_keys=False)
    with writing(folder.description):
        write_text(folder.description, with_seal(text))


def is_sealed(path: Path) -> bool:
    """Return whether the file `path` begins as a description does, whole or not."""
    with open_file(path) as file:
        return file.read(len(_SEAL)) == _SEAL


def with_seal(text: str) -> str:
    """Return `text` behind a line that says its hash."""
    return f"{_SEAL.decode()}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def read_description(folder: ExperimentFolder) -> Description:
    """Return the experiment's description.

    Raises StoreError if it is missing, or there is a link in the store; DamagedError if it is not
    what was written, or nothing that paribus writes.
    """
    refuse_links(folder.path)
    return description_of(folder)


def description_of(folder: ExperimentFolder) -> Description:
    """Return the experiment's description, whatever lies beside it. Raises as that does."""
    path = folder.description
    try:
        seal, _, text = read_bytes(path).partition(b"\n")
    except FileNotFoundError as error:
        raise StoreError(
            f"{path} is missing", "restore it, run the experiment, or name another folder"
        ) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}", REMEDY) from error
    found = hashlib.sha256(text).hexdigest()
    if seal != _SEAL + found.encode():
        raise DamagedError(
            f"{path} is not what was written: the SHA-256 of all but its first line is {found}, "
            f"that line says {seal.decode(errors='replace')[:120]!r}",
            REMEDY,
        )
    return parse_description(text, path)


def write_tuning(folder: ExperimentFolder, arms: Mapping[str, ArmTuning]) -> None:
    """Replace the record of trials and chosen learning rates, atomically. Raises StoreError."""
    rows = {arm: tuning.model_dump() for arm, tuning in arms.items()}
    with writing(folder.tuning):
        write_sealed(folder.tuning, {"format": TUNING_FORMAT, "arms": rows})


def read_tuning(folder: ExperimentFolder) -> dict[str, ArmTuning]:
    """Return trials and chosen rates by arm; nothing if there were none. Raises DamagedError."""
    if not folder.tuning.exists():
        return {}
    remedy = "delete it and run the experiment again: rates are chosen from the complete trials"
    try:
        arms: dict[str, Any] = read_sealed(folder.tuning)["arms"]
        return {arm: ArmTuning.model_validate(row) for arm, row in arms.items()}
    except DamagedError as error:
        raise DamagedError(error.message, remedy) from error
    except ValidationError as error:
        raise DamagedError(f"{folder.tuning} {first_fault(error)}", remedy) from error
    except UNREADABLE as error:
        raise DamagedError(f"{folder.tuning} cannot be read: {error!r}", remedy) from error


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
    except UNREADABLE as error:
        return [f"{folder.report_manifest} cannot be compared: {error!r}"]
