"""One set of rows in every form that a file of others may have; what is none of them is named."""

import bz2
import csv
import gzip
import io
import json
import lzma
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from external_rows import FIRST, GOLD, asked, harness, own, plain, write
from paribus.analysis.elsewhere.external import collect
from paribus.cli.main import main
from paribus.config.schema import DataConfig
from paribus.config.task_file import read_task
from paribus.data.problems import read_split
from paribus.data.rows import read_rows
from paribus.errors import DataError, ModelError
from paribus.files import parse_json, read_json, read_json_lines
from paribus.models.configs import read_config

Rows = list[dict[str, Any]]
HOSTILE = 'Größe 日\n"quoted", a;b\tc #### 7\r\n'


def lines(rows: Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def one_list(rows: Rows, indent: int | None = None) -> bytes:
    return json.dumps(rows, ensure_ascii=False, indent=indent).encode()


def table(rows: Rows, delimiter: str = ",", end: str = "\r\n") -> bytes:
    text = io.StringIO(newline="")
    made = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, lineterminator=end)
    made.writeheader()
    made.writerows(rows)
    return text.getvalue().encode()


def parquet(rows: Rows) -> bytes:
    import pyarrow
    from pyarrow import parquet

    sink = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue()


def coded(encoding: str, form: Callable[[Rows], bytes] = lines) -> Callable[[Rows], bytes]:
    return lambda rows: form(rows).decode().encode(encoding)


NESTED: dict[str, Callable[[Rows], bytes]] = {
    "lines": lines,
    "no last line end": lambda rows: lines(rows).rstrip(),
    "blank lines": lambda rows: b"\n \n" + lines(rows).replace(b"\n", b"\r\n\r\n"),
    "a mark": lambda rows: b"\xef\xbb\xbf" + lines(rows),
    "one list": one_list,
    "a list over lines": lambda rows: b"\n " + one_list(rows, indent=2),
    "a list with a mark": lambda rows: b"\xef\xbb\xbf" + one_list(rows, indent=2),
    "gzip": lambda rows: gzip.compress(lines(rows)),
    "gzip in parts": lambda rows: gzip.compress(lines(rows[:5])) + gzip.compress(lines(rows[5:])),
    "bzip2": lambda rows: bz2.compress(lines(rows)),
    "xz": lambda rows: lzma.compress(lines(rows)),
    "a list in gzip": lambda rows: gzip.compress(one_list(rows)),
    "UTF-16": coded("utf-16"),
    "UTF-16, least first, no mark": coded("utf-16-le"),
    "UTF-16, most first, no mark": coded("utf-16-be"),
    "UTF-32": coded("utf-32"),
    "a list in UTF-16": coded("utf-16", one_list),
    "UTF-16 in gzip": lambda rows: gzip.compress(coded("utf-16")(rows)),
    "Parquet": parquet,
    "Parquet in gzip": lambda rows: gzip.compress(parquet(rows)),
}
FLAT: dict[str, Callable[[Rows], bytes]] = {
    "CSV": table,
    "CSV with a mark": lambda rows: b"\xef\xbb\xbf" + table(rows),
    "CSV of Unix": lambda rows: table(rows, end="\n"),
    "CSV with semicolons": lambda rows: table(rows, ";"),
    "tabs": lambda rows: table(rows, "\t"),
    "CSV in UTF-16": coded("utf-16", table),
    "CSV in gzip": lambda rows: gzip.compress(table(rows)),
}
LAYOUTS = {"plain": plain, "asked": asked, "harness": harness, "own": own}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", NESTED | FLAT)
def test_every_form_says_the_same(tmp_path, layout, form):
    if form in FLAT and layout in ("harness", "own"):
        pytest.skip("cells are texts: neither lists nor numbers")
    texts = {**FIRST, 2: HOSTILE}
    gold = write(tmp_path / "gold.jsonl", GOLD)
    reference = write(tmp_path / "reference.jsonl", LAYOUTS[layout](texts))
    file = tmp_path / "named.txt"
    file.write_bytes((NESTED | FLAT)[form](LAYOUTS[layout](texts)))
    made, expected = (
        collect([str(each)], gold=gold).tables.runs[0].generations for each in (file, reference)
    )
    assert made == expected
    assert len(made) == 12


@pytest.mark.parametrize("form", NESTED | FLAT)
def test_gold_comes_in_every_form(tmp_path, form):
    gold = tmp_path / "gold"
    gold.write_bytes((NESTED | FLAT)[form](GOLD))
    file = write(tmp_path / "x.jsonl", plain(FIRST))
    made = collect([str(file)], gold=gold).tables.runs[0]
    assert made == collect(
        [str(file)], gold=write(tmp_path / "gold.jsonl", GOLD)
    ).tables.runs[0]  # fmt: skip
    assert len(made.generations) == 12


