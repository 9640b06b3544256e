"""Whether the runs of a comparison come from different machines or versions, and where it crosses.

    crossing(tables, {"full": full_runs, "lora": lora_runs}).sentence
    # "machine differs too, within seed 1: 8 cores: full seeds 0, 1, lora seed 0; 2 cores: lora …"

A machine is all that `result.json` records of it: device and threads, processor, driver, ranks,
versions of packages. Arms that ran throughout on machines of their own cannot be told from these
machines. A pair of runs with one seed that ran apart carries the difference into that seed's. Where
both runs of each seed share a machine, as when machines take seeds in turn, nothing of it falls on
the comparison but its spread; it is said all the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from paribus.analysis import wording
from paribus.analysis.tables import Run, Tables

UNKNOWN = "not known"
"""Stands for a fact that a run did not record."""
_UNSAID = {"driver": "none", "ranks": "1"}
"""What it means if a run that recorded its machine did not record this of it."""
_WORDS = {"ranks": "number of ranks"}
_FIRST = ("machine", "processor")
_MOST = 4
"""Machines that a sentence lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A machine: its value of each fact that differs, and arm -> seeds that ran there."""

    facts: dict[str, str]
    seeds: dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A comparison whose runs come from several machines.

    Attributes:
        facts: in which the machines differ.
        places: every machine, in the order of the runs.
        apart: seeds whose runs did not all run on one machine. The run of an untuned arm stands
            beside every seed.
        alike: whether every machine ran the same seeds of all arms.
        untuned: arms that have no seeds.
    """

    facts: tuple[str, ...]
    places: tuple[Place, ...]
    apart: tuple[int, ...]
    alike: bool
    untuned: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What differs and which seeds ran where, without a full stop."""
        names = [_WORDS.get(fact, fact) for fact in self.facts]
        differ = f"{wording.join(names)} {'differ' if self.facts[1:] else 'differs'}"
        if self.alike:
            return f"{differ} between seeds, within none: {self._listed()}"
        if all(len(place.seeds) == 1 for place in self.places) and len(self.places) == 2:
            return f"{differ} too ({' against '.join(map(_label, self.places))})"
        within = f"within {_seeds(self.apart)}" if self.apart else "within no seed"
        return f"{differ} too, {within}: {self._listed()}"

    def _listed(self) -> str:
        parts = [f"{_label(place)}: {self._ran(place)}" for place in self.places[:_MOST]]
        if rest := self.places[_MOST:]:
            parts.append(f"and {len(rest)} more")
        return "; ".join(parts)

    def _ran(self, place: Place) -> str:
        if self.alike:
            return _seeds(next(iter(place.seeds.values())))
        return ", ".join(
            arm if arm in self.untuned else f"{arm} {_seeds(seeds)}"
            for arm, seeds in place.seeds.items()
        )


def crossing(tables: Tables, arms: Mapping[str, Sequence[Run]]) -> Crossing | None:
    """Return how the runs of `arms` cross machines; None if all ran on one, or none is on record.

    Runs whose making is not known, as those of other programs, are left out.
    """
    recorded = {
        arm: [(run, run.environment) for run in runs if run.environment is not None]
        for arm, runs in arms.items()
    }
    environments = [facts for runs in recorded.values() for _, facts in runs]
    names = dict.fromkeys([*_FIRST, *(name for facts in environments for name in facts)])
    differing = tuple(
        name for name in names if len({_value(facts, name) for facts in environments}) > 1
    )
    if not differing:
        return None
    places: dict[tuple[str, ...], dict[str, tuple[int, ...]]] = {}
    at: dict[int, set[tuple[str, ...]]] = {}
    untuned = tuple(arm for arm in arms if (found := tables.arm(arm)) and found.untuned)
    for arm, runs in recorded.items():
        for run, facts in runs:
            place = tuple(_value(facts, name) for name in differing)
            seeds = places.setdefault(place, {})
            seeds[arm] = (*seeds.get(arm, ()), run.seed)
            if arm not in untuned:
                at.setdefault(run.seed, set()).add(place)
    beside = {place for place, seeds in places.items() if seeds.keys() & set(untuned)}
    return Crossing(
        facts=differing,
        places=tuple(
            Place(facts=dict(zip(differing, place, strict=True)), seeds=seeds)
            for place, seeds in places.items()
        ),
        apart=tuple(seed for seed, there in sorted(at.items()) if len(there | beside) > 1),
        alike=not untuned
        and all(seeds.keys() == arms.keys() and len(set(seeds.values())) == 1
                for seeds in places.values()),
        untuned=untuned,
    )  # fmt: skip


def _value(facts: Mapping[str, str], name: str) -> str:
    return facts.get(name, _UNSAID.get(name, UNKNOWN) if facts else UNKNOWN)


def about_machines(tables: Tables, names: Iterable[str]) -> tuple[str, ...]:
    """Return the caveat on the machines of all complete runs of these arms; () without one."""
    arms = {name: tables.complete_of(name) for name in names}
    crossed = crossing(tables, arms)
    return (crossed.sentence,) if crossed else ()


def _label(place: Place) -> str:
    return "; ".join(place.facts.values())


def by_value(runs: Sequence[Run], fact: str, absent: str) -> str:
    """Return an arm's value of a fact; of several each with its seeds: `2 (seed 0), 1 (seed 1)`."""
    seeds: dict[str, list[int]] = {}
    for run in runs:
        value = (run.environment or {}).get(fact)
        seeds.setdefault(absent if value is None else value, []).append(run.seed)
    if len(seeds) == 1:
        return next(iter(seeds))
    return ", ".join(f"{value} ({_seeds(of_value)})" for value, of_value in seeds.items())


def _seeds(seeds: Sequence[int]) -> str:
    """Return `seed 1`, `seeds 0, 2`, `seeds 0 to 7, 9`."""
    ordered = sorted(seeds)
    runs = [
        [seed for _, seed in group]
        for _, group in groupby(enumerate(ordered), lambda pair: pair[1] - pair[0])
    ]
    parts = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return f"seed{'s' if ordered[1:] else ''} {', '.join(parts)}"
