"""Findings: typed claims, each supported, refuted or not shown, with the evidence for it.

| kind        | claim                                                | rests on                 |
|-------------|------------------------------------------------------|--------------------------|
| tuning      | full-main solves more than its untuned model         | a contrast               |
| contrast    | full-main solves more than lora-main                 | a contrast               |
| effect      | method: full solves more than lora                   | the matrix               |
| interaction | the effect of method depends on data.variant         | the matrix               |
| loss        | lower training loss did not mean higher accuracy     | losses beside contrasts  |
| memory      | lora-main needs less memory and solves no fewer      | costs beside a contrast  |
| speed       | lora-main trains faster and solves no fewer          | costs beside a contrast  |
| skill       | full-main gained more than answer format             | the flexible scorer      |
| scorer      | no conclusion changes with the scorer                | everything compared anew |
| protocol    | no conclusion changes with the protocol              | likewise                 |
| labels      | no conclusion changes with corrected labels          | likewise                 |

A claim of equality cannot be shown by a test that shows nothing: "solves no fewer" is supported
only where the cheaper arm is shown to solve more, and not shown with the points it may lose.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from paribus.analysis import wording
from paribus.analysis.contrasts import Contrast, untuned
from paribus.analysis.effects import Effect
from paribus.analysis.fairness import Row, unexplained
from paribus.analysis.relations import (
    Cost,
    LossOrder,
    costs,
    format_and_skill,
    frontier,
    loss_against_accuracy,
)
from paribus.analysis.robustness import Change, Variation, changes
from paribus.analysis.tables import Tables
from paribus.statistics.intervals import Interval
from paribus.statistics.verdicts import Scope, Verdict

CHEAPER = 0.9
"""An arm is called cheaper if it needs at most this share of the other's memory or time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One claim.

    Attributes:
        kind: a row of the table above.
        scope: the trained models or the methods; None where the claim rests on no single test.
        sentence: what was found, in plain words.
        evidence: the figures behind it, JSON-ready.
        caveats: what else differed between the arms.
    """

    kind: str
    claim: str
    verdict: Verdict
    scope: Scope | None
    sentence: str
    evidence: dict[str, Any]
    caveats: tuple[str, ...] = ()


def findings(
    tables: Tables,
    found: Sequence[Contrast],
    effects: Sequence[Effect],
    varied: Sequence[Variation],
) -> list[Finding]:
    """Return every finding of an experiment, in the order of the table above."""
    return [
        *(_of_contrast(tables, each) for each in found if each.n),
        *(_of_effect(each) for each in effects if each.interval is not None),
        *_of_losses(tables, found),
        *_of_costs(tables, found),
        *_of_skill(tables, found),
        *_of_variations(found, varied),
    ]


def _of_contrast(tables: Tables, contrast: Contrast) -> Finding:
    tuning = untuned(tables, contrast.b) and not untuned(tables, contrast.a)
    rest = "its untuned model" if tuning else contrast.b
    return Finding(
        kind="tuning" if tuning else "contrast",
        claim=f"{contrast.a} solves more than {rest}",
        verdict=contrast.verdict,
        scope=contrast.scope,
        sentence=wording.verdict(contrast),
        evidence={
            "a": contrast.a,
            "b": contrast.b,
            "factor": contrast.factor,
            "n": contrast.n,
            "seeds": list(contrast.seeds),
            "difference": contrast.difference,
            "interval": _ends(contrast.interval),
            "p_holm": contrast.p_holm,
            "detectable": contrast.detectable,
        },
        caveats=tuple(_caveat(row) for row in unexplained(tables, contrast)),
    )


def _of_effect(effect: Effect) -> Finding:
    single = len(effect.factors) == 1
    first, second = effect.levels[0]
    return Finding(
        kind="effect" if single else "interaction",
        claim=f"{effect.factors[0]}: {first} solves more than {second} on average"
        if single
        else f"the effect of {effect.factors[0]} depends on {effect.factors[1]}",
        # For an interaction either sign is one.
        verdict=effect.verdict
        if single or effect.verdict is Verdict.NOT_SHOWN
        else Verdict.SUPPORTED,
        scope=effect.scope,
        sentence=wording.effect(effect),
        evidence={
            "weights": effect.weights,
            "n": effect.n,
            "difference": effect.difference,
            "interval": _ends(effect.interval),
            "p_holm": effect.p_holm,
            "detectable": effect.detectable,
        },
    )


def _of_losses(tables: Tables, found: Sequence[Contrast]) -> Iterator[Finding]:
    for order in (
        loss_against_accuracy(tables, found, "token"),
        loss_against_accuracy(tables, found, "example"),
    ):
        if order is not None:
            yield Finding(
                kind="loss",
                claim=f"lower training loss per {order.per} did not mean higher accuracy",
                verdict=order.verdict,
                scope=None,
                sentence=_loss_sentence(order),
                evidence={
                    "losses": order.losses,
                    "kendall_tau": order.tau,
                    "against": [list(pair) for pair in order.against],
                    "along": [list(pair) for pair in order.along],
                },
            )


def _loss_sentence(order: LossOrder) -> str:
    tau = "" if order.tau is None else f" Rank correlation over the arms: {order.tau:+.2f}."
    if order.against:
        pairs = wording.join([f"{better} than {worse}" for better, worse in order.against])
        return f"Shown to solve more at a higher loss: {pairs}.{tau}"
    if order.along:
        pairs = wording.join([f"{better} than {worse}" for better, worse in order.along])
        return f"Wherever a difference is shown the lower loss solves more: {pairs}.{tau}"
    return f"No two tuned arms are shown to differ in accuracy.{tau}"


def _of_costs(tables: Tables, found: Sequence[Contrast]) -> Iterator[Finding]:
    points = {point.name: point for point in costs(tables)}
    for kind in ("memory", "speed"):
        best = frontier(list(points.values()), kind)
        for each in found:
            if each.a not in points or each.b not in points or each.interval is None:
                continue
            cheap, dear = sorted((points[each.a], points[each.b]), key=lambda p: _price(p, kind))
            if _price(cheap, kind) <= CHEAPER * _price(dear, kind):
                yield _cheaper(each, cheap, dear, kind, best)


def _cheaper(
    contrast: Contrast, cheap: Cost, dear: Cost, kind: Literal["memory", "speed"], best: list[str]
) -> Finding:
    ratio = _price(dear, kind) / _price(cheap, kind)
    does = (
        f"needs {100 / ratio:.0f} % of the memory"
        if kind == "memory"
        else f"is {ratio:.1f} x as fast"
    )
    verdict, interval = contrast.verdict, contrast.interval
    assert interval is not None
    loses = max(0.0, -interval.low if cheap.name == contrast.a else interval.high)
    if verdict is not Verdict.NOT_SHOWN:
        wins = (verdict is Verdict.SUPPORTED) == (cheap.name == contrast.a)
        verdict = Verdict.SUPPORTED if wins else Verdict.REFUTED
        sentence = f"{cheap.name} {does} and solves {'more' if wins else 'fewer'}."
    else:
        sentence = f"{cheap.name} {does}; it may solve up to {100 * loses:.1f} points fewer."
    return Finding(
        kind=kind,
        claim=f"{cheap.name} is cheaper in {kind} than {dear.name} and solves no fewer"
        if kind == "memory"
        else f"{cheap.name} trains faster than {dear.name} and solves no fewer",
        verdict=verdict,
        scope=contrast.scope,
        sentence=sentence,
        evidence={
            "accuracy": {point.name: point.accuracy for point in (cheap, dear)},
            "peak_memory_bytes": {point.name: point.peak_memory_bytes for point in (cheap, dear)},
            "examples_per_second": {
                point.name: point.examples_per_second for point in (cheap, dear)
            },
            "pareto_frontier": best,
        },
    )


def _price(point: Cost, kind: Literal["memory", "speed"]) -> float:
    """Bytes, or seconds per example."""
    return point.peak_memory_bytes if kind == "memory" else 1 / point.examples_per_second


def _of_skill(tables: Tables, found: Sequence[Contrast]) -> Iterator[Finding]:
    for each in found:
        gain = format_and_skill(tables, each.a, each.b)
        if gain is None or each.verdict is not Verdict.SUPPORTED:
            continue
        interval = gain.skill_interval
        verdict = Verdict.NOT_SHOWN
        if interval is not None and (interval.low > 0 or interval.high < 0):
            verdict = Verdict.SUPPORTED if interval.low > 0 else Verdict.REFUTED
        yield Finding(
            kind="skill",
            claim=f"{each.a} gained more than answer format",
            verdict=verdict,
            scope=each.scope,
            sentence=(
                f"Of {wording.points(gain.gain)} over {each.b}, {wording.points(gain.form)} are "
                f"format: the untuned model has them if any last number counts as its answer. "
                f"{wording.points(gain.skill)} [{wording.points_range(interval)}] are skill."
            ),
            evidence={
                "gain": gain.gain,
                "format": gain.form,
                "format_interval": _ends(gain.form_interval),
                "skill": gain.skill,
                "skill_interval": _ends(interval),
            },
        )


def _of_variations(found: Sequence[Contrast], varied: Sequence[Variation]) -> Iterator[Finding]:
    changed = changes(found, varied)
    # Where nothing could be compared nothing can have held either.
    made = [v for v in varied if any(a.n and b.n for a, b in zip(found, v.contrasts, strict=True))]
    for by in dict.fromkeys(each.by for each in made):
        under = [each.under for each in made if each.by == by]
        what = "corrected labels" if by == "labels" else f"the {by}"
        those = [each for each in changed if each.by == by]
        yield Finding(
            kind=by,
            claim=f"no conclusion changes with {what}",
            verdict=Verdict.REFUTED if those else Verdict.SUPPORTED,
            scope=None,
            sentence=" ".join(map(_change, those))
            or f"Each comparison has the same verdict under {wording.join(under)}.",
            evidence={
                "tried": under,
                "changed": [
                    {
                        "under": each.under,
                        "a": each.before.a,
                        "b": each.before.b,
                        "before": each.before.verdict.value,
                        "after": each.after.verdict.value,
                    }
                    for each in those
                ],
            },
        )


def _change(change: Change) -> str:
    names = f"{change.before.a} and {change.before.b}"
    size = (
        f"{wording.points(change.after.difference)}, {wording.points_range(change.after.interval)}"
    )
    if change.reversed:
        return f"Under {change.under} the order of {names} is reversed ({size})."
    if change.after.verdict is Verdict.NOT_SHOWN:
        return f"Under {change.under} a difference between {names} is no longer shown ({size})."
    return f"Only under {change.under} a difference between {names} is shown ({size})."


def _caveat(row: Row) -> str:
    return f"{row.name} differs too ({row.a} against {row.b})"


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
