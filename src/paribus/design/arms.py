"""One condition of an experiment, its name, and the untrained arm to compare it with.

    name_of(["lora", "main"])                         # "lora-main"
    arm_name({"model": "google/gemma-2b-it", "lora.r": 4})      # "gemma-2b-it-r=4"
    find_baselines(tuned, loaded)["lora-main"].name   # "baseline"

A name is a folder, a label in figures and what `contrasts` lists, so it is short, safe on
every file system and never given to two arms.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from paribus.config.check import ARM_DEFAULTS
from paribus.config.load import Loaded
from paribus.config.read import Origin
from paribus.config.schema import ArmConfig
from paribus.config.spec import RATE_KEYS
from paribus.errors import ConfigError
from paribus.store.layout import is_taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One condition, by name.

    Attributes:
        name: unique in the experiment, and a folder's name.
        config: every value.
        factors: factor → value for an arm of the matrix, overrides for a named arm, else {}.
        set_by: for an arm of the matrix, key → the factor that set it; for any arm, the rates that
            its method brings with it, by default or stated beside it → `method`.
        origins: dotted key → where the value was set, for every key.
    """

    name: str
    config: ArmConfig
    factors: dict[str, Any]
    set_by: dict[str, str]
    origins: dict[str, Origin]


def find_baselines(tuned: Sequence[Arm], loaded: Loaded) -> dict[str, Arm]:
    """Return the baseline of each tuned arm, by the arm's name: one per model, format and task."""
    top, baseline = loaded.config, loaded.config.baseline
    if baseline is None:
        return {}
    first: dict[_Kind, Arm] = {}
    for arm in tuned:
        first.setdefault(_kind(arm), arm)
    made = {}
    for kind, arm in first.items():
        # The model is always named; the others only where they tell baselines apart.
        also = [p for own in tuned if _kind(own) == kind for p in own.config.evaluation.also]
        told = [kind[place] for place in (1, 2, 3) if len({other[place] for other in first}) > 1]
        config = ArmConfig(
            model=arm.config.model,
            task=arm.config.task,
            revision=arm.config.revision,
            method="none",
            data=top.data,
            prompt=replace(top.prompt, format=arm.config.prompt.format),
            lora=top.lora,
            training=top.training,
            # Whatever its arms are tested under, so that each has something to compare with.
            evaluation=replace(
                top.evaluation, protocol=baseline.protocol, also=tuple(dict.fromkeys(also))
            ),
        )
        origins = {key: loaded.origins[key] for key in ARM_DEFAULTS}
        origins |= {key: arm.origins[key] for key in ("model", "task", "revision", "prompt.format")}
        asked = loaded.origins["baseline.protocol"]
        origins |= {"method": asked, "evaluation.protocol": asked}
        name = name_of(["baseline", kind[0], *told]) if len(first) > 1 else "baseline"
        made[kind] = Arm(name=name, config=config, factors={}, set_by={}, origins=origins)
    return {arm.name: made[_kind(arm)] for arm in tuned}


_Kind: TypeAlias = tuple[str, str | None, str, str]


def _kind(arm: Arm) -> _Kind:
    """Return what an arm shares with its baseline alone."""
    return arm.config.model, arm.config.revision, arm.config.prompt.format, arm.config.task.source


def set_by_method(
    factors: Mapping[str, Any], set_by: Mapping[str, str], *, by_default: bool
) -> dict[str, str]:
    """Return `set_by` with the rates that a method brings: by default, or stated beside it."""
    stated = [key for key in RATE_KEYS if {key, "method"} <= factors.keys()]
    keys = [*stated, *RATE_KEYS[: int(by_default)]]
    return {**dict.fromkeys(keys, "method"), **set_by}


def refuse_names(experiment: str, arms: Sequence[Arm]) -> None:
    """Raise ConfigError if two arms would share a folder, on any file system, or take another's."""
    if is_taken(experiment):
        raise ConfigError(
            f"no experiment can be called {experiment}: its own folders use that name",
            "give it another name: name: …, or name=… on the command line",
        )
    seen: dict[str, Arm] = {}
    for arm in arms:
        if is_taken(arm.name):
            raise ConfigError(
                f"no arm can be called {arm.name} ({_described(arm)}): the experiment's own files "
                "and folders use that name",
                "list the arm under arms:, with another name",
            )
        other = seen.setdefault(arm.name.lower(), arm)
        if other is not arm:
            both = " and ".join(f"{one.name} ({_described(one)})" for one in (other, arm))
            raise ConfigError(
                f"two arms would share the name {arm.name}: {both}",
                "list them under arms:, each under a different name",
            )


def _described(arm: Arm) -> str:
    sets = ", ".join(f"{key}={value}" for key, value in arm.factors.items())
    return sets or ("the untrained arm" if arm.config.method == "none" else "nothing set")


def arm_name(factors: Mapping[str, Any]) -> str:
    """Return the name of the matrix's arm with these values: `lora-main`, `full-r=4`.

    A text speaks for itself; of a number, a truth value or null the factor's last part says which.
    """
    return _joined(
        _slug(value) if isinstance(value, str) or (isinstance(value, list) and value)
        else f"{factor.rpartition('.')[2]}={'null' if value is None else _slug(value)}"
        for factor, value in factors.items()
    )  # fmt: skip


def name_of(values: Sequence[Any]) -> str:
    """Return the values joined by dashes, safe as a folder's name and at most 64 long."""
    return _joined(map(_slug, values))


def _joined(parts: Iterable[str]) -> str:
    name = "-".join(parts)
    if len(name) <= 64:
        return name
    return f"{name[:55]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _slug(value: Any) -> str:
    """Return a value as part of a name: `1e-05`, `true`, `gemma-2b-it` for google/gemma-2b-it."""
    if isinstance(value, list):
        return "_".join(_slug(item) for item in value) or "none"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    last = str(value).rstrip("/").rpartition("/")[2].removesuffix(".yaml")  # a task file's
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("._-") or "x"