@pytest.mark.parametrize("form", NESTED | FLAT)
def test_gsm8ks_files_come_in_every_form(tmp_path, form):
    (tmp_path / "test.jsonl").write_bytes((NESTED | FLAT)[form](GOLD))
    found = read_split(read_task("gsm8k").base, DataConfig(path=str(tmp_path)), "test")[0]
    assert [each.question for each in found] == [row["question"] for row in GOLD]
    assert [each.answer for each in found] == [str(number + 1) for number in range(12)]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@settings(max_examples=60)
@given(st.lists(st.tuples(CELLS, CELLS.filter(bool)), min_size=1, max_size=5))
def test_cells_are_what_was_written(tmp_path_factory, cells):
    """Quotes, separators and line ends within a cell are part of it."""
    rows = [{"completion": text, "question": asked} for text, asked in cells]
    file = tmp_path_factory.mktemp("cells") / "x"
    for form in (lines, one_list, table, parquet, coded("utf-16")):
        file.write_bytes(form(rows))
        assert [row for _, row in read_rows(file)] == rows


CAUSES: dict[str, tuple[bytes, str, str]] = {  # content, what is said, the remedy
    "cut gzip": (
        gzip.compress(b"x" * 9999)[:-9],
        "cannot be read: Compressed file ended",
        "is whole",
    ),
    "damaged gzip": (b"\x1f\x8b\x08\x00" + b"x" * 99, "cannot be read: ", "whole"),
    "cut xz": (lzma.compress(lines(plain(FIRST)))[:-20], "cannot be read: ", "whole"),
    "cut bzip2": (bz2.compress(lines(plain(FIRST)))[:-20], "cannot be read: ", "whole"),
    "a damaged Parquet": (parquet(plain(FIRST))[:-9], "cannot be read as Parquet: ", "write it"),
    "only the mark": (b"PAR1", "cannot be read as Parquet: ", "write it"),
    "zip": (b"PK\x03\x04" + b"\0" * 40, "is a zip archive, or a sheet of Excel", "unpack it"),
    "zip in gzip": (gzip.compress(b"PK\x03\x04" + b"\0" * 40), "is a zip archive", "unpack it"),
    "zstd": (b"\x28\xb5\x2f\xfd" + b"\0" * 40, "is packed by zstd", "unpack it: zstd -d"),
    "Arrow": (b"ARROW1\0\0", "is an Arrow file", "Parquet or JSON lines"),
    "half of UTF-16": (b"\xff\xfe" + "{}".encode("utf-16-le")[:-1], "not in UTF-16", "UTF-8"),
    "latin-1": (
        '{"id": 0, "completion": "é"}'.encode("latin-1"),
        ":1: not in UTF-8: byte 0xe9",
        "iconv",
    ),
    "latin-1 list": ('[{"id": "é"}]'.encode("latin-1"), ":1: not in UTF-8: byte 0xe9", "iconv"),
    "latin-1 later": (
        '{"id": 0, "completion": "7"}\n{"id": 1, "completion": "ü"}'.encode("latin-1"),
        ":2: not in UTF-8: byte 0xfc at 25, ",
        "save the whole file as UTF-8: iconv -f latin1 -t utf-8 IN > OUT",
    ),
    "latin-1 CSV": ("id,completion\n0,é".encode("latin-1"), "not in UTF-8: byte", "as UTF-8"),
    "ELF": (b"\x7fELF\x02\x01\x01\0\0\0\0\0", "x.jsonl is binary, not text", "Parquet"),
    "safetensors": (b"P\4\0\0\0\0\0\0" + b'{"a": 1}', "x.jsonl is binary, not text", "Parquet"),
    "JPEG": (b"\xff\xd8\xff\xe0\x00\x10JFIF", "x.jsonl is binary, not text", "Parquet"),
    "binary in gzip": (gzip.compress(b"\x89PNG\r\n\x1a\n"), "x.jsonl is binary", "Parquet"),
    "too many cells": (b"id,completion\n0,a,b\n", ":2: 3 cells; the header has 2", "in quotes"),
    "too few cells": (b"id,completion\n0,a\n1\n", ":3: 1 cells; the header has 2", "in quotes"),
    "an open quote": (b'id,completion\n0,"a\n1,b\n', "not a table", "fix"),
    "two columns alike": (
        b"id,completion,id\n0,a,1\n",
        ":1: the column 'id' comes twice",
        "remove",
    ),
    "no known column": (b"prompt,output\n?,7\n", ":1: not JSON: ", "fix"),
    "an open list": (one_list(plain(FIRST))[:-1], ":1: not one JSON list", "one list of objects"),
    "a list of texts": (b'["a", "b"]', ", item 1: not an object", "one list of objects"),
    "an empty list": (b"[]", "holds no line", "at least one generation"),
    "objects over lines": (
        b"".join(json.dumps(row, indent=1).encode() for row in plain(FIRST)),
        ":1: an object that continues over several lines; its keys: 'completion', 'id'",
        "jq -c . FILE",
    ),
    "an object without rows": (
        json.dumps({"seed": 1, "tags": ["a"]}, indent=1).encode(),
        ":1: an object that continues over several lines; its keys: 'seed', 'tags'",
        "give the list in it alone",
    ),
    "lm-eval's summary": (
        json.dumps({"results": {}, "configs": {}, "versions": {}}, indent=2).encode(),
        "its keys: 'configs', 'results', 'versions'",
        "give the samples_*.jsonl beside it",
    ),
    "twice one key": (
        b'{"id": 0, "completion": "#### 1", "completion": "#### 2"}\n',
        ":1: the key 'completion' comes twice in one object",
        "fix",
    ),
    "twice within": (
        b'{"resps": [["a"]], "doc": {"question": "?", "answer": "1", "answer": "2"}}\n',
        ":1: the key 'answer' comes twice in one object",
        "fix",
    ),
    "twice in a list": (
        b'[{"id": 0, "id": 1, "completion": "a"}]',
        "the key 'id' comes",
        "one list",
    ),
}


