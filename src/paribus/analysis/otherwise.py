"""Findings on judging otherwise: does a conclusion change with the scorer, protocol or labels?

    of_shifts(shifts)       # one finding for each kind of variation

| verdict   | where                                                                               |
|-----------|-------------------------------------------------------------------------------------|
| refuted   | a verdict is another, and its difference is shown to be another too                 |
| supported | all verdicts are the same, and every difference is shown to be so within 2 points   |
| not shown | else: that two verdicts agree, or do not, may be chance                             |
"""

from collections.abc import Iterator, Sequence
from typing import Any

from paribus.analysis import wording
from paribus.analysis.finding import Finding, ends
from paribus.analysis.robustness import SAME_WITHIN, Shift
from paribus.statistics.verdicts import Verdict

_OTHERWISE = {"labels": "corrected labels", "scorer": "the scorer", "protocol": "the protocol"}


def of_shifts(shifted: Sequence[Shift]) -> Iterator[Finding]:
    """Yield a finding for each kind of variation that anything could be compared under."""
    for by in dict.fromkeys(each.by for each in shifted):
        those = [each for each in shifted if each.by == by]
        other = [each for each in those if each.other]
        verdict = Verdict.NOT_SHOWN
        if any(each.shown for each in other):
            verdict = Verdict.REFUTED
        elif not other and all(each.same for each in those):
            verdict = Verdict.SUPPORTED
        yield Finding(
            kind=by,
            claim=f"no conclusion changes with {_OTHERWISE[by]}",
            verdict=verdict,
            scope=None,
            sentence=" ".join(map(_change, other)) or _same_verdicts(those),
            evidence={
                "tried": list(dict.fromkeys(each.under for each in those)),
                "changed": [_shift(each) for each in other],
                "differences": [_shift(each) for each in those],
                "same_within": SAME_WITHIN,
            },
        )


def _shift(shift: Shift) -> dict[str, Any]:
    return {
        "under": shift.under,
        "a": shift.before.a,
        "b": shift.before.b,
        "before": shift.before.verdict.value,
        "after": shift.after.verdict.value,
        "change": shift.change,
        "interval": ends(shift.interval),
        "p_holm": shift.p_holm,
    }


def _change(shift: Shift) -> str:
    """Say that a verdict is another, and whether the difference is."""
    names = f"{shift.before.a} and {shift.before.b}"
    then = shift.after
    size = f"{wording.points(then.difference)}, {wording.points_range(then.interval)}"
    if shift.reversed:
        said = f"Under {shift.under} the order of {names} is reversed ({size})"
    elif then.verdict is Verdict.NOT_SHOWN:
        said = f"Under {shift.under} a difference between {names} is no longer shown ({size})"
    else:
        said = f"Only under {shift.under} a difference between {names} is shown ({size})"
    moved = f"{wording.points(shift.change)}, {wording.points_range(shift.interval)}"
    if shift.shown:
        return f"{said}: it is another by {moved}."
    if shift.interval is None:
        return f"{said}. Whether it is another is not tested: {shift.reason}."
    return f"{said}. That may be chance: it is not shown to be another ({moved})."


def _same_verdicts(those: Sequence[Shift]) -> str:
    """Say how far differences may have changed where no verdict has."""
    tried = wording.join(list(dict.fromkeys(each.under for each in those)))
    lead = f"Each comparison has the same verdict under {tried}"
    if all(each.same for each in those):
        return f"{lead}, and its difference is the same within {100 * SAME_WITHIN:.0f} points."
    if untested := [each for each in those if each.interval is None]:
        return f"{lead}. How far its difference changes is not known: {untested[0].reason}."
    if shown := [each for each in those if each.shown]:
        return f"{lead}, but not the same difference: {wording.join(list(map(_moved, shown)))}."
    widest = max(those, key=_reach)
    return (
        f"{lead}. How large a difference is may change by up to {100 * _reach(widest):.1f} points "
        f"({_moved(widest)})."
    )


def _reach(shift: Shift) -> float:
    """How far, up or down, the difference may have changed."""
    ends = shift.interval
    return 1.0 if ends is None else max(abs(ends.low), abs(ends.high))


def _moved(shift: Shift) -> str:
    moved = f"{wording.points(shift.change)}, {wording.points_range(shift.interval)}"
    return f"{shift.before.a} − {shift.before.b} under {shift.under}: {moved}"
