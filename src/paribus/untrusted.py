"""Text that others wrote, made fit to be shown and kept: model output, data, configs, errors.

    printable("\\x1b[2Jgone\\u202e")          # '\\\\x1b[2Jgone\\\\u202e': spelled out, so inert
    redacted("hf_" + "a" * 34)               # '(secret removed)'
    find_secret({"model": "https://me:pw@host/x"})   # 'model'

A terminal obeys escape sequences whoever wrote them, and a token in a message is a token in every
log that holds it. What a model wrote is data: it is kept as it is, and escaped where it is shown.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

REMOVED = "(secret removed)"

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but for tab and line feed, what turns the text around it, half a pair."""
_SECRET = re.compile(
    r"\b(?:hf_|api_org_)[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9_-]{20,}|\bgh[opsur]_[A-Za-z0-9]{36,}"
    r"|\bgithub_pat_[A-Za-z0-9_]{30,}|\bAKIA[0-9A-Z]{16}\b|\bwandb_v[0-9]_[A-Za-z0-9_]{30,}"
    r"|(?<=://)[^/\s:@]{1,256}:[^/\s@]{1,256}(?=@)"
)
"""Tokens that say by their beginning what they are, and a password within an address."""
_SECRET_NAME = re.compile(r"token(?!s|iz)|secret|passw|api_?key|credential", re.IGNORECASE)
_SHORTEST = 12
"""Characters of a variable's value: a shorter one may be a word like any other."""


def printable(text: str) -> str:
    """Return `text` with whatever a terminal might obey spelled out, as `\\x1b`."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def redacted(text: str) -> str:
    """Return `text` without tokens known by their form, or by being in a secret variable."""
    text = _SECRET.sub(REMOVED, text)
    for secret in _kept_secret():
        text = text.replace(secret, REMOVED)
    return text


def redacted_values(value: Any) -> Any:
    """Return JSON-like `value` with every text in it `redacted`, and what secret keys hold removed.

    A key such as `hub_token` or `password` holds a secret whatever it looks like; numbers stay.
    """
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {
            redacted(key) if isinstance(key, str) else key: REMOVED
            if isinstance(inner, str) and _SECRET_NAME.search(str(key))
            else redacted_values(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted_values(inner) for inner in value]
    return value


def find_secret(value: Any, key: str = "") -> str | None:
    """Return the dotted key of the first text in `value` that holds a secret, or None."""
    if isinstance(value, str):
        return key if redacted(value) != value else None
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        pairs = [(f"{key}.{name}" if key else str(name), inner) for name, inner in value.items()]
        if any(redacted(str(name)) != str(name) for name in value):
            return key or "a key"
    elif isinstance(value, list | tuple):
        pairs = [(key, inner) for inner in value]
    return next((found for name, inner in pairs if (found := find_secret(inner, name))), None)


def _kept_secret() -> list[str]:
    """Return the values of the environment's secret variables, the longest first."""
    values = {
        value
        for name, value in os.environ.items()
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST
    }
    return sorted(values, key=len, reverse=True)
