"""Where an unfinished run goes on: at its newest verified checkpoint, if it is still the same run.

    refuse_another(spec, inputs, folder, fork=False)               # before anything is spent
    point = take_up(folder, record, steps=400, fork=False, on_note=print)

Same means: what defines the run, its inputs down to the tokens, versions and machine. Anything else
is refused with the differences, for the result would be neither the one run's nor the other's.
`--fork` goes on all the same, as a new run that says where it came from.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from paribus.config.spec import RunSpec, differences
from paribus.errors import UserError
from paribus.files import UNREADABLE, read_json, remove
from paribus.planning.inputs import Inputs
from paribus.store.checkpoints import Checkpoint, glance, newest, relabel
from paribus.store.layout import RunFolder
from paribus.store.runs import writing
from paribus.training.batching import order_seed, training_length

_STATE = ("method", "quantization", "training.optimizer", "lora.r", "lora.targets", "inputs.model")
"""What a checkpoint's weights and optimizer belong to: no fork can change it."""


def refuse_another(spec: RunSpec, inputs: Inputs, folder: RunFolder, *, fork: bool) -> None:
    """Raise UserError if what is unfinished in `folder` was begun with other settings or inputs.

    With `fork` only if that cannot be gone on with as `spec`. Only manifests are read; versions and
    machine are compared when the run goes on.
    """
    point = glance(folder.checkpoints)
    stored = point.run if point else _begun(folder)
    if stored is None:
        return
    now = {"identity": spec.identity(), "inputs": inputs.identity(),
           "environment": stored["environment"]}  # fmt: skip
    lines = differences(_told(stored), _told(now))
    if lines and not fork:
        raise _refusal(folder, point, lines)
    if lines and point:
        before = glance(folder.checkpoints, trains=True)
        _forkable(point, before, lines, length_of(spec, inputs), folder)


def take_up(
    folder: RunFolder,
    run: Mapping[str, Any],
    *,
    steps: int,
    fork: bool,
    on_note: Callable[[str], None],
) -> Checkpoint | None:
    """Return the checkpoint from which the run that is `run` goes on, or None: it begins anew.

    `steps` is how long it trains; `on_note` is told of every checkpoint that was put aside. Raises
    UserError if what lies there is another run's, and `fork` is not given or cannot work.
    """
    point = newest(folder.checkpoints, on_note)
    stored = point.run if point else _begun(folder)
    if stored is None or _told(stored) == _told(run):
        return point
    lines = differences(_told(stored), _told(run))
    if not fork:
        raise _refusal(folder, point, lines)
    origin = None
    if point:
        before = point if point.trains else newest(folder.checkpoints, on_note, trains=True)
        origin = _forkable(point, before, lines, steps, folder)
    with writing(folder.pieces):
        remove(folder.pieces)
    if origin is None:
        return None
    came = {"fingerprint": origin.run["fingerprint"], "step": origin.step, "differences": lines,
            "before": origin.forked_from}  # fmt: skip
    return relabel(origin, run, came)


def length_of(spec: RunSpec, inputs: Inputs) -> int:
    """Return how many optimizer steps a run trains; 0 without training."""
    lengths = [example.target_length for example in inputs.examples]
    seed = order_seed(spec.stream)
    return training_length(lengths, spec.config.training, seed)[0] if lengths else 0


def _forkable(
    point: Checkpoint,
    before: Checkpoint | None,
    lines: Sequence[str],
    steps: int,
    folder: RunFolder,
) -> Checkpoint:
    """Return the checkpoint to fork from: `point`, or `before` it if only that trains on.

    Raises UserError if a run of so many `steps` that differs by `lines` cannot go on from either.
    """
    stuck = [line for line in lines if line.partition(":")[0] in _STATE]
    if stuck:
        raise UserError(
            "\n  ".join([f"{point.path} cannot go on as a run with:", *stuck]),
            f"weights and optimizer are of the other; to begin anew: {_clean(folder)}",
        )
    if point.step > steps:
        raise UserError(
            f"{point.path} is after step {point.step}, and the training would end after {steps}",
            f"fork it into a training that is as long or longer; to begin anew: {_clean(folder)}",
        )
    found = point if point.step == steps or point.trains else before
    if found is None:
        raise UserError(
            f"{point.path} was the end of a training of {point.step} steps: it holds no state of "
            f"the optimizer to go on with, to {steps} steps",
            f"go back to {point.step} steps; to begin anew: {_clean(folder)}",
        )
    return found


def _clean(folder: RunFolder) -> str:
    return f"paribus clean {shlex.quote(str(folder.path))}"


def _refusal(folder: RunFolder, point: Checkpoint | None, lines: Sequence[str]) -> UserError:
    done = "a part of its tests"
    if point:
        done = f"{point.step} step{'' if point.step == 1 else 's'}"
    return UserError(
        "\n  ".join([f"{folder.path} is unfinished, with {done} done, as another run:", *lines]),
        "go back to those settings; or add --fork to the same command, which goes on from there as "
        f"a new run; or begin anew: {_clean(folder)}",
    )


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
    except UNREADABLE:
        return None  # damaged; the pieces say themselves whose they are
    return stored
