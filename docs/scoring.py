"""What each scorer says of which text, for docs/scoring.md: the cases that the tests assert."""

import json
import unicodedata
from pathlib import Path
from typing import Any

from paribus.evaluation.scoring import SCORERS, VERSION

CASES = Path(__file__).parent.parent / "tests" / "cases" / "answers.json"

_SHOWN = {"correct": "correct", "wrong": "wrong", "no_answer": "–", "truncated": "cut"}


def scoring_blocks() -> dict[str, str]:
    """Return the canonical scorer's version and the table of cases, a part for each kind."""
    cases: list[dict[str, Any]] = json.loads(CASES.read_text(encoding="utf-8"))
    kinds = dict.fromkeys(case["kind"] for case in cases)
    lines = [f"`–`: no answer; `cut`: truncated. {len(cases)} cases."]
    for kind in kinds:
        lines += ["", f"## {kind}", "", f"| text | gold | {' | '.join(SCORERS)} |"]
        lines += ["|---|---|" + "---|" * len(SCORERS)]
        lines += [_row(case) for case in cases if case["kind"] == kind]
    return {"version": str(VERSION), "cases": "\n".join(lines)}


def _row(case: dict[str, Any]) -> str:
    notes = [f"`{case['style']}`" if "style" in case else ""]
    notes += ["at the limit" if case.get("stop") == "length" else ""]
    notes += ["failed" if case.get("stop") == "failed" else ""]
    text = " ".join(filter(None, [_code(case["text"]), *notes]))
    verdicts = [_SHOWN.get(case[scorer], case[scorer]) for scorer in SCORERS]
    return f"| {text} | {_code(case['gold'])} | {' | '.join(verdicts)} |"


def _code(text: str) -> str:
    """Return `text` as code in a cell: line ends and what is invisible are spelled out."""
    if not text:
        return "(empty)"
    shown = "".join(map(_visible, text)).replace("|", "\\|")
    fence = "``" if "`" in shown else "`"
    return f"{fence} {shown} {fence}" if len(fence) > 1 else f"`{shown}`"


def _visible(character: str) -> str:
    if character == "\n":
        return "⏎"
    if character != " " and unicodedata.category(character) in ("Cf", "Zs", "Mn", "Me", "Cc"):
        return f"\\u{ord(character):04x}"
    return character
