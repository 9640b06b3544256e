"""What a text goes through before a metric reads it: filters, as lm-evaluation-harness 0.4.13's.

    ((name, filters),) = pipelines_of([{"name": "label", "filter": [{"function": "lowercase"}]}])
    filtered("Refund", filters)                       # "refund"

| filter               | gives                                             | options            |
|----------------------|---------------------------------------------------|--------------------|
| `regex`              | a match of `regex_pattern`, else `fallback`       | `group_select`     |
| `multi_choice_regex` | the same, else the choice that is named, as `(B)` | `ignore_case`, …   |
| `map`                | `mapping_dict[text]`, else `default_value`        |                    |
| `lowercase`          | the text in small letters; also `uppercase`       |                    |
| `remove_whitespace`  | the text without blanks at its ends               |                    |
| `take_first`         | the text: there is one for each problem           |                    |

They give what lm-eval's give, its bugs included, with three exceptions: where lm-eval stops
because `group_select` asks for more matches than there are, this is a text without a match;
`take_first` must come last, as lm-eval applies what is behind it to single characters; and what
`map` gives is text. Further filters are taken from the package lm-eval, where it is installed.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from paribus.errors import ConfigError

INVALID = "[invalid]"
"""What lm-eval's regex filters give for a text without a match."""

GSM8K = r"#### (\-?[0-9\.\,]+)"
"""The pattern of lm-eval's regex filters where a task states none."""


class Part(BaseModel):
    """A filter or a metric; its fields are the options that a task file states."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


PartT = TypeVar("PartT", bound=Part)


def part_of(what: str, kind: type[PartT], options: Mapping[str, Any]) -> PartT:
    """Return the filter or metric called `what` with its options. Raises ConfigError."""
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        raise _fault(what, kind, dict(error.errors()[0])) from error


def _fault(what: str, kind: type[Part], fault: Mapping[str, Any]) -> ConfigError:
    option = ".".join(map(str, fault["loc"])) or "its options"
    known = ", ".join(kind.model_fields) or "none"
    if fault["type"] == "extra_forbidden":
        return ConfigError(
            f"{what}: the option {option!r:.60} is not supported",
            f"leave it out: its options are {known}",
        )
    if fault["type"] == "missing":
        return ConfigError(
            f"{what} lacks the option {option}", f"state it: its options are {known}"
        )
    reason = str(fault["msg"]).removeprefix("Value error, ")
    return ConfigError(
        f"{what}: {option}={fault['input']!r:.60} is not allowed: {reason[:1].lower()}{reason[1:]}",
        "correct it in the task file",
    )


class Filter(Part):
    """One step: text to text."""

    def apply(self, text: str, choices: Sequence[str]) -> str:
        """Return what `text` becomes; `choices` are those of its problem."""
        raise NotImplementedError


class TakeFirst(Filter):
    """The first text of a problem: there is one."""

    def apply(self, text: str, choices: Sequence[str]) -> str:  # noqa: D102
        return text


class Lowercase(Filter):
    """Small letters."""

    def apply(self, text: str, choices: Sequence[str]) -> str:  # noqa: D102
        return text.lower()


class Uppercase(Filter):
    """Capital letters."""

    def apply(self, text: str, choices: Sequence[str]) -> str:  # noqa: D102
        return text.upper()


class RemoveWhitespace(Filter):
    """No blanks at both ends."""

    def apply(self, text: str, choices: Sequence[str]) -> str:  # noqa: D102
        return text.strip()


class Map(Filter):
    """What a table says of the whole text."""

    mapping_dict: dict[str, str | int | float] = {}
    default_value: str | int | float | None = None

    def apply(self, text: str, choices: Sequence[str]) -> str:  # noqa: D102
        value = self.mapping_dict.get(text, self.default_value)
        return INVALID if value is None else str(value)


class Regex(Filter):
    """A match of a pattern, or of its first group that is not empty."""

    regex_pattern: re.Pattern[str] = re.compile(GSM8K)
    group_select: int = 0
    fallback: str = INVALID

    def apply(self, text: str, choices: Sequence[str]) -> str:  # noqa: D102
        match = self.selected(self.regex_pattern, text)
        if isinstance(match, tuple):
            return (next(filter(None, match), None) or self.fallback).strip()
        return self.fallback if match is None else match.strip()

    def selected(self, pattern: re.Pattern[str], text: str) -> str | tuple[str, ...] | None:
        """Return the match that `group_select` counts to, as `findall` gives it; None if none."""
        matches = pattern.findall(text)
        return matches[self.group_select] if self._counted(len(matches)) else None

    def _counted(self, count: int) -> bool:
        return -count <= self.group_select < count


class MultiChoiceRegex(Regex):
    """A match, else a choice's own text, else its letter behind a colon, as `(B)`."""

    ignore_case: bool = False
    ignore_punctuation: bool = False
    regexes_to_ignore: list[re.Pattern[str]] = []

    def apply(self, text: str, choices: Sequence[str]) -> str:  # noqa: D102
        letters = [chr(ord("A") + number) for number in range(len(choices))]
        by_text = {
            self._cleaned(choice.strip()): f"({letter})"
            for choice, letter in zip(choices, letters, strict=True)
        }
        texts = sorted((re.escape(choice) for choice in by_text), key=len, reverse=True)
        colon = re.compile(rf":[\s]*({'|'.join(letters)})")
        return (
            self._match(self.regex_pattern, text, {})
            or self._match(re.compile("|".join(texts)), self._cleaned(text), by_text)
            or self._match(colon, text, {letter: f"({letter})" for letter in letters})
            or self.fallback
        )

    def _match(self, pattern: re.Pattern[str], text: str, names: Mapping[str, str]) -> str:
        match = self.selected(pattern, text)
        if isinstance(match, tuple):
            match = next(filter(None, match), None)
        match = (match or "").strip()
        return names.get(match, match)

    def _cleaned(self, text: str) -> str:
        for pattern in self.regexes_to_ignore:
            text = pattern.sub("", text)
        text = text.lower() if self.ignore_case else text
        return text.translate(_punctuation()) if self.ignore_punctuation else text


