r"""Where a text gives its final answer: the canonical scorer's reading.

    final("9*2 = 18\n#### 18")                       # Final(style="marked", value=Value(18))
    final("#### 12? No.\n#### 18\n\nQuestion: Tom")    # 18: the last one, and only of this question
    final("<think>#### 12</think> It is 18.")        # None: thoughts are no answer

| style       | final answer                                                    |
|-------------|-----------------------------------------------------------------|
| `marked`    | `#### N`, as GSM8K writes it; N may stand on the next line       |
| `phrase`    | `The answer is N`, `Final answer: N`, `Die Antwort ist N`         |
| `boxed`     | `\boxed{N}`, `<answer>N</answer>`                                |
| `last_line` | a last line that holds nothing but N and its unit                |
| `auto`      | the last of the first three; where there is none, `last_line`    |

The last complete answer counts, unless the next sentence retracts it or calculates on, outside
`<think>…</think>`. A text is over at a chat template's end of turn, and at the model's next
question once an answer has been given. If it holds the question it was asked, its prompt is
skipped. `spelled` says which number an answer gives.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from paribus.evaluation.places import (
    AnswerPlace,
    is_calculated_on,
    is_retracted,
    last_line,
    places,
    stated_last,
)
from paribus.evaluation.spelled import LONGEST, Value, spelled
from paribus.evaluation.words import plain
from paribus.records import AnswerStyle

_SHORTEST = 16
"""Characters of a question that is looked for in a text: shorter ones stand in any."""


@dataclass(frozen=True, slots=True)
class Final:
    """A final answer.

    Attributes:
        style: how it is given, an `AnswerStyle` but `auto`.
        written: as it stands in the text.
        value: the number it spells.
    """

    style: AnswerStyle
    written: str
    value: Value


_END = re.compile(
    r"</s>|<end_of_turn>|<eos>|<\|(?!end_of_thought|end_header)[a-z_\u2581]{0,12}"
    r"(?:end|eot|eom|eos|return|user)[a-z_\u2581]{0,16}\|>",
    re.IGNORECASE,
)
"""What chat templates put behind a turn, and what their tokenizers end a text with."""
_TURN = re.compile(
    r"(?:\s|<bos>|<s>|<\|begin_of_text\|>|<\|im_start\|>|<start_of_turn>|<\|start_header_id\|>"
    r"|<\|end_header_id\|>|<\|assistant\|>|\[/?INST\]|(?:assistant|model)\b|\*\*"
    r"|(?:answer|a|solution|response|assistant)\s?:)*+",
    re.IGNORECASE,
)
"""What may stand between a question and its answer."""
_DIVIDER = re.compile(
    r"(?P<question>Question:|^[ \t]*(?:\*\*|#{1,6} )?"
    r"(?:Q|(?i:Question|Problem|User|Human|Instruction))(?: ?[0-9]{1,3})?:"
    r"|<\|im_start\|>user|<start_of_turn>user|\[INST\]"
    r"|<\|start_header_id\|>user|<\|user\|>)"
    r"|(?i:[<\[](?P<closes>/?)(?:think|thinking|thought|thoughts|reasoning|scratchpad)[>\]])"
    r"|<\|(?:begin|(?P<ends>end))_of_thought\|>|\u25c1(?P<closed>/?)think\u25b7",
    re.MULTILINE,
)
"""Where another question begins, and where thoughts begin and end."""
_SIGNS = ("user", "[inst]", "think", "thought", "reasoning", "scratchpad")
_ASKING = ("question", "problem", "human", "instruction")
"""One of these is in whatever it finds, the latter or a Q before a colon: most have none."""


@lru_cache(maxsize=2**18)
def final(
    text: str, question: str = "", style: AnswerStyle = "auto", *, cut: bool = False
) -> Final | None:
    """Return the final answer that `text` gives to `question`, or None. Linear in its length.

    Args:
        text: what a model wrote, with or without its prompt.
        question: as it was asked, to recognise a prompt.
        style: the kind of answer that counts.
        cut: whether the token limit ended the text: what stands at its end may be half an answer.
    """
    *earlier, last = _parts(_without_prompt(plain(text), question))
    for part in earlier:
        if answer := _last(part, "auto", cut=False):
            return answer if style == "auto" else _last(part, style, cut=False)
    return _last(last, style, cut=cut)


def is_over(text: str, question: str = "") -> bool:
    """Return whether anything after `text` belongs to another question: decoding may stop.

    It is if an answer has been given and a question of the model's own begins. While the text may
    still turn out to be a prompt with solved examples, it is not.
    """
    text = plain(text)
    parts = _parts(_without_prompt(text, question))[:-1]
    parts = parts if _asked(text, question) else parts[:1]
    return any(_last(part, "auto", cut=False) is not None for part in parts)


def own_part(text: str, question: str = "") -> str:
    """Return the part of `text` that leads to its final answer, thoughts left out.

    Without an answer it is what stands before the next question.
    """
    parts = _parts(_without_prompt(plain(text), question))
    for number, part in enumerate(parts if len(parts) > 1 else ()):
        if _last(part, "auto", cut=False) is not None:
            return "\n".join(parts[: number + 1])
    return next((part for part in parts if part.strip()), "")


def holds_prompt(text: str, question: str) -> bool:
    """Return whether `text` holds the question it answers, as one with its prompt does."""
    return bool(_asked(plain(text), question))


def _asked(text: str, question: str) -> str:
    """Return the question as plain `text` holds it, "" if it does not."""
    begins = question[:_SHORTEST]
    if len(begins) < _SHORTEST or (begins.isascii() and begins.strip() not in text):
        return ""
    question = plain(question).strip()
    return question if question in text else ""


def _without_prompt(text: str, question: str) -> str:
    """Return `text` from behind its prompt, if it holds it, up to the end of the turn."""
    if asked := _asked(text, question):
        before, _, after = text.partition(asked)
        first = _parts(before)[0]
        if _last(first, "auto", cut=False) is None:  # else the model restates what it has answered
            text = after[_TURN.match(after).end() :]  # type: ignore[union-attr]
    start = 0
    for end in _END.finditer(text):
        turn = _TURN.match(text, start)
        if turn is not None and turn.end() < end.start():
            return text[: end.start()]
        start = end.end()
    return text


def _parts(text: str) -> list[str]:
    """Return `text` without thoughts, divided at what begins another question; at least one.

    Thoughts stand between `<think>` and `</think>`, closed or not; where only the end is there,
    the prompt held the beginning.
    """
    folded = text.casefold()
    asks = ":" in text and ("Q" in text or any(map(folded.__contains__, _ASKING)))
    if not asks and not any(map(folded.__contains__, _SIGNS)):
        return [text]
    parts: list[list[str]] = [[]]
    start = depth = 0
    for match in _DIVIDER.finditer(text):
        if depth == 0:
            parts[-1].append(text[start : match.start()])
            start = match.end()
        if match["question"]:
            parts += [[]] if depth == 0 else []
        elif match["closes"] or match["ends"] or match["closed"]:
            if depth == 0:
                parts[-1].clear()
            depth = max(0, depth - 1)
            start = match.end()
        else:
            depth += 1
    if depth == 0:
        parts[-1].append(text[start:])
    return ["".join(part) for part in parts]


def _last(part: str, style: AnswerStyle, *, cut: bool) -> Final | None:
    """Return the last complete answer of `part`; of one that is `cut`, none that may continue."""
    if style in ("auto", "marked") and not cut and (place := stated_last(part)):
        return _read(place)
    left = iter(sorted(places(part, style, cut=cut), key=lambda place: -place.start))
    for place in left:
        if place.open:
            return _repeated(
                place, [answer for answer_place in left if (answer := _read(answer_place))]
            )
        if answer := _read(place):
            if is_calculated_on(part, place, answer.value.number):
                return None
            if not is_retracted(part, place):
                return answer
            break
    if cut or style not in ("auto", "last_line"):
        return None
    line = last_line(part)
    return _read(line) if line and not is_retracted(part, line) else None


def _repeated(cut: AnswerPlace, before: list[Final]) -> Final | None:
    """Return what `cut` begins to say again: the last two answers, as in a loop, if they agree."""
    loops = len(before) > 1 and before[0].value == before[1].value
    again = loops and before[0].written.strip().startswith(cut.written.strip())
    return before[0] if again else None


def _read(place: AnswerPlace) -> Final | None:
    written = place.written[:LONGEST]
    if not any(map(str.isnumeric, written)):
        return None
    value = spelled(written, alone=place.alone, comma=place.comma)
    return Final(place.style, written, value) if value else None
