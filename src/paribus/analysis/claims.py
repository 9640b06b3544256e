"""Findings: typed claims, each supported, refuted or not shown, with the evidence for it.

| kind        | claim                                                | rests on                  |
|-------------|------------------------------------------------------|---------------------------|
| tuning      | full-main solves more than its untuned model         | a contrast                |
| contrast    | full-main solves more than lora-main                 | a contrast                |
| equivalence | two arms are equivalent within the margin; one is no worse | a contrast          |
| effect      | method: full solves more than lora                   | the matrix                |
| interaction | the effect of method depends on data.variant         | the matrix                |
| loss        | lower training loss did not mean higher accuracy     | losses of several seeds   |
| memory      | lora-main needs less memory and solves no fewer      | costs beside a contrast   |
| speed       | lora-main trains faster and solves no fewer          | costs beside a contrast   |
| skill       | full-main gained more than answer format             | the untuned texts         |
| scorer      | no conclusion changes with the scorer                | everything compared again |
| protocol    | no conclusion changes with the protocol              | everything compared again |
| labels      | no conclusion changes with corrected labels          | everything compared again |
| guard       | full-main loses less than 2 points on another task   | `other_tasks`             |

A claim of equality cannot be supported by a test that shows nothing. "Solves no fewer" is supported
only where the cheaper arm is shown to solve more; else it is not shown, with the points it may
lose. "No conclusion changes" is supported only where every difference is shown to stay within 2
points, and refuted only where a verdict and its difference are shown to change. With a margin the
cheaper arm need not win: two one-sided tests show that it loses less than the margin.

    of_margin(contrast, Caveats()).claim         # "lora and full are equivalent within 2 points"
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from paribus.analysis import wording
from paribus.analysis.caveats import Caveats, unbalanced
from paribus.analysis.contrasts import Contrast, untuned
from paribus.analysis.effects import Effect, effect_sentence
from paribus.analysis.family import Cost, Gain, costs, frontier
from paribus.analysis.losses import of_losses
from paribus.analysis.machines import about_machines
from paribus.analysis.measures import explained_terms, terms
from paribus.analysis.robustness import Shift, of_shifts
from paribus.analysis.tables import Tables
from paribus.analysis.wording import Finding, ends
from paribus.records import Measure
from paribus.statistics.verdicts import Verdict


def of_margin(contrast: Contrast, beside: Caveats) -> Finding:
    """Whether two arms are as good as each other by the margin; if not, whether one is no worse."""
    within = wording.points(contrast.margin).lstrip("+")
    claim = wording.alike(contrast)
    verdict = Verdict.SUPPORTED if claim else Verdict.NOT_SHOWN
    if contrast.worse:
        verdict = Verdict.REFUTED
    return Finding(
        kind="equivalence",
        claim=claim or f"{contrast.a} and {contrast.b} are equivalent within {within}",
        verdict=verdict,
        scope=contrast.scope,
        sentence=f"{wording.equivalence_sentence(contrast, beside.explains).strip()} "
        f"The difference may be {wording.points_range(contrast.interval)} points.",
        evidence={
            "a": contrast.a,
            "b": contrast.b,
            "margin": contrast.margin,
            "difference": contrast.difference,
            "interval": ends(contrast.interval),
            "p_not_worse": list(contrast.p_not_worse),
            "p_worse": list(contrast.p_worse),
        },
        caveats=beside.all,
    )


CHEAPER = 0.9
"""An arm is called cheaper if it needs at most this share of the other's memory or time."""


def findings(
    tables: Tables,
    contrasts: Sequence[Contrast],
    beside: Sequence[Caveats],
    effects: Sequence[Effect],
    gains: Sequence[Gain],
    shifted: Sequence[Shift],
) -> list[Finding]:
    """Return every finding of an experiment, in the order of the table above.

    `beside` has the caveats of each of the contrasts, `shifted` what becomes of them when
    they are judged differently.
    """
    pairs = [pair for pair in zip(contrasts, beside, strict=True) if pair[0].n]
    return [
        *(_of_contrast(tables, contrast, caveats) for contrast, caveats in pairs),
        *(
            of_margin(contrast, caveats)
            for contrast, caveats in pairs
            if contrast.interval and contrast.margin
        ),
        *(_of_effect(tables, effect) for effect in effects if effect.interval is not None),
        *of_losses(tables, contrasts),
        *_of_costs(tables, pairs),
        *_of_skill(pairs, gains),
        *of_shifts(shifted),
    ]


