"""Classes: the confusion matrix, the recall of each class, macro-F1 and its difference of two arms.

    labels = ("refund", "delivery", "other")
    gold = coded(["refund", "other", ...], labels)
    found = coded(["refund", None, ...], labels)[None]      # [1, n]: one run; None: no such label
    confusion(gold, found[0], labels=3)                     # [3, 4]: gold in rows, then "none"
    recalls(gold, found, labels=3)[0]                       # 0.81, 0.62 to 0.92
    macro_f1(gold, found, labels=3)                         # 0.74, 0.68 to 0.80
    compare_f1(gold, found, others, labels=3).p_value       # 0.04

Macro-F1 is the mean F1 of the labels that occur among gold or predicted ones; F1 is 0 for a label
that is never right. It is no mean over problems, so it is linearised: `linear_f1` gives each
problem a value such that their mean is macro-F1 and their spread is that of macro-F1 (the
infinitesimal jackknife, L. A. Jaeckel 1972). Seeds, groups and pairs are then those of any score.
A bootstrap is not used: with few errors it holds the true value less often
(`benchmarks/real_scores.py` measures both).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from paribus.errors import UserError
from paribus.statistics.crossed import components, too_uncertain
from paribus.statistics.groups import Groups
from paribus.statistics.intervals import share
from paribus.statistics.real.comparison import SAME, as_given, combination_of, permuted, within
from paribus.statistics.real.means import Mean, Scores, as_share, mean_of, of_runs, too_few_scores
from paribus.statistics.verdicts import Tested

Codes = NDArray[np.intp]
"""The label of each problem, as its number; the number of labels stands for none of them."""

UNSEEN = 0.25
"""Errors that are added to each label for the variance: where none was seen, one may come next."""


def coded(names: Sequence[str | None], labels: Sequence[str]) -> Codes:
    """Return [n] numbers of `names` in `labels`; `len(labels)` for None and any other text."""
    numbers = {label: number for number, label in enumerate(labels)}
    if len(numbers) != len(labels) or not labels:
        raise UserError(
            f"labels are empty or named twice: {', '.join(labels) or 'none'}",
            "name each label once",
        )
    return np.array([numbers.get(name or "", len(labels)) for name in names], dtype=np.intp)


def confusion(gold: Codes, predicted: Codes, *, labels: int) -> NDArray[np.intp]:
    """Return counts [labels, labels + 1]: gold labels in rows, predicted ones, then "none".

    Raises UserError for a gold label that is none of the labels.
    """
    outside = np.flatnonzero(gold >= labels)
    if len(outside):
        raise UserError(
            f"{len(outside)} of {len(gold)} gold labels are none of the {labels} labels: the first "
            f"is that of problem {outside[0]} (counted from 0)",
            "name all labels that occur in the data",
        )
    cells = np.bincount(gold * (labels + 1) + predicted, minlength=labels * (labels + 1))
    return cells.reshape(labels, labels + 1)


def recalls(
    gold: Codes, predicted: Codes, *, labels: int, groups: Groups | None = None
) -> list[Mean]:
    """Return of each label the share of its problems that got it; `predicted` is [R, n].

    The interval is that of any accuracy, over the label's own problems.
    """
    return [_recall(gold == label, predicted == label, groups) for label in range(labels)]


def _recall(of_label: NDArray[np.bool_], hits: NDArray[np.bool_], groups: Groups | None) -> Mean:
    own, n = hits[:, of_label], int(of_label.sum())
    if not n:
        return Mean(value=0.0, reason="no problem has this label")
    if len(own) == 1 and groups is None:
        return Mean(value=float(own.mean()), interval=share(int(own.sum()), n))
    own_groups = None if groups is None else np.unique(groups[of_label], return_inverse=True)[1]
    return mean_of(own, own_groups, bounded=True)


def f1_of(counts: NDArray[np.float64]) -> float:
    """Return macro-F1 of a confusion matrix [labels, labels + 1]."""
    return float(_macro(np.diagonal(counts[:, :-1]), _either(counts)))


def _either(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how often each label is gold plus how often it is predicted."""
    return np.asarray(counts.sum(axis=1) + counts[:, :-1].sum(axis=0))


