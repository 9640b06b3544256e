r"""Where a text boxes its answer, and what stands around a box and makes another number of it.

    [written for _, written in boxed(r"x = -\boxed{18}")]          # ["-18"]
    [written for _, written in boxed(r"5 + \boxed{18}")]           # []: a part of more
    [written for _, written in boxed(r"It is not \boxed{18}")]     # ["It is not 18"]: no answer

A box stands at the beginning of its line or behind a sentence, words, `=` or `:`; behind anything
else (a digit, an operator, a command such as `\sqrt{`) it is a part of more, and no answer.
"""

import re
from collections.abc import Iterator

from paribus.evaluation.unwrapped import unwrapped

_BOX = re.compile(
    r"(?:\\|\x08)?f?b?oxed\s?\{((?:[^{}]++|\{(?:[^{}]++|\{[^{}]*+\})*+\})*+)\}"
    r"|<answer>([^<]{0,300}+)</answer>"
)
_SCALE_WORD = re.compile(
    r"[\s$]{0,4}(?:\\text\{)?\s{0,2}(?:hundred|thousand|[a-z]{0,9}illion|dozen|k|K|M|B)s?\b"
)
_GOES_ON = re.compile(
    r"[\s$]{0,3}(?:[0-9\^/*+²³]|\.[0-9]|-\s?[0-9]|\\(?:times|cdot|div|pm)\b|\\?%\s{1,3}of\b)"
    r"|[\s$*)]{0,6}(?:(?:is|was|seems|looks|are)\s)?(?:not|isn't|wasn't|wrong|incorrect|false)\b"
    r"|[\s$]{0,3}(?:or|and|to|plus|minus|times|divided|squared|cubed)\s{1,2}"
    r"(?:[$\\]{0,3}(?:f?boxed|[0-9])|more|less|so\b)"
)
"""What makes another number of the one in a box, or takes it back."""
_BEFORE = 100
"""Characters before a box that are read."""
_STARS = re.compile(r"(?<![0-9)}])(?<![0-9)}] )\*{1,3}(?=[\s$(\\\[]*\Z)")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[^{}]*\}")
_ARROW = re.compile(r"\\(?:(?:[Ll]ong)?[Rr]ightarrow|implies|to|therefore)\b|[-=]{1,100}>|[→⇒⟹∴]")
_LIST_MARK = re.compile(r"[ \t]*(?:>[ \t]*)?(?:#{1,6}[ \t]+)?(?:(?:[-*+•]|[0-9]{1,2}[.)])[ \t]+)?")
_LISTED = re.compile(
    r"[\s$),;\]\\&]*(?:text\s?\{\s*)?(?:or|and|vs\.?)?[\s}$(\[\\]*(?:[A-Za-z]\w?\s*=\s*)?[\s$(\[\\]*"
)
_LED = re.compile(
    r"(?:^|(?P<about>[≈~])|(?<![!<>])=|[^\s0-9]:|[0-9]:(?=\s)|[^0-9][.!?;,]|[0-9][.!?;,](?=\s)"
    r"|(?<=[A-Za-z])\)(?=\s)|—|[^\W\d]\s-(?=\s)|\|(?=\s)|&)[\s$€£¥(\[\"'“#]*\Z"
)
"""What may stand before a box: its number is whole."""
_MINUS = re.compile(r"(?:^|[=:(,≈]|[^\W\d]{2})[\s$(\[]{0,200}-[\s$(\[]{0,200}\Z")
_WORDS = re.compile(
    r"(?:^|(?<=[^\w\\]))((?:[^\W\d_][\w'’-]*,?\s+){0,12}[^\W\d_]{2,}[,]?)"
    r"(?:[$€£¥\"'“#]|\s[$€£¥(\[\"'“#]*)+\Z"
)


def boxed(part: str) -> Iterator[tuple[int, str]]:
    """Yield where boxes of `part` stand that may give an answer, and what they say."""
    boxes = list(_BOX.finditer(part))
    listed = _listed(part, boxes)
    for number, box in enumerate(boxes):
        inside = (box[1] or box[2] or "").strip()
        if number in listed or _GOES_ON.match(part, box.end()):
            continue
        before = _before(part, box.start())
        scale = _SCALE_WORD.match(part, box.end())
        if before is not None:
            yield box.start(), before + inside + (scale[0] if scale else "")


def _listed(part: str, boxes: list[re.Match[str]]) -> set[int]:
    """Return which boxes stand beside one with something else in it: `\\boxed{5}, \\boxed{7}`."""
    found: set[int] = set()
    for number, (one, other) in enumerate(zip(boxes, boxes[1:], strict=False)):
        gap = part[one.end() : min(other.start(), one.end() + 30)]
        beside = other.start() - one.end() < 30 and "\n" not in gap
        if beside and one[1] != other[1] and _LISTED.fullmatch(gap):
            found |= {number, number + 1}
    return found


def _before(part: str, start: int) -> str | None:
    """Return what counts with the box at `start`: words, a sign; None if it is a part of more."""
    begins = part.rfind("\n", max(0, start - _BEFORE), start) + 1 or max(0, start - _BEFORE)
    line = part[begins:start]
    if not line.strip(" \t$"):
        return ""
    mark = _LIST_MARK.match(line)
    line = line[mark.end() :] if mark else line
    text = unwrapped(_ARROW.sub("=", _ENVIRONMENT.sub("", _STARS.sub("", line))))
    if led := _LED.search(text):
        return "≈ " if led["about"] else ""
    if _MINUS.search(text):
        return "-"
    words = _WORDS.search(text)
    return words[1] + " " if words else None
