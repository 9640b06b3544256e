"""Is the predicted memory right? Real runs in processes of their own, their peaks beside it.

    python benchmarks/memory.py                   # what is not yet measured; all: 20 minutes
    python benchmarks/memory.py --only llama      # rows whose name contains it
    python benchmarks/memory.py --again --only x  # measure these again

A row is a model, a method and sizes: ten optimizer steps, each over examples of its own, then a
short evaluation, by the path that `paribus run` takes. Peaks are resident memory of the run's
process as the kernel counts it. The models are Gemma 3 270M and random ones of other families that
are written here. After each row `benchmarks/results/memory.json` is written again, so it may be
stopped; each row says when and on what machine it was measured. Every prediction in it is remade
from the stored shape and workload at the end.
"""

import argparse
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from memory_rows import Row, held_out, rows, write_model
from speed_machine import processor

from paribus.config.spec import RunSpec
from paribus.files import read_json, write_json
from paribus.models.shapes import Shape, shape_of
from paribus.planning.cost.memory import Workload, estimate
from paribus.planning.devices import device, machine_memory
from paribus.planning.forecast import forecast
from paribus.planning.prepare import prepare
from paribus.running.isolated import in_child, run_here
from paribus.running.progress import Progress
from paribus.store.layout import RunFolder
from paribus.store.results import read_result

RESULTS = Path(__file__).parent / "results" / "memory.json"
PACKAGES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "tokenizers")
ON = device("cpu-24gb")


def measure(row: Row, models: Path) -> dict[str, Any]:
    """Run `row` and return its line of the table, without the prediction."""
    config = row.config(write_model(row.model, models / row.model))
    spec = RunSpec(experiment="memory", arm=row.method, replicate=0, seed=0, config=config)
    shape = shape_of(config.model, None)
    load = forecast(config, prepare(config, spec.seed), spec.stream, shape, ON).load
    peaks: dict[str, int] = {}

    def listen(progress: Progress) -> None:
        if progress.memory_bytes is not None:
            before = peaks.get(progress.stage, 0)
            peaks[progress.stage] = max(before, progress.memory_bytes)

    with tempfile.TemporaryDirectory() as store:
        folder = RunFolder(Path(store) / "memory" / row.method / "seed-0")
        folder.path.mkdir(parents=True)
        in_child(partial(run_here, spec, folder), listen)
        result = read_result(folder.result)
    training, evaluation = result.training, result.evaluation
    rate = training.examples_per_second if training else None
    return {
        "name": row.name,
        "held_out": row in set(held_out()),
        "shape": asdict(shape),
        "workload": asdict(load),
        # The likelihood pass is not in result.json: its peak is what the run reports of itself.
        "measured": {
            "training": training and training.peak_memory_bytes,
            "decoding": evaluation.peak_memory_bytes,
            "evaluation": max(peaks["testing"], peaks["likelihood"]),
        },
        "seconds": {
            "training_step": rate and config.training.batch_size / rate,
            "decoding": evaluation.seconds,
        },
        "date": time.strftime("%Y-%m-%d"),
        "machine": {
            "cpu": processor("cpu"),
            "cores": os.cpu_count(),
            "memory_bytes": machine_memory(),
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
    }


def predict(row: dict[str, Any]) -> dict[str, Any]:
    """Return a measured row with what `estimate` says of its stored shape and workload today."""
    load = Workload(**{**row["workload"], "lora_targets": tuple(row["workload"]["lora_targets"])})
    found = estimate(Shape(**row["shape"]), load, ON)
    measured = row["measured"]
    peak = max(measured["training"] or 0, measured["evaluation"])
    training = found.training
    return {
        **row,
        "workload": asdict(load),
        "predicted": {
            "training": training and training.total,
            "evaluation": found.evaluation.total,
            "peak": found.peak_bytes,
        },
        "parts": {
            "training": training and asdict(training),
            "evaluation": asdict(found.evaluation),
        },
        "error": round(found.peak_bytes / peak - 1, 4),
    }


def describe(row: dict[str, Any]) -> str:
    """Return a row in one line: sizes in MiB, and the error of each stage and of the peak."""
    stages = []
    for stage in ("training", "evaluation"):
        said, was = row["predicted"][stage], row["measured"][stage]
        if was:
            stages.append(f"{stage} {said >> 20} for {was >> 20} ({said / was - 1:+.1%})")
    return f"{row['error']:+7.1%}  {row['name']}: {'; '.join(stages)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for, predict everything again, write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="part of a row's name")
    parser.add_argument("--again", action="store_true", help="measure what is measured already")
    parser.add_argument("--set", choices=("looked-at", "held-out", "all"), default="all")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    chosen = {"looked-at": rows, "held-out": held_out}.get(options.set)
    wanted = list(chosen()) if chosen else [*rows(), *held_out()]
    found = _stored(options.out)
    models = Path(tempfile.mkdtemp(prefix="paribus-memory-"))
    try:
        for row in wanted:
            if options.only in row.name and (options.again or row.name not in found):
                found[row.name] = predict(measure(row, models))
                print(describe(found[row.name]), flush=True)
                _write(options.out, found)
    finally:
        shutil.rmtree(models)
    _write(options.out, found)
    errors = [abs(row["error"]) for row in found.values()]
    print(f"{len(errors)} rows: median error {median(errors):.1%}, largest {max(errors):.1%}")
    return 0


def _stored(path: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of the last time by name, each predicted again."""
    kept = read_json(path)["rows"] if path.exists() else []
    names = {row.name for row in held_out()}
    return {row["name"]: predict({**row, "held_out": row["name"] in names}) for row in kept}


def _write(path: Path, found: dict[str, dict[str, Any]]) -> None:
    order = [row.name for row in (*rows(), *held_out())]
    write_json(path, {"rows": [found[name] for name in order if name in found]})


if __name__ == "__main__":
    raise SystemExit(main())
