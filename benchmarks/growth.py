"""How speed and memory grow with batch, length, vocabulary and problems; how fast it starts.

    python benchmarks/growth.py                 # everything: about 6 minutes on 2 cores
    python benchmarks/growth.py --draw          # the figure again, from the stored results

Each curve is measured in its own process (speed_growth.py), in bf16 with fp32 masters where
the device multiplies in bf16, else in fp32. Starting up is the time from the start of `paribus run`
to that of its first optimizer step, weights cached, probes included. Writes
`benchmarks/results/growth.json` and `docs/speed-growth.svg`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from speed import environment
from speed_machine import machine, settled

from paribus.files import read_json, write_json
from paribus.report.drawing import PALETTE, style

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "growth.json"
FIGURE = HERE.parent / "docs" / "speed-growth.svg"
QUICKSTART = HERE.parent / "experiments" / "quickstart.yaml"
PARTS = (
    ("batch", "full"),
    ("batch", "lora"),
    ("length", "full"),
    ("length", "lora"),
    ("vocabulary", "full"),
    ("problems", "untuned"),
    ("loss", "full"),
)
NAMES = {"full": "full", "lora": "LoRA", "untuned": "untuned"}
HELP_RUNS = 5


def measure(model: str, device: str) -> dict[str, Any]:
    """Measure all of it. A part that fails ends the whole with what it said."""
    curves: dict[str, dict[str, Any]] = {}
    precision = settled("auto", device)
    for curve, method in PARTS:
        asked = (curve, method, model, device, precision)
        command = [sys.executable, str(HERE / "speed_growth.py"), *asked]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{curve} {method}: exit {done.returncode}\n{done.stderr}")
        curves.setdefault(curve, {})[method] = json.loads(done.stdout.splitlines()[-1])
        print(curve, method, *curves[curve][method], sep="\n  ", flush=True)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(device),
        "model": Path(model).name,
        "precision": precision,
        "curves": curves,
        "start_seconds": {method: _start(model, method) for method in ("full", "lora")},
        "help_seconds": median(_help() for _ in range(HELP_RUNS)),
    }


def _help() -> float:
    started = time.perf_counter()
    subprocess.run([*_paribus(), "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def _start(model: str, method: str) -> float:
    """Return the seconds from the start of `paribus run` to the start of its first step."""
    values = [
        f"model={model}", "name=start", "baseline=null", "matrix={}", f"method={method}",
        "training.max_steps=1", "data.test_size=2", "evaluation.max_new_tokens=4",
        "training.save_weights=false", "prompt.max_tokens=1024",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as runs:
        command = [*_paribus(), "run", str(QUICKSTART), *values, "--runs", runs]
        started = time.perf_counter()
        running = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL)
        ended = None
        while ended is None and running.poll() is None:
            time.sleep(0.01)
            ended = _first_step(Path(runs), started)
        if running.wait() or ended is None:
            raise SystemExit(f"`paribus run` ended with {running.returncode} before its first step")
    return ended


def _first_step(runs: Path, started: float) -> float | None:
    """Return when, after `started`, the first step began, once it has ended."""
    now = time.perf_counter()
    for events in runs.glob("start/*/seed-0/events.jsonl"):
        for line in events.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n") and json.loads(line)["event"] == "step":
                return now - started - float(json.loads(line)["seconds"])
    return None


def _paribus() -> list[str]:
    return [sys.executable, "-m", "paribus.cli.main"]


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Draw the curves as small multiples, from zero: what is flat must look flat."""
    curves = results["curves"]
    with style("speed-growth"):
        figure = Figure(figsize=(9.5, 5.6))
        panels = figure.subplots(2, 3).flatten()
        batches = curves["batch"]
        _panel(panels[0], batches, "per_second", 1, "examples of a step", "examples/s")
        _panel(panels[1], curves["length"], "tokens_per_second", 1, "tokens of an example",
               "tokens/s")  # fmt: skip
        _panel(
            panels[2], batches, "peak_memory_bytes", 1e9, "examples of a step", "peak memory, GB"
        )
        _panel(panels[3], curves["vocabulary"], "per_second", 1, "vocabulary, small model",
               "examples/s")  # fmt: skip
        _panel(panels[4], curves["problems"], "per_second", 1, "problems, 32 at once", "problems/s")
        _panel(panels[5], curves["loss"], "peak_memory_bytes", 1e9, "completion tokens",
               "memory of the loss, GB")  # fmt: skip
        points = curves["loss"]["full"]
        panels[5].plot(
            [point["at"] for point in points],
            [point["logits_bytes"] / 1e9 for point in points],
            color="#5f5f5f", linestyle="--", label="fp32 logits alone, for comparison",
        )  # fmt: skip
        for panel in panels:
            panel.set_ylim(0, 1.08 * panel.get_ylim()[1])
        for panel in panels[[0, 1, 2, 5]]:
            panel.legend(frameon=False, fontsize=8.5)
        figure.savefig(path, facecolor="white", metadata={"Date": None, "Creator": None})


def _panel(
    axes: Axes, curves: Mapping[str, Any], key: str, unit: float, across: str, up: str
) -> None:
    """Draw one curve for each method."""
    colours = dict(zip(NAMES, PALETTE, strict=False))
    places: list[int] = []
    for method, points in curves.items():
        places = [point["at"] for point in points]
        values = [point[key] / unit for point in points]
        axes.plot(places, values, marker="o", color=colours[method], label=NAMES[method])
    axes.set_xscale("log", base=2)
    axes.set_xticks(places, [_short(place) for place in places], minor=False)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(axis="y")


def _short(number: int) -> str:
    """Return 262144 as `256k`, 1024 as `1024`."""
    return f"{number // 1024}k" if number >= 10_000 else str(number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write and draw; or only draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="gemma-3-270m", help="name or folder")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--draw", action="store_true", help="draw the stored results, measure none")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file of the results")
    parser.add_argument("--figure", type=Path, default=FIGURE, help="file of the figure")
    options = parser.parse_args(arguments)
    os.environ["HF_HUB_OFFLINE"] = "1"
    if not options.draw:
        folder = Path(options.model)
        model = str(folder.resolve()) if folder.is_dir() else options.model
        write_json(options.out, measure(model, options.device))
    draw(read_json(options.out), options.figure)
    print(f"written to {options.out} and {options.figure}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
