"""Where an unfinished run goes on: at its newest verified checkpoint, if it is still the same run.

    point = take_up(folder, record, fork=False, on_note=print)

Same means: what defines the run, its inputs down to the tokens, versions and machine. Anything else
is refused with the differences, for the result would be neither the one run's nor the other's.
`--fork` goes on all the same, as a new run that says where it came from.
"""

from collections.abc import Callable, Mapping
from typing import Any

from paribus.config.spec import differences
from paribus.errors import StoreError
from paribus.files import read_json, remove
from paribus.store.checkpoints import Checkpoint, newest, relabel
from paribus.store.layout import RunFolder
from paribus.store.runs import writing

_STATE = ("method", "quantization", "training.optimizer", "lora.r", "lora.targets", "inputs.model")
"""What a checkpoint's weights and optimizer belong to: no fork can change it."""


def take_up(
    folder: RunFolder, run: Mapping[str, Any], *, fork: bool, on_note: Callable[[str], None]
) -> Checkpoint | None:
    """Return the checkpoint from which the run that is `run` goes on, or None: it begins anew.

    `on_note` is told of every checkpoint that was put aside. Raises StoreError if what lies there
    is another run's, and `fork` is not given.
    """
    point = newest(folder.checkpoints, on_note)
    stored = point.run if point else _begun(folder)
    if stored is None or _told(stored) == _told(run):
        return point
    lines = differences(_told(stored), _told(run))
    if not fork:
        done = f"{point.step} steps" if point else "a part of its tests"
        raise StoreError(
            "\n  ".join(
                [f"{folder.path} is unfinished, with {done} done, as another run:", *lines]
            ),
            "go back to those settings; or give --fork to go on from there as a new run; or remove "
            "what is unfinished with `paribus clean`",
        )
    stuck = [line for line in lines if line.partition(":")[0] in _STATE]
    if point and stuck:
        raise StoreError(
            "\n  ".join([f"{point.path} cannot go on as a run with:", *stuck]),
            "weights and optimizer are of the other: `paribus clean` removes what is unfinished",
        )
    with writing(folder.pieces):
        remove(folder.pieces)
    if point is None:
        return None
    origin = {"fingerprint": point.run["fingerprint"], "step": point.step, "differences": lines,
              "before": point.forked_from}  # fmt: skip
    return relabel(point, run, origin)


def _told(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run is, by the keys that users know."""
    return {**run["identity"], "inputs": run["inputs"], "environment": run["environment"]}


def _begun(folder: RunFolder) -> dict[str, Any] | None:
    """Return what the run was when it last tested something; None if nothing would be lost."""
    if not any(folder.pieces.glob("*.json")):
        return None
    try:
        stored: dict[str, Any] = read_json(folder.spec)
        _told(stored)
    except (OSError, ValueError, TypeError, KeyError):
        return None  # damaged; the pieces say themselves whose they are
    return stored
