"""Read an experiment's folder into tables, with how often each run read the test split.

    tables = read_experiment(ExperimentFolder(Path("runs/gsm8k")))
    reads_by_run(tables)[0]     # RunReads(arm="full-main", seed=0, counts={"zero_shot/raw": 1})

What keeps a run from being scored becomes its note; nothing is guessed and nothing counts as zero.
One reading is the rule. A run that was deleted and repeated leaves two: whoever tests, changes
something and tests again selects by the test split.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, get_args

from paribus.analysis import wording
from paribus.analysis.several import read_all
from paribus.analysis.tables import Arm, LossPoint, Run, Tables, with_generations
from paribus.config.task import stored_task
from paribus.errors import DamagedError, StoreError, UserError
from paribus.evaluation.scorers import NUMBERS, Scorers, scorers_of
from paribus.files import UNREADABLE, read_json
from paribus.records import AnswerStyle, Generation
from paribus.store.experiments import DescribedArm, Description, read_description, read_tuning
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.ledger import (
    Further,
    about_further,
    read_ledger,
    read_looks,
    still_to_test,
    stopped_at,
    unrecorded_readings,
)
from paribus.store.manifest import check
from paribus.store.results import EvaluationCost, read_result
from paribus.store.runs import RunState, read_events, read_generations, read_heldout, state
from paribus.store.status import misplaced, why_it_failed


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReads:
    """One run's readings: protocol, or `ledger.LIKELIHOOD`, to how often, in order of first."""

    arm: str
    seed: int
    counts: dict[str, int]

    @property
    def repeated(self) -> bool:
        """Whether the test split was read more than once under one protocol."""
        return any(count > 1 for count in self.counts.values())


def reads_by_run(tables: Tables) -> list[RunReads]:
    """Return a row for each complete run and for every other that the ledger names.

    The experiment's runs come first, in its order; one without a line has no counts. Empty if
    nothing speaks of a reading, as of generations made elsewhere.
    """
    if not tables.reads and not tables.unrecorded:
        return []
    by_run: dict[tuple[str, int], dict[str, int]] = {
        (run.arm, run.seed): {} for run in tables.complete
    }
    for read in tables.reads:
        counts = by_run.setdefault((read.arm, read.seed), {})
        if not read.adopted:
            counts[read.protocol] = counts.get(read.protocol, 0) + 1
    for read in (read for read in tables.reads if read.adopted):
        by_run[read.arm, read.seed].setdefault(read.protocol, 1)  # else its own line is here too
    return [RunReads(arm=arm, seed=seed, counts=counts) for (arm, seed), counts in by_run.items()]


def unrecorded_reads(tables: Tables) -> str:
    """Return a sentence that names each reading without a line in the ledger; "" if there is none.

    Of a run that has other lines, the protocols are named.
    """
    whole = {(row.arm, row.seed) for row in reads_by_run(tables) if not row.counts}
    missing: dict[tuple[str, int], list[str]] = {}
    for reading in tables.unrecorded:
        missing.setdefault((reading.arm, reading.seed), []).append(reading.protocol)
    missing |= {key: [] for key in sorted(whole - missing.keys())}
    if not missing:
        return ""
    names = [
        f"{arm} seed {seed}" + ("" if (arm, seed) in whole else f" ({', '.join(protocols)})")
        for (arm, seed), protocols in missing.items()
    ]
    return (
        f"The ledger has no line for {wording.join(names)}, which {'were' if names[1:] else 'was'} "
        "tested: how often the test problems were read is not known."
    )


def adopted(tables: Tables) -> str:
    """Return a sentence that names the runs copied in from another store; "" if there is none."""
    names = dict.fromkeys(f"{read.arm} seed {read.seed}" for read in tables.reads if read.adopted)
    if not names:
        return ""
    return (
        f"{wording.join(list(names))} came from another store (adopted): how often the test "
        "problems were read there is not known here."
    )


MAX_CURVE_POINTS = 80
"""A loss curve is drawn with at most this many points; longer ones are averaged in blocks."""

_NOTES = {
    RunState.MISSING: "not run.",
    RunState.UNFINISHED: "unfinished: it is still running, or was stopped.",
}


