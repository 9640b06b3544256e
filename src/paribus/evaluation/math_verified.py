r"""Whether two expressions are equal, by math-verify: the function behind `math` and `boxed`.

score(r"so it is \boxed{\frac{2}{4}}", {"answers": ["0.5"], "boxed": True})    # 1.0
"""

from collections.abc import Mapping
from typing import Any

from math_verify import parse, verify


def score(text: str, document: Mapping[str, Any]) -> float | None:
    """Return 1.0 if the text's expression equals one of `answers`, else 0.0; None without one."""
    written = last_boxed(text) if document["boxed"] else text
    found = parse(written) if written else []
    if not found:
        return None
    return float(any(verify(_gold(answer), found) for answer in document["answers"]))


def last_boxed(text: str) -> str:
    r"""Return the last whole `\boxed{…}` of the text, "" without one."""
    end = len(text)
    while (start := text.rfind(r"\boxed{", 0, end)) >= 0:
        depth = 0
        for place in range(start + len(r"\boxed"), len(text)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if depth == 0:
                return text[start : place + 1]
        end = start
    return ""


def _gold(answer: str) -> list[Any]:
    delimited = "$" in answer or r"\boxed" in answer
    found: list[Any] = parse(answer if delimited else f"${answer}$") or parse(answer)
    if not found:
        raise ValueError(f"gold is no expression: {answer[:60]!r}")
    return found
