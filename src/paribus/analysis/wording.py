"""Findings in words: shares as percent, differences as points, verdicts as sentences.

    percent(0.31)                       # "31 %"
    points(-0.052)                      # "−5.2 points"
    verdict_sentence(contrast)          # "Not shown: the difference may be −5 to +11 points. ..."

A verdict with one seed is about two models that exist, not about the methods that made them. With
three seeds or more it is about the methods; two seeds give no verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paribus.analysis.measures import explained_terms, terms
from paribus.records import Measure
from paribus.statistics.intervals import Interval
from paribus.statistics.power import ALPHA
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


if TYPE_CHECKING:  # figures are spelled by verbs that compare nothing
    from paribus.analysis.contrasts import Contrast
    from paribus.statistics.intervals import Interval


def percent(share: float | None) -> str:
    """0.31 is "31 %", 0.3085 is "30.9 %", None is "–"."""
    return "–" if share is None else f"{100 * share:.1f}".removesuffix(".0") + " %"


def mean(value: float | None, measure: Measure) -> str:
    """An arm's accuracy, "31 %", its mean score, "31 points", or its mean loss, "1.204 nats"."""
    if measure is Measure.SOLVED or value is None:
        return percent(value)
    return points(value, measure).lstrip("+")


def mean_range(interval: "Interval | None", measure: Measure) -> str:
    """The interval of an arm's mean, in the unit of `mean`, without it: "22.8 to 40.6"."""
    if interval is None:
        return "–"
    return " to ".join(_number(end, measure) for end in (interval.low, interval.high))


def percent_range(interval: "Interval | None") -> str:
    """The interval of a share, in percent: "22.8 to 40.6"."""
    return "–" if interval is None else f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def _number(value: float, measure: Measure, sign: str = "") -> str:
    """Spell a figure in the unit of its measure; with the `sign` "+" its sign is said."""
    words = terms(measure)
    text = f"{words.scale * value:{sign}.{words.digits}f}".replace("-", "−")
    return text if text.strip("+−0.") else text.lstrip("+−")


def signed(share: float, measure: Measure = Measure.SOLVED) -> str:
    """A difference of shares in points, with its sign: "+9", "−5.2", "0"; of losses "+0.204"."""
    text = _number(share, measure, "+")
    return text.removesuffix(".0") if terms(measure).digits == 1 else text


def points(difference: float | None, measure: Measure = Measure.SOLVED) -> str:
    """A difference of shares: "+9 points", "−1 point"; of losses: "+0.204 nats"."""
    if difference is None:
        return "–"
    text = signed(difference, measure)
    return f"{text} point" if text in ("+1", "−1") else f"{text} {terms(measure).unit}"


def points_range(interval: "Interval | None", measure: Measure = Measure.SOLVED) -> str:
    """The interval of a difference, in points: "−5.1 to +11.0"; of losses in nats."""
    if interval is None:
        return "–"
    return " to ".join(_number(end, measure, "+") for end in (interval.low, interval.high))


def p_value(p: float | None) -> str:
    """0.0213 is "0.021", 0.00004 is "< 0.001", None is "no test"."""
    if p is None:
        return "no test"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def verdict_sentence(contrast: "Contrast", explains: str = "") -> str:
    """Return what `contrast` shows, in a sentence or two.

    Where a caveat `explains` the difference, an arm scores higher; it is not called better.
    """
    if contrast.n == 0:
        return f"Not compared: {contrast.reason}."
    shown = contrast.verdict is not Verdict.NOT_SHOWN
    text = _ahead(contrast, explains) if shown else _not_shown(contrast)
    return (
        text + _existing(contrast) + equivalence_sentence(contrast, explains) + _left_out(contrast)
    )


def equivalence_sentence(contrast: "Contrast", explains: str = "") -> str:
    """Return what the margin adds, led by a blank; "" without one, or without a test.

    Where a caveat `explains` the difference, no arm is called worse; it scores lower.
    """
    if contrast.margin is None or contrast.interval is None:
        return ""
    within = points(contrast.margin).lstrip("+")
    if contrast.worse:
        lower = "scores lower" if explains else "is worse"
        return f" {contrast.worse[0]} {lower} by {within} or more."
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


def detectable_sentence(
    difference: float | None,
    between: Sequence[float | None] | None = None,
    cause: str = "so few problems",
    measure: Measure = Measure.SOLVED,
) -> str:
    """Return the sentence on what could have been seen, led by a blank; if nothing, why."""
    if difference is None:
        return f" No difference is large enough to be seen 8 times in 10 with {cause}."
    aside = f" ({_between(between, measure)}, by what the seeds can tell)" if between else ""
    size = f"{_number(difference, measure)} {terms(measure).unit}"
    return f" {size} or more would be seen 8 times in 10{aside}."


