"""Line arms up problem by problem: the tables of seeds x problems that comparisons start from.

    pair = align([a_runs, b_runs])
    pair.solved[0]          # [R, n] booleans: seeds of A in rows, problems both arms share
    pair.are(Outcome.FAILED)[0]                         # the same of another outcome
    pair.scores[0]          # [R, n] scores: 1 or 0 where problems are solved or not
    pair.left_out           # problems that not every run was tested on

Problems are joined on the hash of their question, so files, order and variant do not matter. A
question asked twice is two problems: (id, 0) and (id, 1).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from paribus.analysis.tables import OUTCOME_NUMBERS, Run
from paribus.records import Measure, Outcome
from paribus.statistics.groups import Groups, numbered

T = TypeVar("T")

Key = tuple[str, int]
"""Problem id, and how often it came before in the same run."""


@dataclass(frozen=True, kw_only=True)
class Aligned:
    """Arms over the problems that all their runs share, in a fixed order.

    Attributes:
        keys: the n problems.
        outcomes: by arm, [R, n]: each run's outcome of each problem, as its place in `Outcome`.
        values: by arm, [R, n]: each run's score or loss of each problem; () where problems are
            solved or not in all runs.
        measure: what the arms are compared by.
        groups: the group of each problem; None if every problem stands alone.
        left_out: problems that only some of the runs were tested on.
    """

    keys: tuple[Key, ...]
    outcomes: tuple[NDArray[np.int8], ...]
    groups: Groups | None
    left_out: int
    values: tuple[NDArray[np.float64], ...] = ()
    measure: Measure = Measure.SOLVED

    @cached_property
    def scores(self) -> tuple[NDArray[np.float64], ...]:
        """By arm, [R, n]: each run's score of each problem, 1 or 0 where it is solved or not."""
        return self.values or tuple(solved.astype(np.float64) for solved in self.solved)

    @property
    def compared(self) -> "tuple[NDArray[np.bool_], ...] | tuple[NDArray[np.float64], ...]":
        """By arm, [R, n]: what arms are compared by, `solved` or `values`."""
        return self.values or self.solved

    @cached_property
    def solved(self) -> tuple[NDArray[np.bool_], ...]:
        """By arm, [R, n]: whether each run solved each problem."""
        correct = OUTCOME_NUMBERS[Outcome.CORRECT]
        return tuple(table == correct for table in self.outcomes)

    def are(self, *outcomes: Outcome) -> tuple[NDArray[np.bool_], ...]:
        """By arm, [R, n]: whether each run's outcome of each problem is one of these."""
        numbers = [OUTCOME_NUMBERS[outcome] for outcome in outcomes]
        return tuple(np.isin(table, numbers) for table in self.outcomes)


def align(arms: Sequence[Sequence[Run]]) -> Aligned:
    """Return the runs of each arm over the problems they share. Every arm has a run at least."""
    runs = [run for of_arm in arms for run in of_arm]
    ids = runs[0].problem_ids
    if all(run.problem_ids == ids for run in runs[1:]):  # as nearly all are
        return _aligned(arms, tuple(keys(ids)), left_out=0, in_order=True)
    sets = [set(keys_of(run)) for run in runs]
    common, every = set.intersection(*sets), set.union(*sets)
    # In the order of the first run, so that the same experiment gives the same bytes.
    shared = tuple(key for key in keys_of(runs[0]) if key in common)
    return _aligned(arms, shared, left_out=len(every) - len(common))


def _aligned(
    arms: Sequence[Sequence[Run]], shared: tuple[Key, ...], *, left_out: int, in_order: bool = False
) -> Aligned:
    """Return the arms over `shared`. `in_order`: these are the problems of each run, in order."""
    runs = [run for of_arm in arms for run in of_arm]
    measures = {run.measure for run in runs} - {Measure.SOLVED}

    def tables(column: Callable[[Run], Any], dtype: type) -> tuple[NDArray[Any], ...]:
        return tuple(
            np.array(
                [column(run) if in_order else _shared(run, column(run), shared) for run in of_arm],
                dtype=dtype,
            )
            for of_arm in arms
        )

    return Aligned(
        keys=shared,
        outcomes=tables(lambda run: run.outcome_numbers, np.int8),
        groups=_groups(runs, shared),
        left_out=left_out,
        values=tables(_values, np.float64) if measures else (),
        measure=max(measures, default=Measure.SOLVED),
    )


def _values(run: Run) -> Sequence[float]:
    """Return the score of each problem, also of a run that is judged by whether it is right."""
    if run.judged_values is None:
        return [float(outcome is Outcome.CORRECT) for outcome in run.judged]
    return run.judged_values


def _shared(run: Run, values: Sequence[T], shared: Sequence[Key]) -> list[T]:
    """Return those of `values`, one for each problem of `run`, that belong to `shared`."""
    by_key = dict(zip(keys_of(run), values, strict=True))
    return [by_key[key] for key in shared]


def keys_of(run: Run) -> list[Key]:
    """Return the key of each problem of `run`, in its order."""
    return keys(run.problem_ids)


def keys(ids: Sequence[str]) -> list[Key]:
    """Return the key of each problem id, in their order."""
    if len(set(ids)) == len(ids):
        return [(id_, 0) for id_ in ids]
    seen: Counter[str] = Counter()
    numbered = []
    for id_ in ids:
        numbered.append((id_, seen[id_]))
        seen[id_] += 1
    return numbered


def _groups(runs: Sequence[Run], shared: Sequence[Key]) -> Groups | None:
    """Return the groups of the shared problems, by whichever run knows them."""
    if not any(run.has_groups for run in runs):
        return None
    named: dict[Key, str] = {}
    for run in runs:
        for key, row in zip(keys_of(run), run.tested, strict=True):
            named[key] = named.get(key) or row.group
    return numbered([named[key] for key in shared])
