"""Whether several files of one arm are seeds of its method: separate training runs of it.

    doubts_of(written, Said())       # {"a": "they may be one model asked again"}
    refuse_copies(written)           # DataError: s1.jsonl holds the very texts of s0.jsonl

A method is spoken of only over separate training runs. Files do not say what they are: one model
sampled three times looks like three seeds, and varies less. So somebody must say it, but for runs
of paribus: those of one arm's settings and different replicates are seeds. All others are averaged
as the models that exist. Two files with the same text for every problem are one run; those with the
same answer to every problem, wrong ones too, are not taken for two seeds.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from paribus.analysis.likeness import Pair, Written
from paribus.analysis.sources import Source
from paribus.config.spec import differing
from paribus.errors import DataError

_ONE_MODEL = "files of it give the same answer to every problem, wrong ones too, as one model does"


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


def doubts_of(written: Sequence[Written], said: Said, alike: Sequence[Pair]) -> dict[str, str]:
    """Return by arm of several runs why these are not taken for its seeds.

    `alike` are pairs of runs. An untuned arm has no method to speak of.
    """
    arms = [name for name in _several(written) if name not in said.untuned]
    why = {name: _unproven([each.source for each in written if each.name == name]) for name in arms}
    if said.seeds_are_runs:
        why = {
            pair.first.name: _ONE_MODEL
            for pair in alike
            if pair.one_model and why.get(pair.first.name) and _of_one_arm(pair)
        }
    return {name: reason for name, reason in why.items() if reason}


def check_flags(written: Sequence[Written], said: Said, doubts: Mapping[str, str]) -> None:
    """Raise DataError where what is `said` of seeds would change nothing, or drop runs.

    `doubts` are the arms whose runs are not taken for seeds.
    """
    several = _several(written)
    if said.seeds_are_runs and not several:
        raise DataError(
            "--seeds-are-runs: every arm has one file",
            "give the files of an arm's seeds one name, a=s0.jsonl a=s1.jsonl, or leave it out",
        )
    if not said.paired_seeds:
        return
    seeds = {
        name: sorted(each.source.run.seed for each in written if each.name == name)
        for name in several
        if name not in doubts and name not in said.untuned
    }
    if len(seeds) < 2:
        unsaid = [name for name in doubts if name not in seeds]
        why = (
            f"the runs of {', '.join(unsaid)} are not known to be seeds"
            if unsaid
            else ("fewer than two arms have several seeds")
        )
        remedy = "give --seeds-are-runs if they are training runs, or leave --paired-seeds out"
        raise DataError(f"--paired-seeds: {why}", remedy)
    if len({tuple(each) for each in seeds.values()}) > 1:
        listed = "; ".join(f"{name} {', '.join(map(str, each))}" for name, each in seeds.items())
        raise DataError(
            f"--paired-seeds: the arms have different seeds: {listed}",
            "give as many files of each arm, in the order of their seeds, or leave it out",
        )


def refuse_copies(written: Sequence[Written]) -> None:
    """Raise DataError where two files of one arm hold the very same texts."""
    for pair in pairs_of(written):
        one, other = pair.first.source, pair.second.source
        if _of_one_arm(pair) and _unproven([one, other]) and pair.texts == 1.0:
            raise DataError(
                f"{pair.first.name}: {other.path} holds the very texts of {one.path}: "
                "a copy, no other run",
                "give each run of an arm once",
            )


def pairs_of(written: Sequence[Written]) -> list[Pair]:
    """Return every two of the runs."""
    return [Pair(*two) for two in combinations(written, 2)]


def likenesses(
    alike: Sequence[Pair], untuned: Sequence[str]
) -> Iterator[tuple[frozenset[str], str]]:
    """Yield arms whose runs are alike as those of two models would not be, and in what.

    One arm: its runs are hardly seeds of it. Two: one may be the other's copy.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    for pair in alike:
        a, b = pair.first.name, pair.second.name
        if a != b and pair.copied:
            found.setdefault((a, b), []).append(pair.copied)
        elif a == b and a not in untuned and pair.doubt:
            seldom = f"separate training runs of {a} would seldom agree so"
            found.setdefault((a,), []).append(f"{pair.doubt}: {seldom}")
    for arms, said in found.items():
        their = "its" if len(arms) == 1 else "their"
        more = f" ({len(said) - 1} more of {their} pairs are alike too)" if len(said) > 1 else ""
        yield frozenset(arms), f"{said[0]}{more}"


def notes_on(
    written: Sequence[Written],
    doubts: Mapping[str, str],
    said: Said,
    likely: Sequence[tuple[frozenset[str], str]],
) -> list[str]:
    """Say which arms' runs are not taken for seeds, and of which that may be doubted."""
    remedy = "If each is a training run of its own, of another seed, give --seeds-are-runs"
    if said.seeds_are_runs:
        remedy = "Give the file of each training run once"
    notes = [
        f"The {_several(written)[name]} runs of {name} are averaged as they are, and nothing is "
        f"said of the method that made them: {reason}. {remedy}."
        for name, reason in doubts.items()
    ]
    return notes + [f"{sentence}." for _, sentence in likely]


def _several(written: Sequence[Written]) -> dict[str, int]:
    """Return the number of runs of each arm that has more than one."""
    counts = Counter(each.name for each in written)
    return {name: count for name, count in counts.items() if count > 1}


def _of_one_arm(pair: Pair) -> bool:
    return pair.first.name == pair.second.name


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
