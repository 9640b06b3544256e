"""Many runs at once, and several commands on one experiment, from outside, on a tiny model."""

import json
import os
import signal
from pathlib import Path

import pytest
import yaml

import outside
from inside import meanwhile, paribus
from interrupted import content
from outside import until
from paribus.store.layout import ExperimentFolder, RunFolder

RUNS = ["baseline seed 0", *(f"{arm} seed {seed}" for seed in (0, 1) for arm in ("full", "lora"))]
EXPERIMENT = {
    "seeds": 2,
    "data": {"train_size": 24, "test_size": 8, "max_number": 6},
    "prompt": {"max_tokens": 600},
    "training": {"batch_size": 12, "micro_batch": 4, "epochs": 20, "checkpoint_minutes": None,
                 "precision": "fp32"},
    "evaluation": {"max_new_tokens": 8, "batch_size": 8},
    "matrix": {"method": ["full", "lora"]},
}  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory, tiny) -> Path:
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "e.yaml").write_text(yaml.safe_dump({"model": str(tiny), **EXPERIMENT}))
    return folder / "e.yaml"


@pytest.fixture(scope="module")
def in_turn(file) -> dict[str, object]:
    """What one run after the other leaves."""
    made = paribus("run", "e.yaml", "--runs", "in_turn", cwd=file.parent)
    assert made.returncode == 0, made.stderr
    return contents(file.parent / "in_turn/e")


def folders(store: Path) -> list[RunFolder]:
    names = [title.replace(" seed ", "/seed-") for title in RUNS]
    return [RunFolder(store / name) for name in names]


def contents(store: Path) -> dict[str, object]:
    return {str(run.path.relative_to(store)): content(run) for run in folders(store)}


def steps(run: RunFolder) -> int:
    """How many steps a run has logged; its last line may be half there."""
    lines = run.events.read_text().split("\n")[:-1] if run.events.exists() else []
    return sum(json.loads(line)["event"] == "step" for line in lines)


def training(store: Path) -> list[RunFolder]:
    """The runs that are in the middle of their training."""
    return [run for run in folders(store) if 2 <= steps(run) < 30 and not run.manifest.exists()]


def readings(store: Path) -> list[tuple[str, int, str]]:
    lines = ExperimentFolder(store).ledger.read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if "protocol" in row]
    return sorted((row["arm"], row["seed"], row["protocol"]) for row in rows)


def test_ctrl_c_stops_all_runs_where_they_resume_and_they_end_in_the_same_bytes(file, in_turn):
    place, store = file.parent, file.parent / "stopped/e"
    words = ("run", "e.yaml", "--jobs", "2", "--runs", "stopped")
    running = outside.started(*words, cwd=place)
    until(lambda: len(training(store)) == 2, running)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    out, errors = running.communicate()
    assert running.returncode == 130, errors
    assert errors.count("resumes from step") == 2, errors
    assert "this one" not in errors
    assert len(list(store.glob("*/seed-*/checkpoints/step-*"))) == 2, out
    resumed = paribus(*words, cwd=place)
    assert resumed.returncode == 0, resumed.stderr
    assert contents(store) == in_turn
    assert paribus("verify", "stopped", cwd=place).returncode == 0


def test_two_commands_share_the_runs_and_each_is_done_once(file, in_turn):
    place, store = file.parent, file.parent / "shared/e"
    words = ("run", "e.yaml", "--runs", "shared")
    first = outside.started(*words, cwd=place)
    until(lambda: (store / "experiment.yaml").exists(), first)
    second = paribus(*words, cwd=place)
    out, errors = first.communicate()
    assert (first.returncode, second.returncode) == (0, 0), errors + second.stderr
    done = [title for title in RUNS for said in (out, second.stdout)
            if f"{title}: complete after" in said]  # fmt: skip
    assert done == RUNS
    assert readings(store) == readings(place / "in_turn/e")
    assert contents(store) == in_turn
    verified = paribus("verify", "shared", cwd=place)
    assert verified.returncode == 0, verified.stdout


@pytest.mark.slow
def test_what_a_killed_command_leaves_another_finishes(file, in_turn):
    place, store = file.parent, file.parent / "killed/e"
    words = ("run", "e.yaml", "--runs", "killed")
    first = outside.started(*words, "--jobs", "2", cwd=place)
    until(lambda: len(training(store)) == 2, first)
    others = {run.path for run in training(store)}

    def has_begun() -> bool:
        return any(run.path not in others for run in training(store))

    with meanwhile(has_begun, lambda: os.kill(first.pid, signal.SIGKILL)):
        second = paribus(*words, cwd=place)
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    assert second.returncode == 0, second.stderr
    assert contents(store) == in_turn
    assert paribus("verify", "killed", cwd=place).returncode == 0


@pytest.mark.slow
def test_parts_make_the_whole_and_the_last_one_reports(file, in_turn):
    """As the tasks of a job array do: `--seeds $SLURM_ARRAY_TASK_ID`."""
    place, store = file.parent, file.parent / "parts/e"
    said = []
    for task in ("0", "1"):
        made = paribus("run", "e.yaml", "--seeds", task, "--runs", "parts", cwd=place)
        assert made.returncode == 0, made.stderr
        said.append(made.stdout)
    assert "2 of 5 runs are left (full seed 1 and lora seed 1)" in said[0]
    assert "report: " not in said[0]
    assert "report: parts/e/report/index.html" in said[1]
    assert contents(store) == in_turn
    looks = [row for row in (store / "ledger.jsonl").read_text().splitlines() if '"look"' in row]
    assert len(looks) == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--arms", "ful"], "nearest: full"),
        (["--seeds", "2"], "choose from 0, 1;"),
        (["--seeds", "1", "--arms", "baseline"], "add seed 0"),
    ],
)
def test_a_part_that_is_not_there_is_refused_with_what_is(file, words, expected):
    made = paribus("run", "e.yaml", *words, "--runs", "none", cwd=file.parent)
    assert (made.returncode, expected in made.stderr) == (2, True), made.stderr
    assert not (file.parent / "none").exists()
