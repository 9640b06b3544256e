"""The trials that find learning rates: which arm tries which rates, before any run.

    tune: {learning_rates: {full: [1e-5, 2e-5], lora: [1e-4, 2e-4]}, fixed: [lora-original]}

Every arm but the fixed ones is trained once at each rate of its method's grid and tested on the
validation problems. `planning/tuning` chooses from what they measured. A trial is an arm's config
with another rate, saves no weights and is tested under the main protocol alone. A lowest rate above
zero keeps its ratio to the rate, so the schedule keeps its shape. `design/spaces` has the arms that
search a `space` instead.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

from paribus.config.check import build_arm
from paribus.config.keys import nearest
from paribus.config.load import Loaded
from paribus.config.nested import flatten
from paribus.config.read import Origin, find_origin
from paribus.config.schema import ArmConfig, values_of
from paribus.config.spec import OPEN, RATE_KEYS, RunSpec, differing, made_alike
from paribus.design.arms import Arm
from paribus.errors import ConfigError

MAX_RATES = 50
RATE, _LOWEST = RATE_KEYS
_REMEDY = "fix each line above, or set tune=null"


def plan_trials(tuned: Sequence[Arm], loaded: Loaded) -> list[RunSpec]:
    """Return the trials of all arms, arm by arm, from the lowest rate; none without a grid.

    Raises ConfigError, which lists all that is wrong with `tune` at once.
    """
    tune = loaded.config.tune
    if tune is None or tune.space:
        return []
    trying = [arm for arm in tuned if arm.name not in tune.fixed]
    grids: dict[str, tuple[float, ...]] = asdict(tune.learning_rates)
    methods = sorted({arm.config.method for arm in trying})
    if gridless := [arm for arm in trying if arm.config.method not in grids]:
        arm = gridless[0]
        raise ConfigError(
            f"{find_origin('tune', loaded.origins)}: tune has no learning rates for "
            f"method={arm.config.method} (arm {arm.name})",
            f"state its rate and tune.fixed=[{arm.name}], or search with tune.space",
        )
    used = {method: grids[method] for method in methods}
    keys = {arm.name: (RATE,) for arm in trying}
    refuse_faults(
        [
            *name_faults(tuned, loaded),
            *_grid_faults(used, loaded),
            *arm_faults(trying, keys),
            *typed_faults([RATE], loaded),
        ]
    )
    return [
        trial_of(arm, with_values(arm.config, {RATE: rate}), f"lr-{rate!r}", loaded)
        for arm in trying
        for rate in used[arm.config.method]
    ]


def refuse_faults(faults: Sequence[str]) -> None:
    """Raise ConfigError if `tune` has any of these faults."""
    if faults:
        raise ConfigError("\n".join(faults), _REMEDY)


def with_values(
    config: ArmConfig,
    values: Mapping[str, Any],
    name: str = "",
    origins: Mapping[str, Origin] | None = None,
) -> ArmConfig:
    """Return `config` with other values by dotted key.

    A lowest rate that is not among them keeps its ratio to the learning rate. Raises ConfigError,
    about the arm `name`, if the values do not fit together.
    """
    flat = flatten(values_of(config)) | dict(values)
    del flat["evaluation.tasks"]
    if RATE in values and _LOWEST not in values:
        # Rounded to what a person would write: 1e-06 * (5e-05 / 1e-05) is not 5e-06 in binary.
        lowest = config.training.min_learning_rate * (values[RATE] / config.training.peak_rate)
        flat[_LOWEST] = float(f"{lowest:.9g}")
    changed, faults = build_arm(flat, origins or {}, name, lambda _: config.task)
    if changed is None:
        raise ConfigError("\n".join(faults), _REMEDY)
    return replace(changed, evaluation=config.evaluation)


def tuned_values(config: ArmConfig, keys: Collection[str]) -> dict[str, Any]:
    """Return what `config` has for each of the dotted keys."""
    flat = flatten(values_of(config))
    return {key: flat[key] for key in keys}


def tried_alike(trial: RunSpec, stored: Mapping[str, Any]) -> bool:
    """Return whether the trial of the `stored` identity serves for `trial`.

    How test problems are asked is nothing to it, but for the prompts that the loss stands after.
    """
    keys = differing(trial.identity(), stored)
    return made_alike(trial.identity(), stored) and "evaluation.protocol" not in keys


def open_identity(identity: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """Return the identity of a run whose values of `keys` are not found yet: it says "tuned"."""
    opened = dict(identity)
    for section, _, name in (key.partition(".") for key in keys):
        opened[section] = {**opened[section], name: OPEN}
    return opened


def trial_of(arm: Arm, config: ArmConfig, name: str, loaded: Loaded) -> RunSpec:
    """Return the trial `name` of an arm, with `config`: saves nothing, tested once."""
    return RunSpec(
        experiment=loaded.config.name,
        arm=arm.name,
        replicate=0,
        seed=loaded.config.seed,
        config=replace(
            config,
            training=replace(config.training, save_weights=False),
            evaluation=replace(
                config.evaluation, also=(), tasks=(), at=(), at_generates=False, checkpoint="last"
            ),
        ),
        trial=name,
    )


def name_faults(tuned: Sequence[Arm], loaded: Loaded) -> list[str]:
    """Return what is wrong with `tune.fixed`: names that are no arm's."""
    tune, names = loaded.config.tune, [arm.name for arm in tuned]
    place = find_origin("tune.fixed", loaded.origins)
    return [
        f"{place}: tune.fixed: {name!r} is not an arm that trains{nearest(name, names)}"
        for name in (tune.fixed if tune else ())
        if name not in names
    ]


def typed_faults(keys: Collection[str], loaded: Loaded) -> list[str]:
    """Return a line for each key that is typed, and that `tune` would replace."""
    return [
        f"command line: {key} is what tune chooses; type tune=null to state it"
        for key in keys
        if loaded.origins[key].kind == "command line"
    ]


def _grid_faults(used: Mapping[str, tuple[float, ...]], loaded: Loaded) -> list[str]:
    faults = []
    for method, rates in used.items():
        key = f"tune.learning_rates.{method}"
        ascending = all(low < high for low, high in pairwise(rates))
        if not 2 <= len(rates) <= MAX_RATES or not ascending:
            faults.append(
                f"{find_origin(key, loaded.origins)}: {key} must list 2 to {MAX_RATES} rates, "
                f"each higher than the one before, got {list(rates)[:8]}"
            )
    if len({len(rates) for rates in used.values()}) > 1:
        counts = " and ".join(f"{method} has {len(rates)}" for method, rates in used.items())
        place = find_origin("tune.learning_rates", loaded.origins)
        faults.append(
            f"{place}: tune.learning_rates: {counts} rates; give every method the same number of "
            "trials, or the comparison is not fair"
        )
    return faults


def arm_faults(trying: Sequence[Arm], keys: Mapping[str, Collection[str]]) -> list[str]:
    """Return why arms cannot be tuned: no validation problems, or a tuned key that is a factor."""
    faults = []
    for arm in trying:
        if arm.config.data.validation_size == 0:
            place = arm.origins["data.validation_size"]
            faults.append(
                f"{place}: arm {arm.name}: tune needs problems to choose by; set "
                "data.validation_size=200"
            )
        faults.extend(
            f"{arm.origins[key]}: arm {arm.name}: {key} is a factor of the matrix and "
            "tune would replace it; drop the factor, or list the arm in tune.fixed"
            for key in keys[arm.name]
            if arm.set_by.get(key) == key
        )
    return faults
