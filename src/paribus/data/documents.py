"""The problem in each row of a task.

source = source_of(task, data, "train")           # `data/sources`
problems_in(source, task, group_by=None)          # ([Problem(…), …], the layout of the rows)
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from paribus.config.task import FUNCTION, Task
from paribus.data.layouts import Layout, layout_of, splits_of, turns_of
from paribus.data.rows import Row
from paribus.data.sources import Source, Stated
from paribus.data.task_code import with_functions
from paribus.data.templates import holds, list_of, names_column, render, value_of
from paribus.errors import DataError
from paribus.records import Problem, Turn, problem_id


def problems_in(
    source: Source, task: Task, group_by: str | None = None
) -> tuple[list[Problem], Layout | None]:
    """Return the problems in `source`, in its order, and the layout by which they were read.

    Raises DataError naming the row.
    """
    rows = with_functions(task, source.rows(), made=isinstance(source, Stated))
    if task.where is not None:
        rows = [(where, row) for where, row in rows if holds(task.where, row, where)]
    if not rows:
        kept = f": there is no row for which where: {task.where} holds" if task.where else ""
        raise DataError(f"{source.named} is empty{kept}", "give a file with at least one problem")
    return problems_of(rows, task, group_by)


def problems_of(
    rows: Sequence[Row], task: Task, group_by: str | None = None
) -> tuple[list[Problem], Layout | None]:
    """Return the problems in `rows`, at least one, and the layout by which they were read.

    Raises DataError naming the row.
    """
    layout = _layout(task, rows[0])
    problems = [
        problem
        for where, row in rows
        for problem in _problems(task, layout, row, where, group_by or task.group_by)
    ]
    return problems, layout


def _layout(task: Task, first: Row) -> Layout | None:
    """Return the layout of the rows; None where the task says itself how they become text."""
    where, row = first
    if task.doc_to_text is not None and task.doc_to_target is not None:
        return None
    if task.doc_to_text is None and task.doc_to_target is None:
        return layout_of(row, where)
    given, lacking = ("doc_to_text", "doc_to_target")[:: 1 if task.doc_to_text else -1]
    raise DataError(f"the task {task.task} states {given} and not {lacking}", f"state {lacking}")


def _problems(
    task: Task, layout: Layout | None, row: dict[str, Any], where: str, group_by: str | None
) -> Iterator[Problem]:
    group = "" if group_by is None else _group(row, group_by, where)
    if layout is not None and layout.conversation:
        turns, every = turns_of(layout, row, where), task.turns == "every"
        if every and not group:  # turns of one conversation are not independent of each other
            group = problem_id(_transcript(turns))
        for before, target in splits_of(turns, every, where):
            yield _of_conversation(before, target, where, group)
        return
    yield _of_row(task, layout, row, where, group)


def _of_conversation(before: tuple[Turn, ...], target: str, where: str, group: str) -> Problem:
    transcript = _transcript(before)
    return Problem(
        question=before[-1].content,
        key=f"{transcript}\n\n{target}",
        prompt=f"{transcript}\n\nAssistant:",
        solution=target,
        answer=target,
        turns=before,
        group=group,
        where=where,
    )


def _transcript(turns: Sequence[Turn]) -> str:
    return "\n\n".join(f"{turn.role.capitalize()}: {turn.content}" for turn in turns)


def _of_row(
    task: Task, layout: Layout | None, row: dict[str, Any], where: str, group: str
) -> Problem:
    text = layout.text if layout else task.doc_to_text or ""
    question = task.question or (layout.question if layout else text)
    prompt = _text(value_of(text, row, where), "doc_to_text", where)
    choices = _choices(task.doc_to_choice, row, where)
    _check_one_prompt(task, prompt, choices, where)
    golds = _golds(_target(task, layout, choices, row, where), choices, where)
    asked = prompt if question == text else _text(value_of(question, row, where), "question", where)
    return Problem(
        question=asked,
        prompt=_with_prefix(task, prompt, row, where),
        key="" if task.id is None else _text(value_of(task.id, row, where), "id", where),
        solution=golds[0],
        answer=golds[0],
        answers=tuple(golds[1:]),
        choices=tuple(choices),
        group=group,
        where=where,
        document=_own_columns(row) if task.reads_rows else None,
    )


def _own_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a row as JSON has them, without the values of a task's functions."""
    own = {key: value for key, value in row.items() if not key.startswith(FUNCTION)}
    return dict(json.loads(json.dumps(own, default=str)))


