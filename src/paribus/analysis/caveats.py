"""What else may stand behind a difference than what is compared, found without being asked.

    caveats(tables, contrast, shifted, bad, alike=False).all
    # ("cut by the token limit: 13.8 % of the texts of lora, 0 % of full",
    #  "among the 345 of 400 problems that both answered: +0.3 points [−2.1 to +2.7]")

| caveat                | said where                                                              |
|-----------------------|-------------------------------------------------------------------------|
| a setting, a figure   | it differs and nothing declared explains it (`fairness`)                |
| machines, versions    | runs come from different ones (`machines`)                              |
| bf16                  | full SFT against LoRA: training in it may cost full SFT more            |
| no answer, cut        | more problems than chance explains: a sign test over them gives p < 0.05|
| failed                | one arm has more: a failure is a fault, not an answer                   |
| overlap               | test questions stand whole in an arm's training or prompt; or so many   |
|                       | more of one arm share 13 words with them that 2 points may come of it   |
| the answers' form     | the flexible scorer comes to another verdict                            |
| few answers           | both arms answered fewer than half of the problems                      |
| a seed                | it is unlike the others of its arm (`bad_seeds`)                        |
| files                 | runs of an arm, or both arms, agree as separate models would not        |
| problems              | many read alike: the interval may be too narrow                         |

Where outcomes are unbalanced, or few, the difference among the problems that both answered is
said too. It has an interval and no test: which problems these are is itself what the arms did.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from paribus.analysis import wording
from paribus.analysis.conditions import (
    OVERLAPS,
    overlap_counts,
    spelled_overlap,
    trained_unlike_in_bf16,
)
from paribus.analysis.contrasts import Contrast, comparable, compare_tables, untuned
from paribus.analysis.fairness import FairnessRow, unexplained
from paribus.analysis.machines import Crossing, crossing
from paribus.analysis.pairing import Aligned, align
from paribus.analysis.robustness import Shift
from paribus.analysis.signals import BadSeed
from paribus.analysis.tables import Tables
from paribus.records import Measure, Outcome
from paribus.statistics.intervals import Interval, mcnemar
from paribus.statistics.power import ALPHA
from paribus.statistics.verdicts import Solved, Verdict

LENIENT = "flexible"
"""The scorer that takes the last number of any text."""

_UNANSWERED = {
    Outcome.NO_ANSWER: "without a final answer",
    Outcome.TRUNCATED: "cut by the token limit",
    Outcome.FAILED: "failed to generate",
}
_ROUNDING = 1e-9
"""Weighted shares of seeds that differ by less are the same."""
_OVERLAP_SHARE, _OVERLAP_PROBLEMS = 0.02, 3
"""Of the problems, by which more of one arm share 13 words with its training or prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The contrast among the problems that every run compared answered, rightly or wrongly.

    Attributes:
        n: how many these are.
        difference: share solved, or mean score, of a minus that of b; None if n is 0.
        interval: 95 %; None where `reason` says why.
    """

    n: int
    difference: float | None = None
    interval: Interval | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caveats:
    """Caveats of one contrast: settings and figures that differ, and their effect.

    `explains` is the one of `outcomes` that may be all there is to a difference that is shown:
    texts without an answer, where those that both answered show none; else "".
    """

    unlike: tuple[str, ...] = ()
    machines: Crossing | None = None
    outcomes: tuple[str, ...] = ()
    answered: Answered | None = None
    explains: str = ""

    @property
    def all(self) -> tuple[str, ...]:
        """Every caveat, in the order of the table above."""
        return (*self.unlike, *self.outcomes)


def caveats(
    tables: Tables,
    contrast: Contrast,
    shifted: Sequence[Shift],
    bad: Sequence[BadSeed],
    *,
    alike: bool,
) -> Caveats:
    """Return what else may stand behind `contrast`.

    `shifted` is what became of all contrasts, `bad` the seeds of all arms that are unlike others;
    `alike` says that many problems read alike.
    """
    if not contrast.n:
        return Caveats()
    compared = comparable(tables, contrast.a, contrast.b)
    lined_up = align(compared)
    shown, silent = contrast.verdict is not Verdict.NOT_SHOWN, _lower_is_silent(contrast, lined_up)
    existing = tables.existing(contrast.a), tables.existing(contrast.b)
    answered = _answered(lined_up, existing, paired=contrast.paired)
    crossed = crossing(tables, dict(zip((contrast.a, contrast.b), compared, strict=True)))
    outcomes = list(_unbalanced({contrast.a: 1, contrast.b: -1}, lined_up))
    bf16 = _bf16(tables, contrast)
    parts = [*bf16, *outcomes, *_overlap(tables, contrast), *_form(contrast, shifted)]
    parts += [bad_seed.caveat for bad_seed in bad if bad_seed.arm in (contrast.a, contrast.b)]
    unlike = list(map(_differs, unexplained(tables, contrast)))
    if crossed:
        (parts if crossed.alike else unlike).append(crossed.sentence)
    parts += [what for arms, what in tables.likely if arms <= {contrast.a, contrast.b}]
    if alike:
        parts.append(
            "problems that read alike, as the warning says: the interval may be too narrow"
        )
    if outcomes or 2 * answered.n < contrast.n:
        by = _by_whom(lined_up)
        parts.append(_among_answered(answered, contrast.n, by, contrast.measure))
    return Caveats(
        unlike=tuple(unlike),
        machines=crossed,
        outcomes=tuple(parts),
        answered=answered,
        explains=_explains(outcomes, answered) if shown and silent else "",
    )


def _lower_is_silent(contrast: Contrast, lined_up: Aligned) -> bool:
    """Whether the arm that solves less has more texts without an answer: only that explains it."""
    of_a, of_b = (float(solved.mean()) for solved in lined_up.are(*_UNANSWERED))
    return (of_b - of_a) * (contrast.difference or 0.0) > 0


def _explains(outcomes: Sequence[str], answered: Answered) -> str:
    """Return the outcome that may explain a difference, if those that both answered show none."""
    if not answered.n:
        return outcomes[0] if outcomes else answered.reason
    span = answered.interval
    silent = span is None or span.low <= 0 <= span.high
    return outcomes[0] if outcomes and silent else ""


def _bf16(tables: Tables, contrast: Contrast) -> Iterator[str]:
    if trained_unlike_in_bf16(tables, contrast):
        yield "trained in bf16, which may cost full SFT accuracy that it does not cost LoRA"


def _answered(lined_up: Aligned, existing: tuple[bool, bool], *, paired: bool) -> Answered:
    silent = np.asarray(np.vstack(lined_up.are(*_UNANSWERED)).any(axis=0))
    n = int((~silent).sum())
    if not n:
        by = _by_whom(lined_up)
        return Answered(n=0, reason=f"no problem was answered by {by}")
    groups = lined_up.groups
    if groups is not None:
        groups = np.unique(groups[~silent], return_inverse=True)[1]
    a, b = (table[:, ~silent] for table in lined_up.compared)
    tested = compare_tables(
        a, b, groups, measure=lined_up.measure, paired=paired, existing=existing
    )
    return Answered(
        n=n,
        difference=float(a.mean() - b.mean()),
        interval=tested.interval,
        reason="" if tested.interval else tested.reason,
    )


def _by_whom(lined_up: Aligned) -> str:
    return "every run of both" if any(len(runs) > 1 for runs in lined_up.outcomes) else "both"


def _among_answered(answered: Answered, n: int, by: str, measure: Measure) -> str:
    if answered.difference is None:
        what = "" if by != "both" else ": accuracy says nothing of skill here"
        return f"{answered.reason}{what}"
    size = wording.points(answered.difference, measure)
    span = (
        f"no interval: {answered.reason}"
        if answered.interval is None
        else wording.points_range(answered.interval, measure)
    )
    return f"among the {answered.n} of {n} problems that {by} answered: {size} [{span}]"


def unbalanced(tables: Tables, weights: Mapping[str, float]) -> tuple[str, ...]:
    """Return the caveats on outcomes of a weighted sum of arms, such as a factor's effect."""
    runs = [tables.complete_of(name) for name in weights]
    return tuple(_unbalanced(weights, align(runs)))


