"""How often each run read the test split, from the ledger in the store.

    reads_by_run(tables)[0]     # RunReads(arm="full-main", seed=0, counts={"zero_shot/raw": 1})

Once is the rule. A run that was deleted and repeated leaves both readings: whoever tests, changes
something and tests again is choosing by the test split.
"""

from dataclasses import dataclass

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
    there is no ledger: nothing is known then.
    """
    if not tables.reads:
        return []
    found: dict[tuple[str, int], dict[str, int]] = {
        (run.arm, run.seed): {} for run in tables.complete
    }
    for read in tables.reads:
        counts = found.setdefault((read.arm, read.seed), {})
        counts[read.protocol] = counts.get(read.protocol, 0) + 1
    return [RunReads(arm=arm, seed=seed, counts=counts) for (arm, seed), counts in found.items()]
