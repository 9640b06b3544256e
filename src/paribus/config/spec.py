"""What defines a run's result, as one JSON value and its fingerprint.

Identity and execution are separate: two runs with the same fingerprint must give the same
result, so the store may skip the second. Names, folders of data and trackers stay out; so
does whatever the run never reads, such as LoRA's rank in full fine-tuning. A model's folder
counts by its name alone, as it may move: the store keeps its content's hash beside the identity.

    spec = RunSpec(experiment="x", arm="lora-main", replicate=0, seed=0, config=ArmConfig())
    spec.fingerprint                                  # 64 hex digits
    differences(stored, spec.identity())              # ["lora.r: 8 → 16"]
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from paribus.config.nested import flatten
from paribus.config.schema import ArmConfig, TestedTask, TrainingConfig, values_of
from paribus.files import sha256_of_json
from paribus.seeds import derive

SPEC_FORMAT = 1
"""Version of the identity's shape: a change here makes every stored fingerprint another one."""

RATE_KEYS = ("training.learning_rate", "training.min_learning_rate")
"""Keys that a method brings with it: full SFT and LoRA want rates of their own."""

OPEN = "tuned"
"""Stands in an identity for a value that trials are still to find."""

EXECUTION = (
    "data.path",
    "training.trackers",
    "training.save_weights",
    "training.checkpoint_minutes",
)
"""Keys that do not define a result."""
SCORING = ("evaluation.answer",)
"""Keys that say how stored texts are read: one value for the whole experiment."""
_FURTHER = "evaluation.tasks"
TESTING = (
    "data.test_size",
    "evaluation.protocol",
    "evaluation.also",
    _FURTHER,
    "evaluation.max_new_tokens",
)
"""Keys that say how finished weights are tested: they can be tested further."""
WHILE_TRAINING = ("evaluation.at", "evaluation.at_generates", "evaluation.checkpoint")
"""Keys that say how an arm is measured while it trains: of no use to one that does not."""
_LATER_KEYS: dict[str, Callable[[ArmConfig], Any]] = {
    "quantization": lambda config: config.quantization,
    "prompt.template": lambda config: config.prompt.template,
    "prompt.system": lambda config: config.prompt.system,
    "lora.use_rslora": lambda config: config.lora.use_rslora or None,
    "lora.init_lora_weights": lambda config: config.lora.init_lora_weights,
    "lora.use_dora": lambda config: config.lora.use_dora or None,
    "lora.modules_to_save": lambda config: config.lora.modules_to_save or None,
    "lora.layers_to_transform": lambda config: config.lora.layers_to_transform,
    "training.decay": lambda config: config.training.decay,
    "training.beta1": lambda config: config.training.beta1,
    "training.beta2": lambda config: config.training.beta2,
    "training.epsilon": lambda config: config.training.epsilon,
    "lora.loraplus_lr_ratio": lambda config: config.lora.loraplus_lr_ratio,
    "training.neftune_noise_alpha": lambda config: config.training.neftune_noise_alpha,
    "training.train_only": lambda config: config.training.train_only or None,
    "evaluation.at": lambda config: config.is_validated or None,
    "evaluation.at_generates": lambda config: (
        (config.is_validated and config.evaluation.at_generates) or None
    ),
    "evaluation.checkpoint": lambda config: (
        (config.is_validated and config.evaluation.checkpoint != "last") or None
    ),
    _FURTHER: lambda config: config.evaluation.tasks or None,
}
"""Keys of later versions: an identity holds them only where they are not None."""
_GENERATED_ONLY = ("data.min_steps", "data.max_steps", "data.max_number")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One arm with one seed.

    Attributes:
        experiment: name of the experiment; a folder, not part of the identity.
        arm: name of the arm; a folder, not part of the identity.
        replicate: 0, 1, ...: which repetition of the arm, with random streams of its own.
        seed: root of every random stream, the same for all arms.
        config: everything else.
        trial: the name of a trial of `tune`, None for a run: it is tested on validation problems,
            with random streams that no replicate has and all trials share.
    """

    experiment: str
    arm: str
    replicate: int
    seed: int
    config: ArmConfig
    trial: str | None = None

    @property
    def title(self) -> str:
        """The run in words: `full-main seed 0`; of a trial `full-main lr 2e-05`, or `… trial 3`."""
        if self.trial:
            return f"{self.arm} {self.trial.replace('-', ' ', 1)}"
        return f"{self.arm} seed {self.replicate}"

    @property
    def number(self) -> int | None:
        """Number of a trial of a search, from 1; None for a run and for a trial of a grid."""
        kind, _, number = (self.trial or "").partition("-")
        return int(number) if kind == "trial" else None

    @property
    def stream(self) -> int:
        """Root of the random streams that are the run's own: order, initialisation, dropout."""
        path = ("tuning",) if self.trial else ("replicate", self.replicate)
        return derive(self.seed, *path)

    def identity(self) -> dict[str, Any]:
        """Return what defines the result: nested, JSON-ready, keys sorted.

        Kept although it looks like execution: batch sizes and `data.variant` of a baseline,
        because they change numerics, or the solved example in its prompt.
        """
        values: dict[str, Any] = json.loads(json.dumps(values_of(self.config), sort_keys=True))
        for key in _unread(self.config, trial=self.trial is not None):
            section, _, name = key.rpartition(".")
            del (values[section] if section else values)[name]
        if Path(self.config.model).is_absolute():
            values["model"] = Path(self.config.model).name
        task = self.config.task
        del values["task"]
        if task.preset:  # as before tasks could be anything but these
            values["data"] = dict(sorted({**values["data"], "source": task.task}.items()))
        else:
            values["task"] = task.identity()
        if further := self.config.evaluation.tasks:
            values["evaluation"]["tasks"] = [identity_of(entry) for entry in further]
        values |= {"format": SPEC_FORMAT, "seed": self.seed}
        if self.trial:
            values["trial"] = True
        elif self.config.method != "none":
            values["replicate"] = self.replicate
        return dict(sorted(values.items()))

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 of the identity."""
        return sha256_of_json(self.identity())


def identity_of(entry: TestedTask) -> dict[str, Any]:
    """Return what of a further task can change what is written for it."""
    task = entry.task
    return {
        "task": task.task if task.preset else task.identity(),
        "test_size": entry.test_size,
        "protocol": entry.protocol,
    }


def name_in(tested: Mapping[str, Any]) -> str:
    """Return the name of a further task, as an identity holds it."""
    task = tested["task"]
    return str(task if isinstance(task, str) else task["task"])


def _shown_task(tested: Mapping[str, Any]) -> str:
    """Return a further task in words: `gsm8k (test_size 200)`."""
    stated = [f"{key} {tested[key]}" for key in ("test_size", "protocol") if tested.get(key)]
    return f"{name_in(tested)} ({', '.join(stated)})" if stated else name_in(tested)


def _unread(config: ArmConfig, *, trial: bool) -> list[str]:
    """Return the dotted keys that cannot change the result of a run of `config`."""
    keys = [*EXECUTION, *SCORING]
    if config.method == "none":
        keys = ["data.path", *SCORING, *_training(config.training)]
    elif config.training.target_tokens is not None:
        keys.append("training.epochs")
    if config.method != "lora":
        keys.append("lora")
    for key, value in _LATER_KEYS.items():
        section = key.partition(".")[0]
        whole = section in keys or (section == "training" and config.method == "none")
        if value(config) is None and not whole:  # earlier versions wrote no such key
            keys.append(key)
    if config.evaluation.engine == "paribus":
        keys.append("evaluation.engine")
    if config.data.train_size != "all" and not trial and not config.is_validated:
        keys.append("data.validation_size")
    if config.task.generated:
        keys += ["data.revision", "data.group_by"]
    else:
        keys.extend(_GENERATED_ONLY)
    return keys


_UNSAID = {
    **dict.fromkeys(_LATER_KEYS),
    "training.precision": "bf16",
    "evaluation.engine": "paribus",
    "evaluation.checkpoint": "last",
}
"""Values that an identity leaves out: earlier versions had no such keys."""


def _training(config: TrainingConfig) -> list[str]:
    """Return the keys of `config` that do not matter where nothing is trained: all but precision.

    bf16 is left out too: earlier versions had no other precision.
    """
    if config.precision == "bf16":
        return ["training"]
    return [f"training.{field.name}" for field in fields(config) if field.name != "precision"]


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Return the dotted keys, sorted, in which two identities differ."""
    left, right = flatten(a), flatten(b)
    absent = object()
    return sorted(
        key for key in left.keys() | right.keys() if left.get(key, absent) != right.get(key, absent)
    )