def _unbalanced(weights: Mapping[str, float], lined_up: Aligned) -> Iterator[str]:
    """Say of which outcomes some arms have more; of all together if of none alone."""
    parts = [
        _shares(words, weights, shares)
        for outcome, words in _UNANSWERED.items()
        if _shares_differ(weights, shares := lined_up.are(outcome), fault=outcome is Outcome.FAILED)
    ]
    together = lined_up.are(*_UNANSWERED)
    if not parts and _shares_differ(weights, together):
        parts = [_shares("without a final answer, cut or failed", weights, together)]
    yield from parts


def _shares_differ(
    weights: Mapping[str, float], shares: Sequence[Solved], *, fault: bool = False
) -> bool:
    """Return whether arms' shares of an outcome differ by more than chance; a fault, at all."""
    ahead = sum(
        weight * solved.mean(axis=0)
        for weight, solved in zip(weights.values(), shares, strict=True)
    )
    if fault:
        return bool(abs(np.mean(ahead)) > _ROUNDING)
    p = mcnemar(only_a=int(np.sum(ahead > _ROUNDING)), only_b=int(np.sum(ahead < -_ROUNDING)))
    return p is not None and p < ALPHA


def _shares(words: str, names: Iterable[str], shares: Sequence[Solved]) -> str:
    listed = [
        f"{wording.percent(float(solved.mean()))} of {name}"
        for name, solved in zip(names, shares, strict=True)
    ]
    first, *others = listed
    return ", ".join([f"{words}: {first.replace(' of ', ' of the texts of ', 1)}", *others])


