"""Prompts and scores are those of lm-evaluation-harness, on 200 rows of each of five tasks.

Four task files are lm-eval's own, but for where their data lie; its F1 is code, and compared with
the metric. Runs where lm_eval is installed.
"""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from by_hand import written
from external_rows import write
from paribus.config.installed import task_place
from paribus.config.schema import DataConfig
from paribus.config.task import Task
from paribus.config.task_file import read_task
from paribus.data.problems import load_problems, read_split
from paribus.errors import ConfigError
from paribus.evaluation.scorers import scorers_of
from paribus.prompts.formats import frame_of, render_prompt
from paribus.records import Generation, Outcome, Problem, Stop

pytest.importorskip("lm_eval")

ROWS = 200
WORDS = ["red", "a lamp", "The Nile", "Mr. O'Neil", "42", "1,000", "$7.50", "-3", "New York", "é"]
Row = dict[str, Any]


def arithmetic(rng: random.Random, number: int) -> Row:
    a, b = rng.randint(2, 900), rng.randint(2, 900)
    question = f"Case {number}: Tom has {a} pens and buys {b}. How many?"
    return {
        "question": question,
        "answer": f"He has {a}+{b}=<<{a}+{b}={a + b}>>{a + b}.\n#### {a + b:,}",
    }


def of_choices(rng: random.Random, number: int) -> Row:
    texts = rng.sample(WORDS, rng.randint(3, 5))
    labels = ["A", "B", "C", "D", "E"][: len(texts)]
    return {
        "question": f"Which of these is number {number}?",
        "choices": {"text": texts, "label": labels},
        "answerKey": rng.choice(labels),
    }


def trivia(rng: random.Random, number: int) -> Row:
    return {"question": f"What is {number}", "answer": {"aliases": rng.sample(WORDS, 3)}}


def translated(rng: random.Random, number: int) -> Row:
    value = rng.randint(-50, 5000)
    answer = None if rng.random() < 0.5 else f"Step-by-Step Answer: It is {value}."
    return {"question": f"Case {number}: how many?", "answer": answer, "answer_number": value}


FILES: dict[str, tuple[str, Callable[[random.Random, int], Row]]] = {
    "gsm8k": ("gsm8k/gsm8k.yaml", arithmetic),
    "multiple choice": ("arc/arc_easy.yaml", of_choices),
    "exact match": ("triviaqa/default.yaml", trivia),
    "regex": ("afrimgsm/direct/prompt_1/afrimgsm_eng.yaml", translated),
}


