r"""Which number a final answer spells, as people and models write it. Linear in its length.

    spelled("**$1,200** per week")          # Value(1200)
    spelled(r"\boxed{\frac{3}{4}}")         # Value(3/4)
    spelled("about 18")                     # Value(18, approximate=True)
    spelled("6 or 7"), spelled("5 × 3")     # None, None: two candidates, an unfinished sum

An answer is one number, and nothing that makes another number of it. It may have a unit, a
currency, words before and behind, and wrappers of LaTeX, Markdown and HTML. Of an equation the last
side counts; an unfinished sum must come to the number before it. What follows the sentence is not
read.

A decimal comma is read where it can be nothing else: by the currency, or by the language of the
sentence.

    with_points("12.345 €"), with_points("18,- €")    # "12345 €", "18 €"
    with_points("€12.345")                            # None: as in English, or 12345
    with_points("18,5"), with_points("12.345")        # unchanged: nothing decides
    with_points("18,5", comma=True)                   # "18.5"
"""

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from paribus.evaluation.reckoned import all_come_to
from paribus.evaluation.words import (
    ABOUT,
    BECAUSE,
    CHANGED,
    COMPOUND,
    KILO,
    MONEY_SCALES,
    NUMBER_WORDS,
    RELATION,
    SCALE,
    SCALES,
    THEREABOUTS,
    unwrapped,
)
from paribus.numerals import MAX_LENGTH

_EURO = r"€|(?<![A-Z])EUR(?![A-Z])"
_OTHERS = (
    r"R\$|(?<![^\W\d_])(?:Rp|IDR|VND|TRY|RUB|PLN|CZK|kr|SEK|NOK|DKK)(?![^\W\d_])"
    r"|[₫₺₽]|\bруб|\bzł|\bKč"
)
"""Currencies of a decimal comma; the euro also has a point, where it stands before: €12.50."""
_CURRENCY = re.compile(rf"{_EURO}|{_OTHERS}|\b[Ee]uros?\b")
_NO_CENTS = re.compile(r"(?<=[0-9])[,.]-(?!\s*[0-9])")
"""The dash of `EUR 18,-`."""
_COMMA = re.compile(r"(?<![.0-9][0-9]{3}),(?=[0-9]{1,2}(?![0-9]))(?<=[0-9],)")
_GROUP = re.compile(r"(?<![0-9.,])([1-9][0-9]{0,2})\.([0-9]{3})(?![0-9]|[.,][0-9])")
_EITHER = re.compile(r"(?<![0-9.,])[1-9][0-9]{0,2}[.,][0-9]{3}(?![0-9]|[.,][0-9])")
_GROUPED = re.compile(rf"(?:{_OTHERS})|[0-9]\s?(?:{_EURO})")


def with_points(written: str, *, comma: bool = False) -> str | None:
    """Return `written` with English decimals; None if a number in it may be either of two.

    Args:
        written: some words with a number.
        comma: whether their language writes a decimal comma.
    """
    money = _CURRENCY.search(written)
    if not (money or comma):
        return written
    written = _COMMA.sub(".", _NO_CENTS.sub("", written))
    if not money:
        return None if _EITHER.search(written) else written
    if comma or _GROUPED.search(written):
        return _GROUP.sub(r"\1\2", written)
    return None if _GROUP.search(written) else written


LONGEST = 300
"""Characters of an answer that are read."""
_WORDS_BEFORE = 12
_UNIT_WORDS = 4
"""Words before a number; words behind it where it must stand alone."""


@dataclass(frozen=True, slots=True)
class Value:
    """A number as an answer gives it; `approximate` if it says "about" or "≈"."""

    number: Fraction
    approximate: bool = False


_VULGAR = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"

