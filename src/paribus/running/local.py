"""Run an experiment on this machine, one run after the other.

Everything is checked first. Trials find the learning rates or other values that are open, then the
arms run.
Finished runs are kept; a failed run does not stop the others. Where looks are declared, the seeds
up to the next look are run, and whoever judges them says which arms continue.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from paribus.config.load import Loaded
from paribus.config.schema import ArmConfig, values_of
from paribus.config.spec import RunSpec, differences
from paribus.config.task_file import task_of
from paribus.design.matrix import Design
from paribus.errors import RunFailed, StoreError, UserError
from paribus.planning import devices
from paribus.planning.devices import timed
from paribus.planning.forecast import Forecast, Planned, forecast
from paribus.planning.machine import here
from paribus.planning.preflight import Warned, preflight, refuse, refused_arms
from paribus.planning.stored import as_stored, check_inputs, check_open, pending, refuse_another
from paribus.planning.survey import Prospect, precisions, settle_design, survey
from paribus.planning.tuning import choose_values, with_chosen
from paribus.running.isolated import get_ready, run_here, run_isolated
from paribus.running.progress import Progress
from paribus.running.searching import run_searches
from paribus.store.experiments import (
    DescribedArm,
    DescribedContrast,
    DescribedTrial,
    Description,
    read_description,
    write_description,
)
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.runs import RunState, fail, locked, put_in_place, state

OnRun = Callable[[RunSpec, Progress], None]
OnLook = Callable[[int], Collection[str]]
"""Judges the runs at a declared look, given its number of seeds; returns the arms that continue."""
Execute = Callable[[RunSpec, RunFolder, Callable[[Progress], None], Planned | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentOutcome:
    """How an experiment went.

    Attributes:
        ran: runs finished now.
        kept: runs that were complete before.
        failed: each run that failed, and why.
        more: in what the runs were tested on more than was asked: nothing was done then.
    """

    ran: int
    kept: int
    failed: tuple[tuple[RunSpec, str], ...]
    more: tuple[str, ...] = ()


def run_experiment(
    loaded: Loaded,
    design: Design,
    root: Path,
    on_progress: OnRun,
    on_checked: Callable[[Design, Sequence[Warned]], None] = lambda *_: None,
    on_look: OnLook = lambda _: (),
    *,
    isolate: bool = True,
    fork: bool = False,
) -> ExperimentOutcome:
    """Run what is not complete yet under `root`, and return how it went.

    `on_checked` is called with the settled design and what the rules found, before the first run;
    `on_look` is asked at each declared look, once all runs up to it are complete.
    With `fork` unfinished runs resume even where they were begun with other settings. Failures of
    single runs are in the result; what a failed trial tried can only not be chosen.

    Raises UserError before any compute is spent if something cannot work or an unfinished run was
    begun with other settings; in an independent design what cannot work fails alone. Raises
    StoreError if a complete run there was made from another spec, another process works there, or
    nothing can be written.
    """
    folder = ExperimentFolder(root / loaded.config.name)
    with locked(folder.lock):
        return _run_locked(
            loaded, design, folder, on_progress, on_checked, on_look, isolate=isolate, fork=fork
        )


def _run_locked(
    loaded: Loaded,
    design: Design,
    folder: ExperimentFolder,
    on_progress: OnRun,
    on_checked: Callable[[Design, Sequence[Warned]], None],
    on_look: OnLook,
    *,
    isolate: bool,
    fork: bool,
) -> ExperimentOutcome:
    root = folder.path.parent
    run: Execute = partial(run_isolated if isolate else run_here, fork=fork)
    for spec in design.runs:
        put_in_place(folder.of(spec))
    design = settle_design(design, folder, devices.device_here)
    if more := _tested_on_more(design, folder):
        return ExperimentOutcome(ran=0, kept=len(design.runs), failed=(), more=more)
    planned: dict[str, Planned] = {}
    prospects: list[Prospect] = []
    refused: dict[str, str] = {}
    trials = pending([trial for trial in design.trials if trial.arm in design.open], folder)
    check_open(design, folder)
    to_run = pending(_ready(design), folder)
    if design.open or to_run:
        machine = here(root)
        device = timed(machine.device, precisions(design))  # before anything else is busy
        if isolate:
            get_ready()
        inputs = check_inputs(design, folder)
        for spec in to_run:
            refuse_another(spec, inputs[spec.arm], folder.of(spec), fork=fork)
        prospects = survey(design, device, lambda arm: inputs[arm.name])
        to_do = [run for run in design.runs if run.arm in design.open or run in to_run]
        violations = preflight(prospects, replace(design, runs=to_do), loaded.config, machine)
        if design.independent:
            refused = refused_arms(violations)
        else:
            refuse(violations)
        on_checked(design, violations)
        planned = {p.arm: p.forecast.planned for p in prospects if p.forecast}
    elif not all(spec.config.task.preset for spec in design.runs) or any(_tasks(loaded).values()):
        check_inputs(design, folder)  # rows of one's own are edited: old results are not theirs
    _describe(loaded, design, folder)
    execute = partial(_execute, folder, on_progress, run, planned)
    if design.open:
        execute([trial for trial in trials if trial.arm not in design.searches])
        operations = partial(_operations, prospects)
        design = run_searches(design, folder, execute, operations)
        design = with_chosen(design, choose_values(design, folder, operations))
        planned |= _planned(prospects, design)
        _describe(loaded, design, folder)
    kept = len(_ready(design)) - len(pending(_ready(design), folder))
    no_run = [(spec, refused[spec.arm]) for spec in to_run if spec.arm in refused]
    for spec, _ in no_run:
        on_progress(spec, Progress(stage="failed"))
    design = replace(design, runs=[spec for spec in design.runs if spec.arm not in refused])
    ran, failed = _run_to_looks(design, folder, loaded.config.looks, execute, on_look)
    return ExperimentOutcome(
        ran=ran, kept=kept, failed=(*no_run, *_fail_open(design, folder), *failed)
    )


def _run_to_looks(
    design: Design,
    folder: ExperimentFolder,
    looks: Sequence[int] | None,
    execute: Callable[[Sequence[RunSpec]], list[tuple[RunSpec, str]]],
    on_look: OnLook,
) -> tuple[int, list[tuple[RunSpec, str]]]:
    """Run what is missing, all at once or from look to look; return how many were, and failures.

    Nothing is looked at while a run of it is missing.
    """
    ready = _ready(design)
    if not looks:
        to_run = pending(ready, folder)
        failed = execute(to_run)
        return len(to_run) - len(failed), failed
    ran, going = 0, {spec.arm for spec in ready}
    for seeds in looks:
        to_run = [
            run_spec for run_spec in ready if run_spec.arm in going and run_spec.replicate < seeds
        ]
        to_run = pending(to_run, folder)
        failed = execute(to_run)
        ran += len(to_run) - len(failed)
        if failed or design.open:
            return ran, failed
        going = set(on_look(seeds))
        if not going:
            break
    return ran, []


def _tested_on_more(design: Design, folder: ExperimentFolder) -> tuple[str, ...]:
    """Return in what all runs hold what is asked, and some more: what describes them stays too.

    Raises StoreError if files of theirs are gone.
    """
    stored = as_stored(design, folder)
    pairs = zip(design.runs, stored.runs, strict=True)
    lines = [line for a, b in pairs for line in differences(a.identity(), b.identity())]
    if lines:
        pending(stored.runs, folder)
    return tuple(dict.fromkeys(lines))


def _operations(prospects: Sequence[Prospect], spec: RunSpec) -> float | None:
    """Return the operations of a run's training; None if the model's shape is not known."""
    predicted = _forecast(prospects, spec)
    return predicted.flops if predicted else None


def _planned(prospects: Sequence[Prospect], design: Design) -> dict[str, Planned]:
    """Return what is expected of arms now that a search has found their values."""
    firsts = {run.arm: run for run in _ready(design) if run.arm in design.searches}
    forecasts = {arm: _forecast(prospects, run) for arm, run in firsts.items()}
    return {arm: predicted.planned for arm, predicted in forecasts.items() if predicted}


def _forecast(prospects: Sequence[Prospect], spec: RunSpec) -> Forecast | None:
    """Return what a run takes with the values it has; None if the model's shape is not known."""
    prospect = next(prospect for prospect in prospects if prospect.arm == spec.arm)
    if prospect.shape is None or prospect.forecast is None:
        return None
    device = prospect.forecast.device
    return forecast(spec.config, prospect.inputs, spec.stream, prospect.shape, device)


