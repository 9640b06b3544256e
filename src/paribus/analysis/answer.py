"""The answer to an experiment's question in a few sentences, and whether accuracy is only form.

First what tuning did, then one sentence for each factor, then what could not be compared. Each says
no more than `wording` says of its contrasts, about the same models or methods.

    form_warnings(tables, shifted, varied)
    # ["base: 400 of 400 texts hold no final answer that the scorer recognises (400 ended without
    #  one); 204 that do not count end with the right number. ..."]

A model that writes `A: 18` where `#### 18` is expected scores 0, with a narrow interval. So a
warning names an arm if
- most texts of it, or of one of its runs, hold no recognisable final answer; or at least a tenth of
  them do not count and yet end with the right number;
- its file states which texts are right (lm-eval's `exact_match`) and the scorer disagrees;
and a comparison if the flexible scorer, which takes any last number, no longer shows it or reverses
it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from paribus.analysis import wording
from paribus.analysis.caveats import LENIENT, Caveats
from paribus.analysis.contrasts import Contrast, untuned
from paribus.analysis.measures import terms
from paribus.analysis.robustness import Shift, Variation
from paribus.analysis.summary import main_protocol, summary
from paribus.analysis.tables import FILE, OUTCOME_NUMBERS, Run, Tables
from paribus.analysis.wording import join, points, points_range
from paribus.records import Outcome
from paribus.statistics.intervals import Interval, mcnemar
from paribus.statistics.power import ALPHA
from paribus.statistics.verdicts import Scope, Verdict

MAX_NAMED = 4
"""A sentence names at most this many arms, or pairs of them, and counts the others."""

_Explained = tuple[Contrast, str]
"""A contrast, and what may explain its difference alone, or ""."""


def answer(tables: Tables, contrasts: Sequence[Contrast], beside: Sequence[Caveats]) -> list[str]:
    """Return the answer to the experiment's question that its contrasts support, as sentences.

    `beside` has the caveats of each of the contrasts.
    """
    pairs = zip(contrasts, beside, strict=True)
    explained = [(contrast, caveats.explains) for contrast, caveats in pairs if contrast.n]
    if not explained:
        return ["No two arms could be compared."]
    sentences: list[str] = []
    for reference in [arm.name for arm in tables.arms if arm.untuned]:
        group = [pair for pair in explained if pair[0].b == reference and _tunes(tables, pair[0])]
        for lead, of_lead in _grouped(group, lambda contrast: _lead(tables, contrast)).items():
            sentences.extend(f"{lead}, {text}." for text in _against_untuned(tables, of_lead))
    factors = [pair for pair in explained if not _tunes(tables, pair[0])]
    by_factor = _grouped(
        factors, lambda contrast: f"{_lead(tables, contrast)}, {_factor_words(contrast.factor)}"
    )
    sentences.extend(
        f"{lead}{'; '.join(_of_pairs(of_lead))}." for lead, of_lead in by_factor.items()
    )
    open_ones = [contrast for contrast in contrasts if not contrast.n]
    if open_ones:
        reasons = "; ".join(dict.fromkeys(open_one.reason for open_one in open_ones))
        sentences.append(
            f"{len(open_ones)} of {len(contrasts)} comparisons could not be made: {reasons}."
        )
    return sentences


def speaks_of(tables: Tables, contrasts: Sequence[Contrast]) -> str:
    """Return the sentence on what the verdicts speak of; "" if there is none."""
    tested = [
        contrast for contrast in contrasts if contrast.p_value is not None or contrast.not_worse
    ]
    models = [contrast for contrast in tested if contrast.scope is Scope.MODELS]
    parts = ["of the methods, over their seeds"] if len(models) < len(tested) else []
    if models:
        tuned = all(
            _trained(tables, name) for contrast in models for name in (contrast.a, contrast.b)
        )
        several = any(max(model.seeds) > 1 for model in models)
        how = "as they are, not of their methods" if several else "(one seed)"
        parts.append(f"of these {'trained ' if tuned else ''}models {how}")
    return f"Verdicts are {' or '.join(parts)}." if parts else ""


def _tunes(tables: Tables, contrast: Contrast) -> bool:
    return untuned(tables, contrast.b) and not untuned(tables, contrast.a)


def _trained(tables: Tables, name: str) -> bool:
    arm = tables.arm(name)
    return arm is not None and arm.trained


def _lead(tables: Tables, contrast: Contrast) -> str:
    known = _trained(tables, contrast.b) or untuned(tables, contrast.b)
    return wording.lead(contrast, "trained" if known and _trained(tables, contrast.a) else "")


def _factor_words(factor: str) -> str:
    """Name what is compared; how external files differ is unknown."""
    return "" if factor == FILE else f"for {factor}: "


def _grouped(
    pairs: Sequence[_Explained], by: Callable[[Contrast], str]
) -> dict[str, list[_Explained]]:
    groups: dict[str, list[_Explained]] = {}
    for contrast, explains in pairs:
        groups.setdefault(by(contrast), []).append((contrast, explains))
    return groups


def _against_untuned(tables: Tables, pairs: Sequence[_Explained]) -> list[str]:
    """One sentence for each verdict that tuned arms got against an untuned one, but its lead."""
    apart = [text for contrast, explains in pairs if (text := _seen_alone(contrast, explains))]
    plain = [contrast for contrast, explains in pairs if not _seen_alone(contrast, explains)]
    base = _base(tables, [contrast for contrast, _ in pairs])
    average = "on average " if max(max(contrast.seeds) for contrast, _ in pairs) > 1 else ""
    sentences = []
    words = terms(tables.measure)
    for sought, which in ((Verdict.SUPPORTED, words.up), (Verdict.REFUTED, words.down)):
        arms = [contrast for contrast in plain if contrast.verdict is sought]
        than = f"{which} {words.on} {_problems(arms)} {average}than {base}"
        if len(arms) == len(pairs) > 1:
            every = "both" if len(arms) == 2 else f"all {len(arms)}"
            tuned = "tuned " if all(_trained(tables, arm.a) for arm in arms) else ""
            sentences.append(f"{every} {tuned}arms {words.do} {than}: {_named(tables, arms)}")
        elif arms:
            verb = words.does if len(arms) == 1 else words.do
            sentences.append(f"{_named(tables, arms)} {verb} {than}")
    unseen = [contrast for contrast in plain if contrast.verdict is Verdict.NOT_SHOWN]
    sentences += _first(apart, "arm")
    for reason, arms in _by_reason(unseen).items():
        sentences.append(f"for {_named(tables, arms)} {_not_shown(arms, f' from {base}')}{reason}")
    return sentences


def _of_pairs(explained: Sequence[_Explained]) -> list[str]:
    """What was shown of each pair, the largest differences first; then what was not shown."""
    by_size = sorted(explained, key=lambda pair: -abs(pair[0].difference or 0.0))
    ordered = explained if len(explained) <= MAX_NAMED else by_size
    seen = [text for contrast, explains in ordered if (text := _seen(contrast, explains))]
    parts = _first(seen, "pair")
    unseen = [contrast for contrast, explains in explained if not _seen(contrast, explains)]
    for reason, pairs in _by_reason(unseen).items():
        named = _first_pairs([f"{pair.a} and {pair.b} ({_size(pair)})" for pair in pairs])
        parts.append(f"{_not_shown(pairs, f' between {named}')}{reason}")
    return parts


def _seen_alone(contrast: Contrast, explains: str) -> str:
    """Return which claims about several arms together are not possible; "" if none."""
    return _seen(contrast, explains) if explains or wording.alike(contrast) else ""


def _seen(contrast: Contrast, explains: str) -> str:
    """Return what is shown of one pair, with its size; "" if nothing is."""
    alike = wording.alike(contrast)
    if contrast.verdict is not Verdict.NOT_SHOWN:
        though = f"; yet {alike}" if alike else ""
        size = _size(contrast, turned=contrast.verdict is Verdict.REFUTED)
        return f"{wording.order(contrast, explains)} ({size}){wording.explained(explains)}{though}"
    return (
        f"{alike} ({_size(contrast, turned=contrast.not_worse == (contrast.b,))})" if alike else ""
    )


def _not_shown(group: Sequence[Contrast], where: str) -> str:
    """Say that there is no verdict, or that none is shown: all of a group have one reason."""
    if group[0].interval is None:
        return f"there is no verdict{where.replace(' from ', ' beside ', 1)}"
    return f"a difference{where} is not shown"


def _by_reason(group: Sequence[Contrast]) -> dict[str, list[Contrast]]:
    """Why nothing is shown, led by a colon, or "" -> the contrasts."""
    by_reason: dict[str, list[Contrast]] = {}
    for contrast in group:
        why = wording.why_not(contrast)
        by_reason.setdefault(why and f": {why}", []).append(contrast)
    return by_reason


def _problems(group: Sequence[Contrast]) -> str:
    sizes = {contrast.n for contrast in group}
    return f"the {sizes.pop():,} test problems" if len(sizes) == 1 else "the test problems"


def _base(tables: Tables, group: Sequence[Contrast]) -> str:
    """The untuned model of a group, with its accuracy; and its prompts, where they are others."""
    reference = group[0].b
    several = sum(arm.untuned for arm in tables.arms) > 1
    which = f"{reference}, untuned," if several else "the untuned model"
    others = _prompts(tables, [reference]) - _prompts(tables, [contrast.a for contrast in group])
    under = "".join(f", under {other}" for other in sorted(others))
    return f"{which} ({_accuracy(tables, reference)}{under})"


def _prompts(tables: Tables, arms: Sequence[str]) -> set[str]:
    asked = (main_protocol(run) for run in tables.complete if run.arm in arms)
    return {value for value in asked if value is not None}


def _first(texts: Sequence[str], what: str) -> list[str]:
    """Return the first few sentences, and one that counts the others."""
    others = len(texts) - MAX_NAMED
    if others <= 0:
        return list(texts)
    return [*texts[:MAX_NAMED], f"as much is shown of {_count(others, what)}, see below"]


def _count(others: int, what: str) -> str:
    return f"{others} more {what}{'s' if others > 1 else ''}"


def _named(tables: Tables, arms: Sequence[Contrast]) -> str:
    """Name the arms, or the few that differ most and how many others there are."""
    others = len(arms) - MAX_NAMED
    if others <= 0:
        return join([f"{arm.a} ({_accuracy(tables, arm.a)})" for arm in arms])
    most = sorted(arms, key=lambda arm: -abs(arm.difference or 0.0))[:MAX_NAMED]
    names = [f"{arm.a} ({_accuracy(tables, arm.a)})" for arm in most]
    return join([*names, _count(others, "arm")])


def _size(contrast: Contrast, *, turned: bool = False) -> str:
    """The difference a minus b with its interval; which arms are models beside methods.

    `turned`: b minus a, where b is named first.
    """
    difference, interval = contrast.difference or 0.0, contrast.interval
    if interval is None:
        return points(difference, contrast.measure)
    if turned:
        difference, interval = -difference, Interval(-interval.high, -interval.low)
    measure = contrast.measure
    text = f"{points(difference, measure)}, {points_range(interval, measure)}"
    if contrast.scope is Scope.MODELS:
        return f"{text}, means of these runs" if max(contrast.seeds) > 1 else text
    return text + "".join(f", {name} as it is" for name in contrast.existing)


def _first_pairs(pairs: Sequence[str]) -> str:
    """Name the first few pairs and count the others."""
    others = len(pairs) - MAX_NAMED
    named = ", between ".join(pairs[:MAX_NAMED])
    return f"{named}, and in {_count(others, 'pair')}" if others > 0 else named


def _accuracy(tables: Tables, arm: str) -> str:
    return wording.mean(summary(tables, arm).mean, tables.measure)


MOST = 0.5
"""Share of texts without a recognisable answer above which an arm is named."""
MISSED = 0.1
"""Share of texts that end with the right number and do not count, from which an arm is named."""
AWAY = 0.02
"""How far a file's own share must be from ours, beyond chance, to be said."""

