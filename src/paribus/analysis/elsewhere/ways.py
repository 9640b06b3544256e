"""What files of generations are read for: answers that are numbers, a task, or values of their own.

    way = Numbers(style="auto")
    way.read(Path("lora.jsonl"))        # its samples
    way.problem(sample)                 # the Problem that a row states itself
    way.scorers(samples)                # what its texts are scored by

`by_task` and `by_column` have the other two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paribus.analysis.elsewhere.gold import Gold, read_gold, stated_problem
from paribus.analysis.elsewhere.samples import Sample, own_samples, read_samples
from paribus.analysis.tables import Run
from paribus.errors import DataError
from paribus.evaluation.scorers import NUMBERS, Scorers
from paribus.records import AnswerStyle, Problem

NEEDS_GOLD = "give the gold file: --gold FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How rows become samples and problems.

    Attributes:
        group_by: key that says which problems belong together.
    """

    group_by: str | None = None

    def options(self) -> dict[str, Any]:
        """Return what the command line says of it, for the report's table of settings."""
        raise NotImplementedError

    @property
    def of_numbers(self) -> bool:
        """Whether gold is held against the scorers of numbers."""
        return False

    @property
    def values(self) -> bool:
        """Whether files state a value for each problem, and their texts are not read."""
        return False

    @property
    def of_runs(self) -> Scorers:
        """What the texts of a run folder of paribus are scored by. Raises DataError if by none."""
        return NUMBERS

    def read(self, path: Path) -> list[Sample]:
        """Return the samples in a file, at least one. Raises DataError naming the row."""
        raise NotImplementedError

    def of_run(self, run: Run, where: str) -> list[Sample]:
        """Return the samples of a complete run of paribus."""
        return own_samples(run.generations, where)

    def problem(self, sample: Sample) -> Problem:
        """Return the problem that the row itself states. Raises DataError if it states none."""
        if sample.problem is None:
            raise DataError(f"{sample.where}: does not state its gold answer", NEEDS_GOLD)
        return sample.problem

    def gold(self, path: Path | None, samples: Sequence[Sample]) -> Gold | None:
        """Return the problems in the gold file `path`; None if every row states its own."""
        raise NotImplementedError

    def scorers(self, samples: Sequence[Sample]) -> Scorers:
        """Return what the texts of all files, `samples`, are scored by."""
        raise NotImplementedError

    def check(self, stated: Sequence[Problem], asked: Sequence[Problem]) -> None:
        """Raise DataError if gold contradicts itself, or no text could score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers(Way):
    """Answers that are numbers, as GSM8K's.

    Attributes:
        style: what counts as a final answer.
        main: the scorer that conclusions are drawn from; "" for the canonical one.
    """

    style: AnswerStyle = "auto"
    main: str = ""

    def options(self) -> dict[str, Any]:  # noqa: D102
        return {"answer": self.style if self.style != "auto" else None, "metric": self.main}

    @property
    def of_numbers(self) -> bool:  # noqa: D102
        return True

    def read(self, path: Path) -> list[Sample]:  # noqa: D102
        return read_samples(path)

    def problem(self, sample: Sample) -> Problem:  # noqa: D102
        if sample.question is None:
            raise DataError(f"{sample.where}: names its problem by id alone", NEEDS_GOLD)
        return stated_problem(sample.stated, sample.where, self.group_by)

    def gold(self, path: Path | None, samples: Sequence[Sample]) -> Gold | None:  # noqa: D102
        return None if path is None else read_gold(path, self.group_by)

    def scorers(self, samples: Sequence[Sample]) -> Scorers:  # noqa: D102
        return Scorers(style=self.style).led_by(self.main)


NUMBERS_WAY = Numbers()
"""Answers in any style, by the canonical scorer."""
