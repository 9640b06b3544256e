"""What a `space` asks for: which arm is tuned over which keys, and its trials by their values.

    tune: {space: {training.learning_rate: {low: 1e-6, high: 1e-3, log: true}, lora.r: [4, 8, 16]}}

    searches = plan_searches(tuned, loaded)
    searches["lora-main"].keys                                  # both; of a full-main the first
    searches["lora-main"].trial(1, {"training.learning_rate": 2e-4, "lora.r": 8}).title
    # "lora-main trial 1"

Which values are tried follows from what was measured before, so only the number of trials is known
ahead; `planning/search` has them proposed. Every arm gets the same number, or the same operations.
A key that an arm does not read, such as LoRA's rank in full fine-tuning, is left out for it.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from paribus.config.check import ARM_DEFAULTS, value_problem
from paribus.config.keys import SCHEMA, types_of, unknown_key
from paribus.config.load import Loaded
from paribus.config.nested import flatten
from paribus.config.read import Origin, find_origin
from paribus.config.schema import TuneConfig
from paribus.config.space import entries, inner_key, keys_of
from paribus.config.spec import EXECUTION, RunSpec
from paribus.config.task import Task
from paribus.design.arms import Arm
from paribus.design.trials import (
    arm_faults,
    name_faults,
    refuse_faults,
    trial_of,
    typed_faults,
    with_values,
)
from paribus.errors import ConfigError

USUAL_TRIALS = 12
MAX_TRIALS = 1000
_SAME_FOR_ALL = ("data", "prompt", "evaluation")
"""Sections that say what is asked: losses after other texts could not be compared."""
_CHOSEN_ONCE = ("training.precision", "training.micro_batch", "training.checkpointing")
"""Settings of the machine."""
TUNABLE = [
    key
    for key in ARM_DEFAULTS
    if "." in key
    and key.partition(".")[0] not in _SAME_FOR_ALL
    and key not in (*EXECUTION, *_CHOSEN_ONCE)
]
_FORM = "a list of two or more values, or a range {low: LOW, high: HIGH}, with log: true if wanted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How the values of one arm are searched for.

    Attributes:
        template: a trial with the values that the arm states.
        keys: dotted key -> a list of values, or a range: `low`, `high`, `log`.
        trials: how many; None where `flops` bounds them.
        flops: most operations that all trials may train with; None where `trials` bounds them.
        sampler: `tpe` or `random`.
    """

    template: RunSpec
    keys: dict[str, Any]
    trials: int | None
    flops: float | None
    sampler: str

    def asked(self) -> dict[str, Any]:
        """Return what the search depends on beside its trials, ready for JSON."""
        return {
            "keys": self.keys,
            "trials": self.trials,
            "flops": self.flops,
            "sampler": self.sampler,
            "seed": self.template.seed,
        }

    def trial(self, number: int, values: Mapping[str, Any]) -> RunSpec:
        """Return a trial, numbered from 1. Raises ConfigError if the values do not fit together."""
        config = with_values(self.template.config, values, self.template.arm)
        return replace(self.template, trial=f"trial-{number}", config=config)

    def placeholder(self, number: int) -> RunSpec:
        """Return a trial whose values are not known yet: those of the template stand for them."""
        return replace(self.template, trial=f"trial-{number}")

    def ends(self) -> Iterator[tuple[str, Any]]:
        """Yield each key with each of its listed values, or with both ends of its range."""
        for key, choices in self.keys.items():
            yield from ((key, value) for value in ends_of(choices))


def ends_of(choices: Any) -> list[Any]:
    """Return the values of a list, or both ends of a range."""
    return [choices["low"], choices["high"]] if isinstance(choices, Mapping) else list(choices)


def is_whole(key: str) -> bool:
    """Return whether a key takes whole numbers only."""
    return "number" not in types_of(SCHEMA[key])


def plan_searches(tuned: Sequence[Arm], loaded: Loaded) -> dict[str, Search]:
    """Return the search of each arm that is tuned over a space, by name; none without one.

    Raises ConfigError, which lists all that is wrong at once.
    """
    tune = loaded.config.tune
    if tune is None:
        return {}
    refuse_faults([*_budget_faults(tune, loaded), *_entry_faults(tune, loaded)])
    if not tune.space:
        return {}
    trying = [arm for arm in tuned if arm.name not in tune.fixed]
    searches = {arm.name: _search(arm, tune, loaded) for arm in trying}
    keys = {name: list(search.keys) for name, search in searches.items()}
    refuse_faults(
        [
            *name_faults(tuned, loaded),
            *arm_faults(trying, keys),
            *typed_faults(dict.fromkeys(key for names in keys.values() for key in names), loaded),
            *(fault for arm in trying for fault in _search_faults(arm, searches[arm.name], loaded)),
        ]
    )
    return searches


def _search(arm: Arm, tune: TuneConfig, loaded: Loaded) -> Search:
    template = trial_of(arm, arm.config, "trial", loaded)
    listed = keys_of(tune.space, arm.config.method)
    return Search(
        template=template,
        keys={
            key: _written(key, choices)
            for key, choices in listed.items()
            if any(_reads(template, key, value) for value in ends_of(choices))
        },
        trials=None if tune.flops else tune.trials or USUAL_TRIALS,
        flops=tune.flops,
        sampler=tune.sampler,
    )


