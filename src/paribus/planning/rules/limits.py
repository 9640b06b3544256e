"""Cards about room: the device's memory and the disk."""

from paribus.planning.devices import GB, Device
from paribus.planning.rules.card import Facts, Rule, Severity

MARGIN = 0.1
"""Share by which the predicted peak may be wrong (docs/memory.md has the measurements)."""


def room(device: Device) -> float:
    """Return the bytes that a predicted peak may take and surely fit `device`."""
    return (1 - MARGIN) * device.memory_bytes


def broken_by_peak(peak: int | None, device: Device) -> tuple[Rule, str] | None:
    """Return the card that a measured peak breaks, and what was found; None if there is room.

    `peak` is None where the probe itself ran out of memory. It takes the place of what the cards
    of `MEMORY` say of a prediction, which may be wrong by `MARGIN`; a measurement may not.
    """
    there = device.memory_bytes
    if peak is None:
        return OVER_MEMORY, f"its probe ran out of memory; {_has(device)}"
    if peak <= room(device):
        return None
    rule = OVER_MEMORY if peak > there else NEAR_MEMORY
    return rule, f"needs {size(peak)} at its peak, as measured; {_has(device)}"


def size(number: int) -> str:
    """Return bytes in words: 51.0 GB, 7.9 MB."""
    return f"{number / GB:.1f} GB" if number >= GB else f"{number / 1e6:.1f} MB"


def _over_memory(facts: Facts) -> str | None:
    if facts.estimate is None:
        return None
    peak, there = facts.estimate.peak_bytes, facts.device.memory_bytes
    return _peak(facts) if peak > (1 + MARGIN) * there else None


def _near_memory(facts: Facts) -> str | None:
    if facts.estimate is None:
        return None
    peak, there = facts.estimate.peak_bytes, facts.device.memory_bytes
    return _peak(facts) if room(facts.device) < peak <= (1 + MARGIN) * there else None


def _peak(facts: Facts) -> str:
    assert facts.estimate is not None
    return f"needs {size(facts.estimate.peak_bytes)} at its peak; {_has(facts.device)}"


def _has(device: Device) -> str:
    return f"{device.title} has {size(device.memory_bytes)}"


def _over_disk(facts: Facts) -> str | None:
    if facts.disk_bytes is None or facts.machine is None:
        return None
    free = facts.machine.free_disk_bytes
    if facts.config.method == "none" or facts.disk_bytes <= free:
        return None
    needed = f"weights and checkpoints still to come take {size(facts.disk_bytes)}"
    return f"{needed}; {size(free)} are free"


def _unknown_shape(facts: Facts) -> str | None:
    return f"the shape of {facts.config.model} is not known" if facts.shape is None else None


OVER_MEMORY = Rule(
    id="PB060",
    title="The arm does not fit the device's memory",
    severity=Severity.ERROR,
    what="The run stops for lack of memory, on a CPU after minutes of swapping, or is killed.",
    why="Weights, their fp32 master, gradients, optimizer states, activations and logits are alive "
    "at once; their sum exceeds the memory by more than the prediction can be wrong.",
    evidence=("docs/memory.md: measured against predicted peaks",),
    instead="Where training is the peak, smaller passes (training.micro_batch) or one of the other "
    "ways that `paribus plan FILE --details` lists; where testing is, a smaller "
    "evaluation.batch_size; or a larger device (--device NAME plans for one).",
    check=_over_memory,
)
NEAR_MEMORY = Rule(
    id="PB061",
    title="The arm may not fit the device's memory",
    severity=Severity.WARNING,
    what="The run may stop for lack of memory.",
    why="The predicted peak is within a tenth of the memory, which is as far as it can be wrong; "
    "other programs and fragmentation need room too.",
    evidence=("docs/memory.md: measured against predicted peaks",),
    instead="Set training.micro_batch=auto and training.checkpointing=auto; or measure: "
    "`paribus plan FILE --probe`.",
    check=_near_memory,
)
OVER_DISK = Rule(
    id="PB062",
    title="The disk has no room for weights and checkpoints",
    severity=Severity.ERROR,
    what="A run trains, then cannot save its weights or a checkpoint, and stops.",
    why="Full SFT saves every weight for each arm and seed, LoRA its adapters. While a run trains, "
    "up to three checkpoints lie beside: what trains in fp32, and the optimizer's states.",
    evidence=("store/layout.py: weights/ and checkpoints/ of each run",),
    instead="Set training.save_weights=false or training.checkpoint_minutes=null, free some disk, "
    "or put the runs elsewhere with --runs DIR.",
    check=_over_disk,
)
UNKNOWN_SHAPE = Rule(
    id="PB063",
    title="Memory and time cannot be predicted for this model",
    severity=Severity.NOTE,
    what="The plan says nothing of memory and time, and `auto` settings cannot be chosen.",
    why="The prediction needs the sizes in the model's config.json, for a family of models that "
    "paribus knows.",
    evidence=("models/shapes.py: the families",),
    instead="Fetch the model once, or give a folder; `paribus plan FILE --probe` measures.",
    check=_unknown_shape,
)
OUT_OF_MEMORY = Rule(
    id="PB064",
    title="A run ran out of memory",
    severity=Severity.ERROR,
    what="The run stops and is recorded as out of memory, with what was predicted for it; the "
    "others go on.",
    why="The prediction was too low, or something else took memory meanwhile.",
    evidence=("failure.json of the run: kind, predicted_peak_bytes",),
    instead="Set training.micro_batch=auto and training.checkpointing=auto; lower "
    "evaluation.batch_size if it stopped while testing.",
)
NOT_A_NUMBER = Rule(
    id="PB065",
    title="Loss or gradient is not a number",
    severity=Severity.ERROR,
    what="The run stops at that step; nothing of it is reported as a result.",
    why="A learning rate that is too high, or numbers beyond a dtype's range. The Trainer would by "
    "default replace such a loss by the running mean and go on.",
    evidence=(
        "transformers 5.23.0, TrainingArguments.logging_nan_inf_filter: True by default, False "
        "here",
    ),
    instead="Lower training.learning_rate, or set training.precision=fp32.",
)

MEMORY = (OVER_MEMORY, NEAR_MEMORY)
"""Cards about a predicted peak."""

RULES: tuple[Rule, ...] = (
    OVER_MEMORY,
    NEAR_MEMORY,
    OVER_DISK,
    UNKNOWN_SHAPE,
    OUT_OF_MEMORY,
    NOT_A_NUMBER,
)
