"""A baseline that the store holds is copied: only if all that it read is the same, and is whole."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from paribus.config.schema import (
    ArmConfig,
    DataConfig,
    EvaluationConfig,
    PromptConfig,
    TrainingConfig,
)
from paribus.config.spec import RunSpec
from paribus.config.task_file import read_task
from paribus.errors import StoreError
from paribus.files import read_json, sha256_of_file
from paribus.planning.prepare import prepare
from paribus.running.job import Job
from paribus.running.reuse import reuse
from paribus.running.run import run_one
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.ledger import read_ledger
from paribus.store.manifest import check
from paribus.store.results import RunResult
from paribus.store.runs import RunState, finish, read_events, state
from paribus.testing.tiny import write_tiny_model

ALONE = {"one_shot/raw": (), "zero_shot/raw": ()}
RICH = {"one_shot/raw": ("zero_shot/raw", "zero_shot/raw+calculator")}


def baseline(model: Path, protocol: str, also: tuple[str, ...], arm: str = "baseline") -> RunSpec:
    shots, _, format = protocol.partition("/")
    config = ArmConfig(
        model=str(model),
        method="none",
        data=DataConfig(train_size=8, test_size=5, max_steps=1),
        prompt=PromptConfig(format=format),
        training=TrainingConfig(precision="fp32"),
        evaluation=EvaluationConfig(protocol=shots, also=also, max_new_tokens=6, batch_size=4),
    )
    return RunSpec(experiment="x", arm=arm, replicate=0, seed=0, config=config)


def changed(spec: RunSpec, section: str, **values: Any) -> RunSpec:
    part = replace(getattr(spec.config, section), **values)
    return replace(spec, config=replace(spec.config, **{section: part}))


def fill(root: Path, tiny: Path, protocols: dict[str, tuple[str, ...]]) -> Path:
    """Run baselines under `root` as `paribus baseline` does."""
    for number, (protocol, also) in enumerate(protocols.items()):
        spec = baseline(tiny, protocol, also, arm=f"tiny-{number}")
        run_one(spec, ExperimentFolder(root / "baselines").of(spec), lambda progress: None)
    return root


@pytest.fixture(scope="module")
def filled(tmp_path_factory, tiny) -> dict[str, Path]:
    """Two stores: one protocol a run, and all in one run."""
    return {
        "alone": fill(tmp_path_factory.mktemp("alone"), tiny, ALONE),
        "rich": fill(tmp_path_factory.mktemp("rich"), tiny, RICH),
    }


@pytest.fixture
def root(filled, tmp_path) -> Path:
    """The store of single protocols, to be changed at will."""
    return Path(shutil.copytree(filled["alone"], tmp_path / "runs"))


def ask(spec: RunSpec, root: Path) -> tuple[bool, RunFolder]:
    folder = ExperimentFolder(root / "experiment").of(spec)
    job = Job(
        spec=spec,
        inputs=prepare(spec.config, spec.seed),
        folder=folder,
        device=torch.device("cpu"),
        compute=torch.float32,
        on_progress=print,
    )
    return reuse(job), folder


def test_a_baseline_is_put_together_from_single_protocols(root, tiny):
    spec = baseline(tiny, "one_shot/raw", ("zero_shot/raw",))
    done, folder = ask(spec, root)
    assert done
    assert state(folder) is RunState.COMPLETE
    check(folder)
    one, zero = (root / "baselines" / f"tiny-{number}" / "seed-0" for number in (0, 1))
    for path in ("generations/one_shot-raw.jsonl", "heldout.jsonl"):
        assert (folder.path / path).read_bytes() == (one / path).read_bytes()
    copied = folder.path / "generations" / "zero_shot-raw.jsonl"
    assert copied.read_bytes() == (zero / "generations" / "zero_shot-raw.jsonl").read_bytes()
    sources = ["baselines/tiny-0/seed-0", "baselines/tiny-1/seed-0"]
    result, first, second = (read_json(run / "result.json") for run in (folder.path, one, zero))
    assert result["reused_from"] == sources
    assert result["evaluation"] == first["evaluation"]
    assert result["also"] == {"zero_shot/raw": second["evaluation"]}
    assert result["heldout"] == first["heldout"] != second["heldout"]
    assert result["environment"] == first["environment"]
    assert [event["from"] for event in read_events(folder, "reused")] == [sources]
    stored = read_json(folder.spec)
    assert (stored["fingerprint"], stored["arm"]) == (spec.fingerprint, "baseline")


def test_the_readings_keep_their_time_and_are_entered_once(root, tiny):
    spec = baseline(tiny, "one_shot/raw", ("zero_shot/raw",))
    _, folder = ask(spec, root)
    original = read_ledger(root / "baselines" / "ledger.jsonl")
    wanted = [("tiny-0", "one_shot/raw"), ("tiny-1", "zero_shot/raw"), ("tiny-0", "likelihood")]
    moved = [
        replace(read, arm="baseline")
        for pair in wanted
        for read in original
        if (read.arm, read.protocol) == pair
    ]
    ledger = root / "experiment" / "ledger.jsonl"
    assert read_ledger(ledger) == moved
    assert len(moved) == 3
    shutil.rmtree(folder.path)
    assert ask(spec, root)[0]
    assert read_ledger(ledger) == moved


def test_a_run_with_more_protocols_than_needed_serves(filled, tiny, tmp_path):
    root = Path(shutil.copytree(filled["rich"], tmp_path / "runs"))
    for also in ((), ("zero_shot/raw+calculator",)):
        spec = baseline(tiny, "one_shot/raw", also, arm=f"baseline-{len(also)}")
        done, folder = ask(spec, root)
        assert done
        names = {path.stem for path in (folder.path / "generations").iterdir()}
        assert names == {"one_shot-raw", *(["zero_shot-raw-calculator"] if also else [])}
        assert list(read_json(folder.result)["also"]) == list(also)
    # Its likelihoods are those after one-shot prompts.
    assert not ask(baseline(tiny, "zero_shot/raw", ()), root)[0]


def test_what_was_reused_can_be_reused(root, tiny):
    done, folder = ask(baseline(tiny, "one_shot/raw", ("zero_shot/raw",)), root)
    shutil.rmtree(root / "baselines")
    again, other = ask(baseline(tiny, "one_shot/raw", (), arm="again"), root)
    assert (done, again) == (True, True)
    assert read_json(other.result)["reused_from"] == ["experiment/baseline/seed-0"]
    assert read_json(other.manifest)["files"].keys() < read_json(folder.manifest)["files"].keys()


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("evaluation", {"max_new_tokens": 7}),
        ("evaluation", {"batch_size": 5}),
        ("evaluation", {"also": ("few_shot/raw",)}),
        ("data", {"test_size": 4}),
        ("data", {"max_number": 9}),
        ("data", {"variant": "socratic"}),
        ("prompt", {"format": "chat"}),
        ("training", {"precision": "bf16"}),
    ],
    ids=str,
)
def test_whatever_it_reads_must_be_the_same(root, tiny, section, values):
    done, folder = ask(changed(baseline(tiny, "one_shot/raw", ()), section, **values), root)
    assert not done
    assert not folder.path.exists()
    assert not (root / "experiment").exists()


ROWS = [{"text": f"which {n}?", "golds": ["a", "b"]} for n in range(12)]
TASK = "train: rows.jsonl\ndoc_to_text: text\ndoc_to_target: golds\n"


def own(tiny: Path, folder: Path, rows: list[dict[str, Any]]) -> RunSpec:
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "own.yaml").write_text(TASK)
    spec = baseline(tiny, "zero_shot/raw", ())
    data = replace(spec.config.data, train_size=1, test_size=4)
    return replace(
        spec, config=replace(spec.config, task=read_task(str(folder / "own.yaml")), data=data)
    )


@pytest.mark.parametrize("changes", [{"golds": ["a", "c"]}, {}], ids=["golds", "same"])
def test_further_gold_answers_must_be_the_same(tiny, tmp_path, changes):
    root = tmp_path / "runs"
    spec = own(tiny, tmp_path, ROWS)
    run_one(spec, ExperimentFolder(root / "other").of(spec), lambda progress: None)
    spec = own(tiny, tmp_path, [{**row, **changes} for row in ROWS])
    assert ask(spec, root)[0] is not bool(changes)


def test_another_seed_draws_other_problems_and_other_weights_are_another_model(
    root, tiny, tmp_path
):
    spec = baseline(tiny, "zero_shot/raw", ())
    assert not ask(replace(spec, seed=1), root)[0]
    other = write_tiny_model(tmp_path / tiny.name, seed=1)
    assert not ask(baseline(other, "zero_shot/raw", ()), root)[0]
    assert ask(spec, root)[0]


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("data", {"train_size": 6}),
        ("data", {"validation_size": 3}),
        ("training", {"learning_rate": 0.5, "micro_batch": "auto"}),
        ("lora", {"r": 2}),
        ("prompt", {"max_tokens": 1000}),
    ],
    ids=str,
)
def test_what_it_does_not_read_may_differ(root, tiny, section, values):
    """Training problems among it: the solved example is the same for any number of them."""
    spec = changed(baseline(tiny, "one_shot/raw", ("zero_shot/raw",)), section, **values)
    done, folder = ask(spec, root)
    assert done
    own = read_json(folder.result)["data"]
    data = spec.config.data
    assert own["train_problems"] == data.train_size
    assert own["validation_problems"] == data.validation_size


def test_a_folder_that_moved_is_the_same_model(root, tiny, tmp_path):
    moved = Path(shutil.copytree(tiny, tmp_path / "elsewhere"))
    assert ask(baseline(moved, "one_shot/raw", ()), root)[0]


def test_an_arm_that_trains_is_never_reused(root, tiny):
    spec = baseline(tiny, "one_shot/raw", ())
    assert not ask(replace(spec, config=replace(spec.config, method="full")), root)[0]


def spoil(run: RunFolder, how: str) -> None:
    texts = run.generations("one_shot/raw")
    match how:
        case "a text changed":
            texts.write_text(texts.read_text().replace('"num_tokens": 6', '"num_tokens": 5'))
        case "a text lost":
            texts.unlink()
        case "unfinished":
            run.manifest.unlink()
        case "spec cut":
            run.spec.write_text(run.spec.read_text()[:40])
        case "manifest of another shape":
            run.manifest.write_text("[]")
        case "readings not on record":
            run.experiment.ledger.unlink()
        case "other software":
            result = read_json(run.result)
            result["environment"]["torch"] = "1.0"
            finish(run, RunResult.model_validate(result))  # a whole run, with hashes that hold
        case "texts torn, hashes right":
            texts.write_text('{"problem_id"')
            manifest = read_json(run.manifest)
            name = texts.relative_to(run.path).as_posix()
            manifest["files"][name]["sha256"] = sha256_of_file(texts)
            run.manifest.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "how",
    ["a text changed", "a text lost", "unfinished", "spec cut", "manifest of another shape",
     "readings not on record", "other software", "texts torn, hashes right"],
)  # fmt: skip
def test_what_is_not_whole_is_passed_over(root, tiny, how):
    spec = baseline(tiny, "one_shot/raw", ())
    source = ExperimentFolder(root / "baselines").run("tiny-0", 0)
    before = source.generations("one_shot/raw").read_bytes()
    spoil(source, how)
    if how == "a text changed":
        assert source.generations("one_shot/raw").read_bytes() != before
    assert not ask(spec, root)[0]
    assert not (root / "experiment").exists()


def test_a_complete_run_is_not_overwritten_and_an_unfinished_one_is(root, tiny):
    spec = baseline(tiny, "one_shot/raw", ())
    folder = ExperimentFolder(root / "experiment").of(spec)
    folder.path.mkdir(parents=True)
    folder.spec.write_text("{}")
    folder.failure.write_text("")
    assert ask(spec, root)[0]
    assert not folder.failure.exists()
    with pytest.raises(StoreError, match="holds a complete run"):
        ask(spec, root)


def test_a_full_disk_is_told(root, tiny, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StoreError, match="No space left"):
        ask(baseline(tiny, "one_shot/raw", ()), root)
