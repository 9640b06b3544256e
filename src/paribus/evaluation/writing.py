"""What a row has written, and whether it stops there.

    row = OpenText(prompt)
    rules.advance(row, token, finite=True)      # row.generated grows, row.stop may be set

A row stops at a stop token, at a `Question:` of its own once it has answered, at the limit of
tokens, or where its logits are no numbers. With the calculator, a row that has written `<<12*3=`
is given the tokens of `36>>`, one by one, in place of its own choices. All of it goes by the row's
text alone, so rows stay without influence on each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from paribus.evaluation.answers import NEXT_QUESTION
from paribus.evaluation.calculator import MAX_EXPRESSION, complete
from paribus.evaluation.drafts import Draft
from paribus.evaluation.final import is_over
from paribus.prompts.encode import Prompt
from paribus.records import Generation, Stop

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
    """How texts end, and what the calculator adds; the same of every row."""

    tokenizer: Any
    stop_ids: frozenset[int]
    max_new_tokens: int
    calculator: bool = False

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
        if NEXT_QUESTION in tail and self._is_over(row):
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
        problem = row.prompt.problem
        return Generation(
            problem_id=problem.id,
            question=problem.question,
            answer=problem.answer,
            solution=problem.solution,
            group=problem.group,
            prompt_sha256=row.prompt.sha256,
            text=self.text(row.generated),
            num_tokens=len(row.generated),
            stop=row.stop,
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
