"""`paribus plan FILE`: what would be run, what it takes, what is known to go wrong. Spends nothing.

With `--probe` it spends a little: two real steps and one evaluation batch of each arm.
"""

import json
import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from rich.console import Console

from paribus.analysis.robustness import read_labels
from paribus.cli.arguments import command
from paribus.cli.console import PlainConsole
from paribus.cli.plan_view import origins_table, show, verdict
from paribus.config.load import Loaded
from paribus.config.spec import RunSpec
from paribus.design.arms import Arm
from paribus.design.matrix import Design
from paribus.design.trials import RATE
from paribus.errors import DamagedError, NotHere, ParibusError, UserError, joined
from paribus.evaluation.scorers import scorers_of
from paribus.models.ranks import Parallel
from paribus.planning.devices import Device, device
from paribus.planning.foresight import Foresight, TaskForesight, foresee, foresee_task
from paribus.planning.machine import Machine, here
from paribus.planning.plan import (
    Plan,
    PlannedArm,
    PlannedLooks,
    PlannedRun,
    PlannedSearch,
    PlannedTrial,
    ProbeOutcome,
    RunEstimate,
    other_ways,
    total_seconds,
)
from paribus.planning.preflight import Warned, checkpoint_bytes, disk_bytes, preflight, refusal_of
from paribus.planning.prepare import prepare
from paribus.planning.rules.environment import OVER_DISK, OVER_MEMORY
from paribus.planning.stored import as_stored, is_complete, obstacles
from paribus.planning.survey import Prospect, settle_design, survey
from paribus.prompts.formats import main_protocol, protocols
from paribus.running.rehearsal import correct, rehearse
from paribus.store.layout import ExperimentFolder
from paribus.store.ledger import Look, read_looks, stopped_at
from paribus.store.runs import RunState, state
from paribus.training.batching import order_seed, training_length


def from_options(options: Namespace, loaded: Loaded, design: Design) -> int:
    """Run `paribus plan` for the experiment that was loaded."""
    return plan(
        loaded,
        design,
        options.runs,
        on=_Place(device=options.device, ranks=options.ranks, parallel=options.parallel),
        probing=options.probe,
        explain=options.explain,
        details=options.details,
        as_json=options.json,
    )


def plan(
    loaded: Loaded,
    design: Design,
    root: Path,
    *,
    on: "_Place",
    probing: bool,
    explain: bool,
    details: bool,
    as_json: bool,
) -> int:
    """Print the plan of an experiment for the device `on`, or for this machine: of each rank.

    Raises UserError, after the plan is printed, if a rule refuses the experiment or what an arm
    reads cannot be had. What only the Hub has may be missing where another device is planned for.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if loaded.config.labels:
        read_labels(Path(loaded.config.labels))  # report a fault before anything is spent
    elsewhere = on.elsewhere()
    machine = cache(partial(on.here, root))  # it imports torch: only if asked
    folder = ExperimentFolder(root / loaded.config.name)
    looks = read_looks(folder.ledger)
    design = design.up_to(stopped_at(looks))
    design = settle_design(design, folder, lambda: elsewhere or machine().device)
    design = as_stored(design, folder)
    console = PlainConsole(highlight=False)
    if explain:
        console.print(origins_table(loaded, design))
        return 0
    target = elsewhere or machine().device
    seed = design.runs[0].seed
    prospects = survey(design, target, lambda arm: prepare(arm.config, seed))
    inputs = {prospect.arm: prospect.inputs for prospect in prospects}
    store = _Store(folder, obstacles(design, folder, inputs))
    left = replace(design, runs=store.runs_left(design))
    check = partial(preflight, prospects, left, loaded.config, machine(), elsewhere)
    warned = check()
    arms = [
        _arm(arm, prospect, design) for arm, prospect in zip(design.arms, prospects, strict=True)
    ]
    if probing:
        arms = probed_arms(arms, prospects, refused(warned), PlainConsole(stderr=True))
        warned = check(measured_peaks(arms))
    # That an arm does not fit is the answer to a question; all else is a mistake.
    wrong = [violation for violation in warned if violation.rule not in (OVER_MEMORY, OVER_DISK)]
    stops = _faults(prospects, elsewhere) + [error for error in [refusal_of(wrong)] if error]
    stops += [error for error in store.obstacles.values() if isinstance(error, DamagedError)]
    planned = _plan(loaded, design, store, prospects, arms, warned, looks, target)
    planned = replace(planned, verdict=verdict(planned, stops))
    if as_json:
        print(json.dumps(planned.as_json(), indent=2))
    else:
        more = command("plan", loaded.path, loaded.overrides, root, *on.words(), "--details")
        raised = frozenset(violation.rule.id for violation in wrong if violation.refuses)
        show(planned, console, raised, more, details=details)
    if stops:
        raise joined(stops)
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What is planned for: a device by its name, or what is here, and how many compute a run."""

    device: str | None
    ranks: int
    parallel: Parallel

    def elsewhere(self) -> Device | None:
        """Return the named device; None if it is this machine's."""
        return (
            None if self.device is None else device(self.device).together(self.ranks, self.parallel)
        )

    def here(self, root: Path) -> Machine:
        """Return this machine, as each rank has it."""
        machine = here(root)
        return replace(machine, device=machine.device.together(self.ranks, self.parallel))

    def words(self) -> list[str]:
        """Return the options that name it."""
        words = [] if self.device is None else ["--device", self.device]
        words += [] if self.ranks == 1 else ["--ranks", str(self.ranks)]
        return words + ([] if self.parallel == "auto" else ["--parallel", self.parallel])


