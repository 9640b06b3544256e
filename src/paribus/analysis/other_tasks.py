"""What arms score on further tasks, on which nothing is trained, and what they forgot.

    results = other_tasks(tables)[0]
    results.name, results.margin                      # "gsm8k", 0.02
    results.rows[1].kept                              # Kept.NOT_SHOWN
    results.answer                                    # "On gsm8k: of full it is not shown that …"

The contrasts of a task are a family of their own: each asks a question of its own data.
"""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from paribus.analysis import wording
from paribus.analysis.contrasts import Contrast, untuned
from paribus.analysis.family import judged
from paribus.analysis.machines import about_machines
from paribus.analysis.summary import ArmSummary, main_protocol, summaries, summary
from paribus.analysis.tables import Tables
from paribus.analysis.wording import Finding, ends
from paribus.records import Outcome
from paribus.statistics.verdicts import Verdict


class Kept(StrEnum):
    """Whether an arm loses less than the margin against its untuned model."""

    SHOWN = "kept"
    LOST = "lost"
    NOT_SHOWN = "not_shown"


_SILENT = (Outcome.NO_ANSWER, Outcome.TRUNCATED, Outcome.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """One arm on a further task.

    Attributes:
        arm: what it scores.
        against: its contrast with its untuned model; None of an untuned model, or without one.
    """

    arm: ArmSummary
    against: Contrast | None

    @property
    def kept(self) -> Kept | None:
        """Whether it loses less than the margin; None where that was not asked."""
        contrast = self.against
        if contrast is None or contrast.margin is None or not contrast.n:
            return None
        if contrast.a in contrast.not_worse:
            return Kept.SHOWN
        return Kept.LOST if contrast.a in contrast.worse else Kept.NOT_SHOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResults:
    """One further task.

    Attributes:
        tables: the experiment as tested on it.
        protocol: how it was asked; None where nothing was tested yet.
        margin: points that may be lost, as a share; None unless it is guarded.
        rows: one for each arm.
        contrasts: all that the experiment declares, corrected as one family.
        trained_on: its test problems among the training problems: whole, and sharing 13 words.
    """

    name: str
    tables: Tables
    protocol: str | None
    margin: float | None
    rows: list[TaskRow]
    contrasts: list[Contrast]
    trained_on: tuple[int, int]

    @property
    def answer(self) -> str:
        """What is shown by the margin, in a sentence; "" unless the task is guarded."""
        parts = [_kept_words(row) for row in self.rows if row.kept is not None]
        return f"On {self.name}, which was not trained on: {'; '.join(parts)}." if parts else ""

    @property
    def findings(self) -> list[Finding]:
        """One for each arm that is guarded."""
        return [_finding(self, row) for row in self.rows if row.kept is not None]

    @property
    def warnings(self) -> list[str]:
        """What is to be known before any figure: too little to lose, problems trained on."""
        found = []
        low = {
            row.against.b: mean
            for row in self.rows
            if row.kept is not None
            and row.against
            and (mean := summary(self.tables, row.against.b).mean) is not None
            and mean <= (self.margin or 0)
        }
        for name, mean in low.items():
            has = wording.mean(mean, self.tables.measure)
            within = wording.points(self.margin).lstrip("+")
            found.append(
                f"On {self.name} {name} reaches {has}, not more than the margin of {within}: "
                "there is nothing to lose, and nothing is guarded."
            )
        if silent := self._without_answers():
            found.append(silent)
        whole, shared = self.trained_on
        if whole or shared:
            found.append(self._overlap(whole, shared))
        return found

    def _without_answers(self) -> str:
        """Say of which arms most texts hold no answer: what they know is not measured."""
        counts: dict[str, Counter[Outcome]] = {}
        for run in self.tables.complete:
            counts.setdefault(run.arm, Counter()).update(run.judged)
        parts = [
            f"{arm} {sum(of_arm[outcome] for outcome in _SILENT)} of {of_arm.total()}, "
            f"{of_arm[Outcome.TRUNCATED]} of them cut by the token limit"
            for arm, of_arm in counts.items()
            if sum(of_arm[outcome] for outcome in _SILENT) > of_arm.total() / 2
        ]
        if not parts:
            return ""
        return (
            f"On {self.name} most texts hold no answer that the scorer recognises: "
            f"{'; '.join(parts)}. Read some of them."
        )

    def _overlap(self, whole: int, shared: int) -> str:
        return (
            f"Of the test problems of {self.name}, {whole} stand whole among the training problems "
            f"and {shared} share 13 words in a row with one: of these it does not say what was "
            "kept."
        )


def other_tasks(tables: Tables) -> list[TaskResults]:
    """Return the results of each further task, in the order of the experiment file."""
    return [_results(name, tables.on(name), tables.guards.get(name)) for name in tables.tasks]


def _results(name: str, tables: Tables, margin: float | None) -> TaskResults:
    contrasts = judged(tables).contrasts
    own = {
        contrast.a: contrast
        for contrast in contrasts
        if untuned(tables, contrast.b) and not untuned(tables, contrast.a)
    }
    complete = tables.complete
    return TaskResults(
        name=name,
        tables=tables,
        protocol=main_protocol(complete[0]) if complete else None,
        margin=margin,
        rows=[TaskRow(arm=arm, against=own.get(arm.name)) for arm in summaries(tables)],
        contrasts=contrasts,
        trained_on=_trained_on(tables),
    )


def _trained_on(tables: Tables) -> tuple[int, int]:
    """Return the most test problems of any arm that are among what it was trained on."""
    counts = [
        ((run.data.overlap_exact or {}).get("test_in_train", 0),
         (run.data.overlap_13gram or {}).get("test_in_train", 0))
        for run in tables.complete
        if run.data
    ]  # fmt: skip
    return max(counts, default=(0, 0))


def _kept_words(row: TaskRow) -> str:
    contrast = row.against
    assert contrast is not None
    within = wording.points(contrast.margin).lstrip("+")
    if contrast.interval is None:
        return f"of {row.arm.name} there is no verdict, {contrast.reason}"
    size = (
        f"{wording.points(contrast.difference, contrast.measure)}, "
        f"{wording.points_range(contrast.interval, contrast.measure)}"
    )
    if row.kept is Kept.SHOWN:
        return f"{row.arm.name} loses less than {within} against its untuned model ({size})"
    if row.kept is Kept.LOST:
        return f"{row.arm.name} loses {within} or more against its untuned model ({size})"
    return f"that {row.arm.name} loses less than {within} is not shown ({size})"


_VERDICTS = {
    Kept.SHOWN: Verdict.SUPPORTED,
    Kept.LOST: Verdict.REFUTED,
    Kept.NOT_SHOWN: Verdict.NOT_SHOWN,
}


def _finding(results: TaskResults, row: TaskRow) -> Finding:
    task, contrast, kept = results.name, row.against, row.kept
    assert contrast is not None
    assert kept is not None
    within = wording.points(contrast.margin).lstrip("+")
    words = _kept_words(row)
    return Finding(
        kind="guard",
        claim=f"{contrast.a} loses less than {within} on {task} against its untuned model",
        verdict=_VERDICTS[kept],
        scope=contrast.scope,
        sentence=f"On {task}, {words}.",
        evidence={
            "task": task,
            "a": contrast.a,
            "b": contrast.b,
            "n": contrast.n,
            "seeds": list(contrast.seeds),
            "margin": contrast.margin,
            "difference": contrast.difference,
            "interval": ends(contrast.interval),
            "p_not_worse": contrast.p_not_worse[0],
            "p_worse": contrast.p_worse[0],
        },
        caveats=about_machines(results.tables, (contrast.a, contrast.b)),
    )
