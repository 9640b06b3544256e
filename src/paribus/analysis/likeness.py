"""How alike runs from files are: in their texts, and in the answers that these give.

    pair = Pair(first, second)
    pair.texts                  # 0.83: share of the problems with the very same text
    pair.answers, pair.wrong    # 1.0, 80: the same number on all 80 problems not solved by both

One model's texts with a word changed are no other run, and texts alone do not show that. Where both
are right they agree in any case; where they are wrong, separate training runs seldom agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from paribus.analysis.sources import Source
from paribus.analysis.tables import Run
from paribus.evaluation.score import answer_of
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
        texts: problem id -> text, without blanks around it.
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
        one, other = self.first.texts, self.second.texts
        both = one.keys() & other.keys()
        return sum(one[key] == other[key] for key in both) / max(1, len(both))

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
        return self.wrong >= TELLING and self.answers == 1.0

    @property
    def doubt(self) -> str:
        """What speaks against two separate training runs of one arm, or ""."""
        return self._same_answers or self._same_texts(_ALIKE)

    @property
    def copied(self) -> str:
        """What speaks against two models under the names of two arms, or ""."""
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
        one, other = self._labels
        if self.texts == 1.0:
            return f"{other} holds the very texts of {one}"
        return f"{other} has the text of {one} on {_whole(self.texts)} % of the problems"

    @property
    def _same_answers(self) -> str:
        if self.wrong < TELLING or self.answers < _OFTEN:
            return ""
        one, other = self._labels
        all_of = self.answers == 1.0
        share = "every problem that either answers" if all_of else f"{_whole(self.answers)} %"
        among = "" if all_of else " of the problems that either answers and not both solve"
        return (
            f"{other} gives the answer of {one} on {share}{among}, {self.wrong} wrong ones among "
            "them"
        )

    @property
    def _labels(self) -> tuple[str, str]:
        """The two files, with their arms where these are two."""
        one, other = self.first, self.second
        if one.name == other.name:
            return str(one.source.path), str(other.source.path)
        return f"{one.source.path} ({one.name})", f"{other.source.path} ({other.name})"

    @cached_property
    def _agreeing(self) -> tuple[int, int]:
        """How many have the same wrong number, of the problems whose outcomes tell anything."""
        runs = self.first.run, self.second.run
        outcomes = list(zip(*(run.judged for run in runs), strict=True))
        unsolved = [pair for pair in outcomes if pair not in _TELL_NOTHING]
        places = [place for place, pair in enumerate(outcomes) if set(pair) == {Outcome.WRONG}]
        if len(places) < _OFTEN * len(unsolved):  # their answers need not be looked for
            return 0, len(unsolved)
        given = [{answer_of(run.generations[place], run.style) for run in runs} for place in places]
        return sum(len(each) == 1 for each in given), len(unsolved)


def _whole(share: float) -> int:
    """Percent, never rounded up to all."""
    return int(100 * share + 1e-9)