@lru_cache(maxsize=1)
def _punctuation() -> dict[int, None]:
    """Return the table that removes what Unicode calls punctuation."""
    characters = range(sys.maxunicode)
    return {c: None for c in characters if unicodedata.category(chr(c)).startswith("P")}


class _OfLmEval(Filter):
    """A filter of the package lm-eval that gives one text for one text."""

    name: str
    inner: Any

    def apply(self, text: str, choices: Sequence[str]) -> str:
        document = {"choices": list(choices)}
        (result,) = self.inner.apply([[text]], [document])
        value = result if isinstance(result, str) else result[0]
        if not isinstance(value, str):
            raise ConfigError(
                f"filter {self.name}: lm-eval's gives {value!r:.60} for {text!r:.60}, not a text",
                "leave it out; give the metric the text itself",
            )
        return value


FILTERS: dict[str, type[Filter]] = {
    "regex": Regex,
    "multi_choice_regex": MultiChoiceRegex,
    "take_first": TakeFirst,
    "lowercase": Lowercase,
    "uppercase": Uppercase,
    "remove_whitespace": RemoveWhitespace,
    "map": Map,
}
"""Filters by lm-eval's names."""

Pipeline = tuple[str, tuple[Filter, ...]]
"""The name of an entry of a `filter_list`, and its steps."""


def pipelines_of(filter_list: Sequence[Mapping[str, Any]]) -> tuple[Pipeline, ...]:
    """Return the pipelines of a task. Raises ConfigError on what is not supported, by its name."""
    return tuple(_pipeline(entry) for entry in filter_list)


def filtered(text: str, filters: Iterable[Filter], choices: Sequence[str] = ()) -> str | None:
    """Return what the filters make of `text`; None where a pattern has no match."""
    for step in filters:
        text = step.apply(text, choices)
    return None if text.lower() == INVALID else text


def _pipeline(entry: Mapping[str, Any]) -> Pipeline:
    if not isinstance(entry, Mapping) or entry.keys() != {"name", "filter"}:
        raise ConfigError(
            f"filter_list: {entry!r:.80} is not an entry",
            "write each as {name: NAME, filter: [{function: FILTER, …}, …]}",
        )
    steps = [_filter(step) for step in entry["filter"]]
    if any(isinstance(step, TakeFirst) for step in steps[:-1]):
        raise ConfigError(
            f"filter_list: {entry['name']} has a filter behind take_first, which lm-eval applies "
            "to single characters",
            "put take_first last, or leave it out: there is one text for each problem",
        )
    return str(entry["name"]), tuple(steps)


def _filter(step: Mapping[str, Any]) -> Filter:
    options = dict(step)
    name = options.pop("function", None)
    if isinstance(name, str) and name in FILTERS:
        return part_of(f"filter {name}", FILTERS[name], options)
    if isinstance(name, str) and find_spec("lm_eval"):
        return _of_lm_eval(name, options)
    raise ConfigError(
        f"filter {name!r:.60} is not supported",
        f"use one of: {', '.join(FILTERS)}; or install lm-eval, if it is one of its own "
        "(pip install 'paribus[lm-eval]')",
    )


def _of_lm_eval(name: str, options: Mapping[str, Any]) -> Filter:
    import lm_eval.filters  # noqa: F401  # fills the registry
    from lm_eval.api.registry import get_filter

    try:
        inner = get_filter(name)(**options)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"filter {name!r:.60}: lm-eval cannot make it: {type(error).__name__}: {error}",
            f"correct it, or use one of: {', '.join(FILTERS)}",
        ) from error
    return _OfLmEval(name=name, inner=inner)
