"""Check an experiment against the schema: report every problem at once, each on one line.

    config, problems = check_experiment(
        {"name": "x", "training": {"epochs": 0}}, origins, read_task)
    # config is None
    # problems is ["x.yaml:3: training.epochs must be a number > 0 and ≤ 1,000,000, got 0"]

pydantic finds what is wrong with single values and `config/keys` words it. Values that are valid
alone and wrong together are found here, among them those of a sequential design:

    budget: 8
    looks: [4, 6, 8]        # numbers of seeds; by default half of the budget and all of it
"""

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard

from pydantic import TypeAdapter, ValidationError

from paribus.config.by_lm_eval import PREFIX
from paribus.config.clashes import clashes
from paribus.config.keys import SCHEMA, explain_fault, shown_key, unknown_key
from paribus.config.nested import flatten, nest
from paribus.config.read import Origin, find_origin
from paribus.config.schema import ArmConfig, ExperimentConfig, values_of
from paribus.config.spec import SCORING
from paribus.config.task import LIKELIHOOD, Task
from paribus.config.task_file import is_task_file
from paribus.errors import ConfigError
from paribus.files import path_fault

FIRST = 3
"""Fewer seeds give no verdict to look at (`statistics.crossed.MIN_SEEDS`, which is slow to
import)."""


def settle_looks(values: dict[str, Any], origins: dict[str, Origin]) -> None:
    """Add, in place, what follows from a `budget` that is a number: `seeds`, and `looks`."""
    budget = values.get("budget")
    if not _is_count(budget) or look_problems(values, origins):
        return
    for key, value in (("seeds", budget), ("looks", usual_looks(budget))):
        if values.get(key) is None:
            values[key], origins[key] = value, find_origin("budget", origins)