_WITHOUT = {
    Outcome.NO_ANSWER: "ended without one",
    Outcome.TRUNCATED: "were cut by the token limit",
    Outcome.FAILED: "failed",
}
_REPEATS = {"strict-match": "strict", "flexible-extract": "flexible"}
"""lm-eval's filters of GSM8K, and the scorers that repeat them."""

_OwnVerdicts = Sequence[bool | None]
"""What a file says of each text, None where it does not."""


def form_warnings(
    tables: Tables, shifted: Sequence[Shift], varied: Sequence[Variation]
) -> list[str]:
    """Return what a reader must know before any figure, a sentence or two each."""
    judged = {
        variation.under: variation.tables.complete
        for variation in varied
        if variation.by == "scorer"
    }
    return [
        *_unrecognised(tables, judged.get(LENIENT, tables.complete)),
        *(
            text
            for number, run in enumerate(tables.complete)
            for text in _stated_otherwise(
                _name(tables, run), run, {scorer: runs[number] for scorer, runs in judged.items()}
            )
        ),
        *_resting_on_form(shifted),
    ]


def _resting_on_form(shifted: Sequence[Shift]) -> Iterator[str]:
    pairs = [
        f"{shift.before.a} − {shift.before.b}"
        for shift in shifted
        if shift.under == LENIENT and shift.other and shift.before.verdict is not Verdict.NOT_SHOWN
    ]
    if pairs:
        yield (
            "What is shown rests on the form of the answers: by the last number of each text there "
            f"is another verdict on {wording.join(pairs)}."
        )


