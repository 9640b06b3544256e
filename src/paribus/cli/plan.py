"""`paribus plan FILE`: what would be run, what it takes, what is known to go wrong. Spends nothing.

With `--probe` it spends a little: two real steps and one evaluation batch of each arm.
"""

import json
import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from paribus.analysis.robustness import read_labels
from paribus.cli.arguments import command
from paribus.cli.console import PlainConsole
from paribus.cli.plan_details import origins_table
from paribus.cli.plan_estimates import (
    estimate_row,
    other_ways,
    probe_arms,
    refused,
    total_seconds,
)
from paribus.cli.plan_view import show, verdict
from paribus.config.load import Loaded
from paribus.config.spec import RunSpec
from paribus.errors import DamagedError, NotHere, UserError, joined
from paribus.experiment.arms import Arm
from paribus.experiment.matrix import Design
from paribus.experiment.preflight import (
    Warned,
    checkpoint_bytes,
    disk_bytes,
    preflight,
    refusal_of,
)
from paribus.experiment.stored import as_stored, is_complete, obstacles
from paribus.experiment.survey import Prospect, settle_design, survey
from paribus.planning.devices import Device, device
from paribus.planning.foresight import foresee
from paribus.planning.inputs import prepare
from paribus.planning.machine import here
from paribus.planning.rules.limits import OVER_DISK, OVER_MEMORY
from paribus.prompts.protocols import main_protocol, protocols
from paribus.store.layout import ExperimentFolder
from paribus.store.ledger import Look, read_looks, stopped_at
from paribus.store.runs import state
from paribus.training.batching import order_seed, training_length


