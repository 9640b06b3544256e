"""Tasks that lm-eval's own code asks and scores. Runs where lm_eval is installed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inside import paribus
from paribus.config.load import load
from paribus.config.task import Task
from paribus.config.task_file import read_task
from paribus.design.matrix import expand
from paribus.errors import ConfigError, DataError
from paribus.evaluation.engine.by_lm_eval import ask, left_out_of, questions_of
from paribus.evaluation.scorers import scorers_of
from paribus.files import read_json
from paribus.planning.prepare import prepare
from paribus.prompts.encode import Prompt
from paribus.records import Outcome

pytest.importorskip("lm_eval")

DATA = """\
dataset_path: json
dataset_kwargs: {data_files: {test: ROWS}}
test_split: test
fewshot_split: test
"""
CHOICE = (
    DATA
    + """\
task: of_choices
output_type: multiple_choice
doc_to_text: "{{q}}? Answer:"
doc_to_target: label
doc_to_choice: "{{choices}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
  - {metric: mcc}
"""
)
WRITTEN = (
    DATA
    + """\
task: written
process_docs: !function utils.doubled
doc_to_text: "{{q}}? Say:"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["a", "b"], max_gen_toks: 4}
process_results: !function utils.judged
metric_list:
  - {metric: length, aggregation: mean, higher_is_better: true}
  - {metric: bleu}
"""
)
UTILS = """
def doubled(dataset):
    return dataset.map(lambda doc: {"q": doc["q"] * 2})

def judged(doc, results):
    return {"length": min(1.0, len(results[0]) / 8), "bleu": (doc["answer"], results[0])}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """lm-eval's task files and their rows."""
    rows = [
        {"q": f"Which is {n}", "choices": ["red", "green", "blue"], "label": n % 3, "answer": "ab"}
        for n in range(9)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "utils.py").write_text(UTILS)
    for name, text in (("choice", CHOICE), ("written", WRITTEN)):
        (tmp_path / f"{name}.yaml").write_text(text.replace("ROWS", str(tmp_path / "rows.jsonl")))
    return tmp_path


def task(home: Path, name: str) -> Task:
    return read_task(f"lm_eval/{home}/{name}.yaml", trusted=True)


def answered(home: Path, tiny: Path, name: str, **how: Any) -> tuple[Task, list[Any]]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    own = task(home, name)
    shots = how.get("shots", 0)
    problems = questions_of(own, shots=shots, limit=how.get("limit"))
    prompts = [Prompt(problem=p, text=p.prompt, ids=()) for p in problems]
    model = AutoModelForCausalLM.from_pretrained(tiny)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    return own, ask(model, tokenizer, own, prompts, shots=shots, batch_size=4)


