"""The answer to an experiment's question, in a few sentences, from its contrasts.

First what tuning did, then one sentence for each factor, then what could not be compared. Each
says no more than `wording.verdict` says of its contrasts, of the same models or methods.
"""

from collections.abc import Callable, Sequence

from paribus.analysis import wording
from paribus.analysis.caveats import Caveats
from paribus.analysis.contrasts import Contrast, untuned
from paribus.analysis.protocols import main_protocol
from paribus.analysis.summary import summary
from paribus.analysis.tables import FILE, Tables
from paribus.analysis.wording import join, percent, points, points_range
from paribus.statistics.intervals import Interval
from paribus.statistics.verdicts import Scope, Verdict

MAX_NAMED = 4
"""A sentence names at most this many pairs of arms and counts the others."""

_Told = tuple[Contrast, str]
"""A contrast, and what may explain its difference alone, or ""."""


def answer(tables: Tables, found: Sequence[Contrast], beside: Sequence[Caveats]) -> list[str]:
    """Return the answer to the experiment's question that its contrasts support, as sentences.

    `beside` has the caveats of each of the contrasts `found`.
    """
    pairs = zip(found, beside, strict=True)
    made = [(each, caveats.explains) for each, caveats in pairs if each.n]
    if not made:
        return ["No two arms could be compared."]
    sentences: list[str] = []
    for reference in [arm.name for arm in tables.arms if arm.untuned]:
        group = [one for one in made if one[0].b == reference and _tunes(tables, one[0])]
        for lead, told in _grouped(group, lambda each: _lead(tables, each)).items():
            sentences.extend(f"{lead}, {said}." for said in _against_untuned(tables, told))
    factors = [one for one in made if not _tunes(tables, one[0])]
    by_factor = _grouped(factors, lambda each: f"{_lead(tables, each)}, {_for(each.factor)}")
    sentences.extend(f"{lead}{'; '.join(_of_pairs(told))}." for lead, told in by_factor.items())
    open_ones = [each for each in found if not each.n]
    if open_ones:
        reasons = "; ".join(dict.fromkeys(each.reason for each in open_ones))
        sentences.append(
            f"{len(open_ones)} of {len(found)} comparisons could not be made: {reasons}."
        )
    return sentences


def speaks_of(tables: Tables, found: Sequence[Contrast]) -> str:
    """Return the sentence on what the verdicts speak of; "" if there is none."""
    tested = [each for each in found if each.p_value is not None or each.not_worse]
    models = [each for each in tested if each.scope is Scope.MODELS]
    said = ["of the methods, over their seeds"] if len(models) < len(tested) else []
    if models:
        tuned = all(_trained(tables, name) for each in models for name in (each.a, each.b))
        several = any(max(each.seeds) > 1 for each in models)
        how = "as they are, not of their methods" if several else "(one seed)"
        said.append(f"of these {'trained ' if tuned else ''}models {how}")
    return f"Verdicts are {' or '.join(said)}." if said else ""


def _tunes(tables: Tables, each: Contrast) -> bool:
    return untuned(tables, each.b) and not untuned(tables, each.a)


def _trained(tables: Tables, name: str) -> bool:
    arm = tables.arm(name)
    return arm is not None and arm.trained


def _lead(tables: Tables, each: Contrast) -> str:
    known = _trained(tables, each.b) or untuned(tables, each.b)
    return wording.lead(each, "trained" if known and _trained(tables, each.a) else "")


def _for(factor: str) -> str:
    """Name what is compared; of files from elsewhere nobody knows in what they differ."""
    return "" if factor == FILE else f"for {factor}: "


def _grouped(told: Sequence[_Told], by: Callable[[Contrast], str]) -> dict[str, list[_Told]]:
    found: dict[str, list[_Told]] = {}
    for each, explains in told:
        found.setdefault(by(each), []).append((each, explains))
    return found


def _against_untuned(tables: Tables, told: Sequence[_Told]) -> list[str]:
    """One sentence for each verdict that tuned arms got against an untuned one, but its lead."""
    apart = [said for each, explains in told if (said := _apart(each, explains))]
    plain = [each for each, explains in told if not _apart(each, explains)]
    base = _base(tables, [each for each, _ in told])
    average = "on average " if max(max(each.seeds) for each, _ in told) > 1 else ""
    sentences = []
    for sought, words in ((Verdict.SUPPORTED, "more"), (Verdict.REFUTED, "fewer")):
        arms = [each for each in plain if each.verdict is sought]
        than = f"{words} of {_problems(arms)} {average}than {base}"
        if len(arms) == len(told) > 1:
            every = "both" if len(arms) == 2 else f"all {len(arms)}"
            tuned = "tuned " if all(_trained(tables, each.a) for each in arms) else ""
            sentences.append(f"{every} {tuned}arms solve {than}: {_named(tables, arms)}")
        elif arms:
            solve = "solves" if len(arms) == 1 else "solve"
            sentences.append(f"{_named(tables, arms)} {solve} {than}")
    unseen = [each for each in plain if each.verdict is Verdict.NOT_SHOWN]
    sentences += apart
    for reason, arms in _by_reason(unseen).items():
        sentences.append(f"for {_named(tables, arms)} {_unseen(arms, f' from {base}')}{reason}")
    return sentences