def _ready(design: Design) -> list[RunSpec]:
    """Return the runs whose values are known."""
    return [spec for spec in design.runs if spec.arm not in design.open]


def _execute(
    folder: ExperimentFolder,
    on_progress: OnRun,
    run: Execute,
    planned: Mapping[str, Planned],
    specs: Sequence[RunSpec],
) -> list[tuple[RunSpec, str]]:
    """Run `specs` one after the other; return each that failed, and why.

    `planned` is what is expected of each arm. Raises StoreError if the store cannot be used.
    """
    failed: list[tuple[RunSpec, str]] = []
    for spec in specs:
        try:
            run(spec, folder.of(spec), partial(on_progress, spec), planned.get(spec.arm))
        except StoreError:  # the disk: the next run would fail as this one did
            raise
        except (RunFailed, UserError) as error:
            failed.append((spec, str(error)))
            on_progress(spec, Progress(stage="failed"))
        else:
            on_progress(spec, Progress(stage="complete"))
    return failed


def _fail_open(design: Design, folder: ExperimentFolder) -> list[tuple[RunSpec, str]]:
    """Record that the runs of arms whose trials all failed cannot be done."""
    failed = []
    for spec in design.runs:
        if spec.arm in design.open and state(folder.of(spec)) is not RunState.COMPLETE:
            searched = spec.arm in design.searches
            error = RunFailed(
                f"{spec.title}: no {'values' if searched else 'learning rate'} could be chosen: "
                "all its trials failed",
                f"read their errors in {folder.tuning}, and change "
                f"tune.{'space' if searched else 'learning_rates'}",
            )
            fail(folder.of(spec), str(error), "")
            failed.append((spec, str(error)))
    return failed


