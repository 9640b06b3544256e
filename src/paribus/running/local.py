"""Run an experiment: everything is checked, what is missing is run, what is complete is kept.

    run_experiment(loaded, design, Path("runs"), on_run, executor=partial(on_this_machine, 4))

Trials find the learning rates or other values that are open, then the arms run. Where looks are
declared, the seeds up to the next look are run, and whoever judges them says which arms continue.
Several commands may run one experiment: the first checks and describes it alone, then all share it.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from paribus.config.load import Loaded
from paribus.config.spec import RunSpec, differences
from paribus.design.matrix import Design
from paribus.design.parts import Part
from paribus.errors import InUse, RunFailed
from paribus.planning import devices
from paribus.planning.devices import timed
from paribus.planning.forecast import Forecast, Planned, forecast
from paribus.planning.machine import here
from paribus.planning.preflight import Warned, preflight, refuse, refused_arms
from paribus.planning.stored import as_stored, check_inputs, check_open, pending, refuse_another
from paribus.planning.survey import Prospect, precisions, settle_design, survey
from paribus.planning.tuning import choose_values, with_chosen
from paribus.running.describing import describe, task_records
from paribus.running.describing import refuse_another as refuse_another_experiment
from paribus.running.executing import Executor, OnRun, Request, Results, carry_out
from paribus.running.processes import on_this_machine
from paribus.running.progress import Progress
from paribus.running.searching import run_searches
from paribus.store.layout import ExperimentFolder
from paribus.store.locks import Joining, briefly, joined, locked
from paribus.store.runs import RunState, fail, put_in_place, state

OnLook = Callable[[int], Collection[str]]
"""Judges the runs at a declared look, given its number of seeds; returns the arms that continue."""
Execute = Callable[[Sequence[RunSpec]], Results]


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How runs are done, beside what the experiment's file says.

    Attributes:
        executor: gives what does them; asked for once something is to be done.
        fork: whether unfinished runs resume even where they were begun with other settings.
        on_wait: told who else is checking the experiment, and waited for.
        part: which runs are to be done.
    """

    executor: Callable[[], Executor] = on_this_machine
    fork: bool = False
    on_wait: Callable[[str], None] = lambda _: None
    part: Part = Part()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentOutcome:
    """How an experiment went.

    Attributes:
        ran: runs finished now.
        kept: runs that were complete before, or that another command completed meanwhile.
        failed: each run that failed, and why.
        left: runs of the experiment that nobody has done yet; those that failed now aside.
        more: in what the runs were tested on more than was asked: nothing was done then.
    """

    ran: int
    kept: int
    failed: tuple[tuple[RunSpec, str], ...]
    left: tuple[RunSpec, ...] = ()
    more: tuple[str, ...] = ()


def run_experiment(
    loaded: Loaded,
    design: Design,
    root: Path,
    on_progress: OnRun,
    on_checked: Callable[[Design, Sequence[Warned]], None] = lambda *_: None,
    on_look: OnLook = lambda _: (),
    how: Execution = Execution(),  # noqa: B008 - it is frozen
) -> ExperimentOutcome:
    """Run what is not complete yet under `root`, and return how it went.

    `on_checked` is called with the settled design and what the rules found, before the first run;
    `on_look` is asked at each declared look, once all runs up to it are complete. Failures of
    single runs are in the result; what a failed trial tried can only not be chosen.

    Raises UserError before any compute is spent if something cannot work or an unfinished run was
    begun with other settings; in an independent design what cannot work fails alone. Raises
    StoreError if a complete run there was made from another spec, another process runs another
    experiment there, or nothing can be written.
    """
    folder = ExperimentFolder(root / loaded.config.name)
    with joined(folder.lock, how.on_wait) as joining:
        return _run_joined(loaded, design, folder, joining, on_progress, on_checked, on_look, how)


