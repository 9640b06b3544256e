"""The pages of a plan. First: verdict, time, memory, arms, what the design shows, warnings.

    quickstart: can be run. 5 arms, 5 runs, 8 contrasts.
    Time: about 9 min 30 s.
    Memory: 6.6 GB at the peak (full-socratic); there are 24.0 GB of CPU, 24 GB.

`--details` adds tables: arms, texts, memory by part, other ways to train, pairs not compared.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from paribus.analysis.wording import join
from paribus.cli.console import captioned, table_of
from paribus.cli.plan_memory import probed, show_memory
from paribus.cli.plan_texts import left_out, tokens_table
from paribus.cli.warnings import violation_lines
from paribus.config.load import Loaded
from paribus.config.nested import flatten
from paribus.config.schema import values_of
from paribus.design.matrix import Design
from paribus.errors import UserError
from paribus.planning.devices import GB
from paribus.planning.plan import Plan, PlannedArm
from paribus.planning.preflight import Warned
from paribus.planning.rules.card import Severity
from paribus.planning.rules.environment import OVER_DISK, OVER_MEMORY, size
from paribus.report.units import duration

_MOST_DETAILED_PAIRS = 50


def show_details(plan: Plan, console: Console) -> None:
    """Print the tables of the plan `plan`, each behind an empty line."""
    console.print()
    console.print(_arms_table(plan))
    if any(arm.tokens for arm in plan.arms):
        console.print()
        console.print(tokens_table(plan))
    show_memory(plan, console)
    if plan.not_compared:
        console.print()
        console.print(_apart_table(plan))


def _arms_table(plan: Plan) -> Table:
    table = table_of(["arm", "method", "variant", "protocol", "learning rate", "runs complete"])
    for arm in plan.arms:
        runs = [run for run in plan.runs if run.arm == arm.name]
        done = sum(run.state == "complete" for run in runs)
        table.add_row(
            arm.name,
            arm.method,
            arm.variant,
            arm.protocol,
            rate_of(arm),
            f"{done} of {len(runs)}",
        )
    return table


def rate_of(arm: PlannedArm) -> str:
    """Return an arm's learning rate in words: stated, by default, found, or still to be found."""
    rate, tried = arm.learning_rate, len(arm.learning_rates or [])
    if rate is None:
        return f"tuned over {tried}" if tried else "tuned" if arm.method != "none" else ""
    if tried:
        return f"{rate:g}, best of {tried}"
    by_default = (arm.learning_rate_from or "").startswith("default")
    return f"{rate:g} (default)" if by_default else f"{rate:g}"


def _apart_table(plan: Plan) -> Table:
    """Return the pairs that are not compared, and why."""
    table = table_of(["not compared", "with", "as they differ in"])
    for pair in plan.not_compared[:_MOST_DETAILED_PAIRS]:
        table.add_row(pair.a, pair.b, escape(pair.factor.replace(" + ", ", ")))
    hidden = len(plan.not_compared) - _MOST_DETAILED_PAIRS
    text = f"{hidden:,} more such pairs: --json has them. " if hidden > 0 else ""
    return captioned(table, f"{text}Compare them all the same: contrasts: [[A, B], …].")


def origins_table(loaded: Loaded, design: Design) -> Table:
    """Return every value with its origin, the experiment's first, then what each arm changes."""
    table = Table(box=None, pad_edge=False)
    table.add_column("key", no_wrap=True)  # it is looked for by name
    table.add_column("value", overflow="fold")
    table.add_column("from", overflow="fold")
    for key, value in flatten(values_of(loaded.config)).items():
        table.add_row(key, escape(json.dumps(value)), escape(str(loaded.origins.get(key, ""))))
    for arm in design.arms:
        for key, value in flatten(values_of(arm.config)).items():
            origin = arm.origins.get(key)
            if origin is not None and str(origin) != str(loaded.origins.get(key)):
                table.add_row(f"{arm.name}: {key}", escape(json.dumps(value)), escape(str(origin)))
    return table


_MOST_ARMS = 8
"""Listed on the first page."""
_MOST_PAIRS = 3
"""That are not compared, likewise."""
_MOST_LINES = 3
"""Differences from what is stored, likewise."""


def verdict(plan: Plan, stops: Sequence[UserError]) -> str:
    """Return whether the plan `plan` can be run, in a few words; `stops` is what refuses it."""
    states = Counter(run.state for run in plan.runs)
    unfit = [
        violation for violation in plan.violations if violation.rule in (OVER_MEMORY, OVER_DISK)
    ]
    if stops:
        more = f" (and {len(stops) - 1} more)" if len(stops) > 1 else ""
        return f"cannot be run: {stops[0].message.splitlines()[0]}{more}"
    if plan.stored:
        return "would be refused by `paribus run`: the runs stored under this name are others"
    if unfit:
        return f"does not fit: {unfit[0].found}"
    if states["complete"] == len(plan.runs):
        return "is complete"
    if any(arm.tokens is None for arm in plan.arms):
        return "can be run, as far as is known here"
    return "can be run"


