"""What published counts show, where nobody published which problems were solved.

    arms = [counted("full=31/100"), counted("lora=20/100")]
    judge(arms, [("full", "lora")]).comparisons[0].verdict            # Published.OPEN

Two arms that answered the same problems are compared problem by problem, and a count does not say
which problems both solved. It lies between two ends: as many as independent arms would share, and
all that the worse arm solved. McNemar's test is made at both, and a verdict is given where both
agree. Arms that answered different numbers of problems are compared as independent samples.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from math import sqrt

from paribus.errors import UserError
from paribus.statistics.intervals import Interval, mcnemar, paired_difference, share
from paribus.statistics.power import (
    ALPHA,
    Design,
    detectable_about,
    highest_correlation,
    problems_needed,
)
from paribus.statistics.verdicts import holm

_COUNT = re.compile(r"(?P<name>[^=]+)=(?P<solved>\d+(?:\.\d+)?)(?P<percent>%?)/(?P<problems>\d+)")
MAX_PUBLISHED = 1_000_000
"""Problems of an arm: more than any test set has."""


class Published(StrEnum):
    """What counts say of a difference."""

    SHOWN = "shown"
    OPEN = "open"
    """Shown or not, depending on how many problems both solved."""
    NOT_SHOWN = "not_shown"


@dataclass(frozen=True, slots=True)
class Count:
    """One arm as it was published: `solved` of `problems`, by one trained model."""

    name: str
    solved: int
    problems: int

    @property
    def accuracy(self) -> float:
        """The share of problems solved."""
        return self.solved / self.problems

    @property
    def interval(self) -> Interval:
        """The 95 % interval of `accuracy`, over the choice of problems."""
        return share(self.solved, self.problems)


def counted(text: str) -> Count:
    """Return the arm that `NAME=31/100` or `NAME=31.0%/100` states. Raises UserError."""
    found = _COUNT.fullmatch(text.strip())
    remedy = "write NAME=SOLVED/PROBLEMS, such as full=31/100 or full=25.0%/512"
    if not found:
        raise UserError(f"{text[:60]!r} is no published count", remedy)
    name, stated, problems = found["name"].strip(), found["solved"], int(found["problems"])
    if not name or not 0 < problems <= MAX_PUBLISHED:
        raise UserError(f"{text[:60]!r}: problems must be 1 to {MAX_PUBLISHED:,}", remedy)
    if found["percent"]:
        return Count(name, _whole(text, stated, problems), problems)
    if "." in stated or int(stated) > problems:
        raise UserError(
            f"{text[:60]!r}: {stated} of {problems:,} problems cannot be solved", remedy
        )
    return Count(name, int(stated), problems)


def _whole(text: str, stated: str, problems: int) -> int:
    """Return how many problems make the percentage `stated`, as precisely as it is written.

    A percentage that no count gives is a mistake of whoever published it: N. J. L. Brown and
    J. A. J. Heathers (2017), "The GRIM test", Soc. Psychol. Personal. Sci. 8: 363-369.
    """
    places = len(stated.partition(".")[2])
    exact = float(stated) * problems / 100
    solved = round(exact)
    rounding = 0.5 * 10.0**-places + 1e-9
    if solved > problems or abs(100 * solved / problems - float(stated)) > rounding:
        near = [
            f"{100 * count / problems:.{places + 1}f} %" for count in (int(exact), int(exact) + 1)
        ]
        raise UserError(
            f"{text[:60]!r}: no number of solved problems out of {problems:,} is {stated} %",
            f"the nearest are {near[0]} and {near[1]}: look up the count, or the problems asked",
        )
    return solved


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two arms, and what their counts say.

    Attributes:
        a, b: the arms.
        design: of the comparison: problems, correlation, and the size of the family.
        p_values: corrected by Holm's method, if the arms are independent and if one solves all
            that the other solves; the same twice for different problems. None: no test.
        both_needed: fewest problems that both must have solved for the difference to be shown;
            None where no number of them shows it, or any does.
    """

    a: Count
    b: Count
    design: Design
    p_values: tuple[float | None, float | None]
    both_needed: int | None

    @property
    def difference(self) -> float:
        """A's accuracy minus B's."""
        return self.a.accuracy - self.b.accuracy

    @cached_property
    def intervals(self) -> tuple[Interval, Interval]:
        """95 % intervals of `difference`, in the two cases of `p_values`."""
        if not same_problems(self.a, self.b):
            return (_of_samples(self.a, self.b),) * 2
        least, most = (_interval(self.a, self.b, both) for both in shared(self.a, self.b))
        return least, most

    @property
    def verdict(self) -> Published:
        """Shown where both p-values are below 0.05, open where one is."""
        below = [p is not None and p < ALPHA for p in self.p_values]
        return (
            Published.SHOWN if all(below) else Published.OPEN if any(below) else Published.NOT_SHOWN
        )

    @cached_property
    def detectable(self) -> float | None:
        """The difference that as many problems show 8 times in 10; None if none is that large."""
        return detectable_about(self.design, (self.a.accuracy + self.b.accuracy) / 2)

    def needed(self, seeds: int, spread: float) -> int | None:
        """Return the problems that show the published difference 8 times in 10, if it is true.

        `seeds` of each arm, whose accuracies scatter by `spread`, a share. None: too many, or no
        number does, as between equal or perfect arms.
        """
        low, high = sorted((self.a.accuracy, self.b.accuracy))
        if not 0 < low < high < 1:
            return None
        design = Design(
            n=0,
            seeds=seeds,
            spread=spread,
            correlation=self.design.correlation,
            comparisons=self.design.comparisons,
        )
        return problems_needed(design, low, high - low)


