"""What each factor of a full matrix does on average, and whether two factors interact.

    arms                 full-main  full-socratic  lora-main  lora-socratic
    method, full - lora     +1/2        +1/2          -1/2        -1/2
    data, main - socratic   +1/2        -1/2          +1/2        -1/2
    method x data            +1          -1            -1          +1

An effect is a weighted sum of arms over the same problems, so it has the interval and test of a
contrast. The interaction says by how many points the effect of the first factor is larger at the
first value of the second. `family` corrects them together with the contrasts.

    effect_name(effect)         # "method: full − lora"
    effect_sentence(effect)     # "As methods, those with full solve 7 points more on average ..."
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

from paribus.analysis.contrasts import of_shared_seeds, pairs_seeds
from paribus.analysis.looks import at_looks, two_sided
from paribus.analysis.measures import terms
from paribus.analysis.pairing import Aligned, align
from paribus.analysis.tables import Arm, Run, Tables
from paribus.analysis.wording import detectable_sentence, points, points_range
from paribus.records import Measure
from paribus.statistics.crossed import components, estimate, too_uncertain
from paribus.statistics.family import planned_effects
from paribus.statistics.intervals import Interval
from paribus.statistics.power import ALPHA
from paribus.statistics.real.comparison import combine
from paribus.statistics.real.power import measured_detectable, measured_range
from paribus.statistics.verdicts import (
    Range,
    Scope,
    Split,
    Verdict,
    decide,
    detectable_by,
    range_by,
    split,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One factor's effect, or the interaction of two, as a difference of shares or of scores.

    Attributes:
        factors: one name, or two for an interaction.
        levels: of each factor the two values compared, first minus second.
        weights: arm -> weight.
        measure: what the arms are compared by.
        scope: the trained models, or the methods over their seeds.
        n: problems that all runs share.
        detectable: the smallest that would be shown 8 times in 10; detectable_range and split:
            as of a `Contrast`.
    """

    factors: tuple[str, ...]
    levels: tuple[tuple[str, str], ...]
    weights: dict[str, float]
    measure: Measure = Measure.SOLVED
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
        """Supported: the first level solves more, or scores higher. Refuted: the second does."""
        difference = self.difference or 0.0
        return decide(self.p_holm, self.measure.better * difference)


def planned(tables: Tables) -> list[Effect]:
    """Return the effects of the matrix, not measured; none if it has one factor or is not full."""
    cells = _cells(tables)
    return [_effect(cells, pairs) for pairs in planned_effects(_levels(cells))]


def measured(tables: Tables, effect: Effect, *, family: int | None = 1) -> Effect:
    """Return what came of a planned effect, not corrected; `family` as of `contrast`."""
    at_each_look = at_looks(
        tables,
        list(effect.weights),
        lambda seen, among: _measured(seen, effect, among),
        family,
    )
    return replace(at_each_look[-1].of, p_value=two_sided(at_each_look))


def _measured(tables: Tables, effect: Effect, family: float | None) -> Effect:
    runs: list[Sequence[Run]] = [tables.complete_of(name) for name in effect.weights]
    if not all(runs):
        return replace(effect, reason="not all of its arms have results")
    existing = [tables.existing(name) for name in effect.weights]
    if any(existing) and not all(existing):
        single = ", ".join(
            name for name, exists in zip(effect.weights, existing, strict=True) if exists
        )
        return replace(effect, reason=f"{single} has one seed, others have more")
    if max(map(len, runs)) == 1 and len({run.seed for (run,) in runs}) > 1:
        return replace(effect, reason="its arms share no complete seed")
    paired = pairs_seeds(tables, runs)
    if paired:
        runs = of_shared_seeds(runs)
    if not all(runs):
        return replace(effect, reason="its arms share no complete seed")
    lined_up = align(runs)
    if not lined_up.keys:
        return replace(effect, reason="the arms were tested on different problems")
    result = replace(
        effect,
        measure=lined_up.measure,
        scope=Scope.MODELS if all(existing) else Scope.METHODS,
        n=len(lined_up.keys),
    )
    of_sum = _of_solved if lined_up.measure is Measure.SOLVED else _of_scores
    return of_sum(result, lined_up, paired=paired, family=family)


