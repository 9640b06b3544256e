"""Text to token ids, with the proofs that make a comparison fair.

    prompt   <bos> Question : …  Answer :
    example  <bos> Question : …  Answer :  Tom  has  3  …  #### 7  <eos>
    loss     .     .        . .  .      .  x    x    x  x  x    x  x

Each example proves that no token merges across the boundary, that it has one <bos> (if the
tokenizer begins texts with it), and that it ends with the token generation stops on.
"""

import os.path
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from paribus.errors import PromptError
from paribus.records import Problem


@dataclass(frozen=True, slots=True)
class Encoded:
    """One training example.

    Attributes:
        ids: prompt, solution and stop token.
        prompt_length: how many of them are the prompt; the loss is on the rest.
    """

    ids: tuple[int, ...]
    prompt_length: int

    @property
    def target_length(self) -> int:
        """Tokens the loss is computed on."""
        return len(self.ids) - self.prompt_length


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A test problem as it is put to the model."""

    problem: Problem
    text: str
    ids: tuple[int, ...]


def encode_prompt(prompt: str, tokenizer: Any) -> tuple[int, ...]:
    """Return the prompt's ids, led by exactly one <bos> if the tokenizer begins texts with it."""
    ids = _ids(prompt, tokenizer)
    bos = leading_bos(tokenizer)
    if bos is None:
        return ids
    if not ids or ids[0] != bos:  # chat templates write it themselves
        ids = (bos, *ids)
    if ids.count(bos) != 1:
        raise PromptError(
            f"a prompt has {ids.count(bos)} {tokenizer.bos_token} tokens instead of 1: "
            f"{_shorten(prompt)}",
            f"remove {tokenizer.bos_token} from the data or the chat template",
        )
    return ids


def encode_example(prompt: str, solution: str, stop: int, tokenizer: Any) -> Encoded:
    """Return the ids of a prompt with its solution.

    Raises PromptError if tokenising the two apart and together differs, or if the solution
    holds the stop token itself: the model would learn to stop before its answer.
    """
    head = encode_prompt(prompt, tokenizer)
    tail = _ids(solution, tokenizer)
    if head + tail != encode_prompt(prompt + solution, tokenizer):
        raise PromptError(
            f"a token merges prompt and solution: …{prompt[-20:]!r} + {solution[:20]!r}…",
            "use another prompt.format: training and testing would see different prompts",
        )
    if stop in tail:
        raise PromptError(
            f"a solution contains the stop token {tokenizer.convert_ids_to_tokens(stop)!r}: "
            f"{_shorten(solution)}",
            "remove it from the data",
        )
    return Encoded((*head, *tail, stop), len(head))


def leading_bos(tokenizer: Any) -> int | None:
    """Return the id that the tokenizer begins texts with, or None.

    Some have a <bos> that begins no text: SmolLM2's is what each turn of a chat begins with.
    """
    bos: int | None = tokenizer.bos_token_id
    return bos if bos in tokenizer.encode("") else None


def shared_length(sequences: Sequence[tuple[int, ...]]) -> int:
    """Return how many leading ids all share, leaving each at least one of its own."""
    common = os.path.commonprefix([list(min(sequences)), list(max(sequences))])
    return min(len(common), min(map(len, sequences)) - 1)


def _ids(text: str, tokenizer: Any) -> tuple[int, ...]:
    return tuple(tokenizer.encode(text, add_special_tokens=False))


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "…")
