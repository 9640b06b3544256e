"""Reads an experiment file, the files it builds on and the command line into one config.

    loaded = load(Path("experiments/gsm8k_gemma_270m.yaml"), ["training.learning_rate=1e-4"])
    loaded.config.training.learning_rate              # 0.0001
    str(loaded.origins["training.learning_rate"])     # "command line"
    str(loaded.origins["data.variant"])               # "configs/base.yaml:6"

Later wins: the file named by `base`, the file itself, then the command line in its order.
OmegaConf merges: mappings key by key, lists whole. Four rules are ours:
- A key may be dotted: `training.epochs: 2`.
- A `base` does not hand on its `name`: that is the file's own, by default its stem.
- An empty `matrix`, `arms` or `guard` clears what was set before.
- A list for a factor whose values were a mapping picks from it: the listed values keep the
  further keys that come with them.

Every fault is a ConfigError that names the file and, for a key or a value, its line. `config/read`
refuses unsafe YAML.
"""

import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields
from functools import cache, partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from paribus.config.check import (
    ARM_FIELDS,
    ARM_SECTIONS,
    absolute_paths,
    check_experiment,
    settle_looks,
)
from paribus.config.keys import shown_key
from paribus.config.nested import flatten, nest
from paribus.config.peft_method import canonical_method
from paribus.config.read import Origin, find_origin, read_file, read_item, shown_path
from paribus.config.schema import ExperimentConfig, values_of
from paribus.config.task import PRESETS, Task
from paribus.config.task_file import DATA_FILES, WRITE_ONE, place_of, read_task, shots_of
from paribus.errors import ConfigError
from paribus.files import path_fault
from paribus.untrusted import find_secret

MAX_FAULTS = 100
"""Listed at once; who has more has one cause for most of them."""

