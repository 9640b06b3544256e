"""Effects and interactions of a full matrix, by hand and against the contrasts they average."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from by_hand import solved, tables
from paribus.analysis.contrasts import contrast
from paribus.analysis.effects import Effect
from paribus.analysis.family import judged
from paribus.analysis.tables import Tables
from paribus.statistics.crossed import components, estimate
from paribus.statistics.verdicts import Scope, Verdict

FULL_MAIN, FULL_SOC, LORA_MAIN, LORA_SOC = NAMES = (
    "full-main",
    "full-socratic",
    "lora-main",
    "lora-socratic",
)
MATRIX = {"method": ["full", "lora"], "data.variant": ["main", "socratic"]}
FACTORS = {
    f"{method}-{variant}": {"method": method, "data.variant": variant}
    for method in MATRIX["method"]
    for variant in MATRIX["data.variant"]
}
SOLVED = {
    FULL_MAIN: ["111111111100"],
    FULL_SOC: ["111111000000"],
    LORA_MAIN: ["111100000000"],
    LORA_SOC: ["111000000000"],
}
"""Ten, six, four and three of twelve."""


def effects(made: Tables) -> list[Effect]:
    return judged(made).effects


def matrix(rows, **more) -> Tables:
    in_order = {name: rows[name] for name in NAMES}
    return tables(in_order, factors=FACTORS, matrix=MATRIX, **more)


def test_the_weights_of_the_docstring():
    found = {each.factors: each.weights for each in effects(matrix(SOLVED))}
    assert {factors: list(weights.values()) for factors, weights in found.items()} == {
        ("method",): [0.5, 0.5, -0.5, -0.5],
        ("data.variant",): [0.5, -0.5, 0.5, -0.5],
        ("method", "data.variant"): [1, -1, -1, 1],
    }
    assert {tuple(weights) for weights in found.values()} == {NAMES}


def test_effects_and_interaction_by_hand():
    method, data, both = effects(matrix(SOLVED))
    assert method.levels == (("full", "lora"),)
    assert both.levels == (("full", "lora"), ("main", "socratic"))
    assert method.difference == pytest.approx((10 + 6) / 24 - (4 + 3) / 24)
    assert data.difference == pytest.approx((10 + 4) / 24 - (6 + 3) / 24)
    # full does 4 more on main than on socratic, lora 1.
    assert both.difference == pytest.approx((4 - 1) / 12)
    assert {each.n for each in (method, data, both)} == {12}
    assert {each.scope for each in (method, data, both)} == {Scope.MODELS}


ROWS = st.lists(st.text("01", min_size=12, max_size=12), min_size=3, max_size=4)


@settings(max_examples=6)
@given(st.fixed_dictionaries(dict.fromkeys(NAMES, ROWS)))
def test_an_effect_is_the_average_of_the_contrasts(rows):
    made = matrix(rows)
    pairs = {
        ("method",): [(FULL_MAIN, LORA_MAIN), (FULL_SOC, LORA_SOC)],
        ("data.variant",): [(FULL_MAIN, FULL_SOC), (LORA_MAIN, LORA_SOC)],
    }
    found = {each.factors: each for each in effects(made)}
    of = {
        factors: [contrast(made, a, b, "x").difference or 0.0 for a, b in of_factor]
        for factors, of_factor in pairs.items()
    }
    for factors, differences in of.items():
        assert found[factors].difference == pytest.approx(sum(differences) / 2)
    first, second = of["method",]
    assert found["method", "data.variant"].difference == pytest.approx(first - second)
    for each in found.values():
        assert each.scope is Scope.METHODS
        assert bool(each.reason) == (each.p_value is None)


def test_an_effect_has_the_interval_and_test_of_the_weighted_sum():
    rows = {name: [row, row[1:] + "1", "0" + row[1:]] for name, (row,) in SOLVED.items()}
    arms = [components(solved(*rows[name])) for name in NAMES]
    for each in effects(matrix(rows)):
        expected = estimate(list(zip(each.weights.values(), arms, strict=True)))
        assert (each.interval, each.p_value) == (expected.interval, expected.p_value)
        assert each.detectable is not None


# --- designs ---------------------------------------------------------------------------------


def test_three_values_are_compared_pair_by_pair_without_an_interaction():
    levels = {"lora.r": [4, 16, 64], "data.variant": ["main", "socratic"]}
    rows = {f"{r}-{data}": ["1" * 12] for r in levels["lora.r"] for data in levels["data.variant"]}
    factors = {
        name: {"lora.r": int(name.partition("-")[0]), "data.variant": name.partition("-")[2]}
        for name in rows
    }
    found = effects(tables(rows, factors=factors, matrix=levels))
    assert [(each.factors, each.levels) for each in found] == [
        (("lora.r",), (("4", "16"),)),
        (("lora.r",), (("4", "64"),)),
        (("lora.r",), (("16", "64"),)),
        (("data.variant",), (("main", "socratic"),)),
    ]
    assert found[1].weights == {
        "4-main": 0.5,
        "4-socratic": 0.5,
        "64-main": -0.5,
        "64-socratic": -0.5,
    }
    assert found[3].weights["16-main"] == pytest.approx(1 / 3)


def test_three_factors_of_two_values_have_three_interactions():
    cells = [(a, b, c) for a in "xy" for b in "xy" for c in "xy"]
    rows = {"".join(cell): ["10" * 6] for cell in cells}
    factors = {"".join(cell): dict(zip("abc", cell, strict=True)) for cell in cells}
    matrix_of = {name: ["x", "y"] for name in "abc"}
    found = effects(tables(rows, factors=factors, matrix=matrix_of))
    assert [each.factors for each in found] == [
        ("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"),
    ]  # fmt: skip
    assert {abs(weight) for weight in found[0].weights.values()} == {1 / 4}
    assert {abs(weight) for weight in found[5].weights.values()} == {1 / 2}
    assert [name for name, weight in found[5].weights.items() if weight > 0] == [
        "xxx", "xyy", "yxx", "yyy",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "matrix_of"),
    [
        ({name: SOLVED[name] for name in NAMES[:3]}, MATRIX),  # an arm was not declared
        (SOLVED, {"method": ["full", "lora"]}),  # one factor: a contrast says it all
        (SOLVED, {}),
        ({}, MATRIX),
    ],
)
def test_no_effects_without_a_full_matrix(rows, matrix_of):
    assert effects(tables(rows, factors=FACTORS, matrix=matrix_of)) == []


def test_an_arm_listed_by_name_does_not_take_a_cells_place():
    rows = SOLVED | {"lora-other-rate": ["1" * 12]}
    named = FACTORS | {"lora-other-rate": FACTORS[LORA_SOC]}
    found = effects(tables(rows, factors=named, matrix=MATRIX))
    assert found == effects(matrix(SOLVED))


# --- what is missing -------------------------------------------------------------------------

THREE = {name: [row, row[1:] + "1", "0" + row[1:]] for name, (row,) in SOLVED.items()}


@pytest.mark.parametrize(
    ("rows", "n", "scope", "difference", "reason"),
    [
        ({LORA_SOC: [None]}, 0, Scope.MODELS, None, "not all of its arms have results"),
        # No seeds are dropped for the sake of an arm that has one.
        ({LORA_SOC: [None, "1" * 12]}, 0, Scope.MODELS, None, "lora-socratic has one seed, others"),
        (
            {name: [None, "1" * 12] if name == LORA_SOC else SOLVED[name] for name in NAMES},
            0,
            Scope.MODELS,
            None,
            "its arms share no complete seed",
        ),
        (
            {name: [None, SOLVED[name][0]] for name in NAMES},
            12,
            Scope.MODELS,
            (10 + 6 - 4 - 3) / 24,
            "",
        ),
        ({LORA_SOC: ["............" + "1" * 12] * 3}, 0, Scope.MODELS, None, "different problems"),
        ({LORA_SOC: [row[:11] for row in THREE[LORA_SOC]]}, 11, Scope.METHODS, 27 / 66, ""),
        ({LORA_SOC: [row[:9] for row in THREE[LORA_SOC]]}, 9, Scope.METHODS, 25 / 54, "too few"),
        ({LORA_SOC: THREE[LORA_SOC][:2]}, 12, Scope.METHODS, 26 / 72, "2 seeds are too few"),
    ],
)
def test_missing_runs_are_said_and_never_scored(rows, n, scope, difference, reason):
    found = effects(matrix(THREE | rows))[0]
    assert (found.n, found.scope) == (n, scope)
    assert found.difference == (None if difference is None else pytest.approx(difference))
    assert reason in found.reason
    assert (found.p_value is None) == bool(reason)
    assert (found.interval is None) == bool(reason)
    if reason:
        assert found.verdict is Verdict.NOT_SHOWN


@pytest.mark.parametrize("row", ["0" * 12, "1" * 12, "101010101010"])
@pytest.mark.parametrize("seeds", [1, 3])
def test_there_is_no_test_where_all_arms_solve_the_same(row, seeds):
    for each in effects(matrix({name: [row] * seeds for name in NAMES})):
        assert (each.difference, each.p_value, each.p_holm) == (0.0, None, None)
        assert each.reason == "no problem tells its arms apart"
        assert each.interval is not None
        assert each.interval.low < 0 < each.interval.high
