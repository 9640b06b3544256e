"""Confusion matrices, recall and macro-F1: by hand, against exact enumeration, and invariants."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from paribus.errors import UserError
from paribus.statistics.intervals import share
from paribus.statistics.real.classes import (
    coded,
    compare_f1,
    confusion,
    linear_f1,
    macro_f1,
    recalls,
)
from paribus.statistics.real.comparison import SAME

LABELS = ("refund", "delivery", "other")
GOLD = coded(["refund"] * 5 + ["delivery"] * 4 + ["other"] * 3, LABELS)
NAMES = ["refund"] * 4 + ["other"] + ["delivery"] * 2 + ["refund", None] + ["other"] * 2 + ["x"]
FOUND = coded(NAMES, LABELS)
F1 = (8 / 10, 4 / 6, 4 / 6)
"""By hand: 2 * right / (gold + predicted) = 8 / (5 + 5), 4 / (4 + 2), 4 / (3 + 3)."""

CODES = arrays(np.intp, 30, elements=st.integers(0, 2))
PREDICTED = arrays(np.intp, 30, elements=st.integers(0, 3))


def test_the_confusion_matrix_by_hand():
    assert confusion(GOLD, FOUND, labels=3).tolist() == [
        [4, 0, 1, 0],
        [1, 2, 0, 1],
        [0, 0, 2, 1],
    ]


def test_the_recall_of_each_label():
    found = recalls(GOLD, FOUND[None], labels=3)
    assert [recall.value for recall in found] == pytest.approx([4 / 5, 2 / 4, 2 / 3])
    assert [recall.interval for recall in found] == [share(4, 5), share(2, 4), share(2, 3)]
    (missing,) = recalls(GOLD, FOUND[None], labels=4)[3:]
    assert (missing.interval, missing.reason) == (None, "no problem has this label")


def test_recall_in_groups_needs_ten_of_them():
    few = recalls(GOLD, FOUND[None], labels=3, groups=np.arange(12))[0]
    assert few.reason == "5 groups of problems are too few, under 10"
    gold, found = np.zeros(40, dtype=np.intp), np.arange(40) % 2
    alone, grouped = (
        recalls(gold, found[None], labels=1, groups=groups)[0].interval
        for groups in (None, np.arange(40) // 2)
    )
    assert alone == share(20, 40)
    # Each group has one right and one wrong: the groups do not differ, so neither does the share.
    assert grouped.low > alone.low


@pytest.mark.parametrize("seeds", [1, 3])
def test_macro_f1_of_arms_that_get_nothing_right_is_zero_with_an_interval(seeds):
    gold = np.array([0, 1] * 12)
    found = macro_f1(gold, np.array([1 - gold] * seeds), labels=2)
    assert found.value == 0.0
    assert found.interval is not None
    assert 0 <= found.interval.low <= found.interval.high < 1


def test_macro_f1_by_hand():
    found = macro_f1(GOLD, FOUND[None], labels=3)
    assert found.value == pytest.approx(sum(F1) / 3)
    assert 0 < found.interval.low < found.value < found.interval.high < 1
    assert macro_f1(GOLD, GOLD[None], labels=4).value == 1.0  # a label that occurs nowhere
    # "none" is no label: its column lowers the recall and adds no F1 of 0.
    assert macro_f1(GOLD, np.where(GOLD == 2, 3, GOLD)[None], labels=3).value == 2 / 3


@given(CODES, PREDICTED)
def test_linearised_values_average_to_macro_f1(gold, predicted):
    cells = confusion(gold, predicted, labels=3)
    either = cells.sum(axis=1) + cells[:, :3].sum(axis=0)
    own = [2 * cells[k, k] / either[k] for k in range(3) if either[k]]
    (values,) = linear_f1(gold, predicted[None], labels=3)
    assert values.mean() == pytest.approx(np.mean(own))


def test_linearised_values_predict_the_macro_f1_without_a_problem():
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 3, 1000)
    found = np.where(rng.random(1000) < 0.7, gold, rng.integers(0, 4, 1000))
    (values,) = linear_f1(gold, found[None], labels=3)
    for left_out in (0, 17, 500):
        kept = np.arange(1000) != left_out
        without = macro_f1(gold[kept], found[None, kept], labels=3).value
        assert without == pytest.approx(values[kept].mean(), abs=1e-5)
        assert abs(without - values.mean()) > 1e-5


@given(CODES, PREDICTED)
def test_the_interval_of_macro_f1_holds_it_and_stays_inside(gold, predicted):
    found = macro_f1(gold, predicted[None], labels=3)
    assert 0 <= found.interval.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.interval.high <= 1
    assert found.interval.high - found.interval.low > 0.01


def test_all_exchanges_of_predictions_are_counted():
    gold, a = np.repeat([0, 1], 6), np.repeat([0, 1], 6)
    b = a.copy()
    b[[0, 1, 2, 7]] = [1, 1, 2, 0]  # 2: none
    observed = abs(
        macro_f1(gold, a[None], labels=2).value - macro_f1(gold, b[None], labels=2).value
    )
    as_far = 0
    for signs in product([False, True], repeat=4):
        swap = np.zeros(12, dtype=bool)
        swap[[0, 1, 2, 7]] = signs
        one, other = np.where(swap, b, a), np.where(swap, a, b)
        f1 = [macro_f1(gold, run[None], labels=2).value for run in (one, other)]
        as_far += abs(f1[0] - f1[1]) >= observed - 1e-12
    assert compare_f1(gold, a[None], b[None], labels=2).p_value == as_far / 16


def test_groups_are_exchanged_whole():
    gold, a = np.zeros(24, dtype=np.intp), np.zeros(24, dtype=np.intp)
    b = a.copy()
    b[:4] = 1
    groups = np.arange(24) // 2
    assert compare_f1(gold, a[None], b[None], labels=2).p_value == 2 / 16
    assert compare_f1(gold, a[None], b[None], labels=2, groups=groups).p_value == 2 / 4


def test_arms_of_macro_f1_over_seeds():
    rng = np.random.default_rng(2)
    gold = rng.integers(0, 3, 300)

    def runs(accuracy):
        return np.where(rng.random((3, 300)) < accuracy, gold, rng.integers(0, 4, (3, 300)))

    a, b = runs(0.9), runs(0.5)
    tested = compare_f1(gold, a, b, labels=3)
    values = [macro_f1(gold, arm, labels=3).value for arm in (a, b)]
    assert tested.crossed.value == pytest.approx(values[0] - values[1])
    assert tested.p_value < 0.01
    assert tested.interval.low < values[0] - values[1] < tested.interval.high
    assert compare_f1(gold, a, a, labels=3).reason == SAME
    assert compare_f1(gold, a[:2], b, labels=3).reason.startswith("2 seeds are too few")


def test_impossible_labels_are_refused_with_their_values():
    with pytest.raises(UserError, match="labels are empty or named twice: yes, no, yes"):
        coded(["yes"], ("yes", "no", "yes"))
    gold = coded(["refund", "refunds", "other"], LABELS)
    with pytest.raises(UserError, match="1 of 3 gold labels .* the first is that of problem 1"):
        confusion(gold, gold, labels=3)
