"""`paribus baseline` as a person calls it, and the experiment that then need not compute it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from inside import paribus
from paribus.cli.main import main
from paribus.store.ledger import read_ledger

VALUES = ["evaluation.max_new_tokens=6", "training.precision=fp32"]
PAIR = ["--protocols", "one_shot/raw, zero_shot/raw"]
WORDS = ["--data", "wordproblems", "--problems", "16", *PAIR]
EXPERIMENT = {
    "model": "./tiny",
    "hypothesis": "Full SFT gains 30 points or more, and LoRA comes within 4 points of it.",
    "data": {"train_size": 4, "test_size": 16},
    "training": {"batch_size": 4, "micro_batch": 4, "precision": "fp32", "save_weights": False},
    "evaluation": {"max_new_tokens": 6},
    "method": "full",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny) -> Path:
    folder = tmp_path_factory.mktemp("baseline")
    shutil.copytree(tiny, folder / "tiny")
    (folder / "e.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    return folder


@pytest.fixture(scope="module")
def first(folder):
    return paribus("baseline", "./tiny", "google/gemma-2b-it", *WORDS, *VALUES, cwd=folder)


@pytest.fixture(scope="module")
def experiment(first, folder):
    """The experiment's own candidates, then the experiment."""
    words = ["baseline", "--experiment", "e.yaml", *PAIR, "--json"]
    return paribus(*words, cwd=folder), paribus("run", "e.yaml", cwd=folder)


def manifests(folder: Path) -> dict[str, int]:
    found = sorted((folder / "runs" / "baselines").rglob("manifest.json"))
    return {path.parent.parent.name: path.stat().st_mtime_ns for path in found}


def test_a_table_a_judgement_and_what_could_not_be_had(first, folder):
    assert first.returncode == 1, first.stdout + first.stderr
    rows = [line.split() for line in first.stdout.splitlines()]
    assert ["./tiny", "one_shot/raw", "0", "of", "16", "0", "%", "[0.0", "to", "20.6]"] in rows
    judged = next(line for line in first.stdout.splitlines() if line.startswith("./tiny: "))
    assert judged.startswith("./tiny: at the floor; solves 0 of 16 under ")
    assert "16 of 16 misses hold no final answer (16 cut by the token limit)" in judged
    assert "google/gemma-2b-it: not run" in first.stdout
    assert "hf download google/gemma-2b-it" in first.stdout
    assert first.stderr.startswith("error: 1 of 2 models could not be tested in full")
    arms = {name.rpartition("-")[0] for name in manifests(folder)}
    assert {"tiny-one_shot-raw", "tiny-zero_shot-raw"} <= arms


def test_a_second_call_runs_nothing(first, folder):
    before = manifests(folder)
    again = paribus("baseline", "./tiny", *WORDS, *VALUES, "--json", cwd=folder)
    assert (again.returncode, manifests(folder)) == (0, before)
    assert "testing" not in again.stderr
    made = json.loads(again.stdout, parse_constant=pytest.fail)
    assert (made["problems"], made["difference"]) == (16, 0.05)
    (one,) = made["candidates"]
    assert one["model"] == "./tiny"
    assert one["protocols"][0] == {
        "protocol": "one_shot/raw",
        "solved": 0,
        "n": 16,
        "accuracy": 0.0,
        "low": 0.0,
        "high": pytest.approx(0.2059, abs=1e-4),
    }
    assert one["verdict"] == "at the floor"
    assert one["best_protocol"] in {"one_shot/raw", "zero_shot/raw"}
    assert one["detectable"] == pytest.approx(0.449, abs=1e-3)
    assert (one["problems_needed"], one["error"]) == (157, None)


def test_status_and_report_know_all_candidates(first, folder):
    rows = json.loads(paribus("status", "runs/baselines", "--json", cwd=folder).stdout)
    assert {row["arm"] for row in rows} == manifests(folder).keys()
    assert {row["state"] for row in rows} == {"complete"}
    report = paribus("report", "runs/baselines", cwd=folder)
    assert report.returncode == 0, report.stderr
    assert "What do these models solve" in (
        folder / "runs" / "baselines" / "report" / "index.html"
    ).read_text()  # fmt: skip


def test_an_experiment_does_not_compute_its_baseline_again(experiment, folder):
    candidates, ran = experiment
    assert candidates.returncode == 0, candidates.stderr
    assert ran.returncode == 0, ran.stdout + ran.stderr
    made = json.loads(candidates.stdout)
    assert made["difference"] == 0.04  # the smallest that its hypothesis names
    run = folder / "runs" / "e" / "baseline" / "seed-0"
    result = json.loads((run / "result.json").read_text())
    (source,) = result["reused_from"]
    original = folder / "runs" / source
    texts = "generations/one_shot-raw.jsonl"
    assert (run / texts).read_bytes() == (original / texts).read_bytes()
    assert result["evaluation"] == json.loads((original / "result.json").read_text())["evaluation"]
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["reused"]
    assert "baseline seed 0: testing" not in ran.stdout
    assert "full-main seed 0: testing" in ran.stdout
    # One reading: when the texts were first written, by the first command of all.
    stores = [folder / "runs" / name / "ledger.jsonl" for name in ("baselines", "e")]
    times = [
        {read.time for read in read_ledger(store) if read.protocol == "one_shot/raw"}
        for store in stores
    ]
    assert len(times[0]) == 1
    assert times[0] == times[1]