def show(
    plan: Plan, console: Console, refused: frozenset[str], more: str, *, details: bool
) -> None:
    """Print the plan `plan`: one page, or all `details`.

    `refused` are the rules whose errors are said elsewhere; `more` is the command for the details.
    """
    summary = [*_head(plan), *_needs(plan), *_searches(plan), *_looks(plan)]
    for line in (*summary, *_stored(plan, details=details)):
        console.print(line, soft_wrap=True)
    if details:
        show_details(plan, console)
    elif len(plan.arms) <= _MOST_ARMS:
        console.print()
        console.print(_arms(plan))
    if any(arm.probe for arm in plan.arms):
        console.print()
        console.print(probed(plan))
    parts = [*_unknown(plan), *_foresight(plan), *([] if details else _apart(plan))]
    seen = [
        _for_all(violation, plan)
        for violation in plan.violations
        if violation.rule.id not in refused
    ]
    notes = [] if details else [row for row in seen if row.rule.severity is Severity.NOTE]
    parts += violation_lines([row for row in seen if row not in notes])
    if parts:
        console.print()
    for line in parts:
        console.print(line, soft_wrap=True)
    if not details:
        count = f"{len(notes)} note{'s' if len(notes) > 1 else ''}, " if notes else ""
        text = f"{count}texts, memory by part, other ways to train: {more}"
        console.print(f"{escape(text[0].upper() + text[1:])}", soft_wrap=True)


def _for_all(violation: Warned, plan: Plan) -> Warned:
    """Return the violation with its arms in two words where it is every arm's."""
    every = len(violation.arms) == len(plan.arms) > 1
    return replace(violation, arms=("all arms",)) if every else violation


def _head(plan: Plan) -> list[str]:
    """Return the verdict and how much there is to do."""
    complete = sum(run.state == "complete" for run in plan.runs)
    counts = [
        _counted(len(plan.arms), "arm"),
        _counted(len(plan.runs), "run") + (f" ({complete} complete)" if complete else ""),
        _counted(len(plan.contrasts), "contrast"),
    ]
    if plan.trials:
        states = Counter(trial.state for trial in plan.trials)
        counted = ", ".join(f"{count} {name}" for name, count in states.items())
        of = "in tune.space" if plan.searches else "of learning rates"
        counts.append(f"{len(plan.trials)} trials {of} ({counted})")
    return [f"[bold]{plan.experiment}[/]: {escape(plan.verdict)}. {', '.join(counts)}."]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _needs(plan: Plan) -> list[str]:
    """Return what the experiment takes: time, memory, disk, and what that is based on."""
    device, left, whole = plan.device, plan.seconds_left, plan.seconds
    if left is None or whole is None:
        lines = ["[bold]Time[/]: not known."]
    elif left < whole:
        lines = [f"[bold]Time[/]: about {duration(left)} are left of {duration(whole)}."]
    else:
        lines = [f"[bold]Time[/]: about {duration(whole)}."]
    there = f"{size(device.memory_bytes)} of {device.title}"
    lines.append(f"[bold]Memory[/]: {escape(f'{_highest(plan)}; there are {there}')}.")
    disk, passing = plan.disk_bytes, plan.checkpoint_bytes
    if disk is not None and passing is not None:
        weights, kept = size(disk), size(passing)
        lines.append(f"[bold]Disk[/]: {weights} for weights, {kept} for checkpoints meanwhile.")
    layouts = dict.fromkeys(arm.tokens.layout for arm in plan.arms if arm.tokens)
    if named := [layout for layout in layouts if layout]:
        text = f"{join(named)}, recognised by their columns"
        lines.append(f"[bold]Rows[/]: {text}; the task does not say how they become text.")
    lines += left_out(plan)
    notes = [arm.estimate.assumed_lengths for arm in plan.arms if arm.estimate]
    based = [f"lengths of texts are assumed: {note}" for note in dict.fromkeys(notes) if note]
    based.append(f"speed of the device: {device.assumed}")
    return lines + [f"{escape(text[0].upper() + text[1:])}." for text in based]


