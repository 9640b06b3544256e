"""Say what a stored generation is worth. Pure: rescoring costs nothing and needs no model."""

from fractions import Fraction

from paribus.evaluation import answers
from paribus.evaluation.final import Final, final
from paribus.records import AnswerStyle, Generation, Outcome, Stop

SCORERS = ("canonical", "strict", "flexible")
"""Names of the scorers; the first is the one conclusions are drawn from."""

VERSION = 2
"""Of the canonical scorer: what it is says in a report belongs to its number. 2: `docs/scoring.md`;
1 took the first number behind the first `####`."""


def score(generation: Generation, scorer: str, style: AnswerStyle = "auto") -> Outcome:
    """Return the outcome of `generation` under `scorer`, one of `SCORERS`.

    `style` says what counts as a final answer to the canonical scorer; the others have their own.

    | stop          | answer found | equal | outcome   |
    |---------------|--------------|-------|-----------|
    | failed        |              |       | failed    |
    | any other     | yes          | yes   | correct   |
    | any other     | yes          | no    | wrong     |
    | length        | no           |       | truncated |
    | any other     | no           |       | no answer |

    Under `strict` and `flexible` a text cut by the token limit is judged by what it holds, as the
    harness judges it; to the canonical scorer `#### 1` at the end of such a text is no answer yet.
    """
    if generation.stop is Stop.FAILED:
        return Outcome.FAILED
    equal = _canonical(generation, style) if scorer == SCORERS[0] else _harness(generation, scorer)
    if equal is None:
        return Outcome.TRUNCATED if generation.stop is Stop.LENGTH else Outcome.NO_ANSWER
    return Outcome.CORRECT if equal else Outcome.WRONG


def style_seen(generation: Generation, style: AnswerStyle = "auto") -> str:
    """Return the style in which `generation` gives its final answer; "none" if it gives none."""
    found = _final(generation, style)
    return found.style if found and generation.stop is not Stop.FAILED else "none"


def answer_of(generation: Generation, style: AnswerStyle = "auto") -> Fraction | None:
    """Return the number that `generation` gives as its final answer, or None."""
    found = _final(generation, style)
    return found.value.number if found else None


def _canonical(generation: Generation, style: AnswerStyle) -> bool | None:
    """Return whether the final answer is right; None if there is none."""
    found = _final(generation, style)
    return None if found is None else answers.numbers_equal(found.value, generation.answer)


def _final(generation: Generation, style: AnswerStyle) -> Final | None:
    cut = generation.stop is Stop.LENGTH
    return final(generation.text, generation.question, style, cut=cut)


def _harness(generation: Generation, scorer: str) -> bool | None:
    extract = answers.strict if scorer == "strict" else answers.flexible
    found = extract(generation.text)
    gold = answers.harness_gold(generation)
    return None if found is None else answers.harness_equal(found, gold)
