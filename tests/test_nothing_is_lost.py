"""No verb writes onto what it did not write: inputs, stores, links, pipes, devices, folders."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from external_rows import GOLD, RIGHT, asked, plain, write
from paribus.cli.main import main
from paribus.files import write_text
from paribus.store.layout import ExperimentFolder
from stores import complete, describe_trained


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Generations, gold, a store, and whatever else a report may be put onto."""
    monkeypatch.chdir(tmp_path)
    write(Path("in.jsonl"), plain(RIGHT))
    write(Path("gold.jsonl"), GOLD)
    store = ExperimentFolder(Path("runs/small"))
    describe_trained(store)
    complete(store)
    Path("notes.html").write_text("<!doctype html>\n<p>mine")
    Path("empty.html").touch()
    Path("folder").mkdir()
    os.link("in.jsonl", "hard.jsonl")
    Path("soft.jsonl").symlink_to("in.jsonl")
    Path("nowhere.html").symlink_to("gone.html")
    Path("to_store").symlink_to("runs/small")
    os.mkfifo("pipe")
    return tmp_path


def everything(folder: Path) -> dict[str, tuple[int, bytes | str]]:
    """Kind and content of all that lies in `folder`."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        content: bytes | str = ""
        if stat.S_ISREG(mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(mode):
            content = str(path.readlink())
        found[str(path)] = stat.S_IFMT(mode), content
    return found


TARGETS = [
    "in.jsonl", "./folder/../in.jsonl", "gold.jsonl", "hard.jsonl", "soft.jsonl", "nowhere.html",
    "notes.html", "empty.html", "folder", ".", "pipe", "in.jsonl/page.html",
    "runs/small/ledger.jsonl", "runs/small/experiment.yaml", "runs/small/new.html",
    "runs/small/report/index.html", "runs/small/full-main/seed-0/result.json",
    "runs/small/full-main/seed-0/new/page.html", "to_store/new.html",
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("verb", ["score", "compare"])
def test_a_report_is_put_onto_nothing_else(folder, capsys, verb, target):
    before = everything(folder)
    others = ["runs/small/full-main"] if verb == "compare" else []
    words = [verb, "in.jsonl", *others, "--gold", "gold.jsonl", "--report", target]
    assert main(words) == 2
    out, said = capsys.readouterr()
    assert out == ""
    assert "→" in said
    assert everything(folder) == before


def test_a_report_replaces_an_earlier_one(folder, capsys):
    made = {}
    for gold in (GOLD, [{**GOLD[0], "answer": "#### 99"}, *GOLD[1:]]):
        write(Path("gold.jsonl"), gold)
        words = ["score", "in.jsonl", "--gold", "gold.jsonl", "--report", "new/page.html"]
        assert main(words) == 0, capsys.readouterr().err
        made[str(gold[0])] = Path("new/page.html").read_text()
    assert len(set(made.values())) == 2


def device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root may make a device")


KINDS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "link": lambda path: path.symlink_to("elsewhere"),
    "device": device,
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_only_a_regular_file_is_replaced(tmp_path, make):
    path = tmp_path / "there"
    make(path)
    before = everything(tmp_path)
    with pytest.raises(OSError, match="not a regular file"):
        write_text(path, "new")
    assert everything(tmp_path) == before


INPUTS = {
    "experiment": {},
    "model": {"model": "./mine/inside"},
    "labels": {"labels": "mine/inside/labels.jsonl"},
    "data": {"task": "gsm8k", "data": {"path": "mine/inside"}},
}


@pytest.mark.parametrize("named", INPUTS)
def test_runs_are_not_written_around_what_they_read(tmp_path, monkeypatch, capsys, named):
    monkeypatch.chdir(tmp_path)
    write(Path("mine/inside/labels.jsonl"), GOLD)
    file = Path("mine/experiment.yaml" if named == "experiment" else "x.yaml")
    values = {"name": "mine", "question": "Which?", "model": "gemma-3-270m",
              "data": {"train_size": 8, "test_size": 4},
              "method": "lora"}  # fmt: skip
    file.write_text(yaml.safe_dump(values | INPUTS[named]))
    before = everything(tmp_path)
    assert main(["run", str(file), "--runs", "."]) == 2
    said = capsys.readouterr().err
    assert "where this experiment's runs are written" in said
    assert everything(tmp_path) == before


def test_a_description_replaces_no_file_of_others(tmp_path, monkeypatch):
    """A file of that name may be anyone's; a damaged one of ours begins with its seal."""
    store = ExperimentFolder(tmp_path / "small")
    describe_trained(store)
    store.description.write_bytes(store.description.read_bytes()[:-1])
    describe_trained(store)
    store.description.write_text("name: mine\n")
    with pytest.raises(Exception, match="would be replaced"):
        describe_trained(store)
    assert store.description.read_text() == "name: mine\n"


def test_a_report_is_known_by_its_head(tmp_path, monkeypatch, capsys):
    """Wherever it came from: a copy of a store's page may be replaced, the store's may not."""
    monkeypatch.chdir(tmp_path)
    store = ExperimentFolder(Path("small"))
    describe_trained(store)
    complete(store)
    write(Path("in.jsonl"), asked(RIGHT))
    assert main(["report", "small"]) == 0
    copy = Path("copy.html")
    copy.write_bytes(store.report.read_bytes())
    assert main(["score", "in.jsonl", "--report", "copy.html"]) == 0, capsys.readouterr().err
    assert copy.read_bytes() != store.report.read_bytes()
