"""The space that `tune` searches, as it is written: dotted keys to ranges or to lists of values.

    space = {"training": {"learning_rate": {"low": 1e-6, "high": 1e-3, "log": True}},
             "lora": {"r": [4, 8], "training": {"warmup": {"low": 0, "high": 0.1}}}}
    list(keys_of(space, "full"))    # ["training.learning_rate", "lora.r"]
    list(keys_of(space, "lora"))    # ["training.learning_rate", "lora.r", "training.warmup"]

A key under the name of a method, as `training.warmup` under `lora`, is for the arms of that method
alone, and stands in place of the same key for all. Whether a method reads a key at all is asked in
`design/spaces`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from paribus.config.check import ARM_DEFAULTS
from paribus.config.schema import RateGrids, TuneConfig
from paribus.config.spec import RATE_KEYS

METHODS = tuple(asdict(RateGrids()))
"""Methods that train."""


def keys_of(space: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Return each key that arms of `method` are tuned over, with its range: shared keys first."""
    flat = dict(entries(space))
    shared = {key: choices for key, choices in flat.items() if owner(key) is None}
    own = {inner_key(key): choices for key, choices in flat.items() if owner(key) == method}
    return shared | own


def owner(key: str) -> str | None:
    """Return the method that an entry is written under; None for one that is for all arms."""
    method = key.partition(".")[0]
    return method if method in METHODS and key not in ARM_DEFAULTS else None


def inner_key(key: str) -> str:
    """Return the arm's key that an entry sets."""
    return key if owner(key) is None else key.partition(".")[2]


def entries(space: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each entry by its dotted name; a mapping that says `low` or `high` is a range."""
    for key, choices in space.items():
        if isinstance(choices, Mapping) and choices and not {"low", "high"} & choices.keys():
            yield from ((f"{key}.{inner}", leaf) for inner, leaf in entries(choices))
        else:
            yield str(key), choices


def finds_rate(tune: TuneConfig | None, arm: str, method: str) -> bool:
    """Return whether trials find the learning rate of `arm`: what it states is not used then."""
    if tune is None or arm in tune.fixed:
        return False
    return not tune.space or RATE_KEYS[0] in keys_of(tune.space, method)
