"""`paribus audit`: what published counts show, and what they leave open."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paribus.analysis.published import Count, Published, counted, judge, shared
from paribus.cli.main import main
from paribus.errors import UserError
from paribus.statistics.intervals import mcnemar
from paribus.statistics.power import Design, problems_needed

TABLE = ["full=31/100", "lora=20/100", "base=6/100"]


def audited(capsys, *words: str):
    assert main(["audit", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("full=31/100", Count("full", 31, 100)),
        ("full=25.0%/512", Count("full", 128, 512)),
        ("full=33.3%/1319", Count("full", 439, 1319)),
        ("none=0%/5", Count("none", 0, 5)),
        ("all=100%/5", Count("all", 5, 5)),
    ],
)
def test_a_count_is_read(text, count):
    assert counted(text) == count


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("full", "is no published count"),
        ("full=2=3/7", "is no published count"),
        ("full=31", "is no published count"),
        ("full=-1/100", "is no published count"),
        ("=31/100", "is no published count"),
        ("full=31/0", "problems must be 1 to 1,000,000"),
        ("full=31/1000001", "problems must be 1 to 1,000,000"),
        ("full=101/100", "101 of 100 problems cannot be solved"),
        ("full=30.5/100", "30.5 of 100 problems cannot be solved"),
        ("full=101%/100", "no number of solved problems out of 100 is 101 %"),
        ("full=25.3%/100", "no number of solved problems out of 100 is 25.3 %"),
    ],
)
def test_what_is_no_count_is_refused(text, said):
    with pytest.raises(UserError, match=said):
        counted(text)


def test_a_percentage_that_no_count_gives_names_the_nearest():
    with pytest.raises(UserError) as refused:
        counted("full=25.3%/100")
    assert "25.00 % and 26.00 %" in refused.value.remedy


def test_verdicts_of_a_published_table():
    arms = [counted(text) for text in TABLE]
    pairs = [("full", "base"), ("full", "lora"), ("lora", "base"), ("base", "lora")]
    found = judge(arms, pairs)
    assert [each.verdict for each in found] == [
        Published.SHOWN,
        Published.OPEN,
        Published.SHOWN,
        Published.SHOWN,
    ]
    assert found[1].difference == pytest.approx(0.11)
    assert found[2].p_values == found[3].p_values


def test_what_must_be_in_common_is_the_fewest_that_shows_the_difference():
    (found,) = judge([counted("full=31/100"), counted("lora=20/100")], [("full", "lora")])
    assert found.both_needed is not None
    few, many = shared(found.a, found.b)
    assert (few, many) == (6, 20)
    p_values = {both: mcnemar(only_a=31 - both, only_b=20 - both) for both in range(few, many + 1)}
    assert found.both_needed == min(both for both, p in p_values.items() if p < 0.05)


@given(st.integers(1, 60), st.data())
def test_more_in_common_never_makes_a_difference_less_certain(n, data):
    a, b = (data.draw(st.integers(0, n)) for _ in range(2))
    (found,) = judge([Count("a", a, n), Count("b", b, n)], [("a", "b")])
    independent, nested = found.p_values
    if independent is not None and nested is not None:
        assert nested <= independent
    for interval in found.intervals:
        assert interval.low <= found.difference + 1e-9
        assert interval.high >= found.difference - 1e-9


def test_different_problems_are_independent_samples():
    from scipy.stats import fisher_exact

    (found,) = judge([counted("a=31/100"), counted("b=25.0%/512")], [("a", "b")])
    expected = fisher_exact([[31, 69], [128, 384]]).pvalue
    assert found.p_values == (pytest.approx(expected),) * 2
    low, high = found.intervals[0].low, found.intervals[0].high
    assert found.difference == pytest.approx(0.06)
    assert low < 0 < 0.06 < high < 0.2
    assert (found.both_needed, found.verdict) == (None, Published.NOT_SHOWN)


def test_what_it_would_have_taken_is_what_power_says(capsys):
    (found,) = audited(capsys, "full=31/100", "lora=20/100")["differences"]
    by_seeds = {row["seeds"]: row["problems"] for row in found["needed"]}
    design = Design(n=0, correlation=found["correlation"])
    assert by_seeds[1] == problems_needed(design, 0.2, 0.31 - 0.2)
    five = Design(n=0, seeds=5, correlation=found["correlation"])
    assert by_seeds[5] == problems_needed(five, 0.2, 0.31 - 0.2)


def test_every_pair_is_compared_the_better_arm_first(capsys):
    record = audited(capsys, *TABLE)
    pairs = [(each["a"], each["b"]) for each in record["differences"]]
    assert pairs == [("full", "lora"), ("full", "base"), ("lora", "base")]
    assert record["comparisons"] == 3


def test_fewer_comparisons_correct_less(capsys):
    one = audited(capsys, *TABLE, "--compare", "base:full")["differences"][0]
    among_three = audited(capsys, *TABLE)["differences"][1]
    assert one["difference"] == pytest.approx(-among_three["difference"])
    assert one["p_holm"][0] < among_three["p_holm"][0]


@pytest.mark.parametrize("counts", [["a=0/5", "b=0/5"], ["a=5/5", "b=0/5"], ["a=3/5", "b=3/5"]])
def test_arms_that_solve_all_or_nothing_have_a_verdict(counts, capsys):
    assert main(["audit", *counts]) == 0
    assert "of 1 difference shown" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["full=31/100"], "one arm alone has no difference to judge"),
        (["full=31/100", "full=2/10"], "'full' is named twice"),
        ([*TABLE, "--compare", "full:lroa"], "no arm is named 'lroa'"),
        ([*TABLE, "--compare", "full"], "names no two arms"),
        ([*TABLE, "--compare", "full:full"], "names no two arms"),
        ([*TABLE, "--seed-spread", "1"], "the seed spread is 1, outside 0 to 0.5"),
        ([*TABLE, "--seed-spread", "nan"], "the seed spread is nan, outside 0 to 0.5"),
    ],
)
def test_a_mistake_ends_with_two(words, said, capsys):
    assert main(["audit", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_answer_comes_first(capsys):
    assert main(["audit", *TABLE]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "2 of 3 differences shown between the trained models, at the 5 % level over all 3 (Holm); "
        "1 open."
    )
    assert "full − lora   +11.0  0.108 to < 0.001  open: 13 in common" in lines
