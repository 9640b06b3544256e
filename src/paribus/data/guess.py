"""A task for rows that nobody has described: what is asked, what is answered, what is right.

    guess = guess_task("intent", train, test)     # two `Files`, the second may be None
    guess.keys["doc_to_text"]                     # "Text: {{ text }}\\nLabel:"
    guess.answers                                 # "one of 6 labels"

A layout that is recognised says how rows become text. Else the columns do, by their names and by
what stands in them. How answers are scored follows from the answers.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from string import ascii_uppercase
from typing import Any

from paribus.config.task import LIKELIHOOD, Task, stored_task
from paribus.data.documents import problems_in
from paribus.data.gsm8k import with_number
from paribus.data.layouts import Layout, layout_of
from paribus.data.rows import Row
from paribus.data.sources import Files
from paribus.errors import DataError
from paribus.records import Problem

TARGETS = ("label", "answer", "target", "output", "completion", "response", "intent", "category",
           "class", "gold", "solution", "summary", "query", "sql", "reply")  # fmt: skip
"""Columns that are likely to hold what is to be written, the likeliest first."""
TEXTS = ("text", "question", "prompt", "input", "instruction", "message", "sentence", "content",
         "request", "document", "body", "review", "title", "ask", "q")  # fmt: skip
"""Columns that are likely to hold what is asked, the likeliest first."""
CONTEXTS = ("context", "passage", "schema", "table", "article", "background")
"""Columns that belong before what is asked."""

MAX_LABELS = 50
_PER_LABEL = 3
"""Rows of a label, on average: with fewer, answers are texts of their own."""
_SHORT = 200
"""Characters of an answer that is compared as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A task, and what it was guessed from.

    Attributes:
        keys: of the task file, but for where the rows are.
        layout: that was recognised, "" if none was.
        answers: what is to be written, in words.
        train: distinct problems to train on; test: those of the test file.
        used: columns that make prompt and answer; unused: the others.
        sample: a problem.
        longest: bytes of the longest prompt with its answer.
    """

    keys: dict[str, Any]
    layout: str
    answers: str
    train: int
    test: int
    used: tuple[str, ...]
    unused: tuple[str, ...]
    sample: Problem
    longest: int

    @property
    def chat(self) -> bool:
        """Whether rows are conversations."""
        return bool(self.sample.turns)


def guess_task(name: str, train: Files, test: Files | None) -> Guess:
    """Return a task called `name` for the rows of `train` and `test`.

    Raises DataError: there is no row, no column of answers, a row without text, or a test file
    with other columns.
    """
    rows = _rows(train)
    layout = _known_layout(rows)
    if layout is not None:
        needed, used = layout.columns, _columns_of(layout, rows[0][1])
        frame = _frame_of(layout, rows)
    else:
        columns = _columns(rows)
        needed = used = tuple(columns)
        frame = _frame(columns, rows)
    _check_columns(needed, rows)
    if test is not None:
        _check_columns(needed, _rows(test))
    frame |= _gaps(needed, rows)
    task = stored_task({"task": name, **frame})
    problems, _ = problems_in(train, task)
    tests = problems_in(test, task)[0] if test else []
    scoring, answers = _scoring(task, [*problems, *tests])
    longest = max(problems, key=_length)
    return Guess(
        keys=frame | scoring,
        layout=layout.name if layout else "",
        answers=answers,
        train=len({problem.id for problem in problems}),
        test=len({problem.id for problem in tests}),
        used=used,
        unused=tuple(column for column in rows[0][1] if column not in used),
        sample=problems[0],
        longest=_length(longest),
    )


def _rows(files: Files) -> list[Row]:
    rows = files.rows()
    if not rows:
        raise DataError(f"{files.named} is empty", "give a file with at least one row")
    return rows


def _length(problem: Problem) -> int:
    return len((problem.prompt + problem.solution).encode(errors="replace"))


def _known_layout(rows: Sequence[Row]) -> Layout | None:
    """Return the layout of the rows; None if they have none, or one that would leave out much."""
    where, row = rows[0]
    try:
        layout = layout_of(row, where)
    except DataError:
        return None
    if layout.conversation or layout.name in ("prompt/completion", "Alpaca"):
        return layout
    more = any(c.lower() in CONTEXTS for c in row) or _columns_of_choices(list(row), rows)
    return None if more else layout


def _columns_of(layout: Layout, row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns of a layout, and further ones that its templates name."""
    return tuple(c for c in row if c in layout.columns or f"{{{{ {c} }}}}" in layout.text)


