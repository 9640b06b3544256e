"""A final answer in GSM8K's format: the last line of a solution, `#### N`."""

from dataclasses import replace
from typing import Any

from paribus import numerals
from paribus.errors import DataError
from paribus.records import Problem

_MARK = "#### "


def problem(question: Any, solution: Any, where: str) -> Problem:
    """Return a Problem, its answer taken from the solution's last line.

    Raises DataError, naming `where`, unless the last line is `#### N`.
    """
    if not isinstance(question, str) or not isinstance(solution, str) or not question.strip():
        raise DataError(
            f"{where}: needs text in both 'question' and 'answer'", "fix or remove the line"
        )
    return Problem(
        question=question,
        solution=solution.rstrip(),
        answer=gold(solution, where),
        where=where,
    )


def gold(solution: str, where: str) -> str:
    """Return the number in the last line of `solution`, canonical. Raises DataError if none is."""
    last = solution.rstrip().rpartition("\n")[2]
    answer = numerals.canonical(last.removeprefix(_MARK)) if last.startswith(_MARK) else None
    if answer is None:
        remedy = "fix or remove the line: without a gold answer nothing can be scored"
        if "####" in last:
            remedy = "write '####', one blank and the number alone, on a new line at the end"
        raise DataError(
            f"{where}: the solution does not end in '#### N' on its own line but in {last[-40:]!r}",
            remedy,
        )
    return answer


def with_number(problem: Problem, *, strict: bool) -> Problem:
    """Return `problem` with the number that its solution gives as its answer.

    A solution that is the number alone is its own answer, unless `strict`. Raises DataError.
    """
    solution = problem.solution
    if strict or "####" in solution:
        stated = gold(solution, problem.where)
        return replace(problem, solution=solution.rstrip(), answer=stated)
    number = numerals.canonical(solution)
    if number is None:
        raise DataError(
            f"{problem.where}: doc_to_target is {solution[:60]!a}, neither '... #### N' nor a "
            "number, and the metric is number",
            "correct the row, or use another metric in metric_list",
        )
    return replace(problem, answer=number)
