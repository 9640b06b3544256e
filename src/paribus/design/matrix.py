"""Expands an experiment into its arms, the contrasts between them and the runs to do.

    matrix:                                           # all factors crossed
      method:
        full: {training.learning_rate: 5e-5}          # comes with `full`
        lora: {training.learning_rate: 5e-4}
      data.variant: [main, socratic]
    arms:                                             # beside the matrix, by name
      lora-at-full-rate: {method: lora, training.learning_rate: 5e-5}

gives full-main, full-socratic, lora-main, lora-socratic, lora-at-full-rate and `baseline`.

Who wins, from weak to strong: the experiment's own values; a factor's value and the keys that
come with it, or the keys of a named arm; the command line. Someone who types
`training.max_steps=3` means every arm. A factor itself cannot be typed (`method=lora` would
void the design): `matrix.method=[lora]` picks from it, `matrix={}` and `arms={}` clear.
"""

import itertools
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from paribus.config.check import ARM_DEFAULTS, build_arm, guard_problems
from paribus.config.load import Loaded
from paribus.config.nested import flatten
from paribus.config.peft_method import is_peft
from paribus.config.read import Origin, find_origin
from paribus.config.schema import DEFAULT_RATES
from paribus.config.spec import RunSpec
from paribus.design.arms import Arm, arm_name, find_baselines, name_of, refuse_names, set_by_method
from paribus.design.pairs import (
    Contrast,
    auto_contrasts,
    listed_contrasts,
    refuse_equal_arms,
    refuse_unequal,
)
from paribus.design.spaces import Search, plan_searches
from paribus.design.trials import RATE, open_identity, plan_trials
from paribus.errors import ConfigError
from paribus.statistics.family import planned_effects

_BY_METHOD = {"full": Origin("default for full"), "lora": Origin("default for lora")}
MAX_ARMS = 256
MAX_RUNS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What an experiment does. Baselines are the first arms and have one run each.

    Attributes:
        arms: all conditions.
        contrasts: which of them are compared.
        apart: pairs that `contrasts: auto` leaves out, with all the factors in which they differ.
        runs: what is trained and tested.
        trials: what finds learning rates before that; of a search those that were begun.
        searches: by arm, how values in a space are searched for.
        open: arms whose learning rate, or other values, are still to be found; their runs are not
            final.
        effects: how many effects and interactions of the matrix are asked for.
        independent: whether nothing is compared: a rule that refuses one arm leaves the others, and
            arms that ran before stay in the store's description.
    """

    arms: list[Arm]
    contrasts: list[Contrast]
    runs: list[RunSpec]
    trials: list[RunSpec]
    open: frozenset[str]
    searches: dict[str, Search] = field(default_factory=dict)
    apart: list[Contrast] = field(default_factory=list)
    effects: int = 0
    independent: bool = False

    @property
    def comparisons(self) -> int:
        """Size of the family that shares the level."""
        return len(self.contrasts) + self.effects

    def identity(self, run: RunSpec) -> dict[str, Any]:
        """Return a run's identity as far as it is known: an open learning rate is "tuned"."""
        known = run.identity()
        return open_identity(known, self.keys(run.arm)) if run.arm in self.open else known

    def keys(self, arm: str) -> tuple[str, ...]:
        """Return the dotted keys that trials of `arm` find, if it has any."""
        return tuple(self.searches[arm].keys) if arm in self.searches else (RATE,)

    def trials_to_come(self, paid: Mapping[str, int] = MappingProxyType({})) -> list[RunSpec]:
        """Return a placeholder for each trial of a search whose values are not known yet.

        `paid` is how many trials a budget of operations pays for, by arm: else none are counted.
        """
        begun = Counter(trial.arm for trial in self.trials)
        return [
            search.placeholder(number)
            for arm, search in self.searches.items()
            if arm in self.open
            for number in range(begun[arm] + 1, (search.trials or paid.get(arm, 0)) + 1)
        ]

    def up_to(self, stops: Mapping[str, int]) -> "Design":
        """Return the design with at most `stops[arm]` seeds of each arm; other arms keep all."""
        runs = [run for run in self.runs if run.replicate < stops.get(run.arm, MAX_RUNS)]
        return replace(self, runs=runs)


@dataclass(slots=True, kw_only=True)
class _Draft:
    """What an arm sets beyond the experiment's own values, not checked yet."""

    name: str
    factors: dict[str, Any]
    values: dict[str, Any]
    origins: dict[str, Origin]
    set_by: dict[str, str]


