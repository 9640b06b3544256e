"""Functions that a task file names: run only where the experiment says so, in a process apart."""

from pathlib import Path
from typing import Any

import pytest

from external_rows import write
from paribus.config.load import load
from paribus.config.schema import DataConfig
from paribus.config.task import Task
from paribus.config.task_file import read_task
from paribus.data.problems import load_problems, read_split
from paribus.errors import ConfigError, DataError

UTILS = """
import os, sys, time

from words import NAMES  # beside the file

print("while it is loaded")

def process_docs(dataset):
    print("while it runs")
    def told(doc):
        return {"names": [NAMES[n] for n in doc["labels"]], "pid": os.getpid()}
    return dataset.filter(lambda doc: doc["keep"]).map(told)

def text(doc): return f"Sort {doc['text']} as {' or '.join(doc['names'])}:"
def target(doc): return doc["names"].index(NAMES[doc["label"]])
def choices(doc): return doc["names"]
def raises(doc): raise KeyError(doc["text"])
def hangs(doc): time.sleep(60)
def leaves(dataset): os._exit(3)
"""
TASK = """\
train: rows.jsonl
process_docs: !function utils.process_docs
doc_to_text: !function utils.text
doc_to_target: !function utils.target
doc_to_choice: !function utils.choices
output_type: multiple_choice
"""


def own(folder: Path, text: str = TASK) -> Path:
    rows = [
        {"text": f"message {n}", "labels": [0, 2, 1], "label": n % 3, "keep": n != 4}
        for n in range(30)
    ]
    write(folder / "rows.jsonl", rows)
    (folder / "words.py").write_text("NAMES = ['red', 'green', 'blue']\n")
    (folder / "utils.py").write_text(UTILS)
    (folder / "own.yaml").write_text(text)
    return folder / "own.yaml"


def trusted(folder: Path, text: str = TASK) -> Task:
    return read_task(str(own(folder, text)), trusted=True)


def experiment(folder: Path, *items: str) -> Any:
    own(folder)
    (folder / "x.yaml").write_text("task: own.yaml\ndata: {test_size: 4}\n")
    return load(folder / "x.yaml", items)


def test_code_is_run_only_where_the_experiment_says_so(tmp_path):
    with pytest.raises(ConfigError) as caught:
        experiment(tmp_path)
    for key in ("2: process_docs", "3: doc_to_text", "4: doc_to_target", "5: doc_to_choice"):
        assert f"own.yaml:{key} names the function 'utils.py:" in caught.value.message
    remedy = "a task's code is run only where the experiment says trust_task_code: true"
    assert caught.value.message.count(remedy) == 4
    assert experiment(tmp_path, "trust_task_code=true").config.task.process_docs


def test_rows_prompts_and_targets_are_those_of_the_functions(tmp_path):
    problems, _ = read_split(trusted(tmp_path), DataConfig(), "train")
    assert len(problems) == 29
    assert problems[4].where == "own, process_docs, row 5"
    first = problems[2]
    assert (first.prompt, first.choices, first.answer) == (
        "Sort message 2 as red or blue or green:",
        ("red", "blue", "green"),
        "blue",
    )
    assert len(load_problems(trusted(tmp_path), DataConfig(test_size=4), 0).test) == 4


def test_a_metric_sees_the_row_as_it_was_made(tmp_path):
    text = TASK.replace("multiple_choice", "generate_until") + (
        "metric_list: [{metric: 'python: utils.py:text'}]\n"
    )
    problems, _ = read_split(trusted(tmp_path, text), DataConfig(), "train")
    document = problems[0].document or {}
    assert sorted(document) == ["keep", "label", "labels", "names", "pid", "text"]


def test_the_source_is_part_of_the_identity_and_its_place_is_not(tmp_path):
    (tmp_path / "moved").mkdir()
    first, moved = trusted(tmp_path), trusted(tmp_path / "moved")
    (tmp_path / "utils.py").write_text(UTILS.replace("Sort", "Order"))
    changed = read_task(str(tmp_path / "own.yaml"), trusted=True)
    assert first.identity() == moved.identity() != changed.identity()
    (tmp_path / "own2.yaml").write_text("task: own\ninclude: moved/own.yaml\n")
    included = read_task(str(tmp_path / "own2.yaml"), trusted=True)
    assert included.identity() == first.identity()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("doc_to_text: !function utils.raises", "rows.jsonl:1: .*utils.py: raises raised KeyError"),
        ("doc_to_text: !function utils.gone", "the file has no function 'gone'"),
        ("doc_to_text: !function utils.hangs", "hangs gave nothing for 30 rows within 2 s"),
        ("process_docs: !function utils.leaves", r"leaves ended its process \(exit status 3\)"),
    ],
)
def test_faults_name_the_function(tmp_path, monkeypatch, key, message):
    if "hangs" in key:  # the others end by themselves, however slow the machine
        monkeypatch.setattr("paribus.data.task_code.SECONDS", 2.0)
    task = trusted(
        tmp_path,
        f"train: rows.jsonl\ndoc_to_text: text\ndoc_to_target: text\n{key}\n"
        if key.startswith("process")
        else f"train: rows.jsonl\ndoc_to_target: text\n{key}\n",
    )
    with pytest.raises(DataError, match=message):
        read_split(task, DataConfig(), "train")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("process_docs: !function gone.fn", "process_docs names a function in .*gone.py, which"),
        ("process_docs: utils.process_docs", "process_docs='utils.process_docs' must name a func"),
        ("process_results: !function utils.fn", "process_results is not supported"),
        ("variants: {a: {doc_to_text: !function utils.text}}", "variants names the function"),
    ],
)
def test_what_is_refused_of_trusted_files_too(tmp_path, line, message):
    with pytest.raises(ConfigError, match=message):
        trusted(tmp_path, f"train: rows.jsonl\ndoc_to_text: text\ndoc_to_target: text\n{line}\n")
