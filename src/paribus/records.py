"""The frozen types that cross from one stage to the next.

Problem -> (prompt) -> Generation -> Outcome. A generation is what a model wrote and is never
edited; an outcome is what a scorer says of it and is computed again whenever it is asked for.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal, TypeAlias

LAUNCHERS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "WORLD_SIZE")
"""Variables by which launchers say how many processes there are, in accelerate 1.15's order."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation.

    Attributes:
        role: `user`, `assistant` or `system`.
        content: its text.
    """

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A question with its gold solution.

    Attributes:
        question: what is asked, without a prompt's frame: a user's turn in a chat.
        solution: what is to be written, in one variant; GSM8K's ends in the line `#### N`.
        answer: gold; of the metric `number`, a number in canonical spelling
            (`numerals.canonical`).
        group: what it was made from (a template, a seed question); "" if it stands alone.
        where: file and line that it was read from, for messages; "" if it was generated.
        prompt: the question in the frame of the raw prompt; "" for GSM8K's frame.
        key: what identifies it, if that is not its question.
        answers: further gold answers.
        choices: of a problem of multiple choice, in order.
        turns: of a conversation, the turns before the one that is to be written.
        document: the row it was made from, where a metric reads it.
    """

    question: str
    solution: str
    answer: str
    group: str = ""
    where: str = field(default="", compare=False, repr=False)
    prompt: str = field(default="", compare=False, repr=False)
    key: str = ""
    answers: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()
    document: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def id(self) -> str:
        """`problem_id` of its key or question: the same in every variant and file."""
        return problem_id(self.key or self.question)


@lru_cache(maxsize=2**17)
def problem_id(question: str) -> str:
    """Return 16 hex digits of the question's SHA-256, whatever its white space."""
    words = " ".join(question.split())
    return hashlib.sha256(words.encode(errors="backslashreplace")).hexdigest()[:16]


AnswerStyle: TypeAlias = Literal["auto", "marked", "phrase", "boxed", "last_line"]
"""What counts as a final answer: `evaluation.answer`; `evaluation/final` has the meanings."""


class Stop(StrEnum):
    """Why a generation ended."""

    ANSWER = "answer"
    """`#### N` was complete: in runs of earlier versions, which stopped there."""
    STOP_TOKEN = "stop_token"
    """The model emitted its stop token."""
    NEXT_QUESTION = "next_question"
    """The model began another question after it had answered."""
    UNTIL = "until"
    """The model wrote a text that ends an answer: `until` of its task."""
    LENGTH = "length"
    """The token limit was reached."""
    FAILED = "failed"
    """The model produced no valid distribution (non-finite logits)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The raw text a model produced for one problem, with what is needed to score it again.

    Attributes:
        problem_id: `Problem.id`, on which arms are paired.
        question: the question as asked.
        answer: gold; of the metric `number`, a number in canonical spelling.
        solution: gold solution with its calculator annotations; "" if it is not known.
        group: `Problem.group`: problems of one group are not independent of each other.
        prompt_sha256: of the exact prompt text.
        text: what the model wrote, unedited, without special tokens.
        num_tokens: tokens generated, stop token included.
        stop: why it ended.
        answers, choices, document: as of `Problem`.
        choice_nlls: of a problem of multiple choice, the negative log-likelihood of each choice, in
            nats; `text` is then the likeliest choice.
    """

    problem_id: str
    question: str
    answer: str
    prompt_sha256: str
    text: str
    num_tokens: int
    stop: Stop
    solution: str = ""
    group: str = ""
    answers: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    choice_nlls: tuple[float, ...] = ()
    document: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        problem: Problem,
        *,
        text: str,
        stop: Stop,
        num_tokens: int = 0,
        prompt_sha256: str = "",
    ) -> "Generation":
        """Return the record of a text written for `problem`, with all that it is scored against."""
        return cls(
            problem_id=problem.id,
            question=problem.question,
            answer=problem.answer,
            solution=problem.solution,
            group=problem.group,
            prompt_sha256=prompt_sha256,
            text=text,
            num_tokens=num_tokens,
            stop=stop,
            answers=problem.answers,
            choices=problem.choices,
            document=problem.document,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Likelihood:
    """What a model makes of one problem's gold solution.

    Attributes:
        problem_id: `Problem.id`.
        nll: negative log-likelihood of the solution and its stop token, in nats; None if the
            model gave no valid distribution.
        tokens: how many tokens that is.
        group: `Problem.group`, where nothing else holds it: of problems that are not generated for.
    """

    problem_id: str
    nll: float | None
    tokens: int
    group: str = ""


class Settled(StrEnum):
    """Status of a comparison after a declared look at growing data."""

    SHOWN = "shown"
    OPEN = "open"
    UNLIKELY = "unlikely"
    """To be shown by the last look: its arms need not continue for it."""
    NOT_SHOWN = "not_shown"
    """The last look has passed."""


class Measure(StrEnum):
    """What a scorer measures of a text."""

    SOLVED = "solved"
    """Whether it is right: problems are solved or not, and a mean is a share."""
    SCORE = "score"
    """How good it is, from 0 to 1. A score is shown in points, 100 times as large."""
    LOSS = "loss"
    """Of no text, but of gold: nats per token of its likelihood. Less is better."""

    @property
    def better(self) -> int:
        """The sign of a difference that is better: 1, or -1 where less is."""
        return -1 if self is Measure.LOSS else 1


class Outcome(StrEnum):
    """What a scorer says of a generation. Only CORRECT counts as correct; all count in n."""

    CORRECT = "correct"
    WRONG = "wrong"
    SCORED = "scored"
    """The text holds an answer, and the scorer says how good it is, not whether it is right."""
    NO_ANSWER = "no_answer"
    """The text ended by itself and holds no final answer."""
    TRUNCATED = "truncated"
    """The token limit cut the text before a final answer."""
    FAILED = "failed"
    """Nothing usable was generated: a fault, not an answer."""
