"""What a row has written, whether it stops, and which tokens it may write next.

    row = OpenText(prompt)
    rules.advance(row, token, finite=True)      # row.generated grows, row.stop may be set

A row stops at a stop token, at its own `Question:` once it has answered or at the texts that its
task names instead, at the token limit, or where its logits are not finite. With the calculator, a
row that has written `<<12*3=` is given the tokens of `36>>`, one by one, in place of its own. All
of it depends on the row's text alone, so rows do not influence each other.

    draft = Draft([5, 6, 7, 5, 6])
    draft.following(4)          # [7, 5, 6, 7]: what followed 5 6 before

Prompt lookup decoding (A. Saxena, 2023), after arXiv:2304.04487: tokens are guessed from the text
itself and verified in the same pass as its last token. The model chooses every token, so the text
stays the same, in fewer passes. Solutions repeat their problem's numbers, and untuned models repeat
themselves.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from paribus.evaluation.calculator import MAX_EXPRESSION, complete
from paribus.evaluation.final import is_over
from paribus.evaluation.scoring import NEXT_QUESTION
from paribus.models.kernels import on_gpu
from paribus.models.tiles import GUESSES
from paribus.prompts.encode import Prompt
from paribus.records import Generation, Stop

LOOK = 8
"""Where guesses cost more than they bring, some are made every so many steps: luck may change."""

FREE, FREE_WITHOUT_TILES = 150, 10
"""Tokens of a step that take as long as what each step takes anyway: reading all weights. About a
processor's operations a second over its bytes a second, twice over the bytes of a weight: on GPUs
and CPUs that multiply by tiles (AMX), and on other CPUs."""

LONGEST_CONTEXT = 3
"""Tokens before the guess that must have occurred before, if that many did."""


class Draft:
    """A text, and where its sequences of up to `LONGEST_CONTEXT` tokens last occurred."""

    def __init__(self, ids: Iterable[int]) -> None:
        self.ids: list[int] = []
        self._next: dict[tuple[int, ...], int] = {}
        self.read(ids)

    def read(self, ids: Iterable[int]) -> None:
        """Add tokens to the text."""
        for token in ids:
            end = len(self.ids)
            for length in range(1, min(LONGEST_CONTEXT, end) + 1):
                self._next[tuple(self.ids[end - length :])] = end
            self.ids.append(token)

    def following(self, number: int) -> list[int]:
        """Return `number` tokens that may follow, or none if the last one is new to the text."""
        for length in range(min(LONGEST_CONTEXT, len(self.ids)), 0, -1):
            start = self._next.get(tuple(self.ids[-length:]))
            if start is not None:
                period = len(self.ids) - start  # what is copied may run into the copy itself
                return [self.ids[start + place % period] for place in range(number)]
        return []


class Luck:
    """How often guesses came true lately, and how many are worth their while."""

    def __init__(self, free: int = FREE) -> None:
        """`free` is `FREE` of the processor at work: see `free_tokens`."""
        self._free = free
        self._true, self._false = 1.0, 1.0
        self._steps = 0

    def note(self, true: int, false: int) -> None:
        """Take a step's guesses into account; of those behind a false one nothing is known."""
        self._steps += 1
        if true or false:
            self._true = 0.9 * self._true + true
            self._false = 0.9 * self._false + false

    def number(self, rows: int) -> int:
        """Return how many tokens to guess for each of `rows` texts."""
        chance = self._true / (self._true + self._false)

        def tokens_per_time(number: int) -> float:
            certain = sum(chance**place for place in range(number + 1))
            return certain / (self._free + rows * (number + 1))

        looks = self._steps % LOOK == 0
        return max(GUESSES if looks else (0, *GUESSES), key=tokens_per_time)


def free_tokens(device: torch.device, dtype: torch.dtype) -> int:
    """Return `FREE` of products in `dtype` on `device`."""
    tiles = dtype is torch.bfloat16 and torch.cpu._is_amx_tile_supported()
    return FREE if on_gpu(device) or tiles else FREE_WITHOUT_TILES


