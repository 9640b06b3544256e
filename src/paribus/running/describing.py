"""What an experiment's folder says of it: `experiment.yaml`, written by whoever runs it alone.

    describe(loaded, design, folder)                # replaces what was said before
    refuse_another(loaded, design, folder)          # StoreError unless it says just this

Commands that share an experiment must mean the same one: its values, arms and contrasts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from paribus.config.load import Loaded
from paribus.config.schema import ArmConfig, values_of
from paribus.config.spec import differences
from paribus.config.task_file import task_of
from paribus.design.matrix import Design
from paribus.design.trials import open_identity
from paribus.errors import InUse, StoreError
from paribus.store.experiments import (
    DescribedArm,
    DescribedContrast,
    DescribedTrial,
    Description,
    read_description,
    write_description,
)
from paribus.store.layout import ExperimentFolder
from paribus.store.locks import owner_of
from paribus.untrusted import redacted_values


def describe(loaded: Loaded, design: Design, folder: ExperimentFolder) -> None:
    """Write `experiment.yaml`. Raises StoreError if independent arms would replace trained ones."""
    content = description(loaded, design)
    if design.independent and folder.description.exists():
        before = read_description(folder).arms
        if not all(arm.untuned for arm in before):
            raise StoreError(
                f"{folder.path} holds an experiment that trains, where baselines would be written",
                "give that experiment another name, or put baselines elsewhere with --runs DIR",
            )
        now = {arm.name for arm in content.arms}
        arms = [*(arm for arm in before if arm.name not in now), *content.arms]
        content = content.model_copy(update={"arms": arms})
    write_description(folder, content)


def refuse_another(loaded: Loaded, design: Design, folder: ExperimentFolder) -> None:
    """Raise InUse, with the differences, unless the folder describes the experiment just so.

    Whoever runs it by now would else work on another one, in the same folder.
    """
    before, now = read_description(folder), description(loaded, design)
    lines = list(_differences(before, now, design))
    if lines:
        raise InUse(
            "\n  ".join([f"{folder.path} is in use by {owner_of(folder.lock)}, which runs this "
                         "experiment with other values:", *lines]),
            "wait until it is done, or stop it; or run this one under another name (name=…)",
        )  # fmt: skip


def _differences(before: Description, now: Description, design: Design) -> Iterator[str]:
    """Yield in what two descriptions differ; who found an arm's values first does not matter."""
    yield from differences(before.config, redacted_values(now.config))
    arms = [{arm.name: arm for arm in each.arms} for each in (before, now)]
    for name in dict.fromkeys([*arms[0], *arms[1]]):
        pair = [each.get(name) for each in arms]
        if None in pair:
            yield f"arm {name}: {'new' if pair[0] is None else 'gone'}"
            continue
        identities = [_opened(arm, design) for arm in pair if arm]
        yield from (f"arm {name}: {line}" for line in differences(*identities))
    if before.contrasts != now.contrasts:
        yield "other contrasts"
    if before.tasks != redacted_values(now.tasks):
        yield "other tasks"


def _opened(arm: DescribedArm, design: Design) -> Mapping[str, Any]:
    """Return an arm's identity with what trials find left open, and its task."""
    tuned = arm.name in {*design.searches, *(trial.arm for trial in design.trials)}
    identity = open_identity(arm.identity, design.keys(arm.name)) if tuned else arm.identity
    opened: Mapping[str, Any] = redacted_values({**identity, "task": arm.task or {}})
    return opened


def _record(config: ArmConfig) -> dict[str, Any] | None:
    task = task_of(config)
    return None if task.preset else task.record()


def task_records(loaded: Loaded) -> dict[str, dict[str, Any] | None]:
    """Return the records of the further tasks, by name; None of one that came with paribus."""
    tasks = [entry.task for entry in loaded.config.evaluation.tasks]
    return {task.task: None if task.preset else task.record() for task in tasks}


def description(loaded: Loaded, design: Design) -> Description:
    """Return the content of `experiment.yaml`."""
    identities = {spec.arm: design.identity(spec) for spec in reversed(design.runs)}
    return Description(
        config=values_of(loaded.config),
        origins={key: str(origin) for key, origin in loaded.origins.items()},
        arms=[
            DescribedArm(
                name=arm.name,
                factors=dict(arm.factors),
                identity=identities[arm.name],
                task=_record(arm.config),
            )
            for arm in design.arms
        ],
        contrasts=[DescribedContrast(**asdict(contrast)) for contrast in design.contrasts],
        trials=[
            DescribedTrial(
                arm=trial.arm,
                learning_rate=None if trial.number else trial.config.training.peak_rate,
                number=trial.number,
            )
            for trial in (*design.trials, *design.trials_to_come())
        ],
        tasks=task_records(loaded),
    )
