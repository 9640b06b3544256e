"""What a smaller experiment would have concluded, drawn again and again from a large one.

    replays = replay(tables, [("full", "lora")], problems=100, times=10_000)
    replays[0].ahead(0.05)          # 0.21: full is ahead by 5 points or more in a fifth of them

Each replay draws one seed of every arm and some of the problems, without replacement, the same
problems for all arms. It is what an experiment with one seed and so few problems would have seen,
as far as the large one has seen it: its own seeds and problems are all there is to draw from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from paribus.analysis.pairing import align
from paribus.analysis.tables import Run, Tables
from paribus.errors import UserError
from paribus.records import Measure
from paribus.seeds import derive
from paribus.statistics.intervals import mcnemar
from paribus.statistics.power import ALPHA

_AT_ONCE = 500
"""Replays drawn together: more need more memory, [replays, problems], and save no time."""
_EVEN = 1e-9
"""Shares closer than this are equal but for rounding: counts of problems are a thousand times
further apart."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """One pair of arms in every replay.

    Attributes:
        a, b: the arms.
        whole: A's mean accuracy minus B's over all seeds and problems, as a share.
        differences: [T], the same in each replay.
        p_values: [T], of McNemar's exact test in each replay; 1 where no problem was discordant.
    """

    a: str
    b: str
    whole: float
    differences: NDArray[np.float64]
    p_values: NDArray[np.float64]

    def ahead(self, by: float = 0.0) -> float:
        """Return the share of replays in which A is ahead, by at least `by`."""
        return float(np.mean(self.claims(by)))

    def behind(self) -> float:
        """Return the share of replays in which B is ahead."""
        return float(np.mean(self.differences < -_EVEN))

    def claims(self, by: float) -> NDArray[np.bool_]:
        """Return [T]: whether A is ahead, by at least `by`."""
        return (self.differences > _EVEN) & (self.differences >= by - _EVEN)

    @cached_property
    def shown(self) -> tuple[float, float]:
        """The shares of replays in which a test alone, p < 0.05, shows A ahead, and B."""
        below = self.p_values < ALPHA
        ahead, behind = self.differences > _EVEN, self.differences < -_EVEN
        return float(np.mean(below & ahead)), float(np.mean(below & behind))

    def range(self, share: float = 0.9) -> tuple[float, float]:
        """Return the middle `share` of the differences."""
        tail = (1 - share) / 2
        low, high = np.quantile(self.differences, [tail, 1 - tail])
        return float(low), float(high)


@dataclass(frozen=True, kw_only=True)
class Accuracies:
    """One arm in every replay: its accuracy over all, and [T] in each, as shares."""

    arm: str
    whole: float
    replays: NDArray[np.float64]


def replay(
    tables: Tables, pairs: Sequence[tuple[str, str]], *, problems: int, times: int, seed: int = 0
) -> tuple[list[Replay], list[Accuracies]]:
    """Return how each of `pairs` of arms, and each arm in them, comes out in `times` replays.

    Raises UserError where an arm has no complete run or is unknown, where problems are not solved
    or not, or where fewer than `problems` are shared by all runs.
    """
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    lined_up = align([_runs(tables, name) for name in names])
    if lined_up.measure is not Measure.SOLVED:
        raise UserError(
            "replays count problems solved, and this experiment compares scores or losses",
            "name a binary scorer with --score",
        )
    shared = len(lined_up.keys)
    if not 1 <= problems <= shared:
        raise UserError(
            f"a replay of {problems:,} problems cannot be drawn from the {shared:,} that all runs "
            "share",
            f"choose 1 to {shared:,} with --problems",
        )
    solved = dict(zip(names, lined_up.solved, strict=True))
    draws = [
        _draw(solved, pairs, problems, min(_AT_ONCE, times - done), derive(seed, "replay", done))
        for done in range(0, times, _AT_ONCE)
    ]
    counts = {name: np.concatenate([draw[0][name] for draw in draws]) for name in names}
    replays = []
    for place, (a, b) in enumerate(pairs):
        both = np.concatenate([draw[1][place] for draw in draws])
        replays.append(
            Replay(
                a=a,
                b=b,
                whole=float(solved[a].mean() - solved[b].mean()),
                differences=(counts[a] - counts[b]) / problems,
                p_values=_p_values(counts[a] - both, counts[b] - both),
            )
        )
    return replays, [
        Accuracies(arm=name, whole=float(solved[name].mean()), replays=counts[name] / problems)
        for name in names
    ]


def _runs(tables: Tables, name: str) -> list[Run]:
    runs = [run for run in tables.complete if run.arm == name]
    if not runs:
        known = dict.fromkeys(run.arm for run in tables.complete)
        raise UserError(
            f"no run of an arm named {name!r} is complete",
            f"name two of {', '.join(known)}" if known else "run the experiment first",
        )
    return runs


def _draw(
    solved: dict[str, NDArray[np.bool_]],
    pairs: Sequence[tuple[str, str]],
    problems: int,
    times: int,
    seed: int,
) -> tuple[dict[str, NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Return what each arm solves in some replays, [T], and what both of each pair solve."""
    rng = np.random.default_rng(seed)
    total = next(iter(solved.values())).shape[1]
    drawn = rng.random((times, total)).argpartition(problems - 1, axis=1)[:, :problems]
    seen = {
        name: table[rng.integers(len(table), size=(times, 1)), drawn]
        for name, table in solved.items()
    }
    counts = {name: np.asarray(table.sum(axis=1)) for name, table in seen.items()}
    return counts, [np.asarray((seen[a] & seen[b]).sum(axis=1)) for a, b in pairs]


def _p_values(only_a: NDArray[np.int64], only_b: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return McNemar's p-value of each replay; the same counts are tested once."""
    counts, places = np.unique(np.stack([only_a, only_b]), axis=1, return_inverse=True)
    tested = [mcnemar(only_a=int(a), only_b=int(b)) for a, b in counts.T]
    return np.array([1.0 if p is None else p for p in tested])[places.ravel()]
