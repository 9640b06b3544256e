"""A metric of the user's own: its process, its time limit, and what is said of its faults."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from by_hand import written
from inside import paribus
from paribus.config.task import Task
from paribus.errors import UserError
from paribus.evaluation.metrics import Metric, metrics_of
from paribus.evaluation.scorers import check_functions, scorers_of
from paribus.records import Problem

pytestmark = pytest.mark.engine

FILE = """
import os, sys, time
from dataclasses import dataclass
from words import LIMIT   # beside the file; paribus has a module of this name

print("printed while it is loaded")

@dataclass
class Seen:
    count: int = 0

seen = Seen()

def agrees(text, document):
    print("printed"); print("to stderr", file=sys.stderr); sys.stdin.read()
    return text == document["answer"]

def share(text, document):
    return min(1, len(text) / LIMIT)

def number_of_call(text, document):
    seen.count += 1
    return 1 / seen.count

def of_numpy(text, document):
    import numpy as np
    return np.float32(0.5) if text else np.bool_(True)

def sees(text, document):
    here = os.path.dirname(os.path.abspath(__file__))
    return os.getcwd() == here and document["when"] == "2026-01-02"

def two(text, document): return 2
def nan(text, document): return float("nan")
def text(text, document): return "0.5"
def nothing(text, document): pass
def half(text, document): return 0.5
def raises(text, document): raise KeyError("label")
def hangs(text, document): time.sleep(60 if text == "hang" else 0); return 1
def dies(text, document): os._exit(3)
def leaves(text, document): sys.exit("enough")
def writes(text, document): os.write(1, b"no json"); return 1
def first_word(text, document): return text.split()[0] == document["answer"]
def short(text, document): return 1 if len(text) < 60 else text.index("#")
one_argument = lambda text: 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "score.py").write_text(FILE)
    (tmp_path / "words.py").write_text("LIMIT = 4\n")
    return tmp_path


def own(folder: Path, function: str, **options: Any) -> Metric:
    return metrics_of(
        [{"metric": f"python: ./score.py:{function}"} | options], None, folder=folder
    )[0]


def asked(metric: Metric, text: str = "refund", **row: Any) -> float | None:
    return metric.score(written(text, "refund", document={"answer": "refund"} | row))


def test_it_says_what_the_function_says(folder, capfd):
    agrees = own(folder, "agrees")
    assert agrees.name == "python:score.py:agrees"
    assert [asked(agrees, text) for text in ("refund", "buy", "refund")] == [1, 0, 1]
    assert asked(own(folder, "share"), "abc") == 0.75
    assert capfd.readouterr() == ("", "")


def test_its_process_is_started_once(folder):
    counts = own(folder, "number_of_call")
    assert [asked(counts) for _ in range(4)] == [1, 1 / 2, 1 / 3, 1 / 4]


def test_numbers_of_numpy_dates_and_the_folder(folder):
    import datetime

    assert asked(own(folder, "of_numpy")) == 0.5
    assert asked(own(folder, "of_numpy"), "") == 1
    assert asked(own(folder, "sees"), when=datetime.date(2026, 1, 2)) == 1


def test_a_metric_that_says_yes_or_no_is_binary_where_the_file_says_so(folder):
    assert not own(folder, "agrees").binary
    agrees = own(folder, "agrees", binary=True)
    assert agrees.binary
    assert asked(agrees) == 1
    with pytest.raises(UserError, match=r"returned 0\.5, which is not 0 or 1 \(binary: true\)"):
        asked(own(folder, "half", binary=True))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("two", "returned 2, which is not between 0 and 1"),
        ("nan", "returned nan, which is not between 0 and 1"),
        ("text", "returned '0.5', not a bool or a number"),
        ("nothing", "returned None"),
        ("raises", "raised KeyError: 'label'"),
        ("one_argument", "raised TypeError: "),
        ("dies", "ended its process (exit status 3)"),
        ("leaves", "ended its process (exit status 1: enough)"),
        ("absent", "cannot be loaded: TypeError: the file has no function 'absent'"),
    ],
)
def test_a_fault_names_function_text_and_row(folder, function, message):
    metric = own(folder, function)
    for _ in range(2):  # a process that has ended is started again
        with pytest.raises(UserError) as error:
            asked(metric, "some text", id=17)
        assert f"score.py: {function}(text, document) {message}" in error.value.message
        if function != "absent":
            assert "'some text' of the row" in error.value.message
            assert '"id": 17' in error.value.message