def _describe(loaded: Loaded, design: Design, folder: ExperimentFolder) -> None:
    """Write `experiment.yaml`. Raises StoreError if independent arms would replace trained ones."""
    content = description(loaded, design)
    if design.independent and folder.description.exists():
        before = read_description(folder).arms
        if not all(arm.untuned for arm in before):
            raise StoreError(
                f"{folder.path} holds an experiment that trains, where baselines would be written",
                "give that experiment another name, or put baselines elsewhere with --runs DIR",
            )
        now = {arm.name for arm in content.arms}
        arms = [*(arm for arm in before if arm.name not in now), *content.arms]
        content = content.model_copy(update={"arms": arms})
    write_description(folder, content)


def _record(config: ArmConfig) -> dict[str, Any] | None:
    task = task_of(config)
    return None if task.preset else task.record()


def _tasks(loaded: Loaded) -> dict[str, dict[str, Any] | None]:
    """Return the records of the further tasks, by name; None of one that came with paribus."""
    tasks = [entry.task for entry in loaded.config.evaluation.tasks]
    return {task.task: None if task.preset else task.record() for task in tasks}


def description(loaded: Loaded, design: Design) -> Description:
    """Return the content of `experiment.yaml`."""
    identities = {spec.arm: design.identity(spec) for spec in reversed(design.runs)}
    return Description(
        config=values_of(loaded.config),
        origins={key: str(origin) for key, origin in loaded.origins.items()},
        arms=[
            DescribedArm(
                name=arm.name,
                factors=dict(arm.factors),
                identity=identities[arm.name],
                task=_record(arm.config),
            )
            for arm in design.arms
        ],
        contrasts=[DescribedContrast(**asdict(contrast)) for contrast in design.contrasts],
        trials=[
            DescribedTrial(
                arm=trial.arm,
                learning_rate=None if trial.number else trial.config.training.peak_rate,
                number=trial.number,
            )
            for trial in (*design.trials, *design.trials_to_come())
        ],
        tasks=_tasks(loaded),
    )
