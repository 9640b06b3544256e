"""Say findings in plain words: shares as percent, differences as points, verdicts as sentences.

    percent(0.31)                       "31 %"
    points(-0.052)                      "−5.2 points"
    verdict(contrast)                   "Not shown: the difference may be −5.0 to +11.0 points."

A verdict with one seed speaks of two models that exist, not of the methods that made them; the
sentences are worded accordingly, here and nowhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from paribus.analysis.contrasts import Contrast, Verdict
from paribus.analysis.intervals import Interval
from paribus.analysis.tables import MAIN_SCORER, Tables

MAX_NAMED = 4
"""A sentence names at most this many pairs of arms and counts the others."""


def percent(share: float | None) -> str:
    """0.31 is "31 %", 0.3085 is "30.9 %", None is "–"."""
    return "–" if share is None else f"{100 * share:.1f}".removesuffix(".0") + " %"


def percent_range(interval: Interval | None) -> str:
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


def points_range(interval: Interval | None) -> str:
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


def verdict(contrast: Contrast) -> str:
    """Return what `contrast` shows, in a sentence or two."""
    if contrast.n == 0:
        return "Not compared: there are no results of both arms on the same problems."
    return _shown(contrast) + _left_out(contrast)


def answer(tables: Tables, found: Sequence[Contrast]) -> list[str]:
    """Return the answer to the experiment's question that its contrasts support, as sentences.

    First what tuning did, then one sentence for each factor, then what could not be compared.
    """
    pairs = _pairs(found)
    if not pairs:
        return ["No two arms could be compared."]
    by_factor: dict[str, list[_Pair]] = {}
    sentences = []
    for reference in [arm.name for arm in tables.arms if arm.untuned]:
        sentences.extend(_against_untuned(tables, pairs, reference))
    for pair in pairs:
        if _is_untuned(tables, pair.a) or not _is_untuned(tables, pair.b):
            by_factor.setdefault(pair.factor, []).append(pair)
    sentences.extend(_by_factor(factor, group) for factor, group in by_factor.items())
    open_contrasts = sum(each.n == 0 for each in found)
    if open_contrasts:
        sentences.append(
            f"{open_contrasts} of {len(found)} comparisons could not be made: runs are missing."
        )
    return sentences


@dataclass(frozen=True, slots=True)
class _Pair:
    """The contrasts of one pair of arms over its seeds: comparable ones only, at least one."""

    a: str
    b: str
    factor: str
    contrasts: list[Contrast]

    @property
    def verdict(self) -> Verdict:
        """The verdict all seeds agree on, else not shown."""
        verdicts = {each.verdict for each in self.contrasts}
        return verdicts.pop() if len(verdicts) == 1 else Verdict.NOT_SHOWN

    @property
    def shown(self) -> int:
        """With how many seeds a difference was shown."""
        return sum(each.verdict is not Verdict.NOT_SHOWN for each in self.contrasts)

    @property
    def size(self) -> str:
        """The difference a minus b, with its interval (one seed) or the share of seeds."""
        differences = [each.difference or 0.0 for each in self.contrasts]
        if len(differences) == 1:
            return f"{points(differences[0])}, {points_range(self.contrasts[0].interval)}"
        mean = points(sum(differences) / len(differences))
        return f"{mean} on average, shown with {self.shown} of {len(differences)} seeds"


def _pairs(found: Sequence[Contrast]) -> list[_Pair]:
    groups: dict[tuple[str, str, str], list[Contrast]] = {}
    for each in found:
        if each.n:
            groups.setdefault((each.a, each.b, each.factor), []).append(each)
    return [_Pair(a, b, factor, group) for (a, b, factor), group in groups.items()]


def _is_untuned(tables: Tables, name: str) -> bool:
    arm = tables.arm(name)
    return arm is not None and arm.untuned


def _against_untuned(tables: Tables, pairs: Sequence[_Pair], reference: str) -> list[str]:
    """One sentence for each verdict that tuned arms got against the untuned `reference`."""
    group = [p for p in pairs if p.b == reference and not _is_untuned(tables, p.a)]
    sizes = {each.n for pair in group for each in pair.contrasts}
    problems = f"the {sizes.pop()} test problems" if len(sizes) == 1 else "the test problems"
    several = sum(arm.untuned for arm in tables.arms) > 1
    which = f"{reference}, untuned," if several else "the untuned model"
    base = f"{which} ({_accuracy(tables, reference)})"

    def named(arms: Sequence[_Pair]) -> str:
        return _list([f"{pair.a} ({_accuracy(tables, pair.a)})" for pair in arms])

    sentences = []
    for sought, words in ((Verdict.SUPPORTED, "more"), (Verdict.REFUTED, "fewer")):
        arms = [pair for pair in group if pair.verdict is sought]
        if len(arms) == len(group) > 1:
            sentences.append(
                f"All {len(arms)} tuned arms solve {words} of {problems} than {base}: "
                f"{named(arms)}."
            )
        elif arms:
            solve = "solves" if len(arms) == 1 else "solve"
            sentences.append(f"{named(arms)} {solve} {words} of {problems} than {base}.")
    undecided = [pair for pair in group if pair.verdict is Verdict.NOT_SHOWN]
    if unsure := [pair for pair in undecided if pair.shown]:
        sentences.append(f"For {named(unsure)} only some seeds show a difference from {base}.")
    if unseen := [pair for pair in undecided if not pair.shown]:
        sentences.append(f"For {named(unseen)} a difference from {base} is not shown.")
    return sentences


def _by_factor(factor: str, pairs: Sequence[_Pair]) -> str:
    """One sentence: what was shown about a factor, pair by pair, then what was not."""
    parts, unsure, unseen = [], [], []
    for pair in pairs:
        names = f"{pair.a} and {pair.b} ({pair.size})"
        if pair.verdict is not Verdict.NOT_SHOWN:
            order = "better" if pair.verdict is Verdict.SUPPORTED else "worse"
            parts.append(f"{pair.a} is {order} than {pair.b} ({pair.size})")
        elif pair.shown:
            unsure.append(names)
        else:
            unseen.append(names)
    if unsure:
        parts.append(f"not all seeds show a difference between {_some(unsure)}")
    if unseen:
        parts.append(f"a difference is not shown between {_some(unseen)}")
    return f"For {factor}: {'; '.join(parts)}."


def _some(pairs: Sequence[str]) -> str:
    """Name the first few pairs and count the others."""
    others = len(pairs) - MAX_NAMED
    named = ", between ".join(pairs[:MAX_NAMED])
    return f"{named}, and in {others} more pairs" if others > 0 else named


def _accuracy(tables: Tables, arm: str) -> str:
    """The accuracy of an arm; with several seeds its mean."""
    shares = [run.scores[MAIN_SCORER].accuracy or 0.0 for run in tables.complete if run.arm == arm]
    return percent(sum(shares) / len(shares)) if shares else "–"


def _list(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _shown(contrast: Contrast) -> str:
    if contrast.verdict is not Verdict.NOT_SHOWN:
        a_wins = contrast.verdict is Verdict.SUPPORTED
        better, worse = (contrast.a, contrast.b) if a_wins else (contrast.b, contrast.a)
        count = abs(contrast.only_a - contrast.only_b)
        return (
            f"Of these two models, {better} is better than {worse} on these {contrast.n} "
            f"problems: it solves {count} more."
        )
    span = f"the difference may be {points_range(contrast.interval)} points."
    if contrast.p_value is None:
        return f"Not shown: both solve the very same problems, so there is no test; {span}"
    return f"Not shown: {span}"


def _left_out(contrast: Contrast) -> str:
    if not contrast.left_out:
        return ""
    return (
        f" The arms were tested on different problems: compared on the {contrast.n} they share, "
        f"{contrast.left_out} left out."
    )