def same_problems(a: Count, b: Count) -> bool:
    """Return whether two arms are taken to have answered the same problems."""
    return a.problems == b.problems


def shared(a: Count, b: Count) -> tuple[int, int]:
    """Return how many problems both arms solve if they are independent, and at most."""
    return round(a.solved * b.solved / a.problems), min(a.solved, b.solved)


def judge(arms: Sequence[Count], pairs: Sequence[tuple[str, str]]) -> list[Difference]:
    """Return what the counts say of `pairs` of names, corrected for as many comparisons.

    Raises UserError for a name that is given twice, or that no arm has.
    """
    by_name = {arm.name: arm for arm in arms}
    if len(by_name) < len(arms):
        twice = next(arm.name for arm in arms if arm is not by_name[arm.name])
        raise UserError(f"{twice!r} is named twice", "name each measurement, such as full-again")
    compared = [(_named(a, by_name), _named(b, by_name)) for a, b in pairs]
    least, most = ([_p(a, b, end) for a, b in compared] for end in (0, 1))
    corrected = zip(holm(least), holm(most), strict=True)
    return [
        Difference(
            a=a,
            b=b,
            design=_design(a, b, len(pairs)),
            p_values=p_values,
            both_needed=_both_needed(compared, least, place),
        )
        for place, ((a, b), p_values) in enumerate(zip(compared, corrected, strict=True))
    ]


def _named(name: str, by_name: dict[str, Count]) -> Count:
    if name not in by_name:
        raise UserError(f"no arm is named {name!r}", f"the arms are {', '.join(by_name)}")
    return by_name[name]


def _design(a: Count, b: Count, comparisons: int) -> Design:
    usual = Design(n=min(a.problems, b.problems), comparisons=comparisons)
    highest = highest_correlation(a.accuracy, b.accuracy)
    correlation = min(usual.correlation, highest) if same_problems(a, b) else 0.0
    return Design(n=usual.n, comparisons=comparisons, correlation=correlation)


def _p(a: Count, b: Count, end: int) -> float | None:
    """Return the p-value with as many problems in common as `shared(a, b)[end]`."""
    if same_problems(a, b):
        return _mcnemar(a, b, shared(a, b)[end])
    from scipy.stats import fisher_exact  # slow to import

    table = [[arm.solved, arm.problems - arm.solved] for arm in (a, b)]
    return float(fisher_exact(table).pvalue)


def _mcnemar(a: Count, b: Count, both: int) -> float | None:
    return mcnemar(only_a=a.solved - both, only_b=b.solved - both)


def _interval(a: Count, b: Count, both: int) -> Interval:
    only_a, only_b = a.solved - both, b.solved - both
    return paired_difference(only_a=only_a, only_b=only_b, n=a.problems)


def _of_samples(a: Count, b: Count) -> Interval:
    """Return the interval of the difference of two independent shares.

    R. G. Newcombe (1998), "Interval estimation for the difference between independent proportions",
    Statist. Med. 17: 873-890, method 10.
    """
    difference = a.accuracy - b.accuracy
    below = sqrt((a.accuracy - a.interval.low) ** 2 + (b.interval.high - b.accuracy) ** 2)
    above = sqrt((a.interval.high - a.accuracy) ** 2 + (b.accuracy - b.interval.low) ** 2)
    return Interval(difference - below, difference + above)


def _both_needed(
    compared: Sequence[tuple[Count, Count]], least: Sequence[float | None], place: int
) -> int | None:
    """Return the fewest common problems that show this difference, all other arms independent."""
    a, b = compared[place]
    if not same_problems(a, b):
        return None
    few, many = shared(a, b)
    for both in range(few, many + 1):
        p_values = [*least[:place], _mcnemar(a, b, both), *least[place + 1 :]]
        corrected = holm(p_values)[place]
        if corrected is not None and corrected < ALPHA:
            return both if both > few else None
    return None
