"""A task: where problems come from, how each becomes text, and what counts as right.

    task = read_task("gsm8k")                         # one of PRESETS
    task = read_task("/home/me/intent.yaml")          # a file of one's own, or of lm-eval's
    task.of("socratic").doc_to_target                 # with the variant's own values

A task file speaks lm-evaluation-harness's vocabulary, so that a YAML file of lm-eval's that uses
the keys below loads as it is. A key that is not here is refused, never ignored. These are ours:
`train`, `test`, `question`, `id`, `group_by`, `where`, `answer`, `turns`, `system`, `variants`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, field, fields, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from paribus.config.read import Origin, find_origin, read_file, shown_path
from paribus.config.schema import ArmConfig
from paribus.errors import ConfigError
from paribus.records import AnswerStyle

PRESETS = ("gsm8k", "gsm8k_swapped", "wordproblems")
"""Tasks that come with paribus, by name."""
LIKELIHOOD = "likelihood"
"""The metric of data without one: the loss of each gold solution; nothing is generated."""
GENERATED = "wordproblems"
"""The preset whose problems are generated; it reads no file."""
TASK_FILES = (".yaml", ".yml")
"""What the name of a task file ends in."""
DATA_FILES = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".gz", ".bz2", ".xz")
"""What the name of a file of rows ends in."""
WRITE_ONE = "have both files written: paribus init"
"""How to come to a task file and an experiment file."""

_STRICT = ConfigDict(extra="forbid", strict=True, defer_build=True)
_SHOTS = {0: "zero_shot", 1: "one_shot", 5: "few_shot"}
_GREEDY = {"do_sample": (False,), "temperature": (0, 0.0), "num_beams": (1,), "top_p": (1, 1.0)}
"""Keys of `generation_kwargs` that say what is done anyway: greedy decoding."""
_LABELS = ("metadata", "tag", "task_alias", "repeats", "should_decontaminate",
           "doc_to_decontamination_query")  # fmt: skip
"""Keys of lm-eval's that change neither a prompt nor a score here: overlaps are always counted."""
_SCORING = ("filter_list", "metric_list", "answer")
"""Keys that say how stored texts are read: no run changes with them."""
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


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class Task:
    """A task, every key with its value. Keys without "ours" mean what they mean to lm-eval.

    A template is Jinja over a row's columns, in a sandbox; the name of a column, or a dotted path
    in it, stands for its value.
    """

    task: str
    """Its name."""
    dataset_path: str | None = None
    """A data set on the Hub, or `json`, `csv`, `parquet` with `dataset_kwargs.data_files`."""
    dataset_name: str | None = None
    """Its configuration."""
    dataset_kwargs: dict[str, Any] = field(default_factory=dict)
    """`data_files` (split → files) and `revision`."""
    training_split: str | None = None
    """What is trained on."""
    validation_split: str | None = None
    """Tested on where there is no `test_split`."""
    test_split: str | None = None
    """What is tested on; without one, `data.test_size` training problems are held out."""
    fewshot_split: str | None = None
    """`training_split`: solved examples are always drawn from it, and not trained on."""
    num_fewshot: Literal[0, 1, 5] | None = None
    """The baseline's protocol, unless the experiment states one."""
    train: str | list[str] | None = None
    """Ours: files to train on: JSON lines, JSON, CSV, Parquet, packed or not; folders, globs."""
    test: str | list[str] | None = None
    """Ours: files to test on."""
    doc_to_text: str | None = None
    """Template of the prompt; null: by the layout of the rows."""
    doc_to_target: str | int | list[str] | None = None
    """Template of what is to be written after it; or the place of the right choice."""
    doc_to_choice: str | list[str] | dict[str, str] | None = None
    """The choices: a list, or a template that renders one."""
    description: str = ""
    """Stands before every prompt."""
    target_delimiter: str = " "
    """Between prompt and target."""
    fewshot_delimiter: str = "\n\n"
    """Between solved examples."""
    output_type: Literal["generate_until", "multiple_choice"] = "generate_until"
    """Whether a text is written, or the likeliest of the choices is taken."""
    generation_kwargs: dict[str, Any] = field(default_factory=dict)
    """`until`: texts that end an answer; `max_gen_toks`: the most tokens of one."""
    filter_list: list[dict[str, Any]] | None = None
    """How an answer is taken from a text."""
    metric_list: list[dict[str, Any]] | None = None
    """What it is compared by; conclusions are drawn from the first."""
    question: str | None = None
    """Ours: template of what is asked, without the prompt's frame: a user's turn in a chat, and
    what identifies a problem; null: as `doc_to_text`."""
    id: str | None = None
    """Ours: template of what identifies a problem, if not its question."""
    group_by: str | None = None
    """Ours: column that says which problems belong together."""
    where: str | None = None
    """Ours: Jinja condition; rows for which it is false are left out."""
    answer: AnswerStyle | None = None
    """Ours: what counts as a final answer to the metric `number`; null: the experiment's."""
    turns: Literal["last", "every"] = "last"
    """Ours: of a conversation, which of the assistant's turns are trained on."""
    system: str | None = None
    """Ours: the system's turn in a chat."""
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Ours: name → other values of these keys, for the same problems; `data.variant` takes one.
    The first says what is asked in tests."""
    folder: str = ""
    """Where its file lies; `train`, `test` and functions are looked for from there."""

    @property
    def until(self) -> tuple[str, ...]:
        """Texts that end an answer."""
        until = self.generation_kwargs.get("until", [self.fewshot_delimiter])
        return (until,) if isinstance(until, str) else tuple(until)

    @property
    def generated(self) -> bool:
        """Whether its problems are generated; it reads no file."""
        return self.task == GENERATED and self.preset

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """What a text is scored by: `metric_list`, or what lm-eval takes without one."""
        usual = "acc" if self.output_type == "multiple_choice" else "exact_match"
        return self.metric_list or [{"metric": usual}]

    @property
    def scores_numbers(self) -> bool:
        """Whether answers are numbers, read by the canonical scorer."""
        return self.metrics[0].get("metric") == "number"

    @property
    def measures_loss(self) -> bool:
        """Whether nothing is generated: tests measure the loss of gold solutions alone."""
        return self.metrics[0].get("metric") == LIKELIHOOD

    @property
    def reads_rows(self) -> bool:
        """Whether a metric is a function, which is given the row a text was asked about."""
        return any(str(item.get("metric")).startswith("python:") for item in self.metrics)

    @property
    def preset(self) -> bool:
        """Whether it came with paribus."""
        return not self.folder

    @property
    def base(self) -> "Task":
        """The task with the values of its first variant, which says what is asked in tests."""
        return self.of(next(iter(self.variants), "main"))

    def of(self, variant: str) -> "Task":
        """Return the task with the values of `variant`. Raises ConfigError if it has none such.

        A task that states no variants has one, `main`.
        """
        if not self.variants and variant == "main":
            return self
        if variant not in self.variants:
            known = ", ".join(self.variants) or "main"
            raise ConfigError(
                f"data.variant={variant!r} is not a variant of the task {self.task}",
                f"set data.variant to one of: {known}",
            )
        return replace(self, **self.variants[variant], variants={})

    def identity(self) -> dict[str, Any]:
        """Return what of it can change a result: neither where files are, nor how texts are scored.

        Values that are the default's are left out.
        """
        unread = {"folder", "train", "test", "fewshot_split", "num_fewshot", *_SCORING}
        if self.measures_loss:
            unread.discard("metric_list")  # it says that no text is there to be read
        defaults = Task(task="")
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in unread and value != getattr(defaults, name)
        }

    def scoring(self) -> dict[str, Any]:
        """Return how stored texts are read: what `identity` leaves out for that."""
        return {name: getattr(self, name) for name in _SCORING}

    def record(self) -> dict[str, Any]:
        """Return every value that is not the default's, for `stored_task`."""
        defaults = asdict(Task(task=""))
        return {name: value for name, value in asdict(self).items() if value != defaults[name]}