_WHOLE = (
    r"(?:[0-9]{1,3}(?:\.[0-9]{3}){2,}(?:,[0-9]+)?|[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]+"  # 1.234.567,8
    r"|[1-9][0-9]{0,2}(?P<gap>[,'_ ])[0-9]{3}(?:(?P=gap)[0-9]{3})*(?:\.[0-9]+)?"  # 1,234.5  1 234
    r"|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?:\.[0-9]+)?"  # 12,34,567
    rf"|0,[0-9]+|[0-9]+(?:\.[0-9]+)?|(?<![^\W_])\.[0-9]+|(?=[{_VULGAR}]))"
)
_ANSWER = re.compile(
    rf"(?P<head>[^0-9]*?)(?P<sign>[-+]?)(?P<space>\s*)(?P<whole>{_WHOLE})"
    rf"(?:\s?(?P<vulgar>[{_VULGAR}])"
    r"|\s*/\s*(?P<under>[0-9]+)"
    r"|(?:\s+(?:and\s+)?|-)(?P<over>[0-9]+)\s*/\s*(?P<below>[0-9]+)"
    r"|[eE](?P<power>[-+]?[0-9]{1,2})"
    r"|\s*[*xX]\s*10\s*\^\s*(?P<tens>[-+]?\s?[0-9]{1,2}))?"
    r"(?P<tail>[^0-9]*)"
)
_PLAIN = re.compile(r"\s*\$?\s*(-?(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?)\s*\.?\s*")
"""What nearly all answers are: read without further ado."""

_MONEY = re.compile("[$¢£¤¥\u060b\u0e3f\u20a0-\u20cf\ufdfc]")
_JOINED = re.compile(r"[0-9][\s)\]*$\u20a0-\u20cf]*[(\[*$\u20a0-\u20cf]\s*[0-9]")
_WORKING = re.compile(r"(?<=[0-9])([^0-9()\[\]]+)[(\[]((?:[^()\[\]]|\([^()]*\))*)[)\]]")
"""What stands in parentheses behind the first number: `18 (36/2)`."""
_SIDES_WITHIN = re.compile(r"[0-9][^()]*\([^()]*=[^()]*\)[^=]*\Z")
_RELATIVE = re.compile(r"\b(?:who|that|which)\s(?:\w+\s)?(?:not|\w+n't)\b")
"""18 students who do not like pizza: what is denied is not the number."""
_POWER_OF_TEN = re.compile(r"[*xX]\s?10\s?\^")
_EMPHASIS = re.compile(r"(?<![\w)*])(\*{1,3}|_{1,3}|`+)(?=\S)([^*`]*?[^*`\s])\1(?![\w(*])")
_ENDS = " \t*_`\"'“”‘’«»|"
_SENTENCE = re.compile(
    r"(?<!vs)[.!?][*_\"'”’)\]]*(?=\s+[^a-z\s]|\s*$)|;(?=\s+[^\W\d]|\s*$)"
    rf"|,?\s(?:because|since|{BECAUSE})\b|,?因[为為]"
    r"|,\s+(?:as|which|so|where|given|that|meaning)\b"
    rf"|\s[-\u2014]+\s(?=[A-Za-z]{{2}})(?!(?:{NUMBER_WORDS})\b)"
)
_OTHER_SIDES = re.compile(r"[<>≤≥≠≮≯]|!=")
_ANOTHER = re.compile(r";\s*[A-Za-z][\w ]{0,30}[:=]\s*\W?[0-9]")
"""The second of `Tom: 18; Ann: 20`."""
_LISTED = re.compile(r"[,;]\s|[;|]|\b(?:and|or)\b")
_CALL = re.compile(r"[A-Za-z]\(\s*[-+$]?[0-9]")
"""A function of a number: `f(18)`."""
_NAME = re.compile(r"\W*(?:[^\W\d]\w{0,20}\W*){0,3}")

