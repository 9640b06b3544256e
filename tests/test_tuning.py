"""Learning rates: the same number of trials for every arm, and a choice that is a pure function."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from paribus.config.load import load
from paribus.config.spec import RunSpec
from paribus.design.matrix import Design, expand
from paribus.design.trials import with_values
from paribus.errors import ConfigError, DamagedError, StoreError
from paribus.planning.stored import pending
from paribus.planning.tuning import best_trial, edge, known_values, with_chosen
from paribus.store.experiments import ArmTuning, Tried, read_tuning, write_tuning
from paribus.store.layout import ExperimentFolder
from paribus.store.manifest import write_sealed
from stores import complete_run

BASE: dict[str, Any] = {
    "data": {"train_size": 9, "test_size": 9, "validation_size": 5},
    "matrix": {"method": ["full", "lora"], "data.variant": ["main", "socratic"]},
    "tune": {"learning_rates": {"full": [1e-5, 2e-5], "lora": [1e-4, 2e-4]}},
}
FAILED = None
RATE = {"training.learning_rate": 2e-5}


def tried(rate: float, nll: float | None, solved: int = 0) -> Tried:
    state = "failed" if nll is FAILED else "complete"
    return Tried(
        learning_rate=rate, state=state, fingerprint="f", nll_per_token=nll, solved=solved, n=9
    )


@pytest.mark.parametrize(
    ("trials", "chosen", "at_edge"),
    [
        ([(1e-5, 1.2, 0), (2e-5, 1.0, 0), (5e-5, 1.1, 9)], 2e-5, None),
        ([(1e-5, 1.0, 0), (2e-5, 1.2, 0), (5e-5, 1.1, 9)], 1e-5, "low"),
        ([(1e-5, 1.2, 0), (2e-5, 1.1, 0), (5e-5, 1.0, 0)], 5e-5, "high"),
        ([(1e-5, 1.0, 3), (2e-5, 1.0, 4), (5e-5, 1.0, 2)], 2e-5, None),
        ([(1e-5, 1.0, 4), (2e-5, 1.0, 4), (5e-5, 1.0, 4)], 1e-5, "low"),
        ([(1e-5, 1.0, 3), (2e-5, 1.0 + 1e-13, 4), (5e-5, 2.0, 9)], 2e-5, None),
        ([(1e-5, 1.0, 3), (2e-5, 1.0 + 1e-11, 4), (5e-5, 2.0, 9)], 1e-5, "low"),
        ([(1e-5, FAILED, 0), (2e-5, 9.0, 0), (5e-5, FAILED, 0)], 2e-5, None),
        ([(1e-5, FAILED, 0), (2e-5, FAILED, 0)], None, None),
        ([(1e-5, 0.0, 0), (2e-5, FAILED, 9)], 1e-5, "low"),
    ],
)
def test_choose(trials, chosen, at_edge):
    made = [tried(*each) for each in trials]
    best = best_trial(made)
    assert (best.learning_rate if best else None) == chosen
    rates = [rate for rate, *_ in trials]
    assert (edge(best.learning_rate, rates) if best else None) == at_edge


@given(st.permutations([tried(1, 2.0, 1), tried(2, 1.0, 5), tried(3, 1.0, 5), tried(4, FAILED)]))
def test_the_order_of_trials_does_not_matter(trials):
    assert best_trial(trials).learning_rate == 2


def values(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**BASE, **changes}.items() if value is not ...}


def design(folder: Path, *dotlist: str, **changes: Any) -> Design:
    (folder / "x.yaml").write_text(yaml.safe_dump(values(**changes), sort_keys=False))
    return expand(load(folder / "x.yaml", dotlist))


def contrasts(found: Design) -> list[tuple[str, str, str]]:
    return [(one.a, one.b, one.factor) for one in found.contrasts if one.factor != "tuning"]


def test_each_arm_tries_the_rates_of_its_method(tmp_path):
    found = design(tmp_path)
    assert [trial.title for trial in found.trials] == [
        f"{method}-{variant} lr {rate}"
        for method, rates in (("full", ("1e-05", "2e-05")), ("lora", ("0.0001", "0.0002")))
        for variant in ("main", "socratic")
        for rate in rates
    ]
    assert found.open == {"full-main", "full-socratic", "lora-main", "lora-socratic"}
    assert len({trial.fingerprint for trial in found.trials}) == 8
    for trial in found.trials:
        assert not trial.config.training.save_weights
        assert trial.identity()["trial"]
    folders = [ExperimentFolder(tmp_path / "x").of(trial).path for trial in found.trials]
    assert folders[1] == tmp_path / "x" / "tuning" / "full-main" / "lr-2e-05"


def test_defaults_give_both_methods_five_trials(tmp_path):
    found = design(tmp_path, tune={})
    rates = [trial.config.training.learning_rate for trial in found.trials]
    assert rates[:5] == [5e-6, 1e-5, 2e-5, 5e-5, 1e-4]
    assert rates[-5:] == [5e-5, 1e-4, 2e-4, 5e-4, 1e-3]
    assert design(tmp_path, tune=None).trials == []


@pytest.mark.parametrize(
    ("stated", "lowest", "rate", "expected"),
    [
        (1e-5, 1e-6, 5e-5, 5e-6),
        (1e-5, 1e-6, 2e-4, 2e-5),
        (1e-5, 0.0, 2e-4, 0.0),
        (2e-4, 2e-4, 3e-6, 3e-6),
    ],
)
def test_the_lowest_rate_keeps_its_ratio(tmp_path, stated, lowest, rate, expected):
    training = {"learning_rate": stated, "min_learning_rate": lowest}
    config = design(tmp_path, training=training, tune=None).arms[1].config
    made = with_values(config, {"training.learning_rate": rate}).training
    assert (made.learning_rate, made.min_learning_rate) == (rate, expected)


def test_tuned_rates_are_no_factor_and_fixed_ones_are(tmp_path):
    """A method's bundle may state a rate; tuned, the arms differ in the method all the same."""
    bundles = {"full": {"training.learning_rate": 3e-5}, "lora": {"training.learning_rate": 3e-4}}
    plain = contrasts(design(tmp_path, tune=None, matrix={**BASE["matrix"], "method": bundles}))
    assert len(plain) == 4
    assert contrasts(design(tmp_path, matrix={**BASE["matrix"], "method": bundles})) == plain
    arms = {"full": {"method": "full"}, "stated": {"method": "full"}, "lora": {}}
    fixed = {**BASE["tune"], "fixed": ["stated"]}
    found = design(tmp_path, matrix={}, arms=arms, tune=fixed)
    assert found.open == {"full", "lora"}
    assert ("full", "stated", "training.learning_rate") in contrasts(found)
    assert ("full", "lora", "method") in contrasts(found)