def expand(loaded: Loaded, stored: Collection[str] = ()) -> Design:
    """Return the arms, contrasts and runs of an experiment; `stored` are arms that have runs.

    Runs come replicate by replicate, so that stopping early leaves whole replicates.
    Raises ConfigError: values of arms do not fit together (all are listed at once), a factor was
    typed, two arms share a name or are the same, the store uses a name for a file of its own,
    `tune` does not fit the arms, a contrast names no arm or is refused by `strict`, or there are
    more than `MAX_ARMS` arms in the matrix or more than `MAX_RUNS` runs.
    """
    _refuse_guards(loaded)
    drafts = _matrix_drafts(loaded, stored) + _named_drafts(loaded)
    tuned = _build(drafts or [_single_draft(loaded)], loaded)
    _refuse_trained_tasks(tuned, loaded)
    baseline_of = find_baselines(tuned, loaded)
    baselines = list({arm.name: arm for arm in baseline_of.values()}.values())
    refuse_names(loaded.config.name, baselines + tuned)
    trials, searches = plan_trials(tuned, loaded), plan_searches(tuned, loaded)
    design = Design(
        arms=baselines + tuned,
        contrasts=[],
        runs=_runs(baselines, tuned, loaded),
        trials=trials,
        searches=searches,
        open=frozenset([*(trial.arm for trial in trials), *searches]),
    )
    # Within one experiment two folders are two models, even if they share a name.
    identities = {
        run.arm: flatten(design.identity(run) | {"model": run.config.model})
        for run in design.runs
        if run.replicate == 0
    }
    refuse_equal_arms(identities)
    own = [(arm.name, baseline_of[arm.name].name) for arm in tuned if arm.name in baseline_of]
    pairs = loaded.config.contrasts
    apart: list[Contrast] = []
    if pairs == "auto":
        contrasts, apart = auto_contrasts(tuned, own, identities)
    else:
        place = find_origin("contrasts", loaded.origins)
        contrasts = listed_contrasts(pairs, baselines + tuned, own, identities, place)
    if loaded.config.strict:
        refuse_unequal(contrasts, identities, find_origin("strict", loaded.origins))
    factors = {
        key: [*map(str, choices)] for key, choices in loaded.values.get("matrix", {}).items()
    }
    effects = len(planned_effects(factors))
    return replace(design, contrasts=contrasts, apart=apart, effects=effects)


def _refuse_guards(loaded: Loaded) -> None:
    """Raise ConfigError if a task is guarded that no arm is tested on, or has no baseline."""
    config = loaded.config
    tasks = {entry.task.task: entry.task for entry in config.evaluation.tasks}
    faults = guard_problems(config.guard, tasks, loaded.origins)
    if config.guard and config.baseline is None:
        place = find_origin("guard", loaded.origins)
        faults.append(
            f"{place}: guard compares each arm with its untuned model, and there is none; leave "
            "baseline: null out"
        )
    if faults:
        raise ConfigError("\n".join(faults), "fix each line above, or leave guard out")


def _refuse_trained_tasks(tuned: Sequence[Arm], loaded: Loaded) -> None:
    """Raise ConfigError if an arm is trained on what others are tested on as a further task."""
    further = {entry.task.task for entry in loaded.config.evaluation.tasks}
    for arm in tuned:
        if arm.config.task.task in further:
            place = find_origin("evaluation.tasks", loaded.origins)
            raise ConfigError(
                f"{place}: evaluation.tasks: {arm.config.task.task} is what arm {arm.name} is "
                "trained on: there it would forget nothing",
                "leave it out: each arm is tested on its own task anyway",
            )


def _matrix_drafts(loaded: Loaded, stored: Collection[str]) -> list[_Draft]:
    """Return one draft for each combination of the factors' values."""
    matrix: dict[str, Any] = loaded.values.get("matrix", {})
    size = math.prod(len(choices) for choices in matrix.values())
    if size > MAX_ARMS:
        place = find_origin("matrix", loaded.origins)
        raise ConfigError(f"{place}: matrix has {size} arms, over {MAX_ARMS}", "drop values")
    for factor, choices in matrix.items():
        if loaded.origins[factor].kind == "command line":
            raise ConfigError(
                f"command line: {factor} is a factor of the matrix, so each arm has its own",
                f"pick from its values: matrix.{factor}=[{next(iter(choices))}]",
            )
    combinations = itertools.product(*matrix.values()) if matrix else ()
    arms = [dict(zip(matrix, choices, strict=True)) for choices in combinations]
    names = _names(arms, stored)
    return [
        _combine(matrix, name, factors, loaded.origins)
        for name, factors in zip(names, arms, strict=True)
    ]


def _names(arms: Sequence[Mapping[str, Any]], stored: Collection[str]) -> list[str]:
    """Return the arms' names: as earlier versions gave them where only such have runs."""
    now = [arm_name(factors) for factors in arms]
    former = [name_of(list(factors.values())) for factors in arms]
    begun = set(stored)
    by_former = begun & (set(former) - set(now)) and not begun & (set(now) - set(former))
    return former if by_former else now


