"""The one number normaliser, for gold answers and predictions alike.

parse("$1,234.00.")  ->  Decimal("1234")
parse("-.5 %")       ->  Decimal("-0.5")
parse("twelve")      ->  None
"""

import re
from decimal import Decimal
from functools import lru_cache

MAX_LENGTH = 64
"""Characters. Longer digit strings are noise from a model that loops, not answers."""

_DROPPED = str.maketrans("", "", "$,% \t")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")


def parse(text: str) -> Decimal | None:
    """Return the number that `text` spells, or None if it spells none.

    `$`, `,`, `%`, blanks and trailing dots carry no value and are dropped. The result is
    normalised: equal numbers have equal digits (`29.00` and `29` are both `29`).
    """
    return _parse(text) if len(text) <= MAX_LENGTH else None


@lru_cache(maxsize=2**16)
def _parse(text: str) -> Decimal | None:
    bare = text.strip().translate(_DROPPED).rstrip(".")
    if not _NUMBER.fullmatch(bare):
        return None
    number = Decimal(bare)
    return Decimal(0) if number == 0 else number


def canonical(text: str) -> str | None:
    """Return the shortest plain spelling of the number in `text` (no exponent), or None.

    canonical("29.00") == "29"; canonical("1e3") is None.
    """
    number = parse(text)
    if number is None:
        return None
    plain = format(number, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain
