"""How fast is paribus beside its peers? The same work by each, in turns, on this machine.

    python benchmarks/speed.py --data ../gsm8k                  # all parts, three rounds
    python benchmarks/speed.py --only full --rounds 1           # parts whose name contains a word
    python benchmarks/speed.py --precision fp32                 # all texts must be identical

Training: paribus, TRL's SFTTrainer in three settings, and a plain Trainer, full and LoRA.
Evaluation: paribus and lm-eval's `hf`. Each part runs in its own process on the same token
ids, weights, batches and prompts (speed_work.py), all in one precision: bf16 where the device
multiplies in it, else fp32, which is slower and gets less work. A round does each once; every
second round goes backwards; none begins that would not end within `--minutes`. TRL does fewer
steps than the others, and its slowest settings the first round only; ratios are of the steps that
both did. Writes `benchmarks/results/speed-<date>-<machine>.json`, or `…-fp32.json`.
Exits 1 if a part failed, losses differ by more than rounding, or in fp32 a text differs. On a GPU
speed_gpu.py compares more peers on random work, in ten minutes.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from peer import missing
from rich.console import Console
from rich.table import Table
from speed_machine import cores, machine, settled, slug, useful_flops
from speed_summary import rate, summarise, worth_repeating
from speed_work import Asked, Work, make_work

from paribus.config.schema import Precision
from paribus.errors import UserError
from paribus.files import write_json
from paribus.models.quiet import quiet_libraries
from paribus.models.shapes import shape_of

HERE = Path(__file__).parent
RESULTS = HERE / "results"
TRAINING = ("paribus", "trl-defaults", "trl-kept", "trl-bf16", "trainer")
NAMES = (
    *(f"{method}/{who}" for method in ("full", "lora") for who in TRAINING),
    "evaluation/paribus",
    "evaluation/lm-eval",
)
"""All parts, in the order in which a round does them."""
SIZES: Mapping[Precision, Mapping[str, int]] = {
    "bf16": {"steps": 4, "batch": 8, "problems": 64, "eval_batch": 32},
    "fp32": {"steps": 3, "batch": 4, "problems": 16, "eval_batch": 8},
}
"""How much work unless said otherwise: without bf16 a processor takes several times as long."""


def measure(
    work: Work, names: Sequence[str], rounds: int, minutes: float, folder: Path
) -> dict[str, Any]:
    """Run the parts in turns and return the results: at least one round, no more than `rounds`."""
    file = folder / "work.json"
    work.write(file)
    found: list[dict[str, Any]] = []
    limits, started = [], time.perf_counter()
    for number in rounds_of(rounds, minutes):
        limits.append(_limits(work.asked))
        this: dict[str, Any] = {}
        for name in names if number % 2 else reversed(names):
            this[name] = part(name, file, folder / "out.json")
            print(f"round {number}  {_line(name, this[name], work)}", flush=True)
        found.append({name: this[name] for name in names})
        names = worth_repeating(names, found[0])
    shape = shape_of(work.asked.model, None)
    flops = {
        method: [
            useful_flops(shape, work.step(step), method=method)
            for step in range(1, len(work.batches))
        ]
        for method in work.training
    }
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine("cpu"),
        "asked": asdict(work.asked) | {"model": Path(work.asked.model).name, "data": work.source},
        "seconds": time.perf_counter() - started,
        "lengths": _lengths(work),
        "limits": limits,
        **summarise(found, work, flops, limits),
        "rounds": found,
    }


def rounds_of(
    most: int, minutes: float, clock: Callable[[], float] = time.perf_counter
) -> Iterator[int]:
    """Yield 1, 2, … `most`, but none that, if it takes as long as the last, ends too late."""
    started = began = clock()
    for number in range(1, most + 1):
        now = clock()
        if number > 1 and now + (now - began) > started + 60 * minutes:
            return
        began = now
        yield number


def part(
    name: str, work: Path, out: Path, folder: Path | None = None, limit: float | None = None
) -> dict[str, Any]:
    """Run one part in its own process and return what it wrote, or its error, or both.

    After `limit` seconds it is killed, with the processes that it has started.
    """
    out.unlink(missing_ok=True)
    command = [
        sys.executable,
        *map(str, (HERE / "peer.py", work, out, name, *[folder] * bool(folder))),
    ]
    with subprocess.Popen(
        command,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            _, said = process.communicate(timeout=limit)
            error = _error(process.returncode, said)
        except subprocess.TimeoutExpired:
            error = f"stopped after {limit:.0f} s"
        finally:
            _end(process)
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    if not found and not error:
        error = "it wrote nothing"
    return found | ({"error": error} if error else {})


def _error(code: int, said: str) -> str:
    last = [line for line in said.splitlines() if line.strip()][-3:]
    return f"exit {code}: {' / '.join(last)}" if code else ""


def _end(process: "subprocess.Popen[str]") -> None:
    """Kill what is left of a part: itself where it was stopped, and what it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _limits(asked: Asked) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "speed_machine.py"), "cpu", asked.precision]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def environment() -> dict[str, str]:
    """Return the same environment for all: paribus' own setting of OpenMP, and no network."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(cores()),
        "GOMP_SPINCOUNT": "10000",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }


def _lengths(work: Work) -> dict[str, float]:
    """Return mean lengths in tokens; of examples, those that are counted."""
    examples, prompts = work.ordered[work.asked.batch :], work.prompts
    return {
        "example": sum(len(ids) for ids, _ in examples) / len(examples),
        "target": sum(len(ids) - prompt for ids, prompt in examples) / len(examples),
        "prompt": sum(len(prompt["ids"]) for prompt in prompts) / len(prompts),
    }


def _line(name: str, figures: Mapping[str, Any], work: Work) -> str:
    if "error" in figures:
        return f"{name}: FAILED, {figures['error']}"
    per_second = rate(name, figures, work)
    return f"{name}: {per_second:.3f}/s, {figures['peak_memory_bytes'] / 1e9:.2f} GB"


def table(results: Mapping[str, Any]) -> Table:
    """Return the results as a table for the terminal."""
    made = Table(box=None)
    for title in (
        "part",
        "per second",
        "peak GB",
        "of ceiling",
        "paribus is × as fast",
        "the same?",
    ):
        made.add_column(title, justify="left" if title in ("part", "the same?") else "right")
    said = {check["name"]: check for check in results["checks"]}
    for name, row in results["table"].items():
        mid, low, high = row["per_second"]
        share, ratio, check = (
            row.get("share_of_ceiling"),
            results["ratios"].get(name),
            said.get(name),
        )
        made.add_row(
            name,
            f"{mid:.3f} ({low:.3f} to {high:.3f})",
            f"{row['peak_memory_bytes'][0] / 1e9:.2f}",
            f"{share:.0%}" if share else "",
            f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})" if ratio else "",
            ("" if check["ok"] else "NO: ") + check["said"] if check else "",
        )
    for method, (mid, low, high) in results["fastest_trl"].items():
        said_of = f"{mid:.2f} ({low:.2f} to {high:.2f})"
        made.add_row(f"{method}: the fastest TRL of each round", "", "", "", said_of, "")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for, write and print it."""
    options = _parser().parse_args(arguments)
    os.environ["HF_HUB_OFFLINE"] = "1"
    quiet_libraries()
    precision = settled(options.precision, "cpu")
    names = [
        name
        for name in NAMES
        if any(word in name for word in options.only)
        and (precision == "bf16" or not name.endswith("/trl-bf16"))  # in fp32 it is trl-kept
    ]
    absent = sorted({package for name in names for package in missing(name)})
    if absent or not names:
        what = (
            f"not installed: {', '.join(absent)}" if absent else f"no part is named {options.only}"
        )
        print(f"{what}; pip install -c constraints.txt -e '.[bench]'; parts: {', '.join(NAMES)}")
        return 2
    with tempfile.TemporaryDirectory(prefix="paribus-speed-") as scratch:
        folder = Path(scratch)
        try:
            work = make_work(_asked(options, precision))
        except UserError as error:
            print(error)
            return 2
        results = measure(work, names, options.rounds, options.minutes, folder)
    out = options.out or RESULTS / f"speed-{results['date']}-{slug('cpu', precision)}.json"
    write_json(out, results)
    Console(width=150).print(table(results))
    print(f"written to {out}")
    return 1 if results["failures"] or not all(c["ok"] for c in results["checks"]) else 0