def test_settling_puts_the_rate_into_arms_and_runs(tmp_path):
    found = design(tmp_path, "seeds=2")
    settled = with_chosen(found, {"full-main": RATE})
    rates = {run.arm: run.identity()["training"] for run in settled.runs[1:]}
    assert rates["full-main"]["learning_rate"] == 2e-5
    assert settled.open == found.open - {"full-main"}
    arm = next(arm for arm in settled.arms if arm.name == "full-main")
    assert str(arm.origins["training.learning_rate"]) == "tune"
    assert settled.contrasts == found.contrasts
    known = [settled.identity(run)["training"]["learning_rate"] for run in settled.runs[1:5]]
    assert known == [2e-5, "tuned", "tuned", "tuned"]


def recorded(trial: RunSpec) -> Tried:
    rate = trial.config.training.peak_rate
    return Tried(learning_rate=rate, state="complete", fingerprint=trial.fingerprint)


def test_a_record_counts_only_for_the_trials_that_are_asked_for(tmp_path):
    found, folder = design(tmp_path), ExperimentFolder(tmp_path / "runs")
    assert known_values(found, folder) == {}

    def record(arm: str, chosen: float | None) -> ArmTuning:
        trials = [recorded(trial) for trial in found.trials if trial.arm == arm]
        return ArmTuning(chosen=chosen, edge=None, trials=trials)

    rows = {"full-main": record("full-main", 2e-5), "lora-main": record("lora-main", None)}
    write_tuning(folder, {**rows, "gone": record("gone", 1.0)})
    assert known_values(found, folder) == {"full-main": RATE}
    assert known_values(design(tmp_path, "training.epochs=2"), folder) == {}
    for arms, fault in ((0, "cannot be read"), ({"a": {}}, "has no chosen")):
        write_sealed(folder.tuning, {"format": 1, "arms": arms})
        with pytest.raises(DamagedError, match=rf"tuning\.json {fault}"):
            read_tuning(folder)


