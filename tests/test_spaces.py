"""The space that `tune` searches: who is tuned over what, and what is refused before any trial."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from paribus.config.load import load
from paribus.config.nested import flatten
from paribus.design.matrix import Design, expand
from paribus.errors import ConfigError
from paribus.planning.tuning import edges, known_values, with_begun, with_chosen
from paribus.store.experiments import ArmTuning, Searched, Tried, read_tuning, write_tuning
from paribus.store.layout import ExperimentFolder
from stores import complete_run

RATES = {"low": 1e-6, "high": 1e-3, "log": True}
SPACE: dict[str, Any] = {
    "training.learning_rate": RATES,
    "lora.r": [4, 8, 16],
    "lora": {"training.warmup": {"low": 0, "high": 0.1}},
}
BASE: dict[str, Any] = {
    "data": {"train_size": 9, "test_size": 9, "validation_size": 5},
    "matrix": {"method": ["full", "lora"]},
    "tune": {"space": SPACE},
}
BOTH = {"training.learning_rate": 2e-4, "lora.r": 8, "training.warmup": 0.05}


def design(folder: Path, *dotlist: str, **changes: Any) -> Design:
    (folder / "x.yaml").write_text(yaml.safe_dump({**BASE, **changes}, sort_keys=False))
    return expand(load(folder / "x.yaml", dotlist))


def test_each_arm_is_tuned_over_what_it_reads(tmp_path):
    found = design(tmp_path)
    assert found.open == {"full", "lora"}
    assert found.trials == []
    assert found.searches["full"].keys == {"training.learning_rate": RATES}
    assert found.searches["lora"].keys == {
        "training.learning_rate": RATES,
        "lora.r": [4, 8, 16],
        "training.warmup": {"low": 0.0, "high": 0.1, "log": False},
    }
    assert [spec.title for spec in found.trials_to_come()] == [
        f"{arm} trial {number}" for arm in ("full", "lora") for number in range(1, 13)
    ]
    trained = {run.arm: found.identity(run) for run in found.runs if run.arm in found.open}
    assert trained["full"]["training"]["learning_rate"] == "tuned"
    assert trained["full"]["training"]["warmup"] == 0.03
    assert trained["lora"]["lora"]["r"] == "tuned"


def test_a_trial_is_the_arm_with_other_values(tmp_path):
    search = design(tmp_path, training={"min_learning_rate": 2e-5}).searches["lora"]
    trial = search.trial(3, BOTH)
    assert (trial.title, trial.number) == ("lora trial 3", 3)
    assert ExperimentFolder(tmp_path).of(trial).path == tmp_path / "tuning" / "lora" / "trial-3"
    flat = flatten(trial.identity())
    assert {key: flat[key] for key in BOTH} == BOTH
    assert flat["training.min_learning_rate"] == 2e-5  # its ratio to the rate is kept
    assert not trial.config.training.save_weights
    with pytest.raises(ConfigError, match="arm lora: training.warmup must be a number ≥ 0"):
        search.trial(3, {"training.warmup": -1})


def test_a_key_that_defines_no_run_is_left_out(tmp_path):
    """Of a run that ends by its tokens, epochs are not part of what it is."""
    space = {"training.epochs": [1, 2], "training.beta2": [None, 0.95]}
    tokens = {"target_tokens": 100}
    tune = {"space": space, "trials": 2}
    assert [*design(tmp_path, tune=tune).searches["full"].keys] == [*space]
    found = design(tmp_path, tune=tune, training=tokens)
    assert [*found.searches["full"].keys] == ["training.beta2"]


def test_a_fixed_arm_differs_by_what_is_tuned(tmp_path):
    arms = {
        "a": {"lora.alpha": 8},
        "b": {"lora.alpha": 16},
        "stated": {"lora.alpha": 8, "lora.r": 4},
    }
    tune = {"space": {"lora.r": [4, 8]}, "trials": 2, "fixed": ["stated"]}
    found = design(tmp_path, matrix={}, arms=arms, tune=tune, baseline=None)
    assert found.open == {"a", "b"}
    assert [(one.a, one.b, one.factor) for one in found.contrasts] == [
        ("a", "b", "lora.alpha"),
        ("a", "stated", "lora.r"),
    ]


@pytest.mark.parametrize(
    ("values", "at"),
    [
        ({"training.learning_rate": 1e-6}, {"training.learning_rate": "low"}),
        ({"training.learning_rate": 1.4e-6}, {"training.learning_rate": "low"}),
        ({"training.learning_rate": 1.5e-6}, {}),
        ({"training.learning_rate": 9e-4}, {"training.learning_rate": "high"}),
        ({"lora.r": 4}, {"lora.r": "low"}),
        ({"lora.r": 8}, {}),
        ({"lora.r": 16}, {"lora.r": "high"}),
        ({"training.warmup": 0.0}, {}),  # no share is lower
        ({"training.warmup": 0.1}, {"training.warmup": "high"}),
        ({"training.schedule": "linear"}, {}),
    ],
)
def test_edges(values, at):
    warmup = {"low": 0.0, "high": 0.1, "log": False}
    keys = {**SPACE, "training.warmup": warmup, "training.schedule": ["cosine", "linear"]}
    assert edges(keys, values) == at


def space(**keys: Any) -> dict[str, Any]:
    return {"tune": {"space": {key.replace("__", "."): value for key, value in keys.items()}}}


@pytest.mark.parametrize(
    ("changes", "dotlist", "message"),
    [
        (space(training__lr=[1, 2]), [], ": tune.space.training.lr: training.lr is not a"),
        (space(lora__lora__s=[1, 2]), [], "tune.space.lora.lora.s: lora.s is not a known key"),
        (space(data__train_size=[5, 9]), [], "data.train_size cannot be tuned; state it, or make"),
        (space(training__micro_batch=[1, 2]), [], "training.micro_batch cannot be tuned"),
        (space(training__epochs=2), [], "must be a list of two or more values, or a range {low"),
        (space(training__epochs=[2, 2]), [], "must be a list of two or more values"),
        (space(training__epochs={"low": 1}), [], "got the keys low"),
        (space(training__epochs={"low": 1, "high": 2, "step": 1}), [], "got the keys low, high, s"),
        (space(training__epochs={"low": 2, "high": 1}), [], "low=2 must be below high=1"),
        (space(training__warmup={"low": 0, "high": 0.1, "log": True}), [], "log: true needs low a"),
        (
            space(training__warmup={"low": 0, "high": 0.1, "log": 3}),
            [],
            "log must be true or false",
        ),
        (space(training__warmup={"low": 0, "high": 1.0}), [], "number ≥ 0 and < 1, got 1.0"),
        (space(training__schedule={"low": "a", "high": "b"}), [], "'a' is not allowed"),
        (
            space(training__schedule={"low": "cosine", "high": "linear"}),
            [],
            "training.schedule takes no numbers in between; list its values",
        ),
        (space(lora__r={"low": 4, "high": 8.5}), [], "lora.r must be a whole number"),
        (
            space(lora__r=[4, 8]),
            [],
            "arm full reads none of the keys of tune.space; add one, such as training.learning_rat",
        ),
        (
            {**space(lora__r=[4, 8]), "matrix": {}},
            [],
            "arm lora-main: tune.space has 2 combinations and tune.trials is 12; set tune.trials=2",
        ),
        ({}, ["training.learning_rate=1e-4"], "command line: training.learning_rate is what tune"),
        ({}, ["data.validation_size=0"], "set data.validation_size=200"),
        (
            {"matrix": {"training.learning_rate": [1e-4, 2e-4]}},
            [],
            "training.learning_rate is a factor of the matrix and tune would replace it",
        ),
        ({}, ["tune.trials=5", "tune.flops=1e15"], "tune.trials=5 and tune.flops=1e+15 both say"),
        (
            {},
            ["tune.learning_rates.full=[1e-5,2e-5]"],
            "tune.learning_rates.full and tune.space bo",
        ),
        ({"tune": {"trials": 5}}, [], "tune.trials is read with tune.space only; state tune.space"),
        ({}, ["tune.fixed=[lora-mian]"], "'lora-mian' is not an arm that trains; nearest: lora"),
        (
            {},
            ["tune.trials=1"],
            "tune.trials must be a whole number ≥ 2 and ≤ 1,000 or null, got 1",
        ),
        (
            {"tune": {"space": 3}},
            [],
            "tune.space must be a mapping of keys to lists of values or t",
        ),
        (
            space(training__batch_size=[8, 16]),
            ["training.micro_batch=auto"],
            "training.micro_batch=auto is chosen for one training.batch_size",
        ),
        (
            {**space(training__batch_size=[8, 12]), "training": {"micro_batch": 8}},
            [],
            "arm full: training.batch_size=12 must be a multiple of training.micro_batch=8",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused(tmp_path, changes, dotlist, message):
    with pytest.raises(ConfigError) as caught:
        design(tmp_path, *dotlist, **changes)
    assert message in caught.value.message
    assert caught.value.remedy


def begun(found: Design, folder: ExperimentFolder) -> Design:
    """Complete two trials of each arm and record them, the second as the better."""
    rows = {}
    for arm, search in found.searches.items():
        trials = [
            search.trial(number, {key: BOTH[key] for key in search.keys}) for number in (1, 2)
        ]
        for trial in trials:
            record = {"fingerprint": trial.fingerprint, "identity": trial.identity()}
            complete_run(folder.of(trial), spec=record)
        rows[arm] = ArmTuning(
            chosen=None,
            edge=None,
            trials=[
                Tried(
                    learning_rate=None,
                    state="complete",
                    fingerprint=trial.fingerprint,
                    values={key: BOTH[key] for key in search.keys},
                )
                for trial in trials
            ],
            search=Searched(asked=search.asked(), best=1, edges={}),
        )
    write_tuning(folder, rows)
    return with_begun(found, folder)


@pytest.mark.parametrize(
    ("typed", "known"),
    [
        ([], True),
        (["data.test_size=12"], True),
        (["tune.trials=3"], False),
        (["tune.sampler=random"], False),
        (["tune.space.lora.r=[4,8]"], False),
        (["training.epochs=2"], False),
    ],
)
def test_values_stay_known_while_the_same_search_is_asked_for(tmp_path, typed, known):
    folder = ExperimentFolder(tmp_path / "runs")
    begun(design(tmp_path, "tune.trials=2"), folder)
    now = with_begun(design(tmp_path, "tune.trials=2", *typed), folder)
    assert [trial.title for trial in now.trials] == [
        f"{arm} trial {number}" for arm in ("full", "lora") for number in (1, 2)
    ]
    found = known_values(now, folder)
    assert found.get("lora") == (BOTH if known else None)
    if known:
        settled = with_chosen(now, found)
        arm = next(arm for arm in settled.arms if arm.name == "lora")
        assert (arm.config.lora.r, str(arm.origins["lora.r"])) == (8, "tune")
        assert settled.open == frozenset()
        assert read_tuning(folder)["lora"].best == read_tuning(folder)["lora"].trials[1]
