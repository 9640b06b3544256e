"""Seeds that lie far from the others of their arm, or whose loss rose: named, never left out.

    bad_seeds(tables)[0].sentence
    # "lora-main, seed 2, solves 3 % where its other seeds solve 31 % and 33 %: ..."

Intervals and tests over seeds take them to scatter normally. One diverged seed of three makes them
wrong either way, and three seeds cannot tell a rare failure from a wide scatter; so it is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean

import numpy as np

from paribus.analysis import wording
from paribus.analysis.pairing import align
from paribus.analysis.tables import Run, Tables
from paribus.statistics.crossed import MIN_SEEDS
from paribus.statistics.verdicts import Solved

FAR = 4.0
"""Times what the other seeds' scatter explains, from which a seed is far from them."""
SCATTER = 0.015
"""Seeds are expected to scatter by as much at least: by 1 to 2 points in most fine-tuning."""
ROSE = 1.5
"""Times the lowest loss of a fifth of the training, above which the last fifth has risen."""
NATS = 0.1
"""And by so much at least: a loss that is nearly nought doubles for nothing."""
_PARTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class BadSeed:
    """One run that is not like the others of its arm.

    Attributes:
        accuracy: of the run; others: of the arm's other seeds.
        far: whether it lies far from them.
        rose: its mean training loss where it was lowest, and at the end; None if that is no higher.
    """

    arm: str
    seed: int
    accuracy: float
    others: tuple[float, ...]
    far: bool
    rose: tuple[float, float] | None

    @property
    def caveat(self) -> str:
        """What stands beside each comparison of the arm."""
        what = "lies far from its other seeds" if self.far else "ended at a risen training loss"
        return f"{self.arm}, seed {self.seed}, {what}"

    @property
    def sentence(self) -> str:
        """What is unlike, what that means for verdicts, and what two more seeds would settle."""
        said = f"{self.arm}, seed {self.seed},"
        parts = []
        if self.far:
            others = wording.join([wording.percent(each) for each in self.others])
            parts.append(
                f" solves {wording.percent(self.accuracy)} where its other seeds solve {others}"
            )
        if self.rose:
            parts.append(
                f" ended at a training loss of {self.rose[1]:.2f}, after {self.rose[0]:.2f}"
            )
        said += " and".join(parts) + "."
        if len(self.others) + 1 < MIN_SEEDS:
            return f"{said} It may have diverged: its figures say little of the method."
        return (
            f"{said} Verdicts over seeds assume a normal scatter and are not to be trusted with "
            f"such a seed, in either direction. Run two more seeds (seeds={len(self.others) + 3}): "
            f"if they come out like the others, {self.arm} fails now and then, which a mean hides; "
            "if they scatter as far, the wide interval is right."
        )


def bad_seeds(tables: Tables) -> list[BadSeed]:
    """Return the runs that are unlike the others of their arm, arm by arm."""
    return [
        found
        for arm in tables.arms
        if not arm.untuned
        for found in _of_arm([run for run in tables.complete if run.arm == arm.name])
    ]


def _of_arm(runs: Sequence[Run]) -> list[BadSeed]:
    if not runs:
        return []
    (solved,) = align([runs]).solved
    shares = [float(row.mean()) if row.size else 0.0 for row in solved]
    away = far_from_others(solved)
    found = []
    for at, run in enumerate(runs):
        rose = _rose(run)
        if at == away or rose:
            others = tuple(shares[:at] + shares[at + 1 :])
            found.append(
                BadSeed(
                    arm=run.arm,
                    seed=run.seed,
                    accuracy=shares[at],
                    others=others,
                    far=at == away,
                    rose=rose,
                )
            )
    return found


def far_from_others(solved: Solved) -> int | None:
    """Return the row of `solved` [R, n] that lies far from the others; None if none does, or R < 3.

    The others' scatter is what they show, but no less than chance in their problems together with
    `SCATTER`: two seeds that agree by luck must not make the third look far.
    """
    runs, n = solved.shape
    if runs < MIN_SEEDS or not n:
        return None
    means = solved.mean(axis=1)
    at = int(np.argmax(np.abs(means - np.median(means))))
    others = np.delete(solved, at, axis=0)
    of_others = others.mean(axis=1)
    chance = float(others.var(axis=0, ddof=1).mean()) / n
    scatter = sqrt(max(float(of_others.var(ddof=1)), chance + SCATTER**2))
    distance = abs(float(means[at] - of_others.mean()))
    return at if distance > FAR * scatter * sqrt(1 + 1 / (runs - 1)) else None


def _rose(run: Run) -> tuple[float, float] | None:
    losses = [point.loss for point in run.losses]
    if len(losses) < 2 * _PARTS:
        return None
    parts = [fmean(part) for part in np.array_split(losses, _PARTS)]
    lowest, last = min(parts), parts[-1]
    return (lowest, last) if last > max(ROSE * lowest, lowest + NATS) else None
