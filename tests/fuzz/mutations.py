"""Hypothesis strategies that spoil files: byte by byte, and value by value.

    @fuzz
    @given(spoiled_bytes([b"seeds: 1\\n"]))
    def test_...

`PARIBUS_FUZZ=10000` sets how many examples each test tries.
"""

import copy
import os
import random
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from paribus.errors import ParibusError
from paribus.untrusted import printable

EXAMPLES = int(os.environ.get("PARIBUS_FUZZ", "60"))
HANG_SECONDS = 5.0
"""Of processor time: the machine may be busy with something else."""

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="PARIBUS_FUZZ" not in os.environ,  # CI tries the same ones every time
    database=None,
    suppress_health_check=list(HealthCheck),
)

TOKENS = [
    b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r", b"\n", b"\t", b"'", b'"', b"\\",
    b"{", b"}", b"[", b"]", b":", b": ", b",", b"#", b"&a ", b"*a", b"!!x ", b"<<: ", b"${x}",
    b"---\n", b"- ", b"null", b"true", b"NaN", b"Infinity", b"-1", b"0", b"1e999", b"9" * 30,
    b"9" * 5000, b"0x1f", b"1_000", b"12:30:45", b"2001-01-01", b"\\ud800", b"\\u0000", b"..",
    b"\\u001b[2J", b"../x", b"[" * 2000, b'{"a":' * 2000, b"x" * 3000, b"####", b"#### 7",
    b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80",
]  # fmt: skip

VALUES: list[Callable[[], Any]] = [
    lambda: None, lambda: True, lambda: False, lambda: 0, lambda: -1, lambda: 7, lambda: 10**17,
    lambda: 10**400, lambda: -(10**30), lambda: 0.5, lambda: 1e308, lambda: float("nan"),
    lambda: float("inf"), lambda: "", lambda: " ", lambda: "x", lambda: "7", lambda: "all",
    lambda: "auto", lambda: "../../x", lambda: "a/b", lambda: "\x00\x1b[2J", lambda: "\ud800",
    lambda: "\u202e\u2028", lambda: "x" * 5000, lambda: "${oc.env:HOME}", lambda: "#### 7",
    lambda: "<<1+1=3>>\n#### 3", lambda: [], lambda: {}, lambda: [None], lambda: [[1], [2]],
    lambda: ["a", "a"], lambda: {"": 1}, lambda: {"x": {"y": []}}, lambda: nested(30),
    lambda: nested(150), lambda: list(range(300)), lambda: "9" * 5000, lambda: "１２", lambda: "٣",
]  # fmt: skip


def assert_readable(error: ParibusError) -> None:
    """A listed error says what is wrong and what to do, in words fit for a terminal."""
    assert error.message.strip()
    assert error.remedy
    assert printable(str(error)) == str(error)
    assert len(str(error)) < 100_000


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def spoiled_bytes(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Draw one of `seeds`, changed at one to four places: flipped, cut, filled, repeated."""
    return st.tuples(st.sampled_from(list(seeds)), st.integers(0, 2**32)).map(
        lambda drawn: spoil(drawn[0], random.Random(drawn[1]))
    )


def spoiled_values(seeds: Sequence[Any]) -> st.SearchStrategy[Any]:
    """Draw one of the JSON-like `seeds` with one to three places changed: others, gone, renamed."""
    return st.tuples(st.sampled_from(list(seeds)), st.integers(0, 2**32)).map(
        lambda drawn: _replace(drawn[0], random.Random(drawn[1]))
    )


def spoil(data: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(data))
        end = min(len(data), at + chance.choice([1, 1, 2, 8, 40, 400]))
        kind = chance.randrange(6)
        if kind == 0 and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[end:]
        elif kind == 2:
            data = data[:at] + chance.choice(TOKENS) + data[at:]
        elif kind == 3:
            data = data[:at] + data[at:end] * chance.choice([2, 3, 50]) + data[end:]
        elif kind == 4:
            data = data[:at] + chance.choice(TOKENS) + data[end:]
        else:
            to = chance.randint(0, len(data))
            data = data[:to] + data[at:end] + data[to:]
    return data


def _replace(value: Any, chance: random.Random) -> Any:
    value = copy.deepcopy(value)
    for _ in range(chance.randint(1, 3)):
        places = list(_places(value))
        if not places:
            return chance.choice(VALUES)()
        holder, key = chance.choice(places)
        kind = chance.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            name = chance.choice(
                ["", "x", "base", "method", "seeds", "a.b", "\ud800", "7", *holder]
            )
            holder[name] = holder[key] if chance.random() < 0.5 else chance.choice(VALUES)()
        elif kind == 2 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[key] = chance.choice(VALUES)()
    return value


def _places(value: Any) -> Any:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])
