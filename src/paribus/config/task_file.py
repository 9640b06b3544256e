"""Reads a task: one that comes with paribus, or a file, which may be lm-evaluation-harness's.

    read_task("gsm8k")                                # one of PRESETS
    read_task("/home/me/intent.yaml")                 # a file of one's own, or of lm-eval's
    read_task("arc_easy")                             # a task of the installed lm-eval

A YAML file of lm-eval's that uses the keys of `Task` loads as it is. A key that is not there is
refused with its line, never ignored.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from paribus.config.by_lm_eval import PREFIX, task_by_lm_eval
from paribus.config.installed import alike, task_place, tasks_folder
from paribus.config.read import Origin, find_origin, read_file, shown_path
from paribus.config.schema import ArmConfig, Shots
from paribus.config.task import (
    FUNCTION,
    FUNCTIONS,
    PRESETS,
    Task,
    preset,
    task_from,
    worded,
)
from paribus.config.task_faults import LABELS, faults_of_task, faults_of_values
from paribus.errors import ConfigError
from paribus.files import sha256_of_file

TASK_FILES = (".yaml", ".yml")
"""What the name of a task file ends in."""
DATA_FILES = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".gz", ".bz2", ".xz")
"""What the name of a file of rows ends in."""
WRITE_ONE = "have both files written: paribus init"
"""How to come to a task file and an experiment file."""

_SHOTS: dict[int, Shots] = {0: "zero_shot", 1: "one_shot", 5: "few_shot"}


def is_task_file(name: str) -> bool:
    """Return whether `name`, the value of `task`, is a task file's."""
    return name.endswith(TASK_FILES)


def read_task(name: str, *, trusted: bool = False) -> Task:
    """Return the task called `name`: a preset, the path of a file, or a task of lm-eval's.

    Raises ConfigError, naming file and line: no such task, a key that is not supported, a value
    that does not fit; unless it is `trusted`, functions too. None is run here.
    """
    if name in PRESETS:
        return preset(name)
    path = place_of(name)
    values, origins = _included(path)
    if name.startswith(PREFIX):
        return replace(task_by_lm_eval(path, values, trusted=trusted), source=name)
    return replace(_checked(values, origins, path, trusted), source=name)


def place_of(name: str) -> Path:
    """Return the file of the task `name`, which is none of PRESETS. Raises ConfigError.

    `lm_eval/` before a name or path says that lm-eval's own code asks and scores it.
    """
    own = name.removeprefix(PREFIX)
    place = Path(own) if is_task_file(own) else task_place(own)
    if place is not None:
        return place
    theirs = "a task of lm-eval, which is not installed"
    remedy = f"name one of these, pip install 'paribus[lm-eval]', or {WRITE_ONE} --train FILE"
    if tasks_folder() is not None:
        theirs = "a task of the installed lm-eval"
        remedy = f"name one of these{alike(name)}, or {WRITE_ONE} --train FILE"
    raise ConfigError(
        f"task={name!r} is neither a task that comes with paribus ({', '.join(PRESETS)}), nor the "
        f"path of a task file, which ends in .yaml, nor {theirs}",
        remedy,
    )


def task_of(config: ArmConfig) -> Task:
    """Return the task of an arm, its prompt as the experiment has it. Reads no file.

    A problem stays the same one under another template: where its prompt identifies it, the task's
    own does. Raises ConfigError if `prompt.template` could have no effect.
    """
    task, prompt = config.task, config.prompt
    if prompt.system is not None:
        task = replace(task, system=prompt.system)
    if prompt.template is None:
        return task
    chat = _chat_in(config)
    if chat and task.question is not None:
        raise ConfigError(
            f"prompt.template={prompt.template[:60]!r} has no effect with {chat}: the user's turn "
            f"is the question of the task {task.task}, {task.question[:60]!r}",
            "ask by raw prompts alone, or leave prompt.template out and state `question` in the "
            "task",
        )
    own = task.doc_to_text if task.question is None else None
    return replace(task, doc_to_text=prompt.template, id=task.id or own)


def _chat_in(config: ArmConfig) -> str:
    """Return the key by which an arm is asked in a chat, with its value; "" if none is."""
    if config.prompt.format == "chat":
        return "prompt.format=chat"
    also = [name for name in config.evaluation.also if name.partition("/")[2].startswith("chat")]
    return f"evaluation.also={also}" if also else ""


