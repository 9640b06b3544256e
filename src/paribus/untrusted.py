"""Text that others wrote, made fit to be shown and kept: model output, data, configs, errors.

    printable("\\x1b[2Jgone\\u202e")          # '\\\\x1b[2Jgone\\\\u202e': spelled out, so inert
    redacted("hf_" + "a" * 34)               # '(secret removed)'
    find_secret({"model": "https://me:pw@host/x"})   # 'model'
    redacted("get https://host/x?token=1234")        # 'get https://host/x?token=(secret removed)'

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
_TOKEN = re.compile(
    r"(?:hf|api_org|npm|gsk|r8|gh[opsur]|dckr_pat|[prs]k_(?:live|test))_[A-Za-z0-9]{28,}"
    r"|(?:github_pat|wandb_v[0-9])_[A-Za-z0-9_]{28,}"
    r"|(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{20,}"  # risk-averse is none
    r"|(?<![A-Za-z0-9])gl(?:pat|oas|dt|rt|cbt|ptt|ft|soat|imt|agent)-[A-Za-z0-9_.-]{20,}"
    r"|(?:xox[a-z]|xapp)[.-][A-Za-z0-9.-]{10,}"
    r"|(?:pypi|nvapi|xai)-[A-Za-z0-9_-]{32,}"
    r"|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}"
    r"|(?<![A-Za-z0-9])A(?:KIA|SIA)[0-9A-Z]{16}(?![A-Za-z0-9])"
    r"|(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,2048}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,3}"
    r"|-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?"
)
"""Tokens that say by their beginning what they are."""
_IN_ADDRESS = re.compile(
    # A user with a password, which may hold what an address may not; a port is none.
    r"((?::|(?<![\w:/.]))//)[^\s/@:?#]{0,256}:(?![0-9]{1,5}(?:[/?#\s]|$))[^\s\"]{0,512}(?=@)"
    # The web asks for no user: who stands there is let in by that name.
    r"|(\b(?:https?|ftps?|wss?)://)[^\s/?#]{1,512}(?=@)",
    re.IGNORECASE,
)
_SECRET_WORD = r"token(?!s|iz)|secret|passw|api[_-]?key|access[_-]?key|credential"
_SECRET_NAME = re.compile(_SECRET_WORD, re.IGNORECASE)
_PASSWORD = r"(?:passw(?:or)?d|passphrase|\bpwd)\w{0,32}"
_QUOTE = r"\\?[\"']?"
_QUOTED = r"\\?[\"']?\s{0,3}[:=]\s{0,3}\\?[\"']"
_SAYS = rf"{_QUOTE}\s{{0,3}}[:=]\s{{0,3}}{_QUOTE}"
_GIVEN = r"(?!(?:none|null|true|false)\b|[<${(\[*%\\])"
"""What follows is not a placeholder and no other kind of value."""
_MIXED = (
    rf"(?![a-z]+://){_GIVEN}(?=[^\s\"'&,;]{{0,99}}[0-9])(?=[^\s\"'&,;]{{0,99}}[a-z])"
    r"(?:(?!\\[\"'])[^\s\"'&,;]){8,}"
)
"""Letters and digits, which no word of prose mixes."""
_NAMED = re.compile(
    # In the query of an address, whatever it looks like; elsewhere what looks like nothing else.
    rf"([?&#;](?:[\w.-]{{0,64}}(?:{_SECRET_WORD}|signature)[\w.-]{{0,64}}|key|sig|auth|pwd)=)"
    r"[^&\s#\"']+"
    rf"|({_PASSWORD}={_QUOTE}){_GIVEN}[^\s\"'&,;]{{4,}}"
    rf"|({_PASSWORD}{_SAYS}){_MIXED}"
    rf"|(?<!(?:eos|bos|pad|unk|sep|cls)_)(?<!(?:mask|stop)_)"
    rf"((?:{_SECRET_WORD})\w{{0,32}}(?:={_QUOTE}|{_QUOTED})){_MIXED}"
    rf"|((?:{_SECRET_WORD})\w{{0,32}}[\"']?\s{{0,3}}[:=]\s{{0,3}}[\"']?)[A-Za-z0-9_+=-]{{20,}}"
    r"|(\b(?:bearer|basic)\s)[A-Za-z0-9._~+/=-]{16,}"
    r"|(\b(?:key|login)[\"']?[\s:=]{1,3}[\"']?)[0-9a-f]{40}(?![0-9a-f])",
    re.IGNORECASE,
)
"""Secrets that stand behind their name."""
_KEY_LIKE = re.compile(r"(?<![0-9A-Za-z/])[0-9a-f]{40}(?![0-9A-Za-z])")
"""40 hexadecimal digits: an API key of some services, or a commit; never a part of a path."""
_COMMITS = frozenset({"revision", "contrasts", "fixed"})
"""Keys whose values are commits, or names of arms that may be made of them."""
_SHORTEST = 12
"""Characters of a variable's value: a shorter one may be a word like any other."""


def printable(text: str) -> str:
    """Return `text` with whatever a terminal might obey spelled out, as `\\x1b`."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def redacted(text: str) -> str:
    """Return `text` without tokens known by their form, or by being in a secret variable."""
    for known in (_IN_ADDRESS, _NAMED):
        text = known.sub(lambda match: "".join(filter(None, match.groups())) + REMOVED, text)
    text = _TOKEN.sub(REMOVED, text)
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
    """Return the dotted key of the first text in `value` that holds a secret, or None.

    40 hexadecimal digits are one, but for a commit under `revision`.
    """
    if isinstance(value, str):
        is_key = key.rpartition(".")[2] not in _COMMITS and _KEY_LIKE.search(value)
        return key if is_key or redacted(value) != value else None
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        pairs = [(f"{key}.{name}" if key else str(name), inner) for name, inner in value.items()]
        if any(redacted(str(name)) != str(name) for name in value):
            return key or "a key"
    elif isinstance(value, list | tuple):
        pairs = [(key, inner) for inner in value]
    return next((secret for name, inner in pairs if (secret := find_secret(inner, name))), None)


def _kept_secret() -> list[str]:
    """Return the values of the environment's secret variables, the longest first."""
    values = {
        value
        for name, value in os.environ.items()
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST
    }
    return sorted(values, key=len, reverse=True)