def _written(key: str, choices: Any) -> Any:
    """Return a range or a list in one spelling: 1 and 1.0 are the same rate."""
    if isinstance(choices, Mapping):
        number = int if is_whole(key) else float
        ends = {end: number(choices[end]) for end in ("low", "high")}
        return {**ends, "log": bool(choices.get("log", False))}
    if "number" not in types_of(SCHEMA[key]):
        return list(choices)
    return [float(value) if isinstance(value, int) else value for value in choices]


def _reads(template: RunSpec, key: str, value: Any) -> bool:
    """Return whether the value of `key` is part of what defines the arm's runs."""
    try:
        config = with_values(template.config, {key: value})
    except ConfigError:
        return True  # told with the faults of the arm
    return key in flatten(replace(template, config=config).identity())


def _budget_faults(tune: TuneConfig, loaded: Loaded) -> list[str]:
    """Return which keys of `tune` exclude each other."""
    stated = {
        key: origin
        for key, origin in loaded.origins.items()
        if key.startswith("tune.") and origin.kind != "default"
    }
    if not tune.space:
        return [
            f"{origin}: {key} is read with tune.space only; state tune.space, or drop it"
            for key, origin in stated.items()
            if key in ("tune.trials", "tune.flops", "tune.sampler")
        ]
    faults = [
        f"{origin}: {key} and tune.space both say what is tried; drop one"
        for key, origin in stated.items()
        if key.startswith("tune.learning_rates")
    ]
    if tune.trials and tune.flops:
        faults.append(
            f"{stated['tune.flops']}: tune.trials={tune.trials} and tune.flops={tune.flops:g} both "
            "say when an arm's trials end; drop one"
        )
    return faults


def _entry_faults(tune: TuneConfig, loaded: Loaded) -> Iterator[str]:
    for entry, choices in entries(tune.space):
        fault = _entry_fault(inner_key(entry), choices, loaded.read_task)
        if fault:
            place = find_origin(f"tune.space.{entry}", loaded.origins)
            yield f"{place}: tune.space.{entry}: {fault}"


def _entry_fault(key: str, choices: Any, read: Callable[[str], Task]) -> str:
    """Return what is wrong with one entry of the space, or ""."""
    if key not in ARM_DEFAULTS:
        return unknown_key(key, TUNABLE)
    if key not in TUNABLE:
        return f"{key} cannot be tuned; state it, or make it a factor of the matrix"
    is_range = isinstance(choices, Mapping)
    if is_range and not {"low", "high"} <= choices.keys() <= {"low", "high", "log"}:
        return f"must be {_FORM}, got the keys {', '.join(map(str, choices))}"
    if not is_range and (not isinstance(choices, list) or len(set(map(json.dumps, choices))) < 2):
        return f"must be {_FORM}, got {choices!r}"
    faults = [fault for value in ends_of(choices) if (fault := value_problem(key, value, read))]
    return faults[0] if faults else _range_fault(key, choices) if is_range else ""


def _range_fault(key: str, choices: Mapping[str, Any]) -> str:
    low, high, log = choices["low"], choices["high"], choices.get("log", False)
    if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high)):
        return f"{key} takes no numbers in between; list its values"
    if not isinstance(log, bool):
        return f"log must be true or false, got {log!r}"
    if low >= high:
        return f"low={low} must be below high={high}"
    if log and low <= 0:
        return f"log: true needs low above 0, got low={low}; set log: false"
    return ""


def _search_faults(arm: Arm, search: Search, loaded: Loaded) -> Iterator[str]:
    """Yield why an arm cannot be tuned over its keys."""
    places = {key: _place(key, arm.config.method, loaded) for key in search.keys}
    if not search.keys:
        place = find_origin("tune.space", loaded.origins)
        yield (
            f"{place}: arm {arm.name} reads none of the keys of tune.space; add one, such as "
            "training.learning_rate, or list the arm in tune.fixed"
        )
        return
    if "training.batch_size" in search.keys and arm.config.training.micro_batch == "auto":
        yield (
            f"{places['training.batch_size']}: arm {arm.name}: training.micro_batch=auto is chosen "
            "for one training.batch_size; set training.micro_batch to a number that divides all"
        )
    for key, value in search.ends():
        try:
            with_values(arm.config, {key: value}, arm.name, arm.origins | places)
        except ConfigError as error:
            yield error.message
    lists = [choices for choices in search.keys.values() if isinstance(choices, list)]
    combinations = math.prod(map(len, lists))
    if search.trials and len(lists) == len(search.keys) and combinations < search.trials:
        stated = find_origin("tune.trials", loaded.origins)
        place = find_origin("tune.space", loaded.origins) if stated.kind == "default" else stated
        yield (
            f"{place}: arm {arm.name}: tune.space has "
            f"{combinations} combinations and tune.trials is {search.trials}; set "
            f"tune.trials={combinations}, or list more values"
        )


def _place(key: str, method: str, loaded: Loaded) -> Origin:
    """Return where the entry of `key` that counts for `method` is written."""
    written = [
        entry for entry, _ in entries(loaded.config.tune.space if loaded.config.tune else {})
    ]
    entry = f"{method}.{key}" if f"{method}.{key}" in written else key
    return find_origin(f"tune.space.{entry}", loaded.origins)
