"""Exact arithmetic of the calculator annotations: a safe reader, and the calculator while decoding.

    evaluate("1,200*25%")     ->  Fraction(300)
    spell(Fraction(10, 3))    ->  "3.33333333333"
    complete("12*3=<<12*3=")  ->  "36>>"

No eval and no powers. An expression is read with two stacks instead of recursion, and its length
bounds its depth and the digits of every number on the way.
"""

import re
from decimal import Context, Decimal
from fractions import Fraction

MAX_EXPRESSION = 200
"""Characters of an expression. The longest of GSM8K has 30."""

MAX_RESULT_DIGITS = 60
"""Of a result's numerator and of its denominator. More is noise from a model that loops."""

SIGNIFICANT_DIGITS = 12
"""Significant digits of a result that has more, its integer part aside."""

_NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3})++(?![0-9])|[0-9]++)(?:\.[0-9]*+)?|\.[0-9]++"
_NUMBERS = re.compile(_NUMBER)
_TOKEN = re.compile(rf"[ \t$]*+({_NUMBER}|[-+*/()%])[ \t$]*+")
_OPEN = re.compile(rf"<<([^<>=\n]{{1,{MAX_EXPRESSION}}}+)=\Z")

_Exact = int | Fraction
"""A whole number may be an int on the way, which is many times as fast."""

_STRENGTH = {"(": 0, "+": 1, "-": 1, "*": 2, "/": 2, "negate": 3, "keep": 3}
"""How tightly an operator binds; the last two are signs."""


def evaluate(expression: str) -> Fraction | None:
    """Return the exact value of `expression`, or None if it has none.

    Read are `+ - * / ( )`, decimals with correctly placed thousands commas, `$` (which carries no
    value) and `%` after a number (a hundredth). None stands for anything else, division by zero,
    over `MAX_EXPRESSION` characters and a result of over `MAX_RESULT_DIGITS` digits.
    """
    tokens = _tokens(expression)
    if tokens is None:
        return None
    try:
        value = _value(tokens)
    except ZeroDivisionError:
        return None
    if value is None or max(abs(value.numerator), value.denominator) >= 10**MAX_RESULT_DIGITS:
        return None
    return Fraction(value)


def numbers(text: str) -> tuple[Fraction, ...]:
    """Return the unsigned numbers written in `text`, those of over `MAX_RESULT_DIGITS` left out."""
    written = _NUMBERS.findall(text)
    return tuple(
        Fraction(_number(number)) for number in written if len(number) <= MAX_RESULT_DIGITS
    )


def spell(value: Fraction) -> str:
    """Return `value` as a plain decimal without trailing zeros: 36, -0.5, 1.33333333333.

    It is exact where `SIGNIFICANT_DIGITS` digits are enough; else it is rounded to them, half
    to even, but never within its integer part. (OpenAI's calculator writes Python's float, as in
    3.3333333333333335, which is five digits longer and not exact either.)
    """
    digits = max(SIGNIFICANT_DIGITS, len(str(abs(int(value)))))
    quotient = Context(prec=digits).divide(Decimal(value.numerator), Decimal(value.denominator))
    plain = format(quotient, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def complete(text: str) -> str | None:
    """Return what a calculator writes after `text`: `RESULT>>` after `<<EXPRESSION=`, else None.

    It does so by text, whatever the tokenizer, as OpenAI's grade-school-math/calculator.py does
    by tokens. None too if the expression has no value: the model then continues by itself.
    """
    if not text.endswith("="):
        return None
    match = _OPEN.search(text[-MAX_EXPRESSION - len("<<=") :])
    value = evaluate(match.group(1)) if match else None
    return None if value is None else f"{spell(value)}>>"


def _number(written: str) -> _Exact:
    bare = written.replace(",", "")
    return int(bare) if bare.isdigit() else Fraction(bare)


def _tokens(expression: str) -> list[str] | None:
    """Split into numbers and operators; None if anything else is there, or too much."""
    if len(expression) > MAX_EXPRESSION:
        return None
    tokens, end = [], 0
    while match := _TOKEN.match(expression, end):
        tokens.append(match.group(1))
        end = match.end()
    return tokens if end == len(expression) else None


def _value(tokens: list[str]) -> _Exact | None:
    """E. W. Dijkstra's shunting-yard (1961): values wait on one stack, operators on another."""
    values: list[_Exact] = []
    waiting: list[str] = []
    after_value = False
    for token in tokens:
        if after_value and token == "%":
            values[-1] = Fraction(values[-1]) / 100
        elif after_value and token == ")":
            _apply(values, waiting, _STRENGTH["+"])
            if not waiting:
                return None
            waiting.pop()
        elif after_value and token in "+-*/":
            _apply(values, waiting, _STRENGTH[token])
            waiting.append(token)
            after_value = False
        elif not after_value and token in "+-(":
            waiting.append({"+": "keep", "-": "negate"}.get(token, token))
        elif not after_value and token not in "*/)%":
            values.append(_number(token))
            after_value = True
        else:
            return None
    if not after_value:
        return None
    _apply(values, waiting, _STRENGTH["+"])
    return None if waiting else values[0]


def _apply(values: list[_Exact], waiting: list[str], least: int) -> None:
    """Carry out the waiting operators that bind as tightly as `least` or tighter."""
    while waiting and _STRENGTH[waiting[-1]] >= least:
        operator, right = waiting.pop(), values.pop()
        if operator == "negate":
            values.append(-right)
        elif operator == "keep":
            values.append(right)
        else:
            left = values.pop()
            values.append(_combine(left, operator, right))


def _combine(left: _Exact, operator: str, right: _Exact) -> _Exact:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    return left * right if operator == "*" else Fraction(left) / right
