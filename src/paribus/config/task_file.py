"""Reads a task: one that comes with paribus, or a file, which may be lm-evaluation-harness's.

    read_task("gsm8k")                                # one of PRESETS
    read_task("/home/me/intent.yaml")                 # a file of one's own, or of lm-eval's

A YAML file of lm-eval's that uses the keys of `Task` loads as it is. A key that is not there is
refused with its line, never ignored.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from paribus.config.read import Origin, find_origin, read_file, shown_path
from paribus.config.schema import ArmConfig
from paribus.config.task import LIKELIHOOD, PRESETS, Task, task_from, worded
from paribus.errors import ConfigError

TASK_FILES = (".yaml", ".yml")
"""What the name of a task file ends in."""
DATA_FILES = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".gz", ".bz2", ".xz")
"""What the name of a file of rows ends in."""
WRITE_ONE = "have both files written: paribus init"
"""How to come to a task file and an experiment file."""

_SHOTS = {0: "zero_shot", 1: "one_shot", 5: "few_shot"}
_GREEDY = {"do_sample": (False,), "temperature": (0, 0.0), "num_beams": (1,), "top_p": (1, 1.0)}
"""Keys of `generation_kwargs` that say what is done anyway: greedy decoding."""
_LABELS = ("metadata", "tag", "task_alias", "repeats", "should_decontaminate",
           "doc_to_decontamination_query")  # fmt: skip
"""Keys of lm-eval's that change neither a prompt nor a score here: overlaps are always counted."""
UNSUPPORTED = {
    "process_docs": "a task file runs no code; state what it does by `where` and the templates",
    "group": "name each task of the group in a file of its own",
    "process_results": 'state metric_list, or `metric: "python: ./score.py:function"`',
    "custom_dataset": "give the rows as files: train: FILE, test: FILE",
    "fewshot_config": "solved examples are drawn from the training problems by the seed",
    "use_prompt": "write the prompt as doc_to_text",
    "unsafe_code": "a task file runs no code",
    "doc_to_image": "paribus asks in text alone",
    "doc_to_audio": "paribus asks in text alone",
    "class": "only tasks that are YAML alone can be read",
}
"""Keys of lm-eval's that are refused, and what to do instead."""

_KEYS = tuple(f.name for f in fields(Task) if f.name != "folder")


def is_task_file(name: str) -> bool:
    """Return whether `name`, the value of `task`, is a task file's."""
    return name.endswith(TASK_FILES)


def read_task(name: str) -> Task:
    """Return the task called `name`: a preset, or the path of a file.

    Raises ConfigError, naming file and line: no such task, a key that is not supported, a value
    that does not fit.
    """
    if name in PRESETS:
        return _preset(name)
    if not is_task_file(name):
        raise ConfigError(
            f"task={name!r} is neither a task that comes with paribus ({', '.join(PRESETS)}) nor "
            "the path of a task file, which ends in .yaml",
            f"name one of these, or {WRITE_ONE} --train FILE",
        )
    values, origins = _included(Path(name))
    return _checked(values, origins, Path(name))


def task_of(config: ArmConfig) -> Task:
    """Return the task of an arm, its prompt as the experiment has it. Raises ConfigError.

    A problem stays the same one under another template: where its prompt identifies it, the task's
    own does.
    """
    task, prompt = read_task(config.task), config.prompt
    if prompt.system is not None:
        task = replace(task, system=prompt.system)
    if prompt.template is None:
        return task
    if prompt.format == "chat" and task.question is not None:
        raise ConfigError(
            f"prompt.template={prompt.template[:60]!r} has no effect with prompt.format=chat: the "
            f"user's turn is the question of the task {task.task}, {task.question[:60]!r}",
            "set prompt.format=raw, or leave prompt.template out and state `question` in the task",
        )
    own = task.doc_to_text if task.question is None else None
    return replace(task, doc_to_text=prompt.template, id=task.id or own)


@lru_cache
def _preset(name: str) -> Task:
    path = Path(str(files("paribus.config") / "tasks" / f"{name}.yaml"))
    values, _ = read_file(path)
    return task_from(values)


def _included(path: Path, chain: tuple[Path, ...] = ()) -> tuple[dict[Any, Any], dict[str, Origin]]:
    """Return the values of a task file over those of the file that it includes."""
    if path.resolve() in chain:
        raise ConfigError(f"{shown_path(path)} includes itself", "remove one include of the cycle")
    values, origins = read_file(path)
    include = values.pop("include", None)
    if include is None:
        return values, origins
    if not isinstance(include, str):
        raise ConfigError(f"{origins['include']}: include must name a file", "name a YAML file")
    below, places = _included(path.parent / include, (*chain, path.resolve()))
    return below | values, places | origins


