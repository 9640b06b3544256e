"""One family for all that is claimed: p-values corrected so that any false claim is rare.

    asked = [Asked(differ=0.004), Asked(differ=0.03, then=0.01), Asked(differ=None)]
    [each.differ for each in corrected(asked)]        # [0.012, 0.06, None]

Each comparison has an equal share of the level. It keeps its share until all that is asked of it
is shown, then the others get it. Where nothing but a difference is asked that is Holm's method
(S. Holm 1979, Scand. J. Statist. 6: 65-70); with more it is a sequentially rejective graph
(F. Bretz et al. 2009, Statist. Med. 28: 586-604). Comparisons that could not be made count: a
missing run must not sharpen the others.

Why at most ALPHA of all families claim anything false: whatever is true, what can be claimed
falsely of one comparison is so with a chance of at most its share (`Asked` says why). Until
something false is claimed, each comparison of which something is false has kept its share. So the
first false claim has a chance of at most the sum of these comparisons' shares: ALPHA.
`benchmarks/family.py` measures it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from itertools import combinations


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of one comparison, as p-values; None where there is no test.

    With a margin, and a true difference of

    - nought: only `differ` can be false, and `beyond`, which is not asked before;
    - less than the margin: only `beyond`, on both sides together at most the share;
    - the margin or more: only `within`, on that side.

    `then` may be false whatever that is. It waits for `differ`; beside a margin both get half.

    Attributes:
        differ: that the arms differ at all, two-sided.
        within: that A is not worse by the margin or more, and that B is not; one-sided.
        beyond: that A is, and that B is; two-sided, asked once a difference is shown.
        asks_margin: whether that is asked.
        then: of what a difference is made, asked once it is shown.
        asks_then: whether that is asked.
    """

    differ: float | None
    within: tuple[float | None, float | None] = (None, None)
    beyond: tuple[float | None, float | None] = (None, None)
    asks_margin: bool = False
    then: float | None = None
    asks_then: bool = False


_AT_ONCE = ("differ", "a within", "b within")


def corrected(family: Sequence[Asked]) -> list[Asked]:
    """Return `family` with each p-value as it is to be held against the level of all."""
    parts = [_parts(each) for each in family]
    found: list[dict[str, float]] = [{} for _ in parts]
    ready = [
        (p, number, name)
        for number, of_one in enumerate(parts)
        for name, p in of_one.items()
        if p is not None and name in _AT_ONCE
    ]
    heapify(ready)
    open_ones, reached = len(parts), 0.0
    while ready:
        p, number, name = heappop(ready)
        reached = min(1.0, max(reached, open_ones * p))
        found[number][name] = reached
        if name == "differ":
            for later, after in parts[number].items():
                if after is not None and later not in _AT_ONCE:
                    heappush(ready, (after, number, later))
        open_ones -= found[number].keys() == parts[number].keys()
    return [_with(each, done) for each, done in zip(family, found, strict=True)]


def _parts(asked: Asked) -> dict[str, float | None]:
    """Return the p-values of one comparison by name; those that share a share count twice."""
    beside: dict[str, float | None] = {}
    if asked.asks_margin:
        names = ("a within", "b within", "a beyond", "b beyond")
        beside |= zip(names, (*asked.within, *asked.beyond), strict=True)
    if asked.asks_then:
        beside["then"] = asked.then
    share = 2.0 if asked.asks_margin and asked.asks_then else 1.0
    halved = {name: None if p is None else share * p for name, p in beside.items()}
    return {"differ": asked.differ, **halved}


def _with(asked: Asked, found: Mapping[str, float]) -> Asked:
    return replace(
        asked,
        differ=found.get("differ"),
        within=(found.get("a within"), found.get("b within")),
        beyond=(found.get("a beyond"), found.get("b beyond")),
        then=found.get("then"),
    )


def planned_effects(levels: Mapping[str, Sequence[str]]) -> list[dict[str, tuple[str, str]]]:
    """Return what a full matrix is asked on average: factor -> its two values, first minus second.

    Every pair of values of each factor, then every pair of two-valued factors: their interaction.
    None with fewer than two factors that vary: a contrast says it all.
    """
    varied = {factor: list(values) for factor, values in levels.items() if len(values) > 1}
    if len(varied) < 2:
        return []
    alone = [
        {factor: pair} for factor, values in varied.items() for pair in combinations(values, 2)
    ]
    two = {factor: (values[0], values[1]) for factor, values in varied.items() if len(values) == 2}
    return alone + [{a: two[a], b: two[b]} for a, b in combinations(two, 2)]