def _plan(
    loaded: Loaded,
    design: Design,
    store: "_Store",
    prospects: Sequence[Prospect],
    arms: Sequence[PlannedArm],
    warned: Sequence[Warned],
    taken: Sequence[Look],
    target: Device,
) -> Plan:
    """Return the plan, still without a verdict."""
    searches = _searches(prospects, design)
    tries = [trial for trial in design.trials if trial.arm in design.open]
    to_come = design.trials_to_come(_paid(searches))
    left = [trial for trial in tries if not store.has(trial, design)] + store.runs_left(design)
    specs = [*design.trials, *to_come, *design.runs]
    return Plan(
        experiment=loaded.config.name,
        question=loaded.config.question,
        device=next(
            (prospect.forecast.device for prospect in prospects if prospect.forecast), target
        ),
        arms=tuple(arms),
        alternatives=other_ways(prospects),
        disk_bytes=disk_bytes(prospects, design.runs),
        checkpoint_bytes=checkpoint_bytes(prospects, design.runs),
        seconds=total_seconds(specs, arms),
        violations=tuple(warned),
        foresight=_foresight(loaded, design, arms),
        searches=searches,
        trials=tuple(
            [store.trial(spec) for spec in design.trials]
            + [store.trial(spec, known=False) for spec in to_come]
        ),
        runs=tuple(store.run(spec, known=spec.arm not in design.open) for spec in design.runs),
        stored=tuple(store.obstacles.values()),
        contrasts=tuple(design.contrasts),
        not_compared=tuple(design.apart),
        seconds_left=total_seconds([*left, *to_come], arms),
        tasks=_tasks(loaded, design, prospects),
        looks=_looks(loaded, design, taken, arms, [*design.trials, *to_come]),
        verdict="",
    )


def _searches(prospects: Sequence[Prospect], design: Design) -> tuple[PlannedSearch, ...]:
    """Return how each arm's values are searched for, whether they are found or not."""
    return tuple(
        PlannedSearch(
            arm=prospect.arm,
            keys=search.keys,
            sampler=search.sampler,
            trials=search.trials,
            flops=search.flops,
            trial_flops=prospect.forecast.flops if prospect.forecast else None,
        )
        for prospect in prospects
        if (search := design.searches.get(prospect.arm))
    )


def _paid(searches: Sequence[PlannedSearch]) -> dict[str, int]:
    """Return how many of the dearest trials the operations of each arm's search pay for."""
    return {
        search.arm: int(search.flops / search.trial_flops)
        for search in searches
        if search.flops and search.trial_flops
    }


