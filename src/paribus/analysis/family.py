"""All that an experiment asks, compared and corrected as one family.

    found = judged(tables)
    found.contrasts[0].verdict, found.effects[0].verdict       # at most 1 null experiment in 20
    found.gains[0].verdict                                     # claims anything, all together

Members are the declared contrasts and the effects of a full matrix. Behind a contrast with an
untuned arm stands whether the gain is more than format, asked once the gain is shown; beside one
with a margin whether either arm is no worse. `statistics/family` says how the level is shared.
Claims about cost rest on contrasts. Losses, and what becomes of contrasts that are judged
otherwise, are outside: each kind is corrected on its own, and the page says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from paribus.analysis import effects
from paribus.analysis.contrasts import Contrast, contrast
from paribus.analysis.effects import Effect
from paribus.analysis.looks import last
from paribus.analysis.relations import Gain, format_and_skill
from paribus.analysis.tables import Tables
from paribus.statistics.family import Asked, corrected
from paribus.statistics.sequential import least


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Every member of the family, with its corrected p-values.

    Attributes:
        gains: one for each contrast that has a gain to split, in their order.
    """

    contrasts: list[Contrast]
    effects: list[Effect]
    gains: list[Gain]


def judged(tables: Tables, *, seeing: bool = True) -> Judged:
    """Return every declared contrast and effect, comparable or not, corrected as one family.

    Without `seeing`, what each could see is not computed: it takes longer than all else.
    """
    planned = effects.planned(tables)
    size = len(tables.declared) + len(planned) if seeing else None
    found = [contrast(tables, a, b, factor, family=size) for a, b, factor in tables.declared]
    factors = [effects.measured(tables, effect, family=size) for effect in planned]
    seen = [last(tables, (each.a, each.b)) for each in found]
    pairs = zip(seen, found, strict=True)
    gains = [format_and_skill(one.of, each.a, each.b) for one, each in pairs]
    asked = [
        _asked(each, gain, one.share) for each, gain, one in zip(found, gains, seen, strict=True)
    ]
    told = corrected([*asked, *(Asked(differ=each.p_value) for each in factors)])
    of_contrasts, of_effects = told[: len(found)], told[len(found) :]
    return Judged(
        contrasts=[
            replace(each, p_holm=p.differ, p_not_worse=p.within, p_worse=p.beyond)
            for each, p in zip(found, of_contrasts, strict=True)
        ],
        effects=[
            replace(each, p_holm=p.differ) for each, p in zip(factors, of_effects, strict=True)
        ],
        gains=_gains(gains, of_contrasts),
    )


def _asked(found: Contrast, gain: Gain | None, share: float) -> Asked:
    """Return what is asked of a contrast; of no gain it is never asked what it is made of.

    That is asked at the last declared look, which may spend its `share` of the level.
    """
    gained = gain is not None and (found.difference or 0.0) > 0
    return Asked(
        differ=found.p_value,
        within=found.p_not_worse,
        beyond=found.p_worse,
        asks_margin=found.margin is not None,
        then=least([gain.least_tested.p_value], [share]) if gain is not None and gained else None,
        asks_then=gain is not None,
    )


def _gains(gains: Sequence[Gain | None], told: Sequence[Asked]) -> list[Gain]:
    return [
        replace(gain, p_holm=p.then)
        for gain, p in zip(gains, told, strict=True)
        if gain is not None
    ]
