"""Several tasks in one experiment: trained on one, tested on many, and what must not get worse."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from by_hand import run, tables
from inside import paribus
from paribus.analysis.findings import conclude, payload
from paribus.analysis.other_tasks import Kept, other_tasks
from paribus.analysis.tables import Tables
from paribus.config.load import load, typed
from paribus.config.spec import RunSpec
from paribus.design.matrix import expand
from paribus.design.questions import ask
from paribus.errors import ConfigError
from paribus.evaluation.scorers import NUMBERS
from paribus.files import read_json
from paribus.planning.foresight import foresee_task
from paribus.planning.prepare import prepare
from paribus.report.page import render
from paribus.store.experiments import read_description
from paribus.store.layout import ExperimentFolder
from paribus.store.results import DataCounts, RunResult
from stores import describe

OURS = """\
task: ours
train: train.jsonl
test: test.jsonl
doc_to_text: "Say {{q}}:"
doc_to_target: a
generation_kwargs: {until: ["\\n"], max_gen_toks: 6}
metric_list: [{metric: exact_match}]
"""
ONLY_TESTS = """\
task: asked
test: test.jsonl
doc_to_text: "Which? {{q}}"
doc_to_target: a
metric_list: [{metric: likelihood}]
"""
SHARED = {
    "data": {"train_size": 12, "test_size": 6, "max_number": 6},
    "training": {"batch_size": 4, "micro_batch": 4, "max_steps": 2, "precision": "fp32"},
    "prompt": {"max_tokens": 600},
    "evaluation": {"max_new_tokens": 6},
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Task files and their rows."""
    (tmp_path / "ours.yaml").write_text(OURS)
    (tmp_path / "asked.yaml").write_text(ONLY_TESTS)
    for name, count in (("train", 9), ("test", 5)):
        rows = [{"q": f"{name} {number}", "a": str(number)} for number in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def experiment(home: Path, **values: object) -> Path:
    path = home / "x.yaml"
    path.write_text(yaml.safe_dump({"task": "wordproblems", **SHARED, **values}))
    return path


def first_run(path: Path, *items: str) -> RunSpec:
    return next(run for run in expand(load(path, items)).runs if run.config.method != "none")


REFUSED = [
    (["guard.ours=200"], "guard must be a mapping of task names to points"),
    (["guard.gsm8k=2"], "guard.gsm8k is not the name of a task in evaluation.tasks, which are: "),
    (["guard.asked=2"], "guard.asked: a margin is in points, and the task asked has the metric "),
    (["guard.ours=2", "baseline=null"], "guard compares each arm with its untuned model, and "),
    (["evaluation.tasks=[gsm8k, gsm8k]"], "two tasks are called gsm8k"),
    (["evaluation.tasks=[wordproblems]"], "wordproblems is the experiment's own task"),
    (["evaluation.tasks=[nix]"], "task='nix' is neither a task that comes with paribus"),
    (["evaluation.tasks=gsm8k"], "evaluation.tasks must be a list of tasks, each a name, a task "),
    (["evaluation.tasks=[{tsk: gsm8k}]"], "evaluation.tasks must be a list of tasks, each a name"),
    (["evaluation.tasks=[{task: gsm8k, test_size: 0}]"], "evaluation.tasks must be a list of "),
    (["matrix={task: [wordproblems, gsm8k]}", "evaluation.tasks=[gsm8k]"], "gsm8k is what arm gsm"),
    (["matrix={evaluation.tasks: [[gsm8k], []]}"], "belongs to the whole experiment, not to an "),
]


@pytest.mark.parametrize(("items", "text"), REFUSED, ids=[text[:40] for _, text in REFUSED])
def test_what_is_wrong_is_refused_by_key(home, items, text):
    path = experiment(home, evaluation={"tasks": ["ours.yaml", "asked.yaml"]})
    with pytest.raises(ConfigError) as caught:
        expand(load(path, items))
    assert text in caught.value.message


def test_an_experiment_without_further_tasks_is_what_it_was(home):
    spec = first_run(experiment(home))
    assert "tasks" not in spec.identity()["evaluation"]
    other = first_run(experiment(home, guard={}))
    assert other.fingerprint == spec.fingerprint


def test_a_guard_is_asked_later(tmp_path):
    """Of a store alone, by what is typed; guards of other tasks stay."""
    folder = ExperimentFolder(tmp_path / "runs" / "small")
    describe(folder, guard={"more": 2.0}, evaluation={"tasks": [{"task": "other"}]})
    description = read_description(folder)
    description = description.model_copy(update={"tasks": {"other": None, "more": None}})
    asked = ask(description, typed(["guard.other=1"], "small"), ["guard.other"])
    assert asked.config["guard"] == {"more": 2.0, "other": 1.0}
    assert "Asked after the runs (command line): guard." in asked.asked[0]
    with pytest.raises(ConfigError, match="guard.nix is not the name of a task in evaluation"):
        ask(description, typed(["guard.nix=1"], "small"), ["guard.nix"])


def test_a_guard_and_a_folder_change_no_run_and_another_task_does(home):
    path = experiment(home, evaluation={"tasks": ["ours.yaml"]})
    spec = first_run(path)
    assert first_run(path, "guard.ours=2").fingerprint == spec.fingerprint
    moved = f"evaluation.tasks=[{{task: {home}/ours.yaml, path: elsewhere}}]"
    assert first_run(path, moved).fingerprint == spec.fingerprint
    asked = f"evaluation.tasks=[{home}/asked.yaml]"
    assert first_run(path, asked).fingerprint != spec.fingerprint
    (home / "ours.yaml").write_text(OURS.replace("Say", "Tell"))
    assert first_run(path).fingerprint != first_run(path, asked).fingerprint


def texts(folder: Path) -> dict[str, bytes]:
    """What each run wrote on each task, by file."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("generations/*.jsonl"))
    }


def test_every_arm_is_tested_on_every_task_and_tasks_can_come_later(home, tiny):
    """The weights are kept: what is written later is what would have been written at once."""
    path = experiment(home, model=str(tiny), matrix={"method": ["full"]})
    assert paribus("run", "x.yaml", "--runs", "later", cwd=home).returncode == 0
    ours = "evaluation.tasks=[ours.yaml]"
    assert paribus("run", "x.yaml", ours, "--runs", "later", cwd=home).returncode == 0
    both = ("evaluation.tasks=[ours.yaml, asked.yaml]", "guard.ours=5")
    for store in ("later", "whole"):
        done = paribus("run", "x.yaml", *both, "--runs", store, cwd=home)
        assert done.returncode == 0, done.stderr
    written = texts(home / "whole")
    assert texts(home / "later") == written
    assert {name.split("seed-0/")[1] for name in written} == {
        "generations/zero_shot-raw.jsonl", "generations/one_shot-raw.jsonl",
        "tasks/ours/generations/one_shot-raw.jsonl", "tasks/asked/generations/zero_shot-raw.jsonl",
    }  # fmt: skip
    result = read_json(home / "later/x/full/seed-0/result.json")
    assert result["tasks"]["ours"]["evaluation"]["problems"] == 5
    assert result["tasks"]["asked"]["heldout"]["problems"] == 5
    assert len(result["tested_further"]) == 2
    ledger = [json.loads(line) for line in (home / "later/x/ledger.jsonl").read_text().splitlines()]
    read = [row["protocol"] for row in ledger if row.get("arm") == "full"]
    assert read == [
        "zero_shot/raw", "likelihood", "ours: one_shot/raw", "ours: likelihood", "asked: likelihood"
    ]  # fmt: skip
    assert paribus("verify", "later/x", cwd=home).returncode == 0
    # Fewer tasks are no reason to test anything again.
    again = paribus("run", "x.yaml", ours, "--runs", "later", cwd=home)
    assert "testing" not in again.stdout
    assert "still to be tested" not in again.stdout
    assert path.exists()


@pytest.mark.parametrize("where", ["testing ours", "likelihood ours"])
def test_a_run_that_is_killed_on_a_further_task_ends_in_the_same_bytes(home, tiny, where):
    from interrupted import content, run_until
    from paribus.store.layout import RunFolder

    path = experiment(home, model=str(tiny), evaluation={"tasks": ["ours.yaml"]}, baseline=None)
    spec = first_run(path)
    whole = RunFolder(home / "whole/x/lora-main/seed-0")
    seen = [progress.doing for progress in run_until(spec, whole)]
    folder = RunFolder(home / "killed/x/lora-main/seed-0")
    run_until(spec, folder, seen.index(where) + 1)
    run_until(spec, folder)
    assert content(folder) == content(whole)


def test_a_changed_task_is_refused_and_a_dropped_one_is_kept(home, tiny):
    """What was tested stays: fewer problems, or fewer tasks, are no reason to test again."""
    both = {"model": str(tiny), "matrix": {"method": ["full"]}}
    experiment(home, evaluation={"tasks": ["ours.yaml", "asked.yaml"], "max_new_tokens": 6}, **both)
    assert paribus("run", "x.yaml", cwd=home).returncode == 0
    result = home / "runs/x/full/seed-0/result.json"
    written = texts(home / "runs")
    experiment(
        home,
        evaluation={"tasks": ["ours.yaml", "more.yaml"], "max_new_tokens": 6},
        **both,
    )
    (home / "more.yaml").write_text(OURS.replace("task: ours", "task: more"))
    added = paribus("run", "x.yaml", cwd=home)
    assert added.returncode == 0, added.stderr
    assert set(read_json(result)["tasks"]) == {"ours", "asked", "more"}
    assert texts(home / "runs").items() > written.items()
    for fewer in (["asked.yaml"], [{"task": "ours.yaml", "test_size": 2}]):
        experiment(home, evaluation={"tasks": fewer, "max_new_tokens": 6}, **both)
        again = paribus("run", "x.yaml", cwd=home)
        assert again.returncode == 0, again.stderr
        assert "testing" not in again.stdout
        assert "still to be tested" not in again.stdout
    assert paribus("verify", "runs/x", cwd=home).returncode == 0
    (home / "ours.yaml").write_text(OURS.replace("Say", "Tell"))
    experiment(home, evaluation={"tasks": ["ours.yaml"], "max_new_tokens": 6}, **both)
    changed = paribus("run", "x.yaml", cwd=home)
    assert changed.returncode == 2
    assert "→ ours, with another file" in changed.stderr
    experiment(home, evaluation={"tasks": ["asked.yaml"], "max_new_tokens": 6}, **both)
    assert paribus("report", "x.yaml", cwd=home).returncode == 0
    (home / "asked.yaml").write_text(ONLY_TESTS.replace("Which", "What"))
    reported = paribus("report", "x.yaml", cwd=home)
    assert "the runs were tested on another task asked: doc_to_text: " in reported.stderr


@pytest.mark.parametrize(
    ("main", "stated", "most"),
    [("ours.yaml", {}, 512), ("ours.yaml", {"max_new_tokens": 9}, 9), ("wordproblems", {}, 512)],
)
def test_a_further_task_does_not_end_where_the_arms_own_does(home, tiny, main, stated, most):
    (home / "long.yaml").write_text(OURS.replace(", max_gen_toks: 6", "").replace("ours", "long"))
    values = {"task": main, "model": str(tiny), "prompt": {"max_tokens": 600}}
    path = experiment(home, evaluation={"tasks": ["long.yaml"], **stated}, data={}, **values)
    data = {"train_size": 1, "test_size": 2} if main == "wordproblems" else {"train_size": 1}
    items = [f"data.{key}={value}" for key, value in data.items()]
    config = first_run(path, *items).config
    (further,) = prepare(config, 0).further
    assert further.max_new_tokens == most


def test_a_guarded_task_is_compared_whatever_the_contrasts_are():
    declared = on_task(ALIKE, WORSE)
    turned = replace(declared, declared=(("untuned", "full", "x"),))
    for experiment in (turned, replace(declared, declared=())):
        (results,) = other_tasks(experiment)
        assert [row.kept for row in results.rows] == [None, Kept.LOST]


def test_texts_without_an_answer_are_told_of():
    (results,) = other_tasks(on_task("c" * 10, "1" * 10))
    assert (
        "On other most texts hold no answer that the scorer recognises: untuned 10 of 10, 10 of "
        "them cut by the token limit. Read some of them."
    ) in results.warnings


def on_task(untuned: str, *full: str, margin: float = 0.05) -> Tables:
    """An experiment on ten problems of its own, and these on another task."""
    own = tables({"untuned": ["0" * 10], "full": ["1" * 10] * len(full)}, [("full", "untuned")])
    result = RunResult.model_validate({"evaluation": {"protocol": "one_shot/raw", "problems": 1}})
    counts = DataCounts(overlap_exact={"test_in_train": 1}, overlap_13gram={"test_in_train": 2})
    rows = {"untuned": [untuned], "full": list(full)}
    return replace(
        own,
        tasks={"other": NUMBERS},
        guards={"other": margin},
        runs=tuple(
            replace(
                known,
                tasks={
                    "other": replace(
                        run(known.arm, known.seed, rows[known.arm][known.seed]),
                        result=result,
                        data=counts,
                    )
                },
            )
            for known in own.runs
        ),
    )


ALIKE, WORSE = "01" * 200, "0100" * 100
GUARDED = [
    ((ALIKE, ALIKE), Kept.SHOWN, "On other, which was not trained on: full loses less than 5 "),
    ((ALIKE, WORSE), Kept.LOST, "full loses 5 points or more against its untuned model (−25 "),
    (("01" * 5, "01" * 5), Kept.NOT_SHOWN, "that full loses less than 5 points is not shown (0 "),
    # What is better may count as kept, by however much.
    ((WORSE, ALIKE), Kept.SHOWN, "full loses less than 5 points against its untuned model (+25 "),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "kept", "text"), GUARDED)
def test_what_was_kept_is_shown_by_the_margin_of_the_guard(rows, kept, text):
    (results,) = other_tasks(on_task(*rows))
    assert [row.kept for row in results.rows] == [None, kept]
    assert text in results.answer
    (finding,) = results.findings
    assert finding.kind == "guard"
    assert finding.evidence["margin"] == 0.05


def test_over_seeds_a_guard_speaks_of_the_method(tmp_path):
    (results,) = other_tasks(on_task(ALIKE, ALIKE, ALIKE, ALIKE))
    assert results.findings[0].scope is not None
    assert results.findings[0].scope.value == "methods"


def test_a_task_that_the_untuned_model_cannot_do_guards_nothing():
    (results,) = other_tasks(on_task("0" * 200, "0" * 200))
    assert results.warnings[0] == (
        "On other untuned reaches 0 %, not more than the margin of 5 points: there is nothing to "
        "lose, and nothing is guarded."
    )


def test_problems_that_were_trained_on_are_said():
    (results,) = other_tasks(on_task(ALIKE, ALIKE))
    assert "1 stand whole among the training problems and 2 share 13 words" in results.warnings[0]


def test_a_run_that_was_not_tested_on_a_task_does_not_count_there():
    experiment = on_task(ALIKE, ALIKE, ALIKE, ALIKE)
    first, *others = experiment.runs
    less = replace(experiment, runs=(first, replace(others[0], tasks={}), *others[1:]))
    (results,) = other_tasks(less)
    assert results.contrasts[0].seeds == (2, 1)
    assert results.tables.missing == ["full, seed 0: no other yet."]


def test_a_plan_says_what_a_guard_can_show(home, tiny):
    tasks = {"tasks": ["ours.yaml", "asked.yaml"], "max_new_tokens": 6}
    experiment(home, model=str(tiny), evaluation=tasks, guard={"ours": 50})
    plan = json.loads(paribus("plan", "x.yaml", "--json", cwd=home).stdout)
    ours, asked = plan["tasks"]
    assert ours["shown"] == foresee_task("", "", n=5, seeds=1, comparisons=1, margin=0.5).shown
    assert 0 < ours["shown"] < 1
    assert asked == {
        "task": "asked", "protocol": "zero_shot/raw", "problems": 5, "margin": None, "shown": None
    }  # fmt: skip
    said = paribus("plan", "x.yaml", cwd=home).stdout
    assert "Also tested on ours: 5 problems, one_shot/raw. An arm that is there as good as" in said


def test_the_page_and_the_findings_have_a_part_for_each_task():
    analysis = conclude(on_task(ALIKE, WORSE))
    page = render(analysis)
    assert "<h2>On other tasks</h2>" in page
    assert "Guarded: an arm may lose less than 5 points against its untuned model." in page
    (task,) = payload(analysis)["tasks"]
    assert task["name"] == "other"
    assert task["margin"] == 0.05
    assert [arm["kept"] for arm in task["arms"]] == [None, "lost"]
    assert task["arms"][1]["against"]["difference"] == -0.25
    assert "On other, which was not trained on" in payload(analysis)["answer"]