@pytest.mark.parametrize(("content", "message", "remedy"), CAUSES.values(), ids=CAUSES)
def test_what_cannot_be_read_is_named(tmp_path, capsys, content, message, remedy):
    file = tmp_path / "x.jsonl"
    file.write_bytes(content)
    assert main(["score", str(file), "--gold", str(write(tmp_path / "gold.jsonl", GOLD))]) == 2
    out, said = capsys.readouterr()
    assert out == ""
    assert re.search(re.escape(message), said), said
    assert remedy in said.partition("→")[2]


def test_a_key_that_comes_twice_is_refused_wherever_json_is_read(tmp_path):
    twice = '{"a": 1, "b": {"c": 1, "c": 1}}'
    file = tmp_path / "x.json"
    file.write_text(twice)
    readers: list[tuple[Callable[[], object], type[Exception]]] = [
        (lambda: parse_json(twice), ValueError),
        (lambda: read_json(file), ValueError),
        (lambda: list(read_json_lines(file)), ValueError),
        (lambda: read_config(file), ModelError),
        (lambda: list(read_rows(file)), DataError),
    ]
    for reader, kind in readers:
        with pytest.raises(kind, match="the key 'c' comes twice in one object"):
            reader()
    assert parse_json('{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}') == {
        "a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]
    }  # fmt: skip


FOLDERS = [  # files in the folder, what is given, the arm's name or what is said
    (["m/samples_gsm8k_1.jsonl", "m/results_1.json"], "out", "m"),
    (["m/samples_gsm8k_1.jsonl", "m/results_1.json"], "out/m", "m"),
    (["samples_gsm8k_1.jsonl"], "out", "out"),
    (["m/samples_gsm8k_1.json"], "out", "m"),
    (["m/samples_gsm8k_1.jsonl", "m/samples_gsm8k_2.jsonl"], "out", "out holds 2 files of samples"),
    (["m/samples_a.jsonl", "n/samples_a.jsonl"], "out", "m/samples_a.jsonl, n/samples_a.jsonl"),
    (["m/results_1.json"], "out", "holds no samples_*.jsonl of lm-eval (--log_samples)"),
    (["m/n/samples_gsm8k_1.jsonl"], "out", "holds no samples_*.jsonl"),
]


@pytest.mark.parametrize(("files", "given", "expected"), FOLDERS)
def test_lm_evals_folder_is_read(tmp_path, monkeypatch, files, given, expected):
    monkeypatch.chdir(tmp_path)
    for name in files:
        write(Path("out") / name, [{}] if "results" in name else harness(FIRST))
    if " " in expected or "/" in expected:
        with pytest.raises(DataError, match=re.escape(expected)):
            collect([given])
        return
    tables = collect([given]).tables
    assert [arm.name for arm in tables.arms] == [expected]
    assert tables.runs[0].outcomes["correct"] == 8
    assert [arm.name for arm in collect([f"mine={given}"]).tables.arms] == ["mine"]
