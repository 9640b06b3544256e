"""One claim with its verdict and the evidence for it; `claims` lists the kinds."""

from dataclasses import dataclass
from typing import Any

from paribus.statistics.intervals import Interval
from paribus.statistics.verdicts import Scope, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One claim.

    Attributes:
        kind: a row of the table in `claims`.
        scope: the trained models or the methods; None where the claim rests on no single test.
        sentence: what was found, in plain words.
        evidence: the figures behind it, JSON-ready.
        caveats: what else may stand behind the contrast that the claim rests on.
    """

    kind: str
    claim: str
    verdict: Verdict
    scope: Scope | None
    sentence: str
    evidence: dict[str, Any]
    caveats: tuple[str, ...] = ()


def ends(interval: Interval | None) -> list[float] | None:
    """Return an interval as JSON has it: [low, high], or null."""
    return None if interval is None else [interval.low, interval.high]
