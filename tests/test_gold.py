"""Gold that contradicts itself, or that no text can match, is refused with its rows, everywhere."""

import json
import os
import re
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import yaml

from external_rows import write
from paribus.analysis.elsewhere.gold import Study
from paribus.cli.main import main
from paribus.config.schema import DataConfig
from paribus.config.task_file import read_task
from paribus.data.gold import normalized_question
from paribus.data.problems import load_problems
from paribus.errors import DataError
from paribus.evaluation.scoring import check_gold
from paribus.records import Problem

QUESTION = "Tom has 3 pens and buys 1. How many?"

SAME = [  # what is the same question as QUESTION
    "Tom has 3 pens and buys 1. How many?  ",
    "Tom has 3 pens\nand buys 1.\tHow many?",
    "Tom has 3 pens and\u00a0buys 1.\u2003How many?",
    "TOM HAS 3 PENS AND BUYS 1. HOW MANY?",
    "tom has 3 pens and buys 1. how many?",
    "\ufeffTom has 3 pens and buys\u200b 1. How many?",
]
OTHER = [  # and what is not
    "Tom has 4 pens and buys 1. How many?",
    "Tom has 3 pens and buys 1. How many",
    "Tom has 3\u00b2 pens and buys 1. How many?",
    "Tom has 3 pens and buys 10. How many?",
    "Tom has 3 pens and buys .1. How many?",
]


def problem(question: str, answer: str, where: str = "", solution: str | None = None) -> Problem:
    solved = f"#### {answer}" if solution is None else solution
    return Problem(question=question, solution=solved, answer=answer, where=where)


@pytest.mark.parametrize("question", SAME)
def test_one_question_with_two_golds_is_refused_however_it_is_written(question):
    stated = [problem(QUESTION, "4", "a:1"), problem("?", "1"), problem(question, "5", "b:7")]
    with pytest.raises(DataError, match="1 question has two gold answers: a:1 says '4' and b"):
        check_gold(stated)
    check_gold([problem(QUESTION, "4", "a:1"), problem(question, "4", "b:7")])


@pytest.mark.parametrize("question", OTHER)
def test_other_questions_may_have_other_golds(question):
    check_gold([problem(QUESTION, "4"), problem(question, "5")])


def test_composed_letters_are_one_question():
    assert normalized_question(problem("Caf\u00e9?", "1")) == normalized_question(
        problem("Cafe\u0301?", "1")
    )


def test_a_few_rows_are_named_and_the_others_counted():
    stated = [problem(f"{n} pens?", str(n + k), f"f:{2 * n + k}") for n in range(9) for k in (0, 1)]
    with pytest.raises(DataError) as caught:
        check_gold(stated)
    said = caught.value.message
    assert said.startswith(
        "9 questions have two gold answers: f:0 says '0' and f:1 says '1' to '0 pens"
    )
    assert said.endswith("'2 pens?'; and 6 more")
    assert caught.value.remedy == "say which one holds: fix or remove the others"


CORRECT = {  # gold solutions that score correct: their gold
    "3+1=<<3+1=4>>4\n#### 4": "4",
    "#### 4": "4",
    "#### $4.00": "4",
    "#### 1,000": "1000",
    "#### -7": "-7",
    "#### 12.5": "12.5",
    "": "4",  # stated apart
    "Three pens and one are four.": "4",
    "#### Adding\nThree and one.": "4",
}
INCORRECT = {  # and that do not: their gold
    "#### 5": "4",
    "#### 5\nno,\n#### 4\nor\n#### 5": "4",
    "It is\n#### none": "4",
}


@pytest.mark.parametrize(("solution", "answer"), CORRECT.items())
def test_a_solution_that_scores_correct_is_gold(solution, answer):
    check_gold([problem(QUESTION, answer, solution=solution)])


@pytest.mark.parametrize(("solution", "answer"), INCORRECT.items())
def test_a_solution_that_scores_otherwise_is_refused(solution, answer):
    with pytest.raises(DataError, match=r"1 gold solution is not correct .*: x:3: gold is 4, and"):
        check_gold([problem("Fine?", "1"), problem(QUESTION, answer, "x:3", solution)])


def line(number: int, gold: int | None = None, **changes: Any) -> dict[str, Any]:
    gold = number + 1 if gold is None else gold
    return {"question": f"Tom has {number} pens. How many?", "answer": f"#### {gold}", **changes}


