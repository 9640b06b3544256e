"""What is said of arms, by what they are compared by: problems solved, scores, or losses.

terms(Measure.SOLVED).more("3 points")      # "solves 3 points more"
terms(Measure.SCORE).more("3 points")       # "scores 3 points higher"
"""

from dataclasses import dataclass

from paribus.records import Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Words for one measure.

    Attributes:
        does, do: the verb, of one arm and of several.
        up, down: what stands behind it for the arm ahead, and for the one behind.
        on: between that and the problems.
        mean: what an arm's mean is called.
        axis: the same with its unit, for a figure.
        every: what the means of an arm's seeds are called.
        unit: of a difference.
        scale: how often a figure is taken to be in that unit.
        digits: behind its decimal point.
    """

    does: str
    do: str
    up: str
    down: str
    on: str
    mean: str
    axis: str
    every: str
    unit: str = "points"
    scale: int = 100
    digits: int = 1

    def more(self, size: str = "") -> str:
        """`solves more`; with a `size`, `solves 3 points more`."""
        return f"{self.does} {size and f'{size} '}{self.up}"

    def fewer(self, size: str = "") -> str:
        """`solves fewer`; with a `size`, `solves 3 points fewer`."""
        return f"{self.does} {size and f'{size} '}{self.down}"


_TERMS = {
    Measure.SOLVED: Terms(
        does="solves",
        do="solve",
        up="more",
        down="fewer",
        on="of",
        mean="accuracy",
        axis="problems solved, %",
        every="accuracies",
    ),
    Measure.SCORE: Terms(
        does="scores",
        do="score",
        up="higher",
        down="lower",
        on="on",
        mean="mean score",
        axis="mean score, points",
        every="mean scores",
    ),
    Measure.LOSS: Terms(
        does="has a",
        do="have a",
        up="lower loss",
        down="higher loss",
        on="on",
        mean="mean loss",
        axis="mean loss, nats per token",
        every="mean losses",
        unit="nats",
        scale=1,
        digits=3,
    ),
}


def explained_terms(measure: Measure) -> Terms:
    """Return the words where something else may explain a difference alone: no arm is better."""
    return _TERMS[Measure.SCORE if measure is Measure.SOLVED else measure]


def terms(measure: Measure) -> Terms:
    """Return the words for `measure`."""
    return _TERMS[measure]
