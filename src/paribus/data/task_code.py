"""Functions that a task file names by `!function`, run in a process of their own.

    rows = with_functions(task, rows)     # what process_docs makes of them, and each row with a
                                          # column "!function utils.py:doc_to_text"

`process_docs` is given a `datasets.Dataset` and returns rows; `doc_to_text`, `doc_to_target` and
`doc_to_choice` are given a row each. Rows go there and back as JSON. What the functions print goes
nowhere.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from paribus.config.task import Function, Task
from paribus.data.rows import Row
from paribus.errors import DataError
from paribus.functions import described, load_function, own_streams

SECONDS = 600.0
"""Limit for one function and all rows of a split."""


def with_functions(task: Task, rows: Sequence[Row], *, made: bool) -> list[Row]:
    """Return the rows that the task's functions make, and under each function's name its values.

    A row that `process_docs` makes is named by its number; rows that are `made` are as it makes
    them. Raises DataError on any fault.
    """
    if task.process_docs is not None and not made:
        processed = _asked(task.function(task.process_docs), rows, whole=True)
        named = f"{task.task}, process_docs, row"
        rows = [(f"{named} {number}", row) for number, row in enumerate(processed, 1)]
    stated = (task.doc_to_text, task.doc_to_target, task.doc_to_choice)
    for name in dict.fromkeys(value for value in stated if isinstance(value, str)):
        if (function := task.function(name)) is not None:
            values = _asked(function, rows, whole=False)
            pairs = zip(rows, values, strict=True)
            rows = [(where, {**row, name: value}) for (where, row), value in pairs]
    return list(rows)


def _asked(function: Function | None, rows: Sequence[Row], *, whole: bool) -> list[Any]:
    """Return what a function gives for the rows as a whole, or for each. Raises DataError."""
    assert function
    request = json.dumps([row for _, row in rows], default=str)
    what = f"{function.file}: {function.name}"
    remedy = "correct the function, or write the task without it"
    try:
        ended = subprocess.run(
            # -P: modules beside paribus's own must not stand in for the user's.
            [
                *(sys.executable, "-P", "-m", "paribus.data.task_code"),
                *(str(function.file), function.name, "whole" if whole else "each"),
            ],
            input=request.encode(),
            capture_output=True,
            timeout=SECONDS,
            cwd=function.file.parent,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(
            f"{what} gave nothing for {len(rows):,} rows within {SECONDS:g} s", remedy
        ) from error
    try:
        answer = json.loads(ended.stdout)
    except ValueError as error:
        last = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise DataError(
            f"{what} ended its process (exit status {ended.returncode}): {last[:200]}", remedy
        ) from error
    if "fault" in answer:
        row = answer["row"]
        place = "" if row is None or row >= len(rows) else f"{rows[row][0]}: "
        raise DataError(f"{place}{what} {answer['fault']}", remedy)
    values: list[Any] = answer["values"]
    return values


def _serve(file: str, function: str, *, whole: bool) -> None:
    """Answer a JSON list of rows on stdin by `{"values": […]}` or `{"fault": text, "row": n}`."""
    requests, answers = own_streams()
    rows = json.load(requests)
    values: list[Any] = []
    try:
        called = load_function(Path(file), function)
        if whole:
            values = _processed(called, rows)
        for row in [] if whole else rows:
            values.append(_plain(called(row)))
        answer = json.dumps({"values": values}, default=str)
    except BaseException as error:  # noqa: BLE001  # of someone else's code
        row = None if whole else len(values)
        answer = json.dumps({"fault": f"raised {described(error)}", "row": row})
    answers.write(answer)
    answers.flush()


def _processed(process_docs: Callable[..., Any], rows: list[dict[str, Any]]) -> list[Any]:
    from datasets import Dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    return [dict(row) for row in process_docs(Dataset.from_list(rows))]


def _plain(value: Any) -> Any:
    """Return a number of NumPy's as one of Python's."""
    return value.item() if hasattr(value, "item") else value


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], whole=sys.argv[3] == "whole")
