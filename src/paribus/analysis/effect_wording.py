"""Say what the effects of a matrix show: each factor on average, and whether two interact.

effect_name(effect)         "method: full − lora"
effect_sentence(effect)              "As methods, those with full solve 7 points more on average than ..."
"""

from paribus.analysis.effects import Effect
from paribus.analysis.wording import detectable_sentence, points, points_range
from paribus.statistics.verdicts import Scope, Verdict


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
        span = points_range(effect.interval)
        return f"Not shown: {effect.reason}, so there is no test; it may be {span} points."
    if len(effect.factors) == 1:
        return _main_effect(effect)
    if effect.verdict is Verdict.NOT_SHOWN:
        return (
            f"Not shown that the effect of {effect.factors[0]} depends on {effect.factors[1]}: by "
            f"{points_range(effect.interval)} points.{_seen(effect)}"
        )
    (first, second), values = effect.levels
    higher, lower = values if effect.verdict is Verdict.SUPPORTED else values[::-1]
    return (
        f"{_who(effect)}, the difference {first} − {second} is {_more(effect)} higher with "
        f"{effect.factors[1]} {higher} than with {lower}."
    )


def _main_effect(effect: Effect) -> str:
    first, second = effect.levels[0]
    if effect.verdict is Verdict.NOT_SHOWN:
        return (
            f"Not shown: the average difference may be {points_range(effect.interval)} points."
            f"{_seen(effect)}"
        )
    ahead = effect.verdict is Verdict.SUPPORTED
    better, worse = (first, second) if ahead else (second, first)
    return (
        f"{_who(effect)}, those with {better} solve {_more(effect)} more on average than those "
        f"with {worse}."
    )


def _seen(effect: Effect) -> str:
    methods = effect.scope is Scope.METHODS
    cause = "so few problems" + " and seeds" * methods
    return detectable_sentence(effect.detectable, effect.detectable_range, cause)


def _who(effect: Effect) -> str:
    return "As methods" if effect.scope is Scope.METHODS else "Of these models"


def _more(effect: Effect) -> str:
    return points(abs(effect.difference or 0.0)).lstrip("+")
