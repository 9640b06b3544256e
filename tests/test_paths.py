"""Paths that no system takes, given to every verb: one line, no traceback, nothing made."""

from pathlib import Path

import pytest

from paribus.cli.main import main
from paribus.files import MAX_PATH_BYTES, path_fault

LONG = "a" * 5000
DEEP = "/".join(["b" * 200] * 30)
NEARLY = "/".join(["b" * 200] * 20)
"""As long as a path may be: what paribus puts below it is too long."""
GIVEN = [
    ["report", "{}"], ["report", "x.yaml", "--runs", "{}"], ["status", "{}"], ["plan", "{}"],
    ["status", "--runs={}"], ["run", "{}"], ["run", "x.yaml", "--runs", "{}"], ["verify", "{}"],
    ["clean", "{}"], ["clean", "--runs", "{}"], ["score", "{}"], ["score", "A={}"],
    ["score", "x.yaml", "--gold={}"],
    ["compare", "x.yaml", "{}"], ["baseline", "x", "--data", "{}"], ["doctor", "--runs", "{}"],
    ["baseline", "x", "--experiment", "{}"], ["baseline", "{}", "--data", "wordproblems"],
]  # fmt: skip


@pytest.mark.parametrize("words", GIVEN, ids=" ".join)
@pytest.mark.parametrize(
    "path", [LONG, DEEP, "a\0b", "\ud800"], ids=["long", "deep", "NUL", "half"]
)
def test_no_verb_takes_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    path: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text("data: {train_size: 9, test_size: 9}\n")
    assert main([word.format(path) for word in words]) == 2
    error, remedy = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert len(error) < 400
    assert remedy.startswith("  → ")
    assert [each.name for each in tmp_path.iterdir()] == ["x.yaml"]


@pytest.mark.parametrize(
    "words",
    [["report", "x.yaml", "--runs", NEARLY], ["status", "--runs", NEARLY], ["verify", NEARLY],
     ["clean", "--runs", NEARLY], ["report", f"{NEARLY}/c"], ["score", NEARLY]],
    ids=" ".join,
)  # fmt: skip
def test_what_is_too_long_only_with_what_lies_below_it_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text("data: {train_size: 9, test_size: 9}\n")
    assert main(words) in {0, 2}


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("runs", None),
        ("", None),
        ("b" * 255, None),
        ("b" * 256, "256 of them between two slashes"),
        ("ä" * 128, "256 of them"),
        ("/".join(["b" * 90] * 45), None),
        ("b/" * (MAX_PATH_BYTES // 2 + 1), "is 4,096 bytes long"),
        ("a\0", "holds a NUL character"),
        ("a\udcff", None),  # a file's name may be any bytes
        ("a\ud800", "is not Unicode"),
    ],
)
def test_path_fault(path: str, fault: str | None) -> None:
    found = path_fault(path)
    assert found == fault if fault is None else fault in str(found)
