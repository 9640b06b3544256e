"""Line arms up problem by problem: the tables of seeds x problems that comparisons start from.

    pair = align([a_runs, b_runs])
    pair.solved[0]          # [R, n] booleans: seeds of A in rows, problems both arms share
    pair.are(Outcome.FAILED)[0]                         # the same of another outcome
    pair.left_out           # problems that not every run was tested on

Problems are joined on the hash of their question, so files, order and variant do not matter. A
question asked twice is two problems: (id, 0) and (id, 1).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paribus.analysis.tables import Run
from paribus.records import Outcome
from paribus.statistics.groups import Groups, numbered

Key = tuple[str, int]
"""Problem id, and how often it came before in the same run."""

_NUMBERS = {outcome: number for number, outcome in enumerate(Outcome)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """Arms over the problems that all their runs share, in a fixed order.

    Attributes:
        keys: the n problems.
        outcomes: by arm, [R, n]: each run's outcome of each problem, as its place in `Outcome`.
        groups: the group of each problem; None if every problem stands alone.
        left_out: problems that only some of the runs were tested on.
    """

    keys: tuple[Key, ...]
    outcomes: tuple[NDArray[np.int8], ...]
    groups: Groups | None
    left_out: int

    @property
    def solved(self) -> tuple[NDArray[np.bool_], ...]:
        """By arm, [R, n]: whether each run solved each problem."""
        return self.are(Outcome.CORRECT)

    def are(self, *outcomes: Outcome) -> tuple[NDArray[np.bool_], ...]:
        """By arm, [R, n]: whether each run's outcome of each problem is one of these."""
        numbers = [_NUMBERS[outcome] for outcome in outcomes]
        return tuple(np.isin(table, numbers) for table in self.outcomes)


def align(arms: Sequence[Sequence[Run]]) -> Aligned:
    """Return the runs of each arm over the problems they share. Every arm has a run at least."""
    runs = [run for of_arm in arms for run in of_arm]
    ids = _ids(runs[0])
    if all(_ids(run) == ids for run in runs[1:]):
        return _aligned_already(arms, tuple(keys(ids)))
    tables = [[_by_key(run) for run in runs] for runs in arms]
    sets = [set(table) for tables_of_arm in tables for table in tables_of_arm]
    common, every = set.intersection(*sets), set.union(*sets)
    # In the order of the first run, so that the same experiment gives the same bytes.
    shared = tuple(key for key in tables[0][0] if key in common)
    return Aligned(
        keys=shared,
        outcomes=tuple(
            np.array([[table[key] for key in shared] for table in tables_of_arm], dtype=np.int8)
            for tables_of_arm in tables
        ),
        groups=_groups(runs, shared),
        left_out=len(every) - len(common),
    )


def _aligned_already(arms: Sequence[Sequence[Run]], shared: tuple[Key, ...]) -> Aligned:
    """Return runs that were all asked the same problems in one order, as nearly all are."""
    return Aligned(
        keys=shared,
        outcomes=tuple(
            np.array(
                [[_NUMBERS[outcome] for outcome in run.judged] for run in of_arm], dtype=np.int8
            )
            for of_arm in arms
        ),
        groups=_groups([run for of_arm in arms for run in of_arm], shared),
        left_out=0,
    )


def _by_key(run: Run) -> dict[Key, int]:
    """Return the number of `run`'s outcome of each problem."""
    outcomes = zip(keys_of(run), run.judged, strict=True)
    return {key: _NUMBERS[outcome] for key, outcome in outcomes}


def keys_of(run: Run) -> list[Key]:
    """Return the key of each generation of `run`, in its order."""
    return keys(_ids(run))


def _ids(run: Run) -> list[str]:
    return [generation.problem_id for generation in run.generations]


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
    if not any(generation.group for run in runs for generation in run.generations):
        return None
    named: dict[Key, str] = {}
    for run in runs:
        for key, generation in zip(keys_of(run), run.generations, strict=True):
            named[key] = named.get(key) or generation.group
    return numbered([named[key] for key in shared])
