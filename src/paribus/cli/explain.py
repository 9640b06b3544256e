"""`paribus explain`: a rule card in plain words, or the list of all cards.

paribus explain PB014           what happens, why, how that is known, what to do instead
paribus explain                 id and title of every card, errors first
paribus explain --json          every card with all its texts
"""

import json
from argparse import Namespace
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from paribus.cli.console import PlainConsole
from paribus.planning.rules.card import Rule, Severity
from paribus.planning.rules.cards import RULES, card

MEANINGS = {
    Severity.ERROR: "errors: the experiment is refused before anything is spent",
    Severity.WARNING: "warnings: it would run, and be worse or not comparable",
    Severity.NOTE: "notes: good to know",
}
"""What each severity means, as a heading."""
_WIDEST = 100
"""Longer lines of prose are hard to read, however wide the terminal is."""


def from_options(options: Namespace) -> int:
    """Run `paribus explain`."""
    return explain(options.id, as_json=options.json)


def explain(id: str | None, *, as_json: bool) -> int:
    """Print the card called `id`, or all of them. Raises UserError for an unknown id."""
    console = PlainConsole(highlight=False, markup=False)
    console.width = min(console.width, _WIDEST)
    chosen = None if id is None else card(id)
    if as_json:
        print(json.dumps([_values(rule) for rule in RULES] if chosen is None else _values(chosen)))
    elif chosen is None:
        _show_all(console)
    else:
        _show(chosen, console)
    return 0


def _values(rule: Rule) -> dict[str, Any]:
    """Return what `--json` prints of a card."""
    return {
        "id": rule.id,
        "title": rule.title,
        "severity": rule.severity.value,
        "what": rule.what,
        "why": rule.why,
        "evidence": list(rule.evidence),
        "instead": rule.instead,
        "versions": dict(rule.versions),
    }


def _show(rule: Rule, console: Console) -> None:
    console.print(Text(f"{rule.id}  {rule.title}", style="bold"))
    console.print()
    rows = _grid()
    rows.add_row("severity", rule.severity.value)
    rows.add_row("what happens", rule.what)
    rows.add_row("why", rule.why)
    for place, source in enumerate(rule.evidence):
        rows.add_row("" if place else "evidence", source)
    rows.add_row("instead", rule.instead)
    if rule.versions:
        rows.add_row("known for", ", ".join(f"{name} {v}" for name, v in rule.versions.items()))
    if not rule.is_checked:
        rows.add_row("found by", "the run itself, not by `paribus plan`")
    console.print(rows)


def _show_all(console: Console) -> None:
    for severity, meaning in MEANINGS.items():
        console.print(Text(meaning, style="bold"))
        rows = _grid()
        for rule in RULES:
            if rule.severity is severity:
                rows.add_row(rule.id, rule.title)
        console.print(rows)
        console.print()
    console.print("One card in full: paribus explain PB014")


def _grid() -> Table:
    """Return a table without lines whose second column wraps."""
    rows = Table(box=None, show_header=False, pad_edge=False)
    rows.add_column(no_wrap=True)
    rows.add_column(overflow="fold")
    return rows
