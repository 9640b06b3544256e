"""Chooses each arm's learning rate from its trials, and puts it into the design.

    best_trial([tried(1e-5, nll=1.20), tried(2e-5, nll=1.05), tried(5e-5, state="failed")])
    # the trial at 2e-5

The lowest held-out loss per token wins. What was chosen is kept in `tuning.json` together with the
fingerprints of its trials: while these are what the experiment asks for, no trial is repeated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from paribus.config.read import Origin
from paribus.config.spec import RunSpec
from paribus.config.task_file import task_of
from paribus.design.matrix import Design
from paribus.design.trials import tried_alike, with_rate
from paribus.evaluation.scorers import scorers_of
from paribus.files import read_json
from paribus.records import Outcome
from paribus.store.experiments import ArmTuning, Tried, read_tuning, write_tuning
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.results import read_result
from paribus.store.runs import RunState, read_generations, state
from paribus.store.status import run_status

TIE = 1e-12
"""Losses per token that differ by no more are equal."""


def best_trial(trials: Sequence[Tried]) -> Tried | None:
    """Return the trial with the lowest loss, or None if none has any.

    Ties go to the one that solved more, then to the lower rate.
    """
    measured = [(trial.nll_per_token, trial) for trial in trials if trial.nll_per_token is not None]
    if not measured:
        return None
    lowest = min(nll for nll, _ in measured)
    best = [tried for nll, tried in measured if nll <= lowest + TIE]
    return min(best, key=lambda tried: (-(tried.solved or 0), tried.learning_rate))


def edge(chosen: Tried, trials: Sequence[Tried]) -> Literal["low", "high"] | None:
    """Return the end of the grid if the chosen rate is there: a better one may be outside."""
    rates = [trial.learning_rate for trial in trials]
    if chosen.learning_rate == min(rates):
        return "low"
    return "high" if chosen.learning_rate == max(rates) else None


def with_rates(design: Design, rates: Mapping[str, float]) -> Design:
    """Return the design with the learning rates found: arm's name to rate."""
    arms = [
        replace(
            arm,
            config=with_rate(arm.config, rates[arm.name]),
            origins={**arm.origins, "training.learning_rate": Origin("tune")},
        )
        if arm.name in rates
        else arm
        for arm in design.arms
    ]
    configs = {arm.name: arm.config for arm in arms}
    runs = [replace(run, config=configs[run.arm]) for run in design.runs]
    return replace(design, arms=arms, runs=runs, open=design.open - rates.keys())


def known_rates(design: Design, folder: ExperimentFolder) -> dict[str, float]:
    """Return the rates found before, by arm, from trials that are still what is asked for."""
    recorded = read_tuning(folder)
    rates = {}
    for arm in sorted(design.open & recorded.keys()):
        asked = [trial for trial in design.trials if trial.arm == arm]
        row = recorded[arm]
        before = [trial.fingerprint for trial in row.trials]
        if (
            row.chosen is not None
            and len(before) == len(asked)
            and all(_is_made(trial, old, folder) for trial, old in zip(asked, before, strict=True))
        ):
            rates[arm] = row.chosen
    return rates


def _is_made(trial: RunSpec, fingerprint: str, folder: ExperimentFolder) -> bool:
    """Return whether the recorded trial with this fingerprint is the one asked for, or serves."""
    if trial.fingerprint == fingerprint:
        return True
    path = folder.of(trial).spec
    stored = read_json(path) if path.exists() else {}
    return stored.get("fingerprint") == fingerprint and tried_alike(trial, stored["identity"])


def choose_rates(design: Design, folder: ExperimentFolder) -> dict[str, float]:
    """Choose the rate of each open arm from its finished trials, and record all of them.

    An arm of whose trials none can be chosen has no rate. Raises StoreError.
    """
    rows = {arm: row for arm, row in read_tuning(folder).items() if arm not in design.open}
    rates = {}
    for arm in (arm.name for arm in design.arms if arm.name in design.open):
        trials = [_read(trial, folder.of(trial)) for trial in design.trials if trial.arm == arm]
        chosen = best_trial(trials)
        if chosen:
            rates[arm] = chosen.learning_rate
        rows[arm] = ArmTuning(
            chosen=chosen.learning_rate if chosen else None,
            edge=edge(chosen, trials) if chosen else None,
            trials=trials,
        )
    write_tuning(folder, rows)
    return rates


def _read(spec: RunSpec, folder: RunFolder) -> Tried:
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
    scorers = scorers_of(task_of(spec.config), spec.config.evaluation.answer)
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
