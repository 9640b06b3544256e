"""Runs that were tested on less than others, or on more than is asked by now."""

import json
from pathlib import Path
from typing import Any

import pytest

from paribus.cli.main import main
from paribus.files import read_json
from paribus.store.layout import ExperimentFolder
from stores import ARMS, answers, complete_run, describe, describe_file, enter

ALL = {"test_size": 10, "max_new_tokens": 20}
FEWER = {**ALL, "test_size": 6}
SHORTER = {**ALL, "max_new_tokens": 4}
FEWER_SHORTER = {"test_size": 6, "max_new_tokens": 4}
ONE_PROTOCOL = {**ALL, "also": []}
WITH = {"problems": "data.test_size=10", "length": "evaluation.max_new_tokens=20"}


FILE = """\
name: small
data: {train_size: 16, test_size: 5}
training: {precision: fp32, micro_batch: 4, checkpointing: false}
evaluation: {max_new_tokens: 4}
arms: {full: {method: full}, lora: {method: lora}}
"""
MORE = ["data.test_size=10", "evaluation.max_new_tokens=20", "evaluation.also=[one_shot/raw]"]


def identity(how: dict[str, Any]) -> dict[str, Any]:
    asked = {"protocol": "zero_shot", "also": ["one_shot"], **how}
    return {"data": {"test_size": asked.pop("test_size")}, "evaluation": asked}


def finish(
    folder: ExperimentFolder, arm: str, fingerprint: str, how: dict[str, Any], solved: int
) -> None:
    """A run of `arm` with the identity `how`, which solves the first `solved` problems."""
    enter(folder, arm, "zero_shot")
    generations = answers(set(range(solved)), range(how["data"]["test_size"]))
    spec = {"fingerprint": fingerprint, "arm": arm, "replicate": 0, "identity": how}
    complete_run(folder.run(arm, 0), generations, spec=spec)


def store(root: Path, how: dict[str, dict[str, Any]]) -> ExperimentFolder:
    """Three arms, tested as `how` says, of which 10 problems and 20 new tokens are asked."""
    folder = ExperimentFolder(root / "small")
    describe(folder, identity=identity(ALL))
    for solved, (arm, said) in enumerate(how.items(), 1):
        finish(folder, arm, "f", identity(said), solved)
    return folder


@pytest.mark.parametrize(
    ("how", "counted", "compared", "remedies"),
    [
        ([ALL, ALL, ALL], "baseline full lora", 3, {}),
        ([ALL, FEWER, FEWER], "baseline", 0, {"full": "problems", "lora": "problems"}),
        ([ALL, SHORTER, ALL], "baseline lora", 1, {"full": "length"}),
        ([ALL, FEWER_SHORTER, ALL], "baseline lora", 1, {"full": "problems length"}),
        # None is tested further yet: they are alike, and the report says how they were tested.
        ([SHORTER] * 3, "baseline full lora", 3, dict.fromkeys(ARMS, "length")),
        # Not one is as another, and none as it is asked.
        ([SHORTER, FEWER, FEWER], "", 0,
         {"baseline": "length", "full": "problems", "lora": "problems"}),
        # A protocol that is to come leaves the main one as it is.
        ([ALL, ONE_PROTOCOL, ALL], "baseline full lora", 3, {"full": ""}),
    ],
)  # fmt: skip
def test_only_what_was_tested_alike_is_compared(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    how: list[dict[str, Any]],
    counted: str,
    compared: int,
    remedies: dict[str, str],
) -> None:
    folder = store(tmp_path, dict(zip(ARMS, how, strict=True)))
    assert main(["report", str(folder.path)]) == 0
    said, page = capsys.readouterr().out, folder.report.read_text()
    findings = read_json(folder.findings)
    assert [run["name"] for run in findings["arms"] if run["scores"]] == counted.split()
    assert sum(each["n"] == 10 for each in findings["contrasts"]) == compared
    assert sum(bool(each["n"]) for each in findings["contrasts"]) == compared
    assert main(["status", str(folder.path), "--json"]) == 0
    status = {row["arm"]: row["still_to_test"] for row in json.loads(capsys.readouterr().out)}
    for arm in ARMS:
        lines = [line for line in said.splitlines() if line.startswith(f"{arm}, seed 0: ")]
        assert len(lines) == (arm in remedies)
        assert (status[arm] is not None) == (arm in remedies)
        if arm in remedies:
            words = [WITH[word] for word in remedies[arm].split()] or [
                'evaluation.also=["one_shot"]'
            ]
            remedy = f"`paribus run` with {' '.join(words)} resumes"
            assert lines[0].endswith(remedy)
            assert status[arm].endswith(remedy)
            assert words[-1] in page.replace("&#34;", '"')


@pytest.fixture
def further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExperimentFolder:
    """The runs of `FILE`, which is x.yaml in the current folder, tested on `MORE`."""
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(FILE)
    folder = ExperimentFolder(Path("runs/small"))
    for solved, spec in enumerate(describe_file(Path("x.yaml"), MORE).runs):
        finish(folder, spec.arm, spec.fingerprint, spec.identity(), solved)
    return folder


@pytest.mark.parametrize("words", [[], MORE[:1], MORE[1:], ["data.test_size=10", "question=Why?"]])
@pytest.mark.parametrize("command", ["report", "run"])
def test_what_was_tested_on_more_than_is_asked_is_complete(
    further: ExperimentFolder, capsys: pytest.CaptureFixture[str], command: str, words: list[str]
) -> None:
    before = further.description.read_bytes()
    assert main([command, "x.yaml", *words]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "tested on more than is asked" in said
    shown = {"data.test_size: 5 → 10", "evaluation.max_new_tokens: 4 → 20"}
    typed = {line for line in shown if any(line.startswith(word.split("=")[0]) for word in words)}
    assert {line for line in shown if line in said} == shown - typed
    assert further.description.read_bytes() == before
    assert [run["n"] for run in read_json(further.findings)["arms"]] == [10, 10, 10]


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["evaluation.max_new_tokens=21"], ["data.test_size: 10 → 5"]),  # less and more
        (["seeds=2"], ["data.test_size: 10 → 5"]),  # runs to be done beside those
        (["evaluation.protocol=few_shot"], ["evaluation.protocol: zero_shot → few_shot"]),
    ],
)
def test_what_is_partly_more_is_refused_with_what_to_ask_for(
    further: ExperimentFolder,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    lines: list[str],
) -> None:
    assert main(["run", "x.yaml", *words]) == 2
    said = capsys.readouterr().err
    assert all(line in said for line in lines)
    assert "ask for what it was tested on, or for more: data.test_size=10 evaluation" in said


def test_other_training_is_still_another_run(
    further: ExperimentFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("run", "report"):
        assert main([command, "x.yaml", "training.epochs=3"]) == 2
        assert "training.epochs: 1.0 → 3.0" in capsys.readouterr().err
