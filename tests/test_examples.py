"""The examples, each from its files to a report, on a tiny model."""

import json
import runpy
import shutil
from pathlib import Path

import pytest

from inside import paribus

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = ("data.train_size=12", "data.test_size=4", "training.epochs=1", "training.precision=fp32",
         "prompt.max_tokens=512", "evaluation.max_new_tokens=4")  # fmt: skip
ARMS = {
    "intent": ["baseline", "full", "lora"],
    "sql": ["baseline", "r=4", "r=16"],
    "choice": ["baseline", "full", "lora"],
    "messages": ["baseline", "full", "lora"],
}


def test_every_example_is_run():
    others = {"skypilot"}  # no experiment: test_skypilot
    assert {file.stem for file in EXAMPLES.glob("*.yaml")} - others == set(ARMS)


@pytest.mark.parametrize("name", ARMS)
def test_an_example_is_planned_run_and_reported(name, tiny, tmp_path):
    words = (str(EXAMPLES / f"{name}.yaml"), f"model={tiny}", *SMALL)
    planned = paribus("plan", *words, cwd=tmp_path)
    assert (planned.returncode, planned.stderr) == (0, "")
    assert planned.stdout.startswith(f"{name}: can be run. 3 arms, 3 runs, 3 contrasts.")
    # Choices and replies are compared by their likelihood, so no answer is too short for them.
    assert ("PB029" in planned.stdout) == (name not in ("choice", "messages"))
    ran = paribus("run", *words, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    reported = paribus("report", f"runs/{name}", cwd=tmp_path)
    assert reported.returncode == 0, reported.stdout + reported.stderr
    findings = json.loads((tmp_path / "runs" / name / "report" / "findings.json").read_text())
    assert [(arm["name"], arm["n"]) for arm in findings["arms"]] == [(a, 4) for a in ARMS[name]]


def test_a_plan_says_which_rows_are_left_out(tiny, tmp_path):
    shutil.copytree(EXAMPLES, tmp_path / "own")
    train = tmp_path / "own" / "data" / "intent_train.csv"
    first = train.read_text().splitlines()[1]
    train.write_text(f"{train.read_text()}{first}\n{first.rpartition(',')[0]},thanks\n")
    words = ("own/intent.yaml", f"model={tiny}", *SMALL)
    planned = paribus("plan", *words, cwd=tmp_path)
    said = "2 training problems that repeat another, 1 of them with another gold answer."
    assert f"Left out: {said}" in planned.stdout


def test_arms_with_other_training_rows_are_planned(tiny, tmp_path):
    """Labels are no numbers: nothing looks for one between the arms' rows."""
    words = (f"model={tiny}", *SMALL[1:], "matrix={data.train_size: [8, 12]}")
    planned = paribus("plan", str(EXAMPLES / "intent.yaml"), *words, cwd=tmp_path)
    assert (planned.returncode, planned.stderr) == (0, "")


def test_the_data_is_what_its_script_makes(tmp_path):
    (tmp_path / "data").mkdir()
    script = Path(shutil.copy(EXAMPLES / "make_data.py", tmp_path))
    runpy.run_path(str(script), run_name="__main__")
    shipped = sorted((EXAMPLES / "data").iterdir())
    assert len(shipped) == 8
    for file in shipped:
        assert (tmp_path / "data" / file.name).read_bytes() == file.read_bytes()
    assert sum(file.stat().st_size for file in shipped) < 100_000
