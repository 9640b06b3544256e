"""What an experiment will be able to see, told before it is run.

    foresee(n=100, seeds=1, comparisons=8, hypothesis="LoRA comes within 2 points.")
    # Foresight(detectable=0.20, claimed=0.02), and .warning says that this is not enough

With declared looks it is what the last of them shows: at its number of seeds, by the share of the
level that it may spend (`statistics/sequential`). Looks before it can only add to that.

A hypothesis speaks of a size when it names points: the smallest it names is held against the
smallest difference the design shows 8 times in 10. Accuracies are not known yet, so they are taken
to lie about 50 %, where differences are hardest to see, and all else to be as in `power.Design`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from paribus.records import Measure
from paribus.statistics.crossed import MIN_SEEDS
from paribus.statistics.equivalence import power_of_equivalence
from paribus.statistics.power import ALPHA, Design, detectable_about
from paribus.statistics.sequential import shares

ASSUMED = 0.5
"""Accuracy half-way between two arms. Nearer 0 or 1 a smaller difference can be seen."""

_POINTS = re.compile(
    r"(?<![\d.,])(\d{1,3}(?:\.\d{1,3})?)[ \t]{1,4}(?:or (?:more|fewer|less)[ \t]{1,4})?"
    r"(?:percentage[ \t]{1,4})?points?\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """Differences as shares.

    Attributes:
        design: what was assumed; of several looks the last one's level, for more comparisons.
        comparisons: how many there are.
        share: of the level, that the last look may spend; 1 without declared looks.
        detectable: the smallest difference shown 8 times in 10; None if there is none.
        claimed: the smallest difference that the hypothesis names; None if it names none.
        margin: the smallest margin that is stated; None without one.
        equivalent: how often two arms that are truly equal would be shown equivalent within it.
        measure: what is compared. Scores between 0 and 1 vary less than problems that are solved or
            not; how much they and losses vary is not known beforehand.
    """

    design: Design
    comparisons: int
    share: float
    detectable: float | None
    claimed: float | None
    margin: float | None = None
    equivalent: float | None = None
    measure: Measure = Measure.SOLVED

    @property
    def level(self) -> float:
        """What all comparisons share, when everything is run."""
        return ALPHA * self.share

    def as_json(self) -> dict[str, Any]:
        """Return what `plan --json` prints."""
        return {
            "level": self.level,
            "detectable": self.detectable,
            "claimed": self.claimed,
            "margin": self.margin,
            "equivalent": self.equivalent,
            "sentence": self.sentence,
            "warning": self.warning or None,
        }

    @property
    def sentence(self) -> str:
        """What the design can see."""
        design = self.design
        plural = "s" if design.seeds > 1 else ""
        given = f"{design.n:,} test problems, {design.seeds} seed{plural}"
        if self.comparisons > 1:
            given += f", {self.comparisons} comparisons"
        if self.share < 1:
            given += f" and the {100 * self.share:.0f} % of the level that the last look has"
        if 1 < design.seeds < MIN_SEEDS:
            return (
                f"{design.seeds} seeds give no verdicts: too few to say how much the seed "
                f"matters. 1 compares the trained models, {MIN_SEEDS} or more the methods."
            )
        if self.measure is Measure.LOSS:
            return (
                f"Nothing is generated in tests: with {given}, arms are compared by their held-out "
                "loss. How small a difference is shown follows from how losses vary, which is not "
                "known beforehand."
            )
        if self.detectable is None:
            seen = f"With {given}, no difference is large enough to be shown 8 times in 10."
        else:
            seen = (
                f"With {given}, a difference of {100 * self.detectable:.1f} points or more is "
                f"shown 8 times in 10{self._unless_real}; smaller ones are likely to be missed."
            )
        if self.margin is None or self.equivalent is None:
            return seen
        return (
            f"{seen} Two arms that are truly equal are shown equivalent within "
            f"{100 * self.margin:g} points {100 * self.equivalent:.0f} times in 100."
        )

    @property
    def _unless_real(self) -> str:
        if self.measure is Measure.SOLVED:
            return ""
        return ", if scores are 0 or 1, and a smaller one if they are not"

    @property
    def warning(self) -> str:
        """Why the hypothesis cannot be tested by this design, or ""."""
        if self.measure is Measure.LOSS or self.claimed is None:
            return ""
        if (self.detectable or 1.0) <= self.claimed:
            return ""
        return (
            f"The hypothesis speaks of {100 * self.claimed:g} points, which this experiment "
            "would most likely miss: raise data.test_size or seeds, or declare fewer contrasts "
            "(`paribus power` says how many)."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskForesight:
    """A further task that arms are tested on.

    Attributes:
        task: its name.
        protocol: how it is asked, by its full name.
        problems: that are tested.
        margin: points that an arm may lose, as a share; None unless it is guarded.
        shown: how often an arm that is truly as good as its untuned model is shown to lose less;
            None unless it is guarded.
    """

    task: str
    protocol: str
    problems: int
    margin: float | None
    shown: float | None

    @property
    def sentence(self) -> str:
        """How it is tested, and what its guard can show."""
        text = f"Also tested on {self.task}: {self.problems:,} problems, {self.protocol}."
        if self.margin is None or self.shown is None:
            return text
        return (
            f"{text} An arm that is there as good as its untuned model is shown to lose less than "
            f"{100 * self.margin:g} points {100 * self.shown:.0f} times in 100."
        )


def foresee_task(
    task: str, protocol: str, *, n: int, seeds: int, comparisons: int, margin: float | None
) -> TaskForesight:
    """Return what `comparisons` pairs of arms can show on a further task; `margin` is a share.

    As for `foresee`, accuracies are taken to lie about 50 %.
    """
    design = Design(n=n, seeds=seeds, comparisons=max(1, comparisons))
    shown = margin and power_of_equivalence(design, ASSUMED, margin)[1]
    return TaskForesight(task=task, protocol=protocol, problems=n, margin=margin, shown=shown)


def foresee(
    *,
    n: int,
    seeds: int,
    comparisons: int,
    hypothesis: str,
    looks: Sequence[int] = (),
    margin: float | None = None,
    measure: Measure = Measure.SOLVED,
) -> Foresight:
    """Return what `comparisons` pairs of arms over n problems can show.

    `looks` are those declared, in seeds, the last at all `seeds`; `margin` is a share.
    """
    comparisons, share = max(1, comparisons), shares(looks)[-1] if looks else 1.0
    design = Design(n=n, seeds=seeds, comparisons=comparisons / share)
    known = measure is not Measure.LOSS
    named = [float(number) / 100 for number in _POINTS.findall(hypothesis)]
    claimed = [points for points in named if points > 0]
    return Foresight(
        design=design,
        comparisons=comparisons,
        share=share,
        detectable=detectable_about(design, ASSUMED) if known else None,
        claimed=min(claimed, default=None),
        margin=margin,
        equivalent=margin and power_of_equivalence(design, ASSUMED, margin)[0],
        measure=measure,
    )
