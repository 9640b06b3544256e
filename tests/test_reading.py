"""From a folder of runs to tables: scores counted by hand, and runs that are missing or damaged."""

import json
import shutil
from pathlib import Path

import pytest

from by_hand import generation
from paribus.analysis.conditions import circumstances, differing_settings, shared_settings
from paribus.analysis.reading import loss_curve, read_experiment
from paribus.analysis.signals import pick
from paribus.errors import StoreError
from paribus.statistics.intervals import share
from paribus.store import runs
from paribus.store.layout import ExperimentFolder
from paribus.store.manifest import write_manifest
from stores import answers, describe, failed, finish


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    """baseline solves {0}; full {0..7}; lora {0, 8}."""
    made = ExperimentFolder(tmp_path / "small")
    describe(made)
    finish(made, "baseline", answers({0}))
    finish(made, "full", answers(set(range(8))))
    finish(made, "lora", answers({0, 8}))
    return made


def test_scores_and_outcomes_are_counted_by_hand(tmp_path):
    made = ExperimentFolder(tmp_path)
    describe(made)
    texts = [
        ("#### 7\n", "answer"),
        ("#### $7.00\n", "answer"),  # canonical only: lm-eval's rules refuse $ and .00
        ("it is 7", "stop_token"),  # flexible only
        ("#### 8\n", "answer"),
        ("no idea", "stop_token"),
        ("on and on", "length"),
        ("", "failed"),  # the model gave NaN: a fault, which counts in n
    ]
    finish(made, "baseline", [generation(n, *each) for n, each in enumerate(texts)])
    run = read_experiment(made).run("baseline", 0)
    assert run is not None
    assert {name: score.correct for name, score in run.scores.items()} == {
        "canonical": 2,
        "strict": 1,
        "flexible": 2,
    }
    assert run.scores["canonical"].accuracy == pytest.approx(2 / 7)
    assert run.scores["canonical"].interval == share(2, 7)
    assert run.outcomes == {
        "correct": 2,
        "wrong": 1,
        "no_answer": 2,
        "truncated": 1,
        "failed": 1,
    }
    assert [(each.title, each.outcome) for each in pick(run)] == [
        ("First wrong", "wrong"),
        ("First correct", "correct"),
        ("First without an answer", "no_answer"),
    ]


def test_a_run_without_problems_has_no_accuracy(tmp_path):
    made = ExperimentFolder(tmp_path)
    describe(made)
    finish(made, "baseline", [])
    run = read_experiment(made).run("baseline", 0)
    assert run is not None
    assert run.complete
    score = run.scores["canonical"]
    assert (score.correct, score.n, score.accuracy, score.interval) == (0, 0, None, None)


# --- what is missing -------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"[]", b'{"error": "\xff"}', b"[" * 200_000, b'"x"'])
def test_a_failure_that_cannot_be_read_is_one_all_the_same(folder, content):
    run = folder.run("full", 1)
    describe(folder, seeds=2)
    failed(run, "why")
    run.failure.write_bytes(content)
    said = f"full, seed 1: failed: {run.failure} cannot be read, which says why"
    assert said in read_experiment(folder).missing


def test_a_run_in_the_place_of_another_is_not_taken_for_it(folder):
    shutil.rmtree(folder.run("lora", 0).path)
    shutil.copytree(folder.run("full", 0).path, folder.run("lora", 0).path)
    run = read_experiment(folder).run("lora", 0)
    assert run is not None
    assert not run.scores
    assert "is of full/seed-0, and lies in the place of lora/seed-0" in run.note