def _combine(
    matrix: Mapping[str, Any],
    name: str,
    factors: dict[str, Any],
    origins: Mapping[str, Origin],
) -> _Draft:
    """Return the draft of one value for each factor, with the keys that come with the values."""
    draft = _Draft(
        name=name,
        factors=factors,
        values=dict(factors),
        origins={factor: find_origin(f"matrix.{factor}", origins) for factor in factors},
        set_by={factor: factor for factor in factors},
    )
    for factor, choice in factors.items():
        bundle = matrix[factor][choice] if isinstance(matrix[factor], dict) else {}
        for key, value in bundle.items():
            place = find_origin(f"matrix.{factor}.{choice}.{key}", origins)
            if key in draft.set_by:
                by = " and ".join(f"{name}={factors[name]}" for name in (draft.set_by[key], factor))
                raise ConfigError(
                    f"{place}: arm {draft.name}: {key} is set by {by}",
                    "let one factor set it, or list the arms by name under arms:",
                )
            draft.values[key], draft.set_by[key], draft.origins[key] = value, factor, place
    return draft


def _named_drafts(loaded: Loaded) -> list[_Draft]:
    """Return one draft for each entry of `arms`."""
    arms: dict[str, dict[str, Any]] = loaded.values.get("arms", {})
    return [
        _Draft(
            name=name,
            factors=dict(overrides),
            values=overrides,
            origins={key: find_origin(f"arms.{name}.{key}", loaded.origins) for key in overrides},
            set_by={},
        )
        for name, overrides in arms.items()
    ]


def _single_draft(loaded: Loaded) -> _Draft:
    """Return the only arm of an experiment that has neither matrix nor arms."""
    name = name_of([loaded.config.method, loaded.config.data.variant])
    return _Draft(name=name, factors={}, values={}, origins={}, set_by={})


def _build(drafts: Sequence[_Draft], loaded: Loaded) -> list[Arm]:
    """Return the checked arms: the experiment's values, then a draft's, then what was typed."""
    shared = {key: value for key, value in flatten(loaded.values).items() if key in ARM_DEFAULTS}
    origins = {key: loaded.origins[key] for key in ARM_DEFAULTS}
    typed = {key for key, origin in origins.items() if origin.kind == "command line"}
    arms: list[Arm] = []
    problems: list[str] = []
    for draft in drafts:
        own = draft.values.keys() - typed
        values = shared | {key: draft.values[key] for key in draft.values if key in own}
        places = origins | {key: draft.origins[key] for key in own}
        by_default = values.get(RATE) is None
        method = values.get("method", ARM_DEFAULTS["method"])
        if by_default and method in DEFAULT_RATES:
            values[RATE] = DEFAULT_RATES[method]
            places[RATE] = _BY_METHOD[method]
        if by_default and is_peft(method) and not _tuned(draft.name, loaded):
            problems.append(
                f"{find_origin('method', places)}: arm {draft.name}: method={method} has no "
                "learning rate of its own here; set training.learning_rate, such as 1e-3"
            )
        config, faults = build_arm(values, places, draft.name, loaded.read_task)
        problems += faults
        if config is not None:
            factors = {key: value for key, value in draft.factors.items() if key in own}
            set_by = {key: factor for key, factor in draft.set_by.items() if key in own}
            set_by = set_by_method(factors, set_by, by_default=by_default)
            arm = Arm(
                name=draft.name, config=config, factors=factors, set_by=set_by, origins=places
            )
            arms.append(arm)
    if problems:
        raise ConfigError("\n".join(problems), "fix each line above")
    return arms


def _tuned(arm: str, loaded: Loaded) -> bool:
    """Return whether trials will find the arm's learning rate."""
    tune = loaded.config.tune
    return tune is not None and arm not in tune.fixed


def _runs(baselines: Sequence[Arm], tuned: Sequence[Arm], loaded: Loaded) -> list[RunSpec]:
    """Return the runs in the order in which they are done."""
    config = loaded.config
    size = len(baselines) + len(tuned) * config.seeds
    if size > MAX_RUNS:
        place = find_origin("seeds", loaded.origins)
        raise ConfigError(
            f"{place}: {len(tuned)} arms with seeds={config.seeds} make {size:,} runs, over"
            f" {MAX_RUNS:,}",
            "lower seeds",
        )
    pairs = [(arm, 0) for arm in baselines]
    pairs += [(arm, replicate) for replicate in range(config.seeds) for arm in tuned]
    return [
        RunSpec(
            experiment=config.name,
            arm=arm.name,
            replicate=replicate,
            seed=config.seed,
            config=arm.config,
        )
        for arm, replicate in pairs
    ]