def read_experiment(folder: ExperimentFolder, description: Description | None = None) -> Tables:
    """Read the experiment in `folder`, by its own description unless another is given.

    Raises StoreError if a file of the whole is unreadable.
    """
    description = description or read_description(folder)
    config = description.config
    arms = tuple(
        Arm(name=arm.name, factors=arm.factors, identity=arm.identity) for arm in description.arms
    )
    declared = tuple(
        (contrast.a, contrast.b, contrast.factor) for contrast in description.contrasts
    )
    margins = {
        (contrast.a, contrast.b): contrast.margin or config.get("margin")
        for contrast in description.contrasts
    }
    looks = tuple(
        replace(look, look=max(look.look, at))  # of joined ledgers each has a first
        for at, look in enumerate(read_looks(folder.ledger), 1)
    )
    seeds, stopped = description.seeds, stopped_at(looks) if config.get("looks") else {}
    scored_by = {arm.name: scorers_in(description, arm) for arm in description.arms}
    further = {
        name: NUMBERS if record is None else scorers_of(stored_task(record))
        for name, record in description.tasks.items()
    }
    folders = [
        (arm, folder.run(arm.name, seed))
        for arm in arms
        for seed in range(1 if arm.untuned else min(seeds, stopped.get(arm.name, seeds)))
    ]
    open_tests = {
        (run.arm, run.replicate): still_to_test(run, arm.identity) for arm, run in folders
    }

    def read(at: int) -> Run:
        arm, run = folders[at]
        scored = read_run(run, scored_by[arm.name], further)
        scored.ask_all()
        return scored

    runs = read_all(read, [run.size_of_texts() for _, run in folders])
    return Tables(
        config=config,
        origins=description.origins,
        arms=arms,
        declared=declared,
        runs=tuple(_tested_alike(runs, open_tests)),
        reads=tuple(read_ledger(folder.ledger)),
        unrecorded=tuple(unrecorded_readings(folder)),
        tuning=read_tuning(folder),
        margins={
            pair: points / 100
            for pair, points in margins.items()
            if points and not any(run.scorers.loss for run in runs)  # a margin is in points
        },
        asked=tuple(description.asked),
        looks=looks,
        tasks=further,
        guards={task: points / 100 for task, points in (config.get("guard") or {}).items()},
    )


def scorers_in(description: Description, arm: DescribedArm) -> Scorers:
    """Return what the texts of an arm are scored by. Raises UserError if that cannot be done."""
    style = _style(description.config)
    scorers = Scorers(style=style) if arm.task is None else scorers_of(stored_task(arm.task), style)
    return scorers.led_by(description.scorer)


def _style(config: Mapping[str, Any]) -> AnswerStyle:
    """Return what counts as a final answer; what earlier versions stored says nothing of it."""
    style: AnswerStyle = (config.get("evaluation") or {}).get("answer", "auto")
    if style not in get_args(AnswerStyle):
        raise StoreError(
            f"evaluation.answer is {style!r}, which this version of paribus does not know",
            f"set it to one of {', '.join(get_args(AnswerStyle))}",
        )
    return style


def read_run(
    folder: RunFolder, scorers: Scorers = NUMBERS, further: Mapping[str, Scorers] | None = None
) -> Run:
    """Return the run in `folder`; what keeps it from being scored becomes its note.

    `further` are the scorers of further tasks, by name.
    """
    arm, seed, reached = folder.arm, folder.replicate, state(folder)
    if reached is RunState.FAILED:
        first_line = why_it_failed(folder).partition("\n")[0]
        return Run(arm=arm, seed=seed, state=reached, note=f"failed: {first_line}")
    if reached is not RunState.COMPLETE:
        return Run(arm=arm, seed=seed, state=reached, note=_NOTES[reached])
    try:
        run = _with_every_loss(_read_complete(folder, scorers))
        return replace(run, tasks=_read_tasks(folder, run, further or {}))
    except (StoreError, *UNREADABLE) as error:
        reason = error.message if isinstance(error, StoreError) else repr(error)
        return Run(arm=arm, seed=seed, state=RunState.DAMAGED, note=f"damaged: {reason}")
    except UserError as error:  # of a metric, such as a function of the user's
        raise UserError(
            f"{arm}, seed {seed}: {error.message}",
            f"{error.remedy}. The texts are kept: paribus report {folder.experiment.path}",
        ) from error


def _with_every_loss(run: Run) -> Run:
    """Return `run`; without scores if it is to have losses, and not all are defined."""
    undefined = sum(row.nll is None for row in run.heldout)
    if not run.scorers.loss or not undefined:
        return run
    n = len(run.heldout)
    note = f"failed: for {undefined} of {n} problems the model gave no valid distribution"
    return Run(arm=run.arm, seed=run.seed, state=RunState.FAILED, note=note, scorers=run.scorers)


