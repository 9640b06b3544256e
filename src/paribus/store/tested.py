"""What runs were tested for, as their own files show it: what the ledger lacks, what is to come.

    unrecorded_readings(ExperimentFolder(Path("runs/gsm8k")))
    # [Reading(arm="full-main", seed=0, protocol="zero_shot/raw")]

A ledger that is gone, or lost whole lines, is told by the runs alone: no line speaks of another.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from paribus.config.spec import overrides, testing
from paribus.errors import StoreError
from paribus.files import UNREADABLE, read_json
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.ledger import LIKELIHOOD, read_ledger
from paribus.store.results import read_result
from paribus.store.runs import RunState, state
from paribus.store.sealed import read_sealed

Further = dict[str, tuple[Any, Any]]
"""Setting of testing, dotted -> its value in the run, and in the experiment by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A reading of the test split of which a run holds something."""

    arm: str
    seed: int
    protocol: str


def unrecorded_readings(folder: ExperimentFolder) -> list[Reading]:
    """Return every reading without a line in the ledger. Raises DamagedError if that is damaged."""
    entered = {(read.arm, read.seed, read.protocol) for read in read_ledger(folder.ledger)}
    tested = [
        Reading(arm=run.arm, seed=run.replicate, protocol=protocol)
        for run in folder.runs()
        for protocol in tested_for(run)
    ]
    return [each for each in tested if (each.arm, each.seed, each.protocol) not in entered]


def tested_for(run: RunFolder) -> list[str]:
    """Return what the run read the test split for: protocols, and the likelihoods.

    Nothing if it is damaged, which is named where the run itself is checked.
    """
    with suppress(StoreError, *UNREADABLE):
        if state(run) is RunState.COMPLETE:
            result = read_result(run.result)
            return [*result.protocols, *([LIKELIHOOD] if result.heldout else [])]
        entered = sorted(run.pieces.glob("*-entered.json"))
        return [str(read_sealed(path)["content"]["protocol"]) for path in entered]
    return []


def still_to_test(run: RunFolder, identity: Mapping[str, Any]) -> Further:
    """Return in what the complete run was tested otherwise than its arm's `identity` says by now.

    Nothing if it is not complete, or damaged, which is named where the run itself is checked.
    """
    asked = testing(identity)
    with suppress(*UNREADABLE):
        if state(run) is RunState.COMPLETE:
            stored = testing(read_json(run.spec)["identity"])
            return {
                key: (stored[key], asked[key])
                for key in sorted(stored.keys() & asked.keys())
                if stored[key] != asked[key]
            }
    return {}


def about_further(further: Further) -> str:
    """Return what is still to be tested, and how to go on."""
    lines = ", ".join(f"{key}: {old} → {new}" for key, (old, new) in further.items())
    words = overrides({key: new for key, (_, new) in further.items()})
    return f"still to be tested further ({lines}): `paribus run` with {words} goes on"
