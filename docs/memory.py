"""What `benchmarks/memory.py` measured beside what is predicted, for docs/memory.md."""

import json
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

from paribus.planning.cost.memory import LIBRARIES, TOKENIZER_BYTES, TRAINER

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results" / "memory.json"
MIB = 2**20


def memory_blocks() -> dict[str, str]:
    """Return what a process holds before any tensor, and the table of measured runs."""
    return {
        "libraries": f"{LIBRARIES // MIB} MiB of libraries, {TRAINER // MIB} MiB more once it "
        f"trained, and {TOKENIZER_BYTES:,} bytes",
        "measured": "\n".join(_measured(json.loads(RESULTS.read_text(encoding="utf-8")))),
    }


def _measured(found: dict[str, Any]) -> list[str]:
    rows = found["rows"]
    return [
        *(f"- {day}: {number} runs on {where}" for (day, where), number in _measured_on(rows)),
        f"- {_summary('all', rows)}",
        f"- {_summary('held out', [row for row in rows if row['held_out']])}",
        "",
        "| run | training: predicted | measured | evaluation: predicted | measured | error | on |",
        "|---|---|---|---|---|---|---|",
        *map(_line, rows),
    ]


def _measured_on(rows: list[dict[str, Any]]) -> list[tuple[tuple[str, str], int]]:
    """Return each date and machine in words, and how many rows were measured there."""
    return sorted(Counter((row["date"], _machine(row["machine"])) for row in rows).items())


def _machine(machine: dict[str, Any]) -> str:
    versions = ", ".join(
        f"{name} {machine[name]}" for name in ("torch", "transformers", "peft", "bitsandbytes")
    )
    memory = machine["memory_bytes"] / 2**30
    return f"{machine['cpu']}, {machine['cores']} cores, {memory:.1f} GiB, {versions}"


def _summary(which: str, rows: list[dict[str, Any]]) -> str:
    errors = [abs(row["error"]) for row in rows]
    return (
        f"{which}: {len(rows)} runs, median error {100 * median(errors):.1f} %, "
        f"largest {100 * max(errors):.1f} %"
    )


def _line(row: dict[str, Any]) -> str:
    cells = [row["name"] + (" *" if row["held_out"] else "")]
    for stage in ("training", "evaluation"):
        for kind in ("predicted", "measured"):
            size = row[kind][stage]
            cells.append("–" if size is None else f"{size / MIB:,.0f}")
    return f"| {' | '.join(cells)} | {100 * row['error']:+.1f} % | {row['date']} |"