def test_a_setting_that_it_reads_makes_it_anew(experiment, folder):
    before = manifests(folder)
    values = ["--protocols", "one_shot/raw", "evaluation.max_new_tokens=5"]
    made = paribus("baseline", "--experiment", "e.yaml", *values, cwd=folder)
    assert made.returncode == 0, made.stderr
    assert "seed 0: testing" in made.stdout
    after = manifests(folder)
    (name,) = after.keys() - before.keys()
    run = folder / "runs" / "baselines" / name / "seed-0"
    assert "reused_from" not in json.loads((run / "result.json").read_text())
    assert {key: after[key] for key in before} == before


def test_fewer_problems_judge_for_the_whole_experiment(experiment, folder):
    """16 problems are asked; the experiment they speak of has 400 and three seeds."""
    words = ["--experiment", "e.yaml", "--problems", "16", "--protocols", "one_shot/raw", "--json"]
    made = paribus("baseline", *words, "data.test_size=400", "seeds=3", cwd=folder)
    assert made.returncode == 0, made.stderr
    answer = json.loads(made.stdout)
    (candidate,) = answer["candidates"]
    assert answer["problems"] == 400
    assert [each["n"] for each in candidate["protocols"]] == [16]
    # 0 of 16 may be 20 %, from where 400 problems see a loss as well as a gain.
    assert candidate["verdict"] == "good"
    assert "the experiment's 400 problems with 3 seeds would show" in candidate["reason"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no model is named"),
        (["data.seed=1"], "no model is named"),
        (["./tiny"], "--data is not given"),
        (["./tiny", "--data", "gsm9k"], "--data gsm9k is not a folder"),
        (["./tiny", "--data", "tiny"], "train.jsonl"),
        (["./tiny", "--data", "wordproblems", "--problems", "0"], "data.test_size must be"),
        (["./tiny", "--data", "wordproblems", "--problems", "5"], "no model can be judged: With 5"),
        (["./tiny", "--data", "wordproblems", "--problems", "5"], "→ test 978 problems"),
        (["./tiny", "--data", "wordproblems", "seeds=2"], "2 seeds give no verdicts"),
        (["./tiny", "--data", "wordproblems", "seeds=2"], "no number of problems is enough"),
        (["./tiny", "--data", "wordproblems", "data.tset_size=3"], "data.test_size"),
        (["./tiny", "tiny", "./tiny", "--data", "wordproblems"], "./tiny is named twice"),
        (["./tiny", "--data", "wordproblems", "--protocols", "one_shot"], "is not a protocol"),
        (["./tiny", "--data", "wordproblems", "--protocols", ""], "'' is not a protocol"),
        (["--data", "wordproblems", "--experiment", "e.yaml"], "each say which problems"),
        (["--experiment", "none.yaml"], "none.yaml"),
        (["no/such-model", "--data", "wordproblems"], "no model could be tested"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_told_with_a_way_out(folder, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(folder)
    assert main(["baseline", *words, "--runs", str(tmp_path / "runs")]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert said in errors
    assert "→" in errors
    assert not (tmp_path / "runs").exists()


def test_baseline_is_imported_without_torch():
    code = "import sys, paribus.cli.baseline; print('torch' in sys.modules)"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert made.stdout.strip() == "False"


def test_any_task_under_every_protocol_that_fits_it(folder, capsys, monkeypatch):
    """Two solved examples are stated, so few-shot does not fit; a raw answer has a beginning."""
    monkeypatch.chdir(folder)
    rows = [{"text": f"I want {n}", "label": "yes" if n % 2 else "no"} for n in range(40)]
    for name, part in (("train", rows[30:]), ("test", rows[:30])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    (folder / "own.yaml").write_text(
        "task: own\ntest: test.jsonl\ntrain: train.jsonl\ndoc_to_text: 'Say: {{text}}'\n"
        "doc_to_target: label\ndoc_to_choice: ['yes', 'no']\noutput_type: multiple_choice\n"
        "gen_prefix: 'Answer:'\n"
        "fewshot_config: {samples: [{text: a, label: 'yes'}, {text: b, label: 'no'}]}\n"
    )
    words = ["baseline", "./tiny", "--task", "own.yaml", *VALUES[1:]]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "one_shot/raw" in shown
    assert "not under few_shot/raw: the protocol few_shot/raw shows 5 solved examples" in shown
    assert "not under zero_shot/chat: zero_shot/chat: the task own says how an answer" in shown
    assert main([*words, "--data", "gsm8k"]) == 2
    assert "each say which problems are asked" in capsys.readouterr().err
