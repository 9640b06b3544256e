"""`paribus run FILE`: check everything, run what is missing, conclude.

At a declared look it prints what was decided:

    look 1 of 3, at 4 seeds:
      full − baseline: shown, +12.3 points (p, corrected: 0.004)
      full − lora: open, −1.2 points (p, corrected: 0.41); will be shown by 8 seeds with a chance
      of 34 %
      continues to 6 seeds with full and lora; rank-4 stops
"""

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.markup import escape

from paribus.analysis.family import judge
from paribus.analysis.reading import read_experiment
from paribus.analysis.robustness import read_labels
from paribus.analysis.wording import join, p_value, points
from paribus.cli.arguments import command
from paribus.cli.console import PlainConsole
from paribus.cli.display import Display
from paribus.cli.report import show_report
from paribus.cli.warnings import violation_lines
from paribus.config.load import Loaded
from paribus.config.schema import ExperimentConfig
from paribus.config.spec import RunSpec
from paribus.design.matrix import Design
from paribus.design.parts import Part
from paribus.errors import RunFailed, StoreError, UserError
from paribus.models import ranks
from paribus.planning.preflight import Warned
from paribus.planning.rules.card import Severity
from paribus.records import Settled
from paribus.running.executing import Executor
from paribus.running.local import Execution, ExperimentOutcome, run_experiment
from paribus.running.processes import on_this_machine
from paribus.stopping import enduring
from paribus.store.experiments import ArmTuning, Searched, read_tuning
from paribus.store.layout import ExperimentFolder
from paribus.store.ledger import Decided, Look, append_look, read_looks, stopped_at
from paribus.store.locks import briefly


def refuse_another_plan(config: ExperimentConfig, looks: Sequence[Look]) -> None:
    """Raise StoreError if looks were taken that other ones were declared for.

    To change the looks, or drop them, once some were taken would leave no bound on false claims.
    """
    taken = next((look for look in looks if look.planned), None)
    if taken is None or list(taken.planned) == config.looks:
        return
    planned = ",".join(map(str, taken.planned))
    now = "none are" if config.looks is None else f"they are {config.looks}"
    raise StoreError(
        f"looks were declared as [{planned}], and one was taken at {taken.seeds} seeds; now {now}: "
        "looks that are changed afterwards no longer bound false claims",
        f"continue with budget={taken.planned[-1]} looks=[{planned}], or run under another name "
        "(name=…)",
    )


def look_at(folder: ExperimentFolder, seeds: int) -> Look:
    """Return the declared look at `seeds` seeds: as the ledger has it, or taken now and entered.

    What a look decided is never decided again. Raises StoreError.
    """
    with briefly(folder.files_lock):  # of several commands that get here, one decides
        for look in read_looks(folder.ledger):
            if look.planned and look.seeds == seeds:
                return look
        look = judge(read_experiment(folder), seeds)
        append_look(folder.ledger, look)
    return look


def look_lines(look: Look) -> list[str]:
    """Return what a declared look decided, and who continues, for the terminal."""
    number = look.planned.index(look.seeds) + 1
    lines = [f"look {number} of {len(look.planned)}, at {look.seeds} seeds:"]
    lines += [f"  {row.a} − {row.b}: {_decision(row, look)}" for row in look.decided]
    return [*lines, f"  {_what_next(look, number)}"]


def _decision(row: Decided, look: Look) -> str:
    size = f"{points(row.difference)} (p, corrected: {p_value(row.p_holm)})"
    chance = "hardly ever" if row.chance is None else f"with a chance of {100 * row.chance:.0f} %"
    by = f"shown by {look.planned[-1]} seeds {chance}"
    return {
        Settled.SHOWN: f"shown, {size}",
        Settled.OPEN: f"open, {size}; will be {by}",
        Settled.UNLIKELY: f"given up, {size}; would be {by}",
        Settled.NOT_SHOWN: f"not shown, {size}",
    }[row.state]


def _what_next(look: Look, number: int) -> str:
    if not look.goes_on:
        if number == len(look.planned):
            return "the budget is spent"
        return "stops here: nothing is left that more seeds are likely to decide"
    stopped = sorted(
        {arm for row in look.decided for arm in (row.a, row.b)}
        & {arm for arm, seeds in look.runs.items() if seeds == look.seeds} - set(look.goes_on)
    )
    rest = f"; {join(stopped)} {'stop' if stopped[1:] else 'stops'}" if stopped else ""
    return f"continues to {look.planned[number]} seeds with {join(look.goes_on)}{rest}"


