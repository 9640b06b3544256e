"""Which conclusions change when the same texts are judged otherwise, or the same models asked so.

    changes(tables, contrasts)
    # [Change(by="scorer", under="flexible", a="full-main", b="baseline", before=..., after=...)]

Everything is compared anew, with the whole family and its correction, under
- each other scorer, over the same texts;
- each further protocol that every arm was tested under, with the texts written under it;
- corrected labels, such as GSM8K-Platinum's, if `labels` names their file: answers are replaced,
  problems that it leaves out are left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from paribus.analysis.contrasts import Contrast, contrasts
from paribus.analysis.gold import read_gold
from paribus.analysis.protocols import main_protocol, texts
from paribus.analysis.tables import MAIN_SCORER, Run, Tables, with_generations
from paribus.evaluation.score import SCORERS
from paribus.statistics.verdicts import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """The experiment judged otherwise: by what, and everything compared anew."""

    by: str
    under: str
    tables: Tables
    contrasts: list[Contrast]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A contrast whose verdict is another under a variation."""

    by: str
    under: str
    before: Contrast
    after: Contrast

    @property
    def reversed(self) -> bool:
        """Whether the other arm is better, and not just nothing shown on one side."""
        return {self.before.verdict, self.after.verdict} == {Verdict.SUPPORTED, Verdict.REFUTED}


def variations(tables: Tables) -> list[Variation]:
    """Return every variation of the experiment that its data allow."""
    made = [("scorer", each, _rescored(tables, each)) for each in SCORERS if each != MAIN_SCORER]
    made += [("protocol", name, asked) for name, asked in _by_protocol(tables)]
    if labels := tables.config.get("labels"):
        answers = read_labels(Path(labels))
        said = f"{Path(labels).name} ({_counted(tables, answers)})"
        made.append(("labels", said, _relabelled(tables, answers)))
    return [
        Variation(by=by, under=under, tables=varied, contrasts=contrasts(varied))
        for by, under, varied in made
    ]


def changes(found: Sequence[Contrast], varied: Sequence[Variation]) -> list[Change]:
    """Return every contrast with another verdict under a variation."""
    return [
        Change(by=each.by, under=each.under, before=before, after=after)
        for each in varied
        for before, after in zip(found, each.contrasts, strict=True)
        if after.n and before.n and after.verdict is not before.verdict
    ]


def read_labels(path: Path) -> dict[str, str]:
    """Return problem id -> corrected answer. Raises DataError on a malformed file."""
    gold = read_gold(path, None)
    return {problem.id: problem.answer for problem in gold.problems.values()}


def _rescored(tables: Tables, scorer: str) -> Tables:
    return _with_runs(
        tables, [with_generations(run, run.generations, scorer) for run in tables.complete]
    )


def _by_protocol(tables: Tables) -> Iterator[tuple[str, Tables]]:
    """Yield the protocols that every complete run was tested under, main or further."""
    asked = [texts(run) for run in tables.complete]
    shared = [name for name in asked[0] if all(name in each for each in asked)] if asked else []
    mains = {main_protocol(run) for run in tables.complete}
    for name in shared:
        if mains != {name}:
            runs = [
                with_generations(run, written[name])
                for run, written in zip(tables.complete, asked, strict=True)
            ]
            yield name, _with_runs(tables, runs)


def _counted(tables: Tables, labels: Mapping[str, str]) -> str:
    """How many problems the labels know, and how many they answer otherwise."""
    asked = {each.problem_id: each.answer for run in tables.complete for each in run.generations}
    known = asked.keys() & labels.keys()
    other = sum(labels[key] != asked[key] for key in known)
    return f"{len(known)} of {len(asked)} problems, {other} with another answer"


def _relabelled(tables: Tables, labels: Mapping[str, str]) -> Tables:
    runs = []
    for run in tables.complete:
        kept = [
            replace(each, answer=labels[each.problem_id])
            for each in run.generations
            if each.problem_id in labels
        ]
        runs.append(with_generations(run, kept))
    return _with_runs(tables, runs)


def _with_runs(tables: Tables, runs: Sequence[Run]) -> Tables:
    """Return `tables` with these instead of its complete runs."""
    by_key = {(run.arm, run.seed): run for run in runs}
    kept = tuple(by_key.get((run.arm, run.seed), run) for run in tables.runs)
    return replace(tables, runs=kept)