def by_lm_eval(home: Path, tiny: Path, name: str, **how: Any) -> dict[str, Any]:
    """What lm-eval's own command reports."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    results: Any = simple_evaluate(
        model="hf",
        model_args={"pretrained": str(tiny), "dtype": "float32"},
        tasks=[str(home / f"{name}.yaml")],
        task_manager=TaskManager(include_defaults=False),
        bootstrap_iters=0,
        device="cpu",
        batch_size=4,
        **how,
    )
    (figures,) = results["results"].values()
    return dict(figures)


@pytest.mark.parametrize(("name", "shots"), [("choice", 0), ("choice", 5), ("written", 0)])
def test_figures_are_those_of_lm_evals_own_command(home, tiny, name, shots):
    own, generations = answered(home, tiny, name, shots=shots)
    figures = by_lm_eval(home, tiny, name, num_fewshot=shots)
    scorers = scorers_of(own)
    assert len(generations) == 9
    for metric in scorers.names:
        mean = sum(scorers.value(each, metric) for each in generations) / 9
        assert mean == pytest.approx(figures[f"{metric},none"], abs=1e-12)
    left_out = {key for each in generations for key in left_out_of(own, each)}
    assert left_out == ({"mcc"} if name == "choice" else {"bleu"})


def test_a_generation_keeps_lm_evals_sample(home, tiny):
    own, generations = answered(home, tiny, "choice", limit=4)
    assert len(generations) == 4
    second = generations[1]
    assert (second.question, second.answer) == ("Which is 1? Answer:", "green")
    assert second.choices == (" red", " green", " blue")
    assert second.text == second.choices[second.choice_nlls.index(min(second.choice_nlls))]
    assert second.document["doc"]["q"] == "Which is 1"
    assert len(second.document["doc_hash"]) == 64
    assert scorers_of(own).outcome(second) in (Outcome.CORRECT, Outcome.WRONG)
    with pytest.raises(DataError, match="lm-eval's metric acc gave None"):
        scorers_of(own).outcome(replace(second, document={"values": {}}))


BLEU = CHOICE.partition("metric_list")[0] + "metric_list: [{metric: bleu}]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (WRITTEN, "the task written names code, in .*utils.py"),
        (BLEU, "has no metric with a value for each document"),
        (CHOICE + "unsafe_code: true\n", "runs code that a model writes"),
    ],
)
def test_what_lm_evals_own_code_is_not_asked(home, text, message):
    (home / "own.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_task(f"lm_eval/{home}/own.yaml")


def test_what_is_installed_is_trusted_and_its_metrics_are_known():
    hellaswag = read_task("lm_eval/hellaswag")
    assert (hellaswag.task, hellaswag.num_fewshot) == ("lm_eval-hellaswag", 0)
    assert [item["metric"] for item in hellaswag.metrics] == ["lm_eval:acc", "lm_eval:acc_norm"]
    assert [item["metric"] for item in read_task("lm_eval/gsm8k").metrics] == [
        "lm_eval:strict-match/exact_match", "lm_eval:flexible-extract/exact_match"
    ]  # fmt: skip


SHARED = {
    "task": "wordproblems",
    "matrix": {"method": ["full", "lora"]},
    "data": {"train_size": 12, "test_size": 6, "max_number": 6},
    "training": {"batch_size": 4, "micro_batch": 4, "max_steps": 2, "precision": "fp32"},
    "prompt": {"max_tokens": 600},
    "trust_task_code": True,
}


def test_every_arm_is_asked_by_lm_eval_too_with_verdicts_by_paribus(home, tiny):
    """One task at once, the other later: the weights are kept."""
    tasks = [{"task": "lm_eval/choice.yaml", "test_size": 8}, "lm_eval/written.yaml"]
    for asked in (tasks[:1], tasks):
        evaluation = {"max_new_tokens": 6, "tasks": asked}
        guard = {"lm_eval-of_choices": 40}
        values = {**SHARED, "model": str(tiny), "evaluation": evaluation, "guard": guard}
        (home / "x.yaml").write_text(json.dumps(values))
        done = paribus("run", "x.yaml", cwd=home)
        assert done.returncode == 0, done.stderr
    run = home / "runs/x/full/seed-0"
    texts = run / "tasks/lm_eval-of_choices/generations/zero_shot-raw.jsonl"
    rows = [json.loads(line) for line in texts.read_text().splitlines()]
    assert len(rows) == 8
    assert set(rows[0]["document"]["values"]) == {"acc", "acc_norm", "mcc"}
    result = read_json(run / "result.json")
    assert result["tasks"]["lm_eval-written"]["evaluation"]["problems"] == 6
    ledger = [json.loads(line) for line in (home / "runs/x/ledger.jsonl").read_text().splitlines()]
    read = [row["protocol"] for row in ledger if row.get("arm") == "full"]
    assert read[2:] == ["lm_eval-of_choices: zero_shot/raw", "lm_eval-written: zero_shot/raw"]
    findings = read_json(home / "runs/x/report/findings.json")
    names = [task["name"] for task in findings["tasks"]]
    assert names == ["lm_eval-of_choices", "lm_eval-written"]
    solved = [row["document"]["values"]["acc"] for row in rows]
    assert findings["tasks"][0]["arms"][1]["accuracy"] == sum(solved) / 8
    assert "On lm_eval-of_choices, which was not trained on: full" in findings["answer"]
    assert paribus("verify", "runs/x", cwd=home).returncode == 0


def test_a_folder_for_what_lm_eval_reads_is_refused(home, tiny):
    entry = {"task": "lm_eval/choice.yaml", "path": "."}
    values = {**SHARED, "model": str(tiny), "evaluation": {"tasks": [entry]}}
    (home / "x.yaml").write_text(json.dumps(values))
    (arm, *_) = expand(load(home / "x.yaml")).arms
    with pytest.raises(ConfigError, match="lm-eval's own code reads what its file names"):
        prepare(arm.config, 0)


def test_nothing_is_trained_on_what_lm_eval_asks(home):
    (home / "x.yaml").write_text("task: lm_eval/choice.yaml\ndata: {train_size: 4, test_size: 4}\n")
    loaded = load(home / "x.yaml")
    with pytest.raises(ConfigError, match="is not trained on; name it in evaluation.tasks"):
        expand(loaded)
