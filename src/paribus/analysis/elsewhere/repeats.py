"""Whether several files of one arm are seeds of its method: separate training runs of it.

    doubts_of(written, ArmFlags(), pairs_of(written))  # {"a": "they may be one model asked again"}
    refuse_copies(written)           # DataError: s1.jsonl holds exactly the texts of s0.jsonl

    pair = Pair(first, second)
    pair.texts                  # 0.83: share of the problems with the same text
    pair.answers, pair.wrong    # 1.0, 80: the same number on all 80 problems not solved by both

A claim about a method needs separate training runs. Files do not say what they are: one model
sampled three times looks like three seeds, and varies less. So the user must say it, except for
paribus's own runs of one arm's settings and different replicates. All others are averaged as models
that exist. Two files with the same text for every problem are one run: of numbers, whose texts are
long. Of other tasks they may be labels, so that two good models write the same; files are called
alike only if all is the same, mistakes too. Two files with the same
answer to every problem, wrong ones too, are not taken for two seeds: where both are right they
agree in any case; where they are wrong, separate training runs seldom agree.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product

from paribus.analysis.elsewhere.sources import Source
from paribus.analysis.tables import Run
from paribus.config.spec import differing
from paribus.errors import DataError
from paribus.evaluation.scoring import answer_of
from paribus.records import Outcome

TELLING = 5
"""Problems with the same wrong answer from which agreement on all is taken for no chance."""

_OFTEN = 0.95
"""Share of the same answers, where not both are right, that is called doubtful."""

_ALIKE = 0.5
"""Share of equal texts from which two seeds of an arm are called doubtful."""

_COPIED = 0.8
"""The same of two arms, whose texts may be short and right: all that is claimed is their share."""

_SILENT = (Outcome.NO_ANSWER, Outcome.TRUNCATED, Outcome.FAILED)
_TELL_NOTHING = {(Outcome.CORRECT, Outcome.CORRECT), *product(_SILENT, _SILENT)}
"""Outcomes of two runs that any two models may share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What one complete run wrote.

    Attributes:
        source: where it comes from.
        texts: problem id -> text, without blanks around it; or the value that its file states.
        run: its generations for the problems that all runs share, scored.
    """

    source: Source
    texts: Mapping[str, str]
    run: Run

    @property
    def name(self) -> str:
        """Of the arm."""
        return self.source.run.arm


@dataclass(frozen=True)
class Pair:
    """Two runs over the same problems."""

    first: Written
    second: Written

    @cached_property
    def texts(self) -> float:
        """Share of the problems that both answer on which their texts are the same."""
        first, other = self.first.texts, self.second.texts
        both = first.keys() & other.keys()
        return sum(first[key] == other[key] for key in both) / max(1, len(both))

    @property
    def wrong(self) -> int:
        """Problems to which both give the same wrong number."""
        return self._agreeing[0]

    @property
    def answers(self) -> float:
        """Share of the problems not solved by both, and answered by one, that `wrong` is."""
        agreed, unsolved = self._agreeing
        return agreed / max(1, unsolved)

    @property
    def one_model(self) -> bool:
        """Whether all outcomes and answers are the same, wrong ones too."""
        if not self.first.run.scorers.numbers:
            return bool(self._same_mistakes)
        return self.wrong >= TELLING and self.answers == 1.0

    @property
    def copy(self) -> bool:
        """Whether all texts are the same, and long enough to tell."""
        return self.first.run.scorers.numbers and self.texts == 1.0

    @property
    def doubt(self) -> str:
        """What speaks against two separate training runs of one arm, or ""."""
        if not self.first.run.scorers.numbers:
            return self._same_mistakes
        return self._same_answers or self._same_texts(_ALIKE)

    @property
    def copied(self) -> str:
        """What speaks against two models under the names of two arms, or ""."""
        if not self.first.run.scorers.numbers:
            same = self._same_mistakes
            return same and f"{same}: a copy, or a training that changed nothing"
        if same := self._same_texts(_COPIED):
            what = (
                "a copy, or a training that changed nothing"
                if self.texts == 1.0
                else "a copy with changes, a training that changed little, or texts too short to "
                "differ"
            )
            return f"{same}: {what}"
        return self._same_answers and f"{self._same_answers}: two models are seldom wrong alike"

    def _same_texts(self, least: float) -> str:
        if self.texts < least:
            return ""
        first, other = self._labels
        if self.texts == 1.0:
            return f"{other} holds exactly the texts of {first}"
        return f"{other} has the text of {first} on {_whole(self.texts)} % of the problems"

    @property
    def _same_mistakes(self) -> str:
        """Of answers that are no numbers: that all is the same, a few mistakes at least."""
        runs = self.first.run, self.second.run
        perfect = sum(
            set(pair) <= {Outcome.CORRECT}
            for pair in zip(*(run.judged for run in runs), strict=True)
        )
        if self.texts < 1.0 or len(runs[0].judged) - perfect < TELLING:
            return ""
        first, other = self._labels
        return f"{other} holds exactly the answers of {first}, mistakes too"

    @property
    def _same_answers(self) -> str:
        if self.wrong < TELLING or self.answers < _OFTEN:
            return ""
        first, other = self._labels
        all_of = self.answers == 1.0
        share = "every problem that either answers" if all_of else f"{_whole(self.answers)} %"
        among = "" if all_of else " of the problems that either answers and not both solve"
        return (
            f"{other} gives the answer of {first} on {share}{among}, {self.wrong} wrong ones among "
            "them"
        )

    @property
    def _labels(self) -> tuple[str, str]:
        """The two files, with their arms where these are two."""
        written, other = self.first, self.second
        if written.name == other.name:
            return str(written.source.path), str(other.source.path)
        return f"{written.source.path} ({written.name})", f"{other.source.path} ({other.name})"

    @cached_property
    def _agreeing(self) -> tuple[int, int]:
        """How many have the same wrong number, of the problems whose outcomes tell anything."""
        runs = self.first.run, self.second.run
        outcomes = list(zip(*(run.judged for run in runs), strict=True))
        unsolved = [pair for pair in outcomes if pair not in _TELL_NOTHING]
        places = [place for place, pair in enumerate(outcomes) if set(pair) == {Outcome.WRONG}]
        if len(places) < _OFTEN * len(unsolved):  # their answers need not be looked for
            return 0, len(unsolved)
        given = [
            {answer_of(run.generations[place], run.scorers.style) for run in runs}
            for place in places
        ]
        return sum(len(answers) == 1 for answers in given), len(unsolved)


def _whole(share: float) -> int:
    """Percent, never rounded up to all."""
    return int(100 * share + 1e-9)


_ONE_MODEL = "files of it give the same answer to every problem, wrong ones too, as one model does"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmFlags:
    """What the command line states of the arms, as files do not say it.

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


