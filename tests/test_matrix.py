"""Arms, contrasts and runs of an experiment: who wins, what they are called, what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from paribus.config.load import load
from paribus.design.matrix import Arm, Design, expand
from paribus.errors import ConfigError

FLAGSHIP = """\
task: gsm8k
training.epochs: 2
matrix:
  method:
    full: {training.learning_rate: 5e-5}
    lora: {training: {learning_rate: 5e-4}, lora.alpha: 64}
  data.variant: [main, socratic]
arms:
  hot: {method: lora, lora.alpha: 64, training.learning_rate: 5e-5}
seeds: 2
"""
SIZES = ("data.train_size=9", "data.test_size=9")  # generated problems need them


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def design(text: str, *dotlist: str) -> Design:
    Path("x.yaml").write_text(text)
    return expand(load(Path("x.yaml"), [*SIZES, *dotlist]))


def refusal(text: str, *dotlist: str) -> str:
    with pytest.raises(ConfigError) as caught:
        design(text, *dotlist)
    assert caught.value.remedy
    return str(caught.value)


def names(found: Design) -> list[str]:
    return [arm.name for arm in found.arms]


def contrasts(found: Design) -> list[tuple[str, str, str]]:
    return [(one.a, one.b, one.factor) for one in found.contrasts]


def row(arm: Arm) -> tuple[str, str, str, float | None, float, str]:
    config = arm.config
    rate, alpha = config.training.learning_rate, config.lora.alpha
    return (
        arm.name,
        config.method,
        config.data.variant,
        rate,
        alpha,
        str(arm.origins["training.learning_rate"]),
    )


def test_the_flagship_design() -> None:
    found = design(FLAGSHIP)
    assert [row(arm) for arm in found.arms] == [
        ("baseline", "none", "main", None, 32, "default"),
        ("full-main", "full", "main", 5e-5, 32, "x.yaml:5"),
        ("full-socratic", "full", "socratic", 5e-5, 32, "x.yaml:5"),
        ("lora-main", "lora", "main", 5e-4, 64, "x.yaml:6"),
        ("lora-socratic", "lora", "socratic", 5e-4, 64, "x.yaml:6"),
        ("hot", "lora", "main", 5e-5, 64, "x.yaml:9"),
    ]
    assert found.arms[0].config.evaluation.protocol == "one_shot"
    assert found.arms[1].config.evaluation.protocol == "zero_shot"
    assert found.arms[1].factors == {"method": "full", "data.variant": "main"}
    assert all(arm.config.training.epochs == 2 for arm in found.arms)
    assert contrasts(found) == [
        ("full-main", "baseline", "tuning"),
        ("full-socratic", "baseline", "tuning"),
        ("lora-main", "baseline", "tuning"),
        ("lora-socratic", "baseline", "tuning"),
        ("hot", "baseline", "tuning"),
        ("full-main", "full-socratic", "data.variant"),
        ("full-main", "lora-main", "method"),
        ("full-main", "hot", "method"),
        ("full-socratic", "lora-socratic", "method"),
        ("lora-main", "lora-socratic", "data.variant"),
        ("lora-main", "hot", "training.learning_rate"),
    ]


def test_runs_come_replicate_by_replicate() -> None:
    found = design("matrix: {method: [full, lora]}\nseeds: 2\nseed: 7\n")
    assert [(run.arm, run.replicate) for run in found.runs] == [
        ("baseline", 0),
        ("full", 0),
        ("lora", 0),
        ("full", 1),
        ("lora", 1),
    ]
    assert {(run.experiment, run.seed) for run in found.runs} == {("x", 7)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seeds: 1", ["baseline", "lora-main"]),
        ("baseline: null\nmethod: full", ["full-main"]),
        (
            "matrix: {training.learning_rate: [1e-5, 0.0002]}",
            ["baseline", "learning_rate=1e-05", "learning_rate=0.0002"],
        ),
        (
            "matrix: {model: [google/gemma-2b-it, ./m], training.checkpointing: [true]}",
            [
                "baseline-gemma-2b-it",
                "baseline-m",
                "gemma-2b-it-checkpointing=true",
                "m-checkpointing=true",
            ],
        ),
        (
            "matrix: {prompt.format: [raw, chat]}",
            ["baseline-gemma-3-270m-raw", "baseline-gemma-3-270m-chat", "raw", "chat"],
        ),
        (
            "matrix: {training.max_steps: [null, 5], lora.targets: [[q_proj, v_proj]]}",
            ["baseline", "max_steps=null-q_proj_v_proj", "max_steps=5-q_proj_v_proj"],
        ),
        ("matrix: {lora.r: {8: {lora.alpha: 16}, 4: }}", ["baseline", "r=8", "r=4"]),
    ],
)
def test_names(text: str, expected: list[str]) -> None:
    assert names(design(text)) == expected


def test_long_names_are_cut_and_stay_distinct() -> None:
    long = "a" * 70
    found = names(design(f"baseline: null\nmatrix: {{model: [{long}b, {long}c]}}"))
    assert [len(name) for name in found] == [64, 64]
    assert len(set(found)) == 2


def test_the_command_line_wins_over_bundles_and_named_arms() -> None:
    found = design(FLAGSHIP, "training.learning_rate=1e-3", "arms.hot.lora.r=4")
    assert {arm.config.training.learning_rate for arm in found.arms} == {1e-3}
    assert {str(arm.origins["training.learning_rate"]) for arm in found.arms} == {"command line"}
    assert names(design(FLAGSHIP, "matrix.method=[lora]", "arms={}")) == [
        "baseline",
        "lora-main",
        "lora-socratic",
    ]
    picked = design(FLAGSHIP, "matrix.method=[lora]", "matrix.data.variant=[main]", "arms=")
    assert row(picked.arms[1]) == ("lora-main", "lora", "main", 5e-4, 64, "x.yaml:6")
    assert names(design(FLAGSHIP, "matrix={}")) == ["baseline", "hot"]


def test_folders_in_arms_start_at_their_file() -> None:
    Path("sub").mkdir()
    Path("sub/far.yaml").write_text("model: ./m\ndata.path: d\n")
    found = design("arms:\n  far: {base: sub/far.yaml}\n  near: {model: ../n}\n")
    here = Path.cwd()
    assert [arm.config.model for arm in found.arms[2:]] == [f"{here}/sub/m", f"{here.parent}/n"]
    assert found.arms[2].config.data.path == f"{here}/sub/d"


def test_listed_contrasts_name_every_factor() -> None:
    pairs = "contrasts: [[hot, baseline], [lora-socratic, baseline], [full-main, lora-socratic]]\n"
    assert contrasts(design(FLAGSHIP + pairs)) == [
        ("hot", "baseline", "tuning"),
        ("lora-socratic", "baseline", "tuning"),
        ("full-main", "lora-socratic", "data.variant + method"),
    ]
    other = "matrix: {model: [a, b]}\ncontrasts: [[a, baseline-b], [baseline-a, baseline-b]]"
    assert [factor for _, _, factor in contrasts(design(other))] == ["tuning + model", "model"]


RANKS = "matrix: {lora.r: [4, 16]}\n"
PAIRED = [  # an experiment, what differs between tuned arms, what is left out
    (RANKS + "arms: {full: {method: full}}",
     {"r=4 full": "method", "r=16 full": "method", "r=4 r=16": "lora.r"}, {}),
    (RANKS + "arms: {full: {method: full, training.learning_rate: 3e-5}}",
     {"r=4 full": "method", "r=16 full": "method", "r=4 r=16": "lora.r"}, {}),
    (RANKS + "arms: {full: {method: full, training.learning_rate: 3e-5}}\n"
     "training.learning_rate: 1e-4",
     {"r=4 full": "method", "r=16 full": "method", "r=4 r=16": "lora.r"}, {}),
    ("arms: {a: {method: full, training: {learning_rate: 1e-5, min_learning_rate: 1e-6}},"
     " b: {method: lora}}", {"a b": "method"}, {}),
    ("matrix: {method: [full, lora]}", {"full lora": "method"}, {}),
    ("matrix: {method: [full, lora]}\narms: {hot: {method: lora, training.learning_rate: 1e-3}}",
     {"full lora": "method", "full hot": "method", "lora hot": "training.learning_rate"}, {}),
    # A rate that is its own factor, or is stated without its method, does not come with it.
    ("matrix: {method: [full, lora], training.learning_rate: [1e-5, 1e-4]}",
     {"full-learning_rate=1e-05 full-learning_rate=0.0001": "training.learning_rate",
      "full-learning_rate=1e-05 lora-learning_rate=1e-05": "method",
      "full-learning_rate=0.0001 lora-learning_rate=0.0001": "method",
      "lora-learning_rate=1e-05 lora-learning_rate=0.0001": "training.learning_rate"},
     {"full-learning_rate=1e-05 lora-learning_rate=0.0001": "method + training.learning_rate",
      "full-learning_rate=0.0001 lora-learning_rate=1e-05": "method + training.learning_rate"}),
    ("training.learning_rate: 1e-4\n"
     "arms: {a: {method: full}, b: {training.learning_rate: 1e-3}}",
     {}, {"a b": "method + training.learning_rate"}),
    ("arms: {a: {method: full}, b: {method: lora, training.epochs: 2}}",
     {}, {"a b": "method + training.epochs"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "paired", "apart"), PAIRED)
def test_a_rate_comes_with_its_method(
    text: str, paired: dict[str, str], apart: dict[str, str]
) -> None:
    found = design(text)
    told = {f"{one.a} {one.b}": one.factor for one in found.contrasts if one.factor != "tuning"}
    assert told == paired
    assert {f"{one.a} {one.b}": one.factor for one in found.apart} == apart
    assert all(arm.config.training.learning_rate for arm in found.arms[1:])


@pytest.mark.parametrize(
    ("text", "dotlist", "expected"),
    [
        ("arms: {a: {method: full}, b: {method: lora}}", [],
         [(2e-5, "default for full"), (2e-4, "default for lora")]),
        ("training.learning_rate: 1e-5\narms: {a: {method: full}, b: {method: lora}}", [],
         [(1e-5, "x.yaml:1")] * 2),
        ("training.learning_rate: 1e-5\narms: {a: {method: full, training.learning_rate: null}}",
         [], [(2e-5, "default for full")]),
        ("matrix: {method: {full: {training.learning_rate: 3e-5}, lora: {}}}", [],
         [(3e-5, "x.yaml:1"), (2e-4, "default for lora")]),
        ("matrix: {method: [full, lora]}", ["training.learning_rate=7e-5"],
         [(7e-5, "command line")] * 2),
        ("training.learning_rate: 1e-5\nmatrix: {method: [full, lora]}",
         ["training.learning_rate=null"],
         [(2e-5, "default for full"), (2e-4, "default for lora")]),
    ],
)  # fmt: skip
def test_where_a_learning_rate_comes_from(
    text: str, dotlist: list[str], expected: list[tuple[float, str]]
) -> None:
    rates = [(row(arm)[3], row(arm)[5]) for arm in design(text, *dotlist).arms[1:]]
    assert rates == expected


def test_a_default_and_the_same_rate_stated_are_one_run() -> None:
    given = design("matrix: {method: [full, lora]}")
    stated = design(
        "matrix: {method: {full: {training.learning_rate: 2e-5},"
        " lora: {training.learning_rate: 2e-4}}}"
    )
    assert [run.fingerprint for run in given.runs] == [run.fingerprint for run in stated.runs]


def test_contrasts_name_arms_as_earlier_versions_called_them() -> None:
    text = "matrix: {lora.r: [4, 16], training.checkpointing: [true]}\n"
    pairs = "contrasts: [[4-true, 16-true], [r=4-checkpointing=true, baseline]]"
    assert contrasts(design(text + pairs)) == [
        ("r=4-checkpointing=true", "r=16-checkpointing=true", "lora.r"),
        ("r=4-checkpointing=true", "baseline", "tuning"),
    ]
    text = "matrix: {lora.r: [4, 16]}\narms: {full: {method: full}}\ncontrasts: [[full, 4]]"
    assert contrasts(design(text)) == [("full", "r=4", "method")]
    assert names(design("arms: {4: {lora.r: 4}, r=8: {lora.r: 8}}\ncontrasts: [[4, r=8]]")) == [
        "baseline", "4", "r=8",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ([], ["baseline", "r=4", "r=16"]),
        (["baseline", "full"], ["baseline", "r=4", "r=16"]),
        (["4"], ["baseline", "4", "16"]),
        (["16", "r=4"], ["baseline", "r=4", "r=16"]),  # begun again by this version
    ],
)
def test_runs_by_a_former_name_are_found(stored: list[str], expected: list[str]) -> None:
    Path("x.yaml").write_text(RANKS + "contrasts: [[r=4, 16]]")
    found = expand(load(Path("x.yaml"), SIZES), stored)
    assert names(found) == expected
    assert contrasts(found) == [(*expected[1:], "lora.r")]


@pytest.mark.parametrize(
    ("text", "dotlist", "message"),
    [
        (FLAGSHIP, ["method=lora"], "command line: method is a factor of the matrix"),
        (FLAGSHIP, ["method=lora"], "pick from its values: matrix.method=[full]"),
        (
            FLAGSHIP,
            ["contrasts=[[hott, baseline]]"],
            "command line: contrasts: 'hott' is not an arm; ",
        ),
        (
            FLAGSHIP,
            ["contrasts=[[hott, baseline]]"],
            "nearest: hot\n  → name one of the arms: baseline, full",
        ),
        (FLAGSHIP, ["contrasts=[[hot, hot]]"], "contrasts: [hot, hot] is an arm and itself"),
        ("contrasts: [[a, b]]", [], "x.yaml:1: contrasts: 'a' is not an arm"),
        ("arms: {baseline: {lora.r: 4}}", [], "would share the name baseline: baseline (the untra"),
        (
            "matrix: {lora.r: [4]}\narms: {r=4: {lora.r: 5}}",
            [],
            "two arms would share the name r=4: r=4 (lora.r=4) and r=4 (lora.r=5)",
        ),
        ("arms: {A: {lora.r: 4}, a: {lora.r: 5}}", [], "A (lora.r=4) and a (lora.r=5)"),
        ("arms: {report: {lora.r: 4}}", [], "no arm can be called report (lora.r=4)"),
        ("arms: {Tuning: {lora.r: 4}}", [], "no arm can be called Tuning (lora.r=4)"),
        ("arms: {seed-1: {lora.r: 4}}", [], "no arm can be called seed-1 (lora.r=4)"),
        ("name: seed-1", [], "no experiment can be called seed-1: its own folders use that name"),
        ("matrix: {model: [x/m, y/m]}", [], "m (model=x/m) and m (model=y/m)"),
        (
            "matrix: {method: [full, lora], lora.r: [4, 8]}",
            [],
            "arms full-r=4 and full-r=8 are the same",
        ),
        ("arms: {a: {lora.r: 16}, b: {}}", [], "arms a and b are the same"),
        (
            "matrix:\n  method:\n    lora: {data.variant: main}\n  data.variant: [main]",
            [],
            "x.yaml:3: arm lora-main: data.variant is set by data.variant=main and method=lora",
        ),
        (
            f"matrix: {{lora.r: {list(range(1, 21))}, lora.alpha: {list(range(1, 21))}}}",
            [],
            "x.yaml:1: matrix has 400 arms, over 256",
        ),
        ("seeds: 10000", [], "x.yaml:1: 1 arms with seeds=10000 make 10,001 runs, over 10,000"),
    ],
)
def test_refused_designs(text: str, dotlist: list[str], message: str) -> None:
    assert message in refusal(text, *dotlist)


def test_problems_of_all_arms_come_at_once() -> None:
    text = """\
