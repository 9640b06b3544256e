"""The answer to an experiment's question, in a few sentences, from its contrasts.

First what tuning did, then one sentence for each factor, then what could not be compared.
"""

from collections.abc import Sequence

from paribus.analysis import wording
from paribus.analysis.contrasts import Contrast, untuned
from paribus.analysis.summary import summary
from paribus.analysis.tables import Tables
from paribus.analysis.wording import join, percent, points, points_range, seeds
from paribus.statistics.verdicts import Scope, Verdict

MAX_NAMED = 4
"""A sentence names at most this many pairs of arms and counts the others."""

THESE = "Of these trained models, "
"""Leads a sentence on single runs: it speaks of no method."""


def answer(tables: Tables, found: Sequence[Contrast]) -> list[str]:
    """Return the answer to the experiment's question that its contrasts support, as sentences."""
    made = [each for each in found if each.n]
    if not made:
        return ["No two arms could be compared."]
    sentences = []
    for reference in [arm.name for arm in tables.arms if arm.untuned]:
        group = [each for each in made if each.b == reference and not untuned(tables, each.a)]
        sentences.extend(_against_untuned(tables, group, reference))
    by_factor: dict[str, list[Contrast]] = {}
    for each in made:
        if untuned(tables, each.a) or not untuned(tables, each.b):
            by_factor.setdefault(each.factor, []).append(each)
    sentences.extend(_by_factor(factor, group) for factor, group in by_factor.items())
    open_ones = [each for each in found if not each.n]
    if open_ones:
        reasons = "; ".join(dict.fromkeys(each.reason for each in open_ones))
        sentences.append(
            f"{len(open_ones)} of {len(found)} comparisons could not be made: {reasons}."
        )
    return sentences


def _against_untuned(tables: Tables, group: Sequence[Contrast], reference: str) -> list[str]:
    """One sentence for each verdict that tuned arms got against the untuned `reference`."""
    sizes = {each.n for each in group}
    problems = f"the {sizes.pop():,} test problems" if len(sizes) == 1 else "the test problems"
    several = sum(arm.untuned for arm in tables.arms) > 1
    which = f"{reference}, untuned," if several else "the untuned model"
    over = {seeds(each) for each in group if each.scope is Scope.METHODS}
    every, of, these = ("All", "For", "") if over else ("all", "for", THESE)
    both = "Both" if over else "both"
    every = both if len(group) == 2 else f"{every} {len(group)}"
    base = f"{which} ({_accuracy(tables, reference)})" + (
        f", {over.pop()}" if len(over) == 1 else ""
    )

    def named(arms: Sequence[Contrast]) -> str:
        return join([f"{each.a} ({_accuracy(tables, each.a)})" for each in arms])

    sentences = []
    for sought, words in ((Verdict.SUPPORTED, "more"), (Verdict.REFUTED, "fewer")):
        arms = [each for each in group if each.verdict is sought]
        if len(arms) == len(group) > 1:
            sentences.append(
                f"{these}{every} tuned arms solve {words} of {problems} than {base}: {named(arms)}."
            )
        elif arms:
            solve = "solves" if len(arms) == 1 else "solve"
            sentences.append(f"{these}{named(arms)} {solve} {words} of {problems} than {base}.")
    open_ones = [each for each in group if each.verdict is Verdict.NOT_SHOWN]
    for reason, arms in _by_reason(open_ones).items():
        said = (
            f"there is no verdict: {reason}" if reason else f"a difference from {base} is not shown"
        )
        sentences.append(f"{these}{of} {named(arms)} {said}.")
    return sentences


def _by_reason(group: Sequence[Contrast]) -> dict[str, list[Contrast]]:
    """Why there is no verdict -> the contrasts; "" for those that have an interval."""
    found: dict[str, list[Contrast]] = {}
    for each in group:
        found.setdefault("" if each.interval else each.reason, []).append(each)
    return found


def _by_factor(factor: str, group: Sequence[Contrast]) -> str:
    """One sentence: what was shown about a factor, pair by pair, then what was not."""
    parts, unseen = [], []
    for each in group:
        if each.verdict is not Verdict.NOT_SHOWN:
            order = "better" if each.verdict is Verdict.SUPPORTED else "worse"
            parts.append(f"{each.a} is {order} than {each.b} ({_size(each)})")
        elif alike := wording.alike(each):
            parts.append(f"{alike} ({_size(each)})")
        else:
            unseen.append(each)
    for reason, pairs in _by_reason(unseen).items():
        named = _some([f"{each.a} and {each.b} ({_size(each)})" for each in pairs])
        parts.append(
            f"there is no verdict between {named}: {reason}"
            if reason
            else f"a difference is not shown between {named}"
        )
    models = all(each.scope is Scope.MODELS for each in group)
    return f"{THESE + 'for' if models else 'For'} {factor}: {'; '.join(parts)}."


def _size(contrast: Contrast) -> str:
    """The difference a minus b with its interval, and over how many seeds or runs."""
    if contrast.interval is None:
        return points(contrast.difference)
    text = f"{points(contrast.difference)}, {points_range(contrast.interval)}"
    if contrast.scope is Scope.MODELS:
        return f"{text}, means of these runs" if max(contrast.seeds) > 1 else text
    models = "".join(f", {name} as it is" for name in contrast.existing)
    return f"{text}, {seeds(contrast)}{models}"


def _some(pairs: Sequence[str]) -> str:
    """Name the first few pairs and count the others."""
    others = len(pairs) - MAX_NAMED
    named = ", between ".join(pairs[:MAX_NAMED])
    return f"{named}, and in {others} more pairs" if others > 0 else named


def _accuracy(tables: Tables, arm: str) -> str:
    return percent(summary(tables, arm).mean)
