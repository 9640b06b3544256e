"""Which label was taken for which, where every gold answer is one of a few labels.

    of_labels = classes(tables)             # None where answers are no labels
    of_labels.labels                        # ("refund", "shipping", ...)
    of_labels.arms[1].confusion             # [labels, labels + 1]: gold in rows, "other" at the end
    of_labels.arms[1].macro_f1              # Mean(value=0.74, interval=0.68 to 0.80)
    of_labels.contrasts[0].verdict          # of "full has a higher macro-F1 than lora"

Labels are the choices of the task, else the gold answers. A text predicts the label that it would
score 1 for, were it gold; "other" if there is none. The matrix is that of an arm's first seed,
recall and macro-F1 are over all its seeds (`statistics/real/classes`). The declared contrasts are
compared by macro-F1 too, as a family of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from paribus.analysis.contrasts import comparable, pairs_seeds
from paribus.analysis.pairing import align, keys_of
from paribus.analysis.tables import Run, Tables
from paribus.records import Generation
from paribus.statistics.intervals import Interval
from paribus.statistics.real.classes import (
    Codes,
    coded,
    compare_f1,
    confusion,
    linear_f1,
    macro_f1,
    recalls,
)
from paribus.statistics.real.means import Mean
from paribus.statistics.verdicts import Verdict, decide, holm

MOST_LABELS = 20
"""More different answers than this are no labels."""
FEWEST_EACH = 2
"""Problems of a label on average: where nearly each has its own answer, answers are no labels."""
OTHER = "other"
"""What a text predicts that names no label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmClasses:
    """What one arm makes of the labels.

    Attributes:
        seed: of the run that `confusion` counts.
        confusion: problems, [labels, labels + 1]: gold in rows; the last column is `OTHER`.
        counts: of each label its problems.
        recalls: of each label the share of its problems that got it, over all seeds.
        macro_f1: the mean F1 of the labels, over all seeds.
    """

    name: str
    seed: int
    confusion: NDArray[np.intp]
    counts: tuple[int, ...]
    recalls: tuple[Mean, ...]
    macro_f1: Mean


@dataclass(frozen=True, slots=True, kw_only=True)
class F1Contrast:
    """Macro-F1 of arm a against that of arm b, on the problems both were tested on.

    Attributes:
        n: problems in common.
        difference: macro-F1 of a minus that of b, means over seeds.
        interval: 95 %; None where `reason` says why.
        p_value: two-sided; None without a test.
        p_holm: corrected for the macro-F1 of all declared contrasts.
    """

    a: str
    b: str
    n: int
    difference: float
    interval: Interval | None = None
    p_value: float | None = None
    p_holm: float | None = None
    reason: str = ""

    @property
    def verdict(self) -> Verdict:
        """Of "a has a higher macro-F1 than b"."""
        return decide(self.p_holm, self.difference)


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """The labels of a task, every arm that has results, and how they differ in macro-F1."""

    labels: tuple[str, ...]
    arms: tuple[ArmClasses, ...]
    contrasts: tuple[F1Contrast, ...] = ()


def classes(tables: Tables) -> Classes | None:
    """Return what each arm makes of the labels; None where answers are no labels."""
    labels = _labels(tables)
    if not labels:
        return None
    arms = [_of_arm(tables.complete_of(arm.name), labels) for arm in tables.arms]
    compared = [
        contrast
        for a, b, _ in tables.declared
        if (contrast := _contrast(tables, a, b, labels)) is not None
    ]
    corrected = holm([contrast.p_value for contrast in compared])
    return Classes(
        labels=labels,
        arms=tuple(arm for arm in arms if arm is not None),
        contrasts=tuple(
            replace(contrast, p_holm=p) for contrast, p in zip(compared, corrected, strict=True)
        ),
    )


def _contrast(tables: Tables, a: str, b: str, labels: tuple[str, ...]) -> F1Contrast | None:
    """Return a against b by macro-F1; None where they share no problem or no seed."""
    runs = comparable(tables, a, b)
    if not all(runs):
        return None
    lined_up = align(runs)
    if not lined_up.keys:
        return None
    gold = coded([text.answer for text in _shared(runs[0][0], lined_up.keys)], labels)
    of_a, of_b = (
        np.array([_predicted(run, _shared(run, lined_up.keys), labels) for run in of_arm])
        for of_arm in runs
    )
    tested = compare_f1(
        gold,
        of_a,
        of_b,
        labels=len(labels),
        groups=lined_up.groups,
        paired=pairs_seeds(tables, runs),
        existing=(tables.existing(a), tables.existing(b)),
    )
    means = [float(linear_f1(gold, found, labels=len(labels)).mean()) for found in (of_a, of_b)]
    return F1Contrast(
        a=a,
        b=b,
        n=len(lined_up.keys),
        difference=means[0] - means[1],
        interval=tested.interval,
        p_value=tested.p_value,
        reason=tested.reason,
    )


def _labels(tables: Tables) -> tuple[str, ...]:
    """Return the labels; none where a metric takes no label, or a gold answer is none."""
    texts = [text for run in tables.complete for text in run.generations]
    if not tables.scorers.takes_labels or any(text.answers for text in texts):
        return ()
    golds = {text.answer for text in texts}
    chosen = dict.fromkeys(choice for text in texts for choice in text.choices)
    labels = tuple(chosen or sorted(golds))
    problems = len({text.problem_id for text in texts})
    if not 2 <= len(labels) <= MOST_LABELS or not golds <= set(labels):
        return ()
    return labels if len(golds) * FEWEST_EACH <= problems else ()


def _of_arm(runs: Sequence[Run], labels: tuple[str, ...]) -> ArmClasses | None:
    lined_up = align([runs]) if runs else None
    if lined_up is None or not lined_up.keys:
        return None
    texts = [_shared(run, lined_up.keys) for run in runs]
    gold = coded([text.answer for text in texts[0]], labels)
    predicted = np.array(
        [_predicted(run, own, labels) for run, own in zip(runs, texts, strict=True)]
    )
    n = len(labels)
    return ArmClasses(
        name=runs[0].arm,
        seed=runs[0].seed,
        confusion=confusion(gold, predicted[0], labels=n),
        counts=tuple(int((gold == label).sum()) for label in range(n)),
        recalls=tuple(recalls(gold, predicted, labels=n, groups=lined_up.groups)),
        macro_f1=macro_f1(gold, predicted, labels=n, groups=lined_up.groups),
    )


def _shared(run: Run, keys: Sequence[tuple[str, int]]) -> list[Generation]:
    by_key = dict(zip(keys_of(run), run.generations, strict=True))
    return [by_key[key] for key in keys]


def _predicted(run: Run, texts: Sequence[Generation], labels: tuple[str, ...]) -> Codes:
    return coded([run.scorers.label_of(text, labels) for text in texts], labels)
