"""Findings on the first screen, what differs between compared arms, and reads of the test split.

findings_table(analysis).rows[0]  # ["full-main solves more than lora-main", "not shown", …]
section(tables).warnings      # ["full-main, seed 0 read the test problems more than once: ..."]
"""

from collections.abc import Sequence
from dataclasses import dataclass

from paribus.analysis import wording
from paribus.analysis.fairness import Status, table
from paribus.analysis.findings import Analysis
from paribus.analysis.reading import RunReads, adopted, reads_by_run, unrecorded_reads
from paribus.analysis.tables import Tables
from paribus.analysis.wording import Finding
from paribus.records import Measure, Settled
from paribus.report.drawing import run_name
from paribus.report.rows import Table
from paribus.report.units import UNKNOWN, protocol_words
from paribus.statistics.intervals import Interval
from paribus.statistics.verdicts import Scope, Verdict
from paribus.store.ledger import Decided

VERDICTS = {
    Verdict.SUPPORTED: "supported",
    Verdict.REFUTED: "refuted",
    Verdict.NOT_SHOWN: "not shown",
}

_SIZED = ("tuning", "contrast", "effect", "interaction")
"""Kinds whose finding is a difference: its sentence stands among the comparisons."""


@dataclass(frozen=True, slots=True)
class Fairness:
    """What differs between the arms of one contrast; `unlike` counts what should not."""

    title: str
    unlike: int
    table: Table


def findings_table(analysis: Analysis) -> Table:
    """Return every finding: the claim, its verdict and what was found."""
    measure = analysis.tables.measure
    rows = [
        [finding.claim, _verdict(finding), _result(finding, measure)]
        for finding in analysis.findings
    ]
    return Table(["claim", "verdict", "what was found"], rows)


def warnings(analysis: Analysis) -> list[str]:
    """Return what to read before any figure: on arms, then on comparisons that show something."""
    pairs = zip(analysis.contrasts, analysis.caveats, strict=True)
    return analysis.warnings + [
        f"{contrast.a} − {contrast.b}: {'; '.join(caveats.outcomes)}."
        for contrast, caveats in pairs
        if caveats.outcomes and contrast.verdict is not Verdict.NOT_SHOWN
    ]


def fairness(analysis: Analysis) -> list[Fairness]:
    """Return a table for each contrast whose arms' settings are known."""
    tables = []
    for contrast in analysis.contrasts:
        rows = table(analysis.tables, contrast)
        if rows:
            tables.append(
                Fairness(
                    title=f"{contrast.a} and {contrast.b}, compared for {contrast.factor}",
                    unlike=sum(row.status is Status.DIFFERS for row in rows),
                    table=Table(
                        ["setting or figure", contrast.a, contrast.b, "status"],
                        [[row.name, row.a, row.b, row.status.value] for row in rows],
                    ),
                )
            )
    return tables


def _verdict(finding: Finding) -> str:
    """The verdict, and what it speaks of; outside of the one family that its test is its own."""
    text = VERDICTS[finding.verdict]
    if finding.verdict is Verdict.NOT_SHOWN:
        return text
    if finding.scope is None:
        return f"{text}, by its own test"
    return f"{text} for {'the methods' if finding.scope is Scope.METHODS else 'these models'}"


def _result(finding: Finding, measure: Measure) -> str:
    """The size of a difference, or the sentence; and what else differed between the arms."""
    evidence, sentence = finding.evidence, finding.sentence
    if finding.kind in _SIZED and evidence["p_holm"] is not None:
        low, high = evidence["interval"]
        span = wording.points_range(Interval(low, high), measure)
        size = wording.points(evidence["difference"], measure)
        sentence = f"{size} [{span}], p {_p(evidence['p_holm'])}."
    if finding.caveats:
        sentence += f" Not alone: {'; '.join(finding.caveats)}."
    return sentence


def _p(value: float | None) -> str:
    text = wording.p_value(value)
    return text if value is None or text.startswith("<") else f"= {text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The section: a sentence if all is well, else warnings."""

    sentence: str
    warnings: list[str]
    table: Table
    looks: Table


def section(tables: Tables) -> Ledger | None:
    """Return the section, None if nothing speaks of a reading."""
    rows = reads_by_run(tables)
    if not rows:
        return None
    warnings = [
        *filter(None, (unrecorded_reads(tables), adopted(tables))),
        *_repeated(tables, rows),
    ]
    protocols = list(dict.fromkeys(name for row in rows for name in row.counts))
    return Ledger(
        sentence="" if warnings else "Each run read the test problems once per protocol.",
        warnings=warnings,
        table=Table(
            ["run", *map(protocol_words, protocols)],
            [
                [
                    run_name(tables, row),
                    *(str(row.counts.get(protocol, 0)) for protocol in protocols),
                ]
                for row in rows
            ],
        ),
        looks=_looks(tables),
    )


def _looks(tables: Tables) -> Table:
    """Every look at the verdicts of more data than before."""
    return Table(
        ["look", "when", "runs", "seeds", "problems", "declared", "decided"],
        [
            [
                str(look.look),
                look.time,
                str(sum(look.runs.values())),
                str(look.seeds),
                f"{look.problems:,}",
                "yes" if look.planned else "no",
                "; ".join(map(_decided, look.decided)) or UNKNOWN,
            ]
            for look in tables.looks
        ],
    )


def _decided(row: Decided) -> str:
    state = {Settled.UNLIKELY: "given up", Settled.NOT_SHOWN: "not shown"}.get(row.state, row.state)
    return f"{row.a} − {row.b}: {state}"


def _repeated(tables: Tables, rows: Sequence[RunReads]) -> list[str]:
    repeated = [run_name(tables, row) for row in rows if row.repeated]
    if not repeated:
        return []
    return [
        f"{wording.join(repeated)} read the test problems more than once under one protocol. "
        "A run that is deleted and repeated does so, or one that is tested further; whoever "
        "chose between the results chose by the test problems."
    ]
