"""What else may stand behind a difference: found without being asked, in whatever came out."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from by_hand import tables
from paribus.analysis.caveats import Caveats
from paribus.analysis.findings import conclude, payload
from paribus.analysis.tables import Tables
from paribus.statistics.intervals import paired_difference
from paribus.store.results import DataCounts

PAIR = [("a", "b")]


def of(rows: dict[str, list[str]], groups: str = "") -> Caveats:
    (found,) = conclude(tables(rows, PAIR, groups=groups)).caveats
    return found


def row(*parts: tuple[str, int]) -> str:
    return "".join(mark * count for mark, count in parts)


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        # 14 points that are all cut texts: none is left where both answered.
        (
            row(("1", 60), ("0", 40)),
            row(("1", 46), ("c", 14), ("0", 40)),
            [
                "cut by the token limit: 0 % of the texts of a, 14 % of b",
                "among the 86 of 100 problems that both answered: 0 points [",
            ],
        ),
        (
            row(("1", 60), ("0", 40)),
            row(("n", 14), ("1", 46), ("0", 40)),
            [
                "without a final answer: 0 % of the texts of a, 14 % of b",
                "among the 86 of 100 problems that both answered: 0 points [",
            ],
        ),
        # A failure is a fault: one is enough, on whichever side.
        (
            row(("1", 60), ("0", 39), ("x", 1)),
            row(("1", 60), ("0", 40)),
            [
                "failed to generate: 1 % of the texts of a, 0 % of b",
                "among the 99 of 100 problems that both answered: 0 points [",
            ],
        ),
        # Three of each kind: neither alone is more than chance, together they are.
        (
            row(("1", 60), ("0", 40)),
            row(("1", 54), ("c", 3), ("n", 3), ("0", 40)),
            [
                "without a final answer, cut or failed: 0 % of the texts of a, 6 % of b",
                "among the 94 of 100 problems that both answered: 0 points [",
            ],
        ),
        # The better arm is the one that was cut: the difference is larger than it looks.
        (
            row(("1", 60), ("c", 30), ("0", 10)),
            row(("0", 30), ("1", 30), ("0", 40)),
            [
                "cut by the token limit: 30 % of the texts of a, 0 % of b",
                "among the 70 of 100 problems that both answered: +42.9 points [",
            ],
        ),
        # As many on both sides, if on other problems; a few more, as chance brings them; none.
        (row(("c", 20), ("0", 80)), row(("0", 80), ("c", 20)), []),
        (row(("x", 9), ("0", 91)), row(("0", 91), ("x", 9)), []),
        (row(("n", 5), ("0", 95)), row(("0", 100)), []),
        (row(("1", 100)), row(("0", 100)), []),
        # Neither answers: nothing is unbalanced, and nothing is known.
        (
            row(("n", 60), ("0", 40)),
            row(("n", 60), ("0", 40)),
            ["among the 40 of 100 problems that both answered: 0 points ["],
        ),
        (
            row(("n", 100)),
            row(("c", 100)),
            [
                "without a final answer: 100 % of the texts of a, 0 % of b",
                "cut by the token limit: 0 % of the texts of a, 100 % of b",
                "no problem was answered by both: accuracy says nothing of skill here",
            ],
        ),
    ],
)
def test_outcomes_that_are_unbalanced(a, b, said):
    found = of({"a": [a], "b": [b]})
    assert len(found.outcomes) == len(said), found.outcomes
    for text, expected in zip(found.outcomes, said, strict=True):
        assert text.startswith(expected)


def test_over_seeds_every_run_counts():
    """One seed of three that failed on a third of the problems."""
    good = row(("1", 20), ("0", 10))
    found = of({"a": [good] * 3, "b": [good, good, row(("x", 10), ("1", 10), ("0", 10))]})
    assert found.outcomes[0] == "failed to generate: 0 % of the texts of a, 11.1 % of b"
    assert (found.answered.n, found.answered.difference) == (20, 0.0)


def test_two_seeds_have_no_interval_there_either():
    found = of({"a": [row(("1", 30))] * 2, "b": [row(("c", 20), ("1", 10))] * 2})
    assert found.outcomes[-1].startswith(
        "among the 10 of 30 problems that every run of both answered: 0 points [no interval: 2"
    )
    assert found.answered.interval is None


MARKS = "1f0ncx"


@settings(max_examples=20)
@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(*[st.lists(st.sampled_from(MARKS), min_size=n, max_size=n)] * 2)
    )
)
def test_the_difference_among_problems_that_both_answered(marks):
    a, b = marks
    both = [(x, y) for x, y in zip(a, b, strict=True) if x in "10" and y in "10"]
    found = of({"a": ["".join(a)], "b": ["".join(b)]}).answered
    assert found.n == len(both)
    if both:
        only = [sum(pair == two for pair in both) for two in (("1", "0"), ("0", "1"))]
        assert found.difference == pytest.approx((only[0] - only[1]) / len(both))
        assert found.interval == paired_difference(only_a=only[0], only_b=only[1], n=len(both))
    else:
        assert (found.difference, found.interval, bool(found.reason)) == (None, None, True)


def test_groups_are_kept_among_those_that_answered():
    """Twelve groups of two, of which one answered nothing: eleven are left, and no gap in them."""
    groups = "".join(letter * 2 for letter in "abcdefghijkl")
    found = of({"a": ["1" * 12 + "0" * 10 + "nn"], "b": ["0" * 22 + "nn"]}, groups)
    assert found.answered.n == 22
    assert found.answered.interval is not None


def seen(made: Tables, counts: dict[str, tuple[int, int]]) -> Tables:
    """`made` with whole and 13-word overlaps of test and training questions, arm by arm."""

    def data(arm: str) -> DataCounts:
        none = {"shots_in_train": 0, "shots_in_test": 0}
        whole, shared = counts[arm]
        return DataCounts(
            overlap_exact=none | {"test_in_train": whole},
            overlap_13gram=none | {"test_in_train": shared},
        )

    return replace(
        made,
        runs=tuple(
            replace(run, data=data(run.arm)) if run.arm in counts else run for run in made.runs
        ),
    )


LEARNT = "test questions among the training questions: "


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (
            {"a": (100, 100), "b": (0, 0)},
            "a 100 whole, 100 sharing 13 words in a row; b 0 whole, 0 sharing 13 words in a row",
        ),
        # Both learnt them: equal, and yet no measure of skill.
        (
            {"a": (1, 1), "b": (1, 1)},
            "a 1 whole, 1 sharing 13 words in a row; b 1 whole, 1 sharing 13 words in a row",
        ),
        # Every question reworded at its end.
        (
            {"a": (0, 97), "b": (0, 0)},
            "a 0 whole, 97 sharing 13 words in a row; b 0 whole, 0 sharing 13 words in a row",
        ),
        ({"a": (3, 3)}, "a 3 whole, 3 sharing 13 words in a row; b not known"),
        # Templates share words with both alike, and one problem more is not an imbalance.
        ({"a": (0, 60), "b": (0, 60)}, None),
        ({"a": (0, 3), "b": (0, 2)}, None),
        ({"a": (0, 2), "b": (0, 0)}, None),
        (
            {"a": (0, 3), "b": (0, 0)},
            "a 0 whole, 3 sharing 13 words in a row; b 0 whole, 0 sharing 13 words in a row",
        ),
        ({"a": (0, 0), "b": (0, 0)}, None),
        ({}, None),
    ],
)
def test_test_questions_that_an_arm_trained_on(counts, said):
    made = seen(tables({"a": ["1" * 100], "b": ["0" * 100]}, PAIR), counts)
    found = conclude(made).caveats[0].outcomes
    assert found == (() if said is None else (LEARNT + said,))


def test_an_untuned_arm_has_learnt_nothing():
    """Its result speaks of the training problems that the others read."""
    rows = {"full": ["1" * 50], "untuned": ["0" * 50]}
    made = seen(tables(rows, [("full", "untuned")]), {"full": (9, 9), "untuned": (9, 9)})
    (said,) = conclude(made).caveats[0].outcomes
    assert said.endswith("untuned 0 whole, 0 sharing 13 words in a row")


def test_the_form_of_answers():
    found = of({"a": ["1" * 10], "b": ["f" * 10]})
    assert found.outcomes[0].startswith("without a final answer: 0 % of the texts of a, 100 % of b")
    assert found.outcomes[1].startswith(
        "by the last number of each text (flexible) the difference is not shown: 0 points ["
    )


def test_caveats_are_in_the_json_and_on_every_finding_that_rests_on_the_contrast():
    made = tables({"untuned": ["n" * 40], "full": ["1" * 40]}, [("full", "untuned")])
    found = payload(conclude(made))
    (contrast,) = found["contrasts"]
    assert contrast["unlike"] == []
    assert contrast["answered"] == {
        "n": 0,
        "difference": None,
        "interval": None,
        "reason": "no problem was answered by both",
    }
    assert len(contrast["caveats"]) == 2
    on = {each["kind"]: each["caveats"] for each in found["findings"]}
    assert on["tuning"] == on["skill"] == contrast["caveats"]


def test_effects_of_a_matrix_carry_them_too():
    """Of the four arms the two with x are cut on three tenths of the problems."""
    cells = {f"{a}{b}": {"first": a, "second": b} for a in "xy" for b in "xy"}
    made = tables(
        {name: ["c" * 6 + "1" * 14 if name[0] == "x" else "1" * 20] for name in cells},
        factors=cells,
        matrix={"first": ["x", "y"], "second": ["x", "y"]},
    )
    first, second, both = (
        each.caveats for each in conclude(made).findings if each.kind in ("effect", "interaction")
    )
    assert first == (
        "cut by the token limit: 30 % of the texts of xx, 30 % of xy, 0 % of yx, 0 % of yy",
    )
    assert second == both == ()


@pytest.mark.parametrize(
    ("a", "b", "explains"),
    [
        # All that tells them apart is that b is cut, or answers nothing.
        (row(("1", 40)), row(("c", 20), ("1", 20)), "cut by the token limit"),
        (row(("1", 40)), row(("n", 40)), "without a final answer"),
        # Among those answered the difference stays; no imbalance at all.
        (row(("1", 60)), row(("c", 10), ("0", 40), ("1", 10)), ""),
        (row(("1", 60)), row(("0", 40), ("1", 20)), ""),
        # The better arm has more without an answer, which cannot be why it solves more.
        (row(("1", 26), ("c", 34)), row(("0", 20), ("1", 2), ("0", 38)), ""),
        (row(("n", 30), ("1", 30)), row(("0", 30), ("n", 10), ("0", 20)), ""),
    ],
)
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("turned", [False, True])
def test_a_gap_that_missing_answers_explain_makes_no_arm_better(a, b, explains, seeds, turned):
    rows = {"a": [a] * seeds, "b": [b] * seeds}
    pair = ("b", "a") if turned else ("a", "b")
    (contrast,) = payload(conclude(tables(rows, [pair])))["contrasts"]
    assert contrast["verdict"] == ("refuted" if turned else "supported")
    said = contrast["sentence"]
    assert ("a scores" in said and "higher than b" in said) == bool(explains)
    assert ("is better" in said or "more than b" in said) != bool(explains)
    assert explains in said


def test_a_silent_seed_leaves_no_problem_that_every_run_answered():
    """Two of three seeds answered all: it is not said that no problem was answered by both."""
    rows = {"a": [row(("1", 30)), row(("1", 29), ("0", 1)), row(("n", 30))], "b": [row(("0", 30))]}
    (contrast,) = payload(conclude(tables(rows, [("a", "b")])))["contrasts"]
    assert contrast["answered"]["reason"] == "no problem was answered by every run of both"
    assert not [each for each in contrast["caveats"] if "nothing of skill" in each]
