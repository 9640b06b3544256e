"""How fast is paribus on a GPU beside its peers? A model's shape is enough, and ten minutes.

    python benchmarks/speed_gpu.py --out results                       # Gemma 2B's shape
    python benchmarks/speed_gpu.py --out results --only decoding profile
    python benchmarks/speed_gpu.py --out /tmp/x --small --device cpu   # a rehearsal of all parts

Weights and tokens are random (speed_work.random_work), the same for all. Each part runs in its own
process with a limit of its own, the most valuable first; rounds repeat those that measure time, as
long as there is some. A part whose package is not installed, that fails or that is stopped is
recorded as such. The results are written after each part: `gpu-<date>T<time>-<shape>.json`.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from peer import missing
from speed import part
from speed_gpu_summary import line, summarise
from speed_work import Asked, Work, random_work, shape_values

from paribus.files import write_json

NAMES = (
    "ceilings/machine",
    "full/paribus", "lora/paribus",
    "full/trainer-fp32", "full/trainer", "lora/trainer",
    "decoding/paribus", "decoding/generate",
    "full/liger-fp32", "full/liger", "lora/liger",
    "full/trl-kept", "full/trl-bf16", "lora/trl-bf16", "full/trl-liger", "lora/trl-liger",
    "full/unsloth", "lora/unsloth",
    "decoding/vllm",
    "profile/full", "profile/lora", "profile/decoding",
    "decoding/lm-eval", "decoding/lm-eval-vllm", "decoding/generate-static",
)  # fmt: skip
"""All parts, the most valuable first."""

ONCE = ("ceilings", "profile")
"""Stages that later rounds leave out."""

READ_A_FOLDER = ("unsloth", "vllm", "lm-eval-vllm")
"""Peers that take weights from a folder only."""

LIMIT: float = 90
LIMITS: Mapping[str, float] = {"vllm": 180, "lm-eval-vllm": 180, "unsloth": 150}
"""Seconds of a part: of any, and of peers that compile for long before they begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is done: steps of `batch` texts, then texts decoded at once."""

    steps: int
    batch: int
    lengths: tuple[int, int]
    prompt: tuple[int, int]
    rows: tuple[int, ...]
    new_tokens: int


SIZE = Size(
    steps=20, batch=16, lengths=(120, 280), prompt=(120, 90), rows=(128, 32, 256), new_tokens=64
)
SMALL = Size(steps=5, batch=4, lengths=(12, 28), prompt=(12, 9), rows=(4, 8), new_tokens=8)


def made(shape: str, size: Size, device: str) -> Work:
    """Return the work of that size for a model of that shape. Adapters have paribus' dropout."""
    asked = Asked(
        model=shape,
        steps=size.steps,
        trl_steps=size.steps,
        batch=size.batch,
        problems=max(size.rows),
        new_tokens=size.new_tokens,
        device=device,
        dropout=0.05,
        rows=size.rows,
    )
    return random_work(asked, size.lengths, size.prompt)


class Measurement:
    """Runs parts until the time is over, and keeps the file of their results up to date."""

    def __init__(self, work: Work, minutes: float, folder: Path, out: Path) -> None:
        """`folder` is for work and weights, `out` is the file of the results."""
        self.work, self.folder, self.out = work, folder, out
        self.parts: list[dict[str, Any]] = []
        self.begun = time.monotonic()
        self.ends = self.begun + 60 * minutes
        work.write(folder / "work.json")

    def run(self, names: Sequence[str], rounds: int) -> None:
        """Do each part, and again what can be repeated."""
        for name in names:
            self._keep({"name": name, "round": 1, **self._measured(name)})
        for number in range(2, rounds + 1):
            for name in filter(self._repeats, names):
                self._keep({"name": name, "round": number, **self._measured(name)})

    def _measured(self, name: str) -> dict[str, Any]:
        if absent := missing(name):
            return {"absent": f"not installed: {', '.join(absent)}"}
        who = name.partition("/")[2]
        if who in READ_A_FOLDER and "error" in (found := self._written()):
            return found
        if self._left() < 1:
            return {"absent": "the time was over"}
        began = time.monotonic()
        found = self._part(name, LIMITS.get(who, LIMIT))
        return found | {"process_seconds": time.monotonic() - began}

    def _part(self, name: str, limit: float) -> dict[str, Any]:
        out, weights = self.folder / "out.json", self.folder / "weights"
        reads = name.startswith(("decoding/", "written/")) or name.endswith("/unsloth")
        limit = max(1.0, min(limit, self._left()))
        return part(name, self.folder / "work.json", out, weights if reads else None, limit)

    def _written(self) -> dict[str, Any]:
        """Let the weights be written to a folder, by a process that gives the GPU back."""
        if (self.folder / "weights" / "tokenizer.json").exists():
            return {}
        return self._part("written/weights", LIMIT)

    def _keep(self, found: dict[str, Any]) -> None:
        self.parts.append(found)
        results = {
            "date": time.strftime("%Y-%m-%d"),
            "seconds": time.monotonic() - self.begun,
            "asked": asdict(self.work.asked),
            "summary": summarise(self.parts, self.work),
            "parts": self.parts,
        }
        write_json(self.out, results)
        print(f"{results['seconds']:4.0f} s  {line(found)}", flush=True)

    def _repeats(self, name: str) -> bool:
        """Return whether a part measures time, did so the last time, and would now end in time."""
        last = next(found for found in reversed(self.parts) if found["name"] == name)
        if name.startswith(ONCE) or {"absent", "error"} & last.keys():
            return False
        return float(last["process_seconds"]) < self._left()

    def _left(self) -> float:
        return self.ends - time.monotonic()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for; 1 if a part failed, or a peer's first loss is not paribus'."""
    options = _parser().parse_args(arguments)
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # of several the Trainer would take all
    shape = "small" if options.small else options.shape
    try:
        shape_values(shape)
    except KeyError:
        print(f"no shape is called {shape}; `paribus plan` lists those that are known offline")
        return 2
    names = [name for name in NAMES if any(word in name for word in options.only)]
    file = f"gpu-{time.strftime('%Y-%m-%dT%H%M')}-{Path(shape).name}.json"
    work = made(shape, SMALL if options.small else SIZE, options.device)
    with tempfile.TemporaryDirectory(prefix="paribus-gpu-") as scratch:
        measurement = Measurement(work, options.minutes, Path(scratch), options.out / file)
        measurement.run(names, options.rounds)
    print(f"written to {options.out / file}; `make docs` shows what lies in benchmarks/results")
    rows = summarise(measurement.parts, work)["training"].values()
    failed = any("error" in found for found in measurement.parts)
    return int(failed or not all(row["alike"] for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--shape", default="google/gemma-2b-it", help="a model known offline")
    parser.add_argument("--small", action="store_true", help="a tiny shape and little work")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--minutes", type=float, default=9.5, help="all parts end by then")
    parser.add_argument("--rounds", type=int, default=3, help="at most")
    parser.add_argument("--only", nargs="+", default=[""], help="words in names: full, vllm, …")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
