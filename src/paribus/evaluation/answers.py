"""Find the answer in a text by the rules of lm-evaluation-harness; `final` has our own.

| rule      | takes                                                       | compares        |
|-----------|-------------------------------------------------------------|-----------------|
| strict    | the first `#### N`, as lm-eval's `strict-match`             | cleaned strings |
| flexible  | the last number-like run, as lm-eval's `flexible-extract`   | cleaned strings |
| canonical | the last complete final answer (`final`)                    | numbers         |

Strict and flexible are lm-evaluation-harness 0.4.13 (`tasks/gsm8k/gsm8k.yaml`, version 3), bugs
included, so that a score here means what it means there: `#### $29` fails strict, `29.00` fails
both, and a gold answer `2.50` is not `2.5`. Canonical is the one conclusions are drawn from.
"""

import re
from fractions import Fraction
from functools import lru_cache

from paribus.evaluation.spelled import Value
from paribus.numerals import parse
from paribus.records import Generation

NEXT_QUESTION = "Question:"
"""A model that goes on with a question of its own has finished with ours."""

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
    found = _STRICT.search(own_text(text))
    return found.group(1) if found else None


def flexible(text: str) -> str | None:
    """Return the last number-like run as written, or None."""
    own = own_text(text)
    # Behind a character that is no sign the end is read as it is in the whole text.
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
