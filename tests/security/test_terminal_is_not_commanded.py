"""Whatever texts say, what verbs print holds no control character: escapes are spelled out."""

import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from external_rows import GOLD, RIGHT, asked, own, write
from paribus.cli.console import PlainConsole
from paribus.cli.main import main
from paribus.config.schema import DataConfig
from paribus.config.task_file import read_task
from paribus.data import problems
from paribus.errors import DataError, UserError
from paribus.store import runs
from paribus.store.layout import ExperimentFolder
from paribus.untrusted import printable
from stores import complete, describe_trained

CLEAR, TITLE, C1 = "\x1b[2J", "\x1b]0;renamed\x07", "\x9b2J"
EVIL = f"{CLEAR}{TITLE}{C1}\r\x08\x7f\u202e [bold]x[/bold] \ud800"
SPELLED = r"\x1b[2J\x1b]0;renamed\x07\x9b2J\r\x08\x7f\u202e [bold]x[/bold] \ud800"
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
OURS = re.compile(r"\x1b\[[0-9;]*m")
"""Colours and weights, which rich writes itself."""


def test_control_characters_are_spelled_out() -> None:
    assert printable(EVIL) == SPELLED
    assert (
        printable("caf\u00e9 \u4e2d\u6587 \U0001f600\n\ttab")
        == "caf\u00e9 \u4e2d\u6587 \U0001f600\n\ttab"
    )


@given(st.text(st.characters(), max_size=60))
def test_nothing_printable_commands(text: str) -> None:
    assert not COMMANDS.search(printable(text))
    assert printable(printable(text)) == printable(text)
    printable(text).encode()


def test_errors_are_spelled_out_whoever_prints_them() -> None:
    error = UserError(f"bad {EVIL}", EVIL)
    assert error.message == f"bad {SPELLED}"
    assert str(error) == f"bad {SPELLED}\n  → {SPELLED}"


@pytest.mark.parametrize("terminal", [False, True])
def test_the_console_prints_text_and_its_own_styles(terminal: bool) -> None:
    file = io.StringIO()
    console = PlainConsole(file=file, force_terminal=terminal, width=200)
    table = Table("heading", title=Text(EVIL))
    table.add_row(Text(EVIL), style="red")
    for made in (Text(EVIL, style="bold"), table, Panel(Text(EVIL), title=Text(EVIL))):
        console.print(made)
    console.print(EVIL, markup=False)
    console.print(f"[red]{CLEAR}[/]")
    printed = file.getvalue()
    assert (OURS.search(printed) is not None) == terminal
    bare = OURS.sub("", printed)
    assert not COMMANDS.search(bare)
    assert bare.count(r"\x1b[2J") == 7
    printed.encode()


def output(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    main([str(word) for word in words])
    out, error = capsys.readouterr()
    (out + error).encode()
    return out + error


def test_score_and_its_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write(tmp_path / "good.jsonl", asked(RIGHT))
    texts = [
        {**row, "question": row["question"] + EVIL, "completion": EVIL} for row in asked(RIGHT)
    ]
    odd = write(tmp_path / f"{CLEAR}odd.jsonl", texts)
    faulty = {
        "keys": [{EVIL: 1}],
        "stop": [{"problem_id": "p", "question": "q", "answer": "7", "text": "x", "stop": EVIL}],
        "own key": [{**own(RIGHT)[0], f"pro{CLEAR}mpt": 1}],  # found by fuzzing
        "answer": [{"question": EVIL, "answer": f"{EVIL} many", "completion": "x"}],
        "two golds": [*asked(RIGHT), {**GOLD[0], "answer": f"{EVIL}\n#### 9", "completion": "7"}],
        "last line": [{"question": "q", "answer": f"#### 7\n{EVIL}", "completion": "7"}],
    }
    for name, rows in faulty.items():
        said = output(capsys, "score", write(tmp_path / f"{name}.jsonl", rows))
        assert "error: " in said
        assert not COMMANDS.search(said), name
    for words in (("score", odd), ("compare", odd, good), ("compare", odd, f"{EVIL}={good}")):
        assert not COMMANDS.search(output(capsys, *words, "--common"))
    said = output(capsys, "score", odd, "--json")
    assert not COMMANDS.search(said)
    assert said.isascii()  # a program reads it; the bytes are the same in every locale
    assert json.loads(said[: said.rindex("}") + 1])["arms"][0]["n"] == 12


def test_the_report_of_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ExperimentFolder(tmp_path / "[bold]" / "small")
    describe_trained(folder)
    complete(folder)
    run = folder.run("lora-main", 0)
    run.manifest.unlink()
    runs.fail(run, EVIL, EVIL)
    said = output(capsys, "report", folder.path)
    assert "failed" in said
    assert "[bold]/small/report" in said
    assert not COMMANDS.search(said)


def test_data_is_quoted_harmlessly_and_half_pairs_are_refused(tmp_path: Path) -> None:
    for text, message in (
        (f"{CLEAR}{C1} many", "does not end in '#### N'"),
        ("\ud800\n#### 7", "not text"),
    ):
        write(tmp_path / "train.jsonl", [{"question": "q", "answer": text}])
        write(tmp_path / "test.jsonl", GOLD)
        with pytest.raises(DataError, match=message) as caught:
            problems.load_problems(read_task("gsm8k"), DataConfig(path=str(tmp_path)), 0)
        assert not COMMANDS.search(str(caught.value))
    (tmp_path / "train.jsonl").write_text("[" * 100_000)
    with pytest.raises(DataError, match="train.jsonl:1: nested too deeply"):
        problems.load_problems(read_task("gsm8k"), DataConfig(path=str(tmp_path)), 0)
