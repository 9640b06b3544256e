"""A task: where problems come from, how each becomes text, and what counts as right.

    task.of("socratic").doc_to_target                 # with the variant's own values
    stored_task(task.record()) == task                # True: a store keeps what texts are scored by

`config/task_file` reads one. The keys that lm-evaluation-harness has too mean what they mean there;
these are ours: `train`, `test`, `question`, `id`, `group_by`, `where`, `answer`, `turns`, `system`,
`variants`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from paribus.errors import ConfigError
from paribus.records import AnswerStyle

PRESETS = ("gsm8k", "gsm8k_swapped", "wordproblems")
"""Tasks that come with paribus, by name."""
FUNCTION = "!function"
"""lm-eval's tag of a value that names a function: `!function utils.fn`."""
LIKELIHOOD = "likelihood"
"""The metric of data without one: the loss of each gold solution; nothing is generated."""
GENERATED = "wordproblems"
"""The preset whose problems are generated; it reads no file."""
_STRICT = ConfigDict(extra="forbid", strict=True, defer_build=True)
_SCORING = ("filter_list", "metric_list", "answer")
"""Keys that say how stored texts are read: no run changes with them."""
FUNCTIONS = ("process_docs", "doc_to_text", "doc_to_target", "doc_to_choice")
"""Keys whose values may name a function."""
SHOT_KEYS = ("doc_to_text", "doc_to_target")
"""Keys of `fewshot_config` that stand for the task's own where an example is shown."""
_SHOWN = ("fewshot_split", "fewshot_config", "num_fewshot")
"""Keys that choose solved examples, whose hash is part of a run's identity."""