def _of_pairs(told: Sequence[_Told]) -> list[str]:
    """What was shown of each pair, then what was not."""
    parts = [said for each, explains in told if (said := _seen(each, explains))]
    unseen = [each for each, explains in told if not _seen(each, explains)]
    for reason, pairs in _by_reason(unseen).items():
        named = _some([f"{each.a} and {each.b} ({_size(each)})" for each in pairs])
        parts.append(f"{_unseen(pairs, f' between {named}')}{reason}")
    return parts


def _apart(each: Contrast, explains: str) -> str:
    """Return what cannot be said of several arms together; "" if nothing."""
    return _seen(each, explains) if explains or wording.alike(each) else ""


def _seen(each: Contrast, explains: str) -> str:
    """Return what is shown of one pair, with its size; "" if nothing is."""
    alike = wording.alike(each)
    if each.verdict is not Verdict.NOT_SHOWN:
        though = f"; yet {alike}" if alike else ""
        size = _size(each, turned=each.verdict is Verdict.REFUTED)
        return f"{wording.order(each, explains)} ({size}){wording.explained(explains)}{though}"
    return f"{alike} ({_size(each, turned=each.not_worse == (each.b,))})" if alike else ""


def _unseen(group: Sequence[Contrast], where: str) -> str:
    """Say that there is no verdict, or that none is shown: all of a group have one reason."""
    if group[0].interval is None:
        return f"there is no verdict{where.replace(' from ', ' beside ', 1)}"
    return f"a difference{where} is not shown"


def _by_reason(group: Sequence[Contrast]) -> dict[str, list[Contrast]]:
    """Why nothing is shown, led by a colon, or "" -> the contrasts."""
    found: dict[str, list[Contrast]] = {}
    for each in group:
        why = wording.why_not(each)
        found.setdefault(why and f": {why}", []).append(each)
    return found


def _problems(group: Sequence[Contrast]) -> str:
    sizes = {each.n for each in group}
    return f"the {sizes.pop():,} test problems" if len(sizes) == 1 else "the test problems"


def _base(tables: Tables, group: Sequence[Contrast]) -> str:
    """The untuned model of a group, with its accuracy; and its prompts, where they are others."""
    reference = group[0].b
    several = sum(arm.untuned for arm in tables.arms) > 1
    which = f"{reference}, untuned," if several else "the untuned model"
    others = _prompts(tables, [reference]) - _prompts(tables, [each.a for each in group])
    under = "".join(f", under {each}" for each in sorted(others))
    return f"{which} ({_accuracy(tables, reference)}{under})"


def _prompts(tables: Tables, arms: Sequence[str]) -> set[str]:
    asked = (main_protocol(run) for run in tables.complete if run.arm in arms)
    return {each for each in asked if each is not None}


def _named(tables: Tables, arms: Sequence[Contrast]) -> str:
    return join([f"{each.a} ({_accuracy(tables, each.a)})" for each in arms])


def _size(contrast: Contrast, *, turned: bool = False) -> str:
    """The difference a minus b with its interval; which arms are models beside methods.

    `turned`: b minus a, where b is named first.
    """
    difference, interval = contrast.difference or 0.0, contrast.interval
    if interval is None:
        return points(difference)
    if turned:
        difference, interval = -difference, Interval(-interval.high, -interval.low)
    text = f"{points(difference)}, {points_range(interval)}"
    if contrast.scope is Scope.MODELS:
        return f"{text}, means of these runs" if max(contrast.seeds) > 1 else text
    return text + "".join(f", {name} as it is" for name in contrast.existing)


def _some(pairs: Sequence[str]) -> str:
    """Name the first few pairs and count the others."""
    others = len(pairs) - MAX_NAMED
    named = ", between ".join(pairs[:MAX_NAMED])
    return f"{named}, and in {others} more pairs" if others > 0 else named


def _accuracy(tables: Tables, arm: str) -> str:
    return percent(summary(tables, arm).mean)
