"""Chooses each arm's learning rate, or other values, from its trials, and puts it into the design.

    best_trial([tried(1e-5, nll=1.20), tried(2e-5, nll=1.05), tried(5e-5, state="failed")])
    # the trial at 2e-5

The lowest held-out loss per token wins. What was chosen is kept in `tuning.json` together with the
fingerprints of its trials: while these are what the experiment asks for, no trial is repeated.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Literal

import numpy as np

from paribus.config.keys import SCHEMA
from paribus.config.nested import flatten
from paribus.config.read import Origin
from paribus.config.spec import RunSpec
from paribus.design.matrix import Design
from paribus.design.spaces import Search, ends_of
from paribus.design.trials import tried_alike, tuned_values, with_values
from paribus.errors import ConfigError
from paribus.evaluation.scorers import scorers_of
from paribus.files import UNREADABLE, read_json
from paribus.records import Outcome
from paribus.statistics.groups import numbered, squares
from paribus.store.experiments import ArmTuning, Searched, Tried, read_tuning, write_tuning
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.results import read_result
from paribus.store.runs import RunState, read_generations, read_heldout, state
from paribus.store.status import run_status

TIE = 1e-12
"""Losses per token that differ by no more are equal."""
NEAR_END = 0.05
"""Share of a range that counts as its end."""


def best_trial(trials: Sequence[Tried]) -> Tried | None:
    """Return the trial with the lowest loss, or None if none has any.

    Ties go to the one that solved more, then to the lower rate, in a search to the earlier trial.
    """
    measured = [(trial.nll_per_token, trial) for trial in trials if trial.nll_per_token is not None]
    if not measured:
        return None
    lowest = min(nll for nll, _ in measured)
    best = [tried for nll, tried in measured if nll <= lowest + TIE]
    return min(best, key=lambda tried: (-(tried.solved or 0), tried.learning_rate or 0))


def edge(chosen: float, values: Sequence[float]) -> Literal["low", "high"] | None:
    """Return the end of a grid if the chosen value is there: a better one may be outside."""
    if chosen == min(values):
        return "low"
    return "high" if chosen == max(values) else None


def edges(keys: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Literal["low", "high"]]:
    """Return the keys whose value lies at an end of what was searched, with that end.

    The outer twentieths of a range are its ends. Below the least that a key takes, as 0 for a
    share, there is nothing to find.
    """
    ends = {key: _end(keys[key], value) for key, value in values.items()}
    return {
        key: end
        for key, end in ends.items()
        if end and not (end == "low" and min(ends_of(keys[key])) == SCHEMA[key].get("minimum"))
    }


def _end(choices: Any, value: Any) -> Literal["low", "high"] | None:
    if isinstance(choices, list):
        numeric = all(isinstance(n, int | float) and not isinstance(n, bool) for n in choices)
        return edge(value, choices) if numeric else None
    scale = math.log if choices["log"] else float
    low, high, at = (scale(number) for number in (choices["low"], choices["high"], value))
    share = (at - low) / (high - low)
    return "low" if share <= NEAR_END else "high" if share >= 1 - NEAR_END else None


def with_chosen(design: Design, chosen: Mapping[str, Mapping[str, Any]]) -> Design:
    """Return the design with the values found: arm's name to dotted key to value."""
    arms = [
        replace(
            arm,
            config=with_values(arm.config, chosen[arm.name], arm.name, arm.origins),
            origins={**arm.origins, **dict.fromkeys(chosen[arm.name], Origin("tune"))},
        )
        if arm.name in chosen
        else arm
        for arm in design.arms
    ]
    configs = {arm.name: arm.config for arm in arms}
    runs = [replace(run, config=configs[run.arm]) for run in design.runs]
    return replace(design, arms=arms, runs=runs, open=design.open - chosen.keys())


def with_begun(design: Design, folder: ExperimentFolder) -> Design:
    """Return the design with the trials of its searches that were begun before."""
    begun = [trial for search in design.searches.values() for trial in _begun(search, folder)]
    return replace(design, trials=[*design.trials, *begun])


def _begun(search: Search, folder: ExperimentFolder) -> list[RunSpec]:
    """Return the trials that lie in the store, with the values that they were begun with."""
    trials = list[RunSpec]()
    for number in count(1):
        path = folder.of(search.placeholder(number)).spec
        try:
            stored = flatten(read_json(path)["identity"])
            trials.append(search.trial(number, {key: stored.get(key) for key in search.keys}))
        except (ConfigError, *UNREADABLE):  # what lies there is refused when its turn comes
            break
    return trials