NO_FLAGS = ArmFlags()


def all_untuned(sources: Sequence[Source], listed: Sequence[str]) -> tuple[str, ...]:
    """Return the arms that trained nothing: by their runs, or because they are `listed`.

    Raises DataError if no arm is called so, or its run was trained.
    """
    methods = {source.run.arm: source.identity.get("method") for source in sources}
    for name in listed:
        if name not in methods:
            known = f"name one of the arms: {', '.join(methods)}"
            raise DataError(f"--untuned {name}: no arm has this name", known)
        if methods[name] not in (None, "none"):
            raise DataError(
                f"--untuned {name}: its run was trained (method={methods[name]})",
                "name an arm whose model was tested as it was",
            )
    return tuple(name for name, method in methods.items() if method == "none" or name in listed)


def doubts_of(written: Sequence[Written], flags: ArmFlags, alike: Sequence[Pair]) -> dict[str, str]:
    """Return by arm of several runs why these are not taken for its seeds.

    `alike` are pairs of runs. An untuned arm has no method to speak of.
    """
    arms = [name for name in _several(written) if name not in flags.untuned]
    why = {name: _unproven([run.source for run in written if run.name == name]) for name in arms}
    if flags.seeds_are_runs:
        why = {
            pair.first.name: _ONE_MODEL
            for pair in alike
            if pair.one_model and why.get(pair.first.name) and _of_one_arm(pair)
        }
    return {name: reason for name, reason in why.items() if reason}


def check_flags(written: Sequence[Written], flags: ArmFlags, doubts: Mapping[str, str]) -> None:
    """Raise DataError where a flag about seeds would change nothing, or drop runs.

    `doubts` are the arms whose runs are not taken for seeds.
    """
    several = _several(written)
    if flags.seeds_are_runs and not several:
        raise DataError(
            "--seeds-are-runs: every arm has one file",
            "give the files of an arm's seeds one name, a=s0.jsonl a=s1.jsonl, or leave it out",
        )
    if not flags.paired_seeds:
        return
    seeds = {
        name: sorted(run.source.run.seed for run in written if run.name == name)
        for name in several
        if name not in doubts and name not in flags.untuned
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
    if len({tuple(seed) for seed in seeds.values()}) > 1:
        listed = "; ".join(
            f"{name} {', '.join(map(str, numbers))}" for name, numbers in seeds.items()
        )
        raise DataError(
            f"--paired-seeds: the arms have different seeds: {listed}",
            "give as many files of each arm, in the order of their seeds, or leave it out",
        )


def refuse_copies(written: Sequence[Written]) -> None:
    """Raise DataError where two files of one arm hold the same texts."""
    for pair in pairs_of(written):
        source, other = pair.first.source, pair.second.source
        if _of_one_arm(pair) and _unproven([source, other]) and pair.copy:
            raise DataError(
                f"{pair.first.name}: {other.path} holds exactly the texts of {source.path}: "
                "they are one run, given twice",
                "give the file of each run once",
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
    reasons: dict[tuple[str, ...], list[str]] = {}
    for pair in alike:
        a, b = pair.first.name, pair.second.name
        if a != b and pair.copied:
            reasons.setdefault((a, b), []).append(pair.copied)
        elif a == b and a not in untuned and pair.doubt:
            seldom = f"separate training runs of {a} would seldom agree so"
            reasons.setdefault((a,), []).append(f"{pair.doubt}: {seldom}")
    for arms, parts in reasons.items():
        their = "its" if len(arms) == 1 else "their"
        more = f" ({len(parts) - 1} more of {their} pairs are alike too)" if len(parts) > 1 else ""
        yield frozenset(arms), f"{parts[0]}{more}"


def notes_on(
    written: Sequence[Written],
    doubts: Mapping[str, str],
    flags: ArmFlags,
    likely: Sequence[tuple[frozenset[str], str]],
) -> list[str]:
    """Say which arms' runs are not taken for seeds, and of which that may be doubted."""
    remedy = "If each is a training run of its own, of another seed, give --seeds-are-runs"
    if flags.seeds_are_runs:
        remedy = "Give the file of each training run once"
    notes = [
        f"The {_several(written)[name]} files of {name} are compared as one fixed set of models, "
        f"so the verdict does not speak of the method that made them: {reason}. {remedy}."
        for name, reason in doubts.items()
    ]
    return notes + [f"{sentence}." for _, sentence in likely]


def _several(written: Sequence[Written]) -> dict[str, int]:
    """Return the number of runs of each arm that has more than one."""
    counts = Counter(run.name for run in written)
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
