"""What a report asks of a store that was filled for another question: no run changes for it.

    ask(read_description(folder), load(Path("x.yaml"), ["question=Why?"]))   # the file's questions
    ask(read_description(folder), typed(["question=Why?"], "x"), ["question"])

Question, hypothesis, contrasts, margin, guard, labels, `strict`, `paired_seeds` and what counts as
an answer only say what is concluded from the runs. All else that differs would need other runs and
is refused, but for fewer tests than were made. The store keeps what was asked when it was filled;
the report says that it asks differently.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from paribus.config.check import guard_problems
from paribus.config.load import Loaded
from paribus.config.nested import flatten
from paribus.config.portable import portable
from paribus.config.read import Origin, find_origin, shown_path
from paribus.config.schema import values_of
from paribus.config.space import keys_of
from paribus.config.spec import RATE_KEYS, SCORING, TESTING, covers, differences
from paribus.config.task import Task, stored_task
from paribus.config.task_file import task_of
from paribus.design.arms import set_by_method
from paribus.design.pairs import Contrast, auto_contrasts, listed, listed_contrasts
from paribus.errors import ConfigError, UserError
from paribus.store.experiments import DescribedArm, DescribedContrast, Description

FREE = (
    *("question", "hypothesis", "contrasts", "margin", "labels"),
    *(*SCORING, "strict", "paired_seeds", "guard"),
)
"""Keys that change no run."""
_KIND = ("model", "revision", "prompt.format")
"""What an arm shares with the untuned arm it is compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arm:
    """An arm as the store describes it."""

    name: str
    factors: dict[str, Any]
    set_by: dict[str, str]


def ask(description: Description, loaded: Loaded, keys: Sequence[str] | None = None) -> Description:
    """Return the store's description with the questions of `loaded`, or itself if they are its own.

    With `keys` all others are as in the store. Raises UserError, which names the keys, if runs
    would have to change; ConfigError if contrasts name no arm.
    """
    old, new = portable(description.config), portable(values_of(loaded.config))
    if keys:  # a guard that is typed leaves those of other tasks
        new["guard"] = {**old["guard"], **new["guard"]}
    changed = [
        key
        for key in sorted(old.keys() | new.keys())
        if old.get(key, ...) != new.get(key, ...)
        and (_is_among(key, keys) if keys else _is_chosen(key, old, description, loaded))
    ]
    arms, scored = _scored_anew(description, loaded)
    tasks, scored_further = ({}, []) if keys else _further_anew(description, loaded)
    scored += scored_further
    less = _tested_on_more(changed, old, new)
    changed = [key for key in changed if key not in TESTING or not less]
    _refuse_runs(changed, old, new)
    if not changed and not less and not scored:
        return description
    places = {key: find_origin(key, loaded.origins) for key in changed}
    if "guard" in changed:
        _refuse_guards(description, new["guard"], loaded)
    contrasts = description.contrasts
    if "contrasts" in changed:
        compared = _contrasts(new["contrasts"], description, places["contrasts"])
        contrasts = [DescribedContrast(**asdict(contrast)) for contrast in compared]
    return Description(
        config=_with(description.config, {key: new[key] for key in changed}),
        origins={**description.origins, **{key: str(at) for key, at in places.items()}},
        arms=arms,
        contrasts=contrasts,
        trials=description.trials,
        tasks={**description.tasks, **tasks},
        asked=[*(_told(key, old.get(key), places[key]) for key in changed), *less, *scored],
    )


def _refuse_guards(description: Description, guard: Mapping[str, float], loaded: Loaded) -> None:
    """Raise ConfigError if a task is guarded that the runs were not tested on."""
    tasks = {
        name: None if record is None else stored_task(record)
        for name, record in description.tasks.items()
    }
    faults = guard_problems(guard, tasks, loaded.origins)
    if faults:
        raise ConfigError("\n".join(faults), "run the experiment with these tasks first")