def _macro(right: NDArray[np.float64], either: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return macro-F1, [...], of the counts of each label, [..., labels]."""
    parts = np.divide(2 * right, either, out=np.zeros(either.shape), where=either > 0)
    return np.asarray(parts.sum(axis=-1) / np.maximum(1, (either > 0).sum(axis=-1)))


def _influence(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the derivative of macro-F1 by each count, [labels, labels + 1]."""
    right, either = np.diagonal(counts[:, :-1]), _either(counts)
    occurs = either > 0
    rise = np.divide(2.0, either, out=np.zeros(len(either)), where=occurs)
    fall = right * rise**2 / 2
    change = -fall[:, None] - np.append(fall, 0.0)
    change[np.diag_indices(len(rise))] += rise
    return np.asarray(change / max(1, int(occurs.sum())))


def linear_f1(gold: Codes, predicted: Codes, *, labels: int) -> Scores:
    """Return [R, n] values of `predicted` [R, n]: the mean of a row is the run's macro-F1."""
    rows = []
    for run in predicted:
        counts = confusion(gold, run, labels=labels).astype(float)
        rows.append(f1_of(counts) + len(gold) * _influence(counts)[gold, run])
    return np.array(rows)


def macro_f1(gold: Codes, predicted: Codes, *, labels: int, groups: Groups | None = None) -> Mean:
    """Return macro-F1 of an arm, the mean of its runs `predicted` [R, n], with its interval.

    It is the interval of a share with the same standard error (`means.as_share`). The variance from
    problems is at least the one that `UNSEEN` more errors of each label would show.
    """
    values = linear_f1(gold, predicted, labels=labels)
    value = float(values.mean())
    reason = too_few_scores(values, groups)
    if reason:
        return Mean(value=value, reason=reason)
    estimate = of_runs(values, groups)
    smoothed = [_with_unseen(gold, run, labels) for run in predicted]
    least = float(np.mean([(counts * _influence(counts) ** 2).sum() for counts in smoothed]))
    variance, df = estimate.shared
    estimate = replace(estimate, shared=(max(variance, least), df))
    at = value if 0 < value < 1 else float(np.mean([f1_of(counts) for counts in smoothed]))
    return Mean(value=value, interval=as_share(estimate, at) if at else share(0, len(gold)))


def _with_unseen(gold: Codes, run: Codes, labels: int) -> NDArray[np.float64]:
    """Return the confusion matrix with `UNSEEN` more errors of each gold label that occurs."""
    counts = confusion(gold, run, labels=labels).astype(float)
    wrong = np.outer(counts.sum(axis=1) > 0, np.append(_either(counts) > 0, True)).astype(float)
    wrong[np.diag_indices(labels)] = 0.0
    return np.asarray(counts + UNSEEN * wrong / np.maximum(1.0, wrong.sum(axis=1, keepdims=True)))


def compare_f1(
    gold: Codes,
    a: Codes,
    b: Codes,
    *,
    labels: int,
    groups: Groups | None = None,
    paired: bool = False,
    existing: tuple[bool, bool] = (False, False),
) -> Tested:
    """Return the interval and the test of macro-F1 of a minus that of b, both [R, n].

    As `comparison.compare`, but for the test of one run each: the arms' predictions are exchanged
    problem by problem, or group by group, and macro-F1 is computed anew. Flips of linearised values
    reject up to 7 in 100 true hypotheses.
    """
    one, other = (
        as_given(linear_f1(gold, runs, labels=labels), fixed)
        for runs, fixed in zip((a, b), existing, strict=True)
    )
    reason = too_uncertain([components(one), components(other)], groups)
    if reason or np.array_equal(a, b):
        return Tested(reason=reason or SAME)
    difference = combination_of([(1.0, one), (-1.0, other)], groups, paired=paired)
    alone = len(a) == len(b) == 1
    return Tested(
        interval=within(difference.interval, 1.0),
        p_value=_exchanged(gold, a[0], b[0], labels, groups) if alone else difference.p_value,
        crossed=difference,
    )


def _exchanged(gold: Codes, a: Codes, b: Codes, labels: int, groups: Groups | None) -> float:
    """Return the p-value of exchanging the predictions of one run of each arm."""
    units = np.arange(len(gold)) if groups is None else groups
    _, units = np.unique(units[a != b], return_inverse=True)
    moved = _by_unit(gold, b, a != b, units, labels) - _by_unit(gold, a, a != b, units, labels)
    everything = np.ones(len(gold), dtype=bool)
    of_a, of_b = (_by_unit(gold, run, everything, 0 * gold, labels)[0] for run in (a, b))
    of_gold = np.bincount(gold, minlength=labels)

    def f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return _macro(counts[..., :labels], of_gold + counts[..., labels:])

    observed = abs(float(f1(of_a) - f1(of_b)))
    return permuted(
        len(moved),
        lambda signs: (
            np.abs(f1(of_a + signs @ moved) - f1(of_b - signs @ moved)) >= observed - 1e-12
        ),
    )


def _by_unit(
    gold: Codes, run: Codes, chosen: NDArray[np.bool_], units: Codes, labels: int
) -> NDArray[np.float64]:
    """Return [units, 2 * labels]: how often each label is right, then how often predicted."""
    counts = np.zeros((int(units.max()) + 1, 2 * labels + 1))
    gold, run = gold[chosen], run[chosen]
    np.add.at(counts, (units, labels + run), 1.0)
    right = gold == run
    np.add.at(counts, (units[right], gold[right]), 1.0)
    return counts[:, :-1]
