"""Pick a few generations of each run for people to read.

    pick(run)      # the first wrong, the first correct, the first without an answer

The first in the order of the test problems, so that nobody chose them.
"""

from dataclasses import dataclass

from paribus.analysis.tables import Run
from paribus.records import Generation, Outcome

_WANTED = (
    ("wrong", {Outcome.WRONG}),
    ("correct", {Outcome.CORRECT}),
    ("without an answer", {Outcome.NO_ANSWER, Outcome.TRUNCATED, Outcome.FAILED}),
)


@dataclass(frozen=True, slots=True)
class Example:
    """A generation and the kind it stands for."""

    kind: str
    outcome: Outcome
    generation: Generation


def pick(run: Run) -> list[Example]:
    """Return the run's first generation of each kind that occurs, at most three."""
    picked = []
    for kind, outcomes in _WANTED:
        for generation, outcome in zip(run.generations, run.judged, strict=True):
            if outcome in outcomes:
                picked.append(Example(kind, outcome, generation))
                break
    return picked
