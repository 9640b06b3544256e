"""Numbers with a decimal comma, where they can be nothing else: `18,50 €`, `12.345 €`.

    with_points("12.345 €"), with_points("18,- €")    # "12345 €", "18 €"
    with_points("€12.345")                            # None: as in English, or 12345
    with_points("18,5"), with_points("12.345")        # as they are: nothing says more
    with_points("18,5", comma=True)                   # "18.5"

A currency that is written with a decimal comma tells, and so does the language of the sentence.
"""

import re

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
