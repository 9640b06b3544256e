"""The trials that find learning rates: which arm tries which rates, before any run.

    tune: {learning_rates: {full: [1e-5, 2e-5], lora: [1e-4, 2e-4]}, fixed: [lora-original]}

Every arm but the fixed ones is trained once at each rate of its method's grid and tested on the
validation problems. `planning/tuning` chooses from what they measured. A trial is an arm's config
with another rate, saves no weights and is tested under the main protocol alone. A lowest rate above
zero keeps its ratio to the rate, so the schedule keeps its shape.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

from paribus.config.keys import nearest
from paribus.config.load import Loaded
from paribus.config.read import find_origin
from paribus.config.schema import ArmConfig
from paribus.config.spec import RunSpec, differing, made_alike
from paribus.design.arms import Arm
from paribus.errors import ConfigError

MAX_RATES = 50
_RATE = "training.learning_rate"
_TUNED = "tuned"


def plan_trials(tuned: Sequence[Arm], loaded: Loaded) -> list[RunSpec]:
    """Return the trials of all arms, arm by arm, from the lowest rate; none without `tune`.

    Raises ConfigError, which lists all that is wrong with `tune` at once.
    """
    tune = loaded.config.tune
    if tune is None:
        return []
    trying = [arm for arm in tuned if arm.name not in tune.fixed]
    grids: dict[str, tuple[float, ...]] = asdict(tune.learning_rates)
    methods = sorted({str(arm.config.method) for arm in trying})
    used = {method: grids[method] for method in methods}
    faults = [*_name_faults(tuned, loaded), *_grid_faults(used, loaded), *_arm_faults(trying)]
    if loaded.origins[_RATE].kind == "command line":
        faults.append(f"command line: {_RATE} is what tune chooses; type tune=null to state it")
    if faults:
        raise ConfigError("\n".join(faults), "fix each line above, or set tune=null")
    return [_trial(arm, rate, loaded) for arm in trying for rate in used[arm.config.method]]


def with_rate(config: ArmConfig, rate: float) -> ArmConfig:
    """Return `config` with another learning rate; its lowest rate keeps its ratio to it."""
    training = config.training
    # Rounded to what a person would write: 1e-06 * (5e-05 / 1e-05) is not 5e-06 in binary.
    lowest = float(f"{training.min_learning_rate * (rate / training.peak_rate):.9g}")
    return replace(config, training=replace(training, learning_rate=rate, min_learning_rate=lowest))


def tried_alike(trial: RunSpec, stored: Mapping[str, Any]) -> bool:
    """Return whether the trial of the `stored` identity serves for `trial`.

    How test problems are asked is nothing to it, but for the prompts that the loss stands after.
    """
    keys = differing(trial.identity(), stored)
    return made_alike(trial.identity(), stored) and "evaluation.protocol" not in keys


def open_identity(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity of a run whose learning rate is not found yet: it says "tuned"."""
    return {**identity, "training": {**identity["training"], "learning_rate": _TUNED}}


def _trial(arm: Arm, rate: float, loaded: Loaded) -> RunSpec:
    config = with_rate(arm.config, rate)
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
        trial=True,
    )


def _name_faults(tuned: Sequence[Arm], loaded: Loaded) -> list[str]:
    tune, names = loaded.config.tune, [arm.name for arm in tuned]
    place = find_origin("tune.fixed", loaded.origins)
    return [
        f"{place}: tune.fixed: {name!r} is not an arm that trains{nearest(name, names)}"
        for name in (tune.fixed if tune else ())
        if name not in names
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


def _arm_faults(trying: Sequence[Arm]) -> list[str]:
    faults = []
    for arm in trying:
        if arm.config.data.validation_size == 0:
            place = arm.origins["data.validation_size"]
            faults.append(
                f"{place}: arm {arm.name}: tune needs problems to choose by; set "
                "data.validation_size=200"
            )
        if arm.set_by.get(_RATE) == _RATE:
            faults.append(
                f"{arm.origins[_RATE]}: arm {arm.name}: {_RATE} is a factor of the matrix and "
                "tune would replace it; drop the factor, or list the arm in tune.fixed"
            )
    return faults