_DESIGN = ("matrix", "arms")
_DOTLIST_KEY = re.compile(r"[\w-]+(\.[\w-]+){0,9}")
_NOT_IN_ARMS = {"base", *(field.name for field in fields(ExperimentConfig))} - ARM_FIELDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A checked experiment.

    Attributes:
        config: every key with its value.
        values: what was set, merged, nested and without defaults; `matrix` and `arms` hold
            dotted keys, and their values keep the types YAML gave them.
        origins: dotted key → where its value was set, for every key of `config`.
        path: the experiment file; for an experiment that was only typed, `NAME.yaml`.
        overrides: the items of the command line.
        read_task: `task_file.read_task`, which reads each file once: all arms have the same task.
    """

    config: ExperimentConfig
    values: dict[str, Any]
    origins: dict[str, Origin]
    path: Path
    overrides: tuple[str, ...]
    read_task: Callable[[str], Task]


@dataclass(frozen=True, slots=True)
class _Layer:
    """One file or one item of the command line, with the place of each of its keys."""

    values: dict[str, Any]
    origins: dict[str, Origin]


def load(path: Path, dotlist: Sequence[str] = ()) -> Loaded:
    """Return the experiment in `path`, with `dotlist` (`key=value` each) on top.

    Raises ConfigError, which lists all wrong keys and values at once.
    """
    path = Path(path)
    # An experiment may be JSON, which is YAML.
    if path.suffix.lower() in DATA_FILES and path.suffix != ".json" and path.is_file():
        raise ConfigError(
            f"{shown_path(path)} holds rows, not an experiment", f"{WRITE_ONE} --train {path}"
        )
    layers = _file_layers(path)
    named = _Layer({"name": path.stem}, {"name": Origin("file", path)})
    return _settled(path, [named, *layers], dotlist)


def typed(items: Sequence[str], name: str) -> Loaded:
    """Return the experiment `name` that consists of `items` (`key=value`). Raises ConfigError."""
    return _settled(Path(f"{name}.yaml"), [_Layer({"name": name}, {})], items)


def _settled(path: Path, layers: Sequence[_Layer], dotlist: Sequence[str]) -> Loaded:
    """Return the experiment that `layers` state, then `dotlist`. Raises ConfigError."""
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for layer in [*layers, *map(_dotlist_layer, dotlist)]:
        values = _merge(values, layer)
        origins |= layer.origins
    _expand_arm_bases(values, origins)
    with_paths = {*ARM_FIELDS, "labels"}
    shared = flatten({key: value for key, value in values.items() if key in with_paths})
    values |= nest(absolute_paths(shared, origins))
    if isinstance(values.get("guard"), dict):
        values["guard"] = flatten(values["guard"])  # a task's name may have dots
    read = cache(partial(read_task, trusted=values.get("trust_task_code") is True))
    _take_from_task(values, origins, read)
    _refuse_secrets(values, origins)
    settle_looks(values, origins)
    config, problems = check_experiment(values, origins, read)
    if config is None:
        remedy = "fix each line above; docs/config.md describes every key"
        if any(str(key).startswith("doc_to_") for key in values):
            remedy = f"name a task file in an experiment file, as task: FILE; {WRITE_ONE}"
        more = len(problems) - MAX_FAULTS
        parts = [*problems[:MAX_FAULTS], *([f"and {more:,} more"] if more > 0 else [])]
        raise ConfigError("\n".join(parts), remedy)
    return Loaded(
        config=config,
        values=values,
        origins=_origins(config, values, origins),
        path=path,
        overrides=tuple(dotlist),
        read_task=read,
    )


def _take_from_task(
    values: dict[str, Any], origins: dict[str, Origin], read: Callable[[str], Task]
) -> None:
    """Add, in place, what a task file says of the experiment where that says nothing itself."""
    name = values.get("task")
    if not isinstance(name, str) or name in PRESETS:
        return
    try:
        task = read(name)
    except ConfigError:
        return  # told with the other faults
    origin = Origin("file", place_of(name))
    evaluation, baseline = values.get("evaluation"), values.get("baseline", {})
    longest = task.max_new_tokens
    if longest and (evaluation is None or isinstance(evaluation, dict)):
        values["evaluation"] = {"max_new_tokens": longest, **(evaluation or {})}
        origins.setdefault("evaluation.max_new_tokens", origin)
    if not isinstance(baseline, dict) or "protocol" in baseline:
        return
    shots = shots_of(task)
    if shots:
        values["baseline"] = {"protocol": shots, **baseline}
        origins.setdefault("baseline.protocol", origin)


def _refuse_secrets(values: dict[str, Any], origins: dict[str, Origin]) -> None:
    """Raise ConfigError on a token or password, in a path too: values are kept in every run."""
    key = find_secret(values)
    if key is not None:
        raise ConfigError(
            f"{find_origin(key, origins)}: {shown_key(key)} holds what looks like a token or "
            "password, and would be written beside every run",
            "take it out, and revoke it if the file was shared; for the Hub: `hf auth login`",
        )


def _origins(
    config: ExperimentConfig, values: dict[str, Any], found: dict[str, Origin]
) -> dict[str, Origin]:
    """Return the origin of every leaf of the resolved config."""
    design = {key: values.get(key, {}) for key in _DESIGN}
    result = {}
    for key in flatten(values_of(config) | design):
        # A list that picked from a mapping stands above the keys that it kept.
        inside = key.startswith(("matrix.", "arms."))
        result[key] = find_origin(key, found) if inside else found.get(key, Origin("default"))
    return result


def _file_layers(path: Path) -> list[_Layer]:
    """Return the layers of the file and of its chain of `base` files, first merged first."""
    layers: list[_Layer] = []
    chain: list[Path] = []
    text = ""  # leads the message if the file cannot be read: who asked for it
    while True:
        layer = _read_layer(path, text)
        chain.append(path.resolve())
        if chain[-1] in chain[:-1]:
            raise ConfigError(
                f"{text}{shown_path(path)} builds on itself", "remove one base of the cycle"
            )
        if layers:
            # Two experiments must not share a folder because one builds on the other.
            layer.values.pop("name", None)
            layer.origins.pop("name", None)
        layers.insert(0, layer)
        if "base" not in layer.values:
            return layers
        origin = find_origin("base", layer.origins)
        path, text = _base_path(layer.values.pop("base"), origin), f"{origin}: base: "


def _base_path(base: Any, origin: Origin) -> Path:
    if not isinstance(base, str) or not base:
        raise ConfigError(f"{origin}: base must be a path, got {base!r}", "name a YAML file")
    fault = path_fault(base)
    if fault:
        raise ConfigError(f"{origin}: base {fault}: {base[:40]!r}…", "name a YAML file")
    return (origin.file.parent if origin.file else Path.cwd()) / base


def _dotlist_layer(item: str) -> _Layer:
    """Return the layer of one `key=value` from the command line."""
    origin = Origin("command line")
    key, equals, _ = item.partition("=")
    if not equals or not _DOTLIST_KEY.fullmatch(key) or key == "base":
        message = f"{origin}: {item[:60]!r} does not set a key of the experiment"
        raise ConfigError(message, "write key=value, such as training.learning_rate=1e-4")
    raw = _by_our_names(read_item(item, origin), origin)
    values = _canonical(_with_methods(raw, {"method": origin}), origin)
    return _Layer(values, dict.fromkeys(flatten(values), origin))


def _read_layer(path: Path, said: str = "") -> _Layer:
    """Return the layer of one file."""
    raw, places = read_file(path, said)
    origins = {key.replace(*_PEFTS_NAME): place for key, place in places.items()}
    raw = _by_our_names(raw, Origin("file", path))
    return _Layer(_canonical(_with_methods(raw, origins), Origin("file", path)), origins)


_PEFTS_NAME = ("lora.target_modules", "lora.targets")
"""What peft calls a key, and what it is called here."""


def _by_our_names(raw: dict[Any, Any], origin: Origin, section: str = "") -> dict[Any, Any]:
    """Return `raw` with peft's name of a key replaced by ours, at any depth."""
    named: dict[Any, Any] = {}
    for key, value in raw.items():
        theirs = key == _PEFTS_NAME[0] or (section == "lora" and key == "target_modules")
        name = key.replace("target_modules", "targets") if theirs else key
        if name in named:
            raise ConfigError(f"{origin}: {key} and {name} are one key", "state the key once")
        inner = isinstance(value, dict)
        named[name] = _by_our_names(value, origin, str(key)) if inner else value
    return named