def _unrecognised(tables: Tables, loosely: Sequence[Run]) -> Iterator[str]:
    """Yield a warning for each arm that is to be named, or for those of its runs that are."""
    pairs: dict[str, list[tuple[Run, Run]]] = {}
    for pair in zip(tables.complete, loosely, strict=True):
        pairs.setdefault(pair[0].arm, []).append(pair)
    for arm, both in pairs.items():
        whole = _without_answer(arm, both)
        ones = [] if whole else [_without_answer(_name(tables, run[0]), [run]) for run in both]
        yield from filter(None, [whole, *ones])


def _without_answer(name: str, runs: Sequence[tuple[Run, Run]]) -> str:
    """Return the warning on these runs, judged by both scorers; "" if there is none."""
    texts, loosely = (
        np.concatenate([run.outcome_numbers for run in by_one])
        for by_one in zip(*runs, strict=True)
    )
    correct = OUTCOME_NUMBERS[Outcome.CORRECT]
    counts = {each: int((texts == OUTCOME_NUMBERS[each]).sum()) for each in _WITHOUT}
    missed = int(((texts != correct) & (loosely == correct)).sum())
    without = sum(counts.values())
    if without <= MOST * len(texts) and (not missed or missed < MISSED * len(texts)):
        return ""
    how = [f"{counts[outcome]} {words}" for outcome, words in _WITHOUT.items() if counts[outcome]]
    style = runs[0][0].scorers.style
    remedy = (
        "read some of its texts."
        if style == "auto"
        else f"only answers of the style {style} count, as asked; auto takes others too "
        "(evaluation.answer, --answer)."
    )
    text = f" ({wording.join(how)})" if how else ""
    if not runs[0][0].scorers.numbers:
        return (
            f"{name}: {without} of {len(texts)} texts hold no answer that the scorer recognises"
            f"{text}. Its {terms(runs[0][0].measure).mean} measures the form of its answers first: "
            "read some of its texts."
        )
    return (
        f"{name}: {without} of {len(texts)} texts hold no final answer that the scorer recognises"
        f"{text}; {missed} that do not count end with the right number. Its accuracy measures "
        f"the form of its answers first: {remedy}"
    )