def _of_scores(effect: Effect, lined_up: Aligned, *, paired: bool, family: float | None) -> Effect:
    weighted = list(zip(effect.weights.values(), lined_up.scores, strict=True))
    bounded = lined_up.measure is Measure.SCORE
    tested = combine(weighted, lined_up.groups, paired=paired, bounded=bounded)
    return replace(
        effect,
        difference=float(sum(weight * scores.mean() for weight, scores in weighted)),
        interval=tested.interval,
        p_value=tested.p_value,
        reason=tested.reason,
        detectable=measured_detectable(tested, family) if family else None,
        detectable_range=measured_range(tested, family) if family else None,
        split=split(tested.crossed) if tested.crossed else None,
    )


def _of_solved(effect: Effect, lined_up: Aligned, *, paired: bool, family: float | None) -> Effect:
    arms = [components(solved) for solved in lined_up.solved]
    weighted = list(zip(effect.weights.values(), arms, strict=True))
    estimated = estimate(weighted, lined_up.groups, paired=paired)
    result = replace(effect, difference=estimated.value)
    reason = too_uncertain(arms, lined_up.groups)
    if reason:
        return replace(result, reason=reason)
    return replace(
        result,
        interval=estimated.interval,
        p_value=estimated.p_value,
        reason="" if estimated.varies else "no problem tells its arms apart",
        detectable=detectable_by(estimated, ALPHA / family) if family else None,
        detectable_range=range_by(estimated, ALPHA / family) if family else None,
        split=split(estimated),
    )


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


def _levels(cells: Mapping[tuple[tuple[str, str], ...], Arm]) -> dict[str, list[str]]:
    """Return factor -> its values, in the order in which the arms have them."""
    levels: dict[str, list[str]] = {}
    for cell in cells:
        for factor, value in cell:
            if value not in levels.setdefault(factor, []):
                levels[factor].append(value)
    return levels


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


def effect_name(effect: Effect) -> str:
    """`method: full − lora`, or `method × data.variant`."""
    if len(effect.factors) == 1:
        first, second = effect.levels[0]
        return f"{effect.factors[0]}: {first} − {second}"
    return " × ".join(effect.factors)


def effect_sentence(effect: Effect) -> str:
    """Return what `effect` shows, in a sentence."""
    if effect.difference is None or effect.interval is None:
        return f"Not measured: {effect.reason}."
    if effect.p_holm is None and effect.reason:
        return f"Not shown: {effect.reason}, so there is no test; it may be {_span(effect)}."
    if len(effect.factors) == 1:
        return _main_effect(effect)
    if effect.verdict is Verdict.NOT_SHOWN:
        return (
            f"Not shown that the effect of {effect.factors[0]} depends on {effect.factors[1]}: by "
            f"{_span(effect)}.{_seen(effect)}"
        )
    (first, second), values = effect.levels
    higher, lower = values if effect.verdict is Verdict.SUPPORTED else values[::-1]
    return (
        f"{_scope(effect)}, the difference {first} − {second} is {_size(effect)} higher with "
        f"{effect.factors[1]} {higher} than with {lower}."
    )


def _main_effect(effect: Effect) -> str:
    first, second = effect.levels[0]
    if effect.verdict is Verdict.NOT_SHOWN:
        return f"Not shown: the average difference may be {_span(effect)}.{_seen(effect)}"
    ahead = effect.verdict is Verdict.SUPPORTED
    better, worse = (first, second) if ahead else (second, first)
    words = terms(effect.measure)
    return (
        f"{_scope(effect)}, those with {better} {words.do} {_size(effect)} {words.up} on average "
        f"than those with {worse}."
    )


def _seen(effect: Effect) -> str:
    methods = effect.scope is Scope.METHODS
    cause = "so few problems" + " and seeds" * methods
    return detectable_sentence(effect.detectable, effect.detectable_range, cause, effect.measure)


def _span(effect: Effect) -> str:
    return f"{points_range(effect.interval, effect.measure)} {terms(effect.measure).unit}"


def _scope(effect: Effect) -> str:
    return "As methods" if effect.scope is Scope.METHODS else "Of these models"


def _size(effect: Effect) -> str:
    return points(abs(effect.difference or 0.0), effect.measure).lstrip("+")
