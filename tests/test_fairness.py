"""What differs between two arms, and what of it the contrast explains."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import by_hand
from by_hand import generation
from paribus.analysis.contrasts import Contrast
from paribus.analysis.fairness import ABSENT, FairnessRow, Status, table, unexplained
from paribus.analysis.findings import conclude
from paribus.analysis.reading import read_experiment
from paribus.analysis.tables import Arm, Run, Tables, with_generations
from paribus.cli.main import main
from paribus.config.nested import flatten, nest
from paribus.store.experiments import ArmTuning, Searched, Tried
from paribus.store.layout import ExperimentFolder
from paribus.store.results import RunResult
from paribus.store.runs import RunState
from stores import answers, describe, finish

FULL = {
    "method": "full",
    "model": "tiny",
    "seed": 0,
    "format": 1,
    "replicate": 0,
    "data.variant": "main",
    "data.train_size": 8,
    "training.learning_rate": 1e-3,
    "training.precision": "bf16",
    "evaluation.protocol": "zero_shot",
    "evaluation.also": [],
}
LORA = FULL | {"method": "lora", "lora.r": 16}
UNTUNED = {key: FULL[key] for key in FULL if not key.startswith(("training.", "replicate"))} | {
    "method": "none"
}
RESULT = {
    "training": {"examples": 8, "target_tokens": 20_100, "steps": 2, "trainable_parameters": 268},
    "precision": {"compute": "bf16", "trainable": "fp32"},
    "environment": {"torch": "2.13.0", "machine": "2 cores"},
}

GRID = {"a": ArmTuning(chosen=1e-3, edge=None, trials=[])}
SEARCH = {
    "a": ArmTuning(
        chosen=None,
        edge=None,
        trials=[
            Tried(
                learning_rate=None,
                state="complete",
                fingerprint="f",
                values={"training.warmup": 0.1},
            )
        ],
        search=Searched(asked={}, best=0, edges={}),
    )
}


def result(**sections: dict[str, Any] | None) -> RunResult:
    """RESULT with some figures of some sections replaced; a section of None is none."""
    made = RESULT | {
        name: {**RESULT.get(name, {}), **values}
        for name, values in sections.items()
        if values is not None
    }
    absent = {name for name, values in sections.items() if values is None}
    return by_hand.result(**{name: made[name] for name in made.keys() - absent})


def side(
    identity: dict[str, Any],
    *results: RunResult,
    prompt: str = "p",
    problems: Sequence[int] = (0, 1),
) -> tuple[dict[str, Any], list[Run]]:
    """An arm's identity and its runs, one for each of `results`."""
    asked = [replace(generation(n, "#### 7"), prompt_sha256=prompt) for n in problems]
    runs = [
        with_generations(Run(arm="", seed=seed, state=RunState.COMPLETE, result=each), asked)
        for seed, each in enumerate(results)
    ]
    return identity, runs


def compared(a, b, factor: str, *, matrix=None, tuning=None) -> dict[str, FairnessRow]:
    """The rows of arms a and b by name."""
    tables = Tables(
        config={"matrix": matrix or {}},
        origins={},
        arms=tuple(
            Arm(name=name, factors={}, identity=nest(identity))
            for name, (identity, _) in (("a", a), ("b", b))
        ),
        declared=(),
        runs=tuple(
            replace(run, arm=name) for name, (_, runs) in (("a", a), ("b", b)) for run in runs
        ),
        tuning=tuning or {},
    )
    contrast = Contrast(a="a", b="b", factor=factor)
    rows = table(tables, contrast)
    differing = [row for row in rows if row.status is Status.DIFFERS]
    assert [row for row in differing if not row.circumstance] == unexplained(tables, contrast)
    return {row.name: row for row in rows}


def unlike(rows: dict[str, FairnessRow]) -> list[str]:
    return [name for name, row in rows.items() if row.status is Status.DIFFERS]


def statuses(rows: dict[str, FairnessRow], *names: str) -> list[str]:
    return [rows[name].status.value for name in names]


def test_a_row_shows_both_values_and_its_status():
    rows = compared(
        side(FULL, result()),
        side(LORA, result(training={"trainable_parameters": 38_000})),
        "method",
    )
    assert rows["method"] == FairnessRow(name="method", a="full", b="lora", status=Status.DECLARED)
    assert rows["lora.r"] == FairnessRow(name="lora.r", a=ABSENT, b="16", status=Status.COMES_WITH)
    assert rows["trained parameters"] == FairnessRow(
        name="trained parameters", a="268", b="38,000", status=Status.FOLLOWS
    )
    assert rows["target tokens trained on"] == FairnessRow(
        name="target tokens trained on", a="20,100", b="20,100", status=Status.SAME
    )
    assert unlike(rows) == []
    # What is equal in both identities has no row; what no run tells is absent on both sides.
    assert "model" not in rows
    assert (rows["peft"].a, rows["peft"].status) == (ABSENT, Status.SAME)