def _check_one_prompt(task: Task, prompt: str, choices: list[str], where: str) -> None:
    """Raise DataError if `doc_to_text` is the place of a choice, as of lm-eval's winogrande."""
    places = map(str, range(len(choices)))
    if task.chooses and prompt in places:
        raise DataError(
            f"{where}: doc_to_text gives {prompt!r}, which to lm-eval is the place of a choice: "
            "each choice is then a prompt of its own, which is not supported",
            "if it is the prompt, put words around it: doc_to_text: 'Number: {{…}}'",
        )


def _with_prefix(task: Task, prompt: str, row: dict[str, Any], where: str) -> str:
    """Return a raw prompt with how its answer begins, `gen_prefix`, joined as in lm-eval."""
    if task.gen_prefix is None:
        return prompt
    stated = task.gen_prefix
    prefix = _text(
        row[stated] if stated in row else render(stated, row, where), "gen_prefix", where
    )
    if prefix[-1].isspace():
        raise DataError(
            f"{where}: gen_prefix gives {prefix[-40:]!r}, which ends in white space; a blank is "
            "written between it and the answer",
            "leave out the white space at its end",
        )
    blank = "" if prompt[-1].isspace() or prefix[0].isspace() else " "
    return f"{prompt}{blank}{prefix}"


def _text(value: Any, key: str, where: str) -> str:
    is_text = (
        isinstance(value, str | int | float) and not isinstance(value, bool) and value == value
    )
    if not is_text or not str(value).strip():
        raise DataError(
            f"{where}: {key} gives {value!r:.60}, which is {'blank' if is_text else 'not text'}",
            f"fix or remove the line, correct {key} in the task file, or leave out such rows by "
            "`where: CONDITION`",
        )
    return str(value)


def _choices(stated: Any, row: dict[str, Any], where: str) -> list[str]:
    if stated is None:
        return []
    choices = list(stated.values()) if isinstance(stated, dict) else stated
    if isinstance(choices, str):
        choices = list_of(choices, row, where)
    if not isinstance(choices, list) or len(choices) < 2:
        raise DataError(
            f"{where}: doc_to_choice gives {choices!r:.60}, not a list of at least two choices",
            "correct doc_to_choice, or the row",
        )
    return [_text(choice, "doc_to_choice", where) for choice in choices]


def _target(
    task: Task, layout: Layout | None, choices: list[str], row: dict[str, Any], where: str
) -> Any:
    """Return what `doc_to_target` gives, a number where it is the place of a choice.

    As in lm-eval a text that is a number is a place where a template renders it, and a choice where
    it stands in a column.
    """
    stated = layout.target if layout else task.doc_to_target
    if not isinstance(stated, str):
        return stated
    value = list_of(stated, row, where)
    if layout is not None and isinstance(value, bool):
        return str(value)
    if choices and isinstance(value, str) and value.isdecimal():
        return value if names_column(stated, row) and value in choices else int(value)
    if isinstance(task.doc_to_choice, list) and type(value) is int:
        _check_place(value, choices, where)
    return value


def _check_place(value: int, choices: list[str], where: str) -> None:
    """Raise DataError if a number may be the place of a choice, or another choice itself."""
    if str(value) in choices and choices[value : value + 1] != [str(value)]:
        raise DataError(
            f"{where}: doc_to_target is the number {value}, which may be the choice {value}, or a "
            f"place among the choices {', '.join(choices)!r:.120}",
            'say which: doc_to_target: "{{ [1, 2, 3].index(label) }}" gives the place of a label',
        )


def _golds(value: Any, choices: list[str], where: str) -> list[str]:
    """Return the gold texts, at least one. A number is the place of the right one of `choices`."""
    if choices:
        place = value
        if isinstance(place, int) and not isinstance(place, bool):
            if not 0 <= place < len(choices):
                raise DataError(
                    f"{where}: doc_to_target is {place}; there are {len(choices)} choices, from 0",
                    "correct doc_to_target, or the row",
                )
            return [choices[place]]
        if value not in choices:
            raise DataError(
                f"{where}: doc_to_target is {value!r:.60}, which is none of the choices "
                f"{', '.join(choices)!r:.120}",
                "correct doc_to_target or doc_to_choice, or the row",
            )
    values = value if isinstance(value, list) else [value]
    if not values:
        raise DataError(f"{where}: doc_to_target gives an empty list", "fix or remove the row")
    return [_text(target, "doc_to_target", where) for target in values]


def _group(row: Mapping[str, Any], key: str, place: str) -> str:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DataError(
            f"{place}: has no text or whole number under {key!r}, which data.group_by names",
            f"give every line one, or name another key; this line's: {', '.join(row)[:200]}",
        )
    return str(value)
