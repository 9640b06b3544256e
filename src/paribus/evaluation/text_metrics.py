"""Metrics that compare a text with gold as texts: equal, by shared words, as JSON."""

import json
import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import model_validator

from paribus.errors import DataError, NotHere
from paribus.evaluation.filters import Part
from paribus.records import Generation

Texts = npt.NDArray[np.str_]


class Scorer(Part):
    """What a metric says of a text."""

    def is_binary(self) -> bool:
        """Return whether it only ever says 0 or 1."""
        return True

    def score(self, text: str, generation: Generation) -> float | None:
        """Return a number in [0, 1], or None if the text holds no answer.

        `text` is what the task's filters make of the generation's.
        """
        raise NotImplementedError


def golds_of(generation: Generation) -> tuple[str, ...]:
    """Return the gold answers, which are equally good."""
    return (generation.answer, *generation.answers)


def is_blank(text: str, golds: Sequence[str]) -> bool:
    """Return whether a text is no answer as it is empty, and no gold answer is."""
    return not text.strip() and all(gold.strip() for gold in golds)


class Comparison(Scorer):
    """A metric that compares the text with one gold answer at a time; the best counts."""

    def score(self, text: str, generation: Generation) -> float | None:  # noqa: D102
        golds = golds_of(generation)
        if is_blank(text, golds):
            return None
        scores = [self.compare(text, gold) for gold in golds]
        return max((score for score in scores if score is not None), default=None)

    def compare(self, text: str, gold: str) -> float | None:
        """Return what the text scores against one gold answer."""
        raise NotImplementedError


class ExactMatch(Scorer):
    """lm-eval's `exact_match`: the whole text, without what the options ignore.

    NumPy does what it does in lm-eval, so that texts compare as they do there to the last
    character: small letters are cut to the length of the text, and NULs at its end are dropped.
    """

    ignore_case: bool = False
    ignore_punctuation: bool = False
    ignore_numbers: bool = False
    regexes_to_ignore: list[re.Pattern[str]] = []

    def score(self, text: str, generation: Generation) -> float | None:  # noqa: D102
        golds = golds_of(generation)
        equal = np.any(self._cleaned([text] * len(golds)) == self._cleaned(golds))
        return None if is_blank(text, golds) and not equal else float(equal)

    def _cleaned(self, texts: Sequence[str]) -> Texts:
        cleaned = np.asarray(texts)
        for pattern in self.regexes_to_ignore:
            cleaned = np.array([pattern.sub("", text) for text in cleaned])
        if self.ignore_case:
            cleaned = np.char.lower(cleaned)
        ignored = string.punctuation * self.ignore_punctuation + string.digits * self.ignore_numbers
        table = str.maketrans("", "", ignored)
        return np.array([text.translate(table) for text in cleaned]) if ignored else cleaned


class RegexMatch(Comparison):
    """What a group of `pattern` matches, without blanks at its ends, equals gold.

    `group_select` says which match counts, as in lm-eval's filter: 0 the first, -1 the last.
    """

    pattern: re.Pattern[str]
    group: int | str = 1
    group_select: int = 0

    @model_validator(mode="after")
    def _group_exists(self) -> "RegexMatch":
        groups = (*range(self.pattern.groups + 1), *self.pattern.groupindex)
        if self.group not in groups:
            raise ValueError(f"the pattern has no group {self.group!r}; it has {groups}")
        return self

    def compare(self, text: str, gold: str) -> float | None:  # noqa: D102
        matches = list(self.pattern.finditer(text))
        if not -len(matches) <= self.group_select < len(matches):
            return None
        match = matches[self.group_select][self.group]
        return None if match is None else float(match.strip() == gold.strip())


class F1(Comparison):
    """F1 of the words that text and gold share, as SQuAD's: no case, punctuation or articles."""

    def is_binary(self) -> bool:  # noqa: D102
        return False

    def compare(self, text: str, gold: str) -> float:  # noqa: D102
        words, golds = _words(text), _words(gold)
        if not words or not golds:
            return float(words == golds)
        shared = (Counter(words) & Counter(golds)).total()
        if not shared:
            return 0.0
        precision, recall = shared / len(words), shared / len(golds)
        return 2 * precision * recall / (precision + recall)


_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


class RougeL(Comparison):
    """F of the longest common subsequence of words, by the package rouge-score."""

    use_stemmer: bool = False

    def model_post_init(self, context: Any) -> None:
        """Raise NotHere if the package is not installed."""
        if not find_spec("rouge_score"):
            raise NotHere(
                "the metric rougeL needs the package rouge-score, which is not installed",
                "install it (pip install 'paribus[rouge]'), or use f1",
            )

    def is_binary(self) -> bool:  # noqa: D102
        return False

    def compare(self, text: str, gold: str) -> float:  # noqa: D102
        return float(_rouge(self.use_stemmer).score(gold, text)["rougeL"].fmeasure)


@lru_cache(maxsize=2)
def _rouge(use_stemmer: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=use_stemmer)


class JsonMatch(Comparison):
    """Share of the values of text and gold, as JSON, that agree; with `all`, whether all do.

    A value is compared with the one under the same keys and places; one that only either has does
    not agree. Of a text, the first object or list that is JSON counts, of gold's kind if there is
    one.
    """

    all: bool = False

    def is_binary(self) -> bool:  # noqa: D102
        return self.all

    def compare(self, text: str, gold: str) -> float | None:  # noqa: D102
        wanted = _read(gold)
        if wanted is None:
            raise DataError(
                f"metric json_match: gold is not JSON: {gold[:80]!r}", "correct the row's answer"
            )
        values = _values(text)
        alike = [value for value in values if type(value) is type(wanted[0])]
        if not values:
            return None
        leaves, golds = dict(_leaves((alike or values)[0])), dict(_leaves(wanted[0]))
        places = leaves.keys() | golds.keys()
        agree = sum(
            place in leaves and place in golds and leaves[place] == golds[place] for place in places
        )
        return float(agree == len(places)) if self.all else agree / len(places)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _read(text: str) -> tuple[Any] | None:
    """Return the value that the whole text is, in a tuple; None if it is not JSON."""
    try:
        return (_DECODER.decode(text),)
    except (ValueError, RecursionError):
        return None


def _values(text: str) -> list[Any]:
    """Return what the text is, or the objects and lists that stand in it."""
    whole = _read(text)
    if whole:
        return [*whole]
    values, end = [], 0
    for start in re.finditer(r"[\[{]", text):
        if start.start() < end:
            continue
        try:
            value, end = _DECODER.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            continue
        values.append(value)
    return values


_Place = tuple[str | int, ...]


def _leaves(value: Any, place: _Place = ()) -> Iterator[tuple[_Place, tuple[str, Any]]]:
    """Yield each value that holds no others, with its place; `true` is not 1."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*place, key))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _leaves(inner, (*place, number))
    else:
        kind = "number" if type(value) in (int, float) else type(value).__name__
        yield place, (kind, value)