def test_what_is_missing_is_said_and_never_scored(folder):
    describe(folder, seeds=3)
    runs.begin(folder.run("full", 1), {"fingerprint": "f"})
    failed(folder.run("lora", 1), "OutOfMemory: 8 GB wanted\nsecond line")
    finish(folder, "lora", answers({0}), seed=2)
    path = folder.run("lora", 2).generations("zero_shot")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))
    tables = read_experiment(folder)
    assert tables.missing[:3] == [
        "full, seed 1: unfinished: it is still running, or was stopped.",
        "full, seed 2: not run.",
        "lora, seed 1: failed: OutOfMemory: 8 GB wanted",
    ]
    assert tables.missing[3].startswith("lora, seed 2: damaged: ")
    assert "zero_shot.jsonl has 1004 bytes; the manifest says 2510 bytes" in tables.missing[3]
    assert len(tables.missing) == 4
    assert [(run.arm, run.seed) for run in tables.complete] == [
        ("baseline", 0),
        ("full", 0),
        ("lora", 0),
    ]
    assert not any(run.scores or run.generations for run in tables.runs if not run.complete)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b'{"problem_id": "x"}\n' * 10,
        b"\xff\xfe",
        b'{"stop": "nonsense"}\n' * 10,
        b"[" * 100_000,
    ],
)
def test_damaged_generations_are_a_note_and_not_a_crash(folder, damage):
    folder.run("full", 0).generations("zero_shot").write_bytes(damage)
    (missing,) = read_experiment(folder).missing
    assert missing.startswith("full, seed 0: damaged: ")


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (b"", "cannot be read: Expecting value"),
        (b"{}", "has no evaluation"),
        (b"[]", "has the whole = '[]': "),
        (b"null", "has the whole = 'None': "),
        (b"\xff", "cannot be read: 'utf-8' codec"),
        (b"[" * 100_000, "cannot be read: maximum recursion depth"),
        (b'{"evaluation": {}}', "has no evaluation.problems"),
        (b'{"evaluation": {"problems": "10"}}', "has evaluation.problems = '10': Input should be"),
        (b'{"evaluation": {"problems": 10}, "loss": NaN}', "cannot be read: Out of range float"),
    ],
)
def test_a_damaged_result_is_named_with_its_field(folder, damage, what):
    run = folder.run("full", 0)
    run.result.write_bytes(damage)
    write_manifest(run)
    (missing,) = read_experiment(folder).missing
    assert missing.startswith(f"full, seed 0: damaged: {run.result} {what}")


@pytest.mark.parametrize(
    ("name", "row", "what"),
    [
        (
            "events",
            '{"event": "step", "step": 1, "loss": NaN}',
            "ValueError('Out of range float values are not JSON compliant",
        ),
        (
            "heldout",
            '{"problem_id": "0", "nll": Infinity, "tokens": 3}',
            "heldout.jsonl cannot be read: nll is inf, which is not finite",
        ),
    ],
)
def test_nan_is_damage_and_not_a_number(folder, name, row, what):
    getattr(folder.run("full", 0), name).write_text(row + "\n")
    (missing,) = read_experiment(folder).missing
    assert missing.startswith("full, seed 0: damaged: ")
    assert what in missing


def test_no_description_is_a_store_error(tmp_path):
    with pytest.raises(StoreError):
        read_experiment(ExperimentFolder(tmp_path))


# --- the loss --------------------------------------------------------------------------------


def test_loss_curve_averages_blocks_by_target_tokens():
    events = [{"step": n, "loss": float(n % 2), "target_tokens": 1 + n % 2} for n in range(160)]
    curve = loss_curve(events)
    assert len(curve) == 80
    assert (curve[0].step, curve[0].loss) == (1, pytest.approx(2 / 3))
    assert [point.step for point in loss_curve(events[:3])] == [0, 1, 2]
    assert loss_curve([{"step": 1, "loss": None}]) == ()


def test_a_torn_event_costs_no_run(folder):
    events = folder.run("full", 0).events
    events.write_text(json.dumps({"event": "step", "step": 1, "loss": 2.0}) + '\n{"event": "st')
    run = read_experiment(folder).run("full", 0)
    assert run is not None
    assert [(point.step, point.loss) for point in run.losses] == [(1, 2.0)]


# --- conditions ------------------------------------------------------------------------------


def test_settings_and_circumstances(folder):
    tables = read_experiment(folder)
    assert differing_settings(tables) == {
        "method": {"baseline": "none", "full": "full", "lora": "lora"}
    }
    assert shared_settings(tables) == {"model": "tiny", "seed": "0"}
    assert circumstances(tables)["torch"] == {"2.13.0": ["baseline", "full", "lora"]}


def test_a_version_that_was_not_the_same_is_two_values(folder):
    describe(folder, seeds=2)
    finish(folder, "full", answers({0}), seed=1, environment={"torch": "2.14.0"})
    assert circumstances(read_experiment(folder))["torch"] == {
        "2.13.0": ["baseline", "full", "lora"],
        "2.14.0": ["full"],
    }