_TAIL = 24
"""Tokens looked at for a `Question:`: more than it takes, with room to spare."""


@dataclass(slots=True)
class OpenText:
    """The text of one problem while it is decoded."""

    prompt: Prompt
    generated: list[int] = field(default_factory=list)
    forced: list[int] = field(default_factory=list)
    """Tokens that the calculator writes next."""
    stop: Stop | None = None
    draft: Draft = field(init=False)

    def __post_init__(self) -> None:
        self.draft = Draft((*self.prompt.ids, *self.generated))

    def newest(self, guesses: int, max_new_tokens: int) -> tuple[list[int], int]:
        """Return the last token with up to `guesses` that may follow it, and its position.

        What is guessed is no longer than the text may get: the last token is never read.
        """
        draft = self.draft
        draft.read(self.generated[len(draft.ids) - len(self.prompt.ids) :])
        guesses = min(guesses, max_new_tokens - len(self.generated) - 1)
        following = self.forced[:guesses] or draft.following(guesses)
        return [draft.ids[-1], *following], len(draft.ids) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How texts end, and what the calculator adds; the same of every row.

    A text ends at any of `until`; where that is None, at its own `Question:` once it has answered.
    """

    tokenizer: Any
    stop_ids: frozenset[int]
    max_new_tokens: int
    calculator: bool = False
    until: tuple[str, ...] | None = None

    def write(
        self, row: OpenText, guesses: Sequence[int], chosen: Sequence[int], finite: Sequence[bool]
    ) -> int:
        """Give `row` what was `chosen` after its last token and after each guess that came true.

        Returns how many tokens that were.
        """
        for number, guess in enumerate([*guesses, None]):
            self.advance(row, chosen[number], finite=finite[number])
            if row.stop is not None or row.generated[-1] != guess:
                break
        return number + 1

    def advance(self, row: OpenText, token: int, *, finite: bool) -> None:
        """Give `row` its next token, unless its logits are not `finite`; see if it stops there."""
        if not finite:
            row.stop = Stop.FAILED
            return
        row.generated.append(row.forced.pop(0) if row.forced else token)
        if row.generated[-1] in self.stop_ids:
            row.stop = Stop.STOP_TOKEN
            return
        tail = self.tokenizer.decode(row.generated[-_TAIL:])
        if self.until is not None and any(end in tail for end in self.until):
            row.stop = Stop.UNTIL
        elif self.until is None and NEXT_QUESTION in tail and self._is_over(row):
            row.stop = Stop.NEXT_QUESTION
        elif len(row.generated) == self.max_new_tokens:
            row.stop = Stop.LENGTH
        elif self.calculator and not row.forced and tail.endswith("="):
            row.forced = self._result(row.generated)

    def _is_over(self, row: OpenText) -> bool:
        return is_over(self.text(row.generated), row.prompt.problem.question)

    def finished(self, row: OpenText) -> Generation:
        """Return the record of a stopped row."""
        assert row.stop is not None
        return Generation.of(
            row.prompt.problem,
            text=self.text(row.generated),
            num_tokens=len(row.generated),
            stop=row.stop,
            prompt_sha256=row.prompt.sha256,
        )

    def text(self, ids: Sequence[int]) -> str:
        """Return what was written, without the token it stopped at."""
        ids = ids[:-1] if ids and ids[-1] in self.stop_ids else ids
        text: str = self.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def _result(self, generated: list[int]) -> list[int]:
        """Return the tokens of the result that the calculator writes next, if there is one."""
        # An annotation has at most as many tokens as characters.
        result = complete(self.text(generated[-MAX_EXPRESSION - len("<<=") :]))
        if result is None:
            return []
        # Encoded behind "=": some tokenizers put a blank before whatever begins a text.
        sign, ids = self._ids("="), self._ids("=" + result)
        return ids[len(sign) :] if ids[: len(sign)] == sign else self._ids(result)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids
