"""Text to token ids, many texts at once, with the proofs that make a comparison fair.

    prompt   <bos> Question : …  Answer :
    example  <bos> Question : …  Answer :  Tom  has  3  …  #### 7  <eos>
    loss     .     .        . .  .      .  x    x    x  x  x    x  x

Each example proves that no token merges across the boundary, that it has one <bos> (if the
tokenizer begins texts with it; a chat may have one behind each <eos>), and that it ends with the
token generation stops on.
"""

import hashlib
import os.path
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from paribus.errors import PromptError
from paribus.records import Problem

_AT_ONCE = 256
"""Texts in one call: what a tokenizer says of each token takes 100 times the memory of its id."""

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One text as tokens.

    Attributes:
        ids: prompt, solution and stop token; the prompt alone where there is no solution.
        prompt_length: how many of them are the prompt; the loss is on the rest.
    """

    ids: Ids
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
    ids: Ids

    @property
    def sha256(self) -> str:
        """Hash of the exact text, which is kept with what is written after it."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def encode_prompts(prompts: Sequence[str], tokenizer: Any) -> list[Ids]:
    """Return each prompt's ids, led by one <bos> if the tokenizer begins texts with it.

    Raises PromptError if a prompt has more than one.
    """
    bos = leading_bos(tokenizer)
    return [
        _with_bos(ids, text, bos, tokenizer)
        for some in _calls(len(prompts))
        for text, ids in zip(prompts[some], _ids(prompts[some], tokenizer), strict=True)
    ]


def encode_examples(
    prompts: Sequence[str], solutions: Sequence[str], stop: int, tokenizer: Any
) -> list[Encoded]:
    """Return the ids of each prompt with its solution and the stop token.

    Raises PromptError if a prompt has other tokens alone than with its solution behind it, or if a
    solution holds the stop token itself: the model would learn to stop before its answer.
    """
    bos = leading_bos(tokenizer)
    examples = []
    for some in _calls(len(prompts)):
        pairs = list(zip(prompts[some], solutions[some], strict=True))
        heads = _ids(prompts[some], tokenizer)
        for pair, head, tail in zip(pairs, heads, _tails(pairs, heads, tokenizer), strict=True):
            examples.append(_example(pair, head, tail, stop, bos, tokenizer))
    return examples


def leading_bos(tokenizer: Any) -> int | None:
    """Return the id that the tokenizer begins texts with, or None.

    Some have a <bos> that begins no text: SmolLM2's is what each turn of a chat begins with.
    """
    bos: int | None = tokenizer.bos_token_id
    return bos if bos in tokenizer.encode("") else None


def begins_once(ids: Sequence[int], bos: int, eos: int | None) -> bool:
    """Return whether `ids` begin with <bos>, and hold it again only right behind an <eos>.

    Llama-2's template writes a chat of several turns so, as texts end to end.
    """
    if not ids or ids[0] != bos:
        return False
    again = (last for last, id in pairwise(ids) if id == bos)
    return ids.count(bos) == 1 or (bos != eos and all(last == eos for last in again))


def shared_length(sequences: Sequence[tuple[int, ...]]) -> int:
    """Return how many leading ids all share, leaving each at least one of its own."""
    common = os.path.commonprefix([list(min(sequences)), list(max(sequences))])
    return min(len(common), min(map(len, sequences)) - 1)


def _calls(count: int) -> Iterator[slice]:
    """Yield which of `count` texts are encoded in one call."""
    return (slice(start, start + _AT_ONCE) for start in range(0, count, _AT_ONCE))


def _example(
    pair: tuple[str, str], head: Ids, tail: Ids | None, stop: int, bos: int | None, tokenizer: Any
) -> Encoded:
    """Return a prompt and its solution, `pair`, from the ids of each, `head` and `tail`."""
    prompt, solution = pair
    led = _with_bos(head, prompt, bos, tokenizer)
    if tail is None:
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
    return Encoded((*_with_bos((*led, *tail), prompt + solution, bos, tokenizer), stop), len(led))


def _with_bos(ids: Ids, text: str, bos: int | None, tokenizer: Any) -> Ids:
    """Return a text's ids with one <bos> in front, or as they are if there is none."""
    if bos is None:
        return ids
    if not ids or ids[0] != bos:  # chat templates write it themselves
        ids = (bos, *ids)
    if not begins_once(ids, bos, tokenizer.eos_token_id):
        raise PromptError(
            f"a prompt has {ids.count(bos)} {tokenizer.bos_token} tokens instead of 1: "
            f"{_shorten(text)}",
            f"remove {tokenizer.bos_token} from the data or the chat template",
        )
    return ids


def _tails(
    pairs: Sequence[tuple[str, str]], heads: Sequence[Ids], tokenizer: Any
) -> list[Ids | None]:
    """Return each solution's ids behind its prompt's; None where the two do not come apart.

    Offsets say where in the text a token lies. A tokenizer that has none (not fast) must give both
    texts the same ids alone as together.
    """
    called = _call(["".join(pair) for pair in pairs], tokenizer, offsets=tokenizer.is_fast)
    wholes = [tuple(ids) for ids in called["input_ids"]]
    if tokenizer.is_fast:
        ends = [len(prompt) for prompt, _ in pairs]
        return list(map(_ids_behind, heads, wholes, called["offset_mapping"], ends))
    alone = _ids([solution for _, solution in pairs], tokenizer)
    together = zip(heads, alone, wholes, strict=True)
    return [tail if (*head, *tail) == whole else None for head, tail, whole in together]


def _ids_behind(head: Ids, whole: Ids, offsets: Sequence[tuple[int, int]], end: int) -> Ids | None:
    """Return the ids in `whole` behind `head`, the ids of its first `end` characters.

    None if its first ids are others, or if a token lies on both sides.
    """
    count = len(head)
    within = all(last <= end for _, last in offsets[:count][-1:])
    behind = all(first >= end for first, _ in offsets[count : count + 1])
    return whole[count:] if within and behind and whole[:count] == head else None


def _ids(texts: Sequence[str], tokenizer: Any) -> list[Ids]:
    """Return each text's ids, without what the tokenizer would add."""
    return [tuple(ids) for ids in _call(texts, tokenizer, offsets=False)["input_ids"]]


def _call(texts: Sequence[str], tokenizer: Any, *, offsets: bool) -> Any:
    return tokenizer(
        list(texts),
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        return_offsets_mapping=offsets,
    )


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "…")
