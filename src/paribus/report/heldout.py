"""How likely the models find the gold solutions: a table of runs, and one of comparisons.

section(tables).runs.rows[0]    # ["full-main", "0.612 [0.571 to 0.653]", "61.2 [57.0 to 65.4]"]
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from paribus.analysis import heldout, wording
from paribus.analysis.heldout import Comparison, Mean, RunLikelihood
from paribus.analysis.tables import Tables
from paribus.report.arms import first_runs, run_name
from paribus.report.rows import MAY_BREAK, Table
from paribus.report.units import UNKNOWN, count, nats, signed_nats
from paribus.statistics.verdicts import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Heldout:
    """The section. `comparisons` has no rows where none could be made."""

    written: str
    runs: Table
    other_seeds: Table
    comparisons: Table
    notes: list[str]


def section(tables: Tables) -> Heldout | None:
    """Return the section, None if no likelihood was measured."""
    found = heldout.likelihoods(tables)
    if not found:
        return None
    first = first_runs(tables)
    compared = heldout.comparisons(tables)
    made = [each for each in compared if each.mean.n]
    return Heldout(
        written=wording.join(list(dict.fromkeys(each.variant for each in found if each.variant))),
        runs=_runs(tables, [each for each in found if each.run in first]),
        other_seeds=_runs(tables, [each for each in found if each.run not in first]),
        comparisons=_comparisons(compared if made else []),
        notes=_notes(found, made),
    )


def _runs(tables: Tables, found: Sequence[RunLikelihood]) -> Table:
    rows = [
        [
            run_name(tables, each.run),
            _mean(each.per_token, nats),
            _mean(each.per_problem, nats),
            count(each.per_problem.n),
        ]
        for each in found
    ]
    headings = ["arm", "nats per token [95 %]", "nats per problem [95 %]", "problems"]
    return Table(headings, rows)


def _comparisons(compared: Sequence[Comparison]) -> Table:
    rows = [
        [
            f"{each.a} − {each.b}",
            each.factor.replace(".", MAY_BREAK),
            _mean(each.mean, signed_nats),
            wording.p_value(each.mean.p_value) if each.mean.n else UNKNOWN,
            wording.p_value(each.p_holm) if each.mean.n else UNKNOWN,
            _shown(each),
        ]
        for each in compared
    ]
    headings = ["A − B", "factor", "nats per problem [95 %]", "p", "p, Holm", "what it shows"]
    return Table(headings, rows)


def _shown(each: Comparison) -> str:
    if not each.mean.n:
        return f"Not compared: {each.mean.reason}."
    if each.mean.interval is None:
        return f"No verdict: {each.mean.reason}."
    if each.verdict is Verdict.NOT_SHOWN:
        return "Not shown."
    better, worse = (each.a, each.b) if each.verdict is Verdict.SUPPORTED else (each.b, each.a)
    return f"Of these two models, {better} finds the gold solutions likelier than {worse}."


def _notes(found: Sequence[RunLikelihood], made: Sequence[Comparison]) -> list[str]:
    """Return what keeps these figures from being read as the ones on accuracy are."""
    notes = []
    if unlike := list(dict.fromkeys(name for each in made for name in each.unlike)):
        notes.append(
            f"{wording.join(unlike)} learned to write solutions of another variant than those "
            "judged here: part of a difference is style."
        )
    undefined = [each for each in found if each.per_problem.value is None]
    notes += [
        f"{each.run.arm}, seed {each.run.seed}: {each.per_problem.reason}." for each in undefined
    ]
    return notes


def _mean(mean: Mean, spell: Callable[[float], str]) -> str:
    """`0.612 [0.571 to 0.653]`."""
    if mean.value is None:
        return UNKNOWN
    value, interval = spell(mean.value), mean.interval
    return (
        value if interval is None else f"{value} [{spell(interval.low)} to {spell(interval.high)}]"
    )