def usual_looks(budget: int) -> list[int]:
    """Return the looks that a budget has where none are declared."""
    return sorted({max(FIRST, (budget + 1) // 2), budget})


def look_problems(values: Mapping[str, Any], origins: Mapping[str, Origin]) -> list[str]:
    """Return what is wrong with `budget`, `looks` and `seeds` together; each alone is checked."""
    budget, looks, seeds = (values.get(key) for key in ("budget", "looks", "seeds"))
    at = find_origin("looks", origins)
    if looks and budget is None:
        return [f"{at}: looks needs the most seeds an arm may have; set budget={_last(looks)}"]
    if not _is_count(budget):
        return []
    found = []
    if _is_count(seeds) and seeds != budget:
        found.append(
            f"{find_origin('seeds', origins)}: seeds={seeds} and budget={budget} both say how many "
            f"seeds an arm has; drop seeds, or set seeds={budget}"
        )
    if isinstance(looks, list) and all(map(_is_count, looks)) and not _is_plan(looks, budget):
        found.append(
            f"{at}: looks={looks} must be numbers of seeds, each more than the one before, from "
            f"{FIRST} to budget={budget}; set looks={usual_looks(max(budget, FIRST))}"
        )
    return found


def _is_plan(looks: list[int], budget: int) -> bool:
    ascending = all(low < high for low, high in pairwise(looks))
    return bool(looks) and ascending and looks[0] >= FIRST and looks[-1] == budget


def _last(looks: Any) -> Any:
    return looks[-1] if isinstance(looks, list) and _is_count(looks[-1]) else 8


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


_Read = Callable[[str], Task]
_ARM: TypeAdapter[ArmConfig] = TypeAdapter(ArmConfig)
_EXPERIMENT: TypeAdapter[ExperimentConfig] = TypeAdapter(ExperimentConfig)

ARM_DEFAULTS: dict[str, Any] = flatten(values_of(ArmConfig()))
"""Every key of an arm, by dotted name, with its default."""
ARM_SECTIONS = frozenset(key.partition(".")[0] for key in ARM_DEFAULTS if "." in key)
"""`data`, `prompt`, ...: names that hold keys, and no value of their own."""
ARM_FIELDS = frozenset(key.partition(".")[0] for key in ARM_DEFAULTS)

_PATHS = ("data.path", "labels", "model", "task")
_PAIRS = (
    ("data.min_steps", "data.max_steps"),
    ("training.min_learning_rate", "training.learning_rate"),
    ("training.micro_batch", "training.batch_size"),
)
_TASKS = "evaluation.tasks"
_OF_THE_WHOLE = (*SCORING, _TASKS)
"""Keys of an arm's config that have one value for the whole experiment."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def absolute_paths(flat: Mapping[str, Any], origins: Mapping[str, Origin]) -> dict[str, Any]:
    """Return dotted values with paths absolute: relative ones start at the stating file.

    `data.path` and `labels` are always paths; `model` is one if it starts with `./`, `../`, `/`
    or `~`; `task` if it is a task file's; in `evaluation.tasks` likewise.
    """
    resolved = dict(flat)
    for key in _PATHS:
        value = resolved.get(key)
        if isinstance(value, str) and _is_path(key, value):
            resolved[key] = _absolute(value, find_origin(key, origins))
    if isinstance(entries := resolved.get(_TASKS), list):
        origin = find_origin(_TASKS, origins)
        resolved[_TASKS] = [_absolute_entry(entry, origin) for entry in entries]
    return resolved


def _absolute(value: str, origin: Origin) -> str:
    if value.startswith(PREFIX):
        return f"{PREFIX}{_absolute(value.removeprefix(PREFIX), origin)}"
    folder = origin.file.parent if origin.file else Path.cwd()
    # Path.expanduser raises for an unknown user; here the folder is missing later.
    home = os.path.expanduser(value)  # noqa: PTH111
    return os.path.normpath(folder.absolute() / home)


def _absolute_entry(entry: Any, origin: Origin) -> Any:
    """Return an entry of `evaluation.tasks` with its paths absolute; one that is wrong as it is."""
    if isinstance(entry, str):
        return _absolute(entry, origin) if is_task_file(entry) else entry
    if not isinstance(entry, dict):
        return entry
    task, path = entry.get("task"), entry.get("path")
    if isinstance(task, str) and is_task_file(task):
        entry = {**entry, "task": _absolute(task, origin)}
    return {**entry, "path": _absolute(path, origin)} if isinstance(path, str) else entry


def _is_path(key: str, value: str) -> bool:
    if key == "task":
        return is_task_file(value)
    return key != "model" or value.startswith(("./", "../", "/", "~"))


def check_experiment(
    values: Mapping[str, Any], origins: Mapping[str, Origin], read: _Read
) -> tuple[ExperimentConfig | None, list[str]]:
    """Return the config, or None, and all problems of `values` (nested), by file and line.

    `read` returns the task of a name, and raises ConfigError.
    """
    config, found = _validated(_EXPERIMENT, values, read)
    shared = flatten({key: value for key, value in values.items() if key in ARM_FIELDS})
    lines = [f"{find_origin(key, origins)}: {text}" for key, text in found.items()]
    lines += _cross_problems(shared, found, origins)
    lines += _path_problems(flatten(values), origins)
    lines += _override_problems(values, origins, read)
    lines += _further_problems(config, origins) if config else []
    lines += [] if found.keys() & {"budget", "looks", "seeds"} else look_problems(values, origins)
    return None if lines else config, lines


def _further_problems(config: ExperimentConfig, origins: Mapping[str, Origin]) -> list[str]:
    """Return what is wrong with the further tasks."""
    at, lines = find_origin(_TASKS, origins), list[str]()
    seen: set[str] = set()
    for task in (entry.task for entry in config.evaluation.tasks):
        if not _NAME.fullmatch(task.task):
            lines.append(f"{at}: {_TASKS}: {task.task!r:.60} cannot name a folder; a task's name "
                         "has letters, digits, dots, dashes and underscores")  # fmt: skip
        if task.task == config.task.task:
            lines.append(f"{at}: {_TASKS}: {task.task} is the experiment's own task, which is "
                         "tested anyway; leave it out")  # fmt: skip
        if task.task in seen:
            lines.append(f"{at}: {_TASKS}: two tasks are called {task.task}; give one another name "
                         "by `task:` in its file")  # fmt: skip
        seen.add(task.task)
    return lines


def guard_problems(
    guard: Mapping[str, float], tasks: Mapping[str, Task | None], origins: Mapping[str, Origin]
) -> list[str]:
    """Return what is wrong with the names of guarded tasks.

    `tasks` are the further tasks by name; None of one that scores numbers.
    """
    lines = []
    for name in guard:
        place = f"{find_origin(f'guard.{name}', origins)}: guard.{name}"
        if name not in tasks:
            known = ", ".join(tasks) or "none"
            lines.append(f"{place} is not the name of a task in {_TASKS}, which are: {known}")
        elif (task := tasks[name]) and task.measures_loss:
            lines.append(f"{place}: a margin is in points, and the task {name} has the metric "
                         f"{LIKELIHOOD}, in nats; leave it out")  # fmt: skip
    return lines


def build_arm(
    flat: Mapping[str, Any], origins: Mapping[str, Origin], name: str, read: _Read
) -> tuple[ArmConfig | None, list[str]]:
    """Return the config of the arm `name`, or None, and all problems of its dotted values."""
    resolved = absolute_paths(flat, origins)
    config, found = _validated(_ARM, nest(resolved), read)
    lines = [f"{find_origin(key, origins)}: arm {name}: {text}" for key, text in found.items()]
    lines += _cross_problems(flat, found, origins, f"arm {name}: ")
    lines += _path_problems(resolved, origins, f"arm {name}: ")
    stated = {key: resolved.get(key, value) for key, value in ARM_DEFAULTS.items()}
    lines += clashes({k: v for k, v in stated.items() if k not in found}, origins, f"arm {name}: ")
    lines += _variant_problems(config, origins, f"arm {name}: ") if config else []
    return None if lines else config, lines


def _cross_problems(
    flat: Mapping[str, Any], bad: Mapping[str, str], origins: Mapping[str, Origin], arm: str = ""
) -> list[str]:
    """Return the problems of values that are right alone and wrong together."""
    value = {key: flat.get(key, default) for key, default in ARM_DEFAULTS.items()}
    lines = []
    if value["method"] == "none":
        remedy = "set baseline: {protocol: one_shot} for the untuned model"
        lines.append(
            f"{find_origin('method', origins)}: {arm}method='none' trains nothing; {remedy}"
        )
    for small, large in _PAIRS:
        if small in bad or large in bad or value[small] == "auto" or value[large] is None:
            continue
        low, high = value[small], value[large]
        if small == "training.micro_batch":
            holds, relation = high % low == 0, "a multiple of"
            remedy = f"{large}={-(-high // low) * low} or {small}={math.gcd(low, high)}"
        else:
            holds, relation = low <= high, "at least"
            remedy = f"a higher {large} or a lower {small}"
        if holds:
            continue
        places = [find_origin(key, origins) for key in (small, large)]
        place = places[0] if places[1].kind.startswith("default") else places[1]
        lines.append(f"{place}: {arm}{large}={high} must be {relation} {small}={low}; set {remedy}")
    return lines


def _path_problems(
    flat: Mapping[str, Any], origins: Mapping[str, Origin], arm: str = ""
) -> list[str]:
    """Return the problems of paths that no system can open, such as one that is too long."""
    return [
        f"{find_origin(key, origins)}: {arm}{key} {fault}: {value[:40]!r}…"
        for key in _PATHS
        if isinstance(value := flat.get(key), str) and (fault := path_fault(value))
    ]


def _variant_problems(config: ArmConfig, origins: Mapping[str, Origin], arm: str) -> list[str]:
    """Return what is wrong with the variant that is asked of the task."""
    if config.task.by_lm_eval:
        return [f"{find_origin('task', origins)}: {arm}task={config.task.source!r}: what lm-eval's "
                f"own code asks is not trained on; name it in {_TASKS}"]  # fmt: skip
    try:
        config.task.of(config.data.variant)
    except ConfigError as error:
        return [f"{find_origin('data.variant', origins)}: {arm}{error.message}; {error.remedy}"]
    return []


def _override_problems(
    values: Mapping[str, Any], origins: Mapping[str, Origin], read: _Read
) -> list[str]:
    """Return the problems of each single value in `matrix` and `arms`."""
    lines = []
    for place, key, value in _overrides(values):
        at = find_origin(f"{place}.{key}", origins)
        text = value_problem(key, absolute_paths({key: value}, {key: at})[key], read)
        if text:
            lines.append(f"{at}: {place}: {text}")
    return lines


def _overrides(values: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield place, dotted key and value for all that `matrix` and `arms` set. Skips bad shapes."""
    matrix, arms = values.get("matrix"), values.get("arms")
    for factor, choices in matrix.items() if isinstance(matrix, dict) else ():
        if isinstance(choices, list | dict):
            yield from ((f"matrix.{factor}", factor, choice) for choice in choices or [...])
        for choice, bundle in choices.items() if isinstance(choices, dict) else ():
            for key, value in bundle.items() if isinstance(bundle, dict) else ():
                yield f"matrix.{factor}.{choice}", key, value
    for name, overrides in arms.items() if isinstance(arms, dict) else ():
        for key, value in overrides.items() if isinstance(overrides, dict) else ():
            yield f"arms.{name}", key, value


def value_problem(key: str, value: Any, read: _Read) -> str:
    """Return what is wrong with setting one key of an arm, or ""."""
    if value is ...:
        return f"{shown_key(key)} has no values; list some, or leave the factor out"
    if key in ARM_SECTIONS:
        inside = ", ".join(name for name in ARM_DEFAULTS if name.startswith(f"{key}."))
        return f"{key} is a section, not a key; its keys: {inside}"
    if key not in ARM_DEFAULTS or key in _OF_THE_WHOLE:
        if key in SCHEMA:
            return f"{key} belongs to the whole experiment, not to an arm; state it at the top"
        return unknown_key(key, list(ARM_DEFAULTS))
    _, faults = _validated(_ARM, nest({key: value}), read)
    return next(iter(faults.values()), "")


def _validated(
    adapter: TypeAdapter[Any], values: Mapping[str, Any], read: _Read
) -> tuple[Any, dict[str, str]]:
    """Return the config, or None and by dotted key what is wrong with its value."""
    try:
        # JSON mode is strict on scalars, yet takes a list for a tuple and 1 for 1.0.
        return adapter.validate_json(json.dumps(values), context=read), {}
    except ValidationError as error:
        problems: dict[str, str] = {}
        for item in error.errors(include_url=False, include_input=False):
            parts = [str(part) for part in item["loc"]]
            told = item["type"] == "task"  # by `read`
            key, text = (
                (".".join(parts), item["msg"])
                if told
                else explain_fault(parts, item["type"], values)
            )
            problems.setdefault(key, text)
        return None, problems