HOT = LORA | {"training.learning_rate": 1e-2}
BUNDLE = {
    "method": {
        "full": {"training.learning_rate": 1e-3},
        "lora": {"training": {"learning_rate": 1e-2}},
    }
}


@pytest.mark.parametrize(
    ("a", "b", "factor", "matrix", "tuning", "expected"),
    [
        # A rate that is not a factor of the contrast came with the method, by default or stated.
        (FULL, HOT, "method", {"method": ["full", "lora"]}, {}, []),
        (
            FULL,
            HOT,
            "method + training.learning_rate",
            {},
            {},
            ["method", "training.learning_rate"],
        ),
        (FULL, HOT, "method", BUNDLE, {}, []),
        # The bundle is the method's: it explains nothing when variants are compared.
        (
            FULL,
            FULL | {"data.variant": "socratic", "training.learning_rate": 1e-2},
            "data.variant",
            BUNDLE | {"data.variant": ["main", "socratic"]},
            {},
            ["training.learning_rate"],
        ),
        (FULL, HOT, "method", {"method": {"full": None, "lora": None}}, GRID, []),
        (FULL, FULL | {"lora.r": 4}, "lora.r", {}, {}, []),
        (FULL, FULL | {"seed": 1, "model": "big"}, "model", {}, {}, ["seed"]),
        # Two factors at once: neither is the contrast's one factor.
        (
            FULL,
            LORA | {"data.variant": "socratic"},
            "data.variant + method",
            {},
            {},
            ["data.variant", "lora.r", "method"],
        ),
        (FULL, FULL | {"evaluation.also": ["few_shot/raw"], "replicate": 1}, "method", {}, {}, []),
        (FULL, FULL | {"format": 2}, "method", {}, {}, []),
    ],
    ids=str,
)
def test_settings(a, b, factor, matrix, tuning, expected):
    rows = compared(side(a, result()), side(b, result()), factor, matrix=matrix, tuning=tuning)
    assert unlike(rows) == expected


def test_a_bundle_and_a_tuned_rate_come_with_the_factor():
    for matrix, tuning in ((BUNDLE, {}), ({}, GRID), ({}, SEARCH)):
        rows = compared(side(FULL), side(HOT), "method", matrix=matrix, tuning=tuning)
        assert statuses(rows, "training.learning_rate") == ["comes with"]
    warm = FULL | {"training.warmup": 0.1}
    for tuning, status in ((GRID, "differs"), (SEARCH, "comes with")):
        rows = compared(side(FULL), side(warm), "method", tuning=tuning)
        assert statuses(rows, "training.warmup") == [status]


def test_against_an_untuned_model_training_is_told_in_one_row():
    none = result(training=None, precision={"trainable": "none"})
    rows = compared(side(LORA, result(), result()), side(UNTUNED, none), "tuning")
    settings = [name for name, row in rows.items() if row.status is Status.DECLARED]
    assert settings == ["method"]
    assert not any(name.startswith(("training.", "lora.")) for name in rows)
    followed = ("training examples seen", "optimizer steps", "trained parameters")
    followed += ("precision of trained weights", "complete seeds")
    assert statuses(rows, *followed) == ["follows"] * 5
    assert (rows["complete seeds"].a, rows["complete seeds"].b) == ("2", "1")
    assert unlike(rows) == []


@pytest.mark.parametrize(
    ("trained", "expected"),
    [
        ({"data.variant": "socratic"}, []),  # an untuned model reads no training problem
        ({"data.train_size": 100, "data.validation_size": 3}, []),
        ({"evaluation.protocol": "one_shot"}, ["evaluation.protocol"]),
        ({"data.test_size": 9}, ["data.test_size"]),
        ({"revision": "x"}, ["revision"]),
    ],
    ids=str,
)
def test_against_an_untuned_model_everything_else_is_flagged(trained, expected):
    rows = compared(side(FULL | trained, result()), side(UNTUNED, result(training=None)), "tuning")
    assert unlike(rows) == expected


def test_solved_examples_of_another_variant_show_in_the_prompts():
    few = {"evaluation.protocol": "few_shot"}
    trained = side(FULL | few | {"data.variant": "socratic"}, result(), prompt="socratic")
    untuned = side(UNTUNED | few, result(training=None), prompt="main")
    assert unlike(compared(trained, untuned, "tuning")) == ["prompts (hash)"]


