"""Whatever streams a process is given, every verb prints on them, and so do its children."""

import os
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
import yaml

from external_rows import asked, write
from outside import started
from paribus.cli.main import main
from paribus.store.layout import ExperimentFolder
from stores import complete, describe_trained

WORDS = {0: "#### 1 − “Straße” → 日本 \ud800 \x1b[2J", 1: "7 €"}
VERBS = [
    "status", "verify", "clean", "explain", "explain PB001", "explain --json", "score in.jsonl",
    "score in.jsonl --json", "compare in.jsonl −=in2.jsonl", "plan x.yaml --explain", "score −",
    "report €", "verify 日", "merge − --into 日", "init --train −",
    "power --baseline 2 --difference 0.05",
]  # fmt: skip
EXPERIMENT = """
question: Ist “−” → größer?
model: gemma-3-270m
method: lora
data: {train_size: 8, test_size: 4}
"""
SMALLEST = {
    "data": {"train_size": 4, "test_size": 2, "max_steps": 1},
    "training": {"batch_size": 4, "micro_batch": 4, "precision": "fp32"},
    "evaluation": {"max_new_tokens": 3},
    "arms": {"lora": {"method": "lora"}},
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONIOENCODING", "")
    store = ExperimentFolder(Path("runs/small"))
    describe_trained(store, question="Größer → “−”?")
    complete(store)
    write(Path("in.jsonl"), asked(WORDS))
    write(Path("in2.jsonl"), asked(WORDS))
    Path("x.yaml").write_text(EXPERIMENT, encoding="utf-8")
    return tmp_path


def said_on(stream: TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode(stream.encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize("verb", VERBS)
def test_every_encoding_is_printed_in(folder, monkeypatch, verb):
    ended = {}
    for encoding in ("utf-8", "ascii", "latin-1", "cp1252", "utf-16"):
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, TextIOWrapper(BytesIO(), encoding))
        ended[encoding] = main(verb.split())
        said = said_on(sys.stdout) + said_on(sys.stderr)  # type: ignore[arg-type]
        assert said
        assert "Traceback" not in said
        assert "\x1b[2J" not in said
    assert len(set(ended.values())) == 1, ended


def test_a_report_is_told_in_ascii(folder, monkeypatch):
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(BytesIO(), "ascii"))
    assert main(["report", "runs/small"]) == 0
    assert "full-main - baseline" in said_on(sys.stdout)
    assert "Größer → “−”?" in Path("runs/small/report/index.html").read_text("utf-8")


def test_what_is_negative_stays_so_and_tables_stay_aligned(folder, monkeypatch):
    expected = {"ascii": "-3.5 to -; [-1 > 2]; \\u65e5", "utf-8": "−3.5 to –; [−1 → 2]; 日"}
    for encoding, last in expected.items():
        monkeypatch.setattr(sys, "stdout", TextIOWrapper(BytesIO(), encoding))
        assert main(["score", "x=in.jsonl"]) == 0
        sys.stdout.write("−3.5 to –; [−1 → 2]; 日")
        rows = said_on(sys.stdout).splitlines()
        table = rows[: next(n for n, row in enumerate(rows) if row.startswith("Final answers"))]
        assert rows[-1] == last
        assert {len(row) for row in table} == {80}


@pytest.mark.parametrize("closed", [["stdout"], ["stderr"], ["stdin", "stdout", "stderr"]])
@pytest.mark.parametrize("verb", VERBS)
def test_a_stream_that_is_missing_ends_nothing(folder, monkeypatch, verb, closed):
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, TextIOWrapper(BytesIO(), "utf-8"))
    expected = main(verb.split())
    for name in closed:
        monkeypatch.setattr(sys, name, None)
    assert main(verb.split()) == expected
    for name in closed:
        getattr(sys, name).close()


SCRIPT = """
import os, sys
from functools import partial
from paribus.cli.console import settle_streams
from paribus.running.isolated import in_child

def work(send):
    print("− 日")                          # as a library might
    print("− 日", file=sys.stderr)
    send([os.readlink(f"/proc/self/fd/{number}") for number in (1, 2)])
    send([sys.stdout.errors, sys.stderr.errors])

if __name__ == "__main__":
    settle_streams()
    opened = open(sys.argv[1], "w")         # must not get the number of a closed stream
    in_child(work, partial(print, file=opened))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_children_print_where_their_parent_may_not(tmp_path):
    """Closed streams are numbers that the next file gets: a child's words would go into it."""
    script, out = tmp_path / "script.py", tmp_path / "out"
    script.write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" "$1" "$2" >&- 2>&- <&-', sys.executable, str(script), str(out)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert done.returncode == 0
    assert out.read_text().splitlines() == [str(["/dev/null"] * 2), str(["backslashreplace"] * 2)]


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe whose reader has left, as `head` does."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def test_children_print_where_nobody_reads(tmp_path, unread):
    script, out = tmp_path / "script.py", tmp_path / "out"
    script.write_text(SCRIPT.replace("os.readlink", "str"), encoding="utf-8")
    words = [sys.executable, str(script), str(out)]
    assert subprocess.run(words, stdout=unread, stderr=unread, check=False).returncode == 0
    assert len(out.read_text().splitlines()) == 2


@pytest.mark.parametrize("verb", ["explain", "explain --json"])
def test_what_is_left_at_exit_is_no_fault(unread, verb):
    """In its own process: what is still buffered is flushed as it ends."""
    words = [sys.executable, "-m", "paribus.cli.main", *verb.split()]
    done = subprocess.run(words, stdout=unread, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("verb", [*VERBS, "status --json", "report runs/small"])
def test_a_reader_that_has_left_changes_nothing(folder, monkeypatch, capsys, unread, verb):
    expected = main(verb.split()), capsys.readouterr().err
    with os.fdopen(os.dup(unread), "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert (main(verb.split()), capsys.readouterr().err) == expected
        monkeypatch.setattr(sys, "stderr", stream)
        assert main(verb.split()) == expected[0]


def test_a_run_continues_when_nobody_reads_it(tiny, tmp_path):
    """As with `2>&1 | head -1`."""
    (tmp_path / "e.yaml").write_text(yaml.safe_dump({**SMALLEST, "model": str(tiny)}))
    running = started("run", "e.yaml", cwd=tmp_path, stderr=subprocess.STDOUT)
    assert running.stdout.readline() == "e: checking data, prompts and weights\n"
    running.stdout.close()
    assert running.wait() == 0
    assert (tmp_path / "runs/e/lora/seed-0/manifest.json").exists()
    assert (tmp_path / "runs/e/report/index.html").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("verb", ["explain", "explain --json"])
def test_output_that_cannot_be_written_is_an_error(folder, monkeypatch, verb):
    """In its own process: its last words are flushed as it ends."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "paribus.cli.main", *verb.split()],
            stdout=full, stderr=subprocess.PIPE, encoding="utf-8", check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == (
        "error: the output cannot be written: No space left on device"
    )
    assert "Traceback" not in done.stderr
