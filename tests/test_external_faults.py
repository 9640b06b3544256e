"""Faulty files from elsewhere: each is refused with what is wrong, where, and what to do."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from external_rows import FIRST, GOLD, QUESTIONS, RIGHT, asked, own, plain, write
from paribus.analysis.elsewhere.external import collect
from paribus.cli.main import main
from paribus.data.rows import MAX_LINE_BYTES
from paribus.errors import DataError


@pytest.fixture
def gold(tmp_path) -> Path:
    return write(tmp_path / "gold.jsonl", GOLD)


def lines(*rows: Any) -> bytes:
    return b"".join(
        row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows
    )


DIFFERENT = (
    r"the files answer different problems: .*: {} problems, {} missing, {} unknown, {} repeated"
)
FAULTS: dict[str, tuple[bytes, str, str]] = {  # name: file, what is said, the remedy
    "missing": (
        lines(*plain(RIGHT)[2:]),
        DIFFERENT.format(10, 2, 0, 0),
        "give --common to use the 10 problems",
    ),
    "unknown": (
        lines(*plain(RIGHT), {"id": 99, "completion": "x"}, {"question": "?", "completion": "x"}),
        DIFFERENT.format(12, 0, 2, 0),
        "give --common to use the 12 problems",
    ),
    "all of it": (
        lines(*plain(RIGHT)[1:], *plain(RIGHT)[3:5], {"id": "q", "completion": "x"}),
        DIFFERENT.format(11, 1, 1, 2),
        "give --common to use the 11 problems",
    ),
    "nothing known": (
        lines({"question": "Who?", "completion": "x"}),
        "the files share no problem that has a gold answer: .*12 missing, 1 unknown",
        "word for word",
    ),
    "two texts": (
        lines(*plain(RIGHT), {"id": 3, "completion": "#### 9"}),
        r"1 times one problem has two different texts: .*x.jsonl:4 and .*x.jsonl:13: 'Tom has 3",
        "keep one text for each problem",
    ),
    "counts from 1": (
        lines(*[{"id": n + 1, "completion": "x"} for n in range(12)]),
        r"ids go up to 12 and there is no 0, but the 12 lines of .*gold.jsonl count from 0",
        "count from 0",
    ),
    "not JSON": (lines(*plain(FIRST), b"{oops\n"), r"x.jsonl:13: not JSON: ", "fix"),
    "deep": (b"[" * 100_000 + b"\n", r"x.jsonl:1: nested too deeply\n", "JSON lines"),
    "deep in a line": (b'{"id":' * 100_000 + b"\n", r"x.jsonl:1: nested too deeply\n", "fix"),
    "two lists": (
        lines(plain(FIRST), plain(FIRST)),
        r"x.jsonl:1: not one JSON list: Extra data",
        "JSON lines",
    ),
    "a list later": (lines(*plain(RIGHT), plain(FIRST)), r"x.jsonl:13: not an object", "fix"),
    "a list of lists": (lines([plain(FIRST)]), r"x.jsonl, item 1: not an object", "one list of"),
    "binary": (b"\x89PNG\r\n\x1a\n\x00\xff", r"x.jsonl is binary, not text\n", "JSON lines"),
    "empty": (b"", r"x.jsonl holds no line", "at least one generation"),
    "blank": (b" \n\n", r"x.jsonl holds no line", "at least one generation"),
    "huge line": (
        b'{"id": 0, "completion": "' + b"7" * MAX_LINE_BYTES + b'"}\n',
        r"x.jsonl:1: the line is longer than 16,777,216 bytes",
        "one object on each line",
    ),
    "unknown layout": (
        lines({"prompt": "?", "output": "7"}),
        "its keys: 'prompt', 'output'",
        "give",
    ),
    "null": (lines({"id": 0, "completion": None}), r"x.jsonl:1: 'completion' is null", "fix"),
    "NaN": (b'{"id": 0, "completion": NaN}\n', r"x.jsonl:1: 'completion' is a number", "fix"),
    "number": (lines({"id": 0, "completion": 7}), r"x.jsonl:1: 'completion' is a number", "fix"),
    "no completion": (lines(*plain(RIGHT), {"id": 1}), r"x.jsonl:13: there is no 'compl", "fix"),
    "bool id": (
        lines({"id": True, "completion": "7"}),
        r"x.jsonl:1: 'id' is true or false",
        "fix",
    ),
    "no name": (
        lines({"completion": "7"}),
        r"x.jsonl:1: has neither 'id' nor 'question'",
        "give the line the id or the question",
    ),
    "repeats": (
        lines({"doc": GOLD[0], "resps": [["a", "b"]]}),
        r"x.jsonl:1: 2 completions of one problem; the limit is 1",
        "repeats: 1",
    ),
    "choices": (
        lines({"doc": GOLD[0], "resps": [[["-1.5", "True"]], [["-2", "False"]]]}),
        r"x.jsonl:1: 'resps' is not one text",
        "generate_until",
    ),
    "no doc": (lines({"doc": 5, "resps": [["a"]]}), r"x.jsonl:1: 'doc' is not an object", "fix"),
    "own, no text": (lines({**own(FIRST)[0], "text": 5}), r"x.jsonl:1: 'text' is a number", "fix"),
    **{
        f"own, {key}": (lines({**own(FIRST)[0], key: value}), f"x.jsonl:1: '{key}' is ", "fix")
        for key, value in {
            "problem_id": 1,
            "prompt_sha256": [],
            "solution": None,
            "group": {"a": 1},
            "num_tokens": [5],
        }.items()
    },
    "own, bad stop": (
        lines({**own(FIRST)[0], "stop": "x"}),
        "x.jsonl:1: not a generation as paribus writes it: 'x' is not",
        "fix",
    ),
}


@pytest.mark.parametrize(("content", "message", "remedy"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_file_is_refused_with_what_to_do(tmp_path, gold, capsys, content, message, remedy):
    file = tmp_path / "x.jsonl"
    file.write_bytes(content)
    assert main(["score", str(file), "--gold", str(gold)]) == 2
    out, said = capsys.readouterr()
    assert out == ""
    assert re.search(message, said), said
    assert remedy in said.partition("→")[2]
    assert len(said) < 900


BAD_GOLD: dict[str, tuple[list[Any], str]] = {
    "two answers": (
        [*GOLD, {**GOLD[3], "answer": "#### 9"}],
        r"gold.jsonl:4 says '4' and .*:13 says '9'",
    ),
    "one id": ([{**GOLD[0], "id": 5}, {**GOLD[1], "id": "5"}], "id '5' is also another problem's"),
    "some ids": ([{**GOLD[0], "id": 5}, GOLD[1]], "1 of 2 lines have an 'id'"),
    "no number": ([{**GOLD[0], "answer": "many"}], "'answer' is 'many', neither"),
    "no last number": ([{**GOLD[0], "answer": "#### 1\nor 2"}], "does not end in '#### N'"),
    "NaN": ([{**GOLD[0], "answer": float("nan")}], "'answer' is 'nan', neither"),
    "no answer": ([{"question": "?"}], "no gold 'answer'"),
    "no question": ([{"answer": "#### 5"}], "there is no 'question'"),
    "nothing": ([], "holds no problem"),
}


@pytest.mark.parametrize(("rows", "message"), BAD_GOLD.values(), ids=BAD_GOLD)
def test_a_faulty_gold_file_is_refused(tmp_path, rows, message):
    file = write(tmp_path / "x.jsonl", plain(FIRST))
    with pytest.raises(DataError, match=message):
        collect([str(file)], gold=write(tmp_path / "gold.jsonl", rows))


def test_without_gold_the_rows_must_know_it(tmp_path):
    ids = write(tmp_path / "ids.jsonl", plain(FIRST))
    bare = write(tmp_path / "bare.jsonl", [{"question": QUESTIONS[0], "completion": "1"}])
    other = write(tmp_path / "other.jsonl", [{**GOLD[0], "answer": "#### 9", "completion": "9"}])
    right = write(tmp_path / "right.jsonl", asked({0: "#### 1"}))
    for files, message in (
        ([ids], r"ids.jsonl:1: names its problem by id alone"),
        ([bare], r"bare.jsonl:1: no gold 'answer'"),
        ([right, other], r"right.jsonl:1 says '1' and .*other.jsonl:1 says '9' to 'Tom "),
    ):
        with pytest.raises(DataError, match=message) as caught:
            collect([str(file) for file in files])
        assert "--gold FILE" in caught.value.remedy


NAMES = [  # files, the names of their arms
    (["base.jsonl", "lora.jsonl"], ["base", "lora"]),
    (["a/x.jsonl", "b/x.jsonl", "y.jsonl"], ["a/x", "b/x", "y"]),
    (["p/a/x.jsonl", "q/a/x.jsonl"], ["p/a/x", "q/a/x"]),
    (["out/gemma/samples_gsm8k_1.jsonl"], ["gemma"]),
    (["m/samples_1.jsonl", "m/samples_2.jsonl"], ["m/samples_1", "m/samples_2"]),
    (["runs/full/seed-3/generations/one_shot.jsonl"], ["full"]),
    (["new=a/x.jsonl", "x.jsonl"], ["new", "x"]),
    (["a=b.jsonl"], ["a=b"]),
    (["base.jsonl", "lora.jsonl.gz", "x.y.xz"], ["base", "lora", "x"]),
    (["\x1b[31m\u202ered.jsonl"], ["?[31m?red"]),
    (["s=1.jsonl", "s=2.jsonl", "3.jsonl"], ["s", "3"]),
]


@pytest.mark.parametrize(("files", "names"), NAMES)
def test_names_of_arms(tmp_path, monkeypatch, files, names):
    monkeypatch.chdir(tmp_path)
    for file in files:
        path = Path(file if file == "a=b.jsonl" else file.rpartition("=")[2])
        write(path, asked({**RIGHT, 0: f"{path} #### 1"}))  # none is a copy of another
    tables = collect(files).tables
    assert [arm.name for arm in tables.arms] == names
    pairs = [(later, first) for n, first in enumerate(names) for later in names[n + 1 :]]
    assert [(a, b) for a, b, _ in tables.declared] == pairs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.jsonl", "x.jsonl"], r"x.jsonl is given 2 times"),
        (["a=x.jsonl", "b=./x.jsonl"], r"x.jsonl is given 2 times"),
        (["gone.jsonl"], r"gone.jsonl cannot be read: No such file"),
        (["=x.jsonl"], "neither FILE nor NAME=FILE"),
        (["."], "neither a run .* nor an arm"),
    ],
)
def test_arguments_that_name_nothing(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write(Path("x.jsonl"), asked(RIGHT))
    with pytest.raises(DataError, match=message):
        collect(arguments)


EVIL = "</pre></script><img src=x onerror=alert(1)>[red]\x1b[31m\u202e {{ 7 * 7 }} \ud800"


def test_untrusted_text_stays_text(tmp_path, capsys):
    rows = [{**GOLD[0], "question": EVIL, "completion": EVIL, "group": EVIL}]
    page = tmp_path / "page.html"
    file = write(tmp_path / "[bold]x.jsonl", rows)
    assert main(["score", str(file), "--report", str(page)]) == 0
    assert "[bold]x" in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert "<img" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "{{ 7 * 7 }}" in text
