"""How often each run read the test split, from the ledger in the store.

    reads_by_run(tables)[0]     # RunReads(arm="full-main", seed=0, counts={"zero_shot/raw": 1})

Once is the rule. A run that was deleted and repeated leaves both readings: whoever tests, changes
something and tests again is choosing by the test split.
"""

from dataclasses import dataclass

from paribus.analysis import wording
from paribus.analysis.tables import Tables


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReads:
    """One run's readings: protocol, or `ledger.LIKELIHOOD`, to how often, in order of first."""

    arm: str
    seed: int
    counts: dict[str, int]

    @property
    def repeated(self) -> bool:
        """Whether the test split was read more than once under one protocol."""
        return any(count > 1 for count in self.counts.values())


def reads_by_run(tables: Tables) -> list[RunReads]:
    """Return a row for each complete run and for whatever else the ledger names.

    The experiment's runs come first, in its order; one without a line has no counts. Empty if
    nothing speaks of a reading, as of generations made elsewhere.
    """
    if not tables.reads and not tables.unrecorded:
        return []
    found: dict[tuple[str, int], dict[str, int]] = {
        (run.arm, run.seed): {} for run in tables.complete
    }
    for read in tables.reads:
        counts = found.setdefault((read.arm, read.seed), {})
        counts[read.protocol] = counts.get(read.protocol, 0) + 1
    return [RunReads(arm=arm, seed=seed, counts=counts) for (arm, seed), counts in found.items()]


def unrecorded(tables: Tables) -> str:
    """Return a sentence that names each reading without a line in the ledger; "" if there is none.

    Of a run that has other lines, the protocols are named.
    """
    whole = {(row.arm, row.seed) for row in reads_by_run(tables) if not row.counts}
    missing: dict[tuple[str, int], list[str]] = {}
    for each in tables.unrecorded:
        missing.setdefault((each.arm, each.seed), []).append(each.protocol)
    missing |= {key: [] for key in sorted(whole - missing.keys())}
    if not missing:
        return ""
    names = [
        f"{arm} seed {seed}" + ("" if (arm, seed) in whole else f" ({', '.join(protocols)})")
        for (arm, seed), protocols in missing.items()
    ]
    return (
        f"The ledger has no line for {wording.join(names)}, which {'were' if names[1:] else 'was'} "
        "tested: how often the test problems were read is not known."
    )


def adopted(tables: Tables) -> str:
    """Return a sentence that names the runs copied in from another store; "" if there is none."""
    names = dict.fromkeys(f"{read.arm} seed {read.seed}" for read in tables.reads if read.adopted)
    if not names:
        return ""
    return (
        f"{wording.join(list(names))} came from another store (adopted): how often the test "
        "problems were read there is not known here."
    )