def _of_contrast(tables: Tables, contrast: Contrast, caveats: Caveats) -> Finding:
    tuning = untuned(tables, contrast.b) and not untuned(tables, contrast.a)
    rest = "its untuned model" if tuning else contrast.b
    words = (explained_terms if caveats.explains else terms)(contrast.measure)
    return Finding(
        kind="tuning" if tuning else "contrast",
        claim=f"{contrast.a} {words.more()} than {rest}",
        verdict=contrast.verdict,
        scope=contrast.scope,
        sentence=wording.verdict_sentence(contrast, caveats.explains),
        evidence={
            "a": contrast.a,
            "b": contrast.b,
            "factor": contrast.factor,
            "n": contrast.n,
            "seeds": list(contrast.seeds),
            "difference": contrast.difference,
            "interval": ends(contrast.interval),
            "p_holm": contrast.p_holm,
            "detectable": contrast.detectable,
            "detectable_range": contrast.detectable_range and list(contrast.detectable_range),
        },
        caveats=caveats.all,
    )


def _of_effect(tables: Tables, effect: Effect) -> Finding:
    single = len(effect.factors) == 1
    first, second = effect.levels[0]
    more = terms(effect.measure).more()
    return Finding(
        kind="effect" if single else "interaction",
        claim=f"{effect.factors[0]}: {first} {more} than {second} on average"
        if single
        else f"the effect of {effect.factors[0]} depends on {effect.factors[1]}",
        # For an interaction either sign is one.
        verdict=effect.verdict
        if single or effect.verdict is Verdict.NOT_SHOWN
        else Verdict.SUPPORTED,
        scope=effect.scope,
        sentence=effect_sentence(effect),
        evidence={
            "weights": effect.weights,
            "n": effect.n,
            "difference": effect.difference,
            "interval": ends(effect.interval),
            "p_holm": effect.p_holm,
            "detectable": effect.detectable,
            "detectable_range": effect.detectable_range and list(effect.detectable_range),
        },
        caveats=(*unbalanced(tables, effect.weights), *about_machines(tables, effect.weights)),
    )


def _of_costs(tables: Tables, pairs: Sequence[tuple[Contrast, Caveats]]) -> Iterator[Finding]:
    points = {point.name: point for point in costs(tables)}
    for kind in ("memory", "speed"):
        best = frontier(list(points.values()), kind)
        for contrast, caveats in pairs:
            if contrast.a not in points or contrast.b not in points or contrast.interval is None:
                continue
            cheap, dear = sorted(
                (points[contrast.a], points[contrast.b]), key=lambda p: _price(p, kind)
            )
            if _price(cheap, kind) <= CHEAPER * _price(dear, kind):
                finding = _cheaper(contrast, caveats.explains, cheap, dear, kind, best)
                yield replace(finding, caveats=caveats.outcomes)


def _cheaper(
    contrast: Contrast,
    explains: str,
    cheap: Cost,
    dear: Cost,
    kind: Literal["memory", "speed"],
    best: list[str],
) -> Finding:
    words = terms(contrast.measure)
    rest = f"no {words.down}"
    if contrast.margin is not None:
        rest = f"less than {_within(contrast.margin)} {words.down}"
    verdict, sentence = _solves_as_many(contrast, explains, cheap, dear, kind)
    return Finding(
        kind=kind,
        claim=f"{cheap.name} is cheaper in {kind} than {dear.name} and {words.does} {rest}"
        if kind == "memory"
        else f"{cheap.name} trains faster than {dear.name} and {words.does} {rest}",
        verdict=verdict,
        scope=contrast.scope,
        sentence=sentence,
        evidence={
            ("accuracy" if contrast.measure is Measure.SOLVED else "mean"): {
                point.name: point.accuracy for point in (cheap, dear)
            },
            "peak_memory_bytes": {point.name: point.peak_memory_bytes for point in (cheap, dear)},
            "examples_per_second": {
                point.name: point.examples_per_second for point in (cheap, dear)
            },
            "pareto_frontier": best,
        },
    )