def made_alike(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Return whether two identities differ in nothing but how finished weights are tested."""
    return set(differing(a, b)) <= set(TESTING)


def _shown_tasks(tasks: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> str:
    """Return further tasks in words; of one that reads as another does, that its file differs."""
    spelled = {_shown_task(task): task for task in others}
    parts = [
        text if spelled.get(text, task) == task else f"{text}, with another file"
        for task in tasks
        for text in [_shown_task(task)]
    ]
    return ", ".join(parts) or "none"


def has_more_tasks(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Return whether two identities differ in nothing but further tasks that only one was tested
    on: `stored`."""
    return differing(stored, asked) == [_FURTHER] and covers(testing(stored), testing(asked))


def testing(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return those keys of an identity, dotted, that say how finished weights are tested."""
    values = {key: value for key, value in flatten(identity).items() if key in TESTING}
    # An identity without further tasks has no such key.
    return {_FURTHER: [], **values} if values else {}


def covers(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Return whether weights tested as `stored` says were tested on all that is `asked`, or more.

    Both are what `testing` returns. False where the main protocols differ. Problems are drawn in
    one order, so a larger draw holds every smaller one.
    """
    if not {*TESTING} - {_FURTHER} <= stored.keys() & asked.keys():
        return False
    sizes = [each["data.test_size"] for each in (stored, asked)]
    had, wanted = (math.inf if size == "all" else size for size in sizes)
    longest = [each["evaluation.max_new_tokens"] for each in (stored, asked)]
    alike = stored["evaluation.protocol"] == asked["evaluation.protocol"]
    more = set(stored["evaluation.also"]) >= set(asked["evaluation.also"])
    tasks = further_within(asked, stored)
    return bool(alike and had >= wanted and longest[0] >= longest[1] and more and tasks)


def further_within(less: Mapping[str, Any], more: Mapping[str, Any]) -> bool:
    """Return whether all further tasks of `less`, flat, are in `more`, on as many problems or more.

    A task is another if its file's content or its protocol is.
    """
    there = {name_in(task): task for task in more.get(_FURTHER, [])}
    return all(
        (other := there.get(name_in(task))) is not None
        and same_but_size(task, other)
        and _size(task, less) <= _size(other, more)
        for task in less.get(_FURTHER, [])
    )


def same_but_size(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two further tasks differ by the number of problems at most."""
    return {**one, "test_size": None} == {**other, "test_size": None}


def _size(task: Mapping[str, Any], whole: Mapping[str, Any]) -> float:
    """Return how many problems of a further task are tested at most, by its flat identity."""
    size = whole["data.test_size"] if task["test_size"] is None else task["test_size"]
    return math.inf if size == "all" else size


def overrides(values: Mapping[str, Any]) -> str:
    """Return dotted key → value as they are typed behind a command."""
    return " ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value, default=str)}"
        for key, value in values.items()
        if key != _FURTHER  # an identity has what is in the files, which nobody types
    )


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Return one line for each key in which two identities differ: `key: old → new`."""
    left, right = flatten(a), flatten(b)

    def shown(values: dict[str, Any], key: str) -> Any:
        value = values.get(key, _UNSAID.get(key, "(absent)"))
        if key == _FURTHER:
            return _shown_tasks(value or [], left.get(key) or [])
        return repr(value) if isinstance(value, str) and not value.isprintable() else value

    return [f"{key}: {shown(left, key)} → {shown(right, key)}" for key in differing(a, b)]