def _tested_alike(runs: Sequence[Run], open_tests: Mapping[tuple[str, int], Further]) -> list[Run]:
    """Return `runs`, those without scores that are tested on less than others are by now.

    Further tests that were stopped leave such: no problem, no length of text was the same to both.
    """
    counting = [_of_main(open_tests[run.arm, run.seed]) for run in runs if run.complete]
    mixed = any(tests != counting[0] for tests in counting)
    noted = []
    for run in runs:
        further = open_tests[run.arm, run.seed]
        if not (run.complete and further):
            noted.append(run)
        elif mixed and _of_main(further):
            note = f"complete, but {about_further(further)}"
            noted.append(Run(arm=run.arm, seed=run.seed, state=RunState.TESTED_LESS, note=note))
        else:
            noted.append(replace(run, note=about_further(further)))
    return noted


def _of_main(further: Further) -> Further:
    """Return what of it changes the scores: further protocols have their own."""
    return {key: values for key, values in further.items() if key != "evaluation.also"}


def loss_curve(events: Sequence[dict[str, Any]]) -> tuple[LossPoint, ...]:
    """Return the loss of the steps in `events`, in blocks weighted by their target tokens."""
    steps = [event for event in events if event.get("loss") is not None]
    size = max(1, ceil(len(steps) / MAX_CURVE_POINTS))
    blocks = [steps[start : start + size] for start in range(0, len(steps), size)]
    return tuple(LossPoint(step=block[-1]["step"], loss=_mean_loss(block)) for block in blocks)


def _mean_loss(block: Sequence[dict[str, Any]]) -> float:
    tokens = [event.get("target_tokens") or 1 for event in block]
    total = sum(event["loss"] * count for event, count in zip(block, tokens, strict=True))
    return float(total / sum(tokens))


def _read_complete(folder: RunFolder, scorers: Scorers) -> Run:
    """Read a complete run. Raises StoreError if any file of it is not what was written.

    But for its weights: deleting `weights/` to save room must not cost the scores.
    """
    check(folder, weights=False)
    elsewhere = misplaced(folder, read_json(folder.spec))
    if elsewhere:
        raise DamagedError(f"{folder.spec} {elsewhere}")
    result = read_result(folder.result)
    run = Run(
        arm=folder.arm,
        seed=folder.replicate,
        state=RunState.COMPLETE,
        result=result,
        data=result.data,
        losses=loss_curve(_finite(read_events(folder, "step"))),
        also={
            name: _read_protocol(folder, name, cost) for name, cost in (result.also or {}).items()
        },
        heldout=tuple(read_heldout(folder.heldout)) if folder.heldout.exists() else (),
        scorers=scorers,
    )
    main = result.evaluation
    return with_generations(run, _read_protocol(folder, main.protocol, main))


def _read_tasks(folder: RunFolder, run: Run, further: Mapping[str, Scorers]) -> dict[str, Run]:
    """Return the run as tested on each further task that it was tested on, by the task's name."""
    whole, tasks = run.result, {}
    for name, own in whole.tasks.items() if whole else ():
        if name not in further or whole is None:
            continue
        place = folder.of_task(name)
        result = whole.model_copy(
            update={"evaluation": own.evaluation, "also": {}, "heldout": own.heldout}
        )
        tested = replace(
            run,
            result=result,
            data=own.data,
            also={},
            heldout=tuple(read_heldout(place.heldout)) if place.heldout.exists() else (),
            scorers=further[name],
        )
        texts = _read_protocol(place, own.evaluation.protocol, own.evaluation)
        tasks[name] = _with_every_loss(with_generations(tested, texts))
    return tasks


def _read_protocol(folder: RunFolder, name: str, cost: EvaluationCost) -> tuple[Generation, ...]:
    path = folder.generations(name)
    generations = tuple(read_generations(path))
    if len(generations) != cost.problems:
        raise StoreError(
            f"{path} holds {len(generations)} generations, and result.json counts {cost.problems}"
        )
    return generations


def _finite(value: Any) -> Any:
    """Return `value`, which was read from JSON. Raises ValueError if it holds NaN or infinity.

    paribus writes neither, but Python's reader takes them for numbers.
    """
    json.dumps(value, allow_nan=False)
    return value
