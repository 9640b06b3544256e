"""`paribus plan FILE`: what would be run, what is complete, what each arm reads. Spends nothing."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from paribus.config.load import Loaded, load
from paribus.config.spec import flatten
from paribus.errors import UserError
from paribus.experiment.local import is_complete
from paribus.experiment.matrix import Design, expand
from paribus.planning.inputs import prepare
from paribus.store.layout import ExperimentFolder
from paribus.store.runs import state
from paribus.training.batching import count_steps


def plan(file: Path, values: Sequence[str], root: Path, *, explain: bool, as_json: bool) -> int:
    """Print the plan of the experiment in `file`."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    loaded = load(file, values)
    design = expand(loaded)
    console = Console(highlight=False)
    if explain:
        console.print(_origins(loaded, design))
        return 0
    made = _plan(loaded, design, ExperimentFolder(root / loaded.config.name))
    if as_json:
        print(json.dumps(made, indent=2, ensure_ascii=False))
    else:
        _show(made, console)
    return 0


def _plan(loaded: Loaded, design: Design, folder: ExperimentFolder) -> dict[str, Any]:
    arms = []
    for arm in design.arms:
        config = arm.config
        row: dict[str, Any] = {
            "name": arm.name,
            "method": config.method,
            "variant": config.data.variant,
            "protocol": config.evaluation.protocol,
            "learning_rate": None if config.method == "none" else config.training.learning_rate,
            "steps": None,
            "tokens": None,
            "unknown": None,
        }
        try:
            row["tokens"] = prepare(config, loaded.config.seed).tokens()
        except UserError as error:
            row["unknown"] = str(error)
        if row["tokens"] and config.method != "none":
            row["steps"] = count_steps(
                row["tokens"]["train_examples"],
                epochs=config.training.epochs,
                batch_size=config.training.batch_size,
                max_steps=config.training.max_steps,
            )
        arms.append(row)
    return {
        "experiment": loaded.config.name,
        "question": loaded.config.question,
        "arms": arms,
        "runs": [
            {
                "arm": spec.arm,
                "seed": spec.replicate,
                "fingerprint": spec.fingerprint,
                "state": "complete"
                if is_complete(spec, folder)
                else state(folder.run(spec.arm, spec.replicate)).value,
            }
            for spec in design.runs
        ],
        "contrasts": [{"a": c.a, "b": c.b, "factor": c.factor} for c in design.contrasts],
    }


def _show(made: dict[str, Any], console: Console) -> None:
    complete = sum(run["state"] == "complete" for run in made["runs"])
    console.print(f"[bold]{made['experiment']}[/]  {escape(made['question'])}")
    console.print(
        f"{len(made['arms'])} arms, {len(made['runs'])} runs, {complete} complete, "
        f"{len(made['contrasts'])} contrasts\n"
    )
    console.print(_arms(made))
    console.print()
    console.print(_tokens(made))
    for reason in dict.fromkeys(arm["unknown"] for arm in made["arms"] if arm["unknown"]):
        names = ", ".join(arm["name"] for arm in made["arms"] if arm["unknown"] == reason)
        console.print(f"\n[yellow]not known[/] for {names}: {escape(reason)}")


def _arms(made: dict[str, Any]) -> Table:
    table = _table(["arm", "method", "variant", "protocol", "learning rate", "runs complete"])
    for arm in made["arms"]:
        runs = [run for run in made["runs"] if run["arm"] == arm["name"]]
        done = sum(run["state"] == "complete" for run in runs)
        rate = "" if arm["learning_rate"] is None else f"{arm['learning_rate']:g}"
        table.add_row(
            arm["name"],
            arm["method"],
            arm["variant"],
            arm["protocol"],
            rate,
            f"{done} of {len(runs)}",
        )
    return table


def _tokens(made: dict[str, Any]) -> Table:
    """Return what each arm reads: problems and tokens, and what had to be left out."""
    table = _table(["arm"], ["steps", "examples", "too long", "targets", "tests", "longest"])
    for arm in made["arms"]:
        tokens = arm["tokens"]
        if tokens is None:
            table.add_row(arm["name"], *["?"] * 6)
            continue
        longest = max(tokens["longest_example"], tokens["longest_prompt"])
        table.add_row(
            arm["name"],
            "" if arm["steps"] is None else str(arm["steps"]),
            f"{tokens['train_examples']:,}",
            f"{tokens['train_dropped_too_long']:,}",
            f"{tokens['target_tokens']:,}",
            f"{tokens['test_prompts']:,}",
            f"{longest:,}",
        )
    table.caption = (
        "too long: training examples over prompt.max_tokens, left out. targets: tokens with "
        "loss per epoch. longest: tokens of the longest training example or test prompt."
    )
    table.caption_justify = "left"
    return table


def _table(headings: Sequence[str], numbers: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _origins(loaded: Loaded, design: Design) -> Table:
    """Return every value with its origin, the experiment's first, then what each arm changes."""
    table = _table(["key", "value", "from"])
    for key, value in flatten(asdict(loaded.config)).items():
        table.add_row(key, escape(json.dumps(value)), escape(str(loaded.origins.get(key, ""))))
    for arm in design.arms:
        for key, value in flatten(asdict(arm.config)).items():
            origin = arm.origins.get(key)
            if origin is not None and str(origin) != str(loaded.origins.get(key)):
                table.add_row(f"{arm.name}: {key}", escape(json.dumps(value)), escape(str(origin)))
    return table
