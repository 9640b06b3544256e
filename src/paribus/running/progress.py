"""What a run reports while it works. The terminal shows it; nothing is computed from it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal[
    "loading",
    "probing",
    "training",
    "validating",
    "testing",
    "likelihood",
    "stopping",
    "complete",
    "kept",
    "elsewhere",
    "failed",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One moment of a run.

    Attributes:
        stage: what it is doing; `kept`: another process had completed it; `elsewhere`: one works
            on it.
        done: optimizer steps, or problems tested, so far.
        total: how many there are.
        loss: training loss of the last step, in nats per target token.
        examples_per_second: of the last step, or of the test so far; None while that says nothing.
        memory_bytes: peak of this stage.
        seconds_left: of this stage, at the pace so far; None while that says nothing.
        task: the further task that is tested; "" for the arm's own.
        note: what the user must be told once, whatever the stage.
    """

    stage: Stage
    done: int = 0
    total: int = 0
    loss: float | None = None
    examples_per_second: float | None = None
    memory_bytes: int | None = None
    seconds_left: float | None = None
    task: str = ""
    note: str | None = None

    @property
    def doing(self) -> str:
        """The stage, with the further task: `testing gsm8k`."""
        return f"{self.stage} {self.task}".rstrip()


OnProgress = Callable[[Progress], None]


Count = tuple[int, float]
"""Problems done so far, and the seconds that they took."""


@dataclass(slots=True)
class Pace:
    """How many problems, or steps, are done a second, by what was done so far.

    Until the first one is done kernels are compiled and memory is asked for. Until as many are done
    as are worked on at once, most of the work is in texts that have not ended: it is counted only
    where half of all problems are done by then.

    Attributes:
        at_once: problems that are worked on side by side.
        count: so far.
        first: the count when the first were done.
        full: the count when `at_once` were done.
    """

    at_once: int
    count: Count = (0, 0.0)
    first: Count | None = None
    full: Count | None = None

    def rate(self, done: int, seconds: float, left: int) -> float | None:
        """Return it after `done` more in as many `seconds`, `left` to do; None while too few are.

        Time between two parts of a test, in which no problem is worked on, is not to be given.
        """
        so_far = self.count[0] + done
        self.count = so_far, self.count[1] + seconds
        if self.first is None and so_far:
            self.first = self.count
        if self.full is None and so_far >= self.at_once:
            self.full = self.count
        if self.full and 2 * (so_far - self.full[0]) >= self.at_once:
            return self._since(self.full)
        if self.first and so_far > self.first[0] and so_far >= left:
            return self._since(self.first)
        return None

    def _since(self, before: Count) -> float:
        return (self.count[0] - before[0]) / (self.count[1] - before[1])
