"""The only renderer: training and evaluation both call it, so they cannot disagree.

    raw   Question: {shot}\\nAnswer: {solution}\\n\\nQuestion: {question}\\nAnswer:
    chat  the tokenizer's own template, each shot a user and an assistant turn

The raw text is lm-evaluation-harness's for GSM8K. Nothing here imports torch.
"""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from paribus.errors import PromptError
from paribus.records import Problem

_PROBE = "0"


def render_prompt(question: str, *, format: str, shots: Sequence[Problem], tokenizer: Any) -> str:
    """Return the text put to the model, up to where its solution begins.

    Raises PromptError if `format` is "chat" and the tokenizer has no template.
    """
    if format == "raw":
        solved = [f"Question: {s.question}\nAnswer: {s.solution}\n\n" for s in shots]
        return "".join(solved) + f"Question: {question}\nAnswer:"
    messages = [
        m for s in shots for m in (_turn("user", s.question), _turn("assistant", s.solution))
    ]
    return _apply(tokenizer, [*messages, _turn("user", question)], add_generation_prompt=True)


def render_solution(solution: str, *, format: str) -> str:
    """Return the text a tuned model learns to write after the prompt, without its stop token."""
    return f" {solution}" if format == "raw" else solution


def stop_token(*, format: str, tokenizer: Any) -> int:
    """Return the id that ends a solution, in training and in generation.

    Raw: the end-of-sequence token. Chat: what the template puts behind an assistant's turn,
    `<end_of_turn>` for Gemma.
    """
    if format == "raw":
        if tokenizer.eos_token_id is None:
            raise PromptError(
                "the tokenizer has no end-of-sequence token", "set prompt.format=chat"
            )
        return int(tokenizer.eos_token_id)
    asked = [_turn("user", _PROBE)]
    prompt = _apply(tokenizer, asked, add_generation_prompt=True)
    whole = _apply(tokenizer, [*asked, _turn("assistant", _PROBE)], add_generation_prompt=False)
    after = whole.removeprefix(prompt).removeprefix(_PROBE)
    ids = tokenizer.encode(after, add_special_tokens=False)
    if not whole.startswith(prompt + _PROBE) or not ids:
        raise PromptError(
            "the chat template does not end an assistant's turn with a token",
            "set prompt.format=raw",
        )
    return int(ids[0])


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _apply(tokenizer: Any, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
    if not tokenizer.chat_template:
        raise PromptError("this model's tokenizer has no chat template", "set prompt.format=raw")
    try:
        text: str = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=add_generation_prompt
        )
    except (TemplateError, ValueError, TypeError, ArithmeticError, LookupError, MemoryError,
            RecursionError, AttributeError) as error:  # fmt: skip
        # The template came with the model and runs in a sandbox, which refuses by these too.
        raise PromptError(
            f"the chat template fails: {type(error).__name__}: {str(error)[:200]}",
            "set prompt.format=raw, or use the template that the model was published with",
        ) from error
    return text
