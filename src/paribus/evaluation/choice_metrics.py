"""Metrics of problems with choices: the one that a text names, or the likeliest.

Choice().score("The answer is (B).", Reference(answers=("refund",), choices=("buy", "refund")),
               cut=False)                         # 1.0
"""

import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from paribus.errors import DataError
from paribus.evaluation.text_metrics import Scorer, golds_of
from paribus.records import Generation

_SAYS = (
    r"(?:\b(?:answer|choice|option|label|category|class)\b"
    r"(?:\s+(?:is|would be|should be|must be))?|\\boxed|<answer>)"
)
"""What stands before a choice that is stated."""
_OPEN = r"[\s:=*_`\"'“‘(\[{$]*"
"""What may stand between the two."""
_EDGES = string.whitespace + "*_`\"'“”‘’.,:;!?()[]{}$"
"""What does not count at the ends of a text or a choice."""


class Choice(Scorer):
    """The one choice that a text names is gold.

    The first of these that is in the text counts, and it must name one choice alone:

    1. The whole text is a choice or its letter: `B`, `(b)`, `Refund.`
    2. It states one: `The answer is B`, `Label: refund`, `\\boxed{B}`.
    3. It begins with a letter: `B. Because …`
    4. It mentions one: `(B)`, or a choice's own words.

    Letters are A, B, C, … in the order of the choices, in capitals unless alone. Where a choice is
    itself a letter, that is the choice.
    """

    def score(self, text: str, generation: Generation) -> float | None:  # noqa: D102
        golds = gold_places(generation, "choice")
        named = _names(generation.choices).named_in(text)
        return float(named.pop() in golds) if len(named) == 1 else None


class Likeliest(Scorer):
    """The likeliest choice is gold: lm-eval's `acc`; None if likelihoods were not measured."""

    def score(self, text: str, generation: Generation) -> float | None:  # noqa: D102
        golds = gold_places(generation, "acc")
        if not generation.choice_nlls:
            return None
        lengths = np.array([self.length(choice) for choice in generation.choices], dtype=float)
        return float(int(np.argmax(-np.array(generation.choice_nlls) / lengths)) in golds)

    def length(self, choice: str) -> int:
        """Return what the likelihood of a choice is divided by."""
        return 1


class LikeliestPerCharacter(Likeliest):
    """The likeliest choice per character is gold: lm-eval's `acc_norm`."""

    def length(self, choice: str) -> int:
        """Return the choice's number of characters."""
        return max(1, len(choice))


class LikeliestPerByte(Likeliest):
    """The likeliest choice per byte of UTF-8 is gold: lm-eval's `acc_bytes`."""

    def length(self, choice: str) -> int:
        """Return the choice's number of bytes."""
        return max(1, len(choice.encode()))


def gold_places(generation: Generation, metric: str) -> set[int]:
    """Return which of the choices are gold. Raises DataError if there are none."""
    if not generation.choices:
        raise DataError(
            f"the metric {metric} needs choices, and the problem has none: "
            f"{generation.question[:80]!r}",
            "state doc_to_choice in the task file",
        )
    return {_gold_place(answer, generation.choices) for answer in golds_of(generation)}


def _gold_place(answer: str, choices: Sequence[str]) -> int:
    names = _names(tuple(choices))
    place = choices.index(answer) if answer in choices else names.whole(answer)
    if place is None:
        raise DataError(
            f"gold is none of the choices: {answer[:60]!r} is not in {', '.join(choices)[:160]}",
            "let doc_to_target give a choice, its place from 0, or its letter",
        )
    return place


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """How the choices of a problem are named, and the patterns that find it.

    Attributes:
        texts: choice, in small letters and without what stands at its ends, → place.
        letters: letter → place.
    """

    texts: dict[str, int]
    letters: dict[str, int]
    stated: re.Pattern[str]
    begins: re.Pattern[str]
    mentioned: re.Pattern[str]

    def whole(self, text: str) -> int | None:
        """Return the choice that the whole text is."""
        bare = _bare(text)
        return self.texts.get(bare, self.letters.get(bare.upper()))

    def named_in(self, text: str) -> set[int]:
        """Return the choices that the text names."""
        whole = self.whole(text)
        if whole is not None:
            return {whole}
        for pattern in (self.stated, self.begins, self.mentioned):
            if places := set(self._found(pattern, text)):
                return places
        return set()

    def _found(self, pattern: re.Pattern[str], text: str) -> Iterator[int]:
        for match in pattern.finditer(text):
            groups = match.groupdict()
            if groups.get("letter"):
                yield self.letters[groups["letter"]]
            # Patterns take ſ for s and ı for i, which small letters do not make equal.
            elif (place := self.texts.get(_bare(groups["text"]))) is not None:
                yield place


def _bare(text: str) -> str:
    """Return a text as choices are compared: one that is only punctuation stays."""
    return " ".join((text.strip(_EDGES) or text).lower().split())


@lru_cache(maxsize=1024)
def _names(choices: tuple[str, ...]) -> _Names:
    texts: dict[str, int] = {}
    for place, choice in enumerate(choices):
        texts.setdefault(_bare(choice), place)
    texts.pop("", None)
    lettered = not any(len(text) == 1 and text.isalpha() for text in texts)
    letters = {
        letter: place
        for place, letter in enumerate(string.ascii_uppercase[: len(choices)])
        if lettered
    }
    longest_first = sorted(texts, key=len, reverse=True)
    spelled = "|".join(r"\s+".join(map(re.escape, text.split())) for text in longest_first)
    text = rf"(?P<text>(?<!\w)(?:{spelled or '(?!)'})(?!\w))"
    letter = rf"(?P<letter>(?-i:[{''.join(letters)}]))" if letters else "(?P<letter>(?!))"
    return _Names(
        texts=texts,
        letters=letters,
        stated=re.compile(rf"{_SAYS}{_OPEN}(?:{text}|{letter}(?![\w'’]))", re.IGNORECASE),
        begins=re.compile(rf"\A[\s*_`\"'(\[]*{letter}(?:[).:\]*,]|\s*\n)", re.IGNORECASE),
        mentioned=re.compile(rf"\({letter}\)|{text}", re.IGNORECASE),
    )
