"""Multiple testing: correct the p-values of one family so that any false claim is rare.

    family = [Asked(differ=0.004), Asked(differ=0.03, then=0.01), Asked(differ=None)]
    [p.differ for p in corrected(family)]        # [0.012, 0.06, None]

Each comparison has an equal share of the level. It keeps its share until all its hypotheses are
rejected; then the remaining comparisons divide it. If each comparison has only the hypothesis of no
difference, this is Holm's method (S. Holm 1979, Scand. J. Statist. 6: 65-70); with more it is a
sequentially rejective graph (F. Bretz et al. 2009, Statist. Med. 28: 586-604). Comparisons without
a test count too: a missing run must not make the other tests easier to pass.

Why the family-wise error rate is at most ALPHA: whichever hypotheses are true, a comparison's tests
reject one of its true hypotheses with probability at most its share (see `Asked`). Until the first
false rejection, each comparison with a true hypothesis has kept its share. So the probability of a
first false rejection is at most the sum of these shares: ALPHA. `benchmarks/family.py` measures it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from itertools import combinations


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The p-values of one comparison; None where there is no test.

    With a margin, the claims that can be false depend on the true difference:

    - none: `differ`, and `beyond`, which is tested only after it;
    - below the margin: `beyond`, on both sides together at most the share;
    - the margin or more: `within`, on that side.

    `then` can be false in any case. With a margin, `then` and the tests of the margin get half the
    share each.

    Attributes:
        differ: the arms differ; two-sided.
        within: A is not worse by the margin or more, and B is not; one-sided.
        beyond: A is worse by the margin or more, and B is; two-sided, tested after `differ`.
        asks_margin: whether `within` and `beyond` are tested.
        then: what the difference consists of; tested after `differ`.
        asks_then: whether `then` is tested.
    """

    differ: float | None
    within: tuple[float | None, float | None] = (None, None)
    beyond: tuple[float | None, float | None] = (None, None)
    asks_margin: bool = False
    then: float | None = None
    asks_then: bool = False


_AT_ONCE = ("differ", "a within", "b within")
"""Tests that do not wait for another test of their comparison."""


def corrected(family: Sequence[Asked]) -> list[Asked]:
    """Return `family` with corrected p-values, to compare with the level of the whole family."""
    p_values = [_parts(comparison) for comparison in family]
    adjusted: list[dict[str, float]] = [{} for _ in p_values]
    ready = [
        (p, number, name)
        for number, own in enumerate(p_values)
        for name, p in own.items()
        if p is not None and name in _AT_ONCE
    ]
    heapify(ready)
    remaining, reached = len(p_values), 0.0
    while ready:
        p, number, name = heappop(ready)
        reached = min(1.0, max(reached, remaining * p))
        adjusted[number][name] = reached
        if name == "differ":
            for later, later_p in p_values[number].items():
                if later_p is not None and later not in _AT_ONCE:
                    heappush(ready, (later_p, number, later))
        remaining -= adjusted[number].keys() == p_values[number].keys()
    return [_with(comparison, own) for comparison, own in zip(family, adjusted, strict=True)]


def _parts(asked: Asked) -> dict[str, float | None]:
    """Return the p-values by name; doubled where a margin and `then` each get half the share."""
    beside: dict[str, float | None] = {}
    if asked.asks_margin:
        names = ("a within", "b within", "a beyond", "b beyond")
        beside |= zip(names, (*asked.within, *asked.beyond), strict=True)
    if asked.asks_then:
        beside["then"] = asked.then
    share = 2.0 if asked.asks_margin and asked.asks_then else 1.0
    halved = {name: None if p is None else share * p for name, p in beside.items()}
    return {"differ": asked.differ, **halved}


def _with(asked: Asked, adjusted: Mapping[str, float]) -> Asked:
    return replace(
        asked,
        differ=adjusted.get("differ"),
        within=(adjusted.get("a within"), adjusted.get("b within")),
        beyond=(adjusted.get("a beyond"), adjusted.get("b beyond")),
        then=adjusted.get("then"),
    )


def planned_effects(levels: Mapping[str, Sequence[str]]) -> list[dict[str, tuple[str, str]]]:
    """Return the effects tested in a full matrix: factor -> its two values, first minus second.

    First the main effects, one for each pair of values of each factor; then the interactions, one
    for each pair of two-valued factors. Empty with fewer than two factors that vary, where the
    effects are the contrasts.
    """
    varied = {factor: list(values) for factor, values in levels.items() if len(values) > 1}
    if len(varied) < 2:
        return []
    alone = [
        {factor: pair} for factor, values in varied.items() for pair in combinations(values, 2)
    ]
    two = {factor: (values[0], values[1]) for factor, values in varied.items() if len(values) == 2}
    return alone + [{a: two[a], b: two[b]} for a, b in combinations(two, 2)]
