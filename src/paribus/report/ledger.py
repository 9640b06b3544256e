"""How often the test problems were read, from the ledger.

section(tables).warnings      # ["full-main, seed 0 read the test problems more than once: ..."]
"""

from collections.abc import Sequence
from dataclasses import dataclass

from paribus.analysis import wording
from paribus.analysis.reads import RunReads, adopted, reads_by_run, unrecorded
from paribus.analysis.tables import Tables
from paribus.records import Settled
from paribus.report.arms import several_seeds
from paribus.report.rows import Table
from paribus.report.units import UNKNOWN
from paribus.report.words import protocol_words
from paribus.store.ledger import Decided


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
    several = several_seeds(tables)
    warnings = [*filter(None, (unrecorded(tables), adopted(tables))), *_repeated(rows, several)]
    protocols = list(dict.fromkeys(name for row in rows for name in row.counts))
    return Ledger(
        sentence="" if warnings else "Each run read the test problems once per protocol.",
        warnings=warnings,
        table=Table(
            ["run", *map(protocol_words, protocols)],
            [
                [_name(row, several), *(str(row.counts.get(each, 0)) for each in protocols)]
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


def _repeated(rows: Sequence[RunReads], several: bool) -> list[str]:
    repeated = [_name(row, several) for row in rows if row.repeated]
    if not repeated:
        return []
    return [
        f"{wording.join(repeated)} read the test problems more than once under one protocol. "
        "A run that is deleted and repeated does so, or one that is tested further; whoever "
        "chose between the results chose by the test problems."
    ]


def _name(row: RunReads, several: bool) -> str:
    return f"{row.arm}, seed {row.seed}" if several else row.arm
