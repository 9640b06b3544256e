"""How many questions of one set occur in another: whole, or in a run of 13 words.

    overlaps(test, train, shots, contained_exactly)
    # {"test_in_train": 0, "shots_in_train": 0, "shots_in_test": 0}

A run of 13 words, lower-cased and without punctuation, is the contamination check of GPT-3
(Brown et al. 2020, appendix C). A question of fewer words has no such run and shares none.
Only questions are compared, so the counts are the same in every variant.
"""

import re
from collections.abc import Callable, Sequence

from paribus.records import Problem

NGRAM = 13
"""Consecutive words."""

_WORD = re.compile(r"\w++")
_BLANKS = {code: " " for code in range(128) if not _WORD.match(chr(code))}
"""For ASCII, where it finds the same words four times as fast."""

Contained = Callable[[Sequence[Problem], Sequence[Problem]], int]
"""From two sets to how many problems of the first occur in the second."""


def overlaps(
    test: Sequence[Problem],
    train: Sequence[Problem],
    shots: Sequence[Problem],
    contained: Contained,
) -> dict[str, int]:
    """Return how many problems of each set occur in another, counted by `contained`."""
    return {
        "test_in_train": contained(test, train),
        "shots_in_train": contained(shots, train),
        "shots_in_test": contained(shots, test),
    }


def contained_exactly(these: Sequence[Problem], those: Sequence[Problem]) -> int:
    """Return how many of `these` ask a question of `those`, whatever the blanks."""
    known = {problem.id for problem in those}
    return sum(problem.id in known for problem in these)


def contained_13gram(these: Sequence[Problem], those: Sequence[Problem]) -> int:
    """Return how many of `these` share a run of 13 words with a question of `those`."""
    known = {gram for problem in those for gram in ngrams(problem.question)}
    return sum(not known.isdisjoint(ngrams(problem.question)) for problem in these)


def ngrams(text: str) -> set[int]:
    """Return a hash of each run of 13 words in `text`."""
    said = words(text)
    return {hash(tuple(said[i : i + NGRAM])) for i in range(len(said) - NGRAM + 1)}


def words(text: str) -> list[str]:
    """Return the words of `text`, lower-cased and without punctuation."""
    low = text.lower()
    return low.translate(_BLANKS).split() if low.isascii() else _WORD.findall(low)
