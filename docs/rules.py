"""All rule cards, for docs/rules.md."""

import re

from paribus.cli.explain import MEANINGS
from paribus.planning.rules.card import Rule
from paribus.planning.rules.cards import RULES


def rules_blocks() -> dict[str, str]:
    """Return a table of contents by severity, then every card by id."""
    lines: list[str] = []
    for severity, meaning in MEANINGS.items():
        lines += ["", f"## {meaning[0].upper()}{meaning[1:]}", ""]
        lines += [
            f"- [{rule.id}](#{rule.id.lower()}) {_plain(rule.title)}"
            for rule in RULES
            if rule.severity is severity
        ]
    for rule in RULES:
        lines += _card(rule)
    return {"cards": "\n".join(lines).lstrip("\n")}


def _card(rule: Rule) -> list[str]:
    """Return a card's lines. The heading is the id alone: a link to it outlives a new title."""
    lines = ["", f"## {rule.id}", "", f"**{_plain(rule.title)}** ({rule.severity})", ""]
    lines += [_plain(rule.what), "", f"*Why.* {_plain(rule.why)}", "", "*Evidence.*", ""]
    lines += [f"- {_plain(source)}" for source in rule.evidence]
    lines += ["", f"*Instead.* {_plain(rule.instead)}"]
    if rule.versions:
        ranges = ", ".join(f"{name} {wanted}" for name, wanted in rule.versions.items())
        lines += ["", f"*Known for* {ranges}."]
    if not rule.is_checked:
        lines += ["", "Found by the run itself, not by `paribus plan`."]
    return lines


def _plain(text: str) -> str:
    """Return `text` with `<bos>` shown, not taken for HTML; backticks keep theirs."""
    outside = re.split(r"(`[^`]*`)", text)
    return "".join(part if part[:1] == "`" else part.replace("<", "\\<") for part in outside)