def _frame_of(layout: Layout, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the keys that say what a layout does; a conversation's cannot be stated."""
    if layout.conversation:
        return {}
    keys = {"doc_to_text": layout.text, "question": layout.question}
    if not layout.delimiter:  # the target begins with its own blank
        return keys | {"doc_to_target": layout.target, "target_delimiter": ""}
    target = layout.target
    keys["doc_to_target"] = _target(target, [row.get(target) for _, row in rows])
    return keys | ({} if layout.delimiter == " " else {"target_delimiter": layout.delimiter})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """Columns by what they hold; `choices` is one of lists, or several called A, B, C, …"""

    asked: tuple[str, ...]
    choices: tuple[str, ...]
    target: str

    def __iter__(self) -> Iterator[str]:
        return iter((*self.asked, *self.choices, self.target))


def _columns(rows: Sequence[Row]) -> _Columns:
    where, first = rows[0]
    filled = [c for c in first if any(row.get(c) not in (None, "") for _, row in rows)]
    choices = _columns_of_choices(filled, rows)
    others = [c for c in filled if c not in choices]
    target = _named(others, TARGETS) or _least_varied(others, rows)
    texts = [c for c in others if c != target and isinstance(first[c], str)]
    text = _named(texts, TEXTS) or max(texts, key=lambda c: _mean_length(c, rows), default=None)
    if target is None or text is None:
        raise DataError(
            f"{where}: no column to ask and one to answer were found; its columns are "
            f"{', '.join(first)[:200]}",
            "name them text and label, or write the task file yourself: docs/tasks.md",
        )
    contexts = [c for c in texts if c.lower() in CONTEXTS and c != text]
    return _Columns(asked=(*contexts, text), choices=choices, target=target)


def _columns_of_choices(columns: Sequence[str], rows: Sequence[Row]) -> tuple[str, ...]:
    lists = [c for c in columns if all(_is_list_of_texts(row.get(c)) for _, row in rows)]
    letters = tuple(takewhile(columns.__contains__, ascii_uppercase))
    return tuple(lists[:1]) or (letters if len(letters) > 1 else ())


def _is_list_of_texts(value: Any) -> bool:
    texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return texts and len(value) > 1


def _named(columns: Sequence[str], names: Sequence[str]) -> str | None:
    by_name = {column.lower(): column for column in reversed(columns)}
    return next((by_name[name] for name in names if name in by_name), None)


def _least_varied(columns: Sequence[str], rows: Sequence[Row]) -> str | None:
    """Return the column of labels, if one is, else the last column."""
    distinct = {c: len({str(row.get(c)) for _, row in rows}) for c in columns}
    labels = [c for c in columns if 1 < distinct[c] <= min(MAX_LABELS, len(rows) // _PER_LABEL)]
    if labels:
        return min(labels, key=lambda c: distinct[c])
    return columns[-1] if len(columns) > 1 else None


def _mean_length(column: str, rows: Sequence[Row]) -> float:
    return sum(len(str(row.get(column, ""))) for _, row in rows) / len(rows)


def _check_columns(needed: Sequence[str], rows: Sequence[Row]) -> None:
    """Raise DataError on a row without the columns that the first training row has."""
    for where, row in rows:
        missing = [column for column in needed if column not in row]
        if missing:
            raise DataError(
                f"{where}: no column {' and '.join(map(repr, missing))}, as the first training row "
                f"has; its columns are {', '.join(row)[:200]}",
                "give all rows the columns of the first one, or other files",
            )


def _frame(columns: _Columns, rows: Sequence[Row]) -> dict[str, Any]:
    """Return templates over `columns`."""
    golds = [row.get(columns.target) for _, row in rows]
    values = {column: _value(column) for column in columns.asked}
    answered, choosing = _title(columns.target), dict[str, Any]()
    target = _target(columns.target, golds)
    if columns.choices:
        first, *more = columns.choices
        of_row = f"[{', '.join(columns.choices)}]" if more else _value(first)
        values["choices" if more else first] = f"{of_row} | join(', ')"
        choosing = {
            "doc_to_choice": f"{{{{ {of_row} }}}}" if more else first,
            "output_type": "multiple_choice",
        }
        answered = "Answer"
        if all(isinstance(gold, str) and gold in (*ascii_uppercase, "") for gold in golds):
            target = f"{{{{ '{ascii_uppercase}'.index({_value(columns.target)}) }}}}"
    lines = [f"{_title(name)}: {{{{ {value} }}}}" for name, value in values.items()]
    return {
        "doc_to_text": "\n".join([*lines, f"{answered}:"]),
        "doc_to_target": target,
        "question": "\n".join(f"{{{{ {value} }}}}" for value in values.values()),
        **choosing,
    }


def _gaps(columns: Iterable[str], rows: Sequence[Row]) -> dict[str, Any]:
    """Return the condition that leaves out rows in which one of `columns` is empty."""
    gaps = [c for c in columns if any(row.get(c) in (None, "") for _, row in rows)]
    there = [f"{_value(column)} not in (none, '')" for column in gaps]
    return {"where": " and ".join(there)} if there else {}


def _title(column: str) -> str:
    return column.replace("_", " ").strip().capitalize()


def _value(column: str) -> str:
    """Return the Jinja expression of a column's value."""
    return column if column.isidentifier() and column != "row" else f"row[{json.dumps(column)}]"


def _target(column: str, values: Sequence[Any]) -> str:
    if any(isinstance(value, dict) for value in values):
        return f"{{{{ {_value(column)} | tojson }}}}"
    if any(isinstance(value, bool) for value in values):
        return f"{{{{ {_value(column)} }}}}"
    if any(isinstance(value, str) and value != value.strip() for value in values):
        return f"{{{{ {_value(column)} | trim }}}}"
    return column


def _scoring(task: Task, problems: Sequence[Problem]) -> tuple[dict[str, Any], str]:
    """Return the keys that say how answers are scored, and what they are, in words."""
    if task.chooses:
        return {
            "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}]
        }, "one of a row's choices"
    answers = [problem.answer for problem in problems]
    if problems[0].turns:
        return {"metric_list": [{"metric": LIKELIHOOD}]}, "replies"
    labels = sorted(set(answers))
    keys = {"generation_kwargs": _ends(problems, task.target_delimiter or "")}
    exact = {"metric": "exact_match", "ignore_case": True}
    if _are_labels(labels, len(answers)):
        named = _by_place(labels)
        if named is None:
            return keys | {"metric_list": [exact]}, f"one of {len(labels)} labels"
        choice = {"doc_to_choice": named, "metric_list": [exact, {"metric": "choice"}]}
        return keys | choice, f"one of {len(labels)} labels: {', '.join(named)}"
    if _all_numbers(problems):
        return keys | {"metric_list": [{"metric": "number"}]}, "numbers"
    if all(map(_is_json, answers)):
        return keys | {"metric_list": [{"metric": "json_match"}]}, "JSON"
    if max(map(len, answers)) > _SHORT:
        return {"metric_list": [{"metric": LIKELIHOOD}]}, "long texts"
    return keys | {"metric_list": [exact, {"metric": "f1"}]}, "short texts"


def _are_labels(labels: Sequence[str], rows: int) -> bool:
    few = 1 < len(labels) <= min(MAX_LABELS, rows // _PER_LABEL)
    return few and all(len(label) <= _SHORT and "\n" not in label for label in labels)


def _by_place(labels: Sequence[str]) -> list[str] | None:
    """Return labels as `doc_to_choice`, where a number means a place; None if it would be wrong."""
    if not any(label.isdecimal() for label in labels):
        return list(labels)
    places = [str(place) for place in range(len(labels))]
    return places if set(labels) == set(places) else None


def _all_numbers(problems: Sequence[Problem]) -> bool:
    try:
        for problem in problems:
            with_number(problem, strict=False)
    except DataError:
        return False
    return True


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _ends(problems: Sequence[Problem], delimiter: str) -> Mapping[str, Any]:
    """Return what ends an answer that is written, with room for the longest one here.

    `delimiter` is written too, before the answer.
    """
    solutions = [delimiter + problem.solution.strip() for problem in problems]
    # A token is rarely shorter than two bytes.
    room = max(len(text.encode(errors="replace")) for text in solutions) // 2 + 8
    ends = next((e for e in ("\n", "\n\n") if not any(e in text for text in solutions)), None)
    return {"until": [] if ends is None else [ends], "max_gen_toks": min(room, 1024)}
