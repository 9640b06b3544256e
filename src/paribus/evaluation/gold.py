"""What gold must be: one answer to each question, and solutions that the scorer calls correct.

    check_gold(problems)    # DataError: 1 question has two gold answers: train.jsonl:3 says 7, …

Else a model that answers perfectly is called wrong, or is taught and asked different answers.
A question is the same whatever its white space, its case and what in it cannot be seen.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from unicodedata import normalize

from paribus.errors import DataError
from paribus.evaluation.score import SCORERS, score
from paribus.records import AnswerStyle, Generation, Outcome, Problem, Stop

SHOWN = 3
"""Rows or questions that an error quotes; the others are counted."""

_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe0f\ufeff]"
)
"""Characters that take no room: zero-width ones, soft hyphens, marks of direction."""

_MARK = "####"


def check_gold(
    problems: Sequence[Problem],
    which: str = "mend or remove the others",
    style: AnswerStyle = "auto",
) -> None:
    """Raise DataError, naming rows, if a question has two golds or a solution is not correct.

    `which` ends the remedy for questions with two golds, and says how to choose. `style` is what
    counts as a final answer.
    """
    _check_one_answer(problems, which)
    _check_correct(problems, style)


def normalized_question(question: str) -> str:
    """Return what is asked, without what does not change it: white space, case, unseen marks."""
    seen = question if question.isascii() else normalize("NFC", _UNSEEN.sub("", question))
    return " ".join(seen.casefold().split())


def _check_one_answer(problems: Iterable[Problem], which: str) -> None:
    first: dict[str, Problem] = {}
    torn: dict[str, Problem] = {}
    for problem in problems:
        question = normalized_question(problem.question)
        if first.setdefault(question, problem).answer != problem.answer:
            torn.setdefault(question, problem)
    if torn:
        said = [
            f"{_at(first[question], 'one row')} says {first[question].answer} and "
            f"{_at(other, 'another')} says {other.answer} to {other.question.strip()[:60]!a}"
            for question, other in torn.items()
        ]
        have = "question has" if len(said) == 1 else "questions have"
        raise DataError(
            f"{len(said)} {have} two gold answers: {first_few(said)}",
            f"say which one holds: {which}",
        )


def _check_correct(problems: Sequence[Problem], style: AnswerStyle) -> None:
    # Files of several models state the same gold.
    distinct = {(each.question, each.solution, each.answer): each for each in reversed(problems)}
    said = [
        f"{_at(each, 'a problem')}: gold is {each.answer}, and {_spelled(outcome)} in "
        f"{each.solution[-60:]!a}"
        for each in reversed(distinct.values())
        if (outcome := _outcome(each, style)) is not Outcome.CORRECT
    ]
    if said:
        what, their = ("solution is", "its") if len(said) == 1 else ("solutions are", "their")
        other = f", or set evaluation.answer=auto in place of {style}" if style != "auto" else ""
        raise DataError(
            f"{len(said)} gold {what} not correct by {their} own scorer, so that no model could "
            f"be: {first_few(said)}",
            "end the solution in '#### N' on a line of its own, N its number alone and no other "
            f"answer behind it; or remove the row{other}",
        )


def _outcome(problem: Problem, style: AnswerStyle) -> Outcome:
    """Return what the first scorer says of a model that writes the gold solution.

    One without an answer of its own may have it stated apart: it is judged with `#### N` behind it.
    """
    solution = problem.solution
    if not solution:  # holds no prompt: judged once for all questions
        return _judged(f"{_MARK} {problem.answer}", replace(problem, question=""), style)
    alone = _judged(solution, problem, style)
    own = solution.rstrip().rpartition("\n")[2].startswith(_MARK)
    if own or alone in (Outcome.CORRECT, Outcome.WRONG):
        return alone
    return _judged(f"{solution}\n{_MARK} {problem.answer}".lstrip(), problem, style)


def _judged(text: str, problem: Problem, style: AnswerStyle) -> Outcome:
    made = Generation(
        problem_id="",
        question=problem.question,
        answer=problem.answer,
        prompt_sha256="",
        text=text,
        num_tokens=0,
        stop=Stop.STOP_TOKEN,
    )
    return score(made, SCORERS[0], style)


def _spelled(outcome: Outcome) -> str:
    return "another number is found" if outcome is Outcome.WRONG else "no number is found"


def _at(problem: Problem, else_: str) -> str:
    return problem.where or else_


def first_few(said: Sequence[str]) -> str:
    """Return the first few of `said`, and how many more there are."""
    more = f"; and {len(said) - SHOWN:,} more" if len(said) > SHOWN else ""
    return "; ".join(said[:SHOWN]) + more
