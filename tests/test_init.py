"""`paribus init`: from rows of one's own to files that can be run."""

import csv
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from inside import paribus

LABELS = ("money back", "where is it", "thanks")
WORDS = ("kettle", "lamp", "desk", "tent", "rug", "mirror", "jacket", "blender")
LONG = "It came late, and the box was torn. " * 8


def texts(count: int = 24) -> list[str]:
    return [f"My {WORDS[i % 8]} from street {i} is here" for i in range(count)]


def lines(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.name


def table(path: Path, rows: list[dict[str, Any]]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path.name


def labelled(text: str = "text", label: str = "label", count: int = 24) -> list[dict[str, Any]]:
    return [{text: t, label: LABELS[i % 3]} for i, t in enumerate(texts(count))]


def task_of_rows(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    made = paribus("init", "--train", lines(folder / "mine.jsonl", rows), cwd=folder)
    assert made.returncode == 0, made.stderr
    return yaml.safe_load((folder / "mine_task.yaml").read_text())


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (labelled(), {"doc_to_text": "{{ text }}\nLabel:", "doc_to_choice": sorted(LABELS)}),
        (
            [{"id": i, **row} for i, row in enumerate(labelled("Customer message", "team"))],
            {
                "doc_to_text": 'Customer message: {{ row["Customer message"] }}\nTeam:',
                "doc_to_target": "team",
                "metric_list": [{"metric": "exact_match", "ignore_case": True},
                                {"metric": "choice"}],
            },
        ),
        (
            [{"text": t, "label": i % 2} for i, t in enumerate(texts())],
            {"doc_to_choice": ["0", "1"]},
        ),
        (
            [{"text": t, "label": f" {LABELS[i % 3]}"} for i, t in enumerate(texts())],
            {"doc_to_target": "{{ label | trim }}", "doc_to_choice": sorted(LABELS)},
        ),
        (
            [{"text": t, "label": bool(i % 2)} for i, t in enumerate(texts())],
            {"doc_to_target": "{{ label }}", "doc_to_choice": ["False", "True"]},
        ),
        (
            [{"text": t, "label": "" if i == 5 else LABELS[i % 3]} for i, t in enumerate(texts())],
            {"where": "label not in (none, '')", "doc_to_choice": sorted(LABELS)},
        ),
        (
            [{"question": t, "answer": f"{i}.5"} for i, t in enumerate(texts())],
            {"metric_list": [{"metric": "number"}]},
        ),
        (
            [{"text": t, "output": {"item": t[3:7], "n": i}} for i, t in enumerate(texts())],
            {"doc_to_target": "{{ output | tojson }}", "metric_list": [{"metric": "json_match"}]},
        ),
        (
            [{"prompt": t, "completion": f" {i}\n{LONG}"} for i, t in enumerate(texts())],
            {
                "doc_to_target": "completion",
                "target_delimiter": "",
                "metric_list": [{"metric": "likelihood"}],
            },
        ),
        (
            [{"text": t, "output": f"{i}\n{t}"} for i, t in enumerate(texts())],
            {
                "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 26},
                "metric_list": [
                    {"metric": "exact_match", "ignore_case": True}, {"metric": "f1"}
                ],
            },
        ),
        (
            [{"instruction": t, "output": t[::-1]} for t in texts()],
            {
                "doc_to_target": "output",
                "target_delimiter": "\n",
                "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 25},
            },
        ),
        (
            [{"ask": t, "options": ["yes", "no"], "gold": i % 2} for i, t in enumerate(texts())],
            {
                "output_type": "multiple_choice",
                "doc_to_choice": "options",
                "doc_to_target": "gold",
                "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
            },
        ),
        (
            [
                {"question": t, "A": "yes", "B": "no", "C": f"{i}", "answer": "ABC"[i % 3]}
                for i, t in enumerate(texts())
            ],
            {
                "doc_to_text": "Question: {{ question }}\nChoices: {{ [A, B, C] | join(', ') }}\n"
                "Answer:",
                "doc_to_choice": "{{ [A, B, C] }}",
                "doc_to_target": "{{ 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'.index(answer) }}",
                "output_type": "multiple_choice",
            },
        ),
        (
            [{"question": "Who?", "context": t, "answer": f"at {t}"} for t in texts()],
            {"doc_to_text": "Context: {{ context }}\nQuestion: {{ question }}\nAnswer:"},
        ),
    ],
    ids=["labels", "blanks in a name", "0 and 1", "blanks", "true and false", "a gap", "numbers",
         "json", "long", "lines", "Alpaca", "choices", "letters", "context"],
)  # fmt: skip
def test_rows_become_a_task(rows, expected, tmp_path):
    task = task_of_rows(tmp_path, rows)
    assert {key: task[key] for key in expected} == expected


@pytest.mark.parametrize(("model", "form"), [("./mine", "chat"), ("gemma-3-270m", "raw")])
def test_conversations_are_asked_by_the_chat_template_if_there_is_one(model, form, tmp_path):
    turns = [("user", "Is it {}?"), ("assistant", "Yes, {}")]
    rows = [
        {"messages": [{"role": role, "content": text.format(t)} for role, text in turns]}
        for t in texts()
    ]
    train = lines(tmp_path / "mine.jsonl", rows)
    assert paribus("init", "--train", train, "--model", model, cwd=tmp_path).returncode == 0
    assert yaml.safe_load((tmp_path / "mine.yaml").read_text())["prompt"]["format"] == form
    task = yaml.safe_load((tmp_path / "mine_task.yaml").read_text())
    assert task == {
        "task": "mine",
        "train": "mine.jsonl",
        "turns": "last",
        "metric_list": [{"metric": "likelihood"}],
    }


def test_what_is_written_is_planned_as_it_is(tmp_path, tiny):
    (tmp_path / "files").mkdir()
    table(tmp_path / "files" / "intent_train.csv", labelled(count=40))
    table(tmp_path / "files" / "intent_test.csv", labelled(count=60)[40:])
    words = ("--train", "files/intent_train.csv", "--test", "files/intent_test.csv")
    made = paribus("init", *words, "--model", str(tiny), "--into", "new", cwd=tmp_path)
    assert made.stdout.splitlines() == [
        "files/intent_train.csv: 40 distinct problems; files/intent_test.csv: 20",
        "layout text/label: text, label",
        "prompt: 'My kettle from street 0 is here\\nLabel:'",
        "answer: 'money back'",
        "answers are one of 3 labels: money back, thanks, where is it; metric: exact_match, then "
        "choice",
        "wrote new/intent_task.yaml and new/intent.yaml: look at the prompt, then",
        "  paribus plan new/intent.yaml",
    ]
    planned = paribus("plan", "new/intent.yaml", cwd=tmp_path)
    assert planned.stdout.startswith("intent: can be run. 3 arms, 3 runs, 3 contrasts.")
    again = paribus("init", *words, "--into", "new", cwd=tmp_path)
    assert again.returncode == 2
    assert "new/intent_task.yaml exists already; nothing was written" in again.stderr
    assert "--name" in again.stderr


def test_the_page_shows_what_is_written(tmp_path):
    root = Path(__file__).parents[1]
    for name in ("intent_train.csv", "intent_test.csv"):
        shutil.copy(root / "examples" / "data" / name, tmp_path)
    words = ("init", "--train", "intent_train.csv", "--test", "intent_test.csv")
    page = (root / "docs" / "your-own-data.md").read_text(encoding="utf-8")
    assert f"paribus {' '.join(words)}\n\n{paribus(*words, cwd=tmp_path).stdout}```" in page
    for name in ("intent_task.yaml", "intent.yaml"):
        assert f"```yaml\n{(tmp_path / name).read_text()}```" in page


def test_tests_are_held_out_where_there_is_no_file_of_them(tmp_path):
    task_of_rows(tmp_path, labelled(count=48))
    data = yaml.safe_load((tmp_path / "mine.yaml").read_text())["data"]
    assert data == {"train_size": "all", "test_size": 12}


@pytest.mark.parametrize(
    ("content", "words", "message", "remedy"),
    [
        (None, (), "there is no file rows.csv", "name a file or a folder of rows: --train FILE"),
        ("", (), "rows.csv is empty", "give a file with at least one row"),
        ("text,label\n", (), "rows.csv is empty", "give a file with at least one row"),
        ("text\nhello\nbye\n", (), "rows.csv:2: no column to ask and one to answer", "label"),
        ("text,label\na,b\nc,d\n", (), "rows.csv: 2 distinct problems are too few", "at least 20"),
        ("text,label\na,b,c\n", (), "rows.csv:2: 3 cells; the header has 2", "in quotes"),
        ("PK\x03\x04", (), "rows.csv is a zip archive, or a sheet of Excel", "save it as CSV"),
        ("text,label\na,b\n", ("--test", "other.csv"), "other.csv:2: no column 'label', as the "
         "first training row has; its columns are text, class", "the columns of the first one"),
        ("text,label\na,b\n", ("--into", "rows.csv"), "--into rows.csv is a file", "name a folder"),
        ("text,label\na,b\n", ("--name", "a b"), "--name 'a b' cannot name", "letters"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_task_is_said(content, words, message, remedy, tmp_path):
    if content is not None:
        (tmp_path / "rows.csv").write_text(content)
    (tmp_path / "other.csv").write_text("text,class\na,b\n")
    made = paribus("init", "--train", "rows.csv", *words, cwd=tmp_path)
    assert made.returncode == 2
    assert message in made.stderr
    assert remedy in made.stderr
    assert list(tmp_path.glob("*.yaml")) == []


@pytest.mark.parametrize(
    ("words", "message", "remedy"),
    [
        ("plan rows.csv", "rows.csv holds rows, not an experiment", "init --train rows.csv"),
        ("plan mine_task.yaml", "doc_to_text is not a known key", "as task: FILE"),
        ("plan mine.yaml task=rows.csv", "task='rows.csv' is neither", "init --train FILE"),
    ],
)
def test_files_that_are_mistaken_for_an_experiment(words, message, remedy, tmp_path):
    table(tmp_path / "rows.csv", labelled())
    assert paribus("init", "--train", "rows.csv", "--name", "mine", cwd=tmp_path).returncode == 0
    planned = paribus(*words.split(), cwd=tmp_path)
    assert planned.returncode == 2
    assert message in planned.stderr
    assert remedy in planned.stderr


class Terminal(io.StringIO):
    """A terminal at which somebody has typed."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_is_asked(tmp_path, monkeypatch):
    lines(tmp_path / "intent.train.jsonl", labelled())
    monkeypatch.setattr(sys, "stdin", Terminal("intent.train.jsonl\n\n./mine\nfirst\n"))
    made = paribus("init", cwd=tmp_path)
    assert made.stdout.startswith("file of training rows (JSON lines, JSON, CSV, Parquet): ")
    assert "name (Enter: intent): " in made.stdout
    assert yaml.safe_load((tmp_path / "first.yaml").read_text())["model"] == "./mine"


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        (io.StringIO(""), "this is no terminal to ask"),
        (Terminal(""), "the questions were not answered"),
        (Terminal("\n"), "no file of training rows was named"),
    ],
)
def test_no_answer_names_the_flags(stdin, message, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", stdin)
    made = paribus("init", cwd=tmp_path)
    assert made.returncode == 2
    assert message in made.stderr
    assert "paribus init --train FILE" in made.stderr
