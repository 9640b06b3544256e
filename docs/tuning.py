"""What `benchmarks/tuning.py` measured, for docs/tuning.md."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results" / "tuning.json"
_SHARED = {
    "streams": "values and noise, as in paribus",
    "values": "values",
    "nothing": "nothing",
}


def tuning_blocks() -> dict[str, str]:
    """Return how often identical arms were called different, by how they were tuned."""
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    rows = found["rows"]
    tests = list(dict.fromkeys((row["n"], row["seeds"]) for row in rows))
    groups: dict[tuple[Any, ...], dict[tuple[int, int], dict[str, Any]]] = {}
    for row in rows:
        how = (row["sampler"], row["trials"], row["sharing"], row["steep"])
        groups.setdefault(how, {})[row["n"], row["seeds"]] = row
    columns = [f"{n:,} problems, {seeds} seeds" for n, seeds in tests]
    lines = [
        f"| trials of each arm | share | a decade costs | {' | '.join(columns)} |",
        f"|{'---|' * (3 + len(columns))}",
    ]
    for (sampler, trials, sharing, steep), of in groups.items():
        cells = [f"{trials}, {sampler}", _SHARED[sharing], f"{steep:g} points"]
        lines.append(f"| {' | '.join([*cells, *(_share(of[test]) for test in tests)])} |")
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    tunings = min(row["tunings"] for row in rows)
    return {
        "count": f"{len(rows)} settings of {tunings:,} tunings ({versions})",
        "table": "\n".join(lines),
    }


def _share(row: dict[str, Any]) -> str:
    low, high = 100 * row["low"], 100 * row["high"]
    return f"{100 * row['share']:.1f} % [{low:.1f} to {high:.1f}]"
