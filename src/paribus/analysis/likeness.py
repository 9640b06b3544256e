"""How alike runs from files are: in their texts, and in the answers that these give.

    pair = Pair(first, second)
    pair.texts                  # 0.83: share of the problems with the very same text
    pair.answers, pair.tells    # 1.0, 80: the same number on all 80 problems not solved by both

One model's texts with a word changed are no other run, and texts alone do not show that. Where both
are right they agree in any case; where they are wrong, separate training runs seldom agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

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

    @cached_property
    def wrong(self) -> int:
        """Problems to which both give the same wrong number."""
        return self._agreeing[0]

    @cached_property
    def answers(self) -> float:
        """Share of the problems not solved by both with the same outcome and number; or 0."""
        agreed, unsolved = self._agreeing[1:]
        return agreed / max(1, unsolved)

    @property
    def one_model(self) -> bool:
        """Whether all outcomes and answers are the same, wrong ones too."""
        return self.wrong >= TELLING and self.answers == 1.0

    @property
    def doubt(self) -> str:
        """What speaks against separate training runs, or ""."""
        one, other = self.first.source.path, self.second.source.path
        if self.wrong >= TELLING and self.answers >= _OFTEN:
            share = "every problem" if self.answers == 1.0 else f"{100 * self.answers:.0f} %"
            among = "" if self.answers == 1.0 else " of the problems that not both solve"
            return (
                f"{other} gives the answer of {one} on {share}{among}, {self.wrong} wrong ones "
                "among them"
            )
        if self.texts >= _ALIKE:
            return f"{other} has the text of {one} on {100 * self.texts:.0f} % of the problems"
        return ""

    @cached_property
    def _agreeing(self) -> tuple[int, int, int]:
        """The same wrong number; the same outcome and number, of those not solved by both."""
        runs = self.first.run, self.second.run
        outcomes = list(zip(*(run.judged for run in runs), strict=True))
        right = (Outcome.CORRECT, Outcome.CORRECT)
        unsolved = [place for place, pair in enumerate(outcomes) if pair != right]
        alike = [place for place in unsolved if len(set(outcomes[place])) == 1]
        if len(alike) < _OFTEN * len(unsolved):  # their answers need not be looked for
            return 0, len(alike), len(unsolved)
        given = [{answer_of(run.generations[place], run.style) for run in runs} for place in alike]
        same = [each for each in given if len(each) == 1]
        return sum(each != {None} for each in same), len(same), len(unsolved)
