"""An arm's values: which of them fit together, and what of them identifies a run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paribus.config.check import ARM_DEFAULTS, build_arm
from paribus.config.load import load
from paribus.config.nested import flatten, nest
from paribus.config.read import Origin
from paribus.config.schema import (
    ArmConfig,
    DataConfig,
    EvaluationConfig,
    LoraConfig,
    TrainingConfig,
)
from paribus.config.spec import RunSpec, differences
from paribus.config.task import preset
from paribus.config.task_file import read_task
from paribus.design.matrix import expand
from paribus.errors import ConfigError

SIZES: dict[str, Any] = {"data.train_size": 9, "data.test_size": 9}
LOWEST, SCHEDULE = "training.min_learning_rate", "training.schedule"


def test_an_arm_takes_only_arm_keys_from_its_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    text = "base: none.yaml\nseeds: 9\ntraining: {epochs: 4, warmup: 0.1}\n"
    Path("configs/hot.yaml").write_text(text)
    Path("x.yaml").write_text("arms:\n  hot: {base: configs/hot.yaml, training.epochs: 5}\n")
    result = load(Path("x.yaml"))
    assert result.values["arms"] == {"hot": {"training.epochs": 5, "training.warmup": 0.1}}
    assert str(result.origins["arms.hot.training.warmup"]) == "configs/hot.yaml:3"
    assert str(result.origins["arms.hot.training.epochs"]) == "x.yaml:2"
    assert result.config.seeds == 1


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (
            SIZES | {SCHEDULE: "linear", LOWEST: 1e-6},
            "x.yaml:4: arm a: training.min_learning_rate=1e-06 is ignored by"
            " training.schedule='linear'; set training.schedule=cosine or"
            " training.min_learning_rate=0",
        ),
        (
            SIZES | {"data.group_by": "template"},
            "x.yaml:3: arm a: data.group_by names a key of a file, and task='wordproblems'"
            " reads none; set data.group_by=null",
        ),
        (
            SIZES | {SCHEDULE: "constant", LOWEST: 1e-6},
            "x.yaml:4: arm a: training.min_learning_rate=1e-06 is ignored by"
            " training.schedule='constant'; set",
        ),
        (
            {},
            "default: arm a: task='wordproblems' has no end, so it has no"
            " data.train_size=all and data.test_size=all; set numbers, such as"
            " data.train_size=100 data.test_size=100",
        ),
        (
            {"data.train_size": 9, "task": "wordproblems"},
            "x.yaml:2: arm a: task='wordproblems' has no end, so it has no"
            " data.test_size=all; set numbers, such as data.test_size=100",
        ),
        (
            {"data.train_size": "all", "data.test_size": 9},
            "x.yaml:1: arm a: task='wordproblems' has no end, so it has no"
            " data.train_size=all; set numbers, such as data.train_size=100",
        ),
    ],
)
def test_values_that_an_arm_could_not_act_on(values: dict[str, Any], problem: str) -> None:
    origins = dict.fromkeys(ARM_DEFAULTS, Origin("default"))
    origins |= {key: Origin("file", Path("x.yaml"), line) for line, key in enumerate(values, 1)}
    config, problems = build_arm(values, origins, "a", read_task)
    assert config is None
    assert len(problems) == 1
    assert problems[0].startswith(problem)


@pytest.mark.parametrize(
    "values",
    [
        SIZES,
        SIZES | {SCHEDULE: "linear"},
        SIZES | {SCHEDULE: "constant", LOWEST: 0},
        SIZES | {LOWEST: 1e-6},
        {"task": "gsm8k"},
        {"task": "gsm8k_swapped", "data.train_size": "all"},
    ],
)
def test_values_that_fit(values: dict[str, Any]) -> None:
    config, problems = build_arm(values, {}, "a", read_task)
    assert (config is not None, problems) == (True, [])


def test_only_whole_arms_are_asked_whether_their_values_fit(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "training: {schedule: linear, min_learning_rate: 1e-6}\n"
        "baseline: null\n"
        "matrix: {training.schedule: [cosine], data.train_size: [8, 9], data.test_size: [9]}\n"
    )
    assert len(expand(load(path)).arms) == 2
    with pytest.raises(
        ConfigError,
        match="arm linear-train_size=8-test_size=9: training.min_learning_rate=1e-06 is",
    ):
        expand(load(path, ["matrix.training.schedule=[linear]"]))


def spec(config: ArmConfig, replicate: int = 0, seed: int = 0, arm: str = "a") -> RunSpec:
    return RunSpec(experiment="x", arm=arm, replicate=replicate, seed=seed, config=config)


def test_identity_leaves_out_what_the_run_never_reads() -> None:
    lora, full, none = (ArmConfig(method=method) for method in ("lora", "full", "none"))
    words = spec(lora).identity()
    assert list(words) == sorted(words)
    assert words["lora"]["targets"][0] == "q_proj"
    assert "revision" not in words["data"]
    assert not {"trackers", "save_weights"} & words["training"].keys()
    assert "lora" not in spec(full).identity()
    assert not {"lora", "replicate"} & spec(none).identity().keys()
    assert spec(none).identity()["training"] == {"precision": "auto"}
    bf16 = replace(none, training=TrainingConfig(precision="bf16"))
    assert "training" not in spec(bf16).identity()
    gsm8k = spec(replace(lora, task=preset("gsm8k"))).identity()["data"]
    sizes = {"train_size", "test_size", "validation_size"}
    assert gsm8k.keys() == {"source", "revision", "variant", "group_by", *sizes}
    fixed = replace(lora, data=DataConfig(train_size=9), training=TrainingConfig(target_tokens=9))
    assert "validation_size" not in spec(fixed).identity()["data"]
    assert "validation_size" in replace(spec(fixed), trial="lr-1e-05").identity()["data"]
    assert "group_by" not in spec(fixed).identity()["data"]
    assert "epochs" not in spec(fixed).identity()["training"]


def test_fingerprint_ignores_names_and_execution_and_nothing_else() -> None:
    config = ArmConfig(training=TrainingConfig(trackers=("wandb",), save_weights=False))
    plain = ArmConfig()
    assert spec(config, arm="b").fingerprint == spec(plain).fingerprint
    assert spec(plain, replicate=1).fingerprint != spec(plain).fingerprint
    assert spec(plain, seed=1).fingerprint != spec(plain).fingerprint
    a, b = ArmConfig(lora=LoraConfig(r=8)), ArmConfig(data=DataConfig(path="/elsewhere"))
    assert spec(b).fingerprint == spec(plain).fingerprint
    assert differences(spec(plain).identity(), spec(a).identity()) == ["lora.r: 16 → 8"]
    read = EvaluationConfig(answer="boxed")
    for method in ("lora", "none"):
        one, other = ArmConfig(method=method), ArmConfig(method=method, evaluation=read)
        assert spec(one).fingerprint == spec(other).fingerprint
    full = spec(ArmConfig(method="full")).identity()
    assert "lora.alpha: 32.0 → (absent)" in differences(spec(plain).identity(), full)


@pytest.mark.parametrize("where", ["arms: {a: {evaluation.answer: boxed}}",
                                   "matrix: {evaluation.answer: [boxed, marked]}"])  # fmt: skip
def test_answers_of_all_arms_are_read_alike(tmp_path: Path, where: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(f"data: {{train_size: 9, test_size: 9}}\n{where}\n")
    with pytest.raises(ConfigError, match=r"x\.yaml:2: .*evaluation.answer belongs to the whole"):
        expand(load(file))


UNSAID = [
    (TrainingConfig(precision="fp32"), "training.precision: bf16 → fp32"),
    (TrainingConfig(precision="bf16"), None),
]


@pytest.mark.parametrize(("training", "line"), UNSAID)
def test_what_an_identity_leaves_unsaid_is_said_where_it_differs(
    training: TrainingConfig, line: str | None
) -> None:
    stored = ArmConfig(method="none", training=TrainingConfig(precision="bf16"))
    asked = ArmConfig(method="none", training=training)
    found = differences(spec(stored).identity(), spec(asked).identity())
    assert found == ([line] if line else [])


AT_A_RATE = ArmConfig(method="full", training=TrainingConfig(learning_rate=1e-5))


def test_a_trial_is_no_replicate() -> None:
    run, other = (spec(AT_A_RATE, replicate) for replicate in (0, 1))
    trial = replace(run, trial="lr-1e-05")
    assert len({run.fingerprint, other.fingerprint, trial.fingerprint}) == 3
    assert len({run.stream, other.stream, trial.stream}) == 3
    assert replace(trial, arm="b").stream == replace(other, trial="lr-1e-05").stream == trial.stream
    assert [run.title, trial.title] == ["a seed 0", "a lr 1e-05"]


def test_a_model_folder_is_known_by_its_name(tmp_path: Path) -> None:
    here, there, other = (spec(ArmConfig(model=f"/{path}")) for path in ("a/m", "b/m/", "a/n"))
    assert here.identity()["model"] == "m"
    assert here.fingerprint == there.fingerprint != other.fingerprint
    assert spec(ArmConfig(model="google/m")).identity()["model"] == "google/m"
    path = tmp_path / "x.yaml"
    path.write_text("baseline: null\narms: {one: {model: /a/m}, two: {model: /b/m}}\n")
    design = expand(load(path, ["data.train_size=9", "data.test_size=9"]))
    assert [contrast.factor for contrast in design.contrasts] == ["model"]


configs = st.builds(
    ArmConfig,
    method=st.sampled_from(["full", "lora", "none"]),
    task=st.sampled_from([preset("gsm8k"), preset("wordproblems")]),
    lora=st.builds(LoraConfig, r=st.integers(1, 3)),
    training=st.builds(TrainingConfig, learning_rate=st.sampled_from([1e-5, 1e-4])),
)


@given(configs, configs, st.integers(0, 2), st.integers(0, 2))
def test_fingerprints_are_equal_exactly_if_identities_are(
    a: ArmConfig, b: ArmConfig, first: int, second: int
) -> None:
    left, right = spec(a, first), spec(b, second)
    same = left.identity() == right.identity()
    assert (left.fingerprint == right.fingerprint) == same
    assert (differences(left.identity(), right.identity()) == []) == same


trees = st.recursive(
    st.none() | st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner)
)


@given(trees)
def test_nest_undoes_flatten(value: Any) -> None:
    nested = {"root": value}
    assert nest(flatten(nested)) == nested
