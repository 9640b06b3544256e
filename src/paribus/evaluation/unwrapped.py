r"""Take a number out of its wrappers: Unicode's look-alikes, LaTeX, HTML, markdown's strikes.

    plain("１８\u200b")                             # "18"
    unwrapped(r"\text{Total: } \$9{,}500")         # "Total:  $9,500"

What has no plain spelling becomes a backslash, which no number may stand beside.
"""

import html
import re
import unicodedata


class _Plain(dict[int, str | None]):
    """For `str.translate`: what a character is in plain text, looked up when it is first met."""

    def __missing__(self, code: int) -> str | None:
        self[code] = _plain_character(chr(code))
        return self[code]


_SIGNS = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63", "-"),
    **dict.fromkeys("\u2018\u2019\u02bc", "'"),
    **dict.fromkeys("\u00d7\u22c5\u00b7\u2219\u2217\u2715\u2716", "*"),
    **dict.fromkeys("\u2028\u2029\u0085", "\n"),
    **dict.fromkeys("\ufe0f\u20e3"),  # of key caps
    **{"\u00f7": "/", "\u2044": "/", "\u2215": "/", "\u066b": ".", "\u066c": ",", "\u060c": ","},
    **{"\u3002": ". ", "\u066a": "%"},
}


def _plain_character(character: str) -> str | None:
    if character in _SIGNS:
        return _SIGNS[character]
    kind = unicodedata.category(character)
    if kind == "Nd":
        return str(unicodedata.decimal(character))
    if "\uff01" <= character <= "\uff5e":  # full width
        return chr(ord(character) - 0xFEE0)
    if kind in ("Zs", "Cf"):  # blanks; what has no width
        return " " if kind == "Zs" else None
    return character


_CHARACTERS = _Plain({code: chr(code) for code in range(128)})


_BREAK = re.compile(r"<br\s?/?>")


def plain(text: str) -> str:
    """Return `text` with ASCII digits, blanks and signs; what has no width is left out."""
    text = text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    text = _BREAK.sub("\n", text) if "<br" in text else text
    return text if text.isascii() else text.translate(_CHARACTERS)


_WRAPPERS = (
    "text textbf textit textrm textsf texttt textnormal mathbf mathrm mathit mathsf mathtt emph bf "
    "boldsymbol bm rm it boxed fbox mbox hbox left right big Big bigl bigr Bigl Bigr underline "
    "displaystyle textstyle operatorname mathord"
)
_SPELLINGS = {
    "*": "times cdot ast",
    "": "checkmark square blacksquare Box qed qedhere",
    "≈": "approx approxeq sim simeq cong thickapprox doteq",
    "<": "ge geq gt le leq lt ne neq pm mp",
    " ": "quad qquad space enspace thinspace newline par n to rightarrow Rightarrow longrightarrow "
    "implies therefore",
    "$": "textdollar dollar",
    "%": "percent textpercent",
    "…": "dots ldots",
}
_NAMED = {
    **dict.fromkeys(_WRAPPERS.split(), ""),
    **{name: sign for sign, names in _SPELLINGS.items() for name in names.split()},
    **{"div": "/", "degree": "°", "pounds": "£", "euro": "€", "cent": "¢", "equiv": "=", "!": ""},
    **dict.fromkeys(",;: ()[]\\{}", " "),
    **{sign: sign for sign in "$%#&_"},
}
"""LaTeX's commands in plain text."""
_COMMAND = re.compile(r"\\([A-Za-z]+|.)")
_COLOR = re.compile(r"\\(?:text)?color\s?\{[^{}]*\}")
_FRACTION = re.compile(r"\\[dtc]?frac\s?(?:\{([^{}]*)\}\s?\{([^{}]*)\}|([0-9])\s?([0-9]))")
_DEGREE = re.compile(r"\^\s?\{?\s?\\circ\s?\}?")
_BLANK_BEFORE_UNIT = re.compile(r"~(?=\s?[A-Za-z\\])")
_POWER_OF_UNIT = re.compile(r"(?<=[A-Za-z])(?:\s?\^\s?[23]|[²³])")
_AREA = re.compile(r"(?<![A-Za-z])([kcdm]?m|ft|in|yd|mi)[23]\b")
_ARROW = re.compile(r"[-=]+>|[→⇒⟹∴]")
_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9]{0,10}(?:\s[^<>]{0,99})?/?>|<!--.{0,99}?-->")
_LINK = re.compile(r"\[([^\[\]]*)\]\([^()\s]*\)")
_PLACEHOLDER = re.compile(r"<\s?([$0-9][^<>]*)>")
_RAISED = re.compile(r"\^\s?(?=(?:st|nd|rd|th)\b)")
"""`<18>`; the end of 18^th."""
_STRUCK = re.compile(r"~~[^~\n]*~~|<(del|s|strike)>[^<\n]{0,99}</\1>")
_ANNOTATION = re.compile(r"<<[^<>\n]*>>")


def unwrapped(written: str) -> str:
    """Return a line of text, which `plain` has read, without its wrappers."""
    if "&" in written:
        written = plain(html.unescape(written))
    if "<" in written:
        written = _ANNOTATION.sub("", _STRUCK.sub("", written)).replace("<sup>", "^")
        written = _PLACEHOLDER.sub(r" \1 ", _TAG.sub(" ", written))
    written = _ARROW.sub(" ", _STRUCK.sub("", _LINK.sub(r"\1", written)))
    written = _without_latex(written)
    written = written.replace("{,}", ",").replace("{.}", ".")
    written = _POWER_OF_UNIT.sub("", _RAISED.sub("", re.sub("[{}]", "", written)))
    return _AREA.sub(r"\1", written)


def _without_latex(written: str) -> str:
    if "\\" not in written:
        return _BLANK_BEFORE_UNIT.sub(" ", written)
    written = _BLANK_BEFORE_UNIT.sub(" ", _DEGREE.sub("°", _COLOR.sub("", written)))
    written = _FRACTION.sub(lambda it: f" {it[1] or it[3]}/{it[2] or it[4]} ", written)
    return _COMMAND.sub(lambda it: _NAMED.get(it[1], "\\"), written)