def _asked(options: argparse.Namespace, precision: Precision) -> Asked:
    sizes: dict[str, Any] = {
        key: default if getattr(options, key) is None else getattr(options, key)
        for key, default in SIZES[precision].items()
    }
    model = options.model
    if Path(model).is_dir():
        model = str(Path(model).resolve())
    return Asked(
        model=model,
        data=options.data and str(Path(options.data).resolve()),
        trl_steps=min(options.trl_steps, sizes["steps"]),
        new_tokens=options.new_tokens,
        precision=precision,
        **sizes,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="at most")
    parser.add_argument("--minutes", type=float, default=30, help="no round begins that ends later")
    parser.add_argument("--steps", type=int, help="the first warms up")
    parser.add_argument("--trl-steps", type=int, default=2, help="steps of the slow peer")
    parser.add_argument("--batch", type=int, help="examples of a step")
    parser.add_argument("--problems", type=int)
    parser.add_argument("--eval-batch", type=int, help="problems decoded at once")
    parser.add_argument("--new-tokens", type=int, default=256, help="longest text")
    parser.add_argument("--only", nargs="+", default=[""], help="words in names: full, lora/trl, …")
    parser.add_argument("--data", help="folder with GSM8K's files; without: generated problems")
    parser.add_argument("--model", default="gemma-3-270m", help="name or folder")
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    parser.add_argument("--out", type=Path, help="file of the results")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