def refused(warned: Sequence[Warned]) -> dict[str, str]:
    """Return the first rule that refuses an arm, by the names of the arms that any refuses."""
    errors = [violation for violation in warned if violation.refuses]
    return {arm: violation.rule.id for violation in reversed(errors) for arm in violation.arms}


def probed_arms(
    arms: Sequence[PlannedArm],
    prospects: Sequence[Prospect],
    skipped: Mapping[str, str],
    console: Console,
) -> list[PlannedArm]:
    """Return the arms with what probes measured, or with why a probe stopped.

    `skipped` arms are not probed: it holds the rule that refuses each.
    """
    probed = []
    for arm, prospect in zip(arms, prospects, strict=True):
        if arm.name in skipped:
            stopped = ProbeOutcome(error=f"not probed: {skipped[arm.name]}")
            probed.append(replace(arm, probe=stopped))
        elif prospect.inputs is None or prospect.forecast is None:
            probed.append(arm)
        else:
            with console.status(f"probing {arm.name}"):
                probed.append(_probed(arm, prospect))
    return probed


def _probed(arm: PlannedArm, prospect: Prospect) -> PlannedArm:
    try:
        measured = rehearse(prospect)
    except ParibusError as error:
        return arm.stopped(error)
    estimate = correct(prospect, measured)
    return replace(arm, probe=ProbeOutcome(measured=measured), estimate=estimate)


def measured_peaks(arms: Sequence[PlannedArm]) -> dict[str, int | None]:
    """Return the peaks of probed arms in bytes, None where a probe ran out of memory."""
    peaks: dict[str, int | None] = {}
    for arm in arms:
        if arm.probe and arm.estimate and arm.probe.measured:
            peaks[arm.name] = arm.estimate.peak_bytes
        elif arm.probe and arm.probe.out_of_memory:
            peaks[arm.name] = None
    return peaks


def _faults(prospects: Sequence[Prospect], elsewhere: Device | None) -> list[UserError]:
    """Return why arms could not be run here; planned for elsewhere, the Hub may be out of reach."""
    arms: dict[str, tuple[UserError, list[str]]] = {}
    for prospect in prospects:
        if prospect.fault and not (elsewhere and isinstance(prospect.fault, NotHere)):
            arms.setdefault(str(prospect.fault), (prospect.fault, []))[1].append(prospect.arm)
    return [
        UserError(f"{', '.join(names)}: {fault.message}", fault.remedy)
        for fault, names in arms.values()
    ]


def _looks(
    loaded: Loaded,
    design: Design,
    taken: Sequence[Look],
    arms: Sequence[PlannedArm],
    trials: Sequence[RunSpec],
) -> PlannedLooks | None:
    """Return what declared looks cost: if the next one decides all, and if none does."""
    planned = loaded.config.looks
    if not planned:
        return None
    done = sum(bool(look.planned) for look in taken)
    going = design.runs if done == 0 or taken[-1].goes_on else []
    soonest = planned[min(done, len(planned) - 1)]
    least = [run for run in design.runs if run.replicate < soonest]
    return PlannedLooks(
        seeds=planned,
        taken=done,
        over=not going,
        least_runs=len(least),
        most_runs=len(design.runs),
        least_seconds=total_seconds([*trials, *least], arms),
        most_seconds=total_seconds([*trials, *design.runs], arms),
    )


def _foresight(loaded: Loaded, design: Design, arms: Sequence[PlannedArm]) -> Foresight | None:
    """Return what the contrasts will be able to show; None if that cannot be known."""
    sizes = [arm.tokens.test_prompts for arm in arms if arm.tokens]
    if not sizes or not design.contrasts:
        return None
    return foresee(
        n=min(sizes),
        seeds=loaded.config.seeds,
        comparisons=design.comparisons,
        looks=loaded.config.looks or (),
        hypothesis=loaded.config.hypothesis,
        margin=_margin(loaded, design),
        measure=scorers_of(design.arms[0].config.task).measure(),
    )