@pytest.mark.parametrize(
    ("changes", "dotlist", "message"),
    [
        (
            {"tune": {"learning_rates": {"full": [1e-5, 2e-5], "lora": [1e-4, 2e-4, 3e-4]}}},
            [],
            "full has 2 and lora has 3 rates; give every method the same number of trials",
        ),
        ({"tune": {"learning_rates": {"full": [1e-5]}}}, [], "full must list 2 to 50 rates"),
        ({"tune": {"learning_rates": {"full": [2e-5, 1e-5]}}}, [], "higher than the one before"),
        ({"tune": {"learning_rates": {"full": [1e-5, 1e-5]}}}, [], "got [1e-05, 1e-05]"),
        ({"tune": {"learning_rates": {"full": [0, 1e-5]}}}, [], "must be a list of a number > 0"),
        ({"tune": {"learning_rates": {"none": [1]}}}, [], "tune.learning_rates.none is not a kno"),
        (
            {"tune": 3},
            [],
            "tune must be a mapping of keys (learning_rates, space, trials, flops, sampler, fixed)",
        ),
        (
            {"tune": {"fixed": ["lora-mian"]}},
            [],
            "'lora-mian' is not an arm that trains; nearest: lo",
        ),
        ({"data": {"train_size": 9, "test_size": 9}}, [], "set data.validation_size=200"),
        ({}, ["training.learning_rate=1e-4"], "command line: training.learning_rate is what tune"),
        (
            {"matrix": {"training.learning_rate": [1e-4, 2e-4]}},
            [],
            "training.learning_rate is a factor of the matrix and tune would replace it",
        ),
        (
            {"matrix": {}, "arms": {"a": {}, "b": {"training.learning_rate": 1e-3}}},
            [],
            "arms a and b are the same",
        ),
    ],
)
def test_what_cannot_be_tuned_fairly_is_refused(tmp_path, changes, dotlist, message):
    with pytest.raises(ConfigError) as caught:
        design(tmp_path, *dotlist, **changes)
    assert message in caught.value.message
    assert caught.value.remedy


def test_a_grid_that_no_arm_uses_is_not_asked(tmp_path):
    found = design(tmp_path, matrix={}, tune={"learning_rates": {"lora": [1e-4, 2e-4]}})
    assert len(found.trials) == 2


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, ["full-main and baseline also differ in evaluation.protocol"]),
        ({"baseline": {"protocol": "zero_shot"}}, []),
        (
            {"baseline": None, "contrasts": [["full-main", "lora-socratic"]]},
            ["full-main and lora-socratic also differ in data.variant, lora.alpha"],
        ),
        ({"baseline": None, "contrasts": [["full-main", "full-socratic"]]}, []),
    ],
)
def test_strict_refuses_contrasts_of_more_than_one_factor(tmp_path, changes, lines):
    assert design(tmp_path, **changes).contrasts
    if not lines:
        assert design(tmp_path, strict=True, **changes).contrasts
        return
    with pytest.raises(ConfigError) as caught:
        design(tmp_path, strict=True, **changes)
    for line in lines:
        assert f"strict: {line}" in caught.value.message
    assert "strict=false" in caught.value.remedy


@pytest.mark.parametrize(
    ("typed", "known"),
    [
        ([], True),
        (["data.test_size=12"], True),
        (["evaluation.max_new_tokens=600"], True),
        (["evaluation.also=[few_shot/raw]"], True),
        (["evaluation.protocol=one_shot"], False),
        (["data.validation_size=6"], False),
        (["training.epochs=2"], False),
    ],
)
def test_rates_stay_known_where_only_the_tests_are_others(tmp_path, typed, known):
    folder, before = ExperimentFolder(tmp_path / "runs"), design(tmp_path)
    for trial in before.trials:
        record = {"fingerprint": trial.fingerprint, "identity": trial.identity()}
        complete_run(folder.of(trial), spec=record)
    rows = {
        arm.name: ArmTuning(
            chosen=2e-5,
            edge=None,
            trials=[recorded(trial) for trial in before.trials if trial.arm == arm.name],
        )
        for arm in before.arms
        if arm.name in before.open
    }
    write_tuning(folder, rows)
    now = design(tmp_path, *typed)
    assert known_values(now, folder) == (dict.fromkeys(rows, RATE) if known else {})
    if known:
        assert pending(now.trials, folder) == []
    else:
        with pytest.raises(StoreError, match="differs from this one"):
            pending(now.trials, folder)
