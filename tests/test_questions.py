"""A report with another question than its runs were made for: what it takes, says and refuses."""

from pathlib import Path
from typing import Any

import pytest

from paribus.cli.main import main
from paribus.config.load import load
from paribus.design.questions import ask
from paribus.errors import UserError
from paribus.files import read_json
from paribus.store.experiments import read_description
from paribus.store.layout import ExperimentFolder
from stores import describe_file, finish_trained

FILE = """\
name: small
question: Full or LoRA?
data: {train_size: 16, test_size: 10}
training: {micro_batch: auto, epochs: 2}
matrix:
  method: {full: {training.learning_rate: 1e-3}, lora: {lora.r: 4}}
  data.variant: [main, socratic]
arms: {r8: {method: lora, lora.r: 8}}
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExperimentFolder:
    """Finished runs of `FILE`, which is x.yaml in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(FILE)
    folder = ExperimentFolder(Path("runs/small"))
    for solved, arm in enumerate(describe_file(Path("x.yaml")).arms, 2):
        finish_trained(folder, arm.name, solved)
    return folder


def reported(*words: str) -> dict[str, Any]:
    assert main(["report", *words]) == 0
    found: dict[str, Any] = read_json(Path("runs/small/report/findings.json"))
    return found


def asked_later(found: dict[str, Any]) -> list[str]:
    return [line for line in found["limits"] if line.startswith("Asked after the runs")]


@pytest.mark.parametrize("what", ["x.yaml", "runs/small"])
def test_the_question_and_the_contrasts_are_those_typed(store: ExperimentFolder, what: str) -> None:
    sealed = store.description.read_bytes()
    pairs = "contrasts=[[full-main,lora-socratic],[r8,full-main],[lora-main,baseline]]"
    found = reported(what, "question=Why?", "hypothesis=LoRA.", pairs)
    assert (found["question"], found["hypothesis"]) == ("Why?", "LoRA.")
    assert [(each["a"], each["b"], each["factor"]) for each in found["contrasts"]] == [
        ("full-main", "lora-socratic", "data.variant + method"),
        ("r8", "full-main", "method"),
        ("lora-main", "baseline", "tuning"),
    ]
    assert asked_later(found) == [
        "Asked after the runs (command line): contrasts. When they were made it was: auto.",
        "Asked after the runs (command line): hypothesis. When they were made there was none.",
        "Asked after the runs (command line): question. When they were made it was: Full or LoRA?.",
    ]
    assert "Asked after the runs" in store.report.read_text()
    assert store.description.read_bytes() == sealed
    assert asked_later(reported("runs/small")) == []


def test_the_same_texts_are_read_for_another_kind_of_answer(store: ExperimentFolder) -> None:
    before, after = reported("x.yaml"), reported("x.yaml", "evaluation.answer=boxed")
    assert {arm["answers"].get("boxed") for arm in after["arms"]} == {None}
    assert all(arm["answers"]["marked"] > 0 for arm in before["arms"])
    assert all(arm["scores"]["canonical"]["correct"] == 0 for arm in after["arms"])
    assert asked_later(after) == [
        "Asked after the runs (command line): evaluation.answer. When they were made it was: auto."
    ]
    assert reported("x.yaml")["arms"] == before["arms"]


def test_what_the_file_says_by_now_is_asked(store: ExperimentFolder) -> None:
    Path("x.yaml").write_text(f"{FILE}hypothesis: LoRA.\ncontrasts: [[r8, lora-main]]\n")
    found = reported("x.yaml")
    assert found["hypothesis"] == "LoRA."
    assert [(each["a"], each["b"], each["factor"]) for each in found["contrasts"]] == [
        ("r8", "lora-main", "lora.r")
    ]
    assert asked_later(found)[0].startswith("Asked after the runs (x.yaml:10): contrasts.")


def test_the_file_that_was_run_asks_nothing_new(store: ExperimentFolder) -> None:
    assert asked_later(reported("x.yaml")) == []
    folders = "data.path: ./elsewhere\ntraining.save_weights: false\ntraining.trackers: [wandb]\n"
    Path("x.yaml").write_text(FILE + folders)
    assert asked_later(reported("x.yaml")) == []


def test_auto_pairs_are_found_again_from_the_store(store: ExperimentFolder) -> None:
    stored = read_description(store)
    config = {**stored.config, "contrasts": [["r8", "baseline"]]}
    listed = stored.model_copy(update={"config": config, "contrasts": []})
    found = ask(listed, load(Path("x.yaml"), ["contrasts=auto"]))
    assert found.contrasts == stored.contrasts
    assert len(found.contrasts) > 9


