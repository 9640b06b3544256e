"""Whether accuracy is of the answers or of the form they are written in: told at once.

    form_warnings(tables, shifted, varied)
    # ["base: 400 of 400 texts hold no final answer that the scorer recognises (400 ended without
    #  one); 204 that do not count end with the right number. ..."]

A model that writes `A: 18` where `#### 18` is looked for scores 0, with a narrow interval. So an
arm is named when
- most texts of it, or of one of its runs, hold no recognisable final answer; or a tenth of them
  and more do not count and yet end with the right number;
- its file says itself which texts are right (lm-eval's `exact_match`) and is not repeated here;
and a comparison when the flexible scorer, which takes any last number, no longer shows it or turns
it round.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from paribus.analysis import wording
from paribus.analysis.caveats import LENIENT
from paribus.analysis.robustness import Shift, Variation
from paribus.analysis.tables import MAIN_SCORER, Run, Tables
from paribus.records import Outcome
from paribus.statistics.intervals import mcnemar
from paribus.statistics.power import ALPHA
from paribus.statistics.verdicts import Verdict

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

_Said = Sequence[bool | None]
"""What a file says of each text, None where it does not."""


def form_warnings(
    tables: Tables, shifted: Sequence[Shift], varied: Sequence[Variation]
) -> list[str]:
    """Return what a reader must know before any figure, a sentence or two each."""
    judged = {each.under: each.tables.complete for each in varied if each.by == "scorer"}
    return [
        *_unrecognised(tables, judged[LENIENT]),
        *(
            said
            for number, run in enumerate(tables.complete)
            for said in _stated_otherwise(
                _name(tables, run), run, {scorer: runs[number] for scorer, runs in judged.items()}
            )
        ),
        *_resting_on_form(shifted),
    ]


def _resting_on_form(shifted: Sequence[Shift]) -> Iterator[str]:
    pairs = [
        f"{each.before.a} − {each.before.b}"
        for each in shifted
        if each.under == LENIENT and each.other and each.before.verdict is not Verdict.NOT_SHOWN
    ]
    if pairs:
        yield (
            "What is shown rests on the form of the answers: by the last number of each text there "
            f"is another verdict on {wording.join(pairs)}."
        )


def _unrecognised(tables: Tables, loosely: Sequence[Run]) -> Iterator[str]:
    """Yield a warning for each arm that is to be named, or for those of its runs that are."""
    for arm in dict.fromkeys(run.arm for run in tables.complete):
        both = [pair for pair in zip(tables.complete, loosely, strict=True) if pair[0].arm == arm]
        whole = _without_answer(arm, both)
        ones = [] if whole else [_without_answer(_name(tables, run[0]), [run]) for run in both]
        yield from filter(None, [whole, *ones])


def _without_answer(name: str, runs: Sequence[tuple[Run, Run]]) -> str:
    """Return the warning on these runs, judged by both scorers; "" if there is none."""
    texts = [
        outcomes
        for run, loosely in runs
        for outcomes in zip(run.judged, loosely.judged, strict=True)
    ]
    counts = Counter(outcome for outcome, _ in texts)
    missed = sum(
        outcome is not Outcome.CORRECT and loosely is Outcome.CORRECT for outcome, loosely in texts
    )
    without = sum(counts[each] for each in _WITHOUT)
    if without <= MOST * len(texts) and (not missed or missed < MISSED * len(texts)):
        return ""
    how = [f"{counts[each]} {words}" for each, words in _WITHOUT.items() if counts[each]]
    style = runs[0][0].style
    remedy = (
        "read some of its texts."
        if style == "auto"
        else f"only answers of the style {style} count, as asked; auto takes others too "
        "(evaluation.answer, --answer)."
    )
    told = f" ({wording.join(how)})" if how else ""
    return (
        f"{name}: {without} of {len(texts)} texts hold no final answer that the scorer recognises"
        f"{told}; {missed} that do not count end with the right number. Its accuracy measures "
        f"the form of its answers first: {remedy}"
    )


def _stated_otherwise(name: str, run: Run, judged: Mapping[str, Run]) -> Iterator[str]:
    """Yield where a file's own verdicts are not repeated: text by text, then the share."""
    for of_filter, said in run.stated.items():
        scorer = _REPEATS.get(of_filter)
        pairs = _pairs(said, judged[scorer]) if scorer else []
        if differ := sum(one is not other for one, other in pairs):
            yield (
                f"{name}: its own exact_match ({of_filter}) differs from the {scorer} scorer on "
                f"{differ} of {len(pairs)} texts. Were the gold answers others, or the task?"
            )
    found = [_pairs(said, run) for said in run.stated.values()]
    if found and all(map(_away, found)):
        shares = [
            f"{wording.percent(_share([said for said, _ in pairs]))}{key and f' ({key})'}"
            for key, pairs in zip(run.stated, found, strict=True)
        ]
        ours = _share([correct for _, correct in found[0]])
        yield (
            f"{name}: its own exact_match says {wording.join(shares)}, the {MAIN_SCORER} scorer "
            f"{wording.percent(ours)}. Read some texts before you trust either."
        )


def _pairs(said: _Said, run: Run) -> list[tuple[bool, bool]]:
    """Whether each text is right by its file and by our scorer, where the file says."""
    pairs = zip(said, run.judged, strict=True)
    return [(one, outcome is Outcome.CORRECT) for one, outcome in pairs if one is not None]


def _away(pairs: Sequence[tuple[bool, bool]]) -> bool:
    """Return whether two verdicts on the same texts differ in their share, and beyond chance."""
    only_theirs = sum(one and not other for one, other in pairs)
    only_ours = sum(other and not one for one, other in pairs)
    p = mcnemar(only_a=only_theirs, only_b=only_ours)
    return p is not None and p < ALPHA and abs(only_theirs - only_ours) >= AWAY * len(pairs)


def _share(right: Sequence[bool]) -> float:
    return sum(right) / len(right)


def _name(tables: Tables, run: Run) -> str:
    """The run's arm, with its seed where the arm has several."""
    several = sum(each.arm == run.arm for each in tables.runs) > 1
    return f"{run.arm} seed {run.seed}" if several else run.arm