def from_options(options: Namespace, loaded: Loaded, design: Design) -> int:
    """Run `paribus run` for the experiment that was loaded."""
    part = Part(arms=options.arms, seeds=options.seeds)
    part.check(design)
    executor = _executor(options.on, options.address, options.jobs)
    how = Execution(fork=options.fork, part=part)
    return run(loaded, design, options.runs, how, executor)


def run(
    loaded: Loaded,
    design: Design,
    root: Path,
    how: Execution,
    executor: Callable[[Callable[[str], None]], Executor],
) -> int:
    """Run an experiment, and print the table and the report's path.

    While runs that a part of it leaves out are missing no conclusion is drawn.
    """
    # Children inherit these: what a run computes must not depend on what the network answers.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    console = PlainConsole(
        file=enduring(sys.stdout),
        highlight=False,
        soft_wrap=not sys.stdout.isatty(),
    )
    if loaded.config.labels:
        read_labels(Path(loaded.config.labels))  # report a fault before anything is spent
    folder = ExperimentFolder(root / loaded.config.name)
    _refuse_inputs_in(folder.path, loaded, design)
    looks = read_looks(folder.ledger)
    refuse_another_plan(loaded.config, looks)
    design = design.up_to(stopped_at(looks))
    part = how.part.of(design)
    with Display(console, loaded.config.name, _specs(part)) as display:

        def note(line: str) -> None:
            console.print(escape(line))

        how = replace(
            how,
            executor=partial(executor, note),
            on_wait=lambda owner: note(f"waiting for {owner}, which checks this experiment"),
        )
        tell = partial(_tell_checked, console, loaded, root)
        look = partial(_take_look, console, folder)
        outcome = run_experiment(loaded, design, root, display, tell, look, how)
    _print_outcome(outcome, part, folder, console)
    going = design.up_to(stopped_at(read_looks(folder.ledger)))
    left = {spec.title for spec in outcome.left} & {spec.title for spec in going.runs}
    if left and part.runs != design.runs:
        console.print(escape(_about_left(sorted(left), len(design.runs))))
    else:
        show_report(folder, console)
    if outcome.failed:
        raise RunFailed(
            f"{len(outcome.failed)} of {len(part.runs)} runs failed; the others are kept",
            "fix the cause named above and run it again: what is complete is kept",
        )
    return 0


def _tell_checked(
    console: PlainConsole, loaded: Loaded, root: Path, settled: Design, violations: Sequence[Warned]
) -> None:
    """Print what `auto` settled, and what the rules found."""
    for line in chosen_lines(settled):
        console.print(line)
    serious = [
        violation for violation in violations if violation.rule.severity is not Severity.NOTE
    ]
    for line in violation_lines(serious):
        console.print(line)
    notes = len(violations) - len(serious)
    if notes:
        shown = command("plan", loaded.path, loaded.overrides, root, "--details")
        shown += f" shows {'them' if notes > 1 else 'it'}"
        console.print(f"{notes} note{'s' if notes > 1 else ''}: {escape(shown)}")


def _take_look(console: PlainConsole, folder: ExperimentFolder, seeds: int) -> tuple[str, ...]:
    """Print what a declared look decides; return the arms that continue."""
    taken = look_at(folder, seeds)
    for line in look_lines(taken):
        console.print(escape(line))
    return taken.goes_on


def _executor(
    on: str | None, address: str | None, jobs: int | None
) -> Callable[[Callable[[str], None]], Executor]:
    """Return what gives the executor: of a cluster, of the ranks that this process leads, or of it.

    It is given whom to tell what decides how many runs go on at once. Raises UserError if options
    do not go together, or Ray is not installed.
    """
    if address is not None and on is None:
        raise UserError("--address says where a cluster is, and none is asked for", "add --on ray")
    if ranks.count() > 1 and (on is not None or jobs != 1):
        asked = "--jobs" if on is None else "--on ray"
        raise UserError(
            f"a launcher's ranks do one run; {asked} does many",
            f"start `paribus run {asked}` without a launcher, or leave {asked} out",
        )
    if on is not None:
        if jobs != 1:
            raise UserError("--jobs is for one machine; Ray starts what fits", "leave --jobs out")
        from paribus.running.on_ray import on_ray, refuse_without_ray

        refuse_without_ray()  # before anything is checked
        return lambda _: on_ray(address)
    if ranks.count() == 1:
        return partial(on_this_machine, jobs)
    from paribus.running.ranks import OnRanks  # it imports what a run needs

    return lambda _: OnRanks()


