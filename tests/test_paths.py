"""Paths that no system takes, given to every verb: one line, no traceback, nothing made."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from paribus.cli.main import main
from paribus.errors import StoreError
from paribus.files import MAX_PATH_BYTES, path_fault
from paribus.report.target import check_target

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


NAMES = [  # the command, what is said to be named
    (["explain", "{}"], "rule"),
    (["baseline", "{}", "--data", "wordproblems"], "model"),
    (["plan", "x.yaml", "--device", "{}"], "device"),
    (["score", "x.yaml", "--group-by", "{}"], "key"),
]


@pytest.mark.parametrize(("words", "what"), NAMES)
@pytest.mark.parametrize("name", [LONG, "a\0b"], ids=["long", "NUL"])
def test_what_names_no_path_is_called_none(
    capsys: pytest.CaptureFixture[str], words: list[str], what: str, name: str
) -> None:
    assert main([word.format(name) for word in words]) == 2
    error, remedy = capsys.readouterr().err.splitlines()
    assert error.endswith(f"names no {what}")
    assert remedy == f"  → name another {what}"


def _folder(page: Path) -> None:
    page.mkdir()


def _dangling(page: Path) -> None:
    page.symlink_to("nowhere")


def _linked(page: Path) -> None:
    page.with_name("other").write_text("x")
    page.symlink_to("other")


def _other(page: Path) -> None:
    page.write_text("<html>")


IN_THE_WAY = [
    (_folder, "is a folder"), (_dangling, "is a link, which leads nowhere"),
    (_linked, "is a link, which leads elsewhere"),
    (_other, "exists and is not a report of paribus"),
    (os.mkfifo, "is a pipe, a socket or a device"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "said"), IN_THE_WAY)
def test_what_is_in_a_reports_place_is_called_what_it_is(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    make(tmp_path / "page")
    with pytest.raises(StoreError, match=f"page {said}\n"):
        check_target(tmp_path / "page")


@pytest.mark.parametrize(("given", "said"), [("", "the name is empty"), ("-", "to a file")])
def test_a_report_needs_a_name(capsys: pytest.CaptureFixture[str], given: str, said: str) -> None:
    with pytest.raises(SystemExit):
        main(["score", "x.jsonl", f"--report={given}"])
    assert said in capsys.readouterr().err