def _with_methods(raw: dict[Any, Any], origins: dict[str, Origin]) -> dict[Any, Any]:
    """Return `raw` with every method of peft's, stated as a mapping, as one text."""

    def text(value: Any, key: str) -> Any:
        return canonical_method(value, str(find_origin(key, origins)))

    values = {key: text(value, "method") if key == "method" else value
              for key, value in raw.items()}  # fmt: skip
    arms, matrix = raw.get("arms"), raw.get("matrix")
    if isinstance(arms, dict):
        values["arms"] = {
            name: {**keys, "method": text(keys["method"], f"arms.{name}.method")}
            if isinstance(keys, dict) and "method" in keys
            else keys
            for name, keys in arms.items()
        }
    if isinstance(matrix, dict) and isinstance(choices := matrix.get("method"), list):
        values["matrix"] = {**matrix, "method": [text(one, "matrix.method") for one in choices]}
    elif isinstance(matrix, dict) and isinstance(choices, dict):
        named = {text(one, "matrix.method"): keys for one, keys in choices.items()}
        values["matrix"] = {**matrix, "method": named}
    return values


def _canonical(raw: dict[Any, Any], origin: Origin) -> dict[str, Any]:
    """Return one layer with all keys nested, but for those in `matrix` and `arms`: dotted."""
    design = {key: value for key, value in raw.items() if str(key).startswith(_DESIGN)}
    shared = flatten({key: value for key, value in raw.items() if key not in design})
    try:
        # A section whose keys are all commented out reads as null: nothing was set.
        values = nest({k: v for k, v in shared.items() if v is not None or k not in ARM_SECTIONS})
    except ValueError as error:
        raise ConfigError(f"{origin}: {error}", "state the key once") from error
    values |= design
    if "matrix" in raw:
        values["matrix"] = _canonical_matrix(raw["matrix"])
    if "arms" in raw:
        values["arms"] = _dotted_values(raw["arms"])
    return values


