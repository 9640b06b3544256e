"""What is decided at a declared look, and which arms go on.

    look = judge(tables, 7)          # a Look, for the ledger: decided, goes_on
    look.decided[0]                  # Decided(a="full", b="lora", state=Settled.OPEN, …)

An arm gets more seeds while a contrast of it is open: neither shown nor given up. All contrasts
count in the family at every look. `statistics/sequential` decides.
"""

from collections.abc import Sequence
from dataclasses import replace

from paribus.analysis.contrasts import Contrast, comparable, compared, pairs_seeds
from paribus.analysis.family import judged
from paribus.analysis.looks import declared_look, declared_looks, reached, upto
from paribus.analysis.pairing import align
from paribus.analysis.tables import Tables
from paribus.records import Settled
from paribus.statistics import sequential
from paribus.statistics.crossed import Estimate
from paribus.store.ledger import Decided, Look


def judge(tables: Tables, seeds: int) -> Look:
    """Return the declared look at `seeds` seeds, with what it decides by it and those before."""
    seen, looks = upto(tables, seeds), declared_looks(tables)
    found = judged(seen, seeing=False).contrasts
    taken = looks.index(seeds) + 1
    gone = _given_up(tables.looks)
    decisions = sequential.decide(
        [each.p_holm for each in found],
        [_estimate(seen, each, taken) for each in found],
        [(each.a, each.b) in gone for each in found],
        looks=looks,
        taken=taken,
    )
    rows = tuple(
        Decided(
            a=each.a,
            b=each.b,
            difference=each.difference,
            p_value=each.p_value,
            p_holm=each.p_holm,
            chance=decision.chance,
            state=decision.state,
        )
        for each, decision in zip(found, decisions, strict=True)
    )
    arms = {arm for row in rows if row.state is Settled.OPEN for arm in (row.a, row.b)}
    going = tuple(arm.name for arm in tables.arms if arm.name in arms and not arm.untuned)
    return replace(declared_look(tables, seeds), decided=rows, goes_on=going)


def _given_up(looks: Sequence[Look]) -> set[tuple[str, str]]:
    """Return the pairs that an earlier look has given up."""
    rows = (row for look in looks for row in look.decided)
    return {(row.a, row.b) for row in rows if row.state is Settled.UNLIKELY}


def _estimate(seen: Tables, contrast: Contrast, taken: int) -> Estimate | None:
    """Return the estimate behind a contrast at this look; None where there is none."""
    pair = (contrast.a, contrast.b)
    if reached(seen, pair) < taken:
        return None
    runs = comparable(seen, *pair)
    lined_up = align(runs)
    if not lined_up.keys:
        return None
    return compared(seen, *pair, lined_up, paired=pairs_seeds(seen, runs)).crossed
