"""Contrasts against tables counted by hand: what is compared, tested, corrected and refused."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from by_hand import solved, tables
from paribus.analysis.answer import answer
from paribus.analysis.caveats import Caveats
from paribus.analysis.contrasts import Contrast, contrast
from paribus.analysis.family import judged
from paribus.analysis.summary import summaries
from paribus.analysis.wording import seeds, verdict_sentence
from paribus.statistics.crossed import components, estimate
from paribus.statistics.groups import numbered
from paribus.statistics.intervals import paired_difference
from paribus.statistics.verdicts import Scope, Verdict

FULL = ["11111111110000000000", "11111111111100000000", "11111111110000000011"]
LORA = ["11110000000000000000", "11100000000000000000", "11111000000000000000"]
"""Three seeds each on twenty problems."""


def only(rows, **more) -> Contrast:
    """The contrast of the first two arms."""
    a, b = list(rows)[:2]
    return contrast(tables(rows, **more), a, b, "method")


# --- one seed --------------------------------------------------------------------------------


def test_two_models_are_counted_by_hand():
    found = only({"full": ["1111111100"], "lora": ["1000000010"]})
    assert (found.both, found.only_a, found.only_b, found.neither) == (1, 7, 1, 1)
    assert (found.n, found.left_out, found.seeds) == (10, 0, (1, 1))
    assert found.scope is Scope.MODELS
    assert found.difference == pytest.approx(0.6)
    assert found.by_seed == (pytest.approx(0.6),)
    assert found.interval == paired_difference(only_a=7, only_b=1, n=10)
    assert found.p_value == pytest.approx(0.0703125)
    assert found.reason == ""


def test_problems_in_groups_are_not_independent():
    rows = {"full": ["1111100000" * 4], "lora": ["0000000000" * 4]}
    alone, grouped = only(rows), only(rows, groups="abcdefghijklmnopqrst" * 2)
    assert grouped.scope is Scope.MODELS
    assert alone.p_value == pytest.approx(2 / 2**20)
    assert grouped.difference == alone.difference == 0.5
    expected = estimate(
        [(1.0, components(solved(rows["full"][0]))), (-1.0, components(solved(rows["lora"][0])))],
        numbered(list("abcdefghijklmnopqrst" * 2)),
    )
    assert grouped.p_value == expected.p_value
    few = only(rows, groups="aaaabbbbcccc" + "d" * 28)
    assert (few.interval, few.p_value, few.detectable) == (None, None, None)
    assert few.reason == "4 groups of problems are too few, under 10"


# --- several seeds ---------------------------------------------------------------------------


def test_several_seeds_speak_of_the_methods():
    found = only({"full": FULL, "lora": LORA})
    assert (found.scope, found.seeds, found.n) == (Scope.METHODS, (3, 3), 20)
    # Problems 5 to 12 and the last two: full solves them more often. Lora none.
    assert (found.only_a, found.only_b, found.both, found.neither) == (11, 0, 3, 6)
    assert found.difference == pytest.approx((34 - 12) / 60)
    assert found.by_seed == pytest.approx((6 / 20, 9 / 20, 7 / 20))
    crossed = estimate([(1.0, components(solved(*FULL))), (-1.0, components(solved(*LORA)))])
    assert found.interval == crossed.interval
    assert found.p_value == crossed.p_value
    assert found.detectable is not None


def test_an_untuned_arm_has_one_run_for_all_seeds():
    found = only({"full": FULL, "untuned": ["0" * 19 + "1"]})
    assert (found.scope, found.seeds) == (Scope.METHODS, (3, 1))
    assert found.by_seed == pytest.approx((9 / 20, 11 / 20, 11 / 20))
    other = only({"untuned": ["0" * 19 + "1"], "full": FULL})
    assert other.by_seed == pytest.approx((-9 / 20, -11 / 20, -11 / 20))
    assert other.p_value == found.p_value


@pytest.mark.parametrize(
    ("full", "lora", "seeds", "scope", "difference"),
    [
        (FULL, LORA[:1], (3, 1), Scope.METHODS, 34 / 60 - 4 / 20),
        (FULL, [None, LORA[1], None], (3, 1), Scope.METHODS, 34 / 60 - 3 / 20),
        (FULL[:2], LORA[:1], (2, 1), Scope.METHODS, 22 / 40 - 4 / 20),
        (FULL[:1], LORA[:1], (1, 1), Scope.MODELS, 6 / 20),
        ([None, *FULL[1:]], [LORA[0], LORA[1]], (2, 2), Scope.METHODS, 24 / 40 - 7 / 40),
        (FULL, [None, *LORA[1:]], (3, 2), Scope.METHODS, 34 / 60 - 8 / 40),
    ],
)
def test_an_interrupted_arm_is_compared_as_far_as_it_came(full, lora, seeds, scope, difference):
    """All runs count; a single one is a model that exists; what is missing is never a zero."""
    found = only({"full": full, "lora": lora})
    assert (found.seeds, found.scope) == (seeds, scope)
    assert found.difference == pytest.approx(difference)


def test_paired_seeds_are_compared_seed_by_seed():
    """Seeds 0, 1 and 2 of both arms; seed 3 of lora has no partner."""
    made = tables({"full": FULL, "lora": [*LORA, "1" * 20]})
    alone = contrast(made, "full", "lora", "method")
    made.config["paired_seeds"] = True
    found = contrast(made, "full", "lora", "method")
    assert (alone.paired, alone.seeds, found.paired, found.seeds) == (False, (3, 4), True, (3, 3))
    arms = [(1.0, components(solved(*FULL))), (-1.0, components(solved(*LORA)))]
    assert found.p_value == estimate(arms, paired=True).p_value
    assert found.difference == pytest.approx((34 - 12) / 60)
    assert [seeds(each) for each in (alone, found)] == [
        "over 4 and 3 seeds",
        "over 3 paired seeds",
    ]


@pytest.mark.parametrize(
    ("full", "lora", "counts", "reason"),
    [
        ([*FULL[:2], None], [None, *LORA[1:]], (1, 1), ""),
        ([*FULL, FULL[0]], [None, None, *LORA[1:]], (2, 2), "2 seeds are too few to say how much"),
        ([*FULL[:2], None, None], [None, None, *LORA[:2]], (0, 0), "the arms share no complete"),
        (FULL, ["1" * 20], (3, 1), ""),  # a model that exists has no seed to pair
    ],
)
def test_only_seeds_that_both_have_are_paired(full, lora, counts, reason):
    made = tables({"full": full, "lora": lora})
    made.config["paired_seeds"] = True
    found = contrast(made, "full", "lora", "method")
    assert found.seeds == counts
    assert found.reason.startswith(reason)
    assert found.scope is (Scope.METHODS if max(counts) > 1 else Scope.MODELS)


def test_an_untuned_arm_is_paired_with_nothing():
    rows = {"full": FULL, "untuned": ["0" * 19 + "1"]}
    made = tables(rows)
    made.config["paired_seeds"] = True
    found = contrast(made, "full", "untuned", "method")
    assert not found.paired
    assert found.p_value == only(rows).p_value


# --- bad input -------------------------------------------------------------------------------

TEN, NONE = "1111100000", "0000000000"


@pytest.mark.parametrize(
    ("rows", "n", "difference", "tested", "reason"),
    [
        # n too small for a test
        ({"full": ["1"], "lora": ["0"]}, 1, 1.0, True, ""),
        ({"full": ["1" * 5], "lora": ["0" * 5]}, 5, 1.0, True, ""),
        ({"full": ["1" * 9] * 3, "lora": ["0" * 9] * 3}, 9, 1.0, False, "9 problems are too few"),
        ({"full": [""], "lora": [""]}, 0, None, False, "tested on different problems"),
        # no discordant pairs
        ({"full": [TEN], "lora": [TEN]}, 10, 0.0, False, "both solve the very same problems"),
        ({"full": [TEN] * 3, "lora": [TEN] * 3}, 10, 0.0, False, "both solve the very same"),
        # all right or all wrong
        ({"full": ["1" * 10], "lora": ["1" * 10]}, 10, 0.0, False, "both solve the very same"),
        ({"full": [NONE], "lora": [NONE]}, 10, 0.0, False, "both solve the very same problems"),
        ({"full": [NONE] * 3, "lora": [NONE] * 3}, 10, 0.0, False, "both solve the very same"),
        # one seed, two seeds
        ({"full": [TEN], "lora": [NONE]}, 10, 0.5, True, ""),
        ({"full": [TEN] * 2, "lora": [NONE] * 2}, 10, 0.5, False, "2 seeds are too few"),
        ({"full": [TEN] * 2, "untuned": [NONE]}, 10, 0.5, False, "2 seeds are too few"),
        # arms with different problems
        ({"full": ["11111....."], "lora": [".....00000"]}, 0, None, False, "different problems"),
        ({"full": ["11111111.."], "lora": ["..00000000"]}, 6, 1.0, True, ""),
        # a model that gave no valid distribution: failed, and nothing it solved
        ({"full": ["x" * 10], "lora": [TEN]}, 10, -0.5, True, ""),
        # an interrupted arm
        ({"full": [None], "lora": [TEN]}, 0, None, False, "no results of both arms"),
        ({"full": [TEN, None], "lora": [None, NONE]}, 0, None, False, "share no complete seed"),
        ({"full": [TEN, None, None], "lora": [NONE] * 3}, 10, 0.5, True, ""),
        ({"full": [TEN, None, TEN], "untuned": [None]}, 0, None, False, "no results of both arms"),
    ],
)
def test_bad_input_has_a_defined_answer(rows, n, difference, tested, reason):
    a, b = rows
    made = tables(rows, [(a, b)])
    (found,) = judged(made).contrasts
    assert found.n == n
    assert found.difference == (None if difference is None else pytest.approx(difference))
    assert (found.p_value is not None) is tested
    assert reason in found.reason
    assert bool(found.reason) is not tested
    if n < 6:  # the exact test of fewer problems cannot reach 0.05
        assert found.verdict is Verdict.NOT_SHOWN
        assert found.detectable is None
    json.dumps(asdict(found), allow_nan=False)
    assert verdict_sentence(found)
    assert answer(made, [found], [Caveats()])


ROW = st.none() | st.text("01.x", min_size=12, max_size=12)
ROWS = st.fixed_dictionaries(
    {
        "full": st.lists(ROW, min_size=1, max_size=4),
        "lora": st.lists(ROW, min_size=1, max_size=4),
        "untuned": st.lists(ROW, min_size=1, max_size=1),
    }
)
PAIRS = [("full", "lora"), ("lora", "full"), ("full", "untuned"), ("lora", "untuned")]


@settings(max_examples=25)
@given(ROWS, st.just("") | st.text("abcdefghijkl", min_size=12, max_size=12))
def test_whatever_was_run_every_contrast_has_an_answer(rows, groups):
    made = tables(rows, PAIRS, groups=groups)
    family = judged(made)
    found = family.contrasts
    for each in found:
        assert verdict_sentence(each)
        assert (each.n == 0) == (each.difference is None)
        assert bool(each.reason) == (each.p_value is None)
        if each.p_value is not None:
            assert 0 <= each.p_value <= (each.p_holm or 0) <= 1
            assert each.interval
        if each.interval and each.difference is not None:
            assert -1 <= each.interval.low <= each.difference <= each.interval.high <= 1
        json.dumps(asdict(each), allow_nan=False)
    one, other = found[:2]
    assert (one.n, one.only_a, one.both, one.reason) == (
        other.n,
        other.only_b,
        other.both,
        one.reason,
    )
    if one.difference is not None and other.difference is not None:
        assert one.difference == pytest.approx(-other.difference)
    assert (one.p_value is None) == (other.p_value is None)
    assert (one.p_value or 0) == pytest.approx(other.p_value or 0)
    assert len(summaries(made)) == 3
    assert answer(made, found, [Caveats()] * len(found))
    assert family.effects == []


def test_the_answer_of_many_arms_names_the_few_that_differ_most():
    """Arms r0 to r11 solve 24 to 35 of 40 problems, the untuned model none."""
    rows = {f"r{n}": [("1" * (24 + n)).ljust(40, "0")] for n in range(12)}
    pairs = [*((arm, "untuned") for arm in rows), *(("r11", f"r{n}") for n in range(5))]
    made = tables({**rows, "untuned": ["0" * 40]}, pairs)
    found = judged(made).contrasts
    first, second = answer(made, found, [Caveats()] * len(found))
    assert "all 12 tuned arms" in first
    assert "r11 (87.5 %), r10 (85 %), r9 (82.5 %), r8 (80 %) and 8 more arms" in first
    assert second.count("is better than") == 4
    assert second.index("than r0 ") < second.index("than r3 ")
    assert second.endswith("as much is shown of 1 more pair, see below.")
