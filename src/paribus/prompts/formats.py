"""Render prompts: training and evaluation both call this, so they cannot disagree. No torch.

    raw   Question: {shot}\\nAnswer: {solution}\\n\\nQuestion: {question}\\nAnswer:
    chat  the tokenizer's own template, each shot a user and an assistant turn (`prompts/chat`)

The raw text is lm-evaluation-harness's for GSM8K. A protocol is how a problem is put to a model,
and what helps it while it writes:

    Protocol.parse("few_shot/raw+calculator")
    # Protocol(shots="few_shot", format="raw", calculator=True)

An arm has a main protocol, from which conclusions are drawn, and may be tested under others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from paribus.config.schema import ArmConfig
from paribus.config.task import Task
from paribus.errors import DoesNotFit, PromptError
from paribus.prompts.chat import Message, assistant_turn, chat_example, chat_prompt, message
from paribus.records import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What stands around all problems of a task, as its file says; the defaults are GSM8K's.

    Attributes:
        description: before every prompt; in a chat a part of the system's turn.
        target_delimiter: between prompt and solution; fewshot_delimiter: between solved examples.
        system: the system's turn in a chat.
    """

    description: str = ""
    target_delimiter: str = " "
    fewshot_delimiter: str = "\n\n"
    system: str | None = None


PLAIN = Frame()
"""GSM8K's."""


def frame_of(task: Task, delimiter: str = PLAIN.target_delimiter) -> Frame:
    """Return the frame of a task's prompts.

    `delimiter` stands between prompt and solution unless the task states its own.
    """
    return Frame(
        description=task.description,
        target_delimiter=delimiter if task.target_delimiter is None else task.target_delimiter,
        fewshot_delimiter=task.fewshot_delimiter,
        system=task.system,
    )


def render_prompt(
    problem: Problem,
    *,
    format: str,
    shots: Sequence[Problem],
    tokenizer: Any,
    frame: Frame = PLAIN,
) -> str:
    """Return the text put to the model, up to where its solution begins.

    Raises PromptError if `format` is "raw" and there is a system's turn, or if it is "chat" and the
    tokenizer has no template, or one that leaves out a message.
    """
    if format == "raw":
        if frame.system:
            raise DoesNotFit(
                f"a raw prompt has no place for a system message: {frame.system[:60]!r}",
                "set prompt.format=chat, or give its text as the task's description",
            )
        solved = [
            f"{_asked(shot)}{frame.target_delimiter}{shot.solution}{frame.fewshot_delimiter}"
            for shot in shots
        ]
        return frame.description + "".join(solved) + _asked(problem)
    return chat_prompt(_messages(problem, shots, frame), tokenizer)


def render_example(
    problem: Problem,
    *,
    format: str,
    shots: Sequence[Problem],
    tokenizer: Any,
    frame: Frame = PLAIN,
) -> tuple[str, str]:
    """Return a prompt and its target: what a tuned model learns to write, without its stop token.

    The prompt is that of `render_prompt`. Raises PromptError as it does, and where the template
    does not write the turns before a solution as in the prompt.
    """
    if format == "raw":
        prompt = render_prompt(
            problem, format=format, shots=shots, tokenizer=tokenizer, frame=frame
        )
        return prompt, frame.target_delimiter + problem.solution
    return chat_example(_messages(problem, shots, frame), problem.solution, tokenizer)


def _asked(problem: Problem) -> str:
    return problem.prompt or f"Question: {problem.question}\nAnswer:"


def _messages(problem: Problem, shots: Sequence[Problem], frame: Frame) -> list[Message]:
    system = "\n\n".join(text for text in (frame.system, frame.description) if text)
    first = [message("system", system)] if system else []
    solved = [
        turn for shot in shots for turn in (*_turns(shot), message("assistant", shot.solution))
    ]
    return [*first, *solved, *_turns(problem)]


def _turns(problem: Problem) -> list[Message]:
    if problem.turns:
        return [message(turn.role, turn.content) for turn in problem.turns]
    return [message("user", problem.question)]


def stop_token(*, format: str, tokenizer: Any) -> int:
    """Return the id that ends a solution, in training and in generation.

    Raw: the end-of-sequence token. Chat: what the template puts behind an assistant's turn,
    `<end_of_turn>` for Gemma. Raises PromptError if that is not one token of the tokenizer's.
    """
    return _end_of_text(tokenizer) if format == "raw" else assistant_turn(tokenizer).stop


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


SHOWN: Final = {"zero_shot": 0, "one_shot": 1, "few_shot": 5}
"""How many solved examples a protocol shows."""
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
        """Return those of the reserved shots that it puts before the question.

        Raises DoesNotFit if there are not as many.
        """
        count = SHOWN[self.shots]
        if len(shots) < count:
            raise DoesNotFit(
                f"the protocol {self.name} shows {count} solved examples, and the task has "
                f"{len(shots)}: fewshot_split or fewshot_config says which",
                "set a protocol with fewer, or give more in the task file",
            )
        return shots[:count]


def main_protocol(config: ArmConfig) -> Protocol:
    """Return the protocol that conclusions about the arm are drawn from."""
    return Protocol(shots=config.evaluation.protocol, format=config.prompt.format)


def protocols(config: ArmConfig) -> tuple[Protocol, ...]:
    """Return all protocols of an arm, the main one first, none twice."""
    main = main_protocol(config)
    return tuple(dict.fromkeys([main, *map(Protocol.parse, config.evaluation.also)]))
