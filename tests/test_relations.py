"""Costs and answer format beside the verdicts: figures that need no new runs."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from by_hand import result, tables
from paribus.analysis.family import Cost, costs, format_and_skill, frontier
from paribus.analysis.tables import Tables
from paribus.evaluation.mistakes import mentions
from paribus.statistics.intervals import paired_difference

GB = 10**9


def trained(rows, training, machine="2 cores") -> Tables:
    """Tables of `rows` whose runs of arm X cost `training[X]`, on `machine` or its own."""
    made = tables(rows)
    return replace(
        made,
        runs=tuple(
            replace(
                run,
                result=result(
                    training=training[run.arm],
                    environment={"machine": training[run.arm].get("machine", machine)},
                ),
            )
            if run.arm in training
            else run
            for run in made.runs
        ),
    )


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
    without_speed = {"peak_memory_bytes": 4 * GB}
    left = costs(trained(rows, {"a": without_speed, "b": cost(4.0, 1)}))
    assert [each.name for each in left] == ["b"]


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


def test_a_gain_and_what_is_left_of_it():
    """Of 11 problems the untuned model solves 1, has 2 more as its last number and 1 elsewhere."""
    made = tables({"untuned": ["1ffs0000000"], "full": ["11111111000"]})
    found = format_and_skill(made, "full", "untuned")
    assert (found.a, found.b, found.n) == ("full", "untuned", 11)
    assert found.gain == pytest.approx(7 / 11)
    assert found.last == pytest.approx(5 / 11)
    assert found.last_interval == paired_difference(only_a=5, only_b=0, n=11)
    assert found.least == pytest.approx(4 / 11)
    assert found.least_tested.interval == paired_difference(only_a=4, only_b=0, n=11)
    assert found.least_tested.p_value == pytest.approx(2 / 2**4)


@pytest.mark.parametrize(
    ("untuned", "full", "least", "last"),
    [
        ("ffff", "1111", 0.0, 0.0),  # all of it may be format
        ("ssss", "1111", 0.0, 1.0),  # and here too, where the last number says nothing
        ("0000", "1111", 1.0, 1.0),
        ("nncc", "1111", 1.0, 1.0),
        ("ffff", "1100", -0.5, -0.5),  # the format was learnt and arithmetic was lost
        ("1111", "1111", 0.0, 0.0),
        ("ff00", "ffff", -0.5, -0.5),  # the tuned arm is judged by its own answer line
    ],
)
def test_what_is_more_than_format(untuned, full, least, last):
    found = format_and_skill(tables({"untuned": [untuned], "full": [full]}), "full", "untuned")
    assert (found.least, found.last) == (least, last)


@given(
    st.lists(st.tuples(st.sampled_from("1fs0nc"), st.sampled_from("1f0")), min_size=1, max_size=9)
)
def test_the_lower_bound_is_below_both_other_readings(pairs):
    untuned, full = ("".join(column) for column in zip(*pairs, strict=True))
    found = format_and_skill(tables({"untuned": [untuned], "full": [full]}), "full", "untuned")
    assert found.least <= found.last <= found.gain
    assert found.gain == pytest.approx((full.count("1") - untuned.count("1")) / len(pairs))


@pytest.mark.parametrize(
    ("text", "answer", "stands"),
    [
        ("the answer is 7 apples. This took 2 steps", "7", True),
        ("Seven apples, I think.", "7", True),
        ("$1,234.50 in all", "1234.5", True),
        ("about 70 of 17", "7", False),
        ("", "7", False),
        ("-7 or minus 7", "-7", True),
        ("twenty-one pens", "21", True),
        ("7.0", "7", True),
        ("0.7", "7", False),
        ("anything", "no number", False),
    ],
)
def test_whether_a_number_stands_in_a_text(text, answer, stands):
    assert mentions(text, answer) == stands


def test_over_seeds_skill_has_the_interval_of_methods_and_two_seeds_none():
    untuned = ["ffff0000000000000000"]
    rows = ["11111111110000000000", "11111111100000000000", "11111111111000000000"]
    three = format_and_skill(tables({"untuned": untuned, "full": rows}), "full", "untuned")
    assert three.least == pytest.approx(0.3)
    interval = three.least_tested.interval
    assert interval.low < 0.3 < interval.high
    two = format_and_skill(tables({"untuned": untuned, "full": rows[:2]}), "full", "untuned")
    assert (two.least_tested.interval, two.last_interval) == (None, None)
    assert "2 seeds" in two.least_tested.reason


def test_nothing_to_split():
    made = tables({"untuned": ["01"], "full": ["11"], "lora": ["11"]})
    assert format_and_skill(made, "full", "lora") is None
    assert format_and_skill(made, "untuned", "full") is None
    missing = tables({"untuned": ["10"], "full": [None]})
    assert format_and_skill(missing, "full", "untuned") is None
    apart = tables({"untuned": ["1."], "full": [".1"]})
    assert format_and_skill(apart, "full", "untuned") is None
