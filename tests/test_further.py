"""Finished weights tested further: the same texts as if they had been tested so from the start."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paribus.config.schema import ArmConfig, DataConfig, EvaluationConfig, TrainingConfig
from paribus.config.spec import RunSpec
from paribus.errors import DamagedError, StoreError
from paribus.files import read_json
from paribus.planning.stored import goes_further, is_complete
from paribus.running.progress import Progress
from paribus.running.run import run_one
from paribus.store import runs
from paribus.store.clean import places_in
from paribus.store.layout import ExperimentFolder
from paribus.store.ledger import read_ledger
from paribus.store.manifest import changed_files, check
from paribus.store.results import LIKELIHOOD
from paribus.store.runs import RunState, put_in_place, read_events, read_generations, state

MAIN = "zero_shot/raw"
FURTHER: dict[str, dict[str, Any]] = {
    "more problems": {"test_size": 9},
    "all at once": {
        "test_size": 9,
        "also": ("one_shot/raw", "few_shot/raw"),
        "max_new_tokens": 12,
    },
    "another main protocol": {"protocol": "one_shot", "also": ("zero_shot/raw",)},
    "longer": {"max_new_tokens": 40},
}


def spec_of(model: Path, method: str = "lora", **tested: Any) -> RunSpec:
    size = tested.pop("test_size", 5)
    config = ArmConfig(
        model=str(model),
        method=method,
        data=DataConfig(train_size=8, test_size=size, max_steps=1),
        training=TrainingConfig(
            precision="fp32", batch_size=4, micro_batch=4, learning_rate=1e-2, epochs=2.0
        ),
        evaluation=EvaluationConfig(**{"max_new_tokens": 6, "batch_size": 4, **tested}),
    )
    return RunSpec(experiment="x", arm="arm", replicate=0, seed=0, config=config)


def done(spec: RunSpec, root: Path, on_progress: Any = lambda progress: None) -> ExperimentFolder:
    folder = ExperimentFolder(root)
    run_one(spec, folder.of(spec), on_progress)
    return folder


@pytest.mark.parametrize(
    ("method", "kind"),
    [("lora", "all at once"), ("full", "more problems"), ("none", "another main protocol"),
     ("lora", "longer")],
)  # fmt: skip
def test_the_texts_are_those_of_a_run_that_was_tested_so_from_the_start(
    tmp_path: Path, tiny: Path, method: str, kind: str
) -> None:
    first, then = spec_of(tiny, method), spec_of(tiny, method, **FURTHER[kind])
    folder = done(first, tmp_path / "x")
    run = folder.of(then)
    steps = read_events(run, "step")
    before = {each.problem_id: each for each in read_generations(run.generations(MAIN))}
    assert not is_complete(then, folder)
    done(then, tmp_path / "x")
    fresh = done(then, tmp_path / "y").of(then)
    assert is_complete(then, folder)
    assert changed_files(run) == []
    assert read_events(run, "step") == steps
    for path in sorted(fresh.path.glob("generations/*")):
        assert (run.path / "generations" / path.name).read_text() == path.read_text()
    assert run.heldout.read_text() == fresh.heldout.read_text()
    assert read_json(run.spec) == read_json(fresh.spec)
    result, other = read_json(run.result), read_json(fresh.result)
    assert result["data"] == other["data"]
    asked = [result["evaluation"], *result["also"].values()]
    assert [each["problems"] for each in asked] == [then.config.data.test_size] * len(asked)
    (step,) = result["tested_further"]
    assert step["fingerprint"] == first.fingerprint
    assert step["kept"][MAIN] == sum(
        kind not in ("longer", "all at once") or each.stop != "length" for each in before.values()
    )
    assert [path.name for path in run.path.iterdir() if path.name == "pieces"] == []


def test_the_ledger_says_what_was_read_again_and_what_for_the_first_time(
    tmp_path: Path, tiny: Path
) -> None:
    folder = done(spec_of(tiny, "none"), tmp_path)
    then = spec_of(tiny, "none", test_size=9, also=("one_shot/raw",))
    done(then, tmp_path)
    assert [(read.protocol, read.problems) for read in read_ledger(folder.ledger)] == [
        (MAIN, 5), (LIKELIHOOD, 5), (MAIN, 4), ("one_shot/raw", 9), (LIKELIHOOD, 9),
    ]  # fmt: skip
    same = spec_of(tiny, "none", test_size=9, also=("one_shot/raw", "few_shot/raw"))
    done(same, tmp_path)
    assert [(read.protocol, read.problems) for read in read_ledger(folder.ledger)][5:] == [
        ("few_shot/raw", 9)
    ]
    assert [each["kept"] for each in read_json(folder.of(same).result)["tested_further"]] == [
        {MAIN: 5}, {MAIN: 9, "one_shot/raw": 9},
    ]  # fmt: skip


def test_until_the_new_run_is_sealed_the_old_one_is_complete(tmp_path: Path, tiny: Path) -> None:
    first = spec_of(tiny, "none")
    then = spec_of(tiny, "none", test_size=9, also=("one_shot/raw", "few_shot/raw"))
    folder = done(first, tmp_path)
    run = folder.of(first)
    sealed = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}

    def stop(progress: Progress) -> None:
        if progress.stage == "likelihood":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        done(then, tmp_path, stop)
    assert is_complete(first, folder)
    assert changed_files(run) == []
    assert {path: path.read_bytes() for path in sealed} == sealed
    (place,) = places_in(run.path)
    assert [left.what for left in place.look()] == ["further tests"]
    lines = read_ledger(folder.ledger)
    done(then, tmp_path)
    assert is_complete(then, folder)
    again = [read for read in read_ledger(folder.ledger) if read not in lines]
    assert again == []  # the likelihoods were entered when they were stopped


@pytest.mark.parametrize("moved", range(6))
def test_stopped_while_it_is_put_in_place_it_is_put_there_the_next_time(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    first, then = spec_of(tiny, "none"), spec_of(tiny, "none", also=("one_shot/raw",))
    folder = done(first, tmp_path)
    run, move, seen = folder.of(first), Path.replace, []

    def replace_some(source: Path, target: Path) -> Path:
        staged = run.further.path
        if source.is_relative_to(staged) and not target.is_relative_to(staged):
            seen.append(source)
            if len(seen) > moved:
                raise KeyboardInterrupt
        return move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace_some)
        with pytest.raises(KeyboardInterrupt):
            done(then, tmp_path)
    with pytest.raises(DamagedError, match="while its further tests were put in place"):
        check(run)
    assert [place.look() for place in places_in(run.path)] == [[]]  # nothing to clean
    put_in_place(run)
    assert is_complete(then, folder)
    assert changed_files(run) == []


def stored_identity(**tested: Any) -> dict[str, Any]:
    return spec_of(Path("/m"), **tested).identity()


@pytest.mark.parametrize(
    ("tested", "further"),
    [
        ({"test_size": 6}, True),
        ({"test_size": "all"}, True),
        ({"test_size": 4}, False),
        ({"max_new_tokens": 7}, True),
        ({"max_new_tokens": 5}, False),
        ({"max_new_tokens": 7, "test_size": 4}, False),
        ({"also": ("one_shot/raw",)}, True),
        ({"protocol": "one_shot"}, True),
        ({"batch_size": 5}, False),
        ({}, False),
    ],
)
def test_only_more_tests_go_further(tested: dict[str, Any], further: bool) -> None:
    assert goes_further(spec_of(Path("/m"), **tested), stored_identity()) is further


def test_what_was_trained_otherwise_goes_nowhere(tmp_path: Path) -> None:
    longer = spec_of(Path("/m"), test_size=9)
    config = replace(longer.config, training=replace(longer.config.training, epochs=3.0))
    assert not goes_further(replace(longer, config=config), stored_identity())
    assert not goes_further(replace(longer, trial="lr-1e-05"), stored_identity())
    assert not goes_further(longer, stored_identity(test_size="all"))


def test_without_its_weights_a_run_cannot_be_tested_further(tmp_path: Path, tiny: Path) -> None:
    first, then = spec_of(tiny), spec_of(tiny, test_size=9)
    unkept = replace(first.config.training, save_weights=False)
    folder = done(replace(first, config=replace(first.config, training=unkept)), tmp_path)
    assert state(folder.of(first)) is RunState.COMPLETE
    with pytest.raises(StoreError, match="cannot be tested further: its weights") as caught:
        is_complete(then, folder)
    assert "data.test_size: 5 → 9" in caught.value.message


def test_spoiled_weights_are_not_tested(tmp_path: Path, tiny: Path) -> None:
    folder = done(spec_of(tiny), tmp_path)
    run = folder.run("arm", 0)
    weights = run.weights / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(DamagedError, match="has other content"):
        done(spec_of(tiny, test_size=9), tmp_path)
    assert runs.state(run) is RunState.COMPLETE