def _solves_as_many(
    contrast: Contrast, explains: str, cheap: Cost, dear: Cost, kind: Literal["memory", "speed"]
) -> tuple[Verdict, str]:
    """Return whether the cheaper arm solves no fewer, or within the margin fewer, in a sentence."""
    ratio = _price(dear, kind) / _price(cheap, kind)
    does = (
        f"needed {100 / ratio:.0f} % of the memory"
        if kind == "memory"
        else f"was {ratio:.1f} x as fast"
    )
    verdict, interval = contrast.verdict, contrast.interval
    assert interval is not None
    loses = max(0.0, -interval.low if cheap.name == contrast.a else interval.high)
    words = terms(contrast.measure)
    may = f"{cheap.name} {does}; it may {words.do} up to {100 * loses:.1f} points {words.down}."
    shown = explained_terms(contrast.measure) if explains else words
    more, fewer = shown.more(), shown.fewer()
    if contrast.margin is not None:
        within = _within(contrast.margin)
        verdict, sentence = Verdict.NOT_SHOWN, may
        if cheap.name in contrast.not_worse:
            verdict = Verdict.SUPPORTED
            sentence = f"{cheap.name} {does} and {words.does} less than {within} {words.down}."
        elif cheap.name in contrast.worse:
            verdict = Verdict.REFUTED
            sentence = f"{cheap.name} {does}; it {fewer}, by {within} or more"
            sentence += f"{wording.explained(explains)}."
    elif verdict is not Verdict.NOT_SHOWN:
        wins = (verdict is Verdict.SUPPORTED) == (cheap.name == contrast.a)
        verdict = Verdict.SUPPORTED if wins else Verdict.REFUTED
        sentence = f"{cheap.name} {does} and {more if wins else fewer}"
        sentence += f"{wording.explained(explains)}."
    else:
        sentence = may
    return verdict, sentence


def _within(margin: float) -> str:
    """Return a margin in words: `2 points`."""
    return wording.points(margin).lstrip("+")


def _price(point: Cost, kind: Literal["memory", "speed"]) -> float:
    """Bytes, or seconds per example."""
    return point.peak_memory_bytes if kind == "memory" else 1 / point.examples_per_second


def _of_skill(
    pairs: Sequence[tuple[Contrast, Caveats]], gains: Sequence[Gain]
) -> Iterator[Finding]:
    of_pair = {(gain.a, gain.b): gain for gain in gains}
    for contrast, caveats in pairs:
        gain = of_pair.get((contrast.a, contrast.b))
        if gain is None or contrast.verdict is not Verdict.SUPPORTED:
            continue
        yield Finding(
            kind="skill",
            claim=f"{contrast.a} gained more than answer format",
            verdict=gain.verdict,
            scope=contrast.scope,
            sentence=_skill_sentence(gain),
            evidence={
                "gain": gain.gain,
                "format_at_most": gain.gain - gain.least,
                "skill_at_least": gain.least,
                "skill_at_least_interval": ends(gain.least_tested.interval),
                "p_holm": gain.p_holm,
                "skill_by_last_number": gain.last,
                "skill_by_last_number_interval": ends(gain.last_interval),
            },
            caveats=caveats.outcomes,
        )


def _skill_sentence(gain: Gain) -> str:
    """Say what is left of a gain, by two readings of the untuned texts."""
    least, last = (
        f"{wording.points(size)} [{wording.points_range(interval)}]"
        for size, interval in (
            (gain.least, gain.least_tested.interval),
            (gain.last, gain.last_interval),
        )
    )
    shown = "is shown" if gain.verdict is Verdict.SUPPORTED else "is not shown"
    return (
        f"Of {wording.points(gain.gain)} over {gain.b}, {least} are left if {gain.b} counts as "
        "right wherever the right number stands in its text, also by accident: a lower bound of "
        f"what is more than format, which {shown} to be above 0. If only its last number counts, "
        f"{last} are left."
    )
