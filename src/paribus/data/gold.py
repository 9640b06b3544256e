"""Whether rows agree on what is right: what is asked has one gold answer.

refuse_two_golds(problems, normalized_question)
# DataError: 1 question has two gold answers: train.jsonl:3 says '7' and test.jsonl:9 says '8' …
"""

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from unicodedata import normalize

from paribus.errors import DataError
from paribus.records import Problem, problem_id

SHOWN = 3
"""Rows or questions that an error quotes; the others are counted."""
FIX = "fix or remove the others"
"""What to do where rows have two golds for one question."""

_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe0f\ufeff]"
)
"""Characters that take no room: zero-width ones, soft hyphens, marks of direction."""


def refuse_two_golds(
    problems: Iterable[Problem], asked: Callable[[Problem], Hashable], which: str = FIX
) -> None:
    """Raise DataError, naming rows, if problems for which `asked` is the same have other gold.

    `which` ends the remedy, and says how to choose.
    """
    first: dict[Hashable, Problem] = {}
    torn: dict[Hashable, Problem] = {}
    for problem in problems:
        key = asked(problem)
        if _golds(first.setdefault(key, problem)) != _golds(problem):
            torn.setdefault(key, problem)
    if torn:
        parts = [
            f"{first[key].where or 'one row'} says {_said(first[key])} and "
            f"{other.where or 'another'} says {_said(other)} to {other.question.strip()[:60]!a}"
            for key, other in torn.items()
        ]
        have = "question has" if len(parts) == 1 else "questions have"
        raise DataError(
            f"{len(parts):,} {have} two gold answers: {first_few(parts)}",
            f"say which one holds: {which}",
        )


def other_golds(problems: Iterable[Problem]) -> int:
    """Return how many problems come again with other gold than the first of their id."""
    first: dict[str, Problem] = {}
    return sum(_golds(first.setdefault(p.id, p)) != _golds(p) for p in problems)


def _golds(problem: Problem) -> set[str]:
    return {problem.answer, *problem.answers}


def _said(problem: Problem) -> str:
    return " or ".join(f"{gold[:40]!a}" for gold in (problem.answer, *problem.answers))


def text_asked(problem: Problem) -> Hashable:
    """Return what a model is asked, white space aside, whatever identifies the problem."""
    return problem_id(problem.prompt or problem.question), problem.choices


def normalized_question(problem: Problem) -> str:
    """Return what is asked, without what does not change it: white space, case, unseen marks."""
    question = problem.question
    seen = question if question.isascii() else normalize("NFC", _UNSEEN.sub("", question))
    return " ".join(seen.casefold().split())


def first_few(parts: Sequence[str]) -> str:
    """Return the first few of `parts`, and how many more there are."""
    more = f"; and {len(parts) - SHOWN:,} more" if len(parts) > SHOWN else ""
    return "; ".join(parts[:SHOWN]) + more