def _about_left(titles: Sequence[str], runs: int) -> str:
    """Return what is still to be run where a part was asked for."""
    shown = join(titles) if len(titles) <= 3 else f"{', '.join(titles[:3])}, …"
    return (
        f"{len(titles)} of {runs} runs are left ({shown}): the report is written once "
        "all are complete"
    )


def _specs(design: Design) -> list[RunSpec]:
    return [*design.trials, *design.trials_to_come(), *design.runs]


def _print_outcome(
    outcome: ExperimentOutcome, design: Design, folder: ExperimentFolder, console: PlainConsole
) -> None:
    """Print that there was nothing to do, what trials found, and what failed."""
    if outcome.more:
        text = f"complete, and tested on more than is asked ({', '.join(outcome.more)})"
        console.print(f"nothing to do: {escape(text)}")
    if design.trials or design.searches:
        for line in describe_tuning(read_tuning(folder)):
            console.print(escape(line))
    for spec, message in outcome.failed:
        console.print(f"[red]failed[/] {spec.arm}/seed-{spec.replicate}: {escape(message)}")


def _refuse_inputs_in(folder: Path, loaded: Loaded, design: Design) -> None:
    """Raise StoreError if an input of the experiment is in the folder of its own runs."""
    files = [origin.file for origin in loaded.origins.values() if origin.file]
    texts = [text for arm in design.arms for text in (arm.config.model, arm.config.data.path)]
    named = [Path(text) for text in (*texts, loaded.config.labels) if text]
    inside = folder.resolve()
    for path in (loaded.path, *files, *(path for path in named if path.is_absolute())):
        if path.resolve().is_relative_to(inside):
            raise StoreError(
                f"{path} lies in {folder}, where this experiment's runs are written",
                "give the experiment another name (name=…), or put runs elsewhere with --runs DIR",
            )


def chosen_lines(design: Design) -> list[str]:
    """Return what `auto` settled, one line for all arms that it settled alike."""
    arms: dict[str, list[str]] = {}
    for arm in design.arms:
        training = arm.config.training
        passes = {
            "training.micro_batch": training.micro_batch,
            "training.checkpointing": str(training.checkpointing).lower(),
        }
        tests = {
            "evaluation.batch_size": arm.config.evaluation.batch_size,
            "evaluation.engine": arm.config.evaluation.engine,
        }
        for values in ({"training.precision": training.precision}, passes, tests):
            chosen = [f"{key}={value}" for key, value in values.items()
                      if arm.origins[key].kind == "auto"]  # fmt: skip
            if chosen:
                arms.setdefault(f"{', '.join(chosen)} (auto)", []).append(arm.name)
    return [
        f"{'all arms' if len(names) == len(design.arms) else ', '.join(names)}: {line}"
        for line, names in arms.items()
    ]


def describe_tuning(arms: Mapping[str, ArmTuning]) -> list[str]:
    """Return one line for each arm: what was found, and a warning at an edge of what was tried."""
    lines = []
    for arm, row in arms.items():
        tried = len(row.trials)
        failed = sum(trial.state == "failed" for trial in row.trials)
        if row.search:
            lines.append(f"{arm}: {_searched(row, row.search, failed)}")
            continue
        if row.chosen is None:
            lines.append(f"{arm}: none of {tried} learning rates can be chosen")
            continue
        text = f"{arm}: learning rate {row.chosen:g}, best of {tried}"
        text += f" ({failed} failed)" if failed else ""
        if row.edge:
            beyond = {"low": "lowest: a lower", "high": "highest: a higher"}[row.edge]
            text += f"; warning: it is the {beyond} one may be better, widen tune.learning_rates"
        lines.append(text)
    return lines


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _searched(row: ArmTuning, search: Searched, failed: int) -> str:
    """Return what the search of an arm came to: `training.learning_rate=0.0002, best of 12`."""
    best, tried = row.best, len(row.trials)
    if best is None or best.values is None:
        return f"none of {tried} trials can be chosen"
    text = ", ".join(f"{key}={_shown(value)}" for key, value in best.values.items())
    text += f", best of {tried}" + (f" ({failed} failed)" if failed else "")
    ends = [f"{key} is near the {end} end" for key, end in search.edges.items()]
    return f"{text}; warning: {join(ends)}, widen tune.space" if ends else text