def test_precision_of_computing_is_not_part_of_tuning():
    trained = side(FULL, result(precision={"compute": "fp32"}))
    untuned = side(UNTUNED, result(training=None))
    assert unlike(compared(trained, untuned, "tuning")) == ["precision of computing"]


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"environment": {"torch": "2.12.0"}}, "torch"),
        ({"environment": {"machine": "an H100"}}, "machine"),
        ({"environment": {"transformers": "5.0"}}, "transformers"),
        ({"environment": {"peft": "1.0"}}, "peft"),
        ({"environment": {"paribus": "0.1"}}, "paribus"),
        ({"environment": {"processor": "another"}}, "processor"),
        ({"forked_from": {"step": 4, "differences": ["x: 1 → 2"]}}, "where training began"),
        ({"environment": None}, None),
        ({"precision": {"compute": "fp16"}}, "precision of computing"),
    ],
)
def test_circumstances_are_flagged_whatever_is_compared(sections, expected):
    rows = compared(side(FULL, result()), side(LORA, result(**sections)), "method")
    assert unlike(rows) == (["torch", "machine"] if expected is None else [expected])


def test_an_arm_whose_runs_differ_shows_every_value():
    rows = compared(
        side(FULL, result(), result()),
        side(FULL, result(), result(environment={"torch": "2.12.0"})),
        "data.variant",
    )
    assert (rows["torch"].a, rows["torch"].b) == ("2.13.0", "2.13.0 (seed 0), 2.12.0 (seed 1)")
    assert unlike(rows) == ["torch"]


@pytest.mark.parametrize(
    ("a", "b", "factor"),
    [(FULL, LORA, "method"), (FULL, FULL | {"data.variant": "x"}, "data.variant")],
)
def test_an_arm_with_fewer_seeds_is_flagged(a, b, factor):
    rows = compared(side(a, *[result()] * 3), side(b, *[result()] * 2), factor)
    assert unlike(rows) == ["complete seeds"]


@pytest.mark.parametrize(
    ("changed", "factor", "prompts", "status"),
    [
        ({}, "method", ("p", "p"), "same"),
        ({}, "method", ("p", "q"), "differs"),
        ({"prompt.format": "chat"}, "prompt.format", ("p", "q"), "follows"),
        ({"evaluation.protocol": "few_shot"}, "evaluation.protocol", ("p", "q"), "follows"),
        ({"training.epochs": 2}, "training.epochs", ("p", "q"), "differs"),
        ({}, "method", ("", ""), "same"),
        ({}, "method", ("p", ""), "differs"),
    ],
)
def test_prompts(changed, factor, prompts, status):
    a, b = (
        side(FULL, result(), prompt=prompts[0]),
        side(FULL | changed, result(), prompt=prompts[1]),
    )
    row = compared(a, b, factor)["prompts (hash)"]
    assert row.status.value == status
    assert [shown == ABSENT for shown in (row.a, row.b)] == [not prompt for prompt in prompts]


def test_other_problems_are_flagged_and_another_order_is_not():
    a = side(FULL, result(), problems=(0, 1, 2))
    shuffled = compared(a, side(LORA, result(), problems=(2, 0, 1)), "method")
    assert unlike(shuffled) == []
    other = compared(a, side(LORA, result(), problems=(0, 1, 3)), "method")
    assert unlike(other) == ["test problems (hash)", "prompts (hash)"]


def test_settings_alone_where_an_arm_has_no_run_and_nothing_without_identities():
    assert list(compared(side(FULL, result()), side(LORA), "method")) == ["lora.r", "method"]
    assert compared(side({}, result()), side({}, result()), "file") == {}
    # An arm that the contrast names and the experiment does not have.
    lonely = Tables(config={}, origins={}, arms=(), declared=(), runs=())
    assert table(lonely, Contrast(a="a", b="b", factor="method")) == []


def test_a_clean_store_has_nothing_unexplained(tmp_path: Path):
    folder = ExperimentFolder(tmp_path)
    describe(folder)
    for arm, solved in (("baseline", {0}), ("full", {0, 1}), ("lora", {2})):
        finish(folder, arm, answers(solved))
    found = conclude(read_experiment(folder))
    assert [unexplained(found.tables, each) for each in found.contrasts] == [[], [], []]
    assert {caveat for each in found.findings for caveat in each.caveats} == set()


def test_the_identities_here_are_shaped_as_in_a_store():
    assert flatten(nest(FULL)) == FULL


def test_the_terminal_says_which_run_was_forked(tmp_path, capsys):
    folder = ExperimentFolder(tmp_path / "small")
    describe(folder)
    finish(folder, "baseline", answers({0}))
    came = {"step": 4, "differences": ["training.learning_rate: 1e-05 → 2e-05"]}
    finish(folder, "full", answers({0, 1}), forked_from=came)
    assert main(["report", str(folder.path)]) == 0
    out = capsys.readouterr().out
    said = "trained on from step 4 of another run (training.learning_rate: 1e-05 → 2e-05)"
    assert f"full, seed 0: {said}\n" in out
    assert "baseline, seed 0:" not in out