_PICTURES = "\u2100-\u214f\u2600-\u27bf\U0001f000-\U0001faff"
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0dff\u0e00-\u0eff"
"""Emoji, check marks, signs such as ℃; marks within the words of some scripts."""
_HEAD = re.compile(
    rf"(?:[^\W\d]|[{_PICTURES}{_MARKS}]|[\s.,:;!?'\"“”‘’…|#@&%°/\u2014-]|[≈≃≅~∼≒→⇒∴])*"
)
_CODE = re.compile(
    r"(?:^|.*\W)(?:[A-Z]{2,3}|R[sp]|kr|R)$|.*[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]$", re.DOTALL
)
"""A currency that touches its number, USD18, or a script without blanks."""
_ALONE = re.compile(r"\W*(?:(?:[A-Z]{1,3}|Rs|kr)\W*)?")
_TAIL = re.compile(
    rf"(?:[\s.,:;!?%°'\"“”‘’…|#&@{_PICTURES}{_MARKS}]|[-/](?=\s*[^\W\d_]{{2}})|/(?=\s?[gmslhLtd]\b)|\u2014"
    r"|(?![\u0370-\u03ff])[^\W\d_])*"
)
_KILO = re.compile(f"千(?={KILO})")
_LETTER = re.compile(r"([A-Za-z])(?![^\W\d_])|\s+([b-zB-HJ-Z])\W*$")
"""One letter that touches a number or stands alone behind it: a unit, a scale or a variable."""
_UNIT_LETTERS = frozenset("gmslhLdwtcCpFAVWNJ")


def spelled(written: str, *, alone: bool = False, comma: bool = False) -> Value | None:
    """Return the one number that `written`, a line at most, gives as its answer, or None.

    Args:
        written: a line, of which `LONGEST` characters are read.
        alone: it must be little more than the number: no sentence, a unit of up to four words.
        comma: its language writes a decimal comma.
    """
    written = written[:LONGEST]
    if not comma and (plain := _PLAIN.fullmatch(written)):
        digits = plain.group(1).replace(",", "")
        return _plainly(digits) if len(digits) <= MAX_LENGTH else None
    text = unwrapped(written)
    working = _WORKING.search(text)
    if working and re.search("[0-9]", working[2]) and not working[2].strip().isdigit():
        without = text[: working.end(1)] + text[working.end() :]
        value = _of_sentence(without, alone=alone, comma=comma)
        if value and all_come_to(working[2], value.number):
            return value
    return _of_sentence(text, alone=alone, comma=comma)


def _of_sentence(text: str, *, alone: bool, comma: bool) -> Value | None:
    end = sentence_end(text)
    sentence = text[:end]
    if text[end : end + 1] == "?" or _ANOTHER.match(text, end) or _OTHER_SIDES.search(sentence):
        return None
    *left, last = re.split("[=≈]", sentence)
    if _SIDES_WITHIN.search(sentence) or any(_LISTED.search(side) for side in left[1:]):
        return None
    if alone and any(not _NAME.fullmatch(side) for side in left):
        return None
    about = "≈" in sentence or "~=" in sentence
    checked = ""  # sides without an answer: `18 = 36/2`
    while True:
        value = _of_side(last, alone=alone, comma=comma, about=about)
        if value or not left:
            break
        checked, last = f"{checked}={last}", left.pop()
    sums = re.search("[0-9]", checked)
    return value if value and (not sums or all_come_to(checked, value.number)) else None


def _of_side(side: str, *, alone: bool, comma: bool, about: bool) -> Value | None:
    """Return the number that one side of an equation gives."""
    points = with_points(side, comma=comma)
    if points is None or _CALL.search(points):
        return None
    if _JOINED.search(points) and not _POWER_OF_TEN.search(points):
        return None
    money = bool(_MONEY.search(points))
    bare = re.sub(r"[()\[\]]", " ", _MONEY.sub(" ", _EMPHASIS.sub(r"\2", points))).strip(_ENDS)
    match = _ANSWER.fullmatch(bare)
    return _value(match, money=money, alone=alone, about=about) if match else None


@lru_cache(maxsize=2**16)
def _plainly(digits: str) -> Value:
    return Value(Fraction(digits))


def sentence_end(text: str) -> int:
    """Return where the sentence that holds the first number of `text` ends."""
    first = re.search(r"[0-9]", text)
    end = _SENTENCE.search(text, first.start()) if first else None
    return end.start() if end else len(text)


def _value(match: re.Match[str], *, money: bool, alone: bool, about: bool) -> Value | None:
    head, tail = match["head"], match["tail"]
    touches = head[-1:].isalpha() and not match["space"] and not match["sign"]
    if touches and not _CODE.match(head):
        return None
    if not (_is_before(head, alone=alone) and _is_behind(tail, money=money, alone=alone)):
        return None
    number = _number(match)
    scale = _scale(tail, money=money)
    if number is None or scale is None:
        return None
    sign = _sign(match)
    if sign is None:
        return None
    about = about or bool(ABOUT.search(head) or THEREABOUTS.match(tail))
    return Value(sign * number * scale, approximate=about)


