"""Runs that are interrupted at a chosen moment, and what must be equal in the end.

A moment is the n-th report of progress: loading, probing, each step, each problem tested. The run
works in its own process, forked from one that has the imports done.
"""

import json
import os
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from paribus.config.load import load
from paribus.config.spec import RunSpec
from paribus.design.matrix import expand
from paribus.running.isolated import Died, Send, in_child, run_here
from paribus.running.progress import Progress
from paribus.stopping import Stopped
from paribus.store.layout import RunFolder

CLOCK = {
    "seconds", "examples_per_second", "tokens_per_second", "target_tokens_per_second",
    "problems_per_second", "peak_memory_bytes", "peak_memory_gb", "time",
}  # fmt: skip
"""What no two runs have in common."""

NEVER = 10**9


def spec_of(model: Path, folder: Path, values: Mapping[str, Any]) -> RunSpec:
    """Return the first tuned run of a tiny experiment, or its baseline if `method` is none."""
    method = str(values.get("method", "full"))
    trains = ["full", "lora"] if method == "none" else [method]
    text = {
        "name": "tiny", "model": str(model), "matrix": {"method": trains},
        "data": {"train_size": 20, "test_size": 20, "max_number": 6},
        "prompt": {"max_tokens": 600},
        "training": {"batch_size": 4, "micro_batch": 4, "epochs": 1.2, "learning_rate": 1e-3,
                     "checkpoint_minutes": 0.0, "precision": "bf16"},
        "evaluation": {"max_new_tokens": 6, "batch_size": 1},
    }  # fmt: skip
    file = folder / "tiny.yaml"
    file.write_text(json.dumps(text))
    changes = [f"{key}={json.dumps(value)}" for key, value in values.items() if key != "method"]
    runs = expand(load(file, changes)).runs
    return next(run for run in runs if run.config.method == method)


def run_until(
    spec: RunSpec,
    folder: RunFolder,
    moment: int = NEVER,
    number: int = signal.SIGKILL,
    *,
    fork: bool = False,
) -> list[Progress]:
    """Run `spec`; at the `moment`-th report the process gets a signal. Return the reports."""
    reports: list[Progress] = []
    try:
        in_child(partial(_work, spec, folder, moment, number, fork), reports.append)
    except (Died, Stopped):
        assert moment < NEVER
    return reports


def _work(
    spec: RunSpec, folder: RunFolder, moment: int, number: int, fork: bool, send: Send
) -> None:
    seen = 0

    def report(progress: Progress) -> None:
        nonlocal seen
        send(progress)
        seen += 1
        if seen == moment:
            os.kill(os.getpid(), number)

    run_here(spec, folder, report, fork=fork)


def content(folder: RunFolder) -> dict[str, Any]:
    """Return all of a complete run that is not clock: bytes of files, figures of logs."""
    found: dict[str, Any] = {}
    for path in sorted(folder.path.rglob("*")):
        name = path.relative_to(folder.path).as_posix()
        passing = name.startswith(("checkpoints/", "pieces/"))
        if not path.is_file() or passing or name in {"manifest.json", "lock"}:
            continue
        if name == "events.jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            kept = {"step", "trained", "tested", "likelihood"}
            found[name] = [timeless(row) for row in rows if row["event"] in kept]
        elif name == "result.json":
            found[name] = timeless(json.loads(path.read_text()))
        else:
            found[name] = path.read_bytes()
    return found


def timeless(value: Any) -> Any:
    """Return `value` without what the clock and the machine's memory decide."""
    if isinstance(value, dict):
        return {key: timeless(each) for key, each in value.items() if key not in CLOCK}
    return [timeless(each) for each in value] if isinstance(value, list) else value


def checkpoint(folder: Path) -> dict[str, Any]:
    """Return a checkpoint's content, clock left out."""
    found: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        if path.name == "trainer_state.json":
            found[path.name] = timeless(json.loads(path.read_text()))
        elif path.name not in {"manifest.json", "events.jsonl"}:
            found[path.name] = path.read_bytes()
    return found