def local(folder: Path, name: str) -> tuple[Any, Task, list[Row]]:
    """The task as lm-eval has it and as paribus reads it, and its rows."""
    import lm_eval
    from lm_eval.api.task import ConfigurableTask

    file, make = FILES[name]
    path = Path(lm_eval.__file__).parent / "tasks" / file
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    while "include" in values:
        path = path.parent / values.pop("include")
        values = yaml.safe_load(path.read_text(encoding="utf-8")) | values
    rng = random.Random(name)
    rows = [make(rng, number) for number in range(ROWS)]
    write(folder / "rows.jsonl", rows)
    split = values.get("test_split") or values["validation_split"]
    files = {key: str(folder / "rows.jsonl") for key in {"train", "validation", "test", split}}
    values |= {
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files},
    }
    (folder / "task.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return ConfigurableTask(config=dict(values)), read_task(str(folder / "task.yaml")), rows


def texts_for(rng: random.Random, gold: str) -> list[str]:
    """What models write: right, wrong, in other words, too much, nothing."""
    number = gold.rpartition("#### ")[2]
    return [
        gold,
        f" {gold}",
        f"{number}.",
        f"#### {number}",
        f"It is {number}, or {rng.randint(1, 99)}.",
        f"So 12 and then {rng.choice(WORDS)}\n\nQuestion: What now? #### 5",
        gold.upper(),
        f"{gold}</s> and more #### 1",
        rng.choice(WORDS),
        "",
    ]


@pytest.mark.parametrize("name", FILES)
def test_prompts_are_lm_evals(tmp_path, name):
    theirs, ours, _ = local(tmp_path, name)
    problems, _ = read_split(ours, DataConfig(), "test")
    docs = list(theirs.test_docs() if theirs.has_test_docs() else theirs.validation_docs())
    assert len(problems) == len(docs) == ROWS
    for problem, doc in zip(problems, docs, strict=True):
        mine = render_prompt(problem, format="raw", shots=(), tokenizer=None, frame=frame_of(ours))
        assert mine == theirs.fewshot_context(doc, num_fewshot=0)


@pytest.mark.parametrize("name", [name for name in FILES if name != "multiple choice"])
def test_scores_of_texts_are_lm_evals(tmp_path, name):
    theirs, ours, _ = local(tmp_path, name)
    problems, _ = read_split(ours, DataConfig(), "test")
    docs = list(theirs.test_docs() if theirs.has_test_docs() else theirs.validation_docs())
    scorers, rng, right = scorers_of(ours), random.Random(1), 0
    for problem, doc in zip(problems, docs, strict=True):
        for text in texts_for(rng, problem.answer):
            found = {n: scorers.outcome(of(problem, text), n) for n in scorers.names}
            for outcome, score in zip(found.values(), of_lm_eval(theirs, doc, text), strict=True):
                assert (outcome is Outcome.CORRECT) == bool(score), (problem, text, found)
                right += bool(score)
    assert right > ROWS


def of(problem: Problem, text: str) -> Generation:
    return written(text, problem.answer, *problem.answers, question=problem.question)


def of_lm_eval(task: Any, doc: Row, text: str) -> list[float]:
    """lm-eval's score of a text behind each of its filters, in their order."""
    for end in task.config.generation_kwargs["until"]:
        text = text.split(end)[0]
    instance = task.construct_requests(doc=doc, ctx="", metadata=(task.config.task, 0, 1))
    instance.resps = [text]
    task._instances = [instance]
    task.apply_filters()
    return [
        task.process_results(doc, [response])["exact_match"]
        for response in instance.filtered_resps.values()
    ]


SHOTS = """\
task: own
dataset_path: json
dataset_kwargs: {{data_files: {{test: rows.jsonl, dev: dev.jsonl, train: train.jsonl}}}}
training_split: train
test_split: test
fewshot_split: {split}
fewshot_config: {{sampler: first_n}}
doc_to_text: "Question: {{{{question}}}}\\nAnswer:{end}"
doc_to_target: "{{{{answer}}}}"
gen_prefix: {prefix}
"""


OTHER = "fewshot_config: {sampler: first_n, doc_to_text: 'Solved: {{question}}\\nAnswer:'}"


@pytest.mark.parametrize("split", ["dev", "test", "train", "dev, shown otherwise"])
@pytest.mark.parametrize(("prefix", "end"), [("null", ""), ("The best answer is", " ")])
def test_solved_examples_and_a_prefix_of_the_answer_are_lm_evals(tmp_path, split, prefix, end):
    from lm_eval.api.task import ConfigurableTask

    rng = random.Random(split)
    for start, file in ((0, "rows.jsonl"), (ROWS, "dev.jsonl"), (2 * ROWS, "train.jsonl")):
        write(tmp_path / file, [arithmetic(rng, start + number) for number in range(30)])
    path = tmp_path / "own.yaml"
    text = SHOTS.format(split=split.partition(",")[0], prefix=prefix, end=end)
    path.write_text(
        text.replace("fewshot_config: {sampler: first_n}", OTHER) if "," in split else text
    )
    values = yaml.safe_load(path.read_text())
    files = values["dataset_kwargs"]["data_files"]
    values["dataset_kwargs"] = {"data_files": {k: str(tmp_path / f) for k, f in files.items()}}
    theirs, ours = ConfigurableTask(config=values), read_task(str(path))
    problems = load_problems(ours, DataConfig(train_size=20), 0)
    prefixes = {"gen_prefix": None if prefix == "null" else prefix}
    expected = {
        theirs.fewshot_context(doc, num_fewshot=shots, **prefixes)
        for doc in theirs.test_docs()
        for shots in (0, 5)
    }
    mine = {
        render_prompt(each, format="raw", shots=shots, tokenizer=None, frame=frame_of(ours))
        for each in problems.test
        for shots in (problems.shots, ())
    }
    assert len(problems.test) == (25 if split == "test" else 30)
    assert len(mine) == 2 * len(problems.test)
    assert mine <= expected
    assert not {p.id for p in problems.shots} & {p.id for p in (*problems.test, *problems.train)}


def of_activities(rng: random.Random, number: int) -> Row:
    return {
        "activity_label": f"Activity {number}",
        "ctx_a": f"[header] {rng.choice(WORDS)} [title] A man [x] sits.",
        "ctx_b": rng.choice(["he", "she"]),
        "endings": [f"{rng.choice(WORDS)} [step] {n}" for n in range(4)],
        "label": str(rng.randrange(4)),
    }


def of_subjects(rng: random.Random, number: int) -> Row:
    choices = rng.sample(WORDS, rng.randint(3, 5))
    asked = {"question": f"Number {number}?", "egy_subject": "x", "choices": choices}
    return {**asked, "answer": rng.randrange(len(choices)), "context": ""}


@pytest.mark.parametrize(
    ("file", "make"),
    [
        ("hellaswag/hellaswag.yaml", of_activities),
        ("egymmlu/_default_egymmlu_template_yaml", of_subjects),
    ],
)
def test_functions_give_what_they_give_in_lm_eval(tmp_path, file, make):
    import lm_eval
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    rng = random.Random(file)
    write(tmp_path / "rows.jsonl", [make(rng, number) for number in range(ROWS)])
    splits = ("train", "validation", "test", "dev")
    values = {
        "include": str(Path(lm_eval.__file__).parent / "tasks" / file),
        "task": "own",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": dict.fromkeys(splits, str(tmp_path / "rows.jsonl"))},
    }
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(values))
    theirs, ours = ConfigurableTask(config=load_yaml(path)), read_task(str(path), trusted=True)
    problems, _ = read_split(ours, DataConfig(), "test")
    docs = list(theirs.test_docs() if theirs.has_test_docs() else theirs.validation_docs())
    assert len(problems) == ROWS
    for problem, doc in zip(problems, docs, strict=True):
        mine = render_prompt(problem, format="raw", shots=(), tokenizer=None, frame=frame_of(ours))
        assert mine == theirs.fewshot_context(doc, num_fewshot=0)
        assert list(problem.choices) == theirs.doc_to_choice(doc)
        assert problem.choices.index(problem.answer) == theirs.doc_to_target(doc)


