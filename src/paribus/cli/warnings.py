"""What the rules found, in lines for a terminal.

warning PB061 full-main: needs 22.9 GB at its peak; CPU has 24.0 GB
`paribus explain PB061` says why, and what to do instead.
"""

from collections.abc import Sequence

from rich.markup import escape

from paribus.planning.preflight import Warned

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def violation_lines(violations: Sequence[Warned]) -> list[str]:
    """Return marked-up lines for violations; none if there are none."""
    lines = []
    last = {violation.rule.id: at for at, violation in enumerate(violations)}
    for at, violation in enumerate(violations):
        severity, arms = violation.rule.severity.value, escape(", ".join(violation.arms))
        head = f"[{_STYLES[severity]}]{severity}[/] {violation.rule.id} {arms}"
        lines.append(f"{head}: {escape(violation.found)}")
        if violation.refuses and last[violation.rule.id] == at:  # what to do, once for each rule
            lines.append(f"  → {escape(violation.rule.instead)}")
    if lines:
        first = violations[0].rule.id
        lines.append(f"`paribus explain {first}` says why, and what to do instead.")
    return lines
