"""Spoiled files of generations and gold: a listed error, or scores that add up; never a traceback.

Each is given to `paribus score`, `compare` and the report by the functions that the verbs call.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from external_rows import FIRST, GOLD, RIGHT, SECOND, asked, harness, own, plain
from fuzz.mutations import HANG_SECONDS, assert_readable, fuzz, spoiled_bytes, spoiled_values
from paribus.analysis.elsewhere.external import collect
from paribus.analysis.findings import conclude, payload
from paribus.errors import ParibusError
from paribus.files import json_line
from paribus.report.mistakes import flips_data, script_json
from paribus.report.page import render
from paribus.untrusted import printable

ANNOTATED = {n: f"{n}+1=<<{n}+1={n + n % 3}>>{n} pens\n#### {n + n % 2}" for n in range(12)}
LAYOUTS: list[list[dict[str, Any]]] = [
    plain(FIRST),
    asked(ANNOTATED),
    [{**row, "group": str(n % 4), "finish_reason": "length"} for n, row in enumerate(asked(FIRST))],
    harness(FIRST),
    own(SECOND),
    [{**row, "solution": "1+1=<<1+1=2>>2\n#### 2", "group": "g"} for row in own(ANNOTATED)],
]


def lines(rows: Any) -> bytes:
    rows = rows if isinstance(rows, list) else [rows]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "gold.jsonl").write_bytes(lines(GOLD))
    (folder / "good.jsonl").write_bytes(lines(asked(RIGHT)))
    return folder


def check(files: Sequence[Path], gold: Path | None, *, common: bool, whole: bool) -> None:
    """Read, judge and conclude; with `whole` draw the page too, which takes most of the time."""
    started = time.process_time()
    try:
        found = collect([str(file) for file in files], gold=gold, common=common)
    except ParibusError as error:
        assert_readable(error)
        return
    analysis = conclude(found.tables)
    values = payload(analysis)
    json_line(values)
    script_json(flips_data(found.tables, found.tables.declared))
    for arm in values["arms"]:
        assert sum(arm["outcomes"].values()) == arm["n"] > 0
        for score in arm["scores"].values():
            assert 0 <= score["correct"] <= arm["n"]
    if whole:
        page = render(analysis)
        assert page.encode()
        assert printable(page) == page
    assert time.process_time() - started < HANG_SECONDS


FLAGS = st.tuples(st.booleans(), st.booleans(), st.integers(0, 9))


@fuzz
@given(spoiled_bytes([lines(rows) for rows in LAYOUTS]), FLAGS)
def test_spoiled_bytes(folder: Path, data: bytes, flags: tuple[bool, bool, int]) -> None:
    (folder / "x.jsonl").write_bytes(data)
    with_gold, common, whole = flags
    files = [folder / "x.jsonl", folder / "good.jsonl"]
    check(files, folder / "gold.jsonl" if with_gold else None, common=common, whole=whole == 0)


@fuzz
@given(spoiled_values(LAYOUTS), FLAGS)
def test_spoiled_values(folder: Path, rows: Any, flags: tuple[bool, bool, int]) -> None:
    (folder / "y.jsonl").write_bytes(lines(rows))
    with_gold, common, whole = flags
    files = [folder / "y.jsonl", folder / "good.jsonl"][: 1 + common]
    check(files, folder / "gold.jsonl" if with_gold else None, common=common, whole=whole == 0)


@fuzz
@given(spoiled_values([GOLD, [{**row, "id": n} for n, row in enumerate(GOLD)]]), FLAGS)
def test_spoiled_gold(folder: Path, rows: Any, flags: tuple[bool, bool, int]) -> None:
    (folder / "spoiled.jsonl").write_bytes(lines(rows))
    _, common, whole = flags
    check([folder / "good.jsonl"], folder / "spoiled.jsonl", common=common, whole=whole == 0)


PIECES = [
    "#### ", "####", "7", "-", ".", ",", "$", "%", "<<", ">>", "=", "1+1", "\n", "\r", " ", "x",
    "Question:", "\uff19", "\u00bd", "\u2028", "\x00", "\ud800", "</script>", "1/0", "(", ")",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@fuzz
@given(
    st.lists(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), min_size=12, max_size=12)
)
def test_any_text_is_scored(folder: Path, texts: list[str]) -> None:
    (folder / "z.jsonl").write_bytes(lines(asked(dict(enumerate(texts)))))
    check([folder / "z.jsonl"], None, common=False, whole=False)