def known_values(design: Design, folder: ExperimentFolder) -> dict[str, dict[str, Any]]:
    """Return what was found before, by arm, from trials that are still what is asked for."""
    recorded = read_tuning(folder)
    chosen = {}
    for arm in sorted(design.open & recorded.keys()):
        asked = [trial for trial in design.trials if trial.arm == arm]
        row = recorded[arm]
        before = [trial.fingerprint for trial in row.trials]
        if (
            row.values is not None
            and _asked(row) == _asked_now(design, arm)
            and len(before) == len(asked)
            and all(_is_made(trial, old, folder) for trial, old in zip(asked, before, strict=True))
        ):
            chosen[arm] = row.values
    return chosen


def _asked(row: ArmTuning) -> dict[str, Any] | None:
    return row.search.asked if row.search else None


def _asked_now(design: Design, arm: str) -> dict[str, Any] | None:
    search = design.searches.get(arm)
    return json.loads(json.dumps(search.asked())) if search else None


def _is_made(trial: RunSpec, fingerprint: str, folder: ExperimentFolder) -> bool:
    """Return whether the recorded trial with this fingerprint is the one asked for, or serves."""
    if trial.fingerprint == fingerprint:
        return True
    path = folder.of(trial).spec
    stored = read_json(path) if path.exists() else {}
    return stored.get("fingerprint") == fingerprint and tried_alike(trial, stored["identity"])


def choose_values(
    design: Design, folder: ExperimentFolder, flops: Callable[[RunSpec], float | None]
) -> dict[str, dict[str, Any]]:
    """Choose the values of each open arm from its finished trials, and record all of them.

    `flops` says what a trial's training takes. An arm of whose trials none can be chosen has no
    values. Raises StoreError.
    """
    rows = {arm: row for arm, row in read_tuning(folder).items() if arm not in design.open}
    chosen = {}
    for arm in (arm.name for arm in design.arms if arm.name in design.open):
        trials = [trial for trial in design.trials if trial.arm == arm]
        search = design.searches.get(arm)
        rows[arm] = (
            _searched(search, trials, folder, flops)
            if search
            else _of_grid([read_trial(trial, folder.of(trial)) for trial in trials])
        )
        if values := rows[arm].values:
            chosen[arm] = values
    write_tuning(folder, rows)
    return chosen


def _of_grid(trials: Sequence[Tried]) -> ArmTuning:
    best = best_trial(trials)
    rate = best.learning_rate if best else None
    rates = [trial.learning_rate for trial in trials if trial.learning_rate is not None]
    return ArmTuning(
        chosen=rate, edge=None if rate is None else edge(rate, rates), trials=list(trials)
    )


def _searched(
    search: Search,
    specs: Sequence[RunSpec],
    folder: ExperimentFolder,
    flops: Callable[[RunSpec], float | None],
) -> ArmTuning:
    trials = [
        read_trial(spec, folder.of(spec)).model_copy(
            update={
                "learning_rate": None,
                "values": tuned_values(spec.config, search.keys),
                "flops": flops(spec),
                "nll_error": loss_error(folder.of(spec)),
            }
        )
        for spec in specs
    ]
    best = best_trial(trials)
    return ArmTuning(
        chosen=None,
        edge=None,
        trials=trials,
        search=Searched(
            asked=search.asked(),
            best=trials.index(best) if best else None,
            edges=edges(search.keys, best.values or {}) if best else {},
        ),
    )


def loss_error(folder: RunFolder) -> float | None:
    """Return the standard error over problems of a trial's loss per token; None if it has none."""
    rows = read_heldout(folder.heldout) if folder.heldout.exists() else []
    nats = [row.nll for row in rows if row.nll is not None]
    if len(nats) < max(len(rows), 2):
        return None
    tokens = np.array([row.tokens for row in rows])
    groups = numbered([row.group for row in rows])
    alone = np.arange(len(rows)) if groups is None else groups
    residuals = np.array(nats) - sum(nats) / tokens.sum() * tokens
    return math.sqrt(squares(residuals, alone, tokens)) / float(tokens.sum())


def read_trial(spec: RunSpec, folder: RunFolder) -> Tried:
    """Return what the trial in `folder` came to."""
    rate, fingerprint = spec.config.training.peak_rate, spec.fingerprint
    if state(folder) is not RunState.COMPLETE:
        # A process that is killed before it has begun leaves nothing behind.
        error = run_status(folder).error or "it ended before it had begun"
        return Tried(
            learning_rate=rate, state=RunState.FAILED.value, fingerprint=fingerprint, error=error
        )
    result = read_result(folder.result)
    generations = read_generations(folder.generations(result.evaluation.protocol))
    scorers = scorers_of(spec.config.task, spec.config.evaluation.answer)
    outcomes = [scorers.outcome(written) for written in generations]
    return Tried(
        learning_rate=rate,
        state=RunState.COMPLETE.value,
        fingerprint=fingerprint,
        nll_per_token=result.heldout.nll_per_token if result.heldout else None,
        solved=outcomes.count(Outcome.CORRECT) if scorers.binary else None,
        n=len(generations),
        seconds=result.seconds,
    )
