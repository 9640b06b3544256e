"""What a text may say next, guessed from what it said before: tokens to check, several in one pass.

    draft = Draft([5, 6, 7, 5, 6])
    draft.following(4)          # [7, 5, 6, 7]: what came after 5 6, and on from there
    draft.read([9])

The model chooses every token itself. Guesses are read along with the text's last token, in the same
pass, and are kept as far as they are what it chooses: the text stays the same, with fewer passes.
Solutions repeat their problem's numbers, and models that are not tuned to an end repeat themselves.

Known as prompt lookup decoding (A. Saxena, 2023), after arXiv:2304.04487.
"""

from collections.abc import Iterable

import torch

from paribus.models.tiles import GUESSES

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
    return FREE if device.type == "cuda" or tiles else FREE_WITHOUT_TILES
