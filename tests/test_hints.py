"""Hints of commands: they can be typed as they stand, and say again what was said."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paribus.cli.arguments import command, parser
from paribus.cli.main import main

FILE = """\
data: {train_size: 8, test_size: 8}
matrix: {method: [full, lora]}
"""


def hinted(text: str) -> list[str]:
    """The words of the last command that `text` names."""
    return shlex.split(text[text.rindex("paribus ") :].splitlines()[0])[1:]


words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(words, st.lists(words.map("k={}".format)), words)
def test_a_command_is_read_as_it_was_meant(file: str, values: list[str], root: str) -> None:
    file = f"./{file}"
    said = command("run", Path(file), values, Path(root), "--fork")
    found = parser().parse_args(shlex.split(said)[1:])
    assert (found.file, found.values, found.runs) == (Path(file), values, Path(root))
    assert found.fork


@pytest.mark.parametrize("folder", ["e", "a folder"])
@pytest.mark.parametrize("values", [[], ["name=other", "question=Why not?"]])
@pytest.mark.parametrize("where", [[], ["--runs", "my runs"]])
def test_what_was_typed_is_typed_again(tmp_path, monkeypatch, capsys, folder, values, where):
    monkeypatch.chdir(tmp_path)
    file = Path(folder) / "x.yaml"
    file.parent.mkdir()
    file.write_text(FILE)
    assert main(["report", str(file), *values, *where]) == 2
    assert hinted(capsys.readouterr().err) == ["run", str(file), *values, *where]
    assert main(["status", *where]) == 0
    assert hinted(capsys.readouterr().out) == ["run", "FILE", *where]
