"""The first page of `paribus plan`: the verdict, what it leads with, and when it exits with 2."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from paribus.cli.main import main
from paribus.config.load import load
from paribus.config.spec import RunSpec
from paribus.design.matrix import expand
from paribus.planning.prepare import prepare
from paribus.store.layout import ExperimentFolder, RunFolder
from stores import complete_run

EXPERIMENT = {
    "question": "Which?",
    "hypothesis": "It matters.",
    "model": "./tiny",
    "data": {"train_size": 24, "test_size": 8, "max_number": 6},
    "prompt": {"max_tokens": 600},
    "training": {"batch_size": 12, "micro_batch": 4, "warmup": 0, "precision": "fp32"},
    "evaluation": {"max_new_tokens": 200, "batch_size": 8},
    "matrix": {
        "method": {
            "full": {"training.learning_rate": 2e-5},
            "lora": {"training.learning_rate": 2e-4},
        },
        "data.variant": ["main", "socratic"],
    },
}
GOLD = '{"question": "1+1?", "answer": "1+1=2\\n#### 2"}\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny) -> Path:
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(tiny, folder / "tiny")
    (folder / "e.yaml").write_text(yaml.safe_dump(EXPERIMENT, sort_keys=False))
    (folder / "bad").mkdir()
    (folder / "bad" / "train.jsonl").write_text(GOLD + "{not JSON}\n")
    (folder / "bad" / "test.jsonl").write_text(GOLD)
    (folder / "own.csv").write_text("text,label\n" + "".join(f"{n},tax\n" for n in range(99)))
    (folder / "ends.yaml").write_text("train: own.csv\ngeneration_kwargs: {until: [a]}\n")
    (folder / "begins.yaml").write_text(
        'train: own.csv\ntarget_delimiter: "\\n"\ngeneration_kwargs: {until: ["\\n"]}\n'
    )
    (folder / "unknown.yaml").write_text("train: own.csv\nmetric_list: [{metric: exactmatch}]\n")
    (folder / "never.yaml").write_text(
        "train: own.csv\nfilter_list: [{name: a, filter: [{function: regex}]}]\n"
    )
    return folder


@pytest.fixture(autouse=True)
def _here(folder, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")


def planned(capsys, *words: str) -> tuple[int, list[str], str]:
    """Exit code, lines of the plan, and what was said of errors."""
    code = main(["plan", "e.yaml", *words])
    out, err = capsys.readouterr()
    return code, out.splitlines(), err


def test_verdict_time_memory_and_warnings_on_one_page(capsys):
    code, lines, _ = planned(capsys, "--device", "cpu-24gb")
    assert (code, lines[0]) == (0, "e: can be run. 5 arms, 5 runs, 8 contrasts.")
    assert [line.partition(":")[0] for line in lines[1:4]] == ["Time", "Memory", "Disk"]
    assert lines[3] == "Disk: 1.0 MB for weights, 1.1 MB for checkpoints meanwhile."
    assert sum(-(-len(line) // 100) or 1 for line in lines) < 25  # as a terminal folds them
    page = "\n".join(lines)
    assert "8 test problems" in page
    assert "warning PB046" in page
    assert "note PB" not in page
    assert lines[-1].endswith("paribus plan e.yaml --device cpu-24gb --details")
    code, lines, _ = planned(capsys, "--device", "cpu-24gb", "--details")
    details = "\n".join(lines)
    assert all(word in details for word in ("too long", "activ.", "other ways", "note PB"))
    assert len(lines) > 40


def test_time_to_measure_on_the_way_is_planned(capsys):
    """Of tuned arms alone; the best weights, kept aside, take room on the disk."""
    words = ["data.validation_size=9", "evaluation.at=[1, 0.5]", "--device", "cpu-24gb"]
    page = "\n".join(planned(capsys, *words)[1])
    assert "train  validate" in page
    rows = json.loads("\n".join(planned(capsys, *words, "--json")[1]))["arms"]
    assert [row["estimate"]["validation_seconds"] > 0 for row in rows] == [False, *[True] * 4]
    code, lines, _ = planned(capsys, *words, "evaluation.checkpoint=best_loss")
    assert (code, lines[3]) == (0, "Disk: 1.0 MB for weights, 1.8 MB for checkpoints meanwhile.")
    code, _, err = planned(capsys, *words, "evaluation.at=[9]")
    assert code == 2
    assert "evaluation.at names step 9, and the training ends after 2" in err


def test_how_rows_were_recognised_is_said(capsys, folder):
    rows = "".join(f"message {n},{'ab'[n % 2]}\n" for n in range(40))
    (folder / "two.csv").write_text("text,label\n" + rows)
    (folder / "own.yaml").write_text("train: two.csv\n")
    words = ("task=own.yaml", "matrix.data.variant=[main]", "--device", "cpu-24gb")
    code, lines, _ = planned(capsys, *words)
    assert code == 0
    assert "Rows: text/label, recognised by their columns" in "\n".join(lines)
    assert lines[0].endswith("3 arms, 3 runs, 3 contrasts.")


def test_the_rule_and_the_plan_say_the_same_difference(capsys):
    words = ["data.test_size=90", "--device", "cpu-24gb", "--json"]
    made = json.loads("\n".join(planned(capsys, *words)[1]))
    points = f"{100 * made['foresight']['detectable']:.1f} points or more"
    assert points in made["foresight"]["sentence"]
    assert [one["found"] for one in made["violations"] if one["id"] == "PB046"] == [
        f"data.test_size=90: {points} would be shown 8 times in 10"
    ]


def test_a_default_rate_and_pairs_left_out_are_said(capsys):
    arms = "arms={full: {method: full}, long: {method: lora, training.epochs: 2}}"
    words = ["matrix={}", arms, "training.learning_rate=null", "--device", "cpu-24gb"]
    page = "\n".join(planned(capsys, *words)[1])
    assert "2e-05 (default)" in page
    assert "0.0002 (default)" in page
    assert "Not compared, as they differ in several factors: full with long." in page
    page = "\n".join(planned(capsys, *words, "--details")[1])
    assert "full          long  method, training.epochs" in page
    made = json.loads("\n".join(planned(capsys, *words, "--json")[1]))
    assert made["not_compared"] == [
        {"a": "full", "b": "long", "factor": "method + training.epochs"}
    ]
    assert [arm["learning_rate_from"] for arm in made["arms"]] == [
        None, "default for full", "default for lora",
    ]  # fmt: skip
    code = main(["plan", "e.yaml", *words, "--explain"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    rates = [line for line in lines if "training.learning_rate" in line]
    assert [" ".join(line) for line in rates] == [
        "training.learning_rate null command line",
        "full: training.learning_rate 2e-05 default for full",
        "long: training.learning_rate 0.0002 default for lora",
    ]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["task=gsm8k", "data.path=./gone"], 2, "there is no file"),
        (["task=gsm8k", "data.path=./bad"], 2, "train.jsonl:2: not JSON"),
        (["prompt.max_tokens=20"], 2, "longer than prompt.max_tokens"),
        (["data.max_number=8", "data.train_size=50000"], 2, "distinct problems"),
        (["task=gsm8k"], 0, "the Hub is out of reach"),  # another machine may have it
        (
            ["task=ends.yaml", "matrix.data.variant=[main]"],
            2,
            "32 of 32 solutions hold 'a', which ends an answer: ",
        ),
        (
            ["task=begins.yaml", "matrix.data.variant=[main]"],
            2,
            r"32 of 32 solutions hold '\n', which ends an answer: ",
        ),
        (
            ["task=unknown.yaml", "matrix.data.variant=[main]"],
            2,
            "metric 'exactmatch' is not supported",
        ),
        (
            ["task=never.yaml", "matrix.data.variant=[main]"],
            2,
            "the metric exact_match gives 0 to the gold solution itself, 'tax', compared with "
            "'tax'; so with all of 8 that were tried",
        ),
    ],
)
def test_what_an_arm_reads_must_be_readable(capsys, words, code, said):
    found, lines, errors = planned(capsys, *words, "--device", "cpu-24gb")
    assert found == code
    assert said in "\n".join(lines)  # shown beside what is known
    if code:
        assert lines[0].startswith("e: cannot be run: ")
        assert said in errors
        assert "→" in errors
    else:
        assert lines[0].startswith("e: can be run, as far as is known here.")


def complete(spec: RunSpec, run: RunFolder) -> None:
    inputs = prepare(spec.config, spec.seed).identity()
    written = {"fingerprint": spec.fingerprint, "identity": spec.identity(), "inputs": inputs}
    complete_run(run, spec={**written, "environment": {}})


@pytest.fixture
def stored(folder, tmp_path) -> Path:
    """A store in which the baseline and full SFT on main are complete."""
    for spec in expand(load(folder / "e.yaml")).runs[:2]:
        complete(spec, ExperimentFolder(tmp_path / "e").of(spec))
    return tmp_path


def test_a_run_is_found_by_the_name_that_an_earlier_version_gave_it(capsys, folder, tmp_path):
    ranks = ["matrix.method=[lora]", "matrix.data.variant=[main]", "matrix.lora.r=[4, 8]"]
    spec = expand(load(folder / "e.yaml", ranks)).runs[1]
    assert spec.arm == "lora-main-r=4"
    complete(spec, ExperimentFolder(tmp_path / "e").run("lora-main-4", 0))
    words = [*ranks, "--runs", str(tmp_path), "--device", "cpu-24gb", "--json"]
    made = json.loads("\n".join(planned(capsys, *words)[1]))
    assert {run["arm"]: run["state"] for run in made["runs"]} == {
        "baseline": "not run", "lora-main-4": "complete", "lora-main-8": "not run",
    }  # fmt: skip


def test_another_design_under_a_stored_name_is_shown(capsys, stored):
    words = ["--device", "cpu-24gb", "--runs", str(stored)]
    first = planned(capsys, *words)[1][0]
    assert first == "e: can be run. 5 arms, 5 runs (2 complete), 8 contrasts."
    code, lines, errors = planned(capsys, "training.epochs=2", *words)
    assert (code, errors) == (0, "")
    assert lines[0].startswith(
        "e: would be refused by `paribus run`: the runs stored under this name are others."
    )
    page = "\n".join(lines)
    assert f"{stored}/e/full-main/seed-0 holds a complete run that differs from this one" in page
    assert "training.epochs: 1.0 → 2.0" in page
    assert "→ run under another name (name=…)" in page
    made = json.loads("\n".join(planned(capsys, "training.epochs=2", "--json", *words)[1]))
    states = {run["arm"]: run["state"] for run in made["runs"]}
    assert states["full-main"] == "another"  # the untuned model is the same in both
    assert (states["baseline"], states["lora-main"]) == ("complete", "not run")
    assert [one["message"].splitlines()[1].strip() for one in made["stored"]] == [
        "training.epochs: 1.0 → 2.0"
    ]
    assert main(["run", "e.yaml", "training.epochs=2", "--runs", str(stored)]) == 2
    assert "training.epochs: 1.0 → 2.0" in capsys.readouterr().err


def test_a_damaged_run_is_an_error_after_the_plan(capsys, stored):
    (stored / "e" / "full-main" / "seed-0" / "result.json").write_text("{}")
    code, lines, errors = planned(capsys, "--device", "cpu-24gb", "--runs", str(stored))
    assert code == 2
    assert lines[0].startswith("e: cannot be run: ")
    assert "result.json" in errors
