r"""Chat by the tokenizer's own template. Prompt and target come from the rendered whole.

    prompt  … 1+1?<|im_end|>\n<|im_start|>assistant\n
    whole   … 1+1?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n2<|im_end|>\n
    target                                           <think>\n\n</think>\n\n2
    stop                                                                     <|im_end|>

The prompt is what the template renders to be continued, the whole what it renders with the
assistant's turn. The target is the whole from the prompt's end to the token that ends the turn.
So what the template adds to the turn is learnt with the solution, as Qwen3's empty think block
above or the blank behind Mistral's `[/INST]`, and what it trims is not.

Some templates end the prompt with what the whole does not hold: DeepSeek-R1's opens `<think>`, and
its assistant's turns have no thoughts. Then the prompt is cut to what both share, and ends with
`<｜Assistant｜>`. It is the same cut prompt in training and in testing, tuned or not: one kept for
testing alone would ask a tuned model to go on from a text that it was never trained on. The cut
falls between two tokens of the whole.
"""

import os.path
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from paribus.errors import PromptError

Message = dict[str, str]

_QUESTION, _SOLUTION = "What is 6 times 7?", "6*7=42\n#### 42"
"""What a template is tried with: two texts that no template holds itself."""
_THOUGHTS = re.compile(r"(</?think>)")
_TEMPLATE_REMEDY = "set prompt.format=raw, or use the template that the model was published with"
_SYSTEM_REMEDY = "leave the system message out, and put its text at the beginning of each question"
_THOUGHTS_REMEDY = "remove the thoughts, up to </think>, from the data, or set prompt.format=raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantTurn:
    """How a template writes the turn of the assistant.

    Attributes:
        unused: how it ends a prompt that is to be continued, if the turn does not begin so.
        ending: what it writes behind the solution, from the stop token on.
        stop: id of the token that ends the turn.
    """

    unused: str
    ending: str
    stop: int


def chat_prompt(messages: Sequence[Message], tokenizer: Any) -> str:
    """Return `messages`, the last of them the user's, up to where the assistant's turn begins.

    Raises PromptError if there is no template, or if it fails or leaves out a message.
    """
    text = _continued(messages, tokenizer)
    return text.removesuffix(assistant_turn(tokenizer).unused)


def chat_example(messages: Sequence[Message], solution: str, tokenizer: Any) -> tuple[str, str]:
    """Return the prompt, and what the template writes behind it up to the stop token.

    Raises PromptError as `chat_prompt` does, and if the template writes the messages otherwise
    once they are answered, or ends this turn otherwise than another.
    """
    prompt, turn = chat_prompt(messages, tokenizer), assistant_turn(tokenizer)
    whole = _answered(messages, solution, tokenizer)
    _refuse_rewritten(prompt, whole)
    written = whole[len(prompt) :]
    if not written.endswith(turn.ending):
        raise PromptError(
            f"the chat template ends this assistant's turn with {written[-40:]!r}, and others with "
            f"{turn.ending[:40]!r}",
            _TEMPLATE_REMEDY,
        )
    return prompt, written.removesuffix(turn.ending)


def message(role: str, content: str) -> Message:
    """Return one turn, as templates read it."""
    return {"role": role, "content": content}


def assistant_turn(tokenizer: Any) -> AssistantTurn:
    """Return how the tokenizer's template writes an assistant's turn.

    Raises PromptError if there is no template, or if it fails, leaves out a message, or does not
    end the turn with one token of the tokenizer's.
    """
    return _tried(tokenizer, str(tokenizer.chat_template))


@lru_cache(maxsize=4)
def _tried(tokenizer: Any, template: str) -> AssistantTurn:
    """Try the tokenizer's template; it may get another, so its text is part of the key."""
    messages = [message("user", _QUESTION)]
    prompt = _continued(messages, tokenizer)
    whole = _answered(messages, _SOLUTION, tokenizer)
    ending = _ending(whole[whole.rindex(_SOLUTION) + len(_SOLUTION) :], tokenizer)
    return AssistantTurn(
        unused=prompt[_shared(prompt, whole, tokenizer) :],
        ending=ending,
        stop=int(_ids(ending, tokenizer)[0]),
    )


def _shared(prompt: str, whole: str, tokenizer: Any) -> int:
    """Return how many characters `prompt` and `whole` share, none of them half a token of it.

    If each cut behind the question divides a token, that is for `encode` to say.
    """
    shared = os.path.commonprefix([prompt, whole])
    _refuse_rewritten(prompt[: prompt.rindex(_QUESTION) + len(_QUESTION)], whole)
    ids = _ids(whole, tokenizer)
    for end in range(len(shared), shared.rindex(_QUESTION) + len(_QUESTION) - 1, -1):
        first = _ids(shared[:end], tokenizer)
        if ids[: len(first)] == first:
            return end
    return len(shared)


