"""The details of a plan, as tables: arms, texts, memory by part, other ways, what is left out."""

import json
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from paribus.cli.plan_memory import show_memory
from paribus.cli.tables import captioned, table_of
from paribus.config.load import Loaded
from paribus.config.spec import flatten
from paribus.experiment.matrix import Design
from paribus.experiment.plan import Plan, PlannedArm

_MOST_PAIRS = 50


def show_details(plan: Plan, console: Console) -> None:
    """Print the tables of the plan `plan`, each behind an empty line."""
    console.print()
    console.print(_arms(plan))
    if any(arm.tokens for arm in plan.arms):
        console.print()
        console.print(_tokens(plan))
    show_memory(plan, console)
    if plan.not_compared:
        console.print()
        console.print(_apart(plan))


def _arms(plan: Plan) -> Table:
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
        return f"tuned over {tried}" if tried else ""
    if tried:
        return f"{rate:g}, best of {tried}"
    by_default = (arm.learning_rate_from or "").startswith("default")
    return f"{rate:g} (default)" if by_default else f"{rate:g}"


def _tokens(plan: Plan) -> Table:
    """Return what each arm reads: problems and tokens, and what had to be left out."""
    table = table_of(
        ["arm"], ["steps", "examples", "too long", "targets", "planned", "tests", "longest"]
    )
    for arm in plan.arms:
        tokens = arm.tokens
        if tokens is None:
            table.add_row(arm.name, *["?"] * 7)
            continue
        longest = max(tokens.longest_example, tokens.longest_prompt)
        table.add_row(
            arm.name,
            "" if arm.steps is None else str(arm.steps),
            f"{tokens.train_examples:,}",
            f"{tokens.train_dropped_too_long:,}",
            f"{tokens.target_tokens:,}",
            "" if arm.steps is None else f"{arm.planned_target_tokens:,}",
            f"{tokens.test_prompts:,}",
            f"{longest:,}",
        )
    return captioned(
        table,
        "too long: training examples over prompt.max_tokens, left out. targets: tokens with "
        "loss per epoch; planned: in all steps. longest: tokens of the longest training example "
        "or test prompt.",
    )


def _apart(plan: Plan) -> Table:
    """Return the pairs that are not compared, and why."""
    table = table_of(["not compared", "with", "as they differ in"])
    for pair in plan.not_compared[:_MOST_PAIRS]:
        table.add_row(pair.a, pair.b, escape(pair.factor.replace(" + ", ", ")))
    hidden = len(plan.not_compared) - _MOST_PAIRS
    said = f"{hidden:,} more such pairs: --json has them. " if hidden > 0 else ""
    return captioned(table, f"{said}Compare them all the same: contrasts: [[A, B], …].")


def origins_table(loaded: Loaded, design: Design) -> Table:
    """Return every value with its origin, the experiment's first, then what each arm changes."""
    table = Table(box=None, pad_edge=False)
    table.add_column("key", no_wrap=True)  # it is looked for by name
    table.add_column("value", overflow="fold")
    table.add_column("from", overflow="fold")
    for key, value in flatten(asdict(loaded.config)).items():
        table.add_row(key, escape(json.dumps(value)), escape(str(loaded.origins.get(key, ""))))
    for arm in design.arms:
        for key, value in flatten(asdict(arm.config)).items():
            origin = arm.origins.get(key)
            if origin is not None and str(origin) != str(loaded.origins.get(key)):
                table.add_row(f"{arm.name}: {key}", escape(json.dumps(value)), escape(str(origin)))
    return table