def _overlap(tables: Tables, contrast: Contrast) -> Iterator[str]:
    matters = max(_OVERLAP_PROBLEMS, _OVERLAP_SHARE * contrast.n)
    for key in ("test_in_train", "shots_in_test"):
        a, b = (_seen(tables, name, key) for name in (contrast.a, contrast.b))
        whole, shared = zip(a or (0, 0), b or (0, 0), strict=True)
        if any(whole) or abs(shared[0] - shared[1]) >= matters:
            yield f"{OVERLAPS[key]}: {_counted(contrast.a, a)}; {_counted(contrast.b, b)}"


def _seen(tables: Tables, name: str, key: str) -> tuple[int, int] | None:
    """Return the most that a run of the arm has of an overlap; None where that is not known."""
    if key == "test_in_train" and untuned(tables, name):
        return (0, 0)
    runs = tables.complete_of(name)
    return max((overlap_counts(run)[key] for run in runs if overlap_counts(run)), default=None)


def _counted(name: str, counts: tuple[int, int] | None) -> str:
    return f"{name} {'not known' if counts is None else spelled_overlap(counts)}"


def _form(contrast: Contrast, shifted: Sequence[Shift]) -> Iterator[str]:
    for shift in shifted:
        if shift.under == LENIENT and shift.before == contrast and shift.other:
            yield f"by the last number of each text (flexible) {_otherwise(shift)}"


def _otherwise(shift: Shift) -> str:
    then = shift.after
    size = f"{wording.points(then.difference)} [{wording.points_range(then.interval)}]"
    if shift.reversed:
        return f"the order is reversed: {size}"
    if then.verdict is Verdict.NOT_SHOWN:
        return f"the difference is not shown: {size}"
    return f"a difference is shown: {size}"


def _differs(row: FairnessRow) -> str:
    return f"{row.name} differs too ({row.a} against {row.b})"
