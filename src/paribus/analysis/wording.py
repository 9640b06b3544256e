"""Say findings in plain words: shares as percent, differences as points, verdicts as sentences.

    percent(0.31)                       "31 %"
    points(-0.052)                      "−5.2 points"
    verdict(contrast)                   "Not shown: the difference may be −5.0 to +11.0 points. ..."

A verdict with one seed speaks of two models that exist, not of the methods that made them; with
several seeds it speaks of the methods. The sentences are worded accordingly, here and nowhere else.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from paribus.statistics.verdicts import Scope, Verdict

if TYPE_CHECKING:  # figures are spelled by verbs that compare nothing
    from paribus.analysis.contrasts import Contrast
    from paribus.analysis.effects import Effect
    from paribus.statistics.intervals import Interval


def percent(share: float | None) -> str:
    """0.31 is "31 %", 0.3085 is "30.9 %", None is "–"."""
    return "–" if share is None else f"{100 * share:.1f}".removesuffix(".0") + " %"


def percent_range(interval: "Interval | None") -> str:
    """The interval of a share, in percent: "22.8 to 40.6"."""
    return "–" if interval is None else f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def signed(share: float) -> str:
    """A difference of shares in points, with its sign: "+9", "−5.2", "0"."""
    text = f"{100 * share:+.1f}".removesuffix(".0")
    return "0" if text in ("+0", "-0") else text.replace("-", "−")


def points(difference: float | None) -> str:
    """A difference of shares: "+9 points", "−1 point"."""
    if difference is None:
        return "–"
    text = signed(difference)
    return f"{text} point" if text in ("+1", "−1") else f"{text} points"


def points_range(interval: "Interval | None") -> str:
    """The interval of a difference, in points: "−5.1 to +11.0"."""
    if interval is None:
        return "–"
    ends = [f"{100 * end:+.1f}".replace("-", "−") for end in (interval.low, interval.high)]
    return " to ".join("0.0" if end in ("+0.0", "−0.0") else end for end in ends)


def p_value(p: float | None) -> str:
    """0.0213 is "0.021", 0.00004 is "< 0.001", None is "no test"."""
    if p is None:
        return "no test"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def verdict(contrast: "Contrast", explains: str = "") -> str:
    """Return what `contrast` shows, in a sentence or two.

    Where a caveat `explains` the difference, an arm scores higher; it is not called better.
    """
    if contrast.n == 0:
        return f"Not compared: {contrast.reason}."
    explained = explains and contrast.verdict is not Verdict.NOT_SHOWN
    said = _higher(contrast, explains) if explained else _shown(contrast)
    return said + _existing(contrast) + equivalence(contrast) + _left_out(contrast)


def equivalence(contrast: "Contrast") -> str:
    """Return what the margin adds, led by a blank; "" without one, or without a test."""
    if contrast.margin is None or contrast.interval is None:
        return ""
    within = points(contrast.margin).lstrip("+")
    if contrast.worse:
        return f" {contrast.worse[0]} is worse by {within} or more."
    if contrast.equivalent:
        return f" Equivalent within {within}."
    if contrast.verdict is Verdict.NOT_SHOWN and contrast.not_worse:
        return f" {contrast.not_worse[0]} is not worse by {within} or more."
    return f" That they differ by less than {within} is not shown, nor that they do not."


def alike(contrast: "Contrast") -> str:
    """Return what is shown of two arms by their margin: `a and b are equivalent within 2 points`.

    Or that one is not worse; "" if neither is, or a difference is shown that is no less.
    """
    if contrast.margin is None or not contrast.not_worse:
        return ""
    within = points(contrast.margin).lstrip("+")
    if contrast.equivalent:
        return f"{contrast.a} and {contrast.b} are equivalent within {within}"
    if contrast.verdict is not Verdict.NOT_SHOWN:
        return ""
    (fine,) = contrast.not_worse
    other = contrast.b if fine == contrast.a else contrast.a
    return f"{fine} is not worse than {other} by {within} or more"


def effect_name(effect: "Effect") -> str:
    """`method: full − lora`, or `method × data.variant`."""
    if len(effect.factors) == 1:
        first, second = effect.levels[0]
        return f"{effect.factors[0]}: {first} − {second}"
    return " × ".join(effect.factors)


def effect(effect: "Effect") -> str:
    """Return what `effect` shows, in a sentence."""
    if effect.difference is None or effect.interval is None:
        return f"Not measured: {effect.reason}."
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


def detectable(
    difference: float | None,
    between: Sequence[float | None] | None = None,
    cause: str = "so few problems",
) -> str:
    """Return the sentence on what could have been seen, led by a blank; if nothing, why."""
    if difference is None:
        return f" No difference is large enough to be seen 8 times in 10 with {cause}."
    aside = f" ({_between(between)}, by what the seeds can tell)" if between else ""
    return f" {100 * difference:.1f} points or more would be seen 8 times in 10{aside}."


def could_see(difference: float | None, between: Sequence[float | None] | None) -> str:
    """The smallest detectable difference in points and what it may truly be: "4.8 [3.5 to 11.5]".

    "–": no difference is large enough.
    """
    if difference is None:
        return "–"
    return f"{100 * difference:.1f}" + (f" [{_between(between)}]" if between else "")


def seeds(contrast: "Contrast") -> str:
    """`over 3 seeds`, `over 3 and 2 seeds`, `one seed`; models that exist have none."""
    counts = [
        count
        for name, count in zip((contrast.a, contrast.b), contrast.seeds, strict=True)
        if count > 1 and name not in contrast.existing
    ]
    if not counts:
        return "one seed"
    paired = "paired " if contrast.paired else ""
    several = sorted(set(counts), reverse=True)
    return f"over {' and '.join(map(str, several))} {paired}seeds"


def join(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _higher(contrast: "Contrast", explains: str) -> str:
    higher, lower = contrast.a, contrast.b
    if contrast.verdict is Verdict.REFUTED:
        higher, lower = lower, higher
    more = points(abs(contrast.difference or 0.0)).lstrip("+")
    of = (
        f"As methods, {seeds(contrast)}:" if contrast.scope is Scope.METHODS else "Of these models,"
    )
    return (
        f"{of} {higher} scores {more} higher than {lower}, which this may explain alone: "
        f"{explains}."
    )


def _shown(contrast: "Contrast") -> str:
    if contrast.verdict is not Verdict.NOT_SHOWN:
        a_wins = contrast.verdict is Verdict.SUPPORTED
        better, worse = (contrast.a, contrast.b) if a_wins else (contrast.b, contrast.a)
        more = points(abs(contrast.difference or 0.0)).lstrip("+")
        if contrast.scope is Scope.METHODS:
            return (
                f"As methods, {seeds(contrast)}: {better} solves {more} more than {worse} on "
                "average."
            )
        if max(contrast.seeds) > 1:
            return (
                f"Of these models, {better} solves {more} more than {worse} on average over "
                f"{_runs(contrast)}."
            )
        count = abs(contrast.only_a - contrast.only_b)
        return (
            f"Of these two models, {better} is better than {worse} on these {contrast.n} "
            f"problems: it solves {count} more."
        )
    if contrast.interval is None:
        return f"No verdict: {contrast.reason}."
    span = f"the difference may be {points_range(contrast.interval)} points."
    if contrast.p_value is None:
        if contrast.not_worse:
            return f"No test of a difference: {contrast.reason}; {span}"
        return f"Not shown: {contrast.reason}, so there is no test; {span}"
    aside = ""
    if contrast.interval.low > 0 or contrast.interval.high < 0:
        aside = " The interval alone leaves out 0; the corrected test does not."
    seen = detectable(contrast.detectable, contrast.detectable_range, _cause(contrast))
    return f"Not shown: {span}{aside}{seen}"


def _cause(contrast: "Contrast") -> str:
    """Return what keeps any difference from being seen: the problems, or the seeds beside them."""
    if contrast.scope is Scope.MODELS:
        return "so few problems"
    by_seed, split = contrast.by_seed, contrast.split
    if split is None or split.seeds <= split.problems + split.cells or len(by_seed) < 2:
        return "so few problems and seeds"
    each = join(list(map(signed, sorted(by_seed))))
    return f"seeds that scatter so: the difference is {each} points"


def _between(ends: Sequence[float | None]) -> str:
    """`3.5 to 11.5`, or `3.5 or more` where no difference is large enough at the other end."""
    low, high = ("" if end is None else f"{100 * end:.1f}" for end in ends)
    return f"{low} to {high}" if high else f"{low} or more"


def _existing(contrast: "Contrast") -> str:
    """Say which arm is no method beside one that is, led by a blank; or ""."""
    if contrast.scope is Scope.MODELS:
        return ""
    return "".join(
        f" Of {name} {'only this model is' if count == 1 else f'just these {count} models are'} "
        "compared, not the method."
        for name, count in zip((contrast.a, contrast.b), contrast.seeds, strict=True)
        if name in contrast.existing
    )


def _runs(contrast: "Contrast") -> str:
    """`the 3 runs of a and the one of b`."""
    of_a, of_b = contrast.seeds
    a, b = (f"the {count} runs" if count > 1 else "the one" for count in (of_a, of_b))
    return f"{a} of {contrast.a} and {b} of {contrast.b}"


def _main_effect(effect: "Effect") -> str:
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


def _seen(effect: "Effect") -> str:
    methods = effect.scope is Scope.METHODS
    cause = "so few problems" + " and seeds" * methods
    return detectable(effect.detectable, effect.detectable_range, cause)


def _who(effect: "Effect") -> str:
    return "As methods" if effect.scope is Scope.METHODS else "Of these trained models"


def _more(effect: "Effect") -> str:
    return points(abs(effect.difference or 0.0)).lstrip("+")


def _left_out(contrast: "Contrast") -> str:
    if not contrast.left_out:
        return ""
    return (
        f" The arms were tested on different problems: compared on the {contrast.n} they share, "
        f"{contrast.left_out} left out."
    )
