"""Whether several files of one arm are seeds of its method: separate training runs of it.

    doubts_of(written, Said())       # {"a": "they may be one model asked again"}
    refuse_copies(written)           # DataError: s1.jsonl holds the very texts of s0.jsonl

A method is spoken of only over separate training runs. Files do not say what they are: one model
sampled three times looks like three seeds, and varies less. So somebody must say it, but for runs
of paribus: those of one arm's settings and different replicates are seeds. All others are averaged
as the models that exist. Two files with the same text for every problem are one run.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from paribus.analysis.sources import Source
from paribus.config.spec import differing
from paribus.errors import DataError

_ALIKE = 0.5
"""Share of equal texts from which two seeds of an arm are called doubtful."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What somebody says of the arms, for files do not.

    Attributes:
        untuned: arms whose models were tested as they were, nothing trained.
        seeds_are_runs: whether files of one NAME are separate training runs.
        paired_seeds: whether those of one number share what a seed decides, and are compared so.
        margin: the largest difference that would not matter, as a share.
    """

    untuned: tuple[str, ...] = ()
    seeds_are_runs: bool = False
    paired_seeds: bool = False
    margin: float | None = None


NOTHING_SAID = Said()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What one complete run wrote: problem id -> text, without blanks around it."""

    source: Source
    texts: Mapping[str, str]

    @property
    def name(self) -> str:
        """Of the arm."""
        return self.source.run.arm


def all_untuned(sources: Sequence[Source], said: Sequence[str]) -> tuple[str, ...]:
    """Return the arms that trained nothing: by their runs, or as is `said`.

    Raises DataError if no arm is called so, or its run was trained.
    """
    methods = {source.run.arm: source.identity.get("method") for source in sources}
    for name in said:
        if name not in methods:
            known = f"the arms: {', '.join(methods)}"
            raise DataError(f"--untuned {name}: no arm is called so", known)
        if methods[name] not in (None, "none"):
            raise DataError(
                f"--untuned {name}: its run was trained (method={methods[name]})",
                "name an arm whose model was tested as it was",
            )
    return tuple(name for name, method in methods.items() if method == "none" or name in said)


def doubts_of(written: Sequence[Written], said: Said) -> dict[str, str]:
    """Return by arm of several runs why these are not taken for its seeds.

    An untuned arm has no method to speak of.
    """
    why = {
        name: _unproven([each.source for each in written if each.name == name])
        for name in _several(written)
        if name not in said.untuned and not said.seeds_are_runs
    }
    return {name: reason for name, reason in why.items() if reason}


def refuse_copies(written: Sequence[Written]) -> None:
    """Raise DataError where two files of one arm hold the very same texts."""
    for first, second in _pairs(written):
        proven = not _unproven([first.source, second.source])
        if not proven and _same(first, second) == 1.0:
            raise DataError(
                f"{first.name}: {second.source.path} holds the very texts of {first.source.path}: "
                "a copy, no other run",
                "give each run of an arm once",
            )


def notes_on(written: Sequence[Written], doubts: Mapping[str, str]) -> list[str]:
    """Say which arms' runs are not taken for seeds, and of which that may be doubted."""
    said = [
        f"The {_several(written)[name]} runs of {name} are averaged as they are, and nothing is "
        f"said of the method that made them: {reason}. If each is a training run of its own, of "
        "another seed, give --seeds-are-runs."
        for name, reason in doubts.items()
    ]
    return said + [
        f"{second.source.path} has the text of {first.source.path} on {100 * share:.0f} % of the "
        f"problems: separate training runs of {first.name} would seldom agree so."
        for first, second in _pairs(written)
        if first.name not in doubts and (share := _same(first, second)) >= _ALIKE
    ]


def _several(written: Sequence[Written]) -> dict[str, int]:
    """Return the number of runs of each arm that has more than one."""
    counts = Counter(each.name for each in written)
    return {name: count for name, count in counts.items() if count > 1}


def _pairs(written: Sequence[Written]) -> list[tuple[Written, Written]]:
    return [pair for pair in combinations(written, 2) if pair[0].name == pair[1].name]


def _same(first: Written, second: Written) -> float:
    """Return the share of the problems that both answer on which their texts are the same."""
    both = first.texts.keys() & second.texts.keys()
    return sum(first.texts[key] == second.texts[key] for key in both) / max(1, len(both))


def _unproven(sources: Sequence[Source]) -> str:
    """Return why runs are not known to be seeds of one arm, or "".

    The replicate is part of what defines a run of paribus that trained.
    """
    if not all(source.identity for source in sources):
        return "they may be one model asked again"
    first = sources[0].identity
    keys = {key for source in sources for key in differing(first, source.identity)}
    if keys - {"replicate"}:
        return f"their settings differ ({', '.join(sorted(keys - {'replicate'}))})"
    seeds = [source.identity.get("replicate") for source in sources]
    return "" if len(set(seeds)) == len(seeds) else "they are of the same seed"