def test_what_it_writes_past_print_is_no_answer(folder):
    assert asked(own(folder, "writes")) == 1


def test_a_call_that_hangs_is_ended_and_the_next_is_answered(folder):
    hangs = own(folder, "hangs", seconds=0.5)
    began = time.monotonic()
    with pytest.raises(UserError, match=r"hangs\(text, document\) gave no value within 0.5 s") as e:
        asked(hangs, "hang")
    assert time.monotonic() - began < 30  # of the 60 that it sleeps
    assert "raise `seconds`" in e.value.remedy
    assert asked(hangs) == 1


def test_a_forked_process_starts_its_own(folder):
    """The pipe of one process, read by two, would give each the other's scores."""
    counts = own(folder, "number_of_call")
    assert asked(counts) == 1
    child = os.fork()
    if child == 0:
        os._exit(0 if asked(counts) == 1 else 1)  # the first of its own process
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert asked(counts) == 1 / 2


def test_a_file_that_cannot_be_loaded(folder):
    (folder / "broken.py").write_text("import no_such_package\n")
    (metric,) = metrics_of([{"metric": "python: broken.py:f"}], None, folder=folder)
    with pytest.raises(UserError, match="cannot be loaded: ModuleNotFoundError: No module named"):
        asked(metric)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("first_word", "raised IndexError: list index out of range for the text '' of the row"),
        ("short", "raised ValueError: substring not found for the text 'so it is so it is "),
        ("raises", "raised KeyError: 'label' for the text 'refund' of the row"),
        ("half", None),
    ],
)
def test_a_function_is_tried_on_gold_and_on_odd_texts_whatever_its_place(folder, function, message):
    metrics = [{"metric": "exact_match"}, {"metric": f"python: ./score.py:{function}"}]
    scorers = scorers_of(Task(task="own", metric_list=metrics, folder=str(folder)))
    asked = [Problem(question=f"{n}?", solution="refund", answer="refund") for n in range(2)]
    if message is None:
        check_functions(scorers, asked, max_new_tokens=8)
        return
    with pytest.raises(UserError) as error:
        check_functions(scorers, asked, max_new_tokens=8)
    assert error.value.message.startswith("tried before any run: ")
    assert message in error.value.message


KNOWS = """
KNOWN = ("a", "b", "", "I do not know.", '{"a": ["', "\\ufffd")

def agrees(text, document):
    if text not in KNOWN and not text.startswith("so it is"):
        raise ValueError("no label")
    return text == document["label"]
"""


def test_texts_that_a_function_fails_on_are_kept_until_it_is_mended(tiny, tmp_path):
    rows = [{"text": f"message {n}", "label": "ab"[n % 2]} for n in range(24)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "score.py").write_text(KNOWS)
    task = {
        "train": "rows.jsonl",
        "doc_to_text": "{{text}}:",
        "doc_to_target": "label",
        "metric_list": [{"metric": "python: ./score.py:agrees"}],
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(task))
    experiment = {
        "task": "own.yaml",
        "model": str(tiny),
        "data": {"train_size": 4, "test_size": 4},
        "training": {"batch_size": 4, "micro_batch": 4, "precision": "fp32"},
        "evaluation": {"max_new_tokens": 4},
    }
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment))
    ran = paribus("run", "x.yaml", cwd=tmp_path)
    assert ran.returncode == 2
    assert "error: baseline, seed 0: " in ran.stderr
    assert "agrees(text, document) raised ValueError: no label for the text " in ran.stderr
    assert "The texts are kept: paribus report runs/x" in ran.stderr
    (tmp_path / "score.py").write_text(KNOWS.replace("raise ValueError", "return 0; print"))
    reported = paribus("report", "runs/x", cwd=tmp_path)
    assert (reported.returncode, reported.stderr) == (0, "")