def _canonical_matrix(matrix: Any) -> Any:
    if not isinstance(matrix, dict):
        return {} if matrix is None else matrix
    factors: dict[str, Any] = {}
    for key, value in matrix.items():
        if key in ARM_SECTIONS and isinstance(value, dict):
            factors |= {f"{key}.{name}": choices for name, choices in value.items()}
        else:
            factors[str(key)] = value
    return {
        factor: _dotted_values(choices) if isinstance(choices, dict) else choices
        for factor, choices in factors.items()
    }


def _dotted_values(mapping: Any) -> Any:
    """Return `mapping` with every mapping in it flattened, and null read as an empty one."""
    if not isinstance(mapping, dict):
        return {} if mapping is None else mapping
    empty: dict[str, Any] = {}
    return {
        key: flatten(inner) if isinstance(inner, dict) else empty if inner is None else inner
        for key, inner in mapping.items()
    }


def _merge(old: dict[str, Any], layer: _Layer) -> dict[str, Any]:
    """Return the values of `old` with those of `layer` on top."""
    old, new = deepcopy(old), deepcopy(layer.values)
    for key in (*_DESIGN, "guard"):
        if new.get(key) == {}:
            old.pop(key, None)
    factors, before = new.get("matrix"), old.get("matrix")
    if isinstance(factors, dict) and isinstance(before, dict):
        for factor, choices in factors.items():
            if isinstance(choices, list) and isinstance(before.get(factor), dict):
                place = f"{find_origin(f'matrix.{factor}', layer.origins)}: matrix.{factor}"
                factors[factor] = _pick(before[factor], choices, place)
                before[factor] = {}
    _make_room(old, new)
    merged: Any = OmegaConf.to_container(OmegaConf.merge(old, new))
    return dict(merged)


def _pick(before: dict[Any, Any], choices: list[Any], place: str) -> dict[Any, Any]:
    """Return the listed values of a factor, each with the further keys it had before."""
    if any(choice is None or isinstance(choice, list | dict) for choice in choices):
        raise ConfigError(
            f"{place}: {choices} cannot pick from a mapping of values to further keys",
            "list plain values, or write a mapping",
        )
    return {choice: before.get(choice, {}) for choice in choices}


def _make_room(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Void what is replaced: OmegaConf refuses to merge a list with a mapping."""
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            _make_room(old[key], value)
        elif isinstance(old.get(key), list | dict):
            old[key] = None


def _expand_arm_bases(values: dict[str, Any], origins: dict[str, Origin]) -> None:
    """Put the own keys of an arm's `base` file before the keys of the arm, in place."""
    arms = values.get("arms")
    for name, overrides in arms.items() if isinstance(arms, dict) else ():
        if not isinstance(overrides, dict) or "base" not in overrides:
            continue
        origin = find_origin(f"arms.{name}.base", origins)
        path = _base_path(overrides.pop("base"), origin)
        layer = _read_layer(path, f"{origin}: base: ")
        own = {key: value for key, value in layer.values.items() if key not in _NOT_IN_ARMS}
        for key, value in flatten(own).items():
            if key not in overrides:
                overrides[key] = value
                origins[f"arms.{name}.{key}"] = layer.origins.get(key, Origin("file", path))