def _stated_otherwise(name: str, run: Run, judged: Mapping[str, Run]) -> Iterator[str]:
    """Yield where a file's own verdicts are not repeated: text by text, then the share."""
    for of_filter, verdicts in run.stated.items():
        scorer = _REPEATS.get(of_filter)
        pairs = _pairs(verdicts, judged.get(scorer, run)) if scorer else []
        if differ := sum(theirs is not other for theirs, other in pairs):
            yield (
                f"{name}: its own exact_match ({of_filter}) differs from the {scorer} scorer on "
                f"{differ} of {len(pairs)} texts. Were the gold answers others, or the task?"
            )
    judged_pairs = [_pairs(verdicts, run) for verdicts in run.stated.values()]
    if judged_pairs and all(map(_shares_differ, judged_pairs)):
        shares = [
            f"{wording.percent(_share([theirs for theirs, _ in pairs]))}{key and f' ({key})'}"
            for key, pairs in zip(run.stated, judged_pairs, strict=True)
        ]
        ours = _share([correct for _, correct in judged_pairs[0]])
        yield (
            f"{name}: its own exact_match says {wording.join(shares)}, the {run.scorers.main} "
            "scorer "
            f"{wording.percent(ours)}. Read some texts before you trust either."
        )


def _pairs(verdicts: _OwnVerdicts, run: Run) -> list[tuple[bool, bool]]:
    """Whether each text is right by its file and by our scorer, where the file says."""
    pairs = zip(verdicts, run.judged, strict=True)
    return [
        (verdict, outcome is Outcome.CORRECT) for verdict, outcome in pairs if verdict is not None
    ]


def _shares_differ(pairs: Sequence[tuple[bool, bool]]) -> bool:
    """Return whether two verdicts on the same texts differ in their share, and beyond chance."""
    only_theirs = sum(theirs and not other for theirs, other in pairs)
    only_ours = sum(other and not theirs for theirs, other in pairs)
    p = mcnemar(only_a=only_theirs, only_b=only_ours)
    return p is not None and p < ALPHA and abs(only_theirs - only_ours) >= AWAY * len(pairs)


def _share(right: Sequence[bool]) -> float:
    return sum(right) / len(right)


def _name(tables: Tables, run: Run) -> str:
    """The run's arm, with its seed where the arm has several."""
    several = sum(other.arm == run.arm for other in tables.runs) > 1
    return f"{run.arm} seed {run.seed}" if several else run.arm