class Function(NamedTuple):
    """A Python function in a file, and the file as the task names it."""

    file: Path
    name: str
    stated: str


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
    """`data_files` (split → files) and `revision`; `trust_remote_code` says nothing any more."""
    training_split: str | None = None
    """What is trained on."""
    validation_split: str | None = None
    """Tested on where there is no `test_split`."""
    test_split: str | None = None
    """What is tested on; without one, `data.test_size` training problems are held out."""
    fewshot_split: str | None = None
    """Where solved examples come from, neither trained nor tested on; null: training problems."""
    fewshot_config: dict[str, Any] = field(default_factory=dict)
    """`sampler`: `default`, drawn by the seed, or `first_n`, the first rows of the split;
    `samples`: rows of solved examples, in place of a split; `doc_to_text`, `doc_to_target`."""
    num_fewshot: int | None = None
    """The baseline's protocol, unless the experiment states one."""
    train: str | list[str] | None = None
    """Ours: files to train on: JSON lines, JSON, CSV, Parquet, packed or not; folders, globs."""
    test: str | list[str] | None = None
    """Ours: files to test on."""
    process_docs: str | None = None
    """`!function FILE.NAME`: a function that makes the rows; see `trust_task_code`."""
    doc_to_text: str | None = None
    """Template of the prompt; null: by the layout of the rows."""
    doc_to_target: str | int | list[str] | None = None
    """Template of what is to be written after it; or the place of the right choice."""
    doc_to_choice: str | list[str] | dict[str, str] | None = None
    """The choices: a list, or a template that renders one."""
    description: str = ""
    """Stands before every prompt."""
    target_delimiter: str | None = None
    """Between prompt and target; null: as the layout of the rows has it, else a blank."""
    fewshot_delimiter: str = "\n\n"
    """Between solved examples."""
    gen_prefix: str | None = None
    """How an answer begins: stands behind a raw prompt, and is not written by the model."""
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
    source: str = field(default="", compare=False)
    """What an experiment's `task` says: a preset's name, or the path of its file."""
    by_lm_eval: dict[str, str] = field(default_factory=dict)
    """lm-eval's version, and the hash of its task, where its own code asks and scores."""
    code: dict[str, str] = field(default_factory=dict)
    """File of a function → SHA-256 of its source."""

    @property
    def until(self) -> tuple[str, ...]:
        """Texts that end an answer."""
        until = self.generation_kwargs.get("until", [self.fewshot_delimiter])
        return (until,) if isinstance(until, str) else tuple(until)

    @property
    def samples(self) -> list[dict[str, Any]]:
        """Rows of solved examples that the task states itself."""
        return list(self.fewshot_config.get("samples", []))

    def function(self, value: Any) -> "Function | None":
        """Return the function that the value of a key names; None if it names none."""
        if not isinstance(value, str) or not value.startswith(f"{FUNCTION} "):
            return None
        file, _, name = value.removeprefix(f"{FUNCTION} ").rpartition(":")
        return Function(Path(self.folder, file).resolve(), name, file)

    @property
    def generated(self) -> bool:
        """Whether its problems are generated; it reads no file."""
        return self.task == GENERATED and self.preset

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """What a text is scored by: `metric_list`, or what lm-eval takes without one."""
        usual = "acc" if self.chooses else "exact_match"
        return self.metric_list or [{"metric": usual}]

    @property
    def chooses(self) -> bool:
        """Whether the likeliest choice is the answer."""
        return self.output_type == "multiple_choice"

    @property
    def writes(self) -> bool:
        """Whether a model writes texts: it neither chooses nor has only its loss measured."""
        return not (self.chooses or self.measures_loss)

    @property
    def max_new_tokens(self) -> int | None:
        """Most tokens of an answer: 1 where nothing is written; None where it does not say."""
        longest: int | None = self.generation_kwargs.get(
            "max_gen_toks", 1 if self.chooses else None
        )
        return longest

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

        Values that are the default's are left out. A function is its name and its file's hash.
        """
        unread = {"folder", "source", "code", "train", "test", *_SHOWN, *_SCORING}
        if self.measures_loss:
            unread.discard("metric_list")  # it says that no text is there to be read
        defaults = Task(task="")
        values = {
            name: value
            for name, value in asdict(self).items()
            if name not in unread and value != getattr(defaults, name)
        }
        for key in FUNCTIONS:
            if (function := self.function(values.get(key))) is not None:
                source = self.code.get(function.stated)
                values[key] = f"{FUNCTION} {function.file.name}:{function.name} {source}"
        return values

    def scoring(self) -> dict[str, Any]:
        """Return how stored texts are read: what `identity` leaves out for that."""
        return {name: getattr(self, name) for name in _SCORING}

    def record(self) -> dict[str, Any]:
        """Return every value that is not the default's, for `stored_task`."""
        defaults = asdict(Task(task=""))
        return {
            name: value
            for name, value in asdict(self).items()
            if name != "source" and value != defaults[name]
        }


_TASK: TypeAdapter[Task] = TypeAdapter(Task)


def task_from(values: Mapping[Any, Any]) -> Task:
    """Return the task of these values. Raises pydantic's ValidationError."""
    # JSON mode is strict on scalars, yet takes a mapping for a dataclass.
    return _TASK.validate_json(json.dumps(values))


@cache
def preset(name: str) -> Task:
    """Return the task of that name that comes with paribus, one of PRESETS."""
    text = (files("paribus.config") / "tasks" / f"{name}.yaml").read_text("utf-8")
    return task_from({**yaml.safe_load(text), "source": name})


def stored_task(record: Mapping[str, Any]) -> Task:
    """Return the task that `Task.record` described. Raises ConfigError."""
    try:
        return task_from(dict(record))
    except ValidationError as error:
        lines = "; ".join(worded(item) for item in error.errors())
        raise ConfigError(
            f"a stored task is not one of this version: {lines}", "run the experiment again"
        ) from error


def worded(item: Any) -> str:
    """Return one of pydantic's faults in our words."""
    key = ".".join(str(part) for part in item["loc"])
    value = item["input"]
    text = f"{item['msg'][0].lower()}{item['msg'][1:]}".replace("a valid array", "a list")
    text = text.replace("an object", "a mapping, as in {metric: exact_match}")
    return f"{key}={value!r:.60} does not fit: {text}"
