"""`paribus status [FILE]`: what every run is doing, how far it came, and where it would resume.

experiment  arm   seed  state                                          progress  begun  changed
gsm8k       full  0     complete                                  400/400 steps    2 d      2 d
gsm8k       lora  0     unfinished: resumes from step 120 of 400  134/400 steps    3 h      2 h
begun, changed: how long ago
"""

import json
import shlex
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from paribus.cli.arguments import command
from paribus.cli.console import PlainConsole, captioned, table_of
from paribus.cli.folders import experiment_folder
from paribus.errors import StoreError
from paribus.store.experiments import DescribedTrial, Description, read_description
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.ledger import about_further, read_looks, still_to_test, stopped_at
from paribus.store.runs import RunState
from paribus.store.status import RunStatus, experiments_in, is_trial, run_status


def from_options(options: Namespace) -> int:
    """Run `paribus status`."""
    return status(options.file, options.values, options.runs, as_json=options.json)


def status(file: Path | None, values: Sequence[str], root: Path, *, as_json: bool) -> int:
    """Print the state of one experiment's runs, or of all under `root`.

    Raises StoreError, after what can be shown, for experiments whose description is damaged.
    """
    if file is None and root.exists() and not root.is_dir():
        raise StoreError(f"{root} is not a folder", "name the folder in which runs are kept")
    folders = [experiment_folder(file, values, root)] if file else experiments_in(root)
    rows: list[dict[str, Any]] = []
    damaged: list[StoreError] = []
    for folder in folders:
        try:
            rows += _rows(folder)
        except StoreError as error:
            damaged.append(error)
    _show(rows, root, as_json=as_json, expected=not damaged)
    if damaged:
        raise StoreError("\n  ".join(error.message for error in damaged), damaged[0].remedy)
    return 0


def _show(rows: Sequence[dict[str, Any]], root: Path, *, as_json: bool, expected: bool) -> None:
    """Print the rows; without any, how to begin, if nothing else explains it."""
    console = PlainConsole(highlight=False)
    if as_json:
        print(json.dumps(rows, indent=2))
    elif rows:
        console.print(_table(rows))
        for row in rows:
            if row["state"] == RunState.DAMAGED:
                verify = f"paribus verify {shlex.quote(row['folder'])}"
                console.print(f"  → {escape(verify)} says what is damaged", soft_wrap=True)
    elif expected:
        start = command("run", Path("FILE"), (), root)
        console.print(f"no runs under {escape(str(root))}; start with: {escape(start)}")


def _rows(folder: ExperimentFolder) -> list[dict[str, Any]]:
    """Return one row per trial and run of the design, run or not, in its order."""
    description = read_description(folder)
    stopped = stopped_at(read_looks(folder.ledger)) if description.config.get("looks") else {}
    trials = [
        _row(folder, folder.trial(trial.arm, trial.name), trial.model_dump())
        for trial in (*description.trials, *_beyond(folder, description))
    ]
    return trials + [
        _row(
            folder,
            folder.run(arm.name, replicate),
            {"arm": arm.name, "seed": replicate, "identity": arm.identity},
        )
        for arm in description.arms
        for replicate in range(
            1 if arm.untuned else min(description.seeds, stopped.get(arm.name, description.seeds))
        )
    ]


def _beyond(folder: ExperimentFolder, description: Description) -> list[DescribedTrial]:
    """Return the trials that were begun under a budget, which does not say how many there are."""
    described = {(trial.arm, trial.number) for trial in description.trials}
    begun = [
        (path.parent.name, int(path.name.removeprefix("trial-")))
        for path in folder.path.glob("tuning/*/trial-*")
        if is_trial(path)
    ]
    return [
        DescribedTrial(arm=arm, number=number)
        for arm, number in sorted(begun)
        if (arm, number) not in described
    ]


def _row(folder: ExperimentFolder, run: RunFolder, which: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of the run or trial in `run`; `which` names its arm, and its seed, rate
    or number.

    Of a run it holds the identity that the arm has by now.
    """
    now = run_status(run)
    further = still_to_test(run, which.get("identity", {}))
    return {
        "experiment": folder.path.name,
        "arm": which["arm"],
        "seed": which.get("seed"),
        "learning_rate": which.get("learning_rate"),
        "trial": which.get("number"),
        "state": now.state.value,
        "steps": f"{now.step}/{now.steps}" if now.step is not None else None,
        "step": now.step,
        "of_steps": now.steps,
        "tested": now.tested,
        "to_test": now.to_test,
        "checkpoint_step": now.checkpoint,
        "goes_on_from": _goes_on(now),
        "still_to_test": about_further(further) if further else None,
        "age_seconds": now.begun,
        "changed_seconds": now.changed,
        "error": now.error,
        "folder": str(run.path),
    }


def _goes_on(now: RunStatus) -> str | None:
    """Return where `paribus run` would resume; None if the run is at work or would start over."""
    return now.goes_on if now.state in (RunState.UNFINISHED, RunState.FAILED) else None


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = table_of(("experiment", "arm", "seed", "state"), ("progress", "begun", "changed"))
    for row in rows:
        table.add_row(
            escape(row["experiment"]),
            escape(row["arm"]),
            _which(row),
            escape(_state(row)),
            _progress(row),
            _ago(row["age_seconds"]),
            _ago(row["changed_seconds"]),
        )
    return captioned(table, "begun, changed: how long ago")


def _state(row: Mapping[str, Any]) -> str:
    """Return the state, why, and where it would resume."""
    text: str = row["state"]
    if row["error"]:
        text += f": {row['error'].splitlines()[0]}"
    if row["still_to_test"]:
        text += f"; {row['still_to_test']}"
    if row["goes_on_from"]:
        text += f"{';' if row['error'] else ':'} resumes from {row['goes_on_from']}"
    return text


def _which(row: Mapping[str, Any]) -> str:
    """Return the seed of a run, or what tells a trial from others."""
    if row["trial"]:
        return f"trial {row['trial']}"
    return f"lr {row['learning_rate']:g}" if row["seed"] is None else str(row["seed"])


def _progress(row: Mapping[str, Any]) -> str:
    """Return the texts written if it is at that, else the steps done."""
    if row["tested"]:
        total = f"/{row['to_test']}" if row["to_test"] else ""
        return f"{row['tested']}{total} texts"
    return f"{row['steps']} steps" if row["steps"] else ""


def _ago(seconds: int | None) -> str:
    """Return 7384 as "2 h"; nothing for None."""
    if seconds is None:
        return ""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds} s"
