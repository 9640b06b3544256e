"""Score stored generations, and check that gold answers can be scored. Pure: needs no model.

| scorer    | takes                                                       | compares        |
|-----------|-------------------------------------------------------------|-----------------|
| canonical | the last complete final answer (`final`)                    | numbers         |
| strict    | the first `#### N`, as lm-eval's `strict-match`             | cleaned strings |
| flexible  | the last number-like run, as lm-eval's `flexible-extract`   | cleaned strings |

Conclusions are drawn from canonical. Strict and flexible are lm-evaluation-harness 0.4.13
(`tasks/gsm8k/gsm8k.yaml`, version 3), bugs included, so that a score here means what it means
there: `#### $29` fails strict, `29.00` fails both, and a gold answer `2.50` is not `2.5`.

    check_gold(problems)    # DataError: 1 question has two gold answers: train.jsonl:3 says '7' …

Each question must have one gold answer, and each gold solution must be correct by its own scorer;
else a perfect model would be scored wrong. Questions are compared without white space, case and
invisible characters.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

from paribus.data.gold import FIX, first_few, normalized_question, refuse_two_golds
from paribus.errors import DataError
from paribus.evaluation.final import Final, final
from paribus.evaluation.spelled import Value
from paribus.numerals import parse
from paribus.records import AnswerStyle, Generation, Outcome, Problem, Stop

NEXT_QUESTION = "Question:"
"""A model that continues with its own question has finished with ours."""

_UNTIL = (NEXT_QUESTION, "</s>", "<|im_end|>")
"""The task's stop strings."""
_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_FLEXIBLE = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
_SIGNS, _TAIL = "-$0123456789.,", 80
"""What a number-like run is made of; characters at the end of a text that mostly hold the last."""


def own_text(text: str) -> str:
    """Return `text` as the harness's stop strings would have left it."""
    for end in _UNTIL:
        text = text.partition(end)[0]
    return text


def strict(text: str) -> str | None:
    """Return the first `#### N` as written, or None."""
    match = _STRICT.search(own_text(text))
    return match.group(1) if match else None


def flexible(text: str) -> str | None:
    """Return the last number-like run as written, or None."""
    own = own_text(text)
    # Behind a character that is not a sign the end is read as it is in the whole text.
    runs = _FLEXIBLE.findall(own[-_TAIL:].lstrip(_SIGNS)) or _FLEXIBLE.findall(own)
    return runs[-1] if runs else None


def harness_equal(prediction: str, gold: str) -> bool:
    """Compare as lm-eval's `exact_match` with the GSM8K task's `regexes_to_ignore`."""
    return _harness_clean(prediction) == _harness_clean(gold)


def harness_gold(generation: Generation) -> str:
    """Return the gold answer as its file spells it: the harness compares `2.50` and not `2.5`.

    Where the solution gives another number, as under corrected labels, it is the number itself.
    """
    return _as_spelled(generation.solution, generation.answer)


@lru_cache(maxsize=2**16)
def _as_spelled(solution: str, answer: str) -> str:
    spelled = solution.rpartition("#### ")[2]
    number = parse(spelled)
    return spelled if number is not None and number == parse(answer) else answer


def numbers_equal(value: Value, gold: str) -> bool:
    """Compare as numbers: `29.00` equals `29`. "About 18" equals no whole number."""
    number = _exact(gold)
    if number is None or (value.approximate and number.denominator == 1):
        return False
    return value.number == number


@lru_cache(maxsize=2**16)
def _exact(gold: str) -> Fraction | None:
    number = parse(gold)
    return None if number is None else Fraction(number)


@lru_cache(maxsize=2**16)
def _harness_clean(text: str) -> str:
    # The task's patterns `,` `\$` `(?s).*#### ` `\.$` in their order, in linear time.
    text = text.replace(",", "").replace("$", "").rsplit("#### ", 1)[-1]
    return re.sub(r"\.$", "", text).lower()


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
    answer = _final(generation, style)
    return answer.style if answer and generation.stop is not Stop.FAILED else "none"


def answer_of(generation: Generation, style: AnswerStyle = "auto") -> Fraction | None:
    """Return the number that `generation` gives as its final answer, or None."""
    answer = _final(generation, style)
    return answer.value.number if answer else None


def _canonical(generation: Generation, style: AnswerStyle) -> bool | None:
    """Return whether the final answer is right; None if there is none."""
    answer = _final(generation, style)
    return None if answer is None else numbers_equal(answer.value, generation.answer)


def _final(generation: Generation, style: AnswerStyle) -> Final | None:
    cut = generation.stop is Stop.LENGTH
    return final(generation.text, generation.question, style, cut=cut)


def _harness(generation: Generation, scorer: str) -> bool | None:
    extract = strict if scorer == "strict" else flexible
    answer = extract(generation.text)
    gold = harness_gold(generation)
    return None if answer is None else harness_equal(answer, gold)


_MARK = "####"


def check_gold(problems: Sequence[Problem], which: str = FIX) -> None:
    """Raise DataError, naming rows, if a question has two golds or a solution is not correct.

    `which` ends the remedy for questions with two golds, and says how to choose.
    """
    refuse_two_golds(problems, normalized_question, which)
    check_correct(problems)


def check_correct(problems: Sequence[Problem], style: AnswerStyle = "auto") -> None:
    """Raise DataError, naming rows, if a gold solution is not correct by its own scorer.

    `style` is what counts as a final answer.
    """
    # Files of several models state the same gold.
    distinct = {
        (problem.question, problem.solution, problem.answer): problem
        for problem in reversed(problems)
    }
    parts = [
        f"{problem.where or 'a problem'}: gold is {problem.answer}, and {_spelled(outcome)} in "
        f"{problem.solution[-60:]!a}"
        for problem in reversed(distinct.values())
        if (outcome := _outcome(problem, style)) is not Outcome.CORRECT
    ]
    if parts:
        what, their = ("solution is", "its") if len(parts) == 1 else ("solutions are", "their")
        other = f", or set evaluation.answer=auto in place of {style}" if style != "auto" else ""
        raise DataError(
            f"{len(parts)} gold {what} not correct by {their} own scorer, so that no model could "
            f"be: {first_few(parts)}",
            "end the solution in '#### N' on its own line, N its number alone and no other "
            f"answer behind it; or remove the row{other}",
        )


def _outcome(problem: Problem, style: AnswerStyle) -> Outcome:
    """Return what the first scorer says of a model that writes the gold solution.

    One without its own answer may have it stated apart: it is judged with `#### N` behind it.
    """
    solution = problem.solution
    if not solution:  # holds no prompt: judged once for all questions
        return _judged(f"{_MARK} {problem.answer}", replace(problem, question=""), style)
    alone = _judged(solution, problem, style)
    own = solution.rstrip().rpartition("\n")[2].startswith(_MARK)
    if own or alone in (Outcome.CORRECT, Outcome.WRONG):
        return alone
    return _judged(f"{solution}\n{_MARK} {problem.answer}".lstrip(), problem, style)


def _judged(text: str, problem: Problem, style: AnswerStyle) -> Outcome:
    generation = Generation(
        problem_id="",
        question=problem.question,
        answer=problem.answer,
        prompt_sha256="",
        text=text,
        num_tokens=0,
        stop=Stop.STOP_TOKEN,
    )
    return score(generation, SCORERS[0], style)


def _spelled(outcome: Outcome) -> str:
    return "another number is found" if outcome is Outcome.WRONG else "no number is found"