def _ending(after: str, tokenizer: Any) -> str:
    """Return what is left of `after`, the text behind a solution, from the stop token on.

    Blanks before it are learnt with the solution: Llama-2 ends a turn with ` </s>`.
    """
    for ending in (after, after.lstrip()):
        if ending and _begins_with_a_token(ending, tokenizer):
            return ending
    if not after:
        raise PromptError(
            "the chat template writes nothing behind an assistant's turn, so a model could not "
            "learn where to end",
            "set prompt.format=raw",
        )
    pieces = ", ".join(map(repr, tokenizer.convert_ids_to_tokens(_ids(after, tokenizer))))
    raise PromptError(
        f"the chat template ends an assistant's turn with {after[:40]!r}, which is not one "
        f"token of this tokenizer but {pieces[:200]}",
        "set prompt.format=raw, or add the marker to the tokenizer and resize the model",
    )


def _begins_with_a_token(ending: str, tokenizer: Any) -> bool:
    """Return whether the first token of `ending` is a marker by itself.

    It is if it was added to the vocabulary as one, or if it alone is more than blanks.
    """
    ids = _ids(ending, tokenizer)
    added = tokenizer.added_tokens_decoder.get(ids[0])
    if added is not None:  # <unk> is one too, and stands for what the vocabulary lacks
        return bool(ending.lstrip().startswith(added.content))
    if len(ids) == 1:
        return True
    return bool(tokenizer.decode(ids[:1]).strip()) and not tokenizer.decode(ids[1:]).strip()


def _ids(text: str, tokenizer: Any) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


def _continued(messages: Sequence[Message], tokenizer: Any) -> str:
    """Return `messages` as the template renders them to be continued by the assistant."""
    text = _render(messages, tokenizer, add_generation_prompt=True)
    _refuse_left_out(text, messages)
    return text


def _answered(messages: Sequence[Message], solution: str, tokenizer: Any) -> str:
    """Return `messages` as the template renders them with the solution as the last turn."""
    turns = [*messages, message("assistant", solution)]
    text = _render(turns, tokenizer, add_generation_prompt=False)
    _refuse_left_out(text, turns, when=" once the question is answered")
    return text


def _refuse_left_out(text: str, messages: Sequence[Message], *, when: str = "") -> None:
    """Raise PromptError unless `text` has all messages in order.

    Templates may trim blanks, and those around thoughts; what the system says may be anywhere.
    """
    end = 0
    for role, content in ((message["role"], message["content"]) for message in messages):
        for part in map(str.strip, _THOUGHTS.split(content)):
            start = text.find(part, 0 if role == "system" else end)
            if start < 0:
                raise PromptError(
                    f"the chat template leaves out or changes what the {role} says{when}: "
                    f"{content.strip()[:60]!r}",
                    _remedy(role, content),
                )
            end = end if role == "system" else start + len(part)


def _remedy(role: str, content: str) -> str:
    if role == "system":
        return _SYSTEM_REMEDY
    return _THOUGHTS_REMEDY if "</think>" in content else _TEMPLATE_REMEDY


def _refuse_rewritten(prompt: str, whole: str) -> None:
    """Raise PromptError unless `whole`, with the assistant's turn, begins as `prompt` does."""
    if not whole.startswith(prompt):
        shared = len(os.path.commonprefix([prompt, whole]))
        raise PromptError(
            "the chat template writes what comes before the assistant's turn otherwise once the "
            f"turn is there: {prompt[shared:][:40]!r} becomes {whole[shared:][:40]!r}",
            f"{_TEMPLATE_REMEDY}; if there is a system message, {_SYSTEM_REMEDY}",
        )


def _render(messages: Sequence[Message], tokenizer: Any, *, add_generation_prompt: bool) -> str:
    """Return what the template makes of `messages`. Raises PromptError if it fails."""
    if not tokenizer.chat_template:
        raise PromptError("this model's tokenizer has no chat template", "set prompt.format=raw")
    try:
        text: str = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=add_generation_prompt
        )
    except (TemplateError, ValueError, TypeError, ArithmeticError, LookupError, MemoryError,
            RecursionError, AttributeError) as error:  # fmt: skip
        # The template came with the model and runs in a sandbox, which refuses by these too.
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        if messages[0]["role"] == "system":
            _render(messages[1:], tokenizer, add_generation_prompt=add_generation_prompt)
            raise PromptError(
                f"the chat template takes no system message: {reason}", _SYSTEM_REMEDY
            ) from error
        raise PromptError(f"the chat template fails: {reason}", _TEMPLATE_REMEDY) from error
    return text
