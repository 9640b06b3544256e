"""What `benchmarks/calibration.py` measured, for docs/calibration.md."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results" / "calibration.json"
MANY = 10
"""Solved, and unsolved, on average: from here on the upper limit counts."""
HOPELESS = ("undeclared", "diverged")
"""Kinds in which no interval can be right."""

_INTERVALS = {
    "arm": "an arm",
    "contrast": "a contrast of two tuned arms",
    "against untuned": "a tuned arm against the untuned model",
    "main effect": "a factor on average",
    "interaction": "an interaction",
    "crossed bootstrap": "*for comparison*: percentile bootstrap over seeds and problems",
}


_KINDS = {
    "groups": "problems in groups",
    "unequal": "groups of unequal size",
    "agreeing": "arms that agree almost always",
    "paired": "paired seeds",
    "undeclared": "groups that nobody names",
}


def calibration_blocks() -> dict[str, str]:
    """Return the tables of coverage, false positives and power."""
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    rows = found["settings"]
    possible = [row for row in rows if row["setting"]["kind"] not in HOPELESS]
    hopeless = [row for row in rows if row["setting"]["kind"] in HOPELESS]
    return {
        "count": _count(found),
        "coverage": "\n".join(_coverage(possible)),
        "families": "\n".join(_families(possible)),
        "power": "\n".join(_power(rows)),
        "hopeless": "\n".join(_hopeless(hopeless)),
    }


def _count(found: dict[str, Any]) -> str:
    """Say how many settings there are, and how many are of code that has changed since."""
    rows = found["settings"]
    experiments = sum(row["experiments"] for row in rows)
    versions = ", ".join(f"{name} {found[name]}" for name in ("numpy", "scipy"))
    said = f"{len(rows)} settings, {experiments:,} simulated experiments ({versions})."
    older = sum(row.get("code") != found.get("code") for row in rows)
    if older:
        said += f" {older} were measured before the last change of what simulates and judges."
    return said


def _coverage(rows: list[dict[str, Any]]) -> list[str]:
    shares: dict[tuple[str, str], list[tuple[float, bool]]] = defaultdict(list)
    for row in rows:
        setting = row["setting"]
        many = _many(setting)
        for name, share in row["shares"].items():
            if name in _INTERVALS and setting["kind"] != "power":
                shares[name, _which(setting)].append((share, many))
    fewest = min(row["experiments"] for row in rows if row["experiments"])
    lines = [
        f"Each figure is of {fewest:,} experiments or more: uncertain by "
        f"{200 * (0.95 * 0.05 / fewest) ** 0.5:.1f} points.",
        "",
        f"| interval of | experiments with | settings | lowest | highest, all | highest, {MANY}+ |",
        "|---|---|---|---|---|---|",
    ]
    for name, said in _INTERVALS.items():
        for which in dict.fromkeys(key[1] for key in shares if key[0] == name):
            all_of = shares[name, which]
            highest = max((share for share, many in all_of if many), default=None)
            lines.append(
                f"| {said} | {which} | {len(all_of)} | {_percent(min(s for s, _ in all_of))} | "
                f"{_percent(max(s for s, _ in all_of))} | {_percent(highest)} |"
            )
    outside = [row for row in rows if _outside(row)]
    counted = f"{len(outside)} of {len(rows)}"
    lines += ["", f"Settings with an interval outside the limits, some by chance: {counted}."]
    lines += [f"- {_describe(row['setting'])}: {'; '.join(_outside(row))}" for row in outside]
    return lines


def _many(setting: dict[str, Any]) -> bool:
    """Return whether the upper limit counts: few problems tell arms apart that agree."""
    solved = setting["n"] * min(setting["accuracy"], 1 - setting["accuracy"])
    return bool(solved >= MANY and setting["kind"] != "agreeing")


def _outside(row: dict[str, Any]) -> list[str]:
    many = _many(row["setting"])
    return [
        f"{_INTERVALS[name]} {_percent(share)}"
        for name, share in row["shares"].items()
        if name in _INTERVALS
        and name != "crossed bootstrap"
        and (share < 0.93 or (share > 0.97 and many))
    ]


def _families(rows: list[dict[str, Any]]) -> list[str]:
    claims: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if "family claims" in row["shares"]:
            claims[_which(row["setting"])].append(row["shares"]["family claims"])
    counted = [
        f"| {which} | {len(all_of)} | {_percent(max(all_of))} |" for which, all_of in claims.items()
    ]
    return [
        "| experiments with | settings | highest |",
        "|---|---|---|",
        *counted,
    ]


def _power(rows: list[dict[str, Any]]) -> list[str]:
    asked = [row for row in rows if row["setting"]["kind"] == "power" and row["experiments"]]
    off = [row["shares"]["shown"] - row["promised"] for row in asked]
    none = sum(row["setting"]["kind"] == "power" and not row["experiments"] for row in rows)
    return [
        f"{len(asked)} settings, each with the difference that should be shown 8 times in 10:",
        f"it is shown {100 * min(off):+.1f} to {100 * max(off):+.1f} points more or less often",
        f"than promised (wanted: within 3 points). In {none} more settings nothing is promised.",
    ]


def _hopeless(rows: list[dict[str, Any]]) -> list[str]:
    """What is assumed, by what comes of it where it does not hold."""
    kinds: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for row in rows:
        kinds[row["setting"]["kind"], _which(row["setting"])].append(row["shares"])
    lines = [
        "| experiments with | settings | an arm | a contrast | against untuned | families |",
        "|---|---|---|---|---|---|",
    ]
    for (_, which), found in kinds.items():
        lowest = [
            _percent(min(each[name] for each in found))
            for name in ("arm", "contrast", "against untuned")
        ]
        claims = _percent(max(each["family claims"] for each in found))
        lines.append(f"| {which} | {len(found)} | {' | '.join(lowest)} | {claims} |")
    return lines


def _which(setting: dict[str, Any]) -> str:
    seeds = f"{setting['seeds']} seed{'s' if setting['seeds'] > 1 else ''}"
    if setting["kind"] in _KINDS:
        return f"{seeds}, {_KINDS[setting['kind']]}"
    if setting["kind"] == "diverged":
        return f"{seeds}, each diverging {100 * setting['diverging']:.0f} times in 100"
    return f"{seeds}, scattering unequally" if setting["uneven"] else seeds


def _describe(setting: dict[str, Any]) -> str:
    return (
        f"accuracy {setting['accuracy']:g}, {setting['n']} problems, {_which(setting)}, spread "
        f"{100 * setting['spread']:g} points, latent correlation {setting['across']:g}"
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