def test_a_store_from_elsewhere_may_call_its_model_by_another_folder(
    store: ExperimentFolder,
) -> None:
    stored = read_description(store)
    moved = stored.model_copy(update={"config": {**stored.config, "model": "/there/m"}})
    assert ask(moved, load(Path("x.yaml"), ["model=./m"])) is moved


@pytest.mark.parametrize("what", ["x.yaml", "runs/small"])
def test_a_margin_may_be_asked_for_later(store: ExperimentFolder, what: str) -> None:
    found = reported(what, "margin=45")
    assert {each["equivalence"]["margin"] for each in found["contrasts"]} == {0.45}
    assert asked_later(found) == [
        "Asked after the runs (command line): margin. When they were made there was none."
    ]
    pairs = "contrasts=[[full-main,r8],{a: lora-main, b: r8, margin: 3.5}]"
    found = reported(what, pairs)
    assert [(each["a"], each["equivalence"]) for each in found["contrasts"]][0] == (
        "full-main",
        None,
    )
    assert found["contrasts"][1]["equivalence"]["margin"] == 0.035
    kinds = [each["kind"] for each in found["findings"]]
    assert kinds.count("equivalence") == 1
    both = reported(what, pairs, "margin=45")["contrasts"]
    assert [each["equivalence"]["margin"] for each in both] == [0.45, 0.035]


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["runs/small", "training.epochs=3", "question=Why?"], ["training.epochs: 2.0 → 3.0"]),
        (["runs/small", "seeds=2"], ["seeds: 1 → 2"]),
        (["runs/small", "tune={}"], ["tune"]),
        (["x.yaml", "data.train_size=32", "seed=1"], ["data.train_size: 16 → 32", "seed: 0 → 1"]),
        (["x.yaml", "arms.r8.lora.r=16"], ["arms.r8.lora.r: 8 → 16"]),
        (["x.yaml", "arms.r9={method: lora, lora.r: 9}"], ["arms.r9.lora.r: (absent) → 9"]),
        (["x.yaml", "matrix.method=[lora]"], ["matrix.method.full.training.learning_rate"]),
        (["x.yaml", "baseline=null"], ["baseline"]),
    ],
)
def test_what_would_change_runs_is_refused_by_name(
    store: ExperimentFolder,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    lines: list[str],
) -> None:
    assert main(["report", *words]) == 2
    said = capsys.readouterr().err
    assert "this asks for runs that the store does not hold" in said
    assert all(line in said for line in lines)
    assert "give them to `paribus run`; a report takes question" in said
    assert "question:" not in said
    assert not store.report.exists()


@pytest.mark.parametrize("size", ["few", None, [5]])
def test_a_store_whose_number_of_problems_is_none_is_refused(
    store: ExperimentFolder, size: Any
) -> None:
    stored = read_description(store)
    config = {**stored.config, "data": {"test_size": size}}
    other = stored.model_copy(update={"config": config})
    with pytest.raises(UserError, match="data.test_size: .* → 10"):
        ask(other, load(Path("x.yaml")))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("contrasts=[[full-mian,r8]]", "'full-mian' is not an arm; nearest: full-main"),
        ("question=[1]", "question must be text"),
        ("margin=0.02", "margin must be a number ≥ 0.1 and ≤ 50 or null, got 0.02"),
        ("contrasts=[{a: full-main, b: r8, margin: 0}]", "contrasts must be 'auto' or a list of"),
        ("contrasts=[{a: full-main, b: r8, c: 1}]", "contrasts must be 'auto' or a list of"),
        ("contrasts=[{a: full-mian, b: r8}]", "'full-mian' is not an arm; nearest: full-main"),
        ("labels=missing.jsonl", "missing.jsonl"),
        ("qestion=x", "qestion is not a known key; nearest: question"),
    ],
)
@pytest.mark.parametrize("what", ["x.yaml", "runs/small"])
def test_a_wrong_question_is_refused(
    store: ExperimentFolder,
    capsys: pytest.CaptureFixture[str],
    what: str,
    word: str,
    message: str,
) -> None:
    assert main(["report", what, word]) == 2
    assert message in capsys.readouterr().err


def test_strict_may_be_asked_for_later(
    store: ExperimentFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "runs/small", "strict=true"]) == 2
    assert "strict: more than the compared factor differed" in capsys.readouterr().err
