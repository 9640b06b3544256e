"""Several stores as parts of one experiment: one description and one record of trials for all.

    described = [read_description(folder) for folder in stores]
    joined_description(stores, described)      # StoreError names what they differ in

The parts were begun with one file and the same values, so each describes the whole experiment,
whatever it ran of it. Folders, trackers and defaults of different versions may differ. A value that
trials of one part found stands for the parts that left it open. Where nothing is trained or
compared, as in the store of `paribus baseline`, arms are independent of each other, and the joined
experiment has those of all parts.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from paribus.config.nested import flatten
from paribus.config.portable import portable
from paribus.config.spec import OPEN, differences
from paribus.errors import StoreError
from paribus.store.experiments import ArmTuning, DescribedArm, Description, read_tuning
from paribus.store.layout import ExperimentFolder
from paribus.store.ledger import Look, read_looks

REMEDY = (
    "parts of one experiment are run from one file with the same values: `paribus run FILE` with "
    "these in the store that lacks them, or leave that store out"
)
_PLACES = ("folder",)
"""Keys of a task's record that say where its file lies."""


def joined_description(
    stores: Sequence[ExperimentFolder], described: Sequence[Description]
) -> Description:
    """Return what describes all of `stores`, which `described` describes in the same order.

    Raises StoreError, which names each difference and its file, if they are not one experiment.
    """
    first = described[0]
    faults = []
    for folder, other in zip(stores[1:], described[1:], strict=True):
        lines = list(_differences(first, other))
        if lines:
            place = f"{folder.description} is of another experiment than {stores[0].description}:"
            faults += [place, *(f"  {line}" for line in lines)]
    if faults:
        raise StoreError("\n  ".join(faults), REMEDY)
    arms: dict[str, DescribedArm] = {}
    for arm in (arm for each in described for arm in each.arms):
        if arm.name not in arms or _open_keys(arms[arm.name]):
            arms[arm.name] = arm
    trials = {(trial.arm, trial.name): trial for each in described for trial in each.trials}
    return first.model_copy(update={"arms": list(arms.values()), "trials": list(trials.values())})


def _differences(first: Description, other: Description) -> Iterator[str]:
    """Yield a line for each difference that makes two descriptions those of two experiments."""
    independent = _independent(first) and _independent(other)
    if not independent:
        yield from _other_settings(first, other)
        yield from _other_names("arm", _by_name(first), _by_name(other))
        pairs = [{f"{pair.a} − {pair.b}": pair for pair in each.contrasts}
                 for each in (first, other)]  # fmt: skip
        yield from _other_names("contrast", *pairs)
    yield from _other_names("task", first.tasks, other.tasks)
    for name in first.tasks.keys() & other.tasks.keys():
        if _unplaced(first.tasks[name]) != _unplaced(other.tasks[name]):
            yield f"the task {name} is described by another file"
    theirs = _by_name(other)
    for name, arm in _by_name(first).items():
        if name in theirs:
            yield from _other_arm(arm, theirs[name])


def _independent(description: Description) -> bool:
    return not description.contrasts and all(arm.untuned for arm in description.arms)


def _other_settings(first: Description, other: Description) -> Iterator[str]:
    """Yield a line for each value that differs. What a version did not have yet is its default."""
    old, new = portable(first.config), portable(other.config)
    for line in differences(old, new):
        key = line.partition(": ")[0]
        later = key not in old or key not in new
        origins = first.origins if key in old else other.origins
        if not later or origins.get(key, "default") != "default":
            yield line


def _by_name(description: Description) -> dict[str, DescribedArm]:
    return {arm.name: arm for arm in description.arms}


def _other_names(what: str, first: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    for name in first.keys() - other.keys():
        yield f"it lacks the {what} {name}"
    for name in other.keys() - first.keys():
        yield f"it has another {what}, {name}"


def _other_arm(arm: DescribedArm, other: DescribedArm) -> Iterator[str]:
    """Yield a line for each difference of two arms of one name that no open value explains."""
    known = _open_keys(arm) | _open_keys(other)
    for line in differences(arm.identity, other.identity):
        if line.partition(": ")[0] not in known:
            yield f"arm {arm.name}: {line}"
    if arm.factors != other.factors:
        yield f"arm {arm.name}: its factors are {other.factors}, not {arm.factors}"
    if _unplaced(arm.task) != _unplaced(other.task):
        yield f"arm {arm.name}: its task is described by another file"


def _open_keys(arm: DescribedArm) -> set[str]:
    """Return the dotted keys whose values trials are still to find."""
    return {key for key, value in flatten(arm.identity).items() if value == OPEN}


def _unplaced(task: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if task is None:
        return None
    return {key: value for key, value in task.items() if key not in _PLACES}


def joined_tuning(stores: Mapping[ExperimentFolder, set[str]]) -> dict[str, ArmTuning]:
    """Return the trials of all stores, by arm; a store's value is the arms left out of it.

    These count where no other store has them. Raises StoreError if two stores tuned an arm and
    differ; DamagedError as `read_tuning`.
    """
    joined: dict[str, tuple[ExperimentFolder, ArmTuning]] = {}
    rows = [
        (folder, arm, tuning) for folder in stores for arm, tuning in read_tuning(folder).items()
    ]
    for folder, arm, tuning in sorted(rows, key=lambda row: row[1] in stores[row[0]]):
        known, before = joined.setdefault(arm, (folder, tuning))
        if before != tuning and arm not in stores[folder]:
            raise StoreError(
                f"{folder.tuning} has other trials of {arm} than {known.tuning}: they chose "
                f"{tuning.values} and {before.values}",
                f"leave those of one store out: --leave-out {folder.path / 'tuning' / arm}",
            )
    return {arm: tuning for arm, (_, tuning) in joined.items()}


def refuse_other_decisions(stores: Sequence[ExperimentFolder]) -> None:
    """Raise StoreError if declared looks at as many seeds decided differently of one arm."""
    decided: dict[tuple[int, str], tuple[ExperimentFolder, bool]] = {}
    for folder in stores:
        for look in (look for look in read_looks(folder.ledger) if look.planned):
            for arm in look.runs:
                known, went_on = decided.setdefault(
                    (look.seeds, arm), (folder, _goes_on(look, arm))
                )
                if went_on != _goes_on(look, arm):
                    raise StoreError(
                        f"{folder.ledger} and {known.ledger} hold other decisions of the look at "
                        f"{look.seeds} seeds: {arm} {'stopped' if went_on else 'went on'} in the "
                        "first, and not in the second",
                        "leave one of the two stores out",
                    )


def _goes_on(look: Look, arm: str) -> bool:
    return arm in look.goes_on