def _run_joined(
    loaded: Loaded,
    design: Design,
    folder: ExperimentFolder,
    joining: Joining,
    on_progress: OnRun,
    on_checked: Callable[[Design, Sequence[Warned]], None],
    on_look: OnLook,
    how: Execution,
) -> ExperimentOutcome:
    root, asked = folder.path.parent, design
    _put_in_place(design, folder)
    design = settle_design(design, folder, devices.device_here)
    if not (joining.alone or design.independent):
        refuse_another_experiment(loaded, design, folder)
    if more := _tested_on_more(design, folder):
        return ExperimentOutcome(ran=0, kept=len(design.runs), failed=(), more=more)
    planned: dict[str, Planned] = {}
    prospects: list[Prospect] = []
    refused: dict[str, str] = {}
    part = how.part.of(design)
    trials = pending([trial for trial in part.trials if trial.arm in part.open], folder)
    check_open(design, folder)
    to_run = pending(_ready(part), folder)
    if part.open or to_run:
        machine = here(root)
        device = timed(machine.device, precisions(design))  # before anything else is busy
        executor = how.executor()
        inputs = check_inputs(design, folder)
        for spec in to_run:
            refuse_another(spec, inputs[spec.arm], folder.of(spec), fork=how.fork)
        prospects = survey(design, device, lambda arm: inputs[arm.name])
        to_do = [run for run in part.runs if run.arm in part.open or run in to_run]
        violations = preflight(prospects, replace(design, runs=to_do), loaded.config, machine)
        if design.independent:
            refused = refused_arms(violations)
        else:
            refuse(violations)
        on_checked(design, violations)
        planned = {p.arm: p.forecast.planned for p in prospects if p.forecast}
    elif _has_own_rows(loaded, design):
        check_inputs(design, folder)  # rows of one's own are edited: old results are not theirs
    _share(joining, loaded, design, folder)

    def execute(specs: Sequence[RunSpec]) -> Results:
        requests = [
            Request(spec=spec, folder=folder.of(spec), planned=planned.get(spec.arm), fork=how.fork)
            for spec in specs
        ]
        return carry_out(requests, executor, on_progress) if requests else Results()

    if part.open:
        execute([trial for trial in trials if trial.arm not in part.searches])
        part = _choose(part, folder, execute, prospects)
        planned |= _planned(prospects, part)
        design = settle_design(asked, folder, devices.device_here)
        with briefly(folder.files_lock):
            describe(loaded, design, folder)
    kept = len(_ready(part)) - len(pending(_ready(part), folder))
    no_run = [(spec, refused[spec.arm]) for spec in to_run if spec.arm in refused]
    for spec, _ in no_run:
        on_progress(spec, Progress(stage="failed"))
    part = replace(part, runs=[spec for spec in part.runs if spec.arm not in refused])
    done = _run_to_looks(part, design, folder, loaded.config.looks, execute, on_look)
    failed = (*no_run, *_fail_open(part, folder), *done.failed)
    return ExperimentOutcome(
        ran=done.ran,
        kept=kept + done.kept,
        failed=failed,
        left=_left(design, folder, [spec.title for spec, _ in failed]),
    )


def _left(design: Design, folder: ExperimentFolder, failed: Sequence[str]) -> tuple[RunSpec, ...]:
    runs = [spec for spec in design.runs if state(folder.of(spec)) is not RunState.COMPLETE]
    return tuple(spec for spec in runs if spec.title not in failed)


def _has_own_rows(loaded: Loaded, design: Design) -> bool:
    own = any(not spec.config.task.preset for spec in design.runs)
    return own or any(task_records(loaded).values())


def _choose(
    design: Design,
    folder: ExperimentFolder,
    execute: Execute,
    prospects: Sequence[Prospect],
) -> Design:
    """Return the design with what trials found; all searches are run, and what is chosen kept."""
    operations = partial(_operations, prospects)
    design = run_searches(design, folder, execute, operations)
    with briefly(folder.files_lock):
        return with_chosen(design, choose_values(design, folder, operations))


def _put_in_place(design: Design, folder: ExperimentFolder) -> None:
    """Finish what other commands were stopped in; one that works on a run does that itself."""
    for run in map(folder.of, design.runs):
        if run.further.manifest.exists():
            with suppress(InUse), locked(run.lock):
                put_in_place(run)


def _share(joining: Joining, loaded: Loaded, design: Design, folder: ExperimentFolder) -> None:
    """Describe the experiment and let others join, or join those who run it. Raises StoreError."""
    if design.independent:  # arms of several commands stand side by side
        with briefly(folder.files_lock):
            describe(loaded, design, folder)
        joining.share()
        return
    if joining.alone:
        describe(loaded, design, folder)
    joining.share()
    refuse_another_experiment(loaded, design, folder)


def _run_to_looks(
    part: Design,
    design: Design,
    folder: ExperimentFolder,
    looks: Sequence[int] | None,
    execute: Execute,
    on_look: OnLook,
) -> Results:
    """Run what is missing of a part, all at once or from look to look; return how that went.

    Nothing is looked at while a run of the whole `design` that belongs to it is missing.
    """
    ready = _ready(part)
    if not looks:
        return execute(pending(ready, folder))
    done, going = Results(), {spec.arm for spec in design.runs}

    def missing(specs: Sequence[RunSpec], seeds: int) -> list[RunSpec]:
        due = [spec for spec in specs if spec.arm in going and spec.replicate < seeds]
        return pending(due, folder)

    for seeds in looks:
        done.add(execute(missing(ready, seeds)))
        if done.failed or design.open or missing(design.runs, seeds):
            break
        going = set(on_look(seeds))
        if not going:
            break
    return done


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