def test_a_name_means_the_file_that_lm_evals_index_has():
    from lm_eval.tasks._index import Kind
    from lm_eval.tasks.manager import TaskManager

    index = TaskManager()._index
    places = {n: e.yaml_path for n, e in index.items() if e.kind in (Kind.TASK, Kind.PY_TASK)}
    assert len(places) > 10_000
    assert {name: task_place(name) for name in places} == places
    assert read_task("arc_easy").dataset_name == "ARC-Easy"
    with pytest.raises(ConfigError, match="'mmlu' is a group of lm-eval's tasks"):
        read_task("mmlu")
    with pytest.raises(ConfigError, match="nor a task of the installed lm-eval") as caught:
        read_task("arc_eazy")
    assert "arc_easy" in caught.value.remedy


def test_the_choice_is_lm_evals(tmp_path):
    theirs, ours, _ = local(tmp_path, "multiple choice")
    problems, _ = read_split(ours, DataConfig(), "test")
    scorers, rng, right = scorers_of(ours), random.Random(2), 0
    for problem, doc in zip(problems, theirs.test_docs(), strict=True):
        requests = theirs.construct_requests(doc=doc, ctx="x", metadata=("arc", 0, 1))
        assert [request.args[1] for request in requests] == [f" {c}" for c in problem.choices]
        nlls = tuple(rng.uniform(0.5, 9) * len(choice) for choice in problem.choices)
        score = theirs.process_results(doc, [(-nll, False) for nll in nlls])
        chosen = replace(
            of(problem, problem.choices[nlls.index(min(nlls))]),
            choices=problem.choices,
            choice_nlls=nlls,
            stop=Stop.STOP_TOKEN,
        )
        for metric in ("acc", "acc_norm"):
            assert (scorers.outcome(chosen, metric) is Outcome.CORRECT) == bool(score[metric])
            right += bool(score[metric])
    assert ROWS / 5 < right < 2 * ROWS


def test_f1_is_that_of_lm_evals_qasper(tmp_path):
    from lm_eval.tasks.qasper.metrics import f1_abstractive

    rng, path = random.Random(3), tmp_path / "own.yaml"
    write(
        tmp_path / "rows.jsonl",
        [{"q": f"{n}?", "a": " ".join(rng.sample(WORDS, 3))} for n in range(ROWS)],
    )
    path.write_text(
        "train: rows.jsonl\ndoc_to_text: '{{q}}'\ndoc_to_target: a\nmetric_list: [{metric: f1}]\n"
    )
    ours = read_task(str(path))
    problems, _ = read_split(ours, DataConfig(), "train")
    (metric,) = scorers_of(ours).metrics
    for problem in problems:
        text = " ".join(rng.sample([*problem.answer.split(), *WORDS], 4))
        theirs = f1_abstractive([text], [problem.answer])
        assert metric.score(of(problem, text)) == pytest.approx(theirs, abs=1e-12)


def test_what_the_rows_hold_is_no_accident(tmp_path):
    """The rows differ, and some have what lm-eval's templates ask for."""
    for name in FILES:
        _, _, rows = local(tmp_path, name)
        assert len({json.dumps(row, sort_keys=True) for row in rows}) == ROWS
