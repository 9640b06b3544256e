"""Find the answer in a text: the rules of the well-known harnesses, and our own.

| rule      | takes                                                | compares            |
|-----------|------------------------------------------------------|---------------------|
| strict    | the first `#### N`, as lm-eval's `strict-match`      | cleaned strings     |
| flexible  | the last number-like run, as lm-eval `flexible-extract` | cleaned strings  |
| canonical | the first complete `#### N`, `$`, `,`, `%` allowed   | numbers (Decimal)   |

Strict and flexible are lm-evaluation-harness 0.4.13 (`tasks/gsm8k/gsm8k.yaml`, version 3), bugs
included, so that a score here means what it means there: `#### $29` fails strict, `29.00` fails
both. Canonical is the one conclusions are drawn from.
"""

import re

from paribus.numerals import parse

NEXT_QUESTION = "Question:"
"""A model that goes on with a question of its own has finished with ours."""

_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
# Possessive quantifiers (`++`): no backtracking, so a megabyte of digits costs linear time.
_CANONICAL = re.compile(r"####[ \t]{0,8}([-+]?[ \t]?\$?[ \t]?-?(?=[.,]*+[0-9])[0-9.,]++)")
_COMPLETE = re.compile(_CANONICAL.pattern + r"(?!\Z)")


def own_text(text: str) -> str:
    """Return the part of `text` before the model's next question, as a harness's stop leaves it."""
    return text.split(NEXT_QUESTION, 1)[0]


def answer_is_complete(text: str) -> bool:
    """Return whether `text` holds `#### N` followed by something that ends N."""
    return _COMPLETE.search(text) is not None


def strict(text: str) -> str | None:
    """Return the first `#### N` as written, or None."""
    found = _STRICT.search(own_text(text))
    return found.group(1) if found else None


def flexible(text: str) -> str | None:
    """Return the last number-like run as written, or None."""
    runs = [a or b for a, b in _FLEXIBLE.findall(own_text(text))]
    return runs[-1].strip() if runs else None


def canonical(text: str) -> str | None:
    """Return the first `#### N` that spells a number, or None. `####29`, `#### $29.00` count."""
    for found in _CANONICAL.finditer(own_text(text)):
        if parse(found.group(1)) is not None:
            return found.group(1)
    return None


def harness_equal(prediction: str, gold: str) -> bool:
    """Compare as lm-eval's `exact_match` with the GSM8K task's `regexes_to_ignore`."""
    return _harness_clean(prediction) == _harness_clean(gold)


def numbers_equal(prediction: str, gold: str) -> bool:
    """Compare as numbers: `29.00` equals `29`."""
    number = parse(prediction)
    return number is not None and number == parse(gold)


def _harness_clean(text: str) -> str:
    # The task's patterns `,` `\$` `(?s).*#### ` `\.$` in their order, in linear time.
    text = text.replace(",", "").replace("$", "").rsplit("#### ", 1)[-1]
    return re.sub(r"\.$", "", text).lower()
