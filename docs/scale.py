"""What `benchmarks/scale.py` measured, and how long many runs take, for docs/scale.md."""

from math import ceil
from pathlib import Path

from paribus.files import read_json

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "scale.json"
VERBS = ("status", "verify", "report")
GPUS = (1, 8, 64)
EXPERIMENTS = {"the flagship's 18 runs": 18, "a sweep of 1,000 runs": 1000}


def scale_blocks() -> dict[str, str]:
    """Return the table of large stores, and that of rounds of runs."""
    found = read_json(RESULTS)
    name, cores = found["machine"]["name"], found["machine"]["cores"]
    lines = [
        f"{found['date']}, {name}, {cores} cores, CPU seconds (seconds on the clock):",
        "",
        "| runs | store, MB | " + " | ".join(VERBS) + " | peak memory of report, MB | page, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        verbs = row["verbs"]
        cells = [f"{verbs[v]['cpu_seconds']:.1f} ({verbs[v]['seconds']:.0f})" for v in VERBS]
        peak = verbs["report"]["peak_memory_bytes"]
        sizes = [f"{each / 1e6:,.0f}" for each in (row["store_bytes"], peak, row["page_bytes"])]
        lines.append(f"| {row['runs']:,} | {sizes[0]} | {' | '.join([*cells, *sizes[1:]])} |")
    rounds = ["| experiment | " + " | ".join(f"{gpus} GPU{'s' * (gpus > 1)}" for gpus in GPUS)]
    rounds = [f"{rounds[0]} |", "|---|---|---|---|"]
    for what, runs in EXPERIMENTS.items():
        rounds.append(f"| {what} | " + " | ".join(f"{ceil(runs / g):,} t" for g in GPUS) + " |")
    return {"stores": "\n".join(lines), "rounds": "\n".join(rounds)}
