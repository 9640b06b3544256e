"""Which conclusions change with the scorer, the protocol or corrected labels.

    shifts(tables, contrasts, variations(tables))
    # [Shift(by="scorer", under="flexible", before=..., after=..., change=-0.51, ...)]
    of_shifts(shifts)       # one finding for each kind of variation

Everything is compared again, with the whole family and its correction, under
- each other scorer, over the same texts;
- each further protocol that every arm was tested under, with the texts written under it;
- corrected labels, such as GSM8K-Platinum's, if `labels` names their file: answers are replaced,
  and problems that it leaves out are left out.

That one verdict is "shown" and the other "not shown" is no proof that anything changed (A. Gelman,
H. Stern 2006, Amer. Statist. 60: 328-331). So the change itself is estimated: how much more each
arm solves under the variation, run by run and problem by problem, and the difference of the two.

| verdict   | where                                                                             |
|-----------|-----------------------------------------------------------------------------------|
| refuted   | a verdict changes, and its difference is shown to change too                      |
| supported | all verdicts are the same, and every difference is shown to be within 2 points    |
| not shown | otherwise: that two verdicts agree, or do not, may be chance                      |
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paribus.analysis import wording
from paribus.analysis.contrasts import Contrast, comparable
from paribus.analysis.elsewhere.gold import read_gold
from paribus.analysis.family import judged
from paribus.analysis.pairing import align
from paribus.analysis.summary import main_protocol, texts
from paribus.analysis.tables import Run, Tables, judged_by, with_generations
from paribus.analysis.wording import Finding, ends
from paribus.evaluation.scoring import check_gold
from paribus.statistics.crossed import components, estimate, too_uncertain
from paribus.statistics.intervals import Interval
from paribus.statistics.verdicts import Verdict, as_existing, decide, holm

SAME_WITHIN = 0.02
"""A difference is called the same under a variation if it changes by less than this: 2 points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """The experiment judged differently: by what, and everything compared again."""

    by: str
    under: str
    tables: Tables
    contrasts: list[Contrast]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A contrast under a variation, and how much its difference is another there.

    Attributes:
        n: problems that all runs have under both.
        change: the difference under the variation minus the one before, over those.
        interval: 95 %, of the change; None where `reason` says why.
        p_value: two-sided, that the true change is zero; None without a test.
        p_holm: corrected for all changes by the same kind of variation.
    """

    by: str
    under: str
    before: Contrast
    after: Contrast
    n: int
    change: float
    interval: Interval | None = None
    p_value: float | None = None
    p_holm: float | None = None
    reason: str = ""

    @property
    def other(self) -> bool:
        """Whether the verdict is another."""
        return self.after.verdict is not self.before.verdict

    @property
    def reversed(self) -> bool:
        """Whether the other arm is better, and not just nothing shown on one side."""
        return {self.before.verdict, self.after.verdict} == {Verdict.SUPPORTED, Verdict.REFUTED}

    @property
    def shown(self) -> bool:
        """Whether the difference is shown to be another."""
        return decide(self.p_holm, self.change) is not Verdict.NOT_SHOWN

    @property
    def same(self) -> bool:
        """Whether the difference is shown to change by less than `SAME_WITHIN`."""
        ends = self.interval
        return ends is not None and max(-ends.low, ends.high) < SAME_WITHIN


def variations(tables: Tables) -> list[Variation]:
    """Return every variation of the experiment that its data allow."""
    varied_tables = [
        ("scorer", scorer, _rescored(tables, scorer)) for scorer in tables.scorers.names[1:]
    ]
    varied_tables += [("protocol", name, asked) for name, asked in _by_protocol(tables)]
    if labels := tables.config.get("labels"):
        answers = read_labels(Path(labels))
        text = f"{Path(labels).name} ({_counted(tables, answers)})"
        varied_tables.append(("labels", text, _relabelled(tables, answers)))
    return [
        Variation(by=by, under=under, tables=varied, contrasts=again.contrasts)
        for by, under, varied in varied_tables
        for again in [judged(varied, seeing=False)]
    ]


def shifts(
    tables: Tables, contrasts: Sequence[Contrast], varied: Sequence[Variation]
) -> list[Shift]:
    """Return what became of every contrast under every variation that it could be made under."""
    uncorrected = [
        shift
        for variation in varied
        for before, after in zip(contrasts, variation.contrasts, strict=True)
        if before.n and after.n and (shift := _shift(tables, variation, before, after)) is not None
    ]
    corrected: list[Shift] = []
    for by in dict.fromkeys(shift.by for shift in uncorrected):
        family = [shift for shift in uncorrected if shift.by == by]
        p_values = holm([shift.p_value for shift in family])
        corrected += [replace(shift, p_holm=p) for shift, p in zip(family, p_values, strict=True)]
    return corrected


def _shift(tables: Tables, variation: Variation, before: Contrast, after: Contrast) -> Shift | None:
    lined_up = align(
        [
            runs
            for either in (tables, variation.tables)
            for runs in comparable(either, before.a, before.b)
        ]
    )
    if not lined_up.keys:
        return None
    a, b, then_a, then_b = lined_up.scores
    arms = [
        as_existing(components(shift)) if tables.existing(name) else components(shift)
        for name, shift in ((before.a, then_a - a), (before.b, then_b - b))
    ]
    result = Shift(
        by=variation.by,
        under=variation.under,
        before=before,
        after=after,
        n=len(lined_up.keys),
        change=arms[0].mean - arms[1].mean,
    )
    if reason := too_uncertain(arms, lined_up.groups):
        return replace(result, reason=reason)
    change = estimate([(1.0, arms[0]), (-1.0, arms[1])], lined_up.groups, paired=before.paired)
    # No difference of two shares can change by more than 2.
    low, high = max(-2.0, change.interval.low), min(2.0, change.interval.high)
    return replace(result, interval=Interval(low, high), p_value=change.p_value)


def read_labels(path: Path) -> dict[str, str]:
    """Return problem id -> corrected answer. Raises DataError on a malformed file."""
    gold = read_gold(path, None)
    check_gold(gold.stated)
    return {problem.id: problem.answer for problem in gold.problems.values()}


def _rescored(tables: Tables, scorer: str) -> Tables:
    return _with_runs(tables, [judged_by(run, scorer) for run in tables.complete])


def _by_protocol(tables: Tables) -> Iterator[tuple[str, Tables]]:
    """Yield the protocols that every complete run was tested under, main or further."""
    asked = [texts(run) for run in tables.complete]
    shared = [name for name in asked[0] if all(name in names for names in asked)] if asked else []
    mains = {main_protocol(run) for run in tables.complete}
    for name in shared:
        if mains != {name}:
            runs = [
                with_generations(run, written[name])
                for run, written in zip(tables.complete, asked, strict=True)
            ]
            yield name, _with_runs(tables, runs)


def _counted(tables: Tables, labels: Mapping[str, str]) -> str:
    """How many problems the labels know, and how many they answer differently."""
    asked = {
        generation.problem_id: generation.answer
        for run in tables.complete
        for generation in run.generations
    }
    known = asked.keys() & labels.keys()
    other = sum(labels[key] != asked[key] for key in known)
    return f"{len(known)} of {len(asked)} problems, {other} with another answer"


def _relabelled(tables: Tables, labels: Mapping[str, str]) -> Tables:
    runs = []
    for run in tables.complete:
        kept = [
            replace(generation, answer=labels[generation.problem_id])
            for generation in run.generations
            if generation.problem_id in labels
        ]
        runs.append(with_generations(run, kept))
    return _with_runs(tables, runs)


def _with_runs(tables: Tables, runs: Sequence[Run]) -> Tables:
    """Return `tables` with these instead of its complete runs."""
    by_key = {(run.arm, run.seed): run for run in runs}
    kept = tuple(by_key.get((run.arm, run.seed), run) for run in tables.runs)
    return replace(tables, runs=kept)


_OTHERWISE = {"labels": "corrected labels", "scorer": "the scorer", "protocol": "the protocol"}


def of_shifts(shifted: Sequence[Shift]) -> Iterator[Finding]:
    """Yield a finding for each kind of variation that anything could be compared under."""
    for by in dict.fromkeys(shift.by for shift in shifted):
        those = [shift for shift in shifted if shift.by == by]
        other = [shift for shift in those if shift.other]
        verdict = Verdict.NOT_SHOWN
        if any(shift.shown for shift in other):
            verdict = Verdict.REFUTED
        elif not other and all(shift.same for shift in those):
            verdict = Verdict.SUPPORTED
        yield Finding(
            kind=by,
            claim=f"no conclusion changes with {_OTHERWISE[by]}",
            verdict=verdict,
            scope=None,
            sentence=" ".join(map(_change, other)) or _same_verdicts(those),
            evidence={
                "tried": list(dict.fromkeys(shift.under for shift in those)),
                "changed": [_shift_sentence(shift) for shift in other],
                "differences": [_shift_sentence(shift) for shift in those],
                "same_within": SAME_WITHIN,
            },
        )


def _shift_sentence(shift: Shift) -> dict[str, Any]:
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
        text = f"Under {shift.under} the order of {names} is reversed ({size})"
    elif then.verdict is Verdict.NOT_SHOWN:
        text = f"Under {shift.under} a difference between {names} is no longer shown ({size})"
    else:
        text = f"Only under {shift.under} a difference between {names} is shown ({size})"
    moved = f"{wording.points(shift.change)}, {wording.points_range(shift.interval)}"
    if shift.shown:
        return f"{text}: it is another by {moved}."
    if shift.interval is None:
        return f"{text}. Whether it is another is not tested: {shift.reason}."
    return f"{text}. That may be chance: it is not shown to be another ({moved})."


def _same_verdicts(those: Sequence[Shift]) -> str:
    """Say how far differences may have changed where no verdict has."""
    tried = wording.join(list(dict.fromkeys(shift.under for shift in those)))
    lead = f"Each comparison has the same verdict under {tried}"
    if all(shift.same for shift in those):
        return f"{lead}, and its difference is the same within {100 * SAME_WITHIN:.0f} points."
    if untested := [shift for shift in those if shift.interval is None]:
        return f"{lead}. How far its difference changes is not known: {untested[0].reason}."
    if shown := [shift for shift in those if shift.shown]:
        return f"{lead}, but not the same difference: {wording.join(list(map(_spelled, shown)))}."
    widest = max(those, key=_most)
    return (
        f"{lead}. How large a difference is may change by up to {100 * _most(widest):.1f} points "
        f"({_spelled(widest)})."
    )


def _most(shift: Shift) -> float:
    """How far, up or down, the difference may have changed."""
    ends = shift.interval
    return 1.0 if ends is None else max(abs(ends.low), abs(ends.high))


def _spelled(shift: Shift) -> str:
    moved = f"{wording.points(shift.change)}, {wording.points_range(shift.interval)}"
    return f"{shift.before.a} − {shift.before.b} under {shift.under}: {moved}"
