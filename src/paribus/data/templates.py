"""Templates of a task file: Jinja over the columns of a row, in a sandbox.

    render("Q: {{ question }}", {"question": "1 + 1?"}, "x.csv:2")     # "Q: 1 + 1?"
    value_of("doc.answers.0", {"doc": {"answers": ["2"]}}, "x.csv:2")  # "2": a column, by its name

As lm-evaluation-harness renders them: a column that a template names and a row lacks is an error,
blanks at its end stay, and there is a filter `regex_replace`. A null is an error too: lm-eval
writes "None".
"""

import ast
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from paribus.errors import DataError

MAX_TEXT = 1_000_000
"""Characters of a rendered text: more is a template that runs away."""

_FAULTS = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError,
           RecursionError, MemoryError, re.error)  # fmt: skip
_PATH = re.compile(r"[^\s{}%#]+")


def _regex_replace(text: str, pattern: str, repl: str, count: int = 0) -> str:
    return re.sub(pattern, repl, text, count=count)


def _not_null(value: Any) -> Any:
    """Return `value`; a null would be written as "None" and learnt, NaN as "nan"."""
    if value is None or value != value:
        raise UndefinedError("a column is null or NaN")
    return value


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, finalize=_not_null
    )
    environment.filters["regex_replace"] = _regex_replace
    return environment


@lru_cache(maxsize=256)
def _compiled(template: str) -> Template:
    return _environment().from_string(template)


def render(template: str, row: Mapping[str, Any], where: str) -> str:
    """Return `template` filled with the columns of `row`, all of which are `row` too.

    Raises DataError, naming `where` the row stands: the template is not Jinja, names a column that
    is not there, or does what the sandbox refuses.
    """
    try:
        # A column whose name is no identifier has no other name in Jinja: {{ row['a b'] }}.
        text = _compiled(template).render({"row": row, **row})
    except _FAULTS as error:
        raise DataError(
            f"{where}: the template {template[:60]!r} fails: {type(error).__name__}: "
            f"{str(error)[:120]}; columns: {_listed(row)}",
            "correct the template in the task file, or the row",
        ) from error
    if len(text) > MAX_TEXT:
        raise DataError(
            f"{where}: the template {template[:60]!r} gives {len(text):,} characters; the most "
            f"are {MAX_TEXT:,}",
            "correct the template",
        )
    return text


def names_column(template: str, row: Mapping[str, Any]) -> bool:
    """Return whether `template` is the name of a column, dotted or not."""
    return template in row or _PATH.fullmatch(template) is not None


def value_of(template: str, row: Mapping[str, Any], where: str) -> Any:
    """Return the value of the column that `template` names; else it is rendered.

    Raises DataError as `render`.
    """
    if template in row:
        return row[template]
    return (_inside if names_column(template, row) else render)(template, row, where)


def list_of(template: str, row: Mapping[str, Any], where: str) -> Any:
    """Return `value_of`; a rendered text that reads as a Python list is one, as in lm-eval."""
    text = value_of(template, row, where)
    if names_column(template, row):
        return text
    if text.startswith("[") and text.endswith("]"):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text
    return text


def holds(condition: str, row: Mapping[str, Any], where: str) -> bool:
    """Return whether the Jinja expression `condition` is true of `row`. Raises DataError."""
    expression = condition.strip().removeprefix("{{").removesuffix("}}")
    return render(f"{{{{ 1 if ({expression}) else 0 }}}}", row, where) == "1"


def _inside(path: str, row: Mapping[str, Any], where: str) -> Any:
    value: Any = row
    for step in path.split("."):
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (LookupError, ValueError, TypeError) as error:
            what = f"there is no column {path!r}"
            within = f": nothing is under {step!r}" if step != path else ""
            raise DataError(
                f"{where}: {what}{within}; its columns are {_listed(row)}",
                "fix or remove the line, or name one of these columns in the task file",
            ) from error
    return value


def _listed(row: Mapping[str, Any]) -> str:
    return ", ".join(map(str, row))[:200] or "none"
