"""What `benchmarks/real_scores.py` measured, for docs/calibration.md."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results" / "real_scores.json"
LOWEST = 0.93
"""Coverage below it is bold."""


def real_score_blocks() -> dict[str, str]:
    """Return the tables of scores, of classes and of power."""
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    rows = found["settings"]
    versions = ", ".join(f"{name} {found[name]}" for name in ("numpy", "scipy"))
    experiments = sum(row["experiments"] for row in rows)
    kinds = [row["setting"]["kind"] for row in rows]
    of_scores = [
        row for row, kind in zip(rows, kinds, strict=True) if kind in ("models", "seeds", "groups")
    ]
    return {
        "real_count": f"{len(rows)} settings, {experiments:,} simulated experiments ({versions}).",
        "real_scores": "\n".join(_scores(of_scores)),
        "real_classes": "\n".join(_classes([row for row in rows if row["setting"]["labels"]])),
        "real_power": "\n".join(_power([row for row in rows if row["promised"]])),
    }


def _scores(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        "| scores | problems | seeds | an arm | a contrast | flips, 5 % | t, 5 % | flips, 0.5 % | "
        "t, 0.5 % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        setting, shares = row["setting"], row["shares"]
        t = "t" if setting["seeds"] == 1 else "Behrens-Fisher"
        cells = [
            _which(setting),
            _problems(setting),
            str(setting["seeds"]),
            _interval(shares["arm"]),
            _interval(shares["contrast"]),
            *(
                _test(shares.get(f"{test} at {level:g}"), level, row["experiments"])
                for level in (0.05, 0.005)
                for test in ("flips", t)
            ),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _classes(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        "| labels | problems | seeds | recall | macro-F1 | bootstrap | contrast | exchanges | t | "
        "flips |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        setting, shares = row["setting"], row["shares"]
        t = "t" if setting["seeds"] == 1 else "Behrens-Fisher"
        cells = [
            f"{setting['labels']}, × {setting['rarer']:g}",
            str(setting["n"]),
            str(setting["seeds"]),
            f"{100 * setting['accuracy']:g} %"
            + (", the other arm 10 points less" if setting["kind"] == "better" else ""),
            *(_interval(shares.get(name)) for name in ("arm", "bootstrap", "contrast")),
            *(
                _test(shares.get(f"{test} at 0.05"), 0.05, row["experiments"])
                for test in ("exchanges", t, "flips")
            ),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _power(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = ["| scores | problems | seeds | promised | shown |", "|---|---|---|---|---|"]
    for row in rows:
        setting = row["setting"]
        cells = [
            _which(setting),
            str(setting["n"]),
            str(setting["seeds"]),
            _percent(row["promised"]),
            _percent(row["shares"]["shown"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _which(setting: dict[str, Any]) -> str:
    against = f" against {setting['unlike']}" if setting["unlike"] else ""
    close = ", arms much alike" if setting["across"] > 0.9 else ""
    return f"{setting['scores']}{against}{close}"


def _problems(setting: dict[str, Any]) -> str:
    grouped = f" in groups of {setting['group']}" if setting["group"] > 1 else ""
    return f"{setting['n']}{grouped}"


def _interval(share: float | None) -> str:
    if share is None:
        return "–"
    return f"**{_percent(share)}**" if share < LOWEST else _percent(share)


def _test(share: float | None, level: float, experiments: int) -> str:
    """Return the share of rejections, bold if it is above `level` by more than chance explains."""
    if share is None:
        return "–"
    chance = 3 * (level * (1 - level) / experiments) ** 0.5
    return f"**{_percent(share)}**" if share > level + chance else _percent(share)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
