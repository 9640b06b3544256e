"""What a sum with units comes to, where it stands beside an answer: `18 (36/2)`, `18 = 9 * $2`.

comes_to("9 eggs/day x 2 days")    # Fraction(18)
comes_to("50% of 36")              # Fraction(18)
comes_to("2n"), comes_to("9 and 9")    # None, None
"""

import re
from fractions import Fraction

from paribus.evaluation.calculator import evaluate
from paribus.evaluation.words import CHANGED, COMPOUND, SCALES, unwrapped

_OPERATORS = {
    **dict.fromkeys(("x", "of", "times", "multiplied by"), "*"),
    **{"plus": "+", "minus": "-", "divided by": "/"},
}
_OPERATOR = re.compile(rf"(?<![^\W\d_])(?:{'|'.join(_OPERATORS)})(?![^\W\d_])", re.IGNORECASE)
_UNIT = re.compile(
    r"/?\s?(?:[^\W\d_]{2,}|[gmslhL](?![^\W\d_]))|\ba (?=[^\W\d_])|[:!…€£¥₹°'\"]|\b(?:i\.e|e\.g)\.,?"
)
"""What has no value: units, names, currencies."""
_WORD = re.compile(r"[^\W\d_]{2,}")
_CHANGES = re.compile(rf"{CHANGED.pattern}|{COMPOUND.pattern}", CHANGED.flags)


def comes_to(written: str) -> Fraction | None:
    """Return the value of `written`, or None: it is not a sum, or a word changes a number of it."""
    written = _OPERATOR.sub(lambda it: f" {_OPERATORS[it[0].lower()]} ", written)
    if any(word.lower() in SCALES or _CHANGES.match(word) for word in _WORD.findall(written)):
        return None
    return evaluate(_UNIT.sub(" ", written).lstrip(" ,").rstrip(" .,"))


def all_come_to(written: str, number: Fraction) -> bool:
    """Return whether `written` is a sum, or equal sums, of value `number`: `9 * 2 = 36/2`."""
    sides = [side for side in written.split("=") if side.strip()]
    return bool(sides) and all(comes_to(side) == number for side in sides)


_NEXT_SUM = re.compile(
    r"[\s$]*(?P<sign>[-+*/^=]|x(?=\s)|(?:plus|minus|times|divided by|multiplied by)\b)"
    r"\s?(?P<rest>[$(\s.]{0,3}[0-9].*)",
    re.IGNORECASE,
)
_MAKES = re.compile(r"=|\b(?:is|equals|makes|gives)\b", re.IGNORECASE)


def continues_calculation(line: str, number: Fraction) -> bool:
    """Return whether `line` calculates on with the `number` of the line before: `+ 2 = 20`.

    It does not if the sign may mark an entry of a list: `- 2 eggs`, `* 9 * 2 = 18`.
    """
    match = _NEXT_SUM.match(unwrapped(line) if "\\" in line else line)
    if match is None:
        return False
    sign, (first, *others) = match["sign"], _MAKES.split(match["rest"])
    values = [comes_to(side) for side in (first, *others)]
    if None in values:
        return False
    result = values[-1] if others else number
    if result in (values[0], comes_to(f"{sign}{first}")):
        return False
    if sign in "-*" and _WORD.search(match["rest"]):
        return bool(others) and comes_to(f"({number}){sign}{first}") == result
    return True
