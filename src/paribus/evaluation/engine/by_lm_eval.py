"""lm-evaluation-harness's own code asks and scores a task, on weights that are loaded here.

    questions = questions_of(task, shots=0, limit=100)       # what it will ask, without a model
    generations = ask(model, tokenizer, task, questions, shots=0, batch_size=8)

Prompts, decoding, filters and scores are lm-eval's. A generation holds the text, or the likelihood
of each choice; lm-eval's sample with its value by each metric is its `document`.
"""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from functools import lru_cache
from pathlib import Path
from typing import Any

from paribus import hub
from paribus.config.by_lm_eval import METRIC, PREFIX
from paribus.config.task import Task
from paribus.config.task_file import place_of
from paribus.errors import DataError
from paribus.prompts.encode import Prompt
from paribus.records import Generation, Problem, Stop

_SEED = 1234
"""Of lm-eval's draw of solved examples: its own default."""


def questions_of(task: Task, *, shots: int, limit: int | None) -> tuple[Problem, ...]:
    """Return what lm-eval will ask, in its order: a problem for each document, its prompt whole.

    `limit` counts documents from the first; None for all. Raises DataError if lm-eval cannot load
    the task or its data.
    """
    return _questions(task.source, task.by_lm_eval["sha256"], shots, limit)


@lru_cache(maxsize=4)
def _questions(source: str, _sha256: str, shots: int, limit: int | None) -> tuple[Problem, ...]:
    """Return the questions of a task, made once for all arms."""
    with _quiet():
        inner = _load(source, shots)
        try:
            inner.build_all_requests(limit=limit, rank=0, world_size=1)
        except Exception as error:  # of its own code, and of the task's
            raise _fault(source, "ask", error) from error
    first = {instance.doc_id: instance for instance in reversed(inner.instances)}
    return tuple(_problem(inner, first[place]) for place in sorted(first))


def ask(
    model: Any,
    tokenizer: Any,
    task: Task,
    prompts: Sequence[Prompt],
    *,
    shots: int,
    batch_size: int,
) -> list[Generation]:
    """Return what the model answers to `prompts`, which are all that `questions_of` returned.

    Raises DataError if lm-eval fails, or if a metric has no value from 0 to 1 for a document.
    """
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    with _quiet():
        inner = _load(task.source, shots)
        try:
            results = evaluate(
                lm=HFLM(
                    pretrained=model,
                    tokenizer=tokenizer,
                    backend="causal",
                    batch_size=batch_size,
                ),
                task_dict={"tasks": {inner.task_name: inner}, "groups": {}, "group_map": {}},
                limit=len(prompts),
                bootstrap_iters=0,
                log_samples=True,
            )
        except Exception as error:  # of its own code, and of the task's
            raise _fault(task.source, "evaluate", error) from error
    samples: dict[int, list[dict[str, Any]]] = {}
    for sample in (results or {})["samples"][inner.task_name]:
        samples.setdefault(sample["doc_id"], []).append(sample)
    return [
        _generation(task, tokenizer, prompt, samples[place]) for place, prompt in enumerate(prompts)
    ]


def left_out_of(task: Task, generation: Generation) -> set[str]:
    """Return lm-eval's metrics that are left out: each is one figure of all documents."""
    values = (generation.document or {})["values"]
    return set(values) - {str(item["metric"]).removeprefix(METRIC) for item in task.metrics}


def _load(source: str, shots: int) -> Any:
    """Return lm-eval's own task. Raises DataError."""
    hub.settle()  # before this import: it copies whether the Hub may be asked
    from lm_eval.tasks import TaskManager

    path = place_of(source.removeprefix(PREFIX))
    try:
        loaded = TaskManager(include_defaults=False).load([str(path)])
    except Exception as error:  # of its own code, and of the task's
        raise _fault(source, "load", error) from error
    (inner,) = loaded["tasks"].values()
    inner.set_config(key="num_fewshot", value=shots)
    inner.set_fewshot_seed(seed=_SEED)
    return inner


def _fault(source: str, what: str, error: Exception) -> DataError:
    return DataError(
        f"lm-eval cannot {what} {source}: {type(error).__name__}: {str(error)[:200]}",
        "see that lm-eval itself can run it here, or leave it out of evaluation.tasks",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep lm-eval's warnings and progress bars off the terminal."""
    level = logging.getLogger("lm_eval").level
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
            yield
    finally:
        logging.getLogger("lm_eval").setLevel(level)


def _problem(inner: Any, instance: Any) -> Problem:
    prompt = str(instance.args[0])
    target = inner.doc_to_target(instance.doc)
    if isinstance(target, int) and inner.config.doc_to_choice is not None:
        target = inner.doc_to_choice(instance.doc)[target]
    return Problem(
        question=prompt,
        prompt=prompt,
        key=f"{instance.doc_id}: {json.dumps(instance.doc, default=str)}",
        solution=str(target),
        answer=str(target),
        where=f"{inner.task_name}, document {instance.doc_id}",
    )


def _generation(
    task: Task, tokenizer: Any, prompt: Prompt, samples: Sequence[dict[str, Any]]
) -> Generation:
    """Return one document's answer; `samples` are lm-eval's, one behind each of its filters."""
    several = len(samples) > 1
    values = {
        f"{sample['filter']}/{name}" if several else name: sample[name]
        for sample in samples
        for name in sample["metrics"]
    }
    first = samples[0]
    document = {
        "values": {key: _plain(value) for key, value in values.items()},
        "filtered": {sample["filter"]: sample["filtered_resps"] for sample in samples},
        **{key: first[key] for key in ("doc_id", "doc", "doc_hash", "prompt_hash", "target")},
    }
    answers = first["arguments"]
    chooses = len(answers) > 1
    choices = tuple(str(arguments[1]) for arguments in answers) if chooses else ()
    nlls = tuple(-float(response[0][0]) for response in first["resps"]) if chooses else ()
    answered = choices[nlls.index(min(nlls))] if chooses else first["resps"][0][0]
    # Of the likelihood of one target nothing is written.
    text = answered if isinstance(answered, str) else ""
    return Generation(
        problem_id=prompt.problem.id,
        question=prompt.problem.question,
        answer=prompt.problem.answer,
        solution=prompt.problem.solution,
        prompt_sha256=prompt.sha256,
        text=text,
        num_tokens=0 if chooses else len(tokenizer.encode(text, add_special_tokens=False)),
        stop=Stop.STOP_TOKEN,
        choices=choices,
        choice_nlls=nlls,
        document=json.loads(json.dumps(document, default=str)),
    )


def _plain(value: Any) -> Any:
    """Return a number of NumPy's as one of Python's."""
    return value.item() if hasattr(value, "item") else value
