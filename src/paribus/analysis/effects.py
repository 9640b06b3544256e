"""What each factor of a full matrix does on average, and whether two factors interact.

    arms                 full-main  full-socratic  lora-main  lora-socratic
    method, full - lora     +1/2        +1/2          -1/2        -1/2
    data, main - socratic   +1/2        -1/2          +1/2        -1/2
    method x data            +1          -1            -1          +1

An effect is a weighted sum of arms over the same problems, so it has the interval and test of a
contrast. The interaction says by how many points the first factor does more at the first value
of the second. Effects are a family of their own, corrected together (Holm).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from math import prod
from typing import Any

from paribus.analysis.contrasts import of_shared_seeds, pairs_seeds
from paribus.analysis.pairing import align
from paribus.analysis.tables import Arm, Run, Tables
from paribus.statistics.crossed import components, estimate, too_uncertain
from paribus.statistics.detectable import Range, detectable_by, range_by
from paribus.statistics.intervals import Interval
from paribus.statistics.power import ALPHA
from paribus.statistics.split import Split, split
from paribus.statistics.verdicts import Scope, Verdict, decide, holm


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One factor's effect, or the interaction of two, as a difference of shares.

    Attributes:
        factors: one name, or two for an interaction.
        levels: of each factor the two values compared, first minus second.
        weights: arm -> weight.
        scope: the trained models, or the methods over their seeds.
        n: problems that all runs share.
        detectable: the smallest that would be shown 8 times in 10; detectable_range and split:
            as of a `Contrast`.
    """

    factors: tuple[str, ...]
    levels: tuple[tuple[str, str], ...]
    weights: dict[str, float]
    scope: Scope = Scope.MODELS
    n: int = 0
    difference: float | None = None
    interval: Interval | None = None
    p_value: float | None = None
    p_holm: float | None = None
    detectable: float | None = None
    detectable_range: Range | None = None
    split: Split | None = None
    reason: str = ""

    @property
    def verdict(self) -> Verdict:
        """Supported: the first level solves more. Refuted: the second does."""
        return decide(self.p_holm, self.difference)


def effects(tables: Tables) -> list[Effect]:
    """Return the effects of the matrix, none if it has one factor or is not full."""
    cells = _cells(tables)
    if not cells:
        return []
    planned = _planned(cells)
    family = len(planned)
    found = [_measured(tables, effect, ALPHA / family) for effect in planned]
    corrected = holm([each.p_value for each in found])
    return [replace(each, p_holm=p) for each, p in zip(found, corrected, strict=True)]


def _cells(tables: Tables) -> dict[tuple[tuple[str, str], ...], Arm]:
    """Return the arms of the matrix by their (factor, value) pairs; {} unless fully crossed."""
    matrix = tables.config.get("matrix") or {}
    factors, size = list(matrix), prod(map(len, matrix.values()))
    # Arms listed by name come after those of the matrix, and may set the same factors.
    arms = [arm for arm in tables.arms if set(arm.factors) == set(factors)][:size]
    if len(factors) < 2 or not arms:
        return {}
    cells = {tuple((factor, str(arm.factors[factor])) for factor in factors): arm for arm in arms}
    levels = _levels(cells)
    full = set(product(*([(factor, value) for value in levels[factor]] for factor in factors)))
    return cells if set(cells) == full else {}


def _levels(cells: Mapping[tuple[tuple[str, str], ...], Any]) -> dict[str, list[str]]:
    """Return factor -> its values, in the order in which the arms have them."""
    levels: dict[str, list[str]] = {}
    for cell in cells:
        for factor, value in cell:
            if value not in levels.setdefault(factor, []):
                levels[factor].append(value)
    return levels


def _planned(cells: Mapping[tuple[tuple[str, str], ...], Arm]) -> list[Effect]:
    """Return every pair of values of each factor, then every pair of two-valued factors."""
    levels = {factor: values for factor, values in _levels(cells).items() if len(values) > 1}
    planned = [
        _effect(cells, {factor: pair})
        for factor, values in levels.items()
        for pair in combinations(values, 2)
    ]
    two = [factor for factor, values in levels.items() if len(values) == 2]
    for first, second in combinations(two, 2):
        pairs = {factor: (levels[factor][0], levels[factor][1]) for factor in (first, second)}
        planned.append(_effect(cells, pairs))
    return planned


def _effect(
    cells: Mapping[tuple[tuple[str, str], ...], Arm], pairs: Mapping[str, tuple[str, str]]
) -> Effect:
    signs: dict[str, float] = {}
    for cell, arm in cells.items():
        values = dict(cell)
        if all(values[factor] in pair for factor, pair in pairs.items()):
            sign = 1.0
            for factor, (plus, _) in pairs.items():
                sign *= 1.0 if values[factor] == plus else -1.0
            signs[arm.name] = sign
    # Averaged over the cells of all other factors: each of 2^k corners has as many.
    corners = len(signs) / 2 ** len(pairs)
    return Effect(
        factors=tuple(pairs),
        levels=tuple(pairs.values()),
        weights={name: sign / corners for name, sign in signs.items()},
    )


def _measured(tables: Tables, effect: Effect, alpha: float) -> Effect:
    runs = [[run for run in tables.complete if run.arm == name] for name in effect.weights]
    if not all(runs):
        return replace(effect, reason="not all of its arms have results")
    if min(map(len, runs)) == 1:
        runs = _of_one_seed(runs)
    if pairs_seeds(tables, runs):
        runs = of_shared_seeds(runs)
    if not all(runs):
        return replace(effect, reason="its arms share no complete seed")
    lined_up = align(runs)
    if not lined_up.keys:
        return replace(effect, reason="the arms were tested on different problems")
    arms = [components(solved) for solved in lined_up.solved]
    weighted = list(zip(effect.weights.values(), arms, strict=True))
    found = estimate(weighted, lined_up.groups, paired=pairs_seeds(tables, runs))
    scope = Scope.METHODS if max(map(len, runs)) > 1 else Scope.MODELS
    made = replace(effect, scope=scope, n=len(lined_up.keys), difference=found.value)
    reason = too_uncertain(arms, lined_up.groups)
    if reason:
        return replace(made, reason=reason)
    return replace(
        made,
        interval=found.interval,
        p_value=found.p_value,
        reason="" if found.varies else "no problem tells its arms apart",
        detectable=detectable_by(found, alpha),
        detectable_range=range_by(found, alpha),
        split=split(found),
    )


def _of_one_seed(runs: Sequence[Sequence[Run]]) -> list[list[Run]]:
    """Keep the lowest seed that every arm has."""
    shared = set.intersection(*({run.seed for run in of_arm} for of_arm in runs))
    kept = min(shared) if shared else None
    return [[run for run in of_arm if run.seed == kept] for of_arm in runs]