def _highest(plan: Plan) -> str:
    """Return the highest peak of memory in words, with its arm."""
    known = [(arm.name, arm.estimate) for arm in plan.arms if arm.estimate]
    if not known:
        return "not known"
    name, highest = max(known, key=lambda pair: pair[1].peak_bytes)
    peak = f"{size(highest.peak_bytes)} at the peak ({name})"
    if highest.tensor_bytes is None:
        return peak
    return f"{peak}, of which tensors take {size(highest.tensor_bytes)}"


def _searches(plan: Plan) -> list[str]:
    """Return what each arm is tuned over, and what its trials may take."""
    lines = []
    for search in plan.searches:
        budget = f"{search.trials} trials"
        if search.flops:
            budget = f"as many trials as {search.flops:.3g} operations pay for"
        dearest = ""
        if search.trial_flops:
            dearest = f"; one trains with up to {search.trial_flops:.3g} operations"
        keys = join([*search.keys])
        text = f"{search.arm} over {keys}: {budget} by {search.sampler}{dearest}"
        lines.append(f"[bold]Search[/]: {escape(text)}.")
    return lines


def _looks(plan: Plan) -> list[str]:
    """Return when the runs are looked at, and what they take at least and at most."""
    looks = plan.looks
    if not looks:
        return []
    text = f"[bold]Looks[/]: at {join([*map(str, looks.seeds)])} seeds"
    if looks.taken:
        text += f", {looks.taken} of them taken"
    if looks.over:
        return [f"{text}; nothing is left that more seeds are likely to decide."]
    runs, ends = f"{looks.least_runs} to {looks.most_runs} runs", ""
    if looks.least_seconds is not None and looks.most_seconds is not None:
        ends = f", {duration(looks.least_seconds)} to {duration(looks.most_seconds)}"
    return [f"{text}; {runs}{ends}, by what each look leaves open."]


def _stored(plan: Plan, *, details: bool) -> list[str]:
    """Return what in the store would stop a run, and what to do."""
    if not plan.stored:
        return []
    parts = [part.strip() for error in plan.stored for part in error.message.splitlines()]
    lines = list(dict.fromkeys(parts))
    kept = lines if details else lines[: 1 + _MOST_LINES]
    hidden = f" … {len(lines) - len(kept)} more such lines" if len(lines) > len(kept) else ""
    text = [f"[yellow]stored[/] {escape(kept[0])}", *(f"  {escape(line)}" for line in kept[1:])]
    remedies = dict.fromkeys(error.remedy for error in plan.stored)
    text += [f" {hidden}"] if hidden else []
    return text + [f"  → {escape(remedy)}" for remedy in remedies]


def _arms(plan: Plan) -> Table:
    """Return each arm in one line: what it is, and what one run of it takes."""
    validates = any(arm.estimate and arm.estimate.validation_seconds for arm in plan.arms)
    figures = ["peak GB", "train", *["validate"] * validates, "test"]
    table = table_of(["arm", "method", "learning rate", "runs complete"], figures)
    for arm in plan.arms:
        states = [run.state for run in plan.runs if run.arm == arm.name]
        done = f"{states.count('complete')} of {len(states)}"
        row = arm.estimate
        taken = ["?"] * len(figures)
        if row:
            train = duration(row.train_seconds) if row.training else ""
            between = duration(row.validation_seconds) if row.validation_seconds else ""
            taken = [f"{row.peak_bytes / GB:.1f}", train, *[between] * validates,
                     duration(row.eval_seconds)]  # fmt: skip
        table.add_row(arm.name, arm.method, rate_of(arm), done, *taken)
    return table


def _unknown(plan: Plan) -> list[str]:
    """Return what could not be read, with the arms that read it."""
    arms: dict[str, list[str]] = {}
    for arm in plan.arms:
        if arm.unknown:
            arms.setdefault(arm.unknown, []).append(arm.name)
    return [
        f"[yellow]not known[/] for {', '.join(names)}: {escape(reason)}"
        for reason, names in arms.items()
    ]


def _apart(plan: Plan) -> list[str]:
    """Return which pairs of arms are not compared, or how many, and why."""
    pairs = plan.not_compared
    if not pairs:
        return []
    named = ", ".join(f"{pair.a} with {pair.b}" for pair in pairs)
    text = named if len(pairs) <= _MOST_PAIRS else f"{len(pairs):,} pairs (--details lists them)"
    return [f"Not compared, as they differ in several factors: {text}."]


def _foresight(plan: Plan) -> list[str]:
    """Return what the design shows, and a warning where the hypothesis claims less."""
    foresight, tasks = plan.foresight, [escape(task.sentence) for task in plan.tasks]
    if not foresight:
        return tasks
    warned = [f"[yellow]warning:[/] {foresight.warning}"] if foresight.warning else []
    return [foresight.sentence, *warned, *tasks]