_TASK: TypeAdapter[Task] = TypeAdapter(Task)


def _task(values: Mapping[Any, Any]) -> Task:
    # JSON mode is strict on scalars, yet takes a mapping for a dataclass.
    return _TASK.validate_json(json.dumps(values))


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
    """Return the task of an arm, its prompt as the experiment has it. Raises ConfigError."""
    task, prompt = read_task(config.task), config.prompt
    return replace(
        task,
        doc_to_text=task.doc_to_text if prompt.template is None else prompt.template,
        system=task.system if prompt.system is None else prompt.system,
    )


@lru_cache
def _preset(name: str) -> Task:
    path = Path(str(files("paribus.config") / "tasks" / f"{name}.yaml"))
    values, _ = read_file(path)
    return _task(values)


def stored_task(record: Mapping[str, Any]) -> Task:
    """Return the task that `Task.record` described. Raises ConfigError."""
    try:
        return _task(dict(record))
    except ValidationError as error:
        lines = "; ".join(_worded(item) for item in error.errors())
        raise ConfigError(
            f"a stored task is not one of this version: {lines}", "run the experiment again"
        ) from error


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
            task = _task({**given, "folder": str(path.absolute().parent)})
            faults = [*_variant_faults(task), *_loss_faults(task), *_split_faults(task)]
        except ValidationError as error:
            faults = [(_place(item["loc"]), _worded(item)) for item in error.errors()]
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


def _worded(item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"])
    value = item["input"]
    text = f"{item['msg'][0].lower()}{item['msg'][1:]}".replace("a valid array", "a list")
    text = text.replace("an object", "a mapping, as in {metric: exact_match}")
    return f"{key}={value!r:.60} does not fit: {text}"


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
            _task({"task": task.task, **values})
        except ValidationError as error:
            faults += [f"variant {name}: {_worded(item)}" for item in error.errors()]
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
