"""What `benchmarks/sequential.py` measured, for docs/sequential.md."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results" / "sequential.json"


def sequential_blocks() -> dict[str, str]:
    """Return the table of false claims, power and runs, by plan and by what is true."""
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    rows = found["settings"]
    experiments = sum(row["experiments"] for row in rows)
    versions = ", ".join(f"{name} {found[name]}" for name in ("numpy", "scipy"))
    groups: dict[tuple[Any, str], list[dict[str, Any]]] = {}
    for row in rows:
        setting = row["setting"]
        groups.setdefault((tuple(setting["looks"]), setting["mix"]), []).append(row)
    table = [
        "| looks | what is true | false claims: fixed | sequential | again | shown: fixed | "
        "sequential | change, points | runs of the fixed |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_line(looks, mix, of) for (looks, mix), of in groups.items()),
    ]
    return {
        "count": f"{len(rows)} settings, {experiments:,} experiments ({versions})",
        "table": "\n".join(table),
    }


def _line(looks: Sequence[int], mix: str, rows: Sequence[dict[str, Any]]) -> str:
    power = [
        (row["fixed"]["power"], row["sequential"]["power"])
        for row in rows
        if row["fixed"]["power"] is not None
    ]
    cells = [
        ", ".join(map(str, looks)),
        mix,
        _percent(row["fixed"]["false"] for row in rows),
        _percent(row["sequential"]["false"] for row in rows),
        _percent(row["again"]["false"] for row in rows if "again" in row),
        _percent(fixed for fixed, _ in power),
        _percent(sequential for _, sequential in power),
        _points(sequential - fixed for fixed, sequential in power),
        _percent(row["sequential"]["runs"] for row in rows),
    ]
    return f"| {' | '.join(cells)} |"


def _percent(shares: Iterable[float]) -> str:
    found = sorted(shares)
    return f"{100 * found[0]:.1f} to {100 * found[-1]:.1f} %" if found else "–"


def _points(shares: Iterable[float]) -> str:
    found = sorted(shares)
    ends = (
        [f"{100 * each:+.1f}".replace("-", "−") for each in (found[0], found[-1])] if found else []
    )
    return " to ".join(ends) or "–"