def ask_for_scorer(description: Description, scorer: str) -> Description:
    """Return `description` with conclusions drawn from `scorer`, or itself if that is ""."""
    if not scorer:
        return description
    said = f"Asked after the runs (command line): conclusions are drawn from the scorer {scorer}."
    return description.model_copy(update={"scorer": scorer, "asked": [*description.asked, said]})


def _scored_anew(description: Description, loaded: Loaded) -> tuple[list[DescribedArm], list[str]]:
    """Return the arms with the metrics that the task's file lists by now, and what is to be said.

    The file's other keys define runs, and are compared by their identity.
    """
    if loaded.config.task.preset:
        return description.arms, []
    task = task_of(loaded.config)
    _refuse_other_task(description, task)
    arms = [_rescored(arm, task) for arm in description.arms]
    if arms == description.arms:
        return arms, []
    return arms, [
        f"Asked after the runs ({shown_path(Path(task.source))}): metric_list, filter_list "
        "or answer of the task."
    ]


def _further_anew(
    description: Description, loaded: Loaded
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the further tasks whose metrics are others by now, and what is to be said.

    Raises UserError if other keys of one's file are others.
    """
    anew, told = {}, []
    for task in (entry.task for entry in loaded.config.evaluation.tasks):
        record = description.tasks.get(task.task)
        if record is None or task.preset:
            continue
        stored = stored_task(record)
        if stored.identity() != task.identity():
            lines = "; ".join(differences(stored.identity(), task.identity()))
            raise UserError(
                f"the runs were tested on another task {task.task}: {lines:.300}",
                "change its file back to report them, or give it another name by `task:` and run",
            )
        if stored.scoring() != task.scoring():
            anew[task.task] = task.record()
            told.append(
                f"Asked after the runs ({task.source}): metric_list, filter_list or answer of the "
                f"task {task.task}."
            )
    return anew, told


def _refuse_other_task(description: Description, task: Task) -> None:
    """Raise UserError if runs of the task of that name were made by another file's content."""
    now = task.identity()
    tasks = [stored_task(arm.task).identity() for arm in description.arms if arm.task is not None]
    same = [stored for stored in tasks if stored["task"] == task.task]
    # What arms differ in is a factor, such as prompt.template: the file does not say it.
    common = (
        [k for k in {*now, *same[0]} if all(s.get(k) == same[0].get(k) for s in same)]
        if same
        else []
    )
    for stored in same:
        if any(stored.get(key) != now.get(key) for key in common):
            lines = "; ".join(differences(stored, now))
            raise UserError(
                f"the runs were made with another task {task.task}: {lines:.300}",
                "change the task file back to report them, or run the experiment under another "
                "name: name=…",
            )


def _rescored(arm: DescribedArm, task: Task) -> DescribedArm:
    """Return an arm of the task of that name with how `task` reads texts; any other as it is.

    What arms differ in, such as their prompt, stays.
    """
    if arm.task is None:
        return arm
    stored = stored_task(arm.task)
    if stored.task != task.task or stored.scoring() == task.scoring():
        return arm
    read = replace(stored, **task.scoring(), folder=task.folder)
    return arm.model_copy(update={"task": read.record()})


def _with(config: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `config` with `values` by dotted key, of at most one section."""
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        inside = {**config.get(section, {}), name: value} if section else {}
        config = {**config, **({section: inside} if section else {key: value})}
    return config


def _is_among(key: str, keys: Sequence[str]) -> bool:
    """Return whether `key` is one of `keys`, or an ancestor or descendant of one."""
    return any(f"{key}.".startswith(f"{other}.") or other.startswith(f"{key}.") for other in keys)


def _is_chosen(key: str, old: Mapping[str, Any], description: Description, loaded: Loaded) -> bool:
    """Return whether someone chose the value: defaults may differ between versions of paribus."""
    if find_origin(key, loaded.origins).kind != "default":
        return True
    section = key.rpartition(".")[0]
    while section:  # such as `tune`, which was null: all in it is said, in default words too
        if section in old:
            return True
        section = section.rpartition(".")[0]
    return description.origins.get(key, "default") != "default"


def _tested_on_more(
    changed: Sequence[str], old: Mapping[str, Any], new: Mapping[str, Any]
) -> list[str]:
    """Return the sentences that say so if all tests that are asked for were made, and others."""
    tests = {key: new[key] for key in TESTING if key in changed}
    try:
        covered = bool(tests) and covers(old, {**old, **tests})
    except TypeError:  # a description from elsewhere may hold anything in their place
        covered = False
    if not covered:
        return []
    return [
        f"The runs were tested on more than is asked: {line}."
        for line in differences(tests, {key: old[key] for key in tests})
    ]


def _refuse_runs(changed: list[str], old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise UserError if any of the `changed` keys is of what was run."""
    keys = [key for key in changed if key not in FREE]
    if keys:
        before = {key: old[key] for key in keys if key in old}
        after = {key: new[key] for key in keys if key in new}
        raise UserError(
            "\n  ".join(
                ["this asks for runs that the store does not hold:", *differences(before, after)]
            ),
            f"give them to `paribus run`; a report takes {', '.join(FREE[:-1])} and {FREE[-1]}",
        )


def _told(key: str, before: Any, place: Origin) -> str:
    """Return the sentence by which the report says that it asks differently than its runs did."""
    if key == "contrasts" and before != "auto":
        before = ", ".join(f"{a} − {b}" for a, b, _ in map(listed, before))
    text = before if isinstance(before, str) else json.dumps(before)
    was = "there was none" if before in ("", None) else f"it was: {text.rstrip('.')}"
    return f"Asked after the runs ({place}): {key}. When they were made {was}."


def _contrasts(asked: Any, description: Description, place: Origin) -> list[Contrast]:
    """Return the contrasts between the stored arms. Raises ConfigError on a name that is none."""
    identities = {arm.name: _declared(arm, description) for arm in description.arms}
    arms = [
        _Arm(name=arm.name, factors=arm.factors, set_by=_set_by(arm, description.config))
        for arm in description.arms
    ]
    untuned = {
        _kind(identity): name
        for name, identity in identities.items()
        if identity["method"] == "none"
    }
    tuned = [arm for arm in arms if arm.name not in untuned.values()]
    own = [(arm.name, untuned[kind]) for arm in tuned
           if (kind := _kind(identities[arm.name])) in untuned]  # fmt: skip
    if asked == "auto":
        return auto_contrasts(tuned, own, identities)[0]
    return listed_contrasts(asked, arms, own, identities, place)


def _kind(identity: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(identity.get(key) for key in _KIND)


def _declared(arm: DescribedArm, description: Description) -> dict[str, Any]:
    """Return an arm's identity, flat, as it was before `tune` and `auto` were settled."""
    identity = flatten(arm.identity)
    open_keys = [key for key, value in flatten(description.config).items() if value == "auto"]
    if arm.name in {trial.arm for trial in description.trials}:
        space = (description.config.get("tune") or {}).get("space")
        open_keys += keys_of(space, str(identity["method"])) if space else RATE_KEYS[:1]
    return identity | {
        key: "open" for key in open_keys if key in identity and key not in arm.factors
    }


def _set_by(arm: DescribedArm, config: Mapping[str, Any]) -> dict[str, str]:
    """Return key → the factor that set it, for an arm of the matrix; rates that a method brings."""
    factors: dict[str, str] = {}
    of_matrix = arm.name not in config.get("arms", {})
    for factor, value in arm.factors.items() if of_matrix else ():
        choices = config.get("matrix", {}).get(factor)
        name = value if isinstance(value, str) else json.dumps(value)
        bundle = choices.get(name, {}) if isinstance(choices, dict) else {}
        factors |= dict.fromkeys([factor, *bundle], factor)
    stated = config.get("training", {}).get("learning_rate") is not None
    own = RATE_KEYS[0] in arm.factors or RATE_KEYS[0] in factors
    return set_by_method(arm.factors, factors, by_default=not (stated or own))