def could_see(
    difference: float | None,
    between: Sequence[float | None] | None,
    measure: Measure = Measure.SOLVED,
) -> str:
    """The smallest detectable difference in points and what it may truly be: "4.8 [3.5 to 11.5]".

    "–": no difference is large enough.
    """
    if difference is None:
        return "–"
    size = _number(difference, measure)
    return size + (f" [{_between(between, measure)}]" if between else "")


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
    """`a`, `a and b`, `a, b and c`; "" for none."""
    return "".join(items) if len(items) < 2 else f"{', '.join(items[:-1])} and {items[-1]}"


def order(contrast: "Contrast", explains: str = "", size: str = "") -> str:
    """Return who is ahead, where a difference is shown, and no more than that shows.

    `full is better than lora on these 100 problems`; of several runs `full solves more than lora on
    average`; where a caveat `explains` it, `full scores higher than lora`. Headlines and sentences
    both say it so. `size`, as "3 points", goes before "more" or "higher". By scores it is
    `full scores higher than lora on these 100 problems`.
    """
    ahead, behind = contrast.a, contrast.b
    if contrast.verdict is Verdict.REFUTED:
        ahead, behind = behind, ahead
    if explains:
        return f"{ahead} {explained_terms(contrast.measure).more(size)} than {behind}"
    more = terms(contrast.measure).more(size)
    if contrast.scope is Scope.METHODS or max(contrast.seeds) > 1:
        return f"{ahead} {more} than {behind} on average"
    if contrast.measure is not Measure.SOLVED:
        return f"{ahead} {more} than {behind} on these {contrast.n} problems"
    return f"{ahead} is better than {behind} on these {contrast.n} problems"


def lead(contrast: "Contrast", kind: str = "") -> str:
    """Return how a sentence begins: `As methods, over 3 seeds`, `Of these models`.

    Models that exist may be of a `kind`, such as "trained".
    """
    if contrast.scope is Scope.METHODS:
        return f"As methods, {seeds(contrast)}"
    return f"Of these {kind} models" if kind else "Of these models"


def explained(explains: str) -> str:
    """Return the clause behind a difference that a caveat may explain alone; or ""."""
    return f", which this may explain alone: {explains}" if explains else ""


def why_not(contrast: "Contrast") -> str:
    """Return why nothing is shown: there is no test, or it fails although the interval excludes 0.

    "" where the interval says it. The test over seeds is harder to pass than its interval, and so
    is one that counts several looks.
    """
    ends = contrast.interval
    if contrast.reason or ends is None or ends.low <= 0 <= ends.high:
        return contrast.reason
    harder = contrast.p_value is not None and contrast.p_value >= ALPHA
    which = "which is harder to pass," if harder else "corrected for all comparisons,"
    return f"the interval leaves out 0, the test, {which} does not"


def _ahead(contrast: "Contrast", explains: str) -> str:
    size = points(abs(contrast.difference or 0.0), contrast.measure).lstrip("+")
    text = order(contrast, explains, size)
    if contrast.scope is Scope.METHODS:
        return f"{lead(contrast)}: {text}{explained(explains)}."
    if explains:
        return f"{lead(contrast)}, {text}{explained(explains)}."
    if max(contrast.seeds) > 1:
        return f"{lead(contrast)}, {text} over {_runs(contrast)}."
    if contrast.measure is not Measure.SOLVED:
        return f"{lead(contrast, 'two')}, {text}."
    count = abs(contrast.only_a - contrast.only_b)
    return f"{lead(contrast, 'two')}, {text}: it solves {count} more."


def _not_shown(contrast: "Contrast") -> str:
    if contrast.interval is None:
        return f"No verdict: {contrast.reason}."
    measure = contrast.measure
    may_be = points_range(contrast.interval, measure)
    span = f"the difference may be {may_be} {terms(measure).unit}."
    if contrast.p_value is None:
        if contrast.not_worse:
            return f"No test of a difference: {contrast.reason}; {span}"
        return f"Not shown: {contrast.reason}, so there is no test; {span}"
    why = why_not(contrast)
    aside = f" {why[0].upper()}{why[1:]}." if why else ""
    cause = _cause(contrast)
    seen = detectable_sentence(contrast.detectable, contrast.detectable_range, cause, measure)
    return f"Not shown: {span}{aside}{seen}"


def _cause(contrast: "Contrast") -> str:
    """Return what limits the smallest visible difference: the number of problems, or of seeds."""
    if contrast.scope is Scope.MODELS:
        return "so few problems"
    by_seed, split = contrast.by_seed, contrast.split
    if split is None or split.seeds <= split.problems + split.cells or len(by_seed) < 2:
        return "so few problems and seeds"
    differences = join([signed(each, contrast.measure) for each in sorted(by_seed)])
    unit = terms(contrast.measure).unit
    return f"seeds that scatter so: the difference is {differences} {unit}"


def _between(ends: Sequence[float | None], measure: Measure) -> str:
    """`3.5 to 11.5`, or `3.5 or more` where no difference is large enough at the other end."""
    low, high = ("" if end is None else _number(end, measure) for end in ends)
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


def _left_out(contrast: "Contrast") -> str:
    if not contrast.left_out:
        return ""
    return (
        f" The arms were tested on different problems: compared on the {contrast.n} they share, "
        f"{contrast.left_out} left out."
    )