def _included(path: Path, chain: tuple[Path, ...] = ()) -> tuple[dict[Any, Any], dict[str, Origin]]:
    """Return the values of a task file over those of the files that it includes.

    An include is a file, looked for from the file's own folder, or a task of lm-eval's. A function
    that an included file names is looked for from there.
    """
    if path.resolve() in chain:
        raise ConfigError(f"{shown_path(path)} includes itself", "remove one include of the cycle")
    values, origins = read_file(path, functions=True)
    values = _functions_from(values, "")
    includes = values.pop("include", None) or []
    below: dict[Any, Any] = {}
    places: dict[str, Origin] = {}
    for include in includes if isinstance(includes, list) else [includes]:
        if not isinstance(include, str):
            raise ConfigError(f"{origins['include']}: include must name files", "name a YAML file")
        file = _include_place(path.parent, include)
        inner, inner_places = _included(file, (*chain, path.resolve()))
        below |= _functions_from(inner, os.path.relpath(file.parent, path.parent))
        places |= inner_places
    return below | values, places | origins


def _include_place(folder: Path, include: str) -> Path:
    path = folder / include
    return path if path.is_file() else task_place(include) or path


def _functions_from(value: Any, folder: str) -> Any:
    """Return `value` with each function in it, at any depth, as `FILE.py:NAME`, from one `folder`.

    "": as lm-eval writes it, `FILE.NAME`; a name without a file stays.
    """
    if isinstance(value, dict):
        return {key: _functions_from(inner, folder) for key, inner in value.items()}
    if isinstance(value, list):
        return [_functions_from(inner, folder) for inner in value]
    if not isinstance(value, str) or not value.startswith(f"{FUNCTION} "):
        return value
    named = value.removeprefix(f"{FUNCTION} ")
    if folder:
        return f"{FUNCTION} {os.path.normpath(Path(folder, named))}"
    module, _, name = named.rpartition(".")
    return f"{FUNCTION} {module.replace('.', '/')}.py:{name}"


def _checked(
    values: dict[Any, Any], origins: Mapping[str, Origin], path: Path, trusted: bool
) -> Task:
    folder = path.absolute().parent
    faults = faults_of_values(values, trusted)
    given = {key: value for key, value in values.items() if key not in LABELS and value is not None}
    given.setdefault("task", path.stem)
    task = None
    if not faults:
        try:
            task = task_from({**given, "folder": str(folder)})
            task, faults = _with_code(task), faults_of_task(task)
        except ValidationError as error:
            faults = [(_place(item["loc"]), worded(item)) for item in error.errors()]
    if faults or task is None:
        lines = [f"{_at(key, origins, path)}: {text}" for key, text in faults]
        raise ConfigError(
            "\n".join(lines),
            "correct the lines above, or put other values over them in a file of your own that has "
            "`include: FILE`; docs/tasks.md describes every key of a task file",
        )
    return task


def _with_code(task: Task) -> Task:
    """Return `task` with the hashes of the files of its functions; one that is gone has none."""
    named = filter(None, (task.function(getattr(task, key)) for key in FUNCTIONS))
    hashes = {f.stated: sha256_of_file(f.file) for f in named if f.file.is_file()}
    return replace(task, code=hashes)


def _at(key: str, origins: Mapping[str, Origin], path: Path) -> str:
    origin = find_origin(key, origins)
    return str(origin) if origin.file else shown_path(path)


def _place(location: tuple[int | str, ...]) -> str:
    return str(location[0]) if location else ""


def shots_of(task: Task) -> Shots | None:
    """Return the protocol that `num_fewshot` means; None where it is not stated.

    Raises ConfigError if there is no such protocol.
    """
    if task.num_fewshot not in (None, *_SHOTS):
        raise ConfigError(
            f"the task {task.task} says num_fewshot={task.num_fewshot}; paribus shows 0, 1 or 5 "
            "solved examples",
            f"state baseline: {{protocol: {' | '.join(_SHOTS.values())}}} in the experiment",
        )
    return None if task.num_fewshot is None else _SHOTS[task.num_fewshot]