def _checked(values: dict[Any, Any], origins: Mapping[str, Origin], path: Path) -> Task:
    faults = [*_key_faults(values), *_generation_faults(values.get("generation_kwargs"))]
    given = {
        key: value for key, value in values.items() if key not in _LABELS and value is not None
    }
    given.setdefault("task", path.stem)
    task = None
    if not faults:
        try:
            task = task_from({**given, "folder": str(path.absolute().parent)})
            faults = [*_variant_faults(task), *_loss_faults(task), *_split_faults(task)]
        except ValidationError as error:
            faults = [(_place(item["loc"]), worded(item)) for item in error.errors()]
    if faults or task is None:
        lines = [f"{_at(key, origins, path)}: {text}" for key, text in faults]
        raise ConfigError(
            "\n".join(lines),
            "correct the lines above: docs/tasks.md describes every key of a task file",
        )
    return task


def _at(key: str, origins: Mapping[str, Origin], path: Path) -> str:
    origin = find_origin(key, origins)
    return str(origin) if origin.file else shown_path(path)


def _place(location: tuple[int | str, ...]) -> str:
    return str(location[0]) if location else ""


def _key_faults(values: Mapping[Any, Any]) -> list[tuple[str, str]]:
    faults = []
    for key in values:
        if key in UNSUPPORTED:
            faults.append((str(key), f"{key} is not supported: {UNSUPPORTED[key]}"))
        elif key not in _KEYS and key not in _LABELS:
            faults.append((str(key), f"{str(key)!r:.60} is not a key of a task file"))
    if values.get("repeats", 1) != 1:
        faults.append(("repeats", f"repeats={values['repeats']!r}: each problem is asked once"))
    return faults


def _generation_faults(stated: Any) -> list[tuple[str, str]]:
    """Return what is wrong with `generation_kwargs`: decoding is greedy."""
    faults = []
    for key, value in stated.items() if isinstance(stated, dict) else ():
        if key == "until":
            texts = [value] if isinstance(value, str) else value
            if not (isinstance(texts, list) and all(isinstance(t, str) and t for t in texts)):
                faults.append(f"until={value!r:.60} must be texts that are not empty")
        elif key == "max_gen_toks":
            if type(value) is not int or not 1 <= value <= 1_000_000:
                faults.append(f"max_gen_toks={value!r:.60} must be a whole number from 1")
        elif key not in _GREEDY:
            supported = ", ".join(("until", "max_gen_toks", *_GREEDY))
            faults.append(f"generation_kwargs.{key} is not supported; supported: {supported}")
        elif value not in _GREEDY[key]:
            faults.append(f"{key}={value!r:.60}: decoding is greedy, the same for all arms")
    return [("generation_kwargs", fault) for fault in faults]


def _variant_faults(task: Task) -> list[tuple[str, str]]:
    """Return what is wrong with each variant's values."""
    faults = []
    for name, values in task.variants.items():
        unknown = [key for key in values if key not in _KEYS or key in ("task", "variants")]
        if unknown:
            faults.append(f"variant {name}: {unknown[0]!r:.60} is not a key that a variant has")
            continue
        try:
            task_from({"task": task.task, **values})
        except ValidationError as error:
            faults += [f"variant {name}: {worded(item)}" for item in error.errors()]
    return [("variants", fault) for fault in faults]


def _loss_faults(task: Task) -> list[tuple[str, str]]:
    if not any(item.get("metric") == LIKELIHOOD for item in task.metrics):
        return []
    if task.metrics == [{"metric": LIKELIHOOD}] and task.output_type == "generate_until":
        return []
    return [
        (
            "metric_list",
            "metric likelihood: nothing is generated, so it has no options, stands alone in "
            "metric_list, and is no metric of multiple choice",
        )
    ]


def _split_faults(task: Task) -> list[tuple[str, str]]:
    if task.fewshot_split not in (None, task.training_split):
        return [
            (
                "fewshot_split",
                f"fewshot_split={task.fewshot_split!r}: solved examples are training problems that "
                f"are not trained on; set it to training_split={task.training_split!r}",
            )
        ]
    if task.output_type != "multiple_choice":
        return []
    faults = []
    if task.doc_to_choice is None:
        faults.append(("output_type", "output_type=multiple_choice needs doc_to_choice"))
    if any(item.get("metric") == "f1" for item in task.metrics):
        faults.append(
            (
                "metric_list",
                "f1 of multiple choice is one figure of all problems, not a score of each; list "
                "acc: the report has the macro-F1 of its classes",
            )
        )
    return faults


def shots_of(task: Task) -> str | None:
    """Return the protocol that `num_fewshot` means; None where it is not stated."""
    return None if task.num_fewshot is None else _SHOTS[task.num_fewshot]
