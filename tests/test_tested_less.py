"""Further tests that were stopped: runs tested on less are not compared with those tested on more.

Each store is of three arms, finished; the experiment asks for 10 problems with 20 new tokens.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from by_hand import enter
from paribus.cli.main import main
from paribus.files import read_json
from paribus.store import runs
from paribus.store.experiments import read_description, write_description
from paribus.store.layout import ExperimentFolder
from small_store import ARMS, answers, describe

ALL = {"test_size": 10, "max_new_tokens": 20}
FEWER = {**ALL, "test_size": 6}
SHORTER = {**ALL, "max_new_tokens": 4}
FEWER_SHORTER = {"test_size": 6, "max_new_tokens": 4}
ONE_PROTOCOL = {**ALL, "also": []}
WITH = {"problems": "data.test_size=10", "length": "evaluation.max_new_tokens=20"}


def identity(how: dict[str, Any]) -> dict[str, Any]:
    asked = {"protocol": "zero_shot", "also": ["one_shot"], **how}
    return {"data": {"test_size": asked.pop("test_size")}, "evaluation": asked}


def store(root: Path, how: dict[str, dict[str, Any]]) -> ExperimentFolder:
    """A store whose arms were tested as `how` says, each solving one problem more."""
    folder = ExperimentFolder(root / "small")
    describe(folder)
    description = read_description(folder)
    for arm in description["arms"]:
        arm["identity"] |= identity(ALL)
    write_description(folder, description)
    for solved, (arm, said) in enumerate(how.items(), 1):
        run = folder.run(arm, 0)
        spec = {"fingerprint": "f", "arm": arm, "replicate": 0, "identity": identity(said)}
        runs.begin(run, spec)
        enter(folder, arm, "zero_shot", 0)
        found = answers(set(range(solved)), range(said["test_size"]))
        runs.write_generations(run, "zero_shot", found)
        evaluation = {"protocol": "zero_shot", "problems": len(found)}
        runs.finish(run, {"training": None, "evaluation": evaluation})
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
            remedy = f"`paribus run` with {' '.join(words)} goes on"
            assert lines[0].endswith(remedy)
            assert status[arm].endswith(remedy)
            assert words[-1] in page.replace("&#34;", '"')
