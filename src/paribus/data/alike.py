"""Near-duplicates: problems that read alike, and questions of one set that occur in another.

    alike_sets(questions)                  # [0, 0, 1, 2, 2]: [n] sets, numbered
    about_alike(questions, groups)         # "800 of 1,200 problems read like another but for …"
    overlaps(test, train, shots, contained_exactly)
    # {"test_in_train": 0, "shots_in_train": 0, "shots_in_test": 0}

A template varies numbers, names and things. So a question is reduced to its structure words (the,
how many, each), with one gap for whatever stands between two of them; structure words identify
copied text (E. Stamatatos 2011, J. Am. Soc. Inf. Sci. 62: 2512-2527). Two questions are alike if
most of their runs of five such words and gaps are the same: A. Broder's (1997) resemblance, found
by min-wise hashing in bands. Sets are transitive. Time is linear in the text. In GSM8K two problems
at 0.6 and above are visibly copies (7 of its 1,319 test problems have one), and nearly all others
stay below 0.3; problems of one template are above 0.9.

The structure words are English. Text with few of them is taken for another language, and the words
that one problem in ten contains take their place. Runs that most problems share, such as an
instruction, are ignored; so where all problems come from one template none are alike.

The generated word problems come from a few templates and are still independent: each draws its
template anew, and problems like these are all that the generator makes. Problems depend on each
other where several come from one template of many.

An overlap is a whole question, or a run of 13 words, lower-cased and without punctuation: the
contamination check of GPT-3 (Brown et al. 2020, appendix C). A question of fewer words has no such
run. Only questions are compared, so the counts are the same in every variant.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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
    parts = words(text)
    return {hash(tuple(parts[i : i + NGRAM])) for i in range(len(parts) - NGRAM + 1)}


def words(text: str) -> list[str]:
    """Return the words of `text`, lower-cased and without punctuation."""
    low = text.lower()
    return low.translate(_BLANKS).split() if low.isascii() else _WORD.findall(low)


_ENGLISH_WORDS = (
    "a about after again all also altogether an and another any are as at be because been before "
    "both but by can could did do does down during each every fewer first for from had half has "
    "have he her him his how if in into is it its just last left less many more most much next no "
    "not now of off on one only or other out over own per same she so some still than that the "
    "their them then there these they this those through to together total twice times two until "
    "up was were what when where which while who will with without would you"
)
STRUCTURE = frozenset(_ENGLISH_WORDS.split())
ENGLISH = 0.2
"""Of the words of an English text more than this are of structure: half of GSM8K's."""
FREQUENT = 0.1
"""In other languages a word is taken for one of structure if so many of the problems have it."""
RUN = 5
"""Words of structure and gaps in a row."""
LEAST = 5
"""Runs of a question; shorter ones are alike only if they have the same words."""
ALIKE = 0.6
"""Resemblance: shared runs over all runs of the two."""
COMMON = 0.5
"""Runs that more of the problems have are left out."""
WORTH = 0.95
"""Problems that may be worth less than this share of their number are worth a warning."""

_BANDS, _ROWS = 10, 3
"""Of min-wise hashes: two questions at resemblance 0.6 agree in a band 9 times in 10, at 0.7 98
times in 100; in a set of several it is enough that each agrees with one."""

