"""`paribus status [FILE]`: how far every run has come."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from paribus.cli.places import experiment_folder
from paribus.files import read_json
from paribus.store.experiments import read_description
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.runs import RunState, read_events, state


def status(file: Path | None, values: Sequence[str], root: Path, *, as_json: bool) -> int:
    """Print the state of one experiment's runs, or of all under `root`."""
    if file is not None:
        folders = [experiment_folder(file, values, root)]
    else:
        found = sorted(root.glob("*/experiment.yaml"))
        folders = [ExperimentFolder(description.parent) for description in found]
    rows = [row for folder in folders for row in _rows(folder)]
    console = Console(highlight=False)
    if as_json:
        print(json.dumps(rows, indent=2))
    elif not rows:
        console.print(f"no runs under {root}; start with: paribus run FILE")
    else:
        console.print(_table(rows))
    return 0


def _rows(folder: ExperimentFolder) -> list[dict[str, Any]]:
    """Return one row per trial and run of the design, run or not, in its order."""
    description = read_description(folder)
    seeds = description["config"]["seeds"]
    trials = [
        _row(folder, folder.trial(trial["arm"], trial["learning_rate"]), trial)
        for trial in description.get("trials", [])
    ]
    return trials + [
        _row(folder, folder.run(arm["name"], replicate), {"arm": arm["name"], "seed": replicate})
        for arm in description["arms"]
        for replicate in range(1 if arm["identity"]["method"] == "none" else seeds)
    ]


def _row(folder: ExperimentFolder, run: RunFolder, which: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of the run or trial in `run`; `which` names its arm, and seed or rate."""
    now = state(run)
    steps = read_events(run, "step")
    failed = now is RunState.FAILED
    return {
        "experiment": folder.path.name,
        "arm": which["arm"],
        "seed": which.get("seed"),
        "learning_rate": which.get("learning_rate"),
        "state": now.value,
        "steps": f"{steps[-1]['step']}/{steps[-1]['num_steps']}" if steps else None,
        "age_seconds": round(time.time() - run.spec.stat().st_mtime) if run.spec.exists() else None,
        "error": read_json(run.failure)["error"] if failed else None,
    }


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("experiment", "arm", "seed", "state", "steps", "begun"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        shown = row["state"] + (f": {row['error'].splitlines()[0]}" if row["error"] else "")
        table.add_row(
            row["experiment"],
            row["arm"],
            f"lr {row['learning_rate']:g}" if row["seed"] is None else str(row["seed"]),
            escape(shown),
            row["steps"] or "",
            "" if row["age_seconds"] is None else f"{_span(row['age_seconds'])} ago",
        )
    return table


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
