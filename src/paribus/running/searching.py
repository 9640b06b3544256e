"""Run the trials of arms that search a space: each follows from what those before it measured.

    design = run_searches(design, folder, execute, operations)     # with all trials in it

Trials in the store are not run again; the search continues behind the last of them. A failed one
stays failed, unless all have: then its cause lies outside the values that were tried.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from paribus.config.spec import RunSpec
from paribus.design.matrix import Design
from paribus.design.spaces import MAX_TRIALS, Search
from paribus.design.trials import tuned_values
from paribus.errors import StoreError
from paribus.planning.search import Study
from paribus.planning.stored import is_complete
from paribus.planning.tuning import read_trial
from paribus.store.layout import ExperimentFolder
from paribus.store.runs import RunState, state

Execute = Callable[[Sequence[RunSpec]], Any]
Operations = Callable[[RunSpec], float | None]


def run_searches(
    design: Design, folder: ExperimentFolder, execute: Execute, operations: Operations
) -> Design:
    """Return the design with the trials of every open search, which are complete or failed then.

    `execute` runs trials; `operations` says what the training of one takes. Raises StoreError if
    what lies in the place of a trial was tried for another search, ConfigError if a space has too
    few values.
    """
    for arm, search in design.searches.items():
        if arm in design.open:
            begun = [trial for trial in design.trials if trial.arm == arm]
            trials = _search(search, begun, folder, execute, operations)
            others = [trial for trial in design.trials if trial.arm != arm]
            design = replace(design, trials=[*others, *trials])
    return design


def _search(
    search: Search,
    begun: Sequence[RunSpec],
    folder: ExperimentFolder,
    execute: Execute,
    operations: Operations,
) -> list[RunSpec]:
    study, trials, spent = Study(search), list[RunSpec](), 0.0
    some_worked = any(is_complete(trial, folder) for trial in begun)
    while len(trials) < (search.trials or MAX_TRIALS):
        trial = study.propose()
        if search.flops:
            spent += operations(trial) or 0.0
            if spent > search.flops:
                break
        if len(trials) < len(begun):
            _refuse_other(trial, begun[len(trials)], search, folder)
        failed = state(folder.of(trial)) is RunState.FAILED
        if not is_complete(trial, folder) and not (failed and some_worked):
            execute([trial])
        trials.append(trial)
        study.tell(read_trial(trial, folder.of(trial)).nll_per_token)
    return trials


def _refuse_other(trial: RunSpec, begun: RunSpec, search: Search, folder: ExperimentFolder) -> None:
    """Raise StoreError if the stored trial has other values than the search proposes now."""
    now, stored = (tuned_values(spec.config, search.keys) for spec in (trial, begun))
    lines = [
        f"{key}: {stored[key]} → {value}" for key, value in now.items() if value != stored[key]
    ]
    if lines:
        raise StoreError(
            "\n  ".join([f"{folder.of(trial).path} was tried for another search:", *lines]),
            "go back to that tune.space, tune.sampler and version of optuna; or run under another "
            "name (name=…)",
        )