def _is_before(head: str, *, alone: bool) -> bool:
    """Return whether the words before a number leave it as it is."""
    words = head.split()
    few = _ALONE.fullmatch(head) if alone else len(words) <= _WORDS_BEFORE
    return bool(
        few
        and _HEAD.fullmatch(head)
        and not RELATION.search(head)
        and not any(map(str.isnumeric, head))
    )


def _is_behind(tail: str, *, money: bool, alone: bool) -> bool:
    """Return whether what is behind a number leaves it as it is: a unit, the rest of a sentence."""
    if letter := _LETTER.match(tail):
        name = letter[1] or letter[2]
        if not (name in _UNIT_LETTERS or name in SCALES or (money and name in MONEY_SCALES)):
            return False
    rest = _without_scales(tail)
    return bool(
        _TAIL.fullmatch(tail)
        and not CHANGED.match(_RELATIVE.sub("", rest) if "n" in rest else rest)
        and not (rest != tail and COMPOUND.match(rest))
        and not any(map(str.isnumeric, _KILO.sub("", rest)))
        and (not alone or len(tail.split()) <= _UNIT_WORDS)
    )


def _factor(word: str) -> int:
    """Return what a word multiplies by; 0 if it is no scale. Short ones keep their case: m, M."""
    return SCALES.get(word, SCALES.get(word.lower(), 0) if len(word) > 2 else 0)


def _without_scales(tail: str) -> str:
    while (word := SCALE.match(tail)) and _factor(word[1]):
        tail = tail[word.end() :]
    return tail


def _scale(tail: str, *, money: bool) -> int | None:
    """Return what the words behind a number multiply it by: 10**6 for `million`."""
    scale = 1
    while word := SCALE.match(tail):
        factor = (MONEY_SCALES.get(word[1], 0) if money else 0) or _factor(word[1])
        if not factor:
            break
        scale *= factor
        tail = tail[word.end() :].removeprefix(".")
    return scale if scale <= 10**18 else None


def _sign(match: re.Match[str]) -> int | None:
    """Return 1 or -1; None for a minus that subtracts: `x-18`."""
    head, sign = match["head"], match["sign"]
    if re.search(
        r"(?:\bnegative|^\W*(?:minus|menos|moins|минус)|[负負]|マイナス)\W*$", head, re.IGNORECASE
    ):
        return -1
    if not sign:
        return 1
    if head[-1:].isalnum() or head[-1:] == ")":
        return None
    if head.strip() and match["space"]:  # a dash: "Answer - 18"
        return 1
    return -1 if sign == "-" else 1


def _number(match: re.Match[str]) -> Fraction | None:
    """Return the number without its sign; None for a division that was left undone: `36/2`."""
    whole = _decimal(match["whole"])
    if whole is None:
        return None
    if match["vulgar"]:
        return whole + Fraction(unicodedata.numeric(match["vulgar"])).limit_denominator(10)
    if match["power"] or match["tens"]:
        exponent = int((match["power"] or match["tens"]).replace(" ", ""))
        return whole * Fraction(10) ** exponent
    if match["under"] or match["below"]:
        over, under = match["over"], int((match["under"] or match["below"])[:MAX_LENGTH])
        part = Fraction(int(over[:MAX_LENGTH]), under) if over and under else None
        fraction = whole / under if under and not over else part
        if fraction is None or fraction.denominator == 1:
            return None
        return whole + fraction if over else fraction
    return whole


def _decimal(digits: str) -> Fraction | None:
    if len(digits) > MAX_LENGTH:
        return None
    bare = re.sub("[,'_ ]", "", digits) or "0"
    if digits.startswith("0,"):
        bare = digits.replace(",", ".")
    if digits.count(".") > 1 or re.search(r"\.[0-9]+,", digits):  # 1.234.567,8
        bare = digits.replace(".", "").replace(",", ".")
    return Fraction(bare)