LOWER = {"question": "tom  has 2 pens. how many?"}
CONFLICTS = {  # lines that are added to the files: sources and variants that meet them
    "in training": ({"train": line(2, 9)}, ["gsm8k", "gsm8k_swapped", "socratic"]),
    "in the tests": ({"test": line(22, 9)}, ["gsm8k", "gsm8k_swapped"]),
    "between them": ({"test": line(2, 9)}, ["gsm8k", "gsm8k_swapped", "socratic"]),
    "by case and blanks": ({"test": line(2, 9, **LOWER)}, ["gsm8k", "gsm8k_swapped", "socratic"]),
    "between variants": ({"test": line(40, 1), "test_socratic": line(40, 2)}, ["socratic"]),
    "socratic alone": ({"test_socratic": line(22, 9)}, ["socratic"]),
}


@pytest.fixture
def folder(tmp_path) -> Path:
    for name, first in (("train", 0), ("test", 20)):
        for variant in ("", "_socratic"):
            write(tmp_path / f"{name}{variant}.jsonl", [line(first + n) for n in range(12)])
    return tmp_path


def add(folder: Path, added: dict[str, dict[str, Any]]) -> None:
    for name, row in added.items():
        with (folder / f"{name}.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


def read(folder: Path, source: str) -> None:
    variant = "socratic" if source == "socratic" else "main"
    source = "gsm8k" if source == "socratic" else source
    data = DataConfig(path=str(folder), variant=variant)
    check_gold(load_problems(read_task(source), data, 0).read)


@pytest.mark.parametrize("source", ["gsm8k", "gsm8k_swapped", "socratic"])
def test_data_without_conflicts_are_read(folder, source):
    add(folder, {"train": line(0), "test": line(3), "test_socratic": line(3)})  # twice the same
    read(folder, source)


@pytest.mark.parametrize(("added", "sources"), CONFLICTS.values(), ids=CONFLICTS)
def test_conflicts_are_refused_in_every_source_and_variant(folder, added, sources):
    also = {f"{name}_socratic": row for name, row in added.items() if "socratic" in sources}
    add(folder, {name: row for name, row in also.items() if "_socratic_" not in name} | added)
    for source in sources:
        with pytest.raises(DataError, match=r"1 question has two gold answers: .*jsonl:\d+ says"):
            read(folder, source)


def test_a_row_that_is_not_drawn_counts_too(folder):
    add(folder, {"train": {"question": "Odd?", "answer": "#### 5\nor\n#### 6 7"}})
    with pytest.raises(DataError, match=r"train.jsonl:13: gold is 67, and another number is found"):
        check_gold(
            load_problems(read_task("gsm8k"), DataConfig(path=str(folder), train_size=2), 0).read
        )


def experiment(folder: Path, tiny: Path, **changes: Any) -> Path:
    file = folder / "e.yaml"
    made = {
        "name": "x",
        "question": "Which?",
        "model": str(tiny),
        "task": "gsm8k",
        "data": {"path": str(folder), "train_size": 3, "test_size": 4},
        "training": {"precision": "fp32"},
        "evaluation": {"max_new_tokens": 4},
        "matrix": {"data.variant": ["main", "socratic"]},
        **changes,
    }
    file.write_text(yaml.safe_dump(made))
    return file


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_arms_that_read_two_golds_of_one_question_are_refused(
    folder, tiny, capsys, monkeypatch, verb
):
    """Each arm's own files agree: the conflict is between the arms' variants."""
    monkeypatch.chdir(folder)
    add(folder, {"train": line(50, 1), "train_socratic": line(50, 2)})
    assert main([verb, str(experiment(folder, tiny))]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "1 question has two gold answers: " in said
    assert re.search(r"train\.jsonl:13 says '1' and \S*train_socratic\.jsonl:13 says '2'", said)
    assert "→ say which one holds" in said
    assert not list(folder.glob("runs/x/*/seed-0/manifest.json"))


FILES = {  # rows of a file without --gold, rows of a gold file: what is said
    "rows": (
        [line(1, completion="#### 2"), line(1, 9, completion="#### 2")],
        None,
        r"x.jsonl:1 says '2' and .*x.jsonl:2 says '9' to 'Tom has 1 pens",
    ),
    "case": (
        [line(2, completion="#### 3"), line(2, 9, **LOWER, completion="#### 3")],
        None,
        r"x.jsonl:1 says '3' and .*x.jsonl:2 says '9'",
    ),
    "a gold file": ([{"id": 0, "completion": "#### 1"}], [line(0), line(1), line(1, 9)],
                    r"gold.jsonl:2 says '2' and .*gold.jsonl:3 says '9'"),
    "a solution beside": (
        [{"question": "?", "answer": 7, "solution": "So\n#### 8", "completion": "#### 7"}],
        None,
        r"x.jsonl:1: gold is 7, and another number is found in 'So\\n#### 8'",
    ),
    "in a gold file": ([{"id": 0, "completion": "#### 1"}], [line(0), {**line(1), "answer":
                       "#### 1 2"}], r"gold.jsonl:2: gold is 12, and no number is found"),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "gold", "message"), FILES.values(), ids=FILES)
def test_files_from_elsewhere_are_refused_with_the_rows(tmp_path, capsys, rows, gold, message):
    words = ["score", str(write(tmp_path / "x.jsonl", rows))]
    words += ["--gold", str(write(tmp_path / "gold.jsonl", gold))] if gold else []
    assert main(words) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_gold_file_says_which_of_two_golds_holds(tmp_path, capsys):
    rows = [line(1, 9, completion="#### 2"), line(2, 3, completion="#### 3")]
    file, gold = write(tmp_path / "x.jsonl", rows), write(tmp_path / "g.jsonl", [line(1), line(2)])
    assert main(["score", str(file), "--gold", str(gold), "--json"]) == 0
    (arm,) = json.loads(capsys.readouterr().out)["arms"]
    assert arm["scores"]["canonical"]["correct"] == 2


@pytest.mark.parametrize("verb", ["plan", "baseline"])
def test_gold_that_does_not_score_stops_every_verb_that_reads_data(
    folder, tiny, capsys, monkeypatch, verb
):
    monkeypatch.chdir(folder)
    add(folder, {"test": {"question": "Odd?", "answer": "#### 1 2"}})
    file = experiment(folder, tiny, matrix={})
    of_model = [str(tiny), "--data", str(folder), "--problems", "13"]
    assert main([verb, *([str(file)] if verb == "plan" else of_model)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(r"test\.jsonl:13: gold is 12, and no number is found in '#### 1 2'", said)
    assert "end the solution in '#### N'" in said


def test_gold_counts_by_the_style_of_answer_that_is_taught(folder, tiny, capsys, monkeypatch):
    """Models that learn to write `#### N` score 0 where only boxes count; untuned ones need not."""
    monkeypatch.chdir(folder)
    options = {"evaluation": {"max_new_tokens": 4, "answer": "boxed"}, "matrix": {}}
    file = experiment(folder, tiny, baseline={"protocol": "zero_shot"}, **options)
    assert main(["plan", str(file), "method=lora"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "24 gold solutions are not correct by their own scorer" in said
    assert "or set evaluation.answer=auto in place of boxed" in said


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "1 gold solution is not correct by its own scorer"),
        (2, "2 gold solutions are not correct by their own scorer"),
    ],
)
def test_one_solution_has_one_scorer(count, said):
    problems = [
        Problem(question=f"Odd {n}?", solution="#### 1 2", answer="12", where=f"t:{n}")
        for n in range(count)
    ]
    with pytest.raises(DataError, match=said):
        check_gold(problems)


def study_of(*answers: str) -> Study:
    problems = [
        Problem(question="How many pens?", solution="", answer=answer, where=f"gold:{at}")
        for at, answer in enumerate(answers, 1)
    ]
    return Study(stated=problems, asked=problems)


def test_what_another_process_finds_wrong_with_gold_is_raised_where_it_is_waited_for() -> None:
    wait = study_of("4", "7").start()

    with pytest.raises(DataError, match="two gold answers: gold:1 says '4' and gold:2 says '7'"):
        wait()


def test_gold_is_studied_here_where_the_other_process_was_killed() -> None:
    class Killed(Study):
        def _send(self, sender: Connection) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

    good, wrong = study_of("4"), study_of("4", "7")

    assert Killed(stated=good.stated, asked=good.asked).start()() == ""
    with pytest.raises(DataError, match="two gold answers"):
        Killed(stated=wrong.stated, asked=wrong.asked).start()()