Sets = NDArray[np.intp]
Numbers = NDArray[np.int64]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How many of `n` problems read like another that is not of their own group.

    Attributes:
        like: problems that are alike, in how many `sets`, `largest` the most in one.
        worth: independent problems that they may be worth, if those of a set stand or fall
            together: L. Kish (1965), Survey Sampling.
        of: what they are worth by the groups that they name themselves.
        pair: two questions of the largest set; the same one twice if there is no set.
    """

    n: int
    like: int
    sets: int
    largest: int
    worth: float
    of: float
    pair: tuple[str, str]


@lru_cache(maxsize=4)
def about_alike(questions: tuple[str, ...], groups: tuple[str, ...]) -> str:
    """Return what a reader must know of how alike problems are; "" if that is next to nothing.

    `groups` as in `Problem.group`. Kept: all arms of an experiment are asked the same.
    """
    result = likeness(questions, groups) if questions else None
    if result is None or result.worth >= WORTH * result.of:
        return ""
    first, second = (" ".join(question.split())[:60] for question in result.pair)
    return (
        f"{result.like:,} of {result.n:,} problems read like another but for numbers, names and "
        f"rarer words, in {result.sets:,} sets of up to {result.largest:,}, such as {first!a} and "
        f"{second!a}; if those of a set stand or fall together, all are worth {result.worth:,.0f}"
    )


def likeness(questions: Sequence[str], groups: Sequence[str]) -> Likeness:
    """Return how many of the problems read alike beyond their `groups`. At least one problem."""
    own = _numbered([group or place for place, group in enumerate(groups)])
    sets = _joined(len(own), [_links(alike_sets(questions)), _links(own)])
    # A set of one group alone is known already.
    several = np.bincount(np.unique(np.column_stack([sets, own]), axis=0)[:, 0]) > 1
    sizes = np.bincount(sets) * several
    members = np.flatnonzero(sets == sizes.argmax())
    second = members[own[members] != own[members[0]]]
    return Likeness(
        n=len(own),
        like=int(sizes.sum()),
        sets=int(several.sum()),
        largest=int(sizes.max()),
        worth=_worth(sets),
        of=_worth(own),
        pair=(questions[members[0]], questions[second[0] if len(second) else members[0]]),
    )


def alike_sets(questions: Sequence[str]) -> Sets:
    """Return [n] the set of each question, numbered from 0; one like no other is alone in its."""
    texts = [words(question) for question in questions]
    copies = _links(_numbered([tuple(text) for text in texts]))
    owners, runs = _runs(texts)
    return _joined(len(texts), [copies, _resembling(owners, runs)])


def _runs(texts: Sequence[Sequence[str]]) -> tuple[Numbers, Hashes]:
    """Return the runs of the texts, as two columns: the text, in order, and the run as a number.

    Those that most of the texts have are left out.
    """
    marks = _structure(texts)
    owners = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    again = (marks[1:] == 0) & (marks[:-1] == 0) & (owners[1:] == owners[:-1])
    kept = np.concatenate([[True], ~again])[: len(marks)]
    owners, marks = owners[kept], marks[kept]
    if len(marks) < RUN:
        return np.empty(0, int), np.empty(0, np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(marks, RUN)
    whole = owners[RUN - 1 :] == owners[: len(windows)]
    runs, owners = _hashed(windows[whole]), owners[: len(windows)][whole]
    values, counts = np.unique(runs, return_counts=True)
    telling = ~np.isin(runs, values[counts > COMMON * len(texts)])
    return owners[telling], runs[telling]


def _structure(texts: Sequence[Sequence[str]]) -> Numbers:
    """Return each word of the texts, all in one row, as the number of a word of structure, or 0."""
    marks = _marked(texts, sorted(STRUCTURE))
    if np.count_nonzero(marks) > ENGLISH * len(marks):
        return marks
    texts_with = Counter(word for text in texts for word in set(text))
    frequent = [word for word, count in texts_with.items() if count >= FREQUENT * len(texts)]
    return _marked(texts, frequent)


def _marked(texts: Sequence[Sequence[str]], chosen: Sequence[str]) -> Numbers:
    numbers = {word: number for number, word in enumerate(chosen, 1)}
    return np.fromiter(map(numbers.get, chain.from_iterable(texts), repeat(0)), np.int64)


def _hashed(windows: Numbers) -> Hashes:
    """Return a number for each row of `windows` [m, RUN]."""
    hashes = np.zeros(len(windows), np.uint64)
    for column in windows.T:
        hashes = _mixed(hashes ^ column.astype(np.uint64))
    return hashes


def _mixed(numbers: Hashes) -> Hashes:
    """Return other numbers, one for one: the finaliser of G. Steele's SplitMix64 (OOPSLA 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _resembling(owners: Numbers, runs: Hashes) -> Numbers:
    """Return pairs [k, 2] of texts that resemble each other, enough to join their sets."""
    enough = np.bincount(owners)[owners] >= LEAST
    owners, runs = owners[enough], runs[enough]
    if not len(owners):
        return np.empty((0, 2), int)
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    texts = owners[starts]
    pairs = np.unique(np.concatenate([texts[band] for band in _bands(runs, starts)]), axis=0)
    pieces = dict(zip(texts.tolist(), np.split(runs, starts[1:]), strict=True))
    held = {text: set(pieces[text].tolist()) for text in set(pairs.ravel().tolist())}
    close = [_resemblance(held[first], held[second]) >= ALIKE for first, second in pairs.tolist()]
    return np.compress(close, pairs, axis=0)


def _bands(runs: Hashes, starts: Numbers) -> Iterator[Numbers]:
    """Yield pairs [k, 2] of the places in `starts` whose least hashes agree throughout a band."""
    for band in range(_BANDS):
        together = np.zeros(len(starts), np.uint64)
        for row in range(_ROWS):
            salt = np.uint64(band * _ROWS + row + 1) << np.uint64(32)
            together = _mixed(together ^ np.minimum.reduceat(_mixed(runs ^ salt), starts))
        yield _links(np.unique(together, return_inverse=True)[1])


def _resemblance(first: set[int], second: set[int]) -> float:
    return len(first & second) / len(first | second)


def _numbered(labels: Sequence[object]) -> Sets:
    """Return equal labels as equal numbers, from 0 without gaps."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], np.intp)


def _links(sets: Sets) -> Numbers:
    """Return pairs [k, 2] that join each member of a set to its first."""
    _, first = np.unique(sets, return_index=True)
    pairs = np.column_stack([first[sets], np.arange(len(sets))])
    return np.compress(pairs[:, 0] != pairs[:, 1], pairs, axis=0)


def _joined(n: int, links: Sequence[Numbers]) -> Sets:
    """Return [n] sets that `links` join."""
    first, second = np.concatenate(links).T
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], np.intp)


def _worth(sets: Sets) -> float:
    sizes = np.bincount(sets).astype(float)
    return float(sizes.sum() ** 2 / (sizes @ sizes))
