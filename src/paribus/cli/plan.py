"""`paribus plan FILE`: what would be run, what is complete, what each arm reads. Spends nothing."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from paribus.analysis.robustness import read_labels
from paribus.config.load import Loaded, load
from paribus.config.spec import RunSpec, flatten
from paribus.errors import UserError
from paribus.experiment.arms import Arm
from paribus.experiment.local import is_complete
from paribus.experiment.matrix import Design, expand
from paribus.experiment.tuning import known_rates, settle
from paribus.planning.foresight import foresee
from paribus.planning.inputs import prepare
from paribus.prompts.protocols import main_protocol, protocols
from paribus.store.layout import ExperimentFolder
from paribus.store.runs import state
from paribus.training.batching import order_seed, training_length


def plan(file: Path, values: Sequence[str], root: Path, *, explain: bool, as_json: bool) -> int:
    """Print the plan of the experiment in `file`."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    loaded = load(file, values)
    if loaded.config.labels:
        read_labels(Path(loaded.config.labels))  # a fault is told before anything is spent
    design = expand(loaded)
    folder = ExperimentFolder(root / loaded.config.name)
    design = settle(design, known_rates(design, folder))
    console = Console(highlight=False)
    if explain:
        console.print(_origins(loaded, design))
        return 0
    made = _plan(loaded, design, folder)
    if as_json:
        print(json.dumps(made, indent=2, ensure_ascii=False))
    else:
        _show(made, console)
    return 0


def _plan(loaded: Loaded, design: Design, folder: ExperimentFolder) -> dict[str, Any]:
    arms = [_arm(arm, design) for arm in design.arms]
    return {
        "experiment": loaded.config.name,
        "question": loaded.config.question,
        "arms": arms,
        "foresight": _foresight(loaded, design, arms),
        "trials": [
            {"learning_rate": spec.config.training.learning_rate, **_run(spec, folder)}
            for spec in design.trials
        ],
        "runs": [
            {"seed": spec.replicate, **_run(spec, folder, known=spec.arm not in design.open)}
            for spec in design.runs
        ],
        "contrasts": [{"a": c.a, "b": c.b, "factor": c.factor} for c in design.contrasts],
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
        comparisons=len(design.contrasts),
        hypothesis=loaded.config.hypothesis,
    )
    return {
        "detectable": found.detectable,
        "claimed": found.claimed,
        "sentence": found.sentence,
        "warning": found.warning or None,
    }


def _arm(arm: Arm, design: Design) -> dict[str, Any]:
    """Return what an arm is and reads; `unknown` says why it cannot be known what it reads."""
    config = arm.config
    rates = [t.config.training.learning_rate for t in design.trials if t.arm == arm.name]
    trains, is_open = config.method != "none", arm.name in design.open
    row: dict[str, Any] = {
        "name": arm.name,
        "method": config.method,
        "variant": config.data.variant,
        "protocol": main_protocol(config).name,
        "also": [protocol.name for protocol in protocols(config)[1:]],
        "learning_rate": config.training.learning_rate if trains and not is_open else None,
        "learning_rates": rates or None,
        "steps": None,
        "planned_target_tokens": None,
        "tokens": None,
        "unknown": None,
    }
    first = next(run for run in design.runs if run.arm == arm.name)
    try:
        inputs = prepare(config, first.seed)
    except UserError as error:
        return row | {"unknown": str(error)}
    row["tokens"] = inputs.tokens()
    if trains:
        lengths = [example.target_length for example in inputs.examples]
        planned = training_length(lengths, config.training, order_seed(first.stream))
        row["steps"], row["planned_target_tokens"] = planned
    return row


def _run(spec: RunSpec, folder: ExperimentFolder, *, known: bool = True) -> dict[str, Any]:
    """Return a run's or a trial's place and state; `known`: whether its learning rate is."""
    complete = known and is_complete(spec, folder)
    return {
        "arm": spec.arm,
        "fingerprint": spec.fingerprint if known else None,
        "state": "complete" if complete else state(folder.of(spec)).value,
    }


def _show(made: dict[str, Any], console: Console) -> None:
    complete = sum(run["state"] == "complete" for run in made["runs"])
    console.print(f"[bold]{made['experiment']}[/]  {escape(made['question'])}")
    console.print(
        f"{len(made['arms'])} arms, {len(made['runs'])} runs, {complete} complete, "
        f"{len(made['contrasts'])} contrasts"
    )
    if made["trials"]:
        states = Counter(trial["state"] for trial in made["trials"])
        counts = ", ".join(f"{count} {name}" for name, count in states.items())
        console.print(f"{len(made['trials'])} trials of learning rates: {counts}")
    console.print()
    console.print(_arms(made))
    console.print()
    console.print(_tokens(made))
    for reason in dict.fromkeys(arm["unknown"] for arm in made["arms"] if arm["unknown"]):
        names = ", ".join(arm["name"] for arm in made["arms"] if arm["unknown"] == reason)
        console.print(f"\n[yellow]not known[/] for {names}: {escape(reason)}")
    if made["foresight"]:
        console.print(f"\n{made['foresight']['sentence']}", soft_wrap=True)
        if made["foresight"]["warning"]:
            console.print(f"[yellow]warning:[/] {made['foresight']['warning']}", soft_wrap=True)


def _arms(made: dict[str, Any]) -> Table:
    table = _table(["arm", "method", "variant", "protocol", "learning rate", "runs complete"])
    for arm in made["arms"]:
        runs = [run for run in made["runs"] if run["arm"] == arm["name"]]
        done = sum(run["state"] == "complete" for run in runs)
        table.add_row(
            arm["name"],
            arm["method"],
            arm["variant"],
            arm["protocol"],
            _rate(arm),
            f"{done} of {len(runs)}",
        )
    return table


def _rate(arm: dict[str, Any]) -> str:
    """Return an arm's learning rate in words: stated, found, or still to be found."""
    rate, tried = arm["learning_rate"], len(arm["learning_rates"] or [])
    if rate is None:
        return f"tuned over {tried}" if tried else ""
    return f"{rate:g}, best of {tried}" if tried else f"{rate:g}"


def _tokens(made: dict[str, Any]) -> Table:
    """Return what each arm reads: problems and tokens, and what had to be left out."""
    table = _table(
        ["arm"], ["steps", "examples", "too long", "targets", "planned", "tests", "longest"]
    )
    for arm in made["arms"]:
        tokens = arm["tokens"]
        if tokens is None:
            table.add_row(arm["name"], *["?"] * 7)
            continue
        longest = max(tokens["longest_example"], tokens["longest_prompt"])
        table.add_row(
            arm["name"],
            "" if arm["steps"] is None else str(arm["steps"]),
            f"{tokens['train_examples']:,}",
            f"{tokens['train_dropped_too_long']:,}",
            f"{tokens['target_tokens']:,}",
            "" if arm["steps"] is None else f"{arm['planned_target_tokens']:,}",
            f"{tokens['test_prompts']:,}",
            f"{longest:,}",
        )
    table.caption = (
        "too long: training examples over prompt.max_tokens, left out. targets: tokens with "
        "loss per epoch; planned: in all steps. longest: tokens of the longest training example "
        "or test prompt."
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