def from_options(options: Namespace, loaded: Loaded, design: Design) -> int:
    """Run `paribus plan` for the experiment that was loaded."""
    return plan(
        loaded,
        design,
        options.runs,
        on=options.device,
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
    on: str | None,
    probing: bool,
    explain: bool,
    details: bool,
    as_json: bool,
) -> int:
    """Print the plan of an experiment for the device `on`, or for this machine.

    Raises UserError, after the plan is printed, if a rule refuses the experiment or what an arm
    reads cannot be had. What only the Hub has may be missing where another device is planned for.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if loaded.config.labels:
        read_labels(Path(loaded.config.labels))  # a fault is told before anything is spent
    elsewhere = device(on) if on is not None else None
    machine = cache(partial(here, root))  # it imports torch: only if asked
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
    inputs = {one.arm: one.inputs for one in prospects}
    stored = obstacles(design, folder, inputs)
    todo = [run for run in design.runs if not _is_done(run, design, folder, stored)]
    left = replace(design, runs=todo)
    check = partial(preflight, prospects, left, loaded.config, machine(), elsewhere)
    found = check()
    target = next((one.forecast.device for one in prospects if one.forecast), target)
    made = _plan(loaded, design, folder, prospects, found, target, stored)
    if probing:
        peaks = probe_arms(made["arms"], prospects, refused(found), PlainConsole(stderr=True))
        found = check(peaks)
        made["violations"] = [one.row() for one in found]
        made["seconds"] = total_seconds([*design.trials, *design.runs], made["arms"])
    tries = [trial for trial in design.trials if trial.arm in design.open]
    to_try = [trial for trial in tries if not _is_done(trial, design, folder, stored)]
    made["seconds_left"] = total_seconds([*to_try, *todo], made["arms"])
    made["looks"] = _looks(loaded, design, looks, made["arms"])
    # That an arm does not fit is the answer to a question; all else is a mistake.
    wrong = [one for one in found if one.rule not in (OVER_MEMORY, OVER_DISK)]
    stops = _faults(prospects, elsewhere) + [one for one in [refusal_of(wrong)] if one]
    stops += [one for one in stored.values() if isinstance(one, DamagedError)]
    made["verdict"] = verdict(made, stops)
    if as_json:
        print(json.dumps(made, indent=2))
    else:
        where = [] if on is None else ["--device", on]
        more = command("plan", loaded.path, loaded.overrides, root, *where, "--details")
        said = frozenset(one.rule.id for one in wrong if one.refuses)
        show(made, console, said, more, details=details)
    if stops:
        raise joined(stops)
    return 0


def _faults(prospects: Sequence[Prospect], elsewhere: Device | None) -> list[UserError]:
    """Return why arms could not be run here; planned for elsewhere, the Hub may be out of reach."""
    arms: dict[str, tuple[UserError, list[str]]] = {}
    for one in prospects:
        if one.fault and not (elsewhere and isinstance(one.fault, NotHere)):
            arms.setdefault(str(one.fault), (one.fault, []))[1].append(one.arm)
    return [
        UserError(f"{', '.join(names)}: {fault.message}", fault.remedy)
        for fault, names in arms.values()
    ]


def _plan(
    loaded: Loaded,
    design: Design,
    folder: ExperimentFolder,
    prospects: Sequence[Prospect],
    found: Sequence[Warned],
    target: Device,
    stored: Mapping[Path, UserError],
) -> dict[str, Any]:
    arms = [_arm(arm, one, design) for arm, one in zip(design.arms, prospects, strict=True)]
    return {
        "experiment": loaded.config.name,
        "question": loaded.config.question,
        "device": asdict(target),
        "arms": arms,
        "alternatives": other_ways(prospects),
        "disk_bytes": disk_bytes(prospects, design.runs),
        "checkpoint_bytes": checkpoint_bytes(prospects, design.runs),
        "seconds": total_seconds([*design.trials, *design.runs], arms),
        "violations": [one.row() for one in found],
        "foresight": _foresight(loaded, design, arms),
        "trials": [
            {"learning_rate": spec.config.training.peak_rate, **_run(spec, folder, stored)}
            for spec in design.trials
        ],
        "runs": [
            {
                "seed": spec.replicate,
                **_run(spec, folder, stored, known=spec.arm not in design.open),
            }
            for spec in design.runs
        ],
        "stored": [{"message": one.message, "remedy": one.remedy} for one in stored.values()],
        "contrasts": [asdict(contrast) for contrast in design.contrasts],
        "not_compared": [
            {"a": pair.a, "b": pair.b, "factor": pair.factor} for pair in design.apart
        ],
    }


def _looks(
    loaded: Loaded, design: Design, taken: Sequence[Look], arms: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """Return what declared looks cost: if the next one decides all, and if none does."""
    planned = loaded.config.looks
    if not planned:
        return None
    done = sum(bool(look.planned) for look in taken)
    going = design.runs if done == 0 or taken[-1].goes_on else []
    soonest = planned[min(done, len(planned) - 1)]
    least = [run for run in design.runs if run.replicate < soonest]
    return {
        "seeds": planned,
        "taken": done,
        "over": not going,
        "least_runs": len(least),
        "most_runs": len(design.runs),
        "least_seconds": total_seconds([*design.trials, *least], arms),
        "most_seconds": total_seconds([*design.trials, *design.runs], arms),
    }


def _foresight(
    loaded: Loaded, design: Design, arms: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """Return what the contrasts will be able to show; None if that cannot be known."""
    sizes = [arm["tokens"]["test_prompts"] for arm in arms if arm["tokens"]]
    if not sizes or not design.contrasts:
        return None
    found = foresee(
        n=min(sizes),
        seeds=loaded.config.seeds,
        comparisons=design.comparisons,
        looks=loaded.config.looks or (),
        hypothesis=loaded.config.hypothesis,
        margin=_margin(loaded, design),
    )
    return {
        "level": found.level,
        "detectable": found.detectable,
        "claimed": found.claimed,
        "margin": found.margin,
        "equivalent": found.equivalent,
        "sentence": found.sentence,
        "warning": found.warning or None,
    }


def _margin(loaded: Loaded, design: Design) -> float | None:
    """Return the smallest margin of a contrast, as a share; None if none has one."""
    stated = [each.margin or loaded.config.margin for each in design.contrasts]
    return min((points / 100 for points in stated if points), default=None)


def _arm(arm: Arm, prospect: Prospect, design: Design) -> dict[str, Any]:
    """Return what an arm is, reads and takes; `unknown` says why something cannot be known."""
    config = arm.config
    rates = [t.config.training.peak_rate for t in design.trials if t.arm == arm.name]
    trains, is_open = config.method != "none", arm.name in design.open
    row: dict[str, Any] = {
        "name": arm.name,
        "method": config.method,
        "variant": config.data.variant,
        "protocol": main_protocol(config).name,
        "also": [protocol.name for protocol in protocols(config)[1:]],
        "learning_rate": config.training.peak_rate if trains and not is_open else None,
        "learning_rate_from": str(arm.origins["training.learning_rate"]) if trains else None,
        "learning_rates": rates or None,
        "steps": None,
        "planned_target_tokens": None,
        "tokens": None,
        "estimate": estimate_row(prospect.forecast) if prospect.forecast else None,
        "probe": None,
        "unknown": str(prospect.unknown) if prospect.unknown else None,
    }
    if prospect.inputs is None:
        return row
    row["tokens"] = prospect.inputs.tokens()
    if trains:
        lengths = [example.target_length for example in prospect.inputs.examples]
        planned = training_length(lengths, config.training, order_seed(prospect.first.stream))
        row["steps"], row["planned_target_tokens"] = planned
    return row


def _is_done(
    spec: RunSpec, design: Design, folder: ExperimentFolder, stored: Mapping[Path, UserError]
) -> bool:
    """Return whether a run or trial is complete; a run with an open learning rate is to be done."""
    if folder.of(spec).path in stored or (spec.arm in design.open and not spec.trial):
        return False
    return is_complete(spec, folder)


def _run(
    spec: RunSpec,
    folder: ExperimentFolder,
    stored: Mapping[Path, UserError],
    *,
    known: bool = True,
) -> dict[str, Any]:
    """Return a run's or a trial's place and state; `known`: whether its learning rate is."""
    if folder.of(spec).path in stored:
        said = "another"  # what lies there is not this run
    else:
        complete = known and is_complete(spec, folder)
        said = "complete" if complete else state(folder.of(spec)).value
    return {"arm": spec.arm, "fingerprint": spec.fingerprint if known else None, "state": said}
