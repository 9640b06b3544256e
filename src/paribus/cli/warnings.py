"""What the rules found, in lines for a terminal.

warning PB061 full-main: needs 22.9 GB at its peak; CPU has 24.0 GB
`paribus explain PB061` says why, and what to do instead.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def violation_lines(violations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return marked-up lines for violations as `plan --json` holds them; none if there are none."""
    lines = []
    last = {one["id"]: at for at, one in enumerate(violations)}
    for at, one in enumerate(violations):
        severity, arms = one["severity"], ", ".join(one["arms"])
        head = f"[{_STYLES[severity]}]{severity}[/] {one['id']} {escape(arms)}"
        lines.append(f"{head}: {escape(one['found'])}")
        if severity == "error" and last[one["id"]] == at:  # what to do, once for each rule
            lines.append(f"  → {escape(one['instead'])}")
    if lines:
        first = violations[0]["id"]
        lines.append(f"`paribus explain {first}` says why, and what to do instead.")
    return lines