matrix:
  training.micro_batch: [8, 3]
  training.min_learning_rate: [0, 1]
arms:
  idle: {method: none}
"""
    lines = refusal(text).splitlines()
    assert [line.partition(":")[2].partition(" must")[0] for line in lines[:5]] == [
        "3: arm micro_batch=8-min_learning_rate=1: training.learning_rate=0.0002",
        "2: arm micro_batch=3-min_learning_rate=0: training.batch_size=16",
        "3: arm micro_batch=3-min_learning_rate=1: training.learning_rate=0.0002",
        "2: arm micro_batch=3-min_learning_rate=1: training.batch_size=16",
        "5: arm idle: method='none' trains nothing; set baseline: {protocol: one_shot} for the "
        "untuned model",
    ]


factors = st.fixed_dictionaries(
    {},
    optional={
        "data.variant": st.permutations(["main", "socratic"]),
        "training.learning_rate": st.lists(
            st.sampled_from([1e-5, 2e-4, 1.0]), min_size=1, unique=True
        ),
        "model": st.lists(st.sampled_from(["a/x", "b/y"]), min_size=1, unique=True),
        "lora.r": st.dictionaries(
            st.integers(1, 9), st.builds(lambda: {"lora.alpha": 8}), min_size=1, max_size=3
        ),
    },
)


@settings(max_examples=60)
@given(factors, st.integers(1, 3), st.booleans())
def test_every_design_keeps_its_promises(
    tmp_path_factory: pytest.TempPathFactory, matrix: dict[str, Any], seeds: int, base: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "property.yaml"
    values: dict[str, Any] = {"matrix": matrix, "seeds": seeds}
    path.write_text(yaml.safe_dump(values if base else values | {"baseline": None}))
    found = expand(load(path, SIZES))
    assert found == expand(load(path, SIZES))
    baselines = [arm for arm in found.arms if arm.config.method == "none"]
    tuned = len(found.arms) - len(baselines)
    assert len(baselines) == (len(matrix.get("model", ["one"])) if base else 0)
    assert len(found.runs) == len(baselines) + tuned * seeds
    assert len(set(names(found))) == len(found.arms)
    assert len({run.fingerprint for run in found.runs}) == len(found.runs)
    assert {one.factor for one in found.contrasts} <= {"tuning", *matrix}
