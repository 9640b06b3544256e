"""What is wrong with a task file, by key: what is not supported, what does not go together.

faults_of_values({"process_results": "x"}, False) # [("process_results", "… not supported: …")]
"""

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pydantic import ValidationError

from paribus.config.task import FUNCTION, FUNCTIONS, LIKELIHOOD, SHOT_KEYS, Task, task_from, worded

Fault = tuple[str, str]
"""A key, and what is wrong with its value."""

_GREEDY = {"do_sample": (False,), "temperature": (0, 0.0), "num_beams": (1,), "top_p": (1, 1.0)}
"""Keys of `generation_kwargs` that say what is done anyway: greedy decoding."""
LABELS = ("metadata", "tag", "task_alias", "repeats", "should_decontaminate",
           "doc_to_decontamination_query")  # fmt: skip
"""Keys of lm-eval's that change neither a prompt nor a score here: overlaps are always counted."""
UNSUPPORTED = {
    "group": "name each task of the group in a file of its own",
    "process_results": 'state metric_list, or `metric: "python: ./score.py:function"`',
    "custom_dataset": "give the rows as files: train: FILE, test: FILE",
    "use_prompt": "write the prompt as doc_to_text",
    "unsafe_code": "no code that a model writes is run",
    "doc_to_image": "paribus asks in text alone",
    "doc_to_audio": "paribus asks in text alone",
    "class": "only tasks that are YAML alone can be read",
}
"""Keys of lm-eval's that are refused, and what to do instead."""

TRUST = "the experiment says trust_task_code: true"
_NAMED = re.compile(rf'"{FUNCTION} ([^"]*)"')
"""A value that names a function, in JSON."""
_SET_HERE = ("folder", "source", "by_lm_eval", "code")
_KEYS = tuple(f.name for f in fields(Task) if f.name not in _SET_HERE)


def faults_of_values(values: Mapping[Any, Any], trusted: bool) -> list[Fault]:
    """Return what is wrong with the values of a file, before they are a `Task`.

    Functions are no fault where the file is `trusted`.
    """
    return [
        *_key_faults(values),
        *_function_faults(values, trusted),
        *_generation_faults(values.get("generation_kwargs")),
        *_data_faults(values.get("dataset_kwargs")),
        *_shot_faults(values.get("fewshot_config")),
    ]


def faults_of_task(task: Task) -> list[Fault]:
    """Return which values do not go together, and what is wrong with each variant's."""
    return [
        *_code_faults(task),
        *_variant_faults(task),
        *_loss_faults(task),
        *_split_faults(task),
    ]


def _key_faults(values: Mapping[Any, Any]) -> list[Fault]:
    faults = []
    for key in (key for key, value in values.items() if value is not None):
        if key in UNSUPPORTED:
            faults.append((str(key), f"{key} is not supported: {UNSUPPORTED[key]}"))
        elif key not in _KEYS and key not in LABELS:
            faults.append((str(key), f"{str(key)!r:.60} is not a key of a task file"))
    if values.get("repeats", 1) != 1:
        faults.append(("repeats", f"repeats={values['repeats']!r}: each problem is asked once"))
    return faults


def _function_faults(values: Mapping[Any, Any], trusted: bool) -> list[Fault]:
    """Return which values name functions that are not run: where, or unless it is trusted."""
    faults = []
    for key, value in values.items():
        named = _NAMED.search(json.dumps(value, ensure_ascii=False, default=str))
        if named is None or key in UNSUPPORTED or key in LABELS:
            continue
        what = f"{key} names the function {named.group(1)!r:.80}"
        if key not in (*FUNCTIONS, "fewshot_config"):
            faults.append((str(key), f"{what}; functions are run for {', '.join(FUNCTIONS)} alone"))
        elif not trusted:
            faults.append((str(key), f"{what}; a task's code is run only where {TRUST}"))
    return faults


def _code_faults(task: Task) -> list[Fault]:
    """Return which functions are in no file."""
    faults = []
    shown = [("fewshot_config", task.fewshot_config.get(key)) for key in SHOT_KEYS]
    for key, value in (*((key, getattr(task, key)) for key in FUNCTIONS), *shown):
        function = task.function(value)
        if function is not None and not function.file.is_file():
            faults.append((key, f"{key} names a function in {function.file}, which is not there"))
        if function is None and key == "process_docs" and value is not None:
            faults.append((key, f"{key}={value!r:.60} must name a function: !function FILE.NAME"))
    return faults


def _data_faults(stated: Any) -> list[Fault]:
    """Return what is wrong with `dataset_kwargs`.

    `trust_remote_code` says nothing to `datasets` from version 4 on, and lm-eval drops it.
    """
    if not isinstance(stated, dict):
        return []
    return [
        (
            "dataset_kwargs",
            f"dataset_kwargs.{key} is not supported; supported: data_files, revision",
        )
        for key in stated
        if key not in ("data_files", "revision", "trust_remote_code")
    ]


def _shot_faults(stated: Any) -> list[Fault]:
    """Return what is wrong with `fewshot_config`."""
    faults = []
    known = ("sampler", "samples", *SHOT_KEYS)
    for key, value in stated.items() if isinstance(stated, dict) else ():
        if key not in known:
            faults.append(f"{key} is not supported; supported: {', '.join(known)}")
        elif key == "sampler" and value not in ("default", "first_n"):
            faults.append(f"sampler={value!r:.40} must be default or first_n")
        elif key == "samples" and not _are_rows(value):
            faults.append("samples must be a list of rows")
        elif key in SHOT_KEYS and not isinstance(value, str):
            faults.append(f"{key}={value!r:.40} must be a template")
    return [("fewshot_config", f"fewshot_config.{fault}") for fault in faults]


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _generation_faults(stated: Any) -> list[Fault]:
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


def _variant_faults(task: Task) -> list[Fault]:
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


def _loss_faults(task: Task) -> list[Fault]:
    if not any(item.get("metric") == LIKELIHOOD for item in task.metrics):
        return []
    if task.metrics == [{"metric": LIKELIHOOD}] and not task.chooses:
        return []
    return [
        (
            "metric_list",
            "metric likelihood: nothing is generated, so it has no options, stands alone in "
            "metric_list, and is no metric of multiple choice",
        )
    ]


def _split_faults(task: Task) -> list[Fault]:
    faults = []
    used = (None, task.training_split, task.test_split or task.validation_split)
    if task.fewshot_config.keys() & set(SHOT_KEYS) and task.fewshot_split in used:
        text = "templates of its own are for a fewshot_split that is neither trained nor tested on"
        faults += [("fewshot_config", f"fewshot_config: {text}")] * (not task.samples)
    in_files = task.dataset_path is None and not task.dataset_kwargs.get("data_files")
    if in_files and not task.samples and task.fewshot_split not in (None, task.training_split):
        faults.append(
            (
                "fewshot_split",
                f"fewshot_split={task.fewshot_split!r} is a split of no data set: the task has no "
                "dataset_path; leave it out to draw solved examples from the training problems",
            )
        )
    if task.gen_prefix is not None and task.target_delimiter not in (None, " "):
        text = f"gen_prefix goes with target_delimiter=' ' alone, not {task.target_delimiter!r}"
        faults.append(("gen_prefix", text))
    if not task.chooses:
        return faults
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
