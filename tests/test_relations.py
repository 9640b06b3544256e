"""Losses, costs and answer format beside the verdicts: findings that need no new test."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from by_hand import tables
from paribus.analysis.contrasts import contrasts
from paribus.analysis.relations import (
    Cost,
    costs,
    format_and_skill,
    frontier,
    loss_against_accuracy,
)
from paribus.analysis.tables import Tables
from paribus.statistics.intervals import paired_difference
from paribus.statistics.verdicts import Verdict

GB = 10**9


def trained(rows, training, declared=(), machine="2 cores") -> Tables:
    """Tables of `rows` whose runs of arm X cost and lost `training[X]`, on `machine` or its own."""
    made = tables(rows, declared)
    return replace(
        made,
        runs=tuple(
            replace(
                run,
                result={
                    "training": training[run.arm],
                    "environment": {"machine": training[run.arm].get("machine", machine)},
                },
            )
            if run.arm in training
            else run
            for run in made.runs
        ),
    )


def lost(final_loss: float | None, tokens: int | None = 1000, examples: int | None = 10):
    return {"final_loss": final_loss, "target_tokens": tokens, "examples": examples}


LESS, MORE = "0" * 12, "1" * 12
"""Of 12 problems none and all: shown to differ, also after correction for a few comparisons."""


def order(rows, training, declared, per):
    made = trained(rows, training, declared)
    return loss_against_accuracy(made, contrasts(made), per)


def test_longer_targets_turn_the_order_of_losses_round():
    """Socratic targets are 58 % longer: a lower loss per token is a higher one per example."""
    training = {"main": lost(0.50, 1000, 10), "socratic": lost(0.40, 1580, 10)}
    rows = {"main": [MORE], "socratic": [LESS]}
    token = order(rows, training, [("main", "socratic")], "token")
    assert token.losses == {"main": 0.50, "socratic": 0.40}
    assert (token.against, token.along) == ((("main", "socratic"),), ())
    assert token.verdict is Verdict.SUPPORTED
    example = order(rows, training, [("main", "socratic")], "example")
    assert example.losses == {"main": pytest.approx(50.0), "socratic": pytest.approx(63.2)}
    assert (example.against, example.along) == ((), (("main", "socratic"),))
    assert example.verdict is Verdict.REFUTED


@pytest.mark.parametrize(
    ("losses", "solved", "declared", "verdict"),
    [
        # Declared either way round, the pair is (better, worse).
        ({"a": 0.2, "b": 0.1}, {"a": MORE, "b": LESS}, [("b", "a")], Verdict.SUPPORTED),
        ({"a": 0.1, "b": 0.2}, {"a": MORE, "b": LESS}, [("b", "a")], Verdict.REFUTED),
        ({"a": 0.1, "b": 0.2}, {"a": MORE, "b": MORE}, [("a", "b")], Verdict.NOT_SHOWN),
        ({"a": 0.1, "b": 0.2}, {"a": MORE, "b": LESS}, [], Verdict.NOT_SHOWN),
        # One pair against is enough, whatever goes along.
        (
            {"a": 0.1, "b": 0.2, "c": 0.3},
            {"a": LESS, "b": MORE, "c": LESS},
            [("a", "b"), ("b", "c")],
            Verdict.SUPPORTED,
        ),
        # Of an arm without a loss nothing is said.
        (
            {"a": 0.1, "b": 0.2, "c": None},
            {"a": LESS, "b": LESS, "c": MORE},
            [("c", "a")],
            Verdict.NOT_SHOWN,
        ),
    ],
)
def test_the_verdict_on_losses(losses, solved, declared, verdict):
    training = {name: lost(loss) for name, loss in losses.items()}
    rows = {name: [row] for name, row in solved.items()}
    assert order(rows, training, declared, "token").verdict is verdict


def test_an_untuned_arm_has_no_place_in_the_order():
    found = order(
        {"untuned": [LESS], "a": [MORE], "b": [MORE]},
        {"a": lost(0.1), "b": lost(0.2)},
        [("a", "untuned"), ("b", "untuned")],
        "token",
    )
    assert list(found.losses) == ["a", "b"]
    assert (found.against, found.along, found.verdict) == ((), (), Verdict.NOT_SHOWN)


@pytest.mark.parametrize(
    ("losses", "solved", "tau"),
    [
        ([0.1, 0.2, 0.3], ["1110", "1100", "1000"], 1.0),
        ([0.1, 0.2, 0.3], ["1000", "1100", "1110"], -1.0),
        # Pairs ab, ac agree and bc does not: (2 - 1) / 3.
        ([0.1, 0.2, 0.3], ["1110", "1000", "1100"], 1 / 3),
        # tau-b with b and c tied in accuracy: 2 agreeing pairs over sqrt(3 * 2).
        ([0.1, 0.2, 0.3], ["1110", "1000", "0100"], 2 / 6**0.5),
        ([0.1, 0.2, 0.3], ["1000", "0100", "0010"], None),
        ([0.2, 0.2, 0.2], ["1110", "1100", "1000"], None),
        ([0.1, 0.2], ["1100", "1000"], None),
    ],
)
def test_rank_correlation(losses, solved, tau):
    names = "abc"[: len(losses)]
    found = order(
        {name: [row] for name, row in zip(names, solved, strict=True)},
        {name: lost(loss) for name, loss in zip(names, losses, strict=True)},
        [],
        "token",
    )
    assert found.tau == (None if tau is None else pytest.approx(tau))


@pytest.mark.parametrize("per", ["token", "example"])
def test_under_two_losses_there_is_no_order(per):
    assert order({"a": [MORE], "b": [LESS]}, {"a": lost(0.1), "b": lost(None)}, [], per) is None
    assert order({"untuned": [LESS]}, {}, [], per) is None
    no_tokens = {"a": lost(0.1), "b": lost(0.2, tokens=None)}
    found = order({"a": [MORE], "b": [LESS]}, no_tokens, [], per)
    assert (found is None) == (per == "example")


def test_losses_are_averaged_over_seeds():
    made = trained({"a": ["11", "10"], "b": ["11"]}, {"a": lost(0.2), "b": lost(0.1)})
    first, second, other = made.runs
    second = replace(second, result={"training": lost(0.4, 2000, 10)})
    made = replace(made, runs=(first, second, other))
    assert loss_against_accuracy(made, [], "token").losses["a"] == pytest.approx(0.3)
    # 0.2 * 1000 / 10 and 0.4 * 2000 / 10.
    assert loss_against_accuracy(made, [], "example").losses["a"] == pytest.approx(50.0)


def cost(speed: float, gb: float, **more: str):
    return {"examples_per_second": speed, "peak_memory_bytes": gb * GB, **more}


def test_costs_are_of_tuned_arms_on_one_machine():
    rows = {"untuned": ["10"], "a": ["11", "10"], "b": ["00"], "c": [None]}
    found = costs(trained(rows, {"a": cost(2.0, 4), "b": cost(4.0, 1)}))
    assert found == [
        Cost(name="a", accuracy=0.75, examples_per_second=2.0, peak_memory_bytes=4 * GB),
        Cost(name="b", accuracy=0.0, examples_per_second=4.0, peak_memory_bytes=1 * GB),
    ]
    assert costs(trained(rows, {"a": cost(2.0, 4), "b": cost(4.0, 1, machine="an H100")})) == []
    assert costs(tables(rows)) == []


def point(name: str, accuracy: float, speed: float, memory: float) -> Cost:
    return Cost(name=name, accuracy=accuracy, examples_per_second=speed, peak_memory_bytes=memory)


@pytest.mark.parametrize(
    ("points", "memory", "speed"),
    [
        ([("a", 0.5, 1, 4)], "a", "a"),
        # Cheaper and worse, dearer and better: both stand.
        ([("a", 0.5, 1, 4), ("b", 0.4, 2, 2)], "ab", "ab"),
        # b is worse; it needs less memory and is slower.
        ([("a", 0.5, 2, 4), ("b", 0.4, 1, 2)], "ab", "a"),
        # Equal in all: neither beats the other.
        ([("a", 0.5, 1, 4), ("b", 0.5, 1, 4)], "ab", "ab"),
        # Equal in one: the other decides.
        ([("a", 0.5, 1, 4), ("b", 0.5, 2, 4)], "ab", "b"),
        ([("a", 0.5, 1, 4), ("b", 0.6, 1, 4)], "b", "b"),
        ([("a", 0.5, 1, 4), ("b", 0.4, 2, 3), ("c", 0.4, 2, 2)], "ac", "abc"),
        ([], "", ""),
    ],
)
def test_the_frontier(points, memory, speed):
    made = [point(*each) for each in points]
    assert "".join(frontier(made, "memory")) == memory
    assert "".join(frontier(made, "speed")) == speed


@given(
    st.lists(
        st.tuples(*[st.integers(1, 4)] * 3),
        min_size=1,
        max_size=6,
    )
)
def test_whoever_is_off_the_frontier_is_beaten_by_someone_on_it(figures):
    made = [point(str(n), a, s, m) for n, (a, s, m) in enumerate(figures)]
    best = set(frontier(made, "memory"))
    assert best
    for each in made:
        beaten = any(
            other.accuracy >= each.accuracy
            and other.peak_memory_bytes <= each.peak_memory_bytes
            and (other.accuracy, other.peak_memory_bytes) != (each.accuracy, each.peak_memory_bytes)
            for other in made
            if other.name in best
        )
        assert beaten == (each.name not in best)


def test_a_gain_is_format_and_skill():
    """Of 11 problems the untuned model solves 1 and 3 more but for the format; the tuned one 6."""
    made = tables({"untuned": ["1fff0000000"], "full": ["11110110000"]})
    found = format_and_skill(made, "full", "untuned")
    assert (found.a, found.b) == ("full", "untuned")
    assert found.form == pytest.approx(3 / 11)
    assert found.skill == pytest.approx(2 / 11)
    assert found.gain == pytest.approx(5 / 11)
    assert found.form_interval == paired_difference(only_a=3, only_b=0, n=11)
    assert found.skill_interval == paired_difference(only_a=2, only_b=0, n=11)


@pytest.mark.parametrize(
    ("untuned", "full", "form", "skill"),
    [
        ("ffff", "1111", 1.0, 0.0),  # all of it is format
        ("0000", "1111", 0.0, 1.0),
        ("ffff", "1100", 1.0, -0.5),  # the format was learnt and arithmetic was lost
        ("1111", "1111", 0.0, 0.0),
        ("ff00", "ffff", 0.5, -0.5),  # the tuned arm is judged by its own answer line
    ],
)
def test_format_and_skill(untuned, full, form, skill):
    found = format_and_skill(tables({"untuned": [untuned], "full": [full]}), "full", "untuned")
    assert (found.form, found.skill) == (form, skill)
    assert found.gain == form + skill


@given(st.lists(st.tuples(st.sampled_from("1f0"), st.sampled_from("1f0")), min_size=1, max_size=9))
def test_format_and_skill_sum_to_the_difference(pairs):
    untuned, full = ("".join(column) for column in zip(*pairs, strict=True))
    found = format_and_skill(tables({"untuned": [untuned], "full": [full]}), "full", "untuned")
    assert found.form + found.skill == pytest.approx(found.gain)
    assert found.gain == pytest.approx((full.count("1") - untuned.count("1")) / len(pairs))


def test_over_seeds_skill_has_the_interval_of_methods_and_two_seeds_none():
    untuned = ["ffff0000000000000000"]
    rows = ["11111111110000000000", "11111111100000000000", "11111111111000000000"]
    three = format_and_skill(tables({"untuned": untuned, "full": rows}), "full", "untuned")
    assert three.skill == pytest.approx(0.3)
    assert three.skill_interval.low < 0.3 < three.skill_interval.high
    two = format_and_skill(tables({"untuned": untuned, "full": rows[:2]}), "full", "untuned")
    assert two.skill_interval is None


def test_nothing_to_split():
    made = tables({"untuned": ["01"], "full": ["11"], "lora": ["11"]})
    assert format_and_skill(made, "full", "lora") is None
    assert format_and_skill(made, "untuned", "full") is None
    missing = tables({"untuned": ["10"], "full": [None]})
    assert format_and_skill(missing, "full", "untuned") is None
    apart = tables({"untuned": ["1."], "full": [".1"]})
    assert format_and_skill(apart, "full", "untuned") is None
