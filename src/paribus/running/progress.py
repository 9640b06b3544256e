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
    "failed",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One moment of a run.

    Attributes:
        stage: what it is doing.
        done: optimizer steps, or problems tested, so far.
        total: how many there are.
        loss: training loss of the last step, in nats per target token.
        examples_per_second: of the last step, or of the test so far; None before there is one.
        memory_bytes: peak of this stage.
        seconds_left: of this stage, at the pace so far; None before there is one.
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


def pace(done: int, of: int, seconds: float, *, at_once: int) -> float | None:
    """Return the problems done a second, or None while too few are done to mean anything.

    `at_once` problems are decoded side by side, so until as many are done, or half of all, most of
    the work that was done is in texts that have not ended.
    """
    return done / seconds if done and done >= min(at_once, of / 2) else None
