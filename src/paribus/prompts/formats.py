"""Render prompts: training and evaluation both call this, so they cannot disagree. No torch.

    raw   Question: {shot}\\nAnswer: {solution}\\n\\nQuestion: {question}\\nAnswer:
    chat  the tokenizer's own template, each shot a user and an assistant turn

The raw text is lm-evaluation-harness's for GSM8K. A protocol is how a problem is put to a model,
and what helps it while it writes:

    Protocol.parse("few_shot/raw+calculator")
    # Protocol(shots="few_shot", format="raw", calculator=True)

An arm has a main protocol, from which conclusions are drawn, and may be tested under others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import TemplateError

from paribus.config.schema import ArmConfig
from paribus.errors import PromptError
from paribus.records import Problem

_QUESTION, _SOLUTION = "What is 6 times 7?", "6*7=42\n#### 42"
"""What a chat template is tried with: two texts that no template holds itself."""
_TEMPLATE_REMEDY = "set prompt.format=raw, or use the template that the model was published with"


def render_prompt(question: str, *, format: str, shots: Sequence[Problem], tokenizer: Any) -> str:
    """Return the text put to the model, up to where its solution begins.

    Raises PromptError if `format` is "chat" and the tokenizer has no template, or one that leaves
    out the question or a shot.
    """
    if format == "raw":
        solved = [f"Question: {s.question}\nAnswer: {s.solution}\n\n" for s in shots]
        return "".join(solved) + f"Question: {question}\nAnswer:"
    messages = [
        m for s in shots for m in (_turn("user", s.question), _turn("assistant", s.solution))
    ]
    messages.append(_turn("user", question))
    text = _apply(tokenizer, messages, add_generation_prompt=True)
    _refuse_left_out(text, messages)
    return text


def render_solution(solution: str, *, format: str) -> str:
    """Return the text a tuned model learns to write after the prompt, without its stop token."""
    return f" {solution}" if format == "raw" else solution


def stop_token(*, format: str, tokenizer: Any) -> int:
    """Return the id that ends a solution, in training and in generation.

    Raw: the end-of-sequence token. Chat: what the template puts behind an assistant's turn,
    `<end_of_turn>` for Gemma. Raises PromptError if that is not one token of the tokenizer's.
    """
    return _end_of_text(tokenizer) if format == "raw" else _end_of_turn(tokenizer)


def _end_of_text(tokenizer: Any) -> int:
    end: int | None = tokenizer.eos_token_id
    if end is None:
        raise PromptError("the tokenizer has no end-of-sequence token", "set prompt.format=chat")
    if tokenizer.convert_ids_to_tokens(end) != tokenizer.eos_token:
        raise PromptError(
            f"the tokenizer's end-of-sequence token {tokenizer.eos_token!r} is not in its "
            f"vocabulary: it becomes {tokenizer.convert_ids_to_tokens(end)!r}",
            "name a token of the vocabulary as eos_token in tokenizer_config.json",
        )
    return end


def _end_of_turn(tokenizer: Any) -> int:
    asked = [_turn("user", _QUESTION)]
    prompt = _apply(tokenizer, asked, add_generation_prompt=True)
    turns = [*asked, _turn("assistant", _SOLUTION)]
    whole = _apply(tokenizer, turns, add_generation_prompt=False)
    _refuse_left_out(whole, turns)
    after = whole.removeprefix(prompt + _SOLUTION)
    ids = tokenizer.encode(after, add_special_tokens=False)
    if not whole.startswith(prompt + _SOLUTION) or not ids:
        raise PromptError(
            "the chat template does not end an assistant's turn with a token",
            "set prompt.format=raw",
        )
    if not _is_whole(ids, after, tokenizer):
        pieces = ", ".join(map(repr, tokenizer.convert_ids_to_tokens(ids)))
        raise PromptError(
            f"the chat template ends an assistant's turn with {after[:40]!r}, which is not one "
            f"token of this tokenizer but {pieces[:200]}",
            "set prompt.format=raw, or add the marker to the tokenizer and resize the model",
        )
    return int(ids[0])


def _is_whole(ids: Sequence[int], after: str, tokenizer: Any) -> bool:
    """Return whether the first of `ids`, which `after` is made of, is a marker by itself.

    It is if it was added to the vocabulary as one, or if it alone is more than blanks.
    """
    added = tokenizer.added_tokens_decoder.get(ids[0])
    if added is not None:  # <unk> is one too, and stands for what the vocabulary lacks
        return after.lstrip().startswith(added.content)
    if len(ids) == 1:
        return True
    return bool(tokenizer.decode(ids[:1]).strip()) and not tokenizer.decode(ids[1:]).strip()


def _refuse_left_out(text: str, messages: Sequence[dict[str, str]]) -> None:
    """Raise PromptError unless `text` has all messages in order. Templates may trim blanks."""
    end = 0
    for message in messages:
        said = message["content"].strip()
        start = text.find(said, end)
        if start < 0:
            raise PromptError(
                f"the chat template leaves out or changes what the {message['role']} says: "
                f"{said[:60]!r}",
                _TEMPLATE_REMEDY,
            )
        end = start + len(said)


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
            _TEMPLATE_REMEDY,
        ) from error
    return text


_SHOWN: Final = {"zero_shot": slice(0), "one_shot": slice(1), "few_shot": slice(None)}
_CALCULATOR = "+calculator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One way to ask.

    Attributes:
        shots: `zero_shot`, `one_shot` or `few_shot`.
        format: `raw` or `chat`, as `prompt.format`.
        calculator: whether `<<...=` is completed while the model writes.
    """

    shots: str
    format: str
    calculator: bool = False

    @classmethod
    def parse(cls, name: str) -> "Protocol":
        """Return the protocol that `name`, a `ProtocolName`, spells."""
        shots, _, rest = name.partition("/")
        format = rest.removesuffix(_CALCULATOR)
        return cls(shots=shots, format=format, calculator=rest != format)

    @property
    def name(self) -> str:
        """Its full name, such as `one_shot/chat`."""
        return f"{self.shots}/{self.format}{_CALCULATOR if self.calculator else ''}"

    def shown(self, shots: Sequence[Problem]) -> Sequence[Problem]:
        """Return those of the reserved shots that it puts before the question."""
        return shots[_SHOWN[self.shots]]


def main_protocol(config: ArmConfig) -> Protocol:
    """Return the protocol that conclusions about the arm are drawn from."""
    return Protocol(shots=config.evaluation.protocol, format=config.prompt.format)


def protocols(config: ArmConfig) -> tuple[Protocol, ...]:
    """Return all protocols of an arm, the main one first, none twice."""
    main = main_protocol(config)
    return tuple(dict.fromkeys([main, *map(Protocol.parse, config.evaluation.also)]))