def _tasks(
    loaded: Loaded, design: Design, prospects: Sequence[Prospect]
) -> tuple[TaskForesight, ...]:
    """Return what is known of the further tasks; nothing where no arm's inputs are here."""
    known = next((prospect.inputs for prospect in prospects if prospect.inputs), None)
    guards = loaded.config.guard
    return tuple(
        foresee_task(
            inputs.task,
            inputs.prompt_sets[0].protocol.name,
            n=len(inputs.tested),
            seeds=loaded.config.seeds,
            comparisons=design.comparisons,
            margin=guards[inputs.task] / 100 if inputs.task in guards else None,
        )
        for inputs in (known.further if known else ())
    )


def _margin(loaded: Loaded, design: Design) -> float | None:
    """Return the smallest margin of a contrast, as a share; None if none has one."""
    stated = [contrast.margin or loaded.config.margin for contrast in design.contrasts]
    return min((points / 100 for points in stated if points), default=None)


def _arm(arm: Arm, prospect: Prospect, design: Design) -> PlannedArm:
    """Return what an arm is, reads and takes; `unknown` says why something cannot be known."""
    config, inputs = arm.config, prospect.inputs
    rates = [
        trial.config.training.peak_rate
        for trial in design.trials
        if trial.arm == arm.name and trial.number is None
    ]
    trains = config.method != "none"
    is_open = arm.name in design.open and RATE in design.keys(arm.name)
    steps = target_tokens = None
    if inputs and trains:
        lengths = [example.target_length for example in inputs.examples]
        order = order_seed(prospect.first.stream)
        steps, target_tokens = training_length(lengths, config.training, order)
    return PlannedArm(
        name=arm.name,
        method=config.method,
        variant=config.data.variant,
        protocol=main_protocol(config).name,
        also=[protocol.name for protocol in protocols(config)[1:]],
        learning_rate=config.training.peak_rate if trains and not is_open else None,
        learning_rate_from=str(arm.origins["training.learning_rate"]) if trains else None,
        learning_rates=rates or None,
        steps=steps,
        planned_target_tokens=target_tokens,
        tokens=inputs.tokens() if inputs else None,
        estimate=RunEstimate.of(prospect.forecast) if prospect.forecast else None,
        probe=None,
        unknown=str(prospect.unknown) if prospect.unknown else None,
    )


@dataclass(frozen=True, slots=True)
class _Store:
    """What the store holds of a design; `obstacles` are folders that hold another run."""

    folder: ExperimentFolder
    obstacles: Mapping[Path, UserError]

    def has(self, spec: RunSpec, design: Design) -> bool:
        """Whether a run or trial is complete; a run with an open learning rate is to be done."""
        if self._in_the_way(spec) or (spec.arm in design.open and not spec.trial):
            return False
        return is_complete(spec, self.folder)

    def runs_left(self, design: Design) -> list[RunSpec]:
        """Return the runs that are not complete."""
        return [run for run in design.runs if not self.has(run, design)]

    def run(self, spec: RunSpec, *, known: bool) -> PlannedRun:
        """Return a run's state; `known`: whether its learning rate is."""
        return PlannedRun(
            seed=spec.replicate,
            arm=spec.arm,
            fingerprint=spec.fingerprint if known else None,
            state=self._state(spec, known=known),
        )

    def trial(self, spec: RunSpec, *, known: bool = True) -> PlannedTrial:
        """Return a trial's state; `known`: whether its values are."""
        return PlannedTrial(
            learning_rate=None if spec.number else spec.config.training.peak_rate,
            number=spec.number,
            arm=spec.arm,
            fingerprint=spec.fingerprint if known else None,
            state=self._state(spec, known=known),
        )

    def _state(self, spec: RunSpec, *, known: bool) -> str:
        if self._in_the_way(spec):
            return "another"  # what lies there is not this run
        reached = state(self.folder.of(spec))
        if reached is RunState.COMPLETE and known and not is_complete(spec, self.folder):
            return RunState.TESTED_LESS.value  # it will be tested further
        return reached.value

    def _in_the_way(self, spec: RunSpec) -> bool:
        return self.folder.of(spec).path in self.obstacles
