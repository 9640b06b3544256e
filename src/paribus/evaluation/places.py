r"""Where a text may give its answer: the places of each style. `final` reads them, the last first.

    [place.written for place in places("#### 1. Eggs\n#### Eggs\nThe answer is 9.", "auto")]
    # [" Eggs", " 9."]: a numbered heading is not a place for an answer

    [written for _, written in boxed(r"x = -\boxed{18}")]          # ["-18"]
    [written for _, written in boxed(r"5 + \boxed{18}")]           # []: part of an expression
    [written for _, written in boxed(r"It is not \boxed{18}")]     # ["It is not 18"]: no answer

A box counts at the beginning of its line or behind a sentence, words, `=` or `:`. Behind anything
else (a digit, an operator, a command such as `\sqrt{`) it is part of an expression.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from paribus.evaluation import words
from paribus.evaluation.reckoned import continues_calculation
from paribus.evaluation.spelled import LONGEST, sentence_end
from paribus.evaluation.words import unwrapped
from paribus.records import AnswerStyle

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
"""What makes another number of the one in a box, or retracts it."""
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
    listed: set[int] = set()
    for number, (match, other) in enumerate(zip(boxes, boxes[1:], strict=False)):
        gap = part[match.end() : min(other.start(), match.end() + 30)]
        beside = other.start() - match.end() < 30 and "\n" not in gap
        if beside and match[1] != other[1] and _LISTED.fullmatch(gap):
            listed |= {number, number + 1}
    return listed


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


@dataclass(frozen=True, slots=True)
class AnswerPlace:
    """Where an answer may stand.

    Attributes:
        start: where in the text.
        written: what stands there, up to a line.
        open: whether the text was cut, and a longer one may add to it.
        alone: whether a number must stand there alone, without a sentence around it.
        comma: whether its language writes a decimal comma.
    """

    style: AnswerStyle
    start: int
    written: str
    open: bool = False
    alone: bool = False
    comma: bool = False


_MARK = re.compile(r"#####*+((?:[^\n#]++|#(?!###))*+)")
_NEXT_LINE = re.compile(r"\s{0,8}(?:[-*+\u2022][ \t]{1,4})?([^\n]{0,300}+)")
_BLANK = re.compile(r"[\s:*_$\\\[(>]*+")
_PHRASE = re.compile(
    r"(?P<first>\b(?:the|final|correct|my|our)\s)?(?<![^\W_])answers?(?:'s\b)?[*_\"]{0,3}"
    r"(?:\s?\([^()\n]{1,40}\))?(?:[ \t](?:to|of|for)[ \t][^\n.:=?]{1,80}?)?[ \t]{0,3}"
    r"(?P<verb>(?<='s)|\b(?:is|are|was|equals|will be|would be|should be|comes to|must be)\b"
    r"[ \t]*+:?|:|=|\u2248|\u2192|->|-(?=\s)|(?=\n))[*_]{0,3}(?=(?P<said>[^\n]{0,300}))",
    re.IGNORECASE,
)
_SAID_ELSEWHERE = re.compile(
    rf"(?:\b(?P<comma>(?:{words.ANSWER_IS})(?!\w))|{words.ANSWER_IS_TOUCHING})"
    r"(?P<verb>\s?:?)[*_]{0,3}(?=(?P<said>[^\n]{0,300}))",
    re.IGNORECASE,
)
"""`The answer is` in ten languages; those of Europe write a decimal comma."""
_SUPPOSED = re.compile(
    r"\b(?:(?:if|suppose|supposing|assume|assuming|whether|unless|doubt|false|untrue|unlikely|"
    r"(?:not|n't) (?:think|believe|true|sure|clear|certain|mean|say))\s+(?:that\s+)?"
    r"|(?:wrong|incorrect|false|partial|intermediate|preliminary|initial|previous|first|tempting)\s+)"
    r"(?:the\s+)?$|n't (?:think|believe)\s+(?:that\s+)?(?:the\s+)?$"
    rf"|{words.SUPPOSED}",
    re.IGNORECASE,
)
"""Before "the answer is": it is not said to be."""
_OF_A_STEP = re.compile(
    r"\s(?:to|of|for)\s(?:this\s|the\s|that\s)?(?:(?:first|previous|other|next|sub)\b|step|part|"
    r"sub-?question)",
    re.IGNORECASE,
)
_RETRACTED = re.compile(
    r"(?:[.!?;\u2026][*_)]*\s+|\s[\u2014-]+\s*|\n\s{0,80})[*_(]{0,3}(?:(?:but|and|oh|ah),?\s)?(?:"
    r"(?:wait|sorry|oops|whoops|correction|hmm+|scratch that|strike that|never ?mind|my mistake|"
    r"my bad|on second thought|i made an? (?:mistake|error)|(?:it|that|this) should (?:be|have)|"
    r"let me (?:recheck|redo|recalculate|recompute|correct|fix|try again))\b|no(?:pe)?[,.!]"
    r"|actually,? (?:it|that|this|no)\b"
    r"|(?:it|that|this|which)(?:['\u2019]s| is| was| seems| looks| can(?:no|')t be| isn['\u2019]t)"
    r" (?:not |also |probably |in)?(?:wrong|incorrect|correct(?<=not correct)|right(?<=not right)|"
    r"true(?<=not true)|false|mistaken|impossible|a mistake|an error))",
    re.IGNORECASE,
)
"""What takes an answer back, at the beginning of a sentence behind it or of the next line."""
_LINE_AND_NEXT = re.compile(
    r"(?:[^\n0-9]{0,300}+\n\s{0,20}+)?+[^\n]{0,300}(?:\s{0,20}\n(?P<next>[^\n]{0,80}))?"
)
"""The line of an answer, the number of which may stand below a mark, and the next one."""
_OPEN_BOX = re.compile(r"oxed\s?\{([^{}\n]{0,300})\Z")
_LINE_MARK = re.compile(
    r"[ \t]*(?:>[ \t]*)?(?:#{1,6}[ \t]+)?(?:(?:[-*+\u2022]|[0-9]{1,2}[.)])[ \t]+)?"
    r"(?i:[*_]{0,3}(?:ans\.:?|(?:ans|solution|result"
    rf"|{words.LABELS_TOUCHING}|(?P<comma>{words.LABELS}))\s?:)[*_]{{0,3}}\s*)?"
)
"""A list's or a quotation's mark, and what languages call an answer."""

_HEADING = re.compile(
    r"[\s*_(]{0,8}(?:(?:step|part|section|case|question|problem|method|option|chapter|stage|phase|"
    r"approach|example|exercise|task|scenario|solution|round|level|figure|table|equation)"
    r"\s?#?[0-9]|(?:day|week|month|year|hour|person|item|page|room|lesson|no\.|nr\.)"
    r"\s?#?[0-9]+[\s*_]{0,4}(?:[:.)\u2014-]|\Z))",
    re.IGNORECASE,
)
_TITLE = re.compile(
    r"[\s*_(]{0,8}[0-9]{1,2}[\s*_]{0,4}[.):\u2014-]{1,3}[\s*_]{1,8}(?:(?i:find|calculate|compute|"
    r"determine|add|subtract|multiply|divide|count|solve|work|figure|set|identify|convert|"
    r"understand|sum|apply|use|write|check|how|what)\b"
    r"|(?!(?:This|That|These|Those|It|She|He|They|We|You|I|There|The|So|Thus|Hence|Therefore|"
    r"Hope|Note|Because|Since|Each|All|Wait|No)\b)[A-Z](?!.*(?:[.!?][\s*_)]*\Z|\b(?:is|are|was|"
    r"were|has|have|had|will|can|makes?|needs?|gets?)\b)))"
)
"""A title behind a number: an instruction, or words with a capital that are no sentence."""
_NUMBERED = re.compile(
    r"[\s*_(]{0,8}([0-9]{1,2})(?:(\s?[.):\u2014-]{1,3})[\s*_]{0,8}[^\W_]"
    r"|\s[\s*_]{0,8}[^\W\d]|[\s*_)]{0,8}\Z)"
)
_HEADINGS = re.compile(
    r"^[ \t]{0,8}#{1,6}[\s*_(]{0,8}([0-9]{1,2})(?:\s?[.):\u2014-]|\s)", re.MULTILINE
)
_FIRST = re.compile(r"#[\s*_(]{0,8}0?1(?![0-9])")
"""In a text with a first heading: most have none, and need not be read line by line."""


def places(part: str, style: AnswerStyle, *, cut: bool = False) -> Iterator[AnswerPlace]:
    """Yield where answers of `style` may stand, but for the last line; `cut` as in `final`."""
    if style in ("auto", "marked") and "####" in part:
        yield from _marked(part, cut=cut)
    if style in ("auto", "phrase") and ("nswer" in part or "NSWER" in part):
        yield from _phrases(_PHRASE, part, cut=cut)
    if style in ("auto", "phrase") and any(map(part.__contains__, words.ANSWERS)):
        yield from _phrases(_SAID_ELSEWHERE, part, cut=cut)
    if style in ("auto", "boxed") and ("oxed" in part or "<answer>" in part):
        yield from _boxed(part, cut=cut)


_STATED_LAST = re.compile(r"####( -?[0-9]{1,15})\n?\Z")
_OTHER_ANSWERS = ("nswer", "NSWER", "oxed", *words.ANSWERS)
"""One of these is in a text that gives an answer without a mark."""


def stated_last(part: str) -> AnswerPlace | None:
    """Return where a text ends in `#### N`, if it has no other mark, phrase or box; else None.

    Most texts do, and nothing behind it can retract it, calculate on, or make it a heading.
    """
    if part.count("#") != 4 or any(map(part.__contains__, _OTHER_ANSWERS)):
        return None
    start = part.rfind("#") - 3
    mark = _STATED_LAST.match(part, start) if start >= 0 else None
    return AnswerPlace("marked", start, mark[1]) if mark else None


def is_retracted(part: str, place: AnswerPlace) -> bool:
    """Return whether the next sentence or line retracts the answer at `place`."""
    match = _LINE_AND_NEXT.match(part, place.start)
    return bool(match and _RETRACTED.search(match[0]))


def is_calculated_on(part: str, place: AnswerPlace, number: Fraction) -> bool:
    """Return whether the line behind `place` continues to calculate with its `number`."""
    match = _LINE_AND_NEXT.match(part, place.start)
    return bool(match and match["next"] and continues_calculation(match["next"], number))


def last_line(part: str) -> AnswerPlace | None:
    """Return the last line that is not blank, without a mark or a label: `- `, `Antwort:`."""
    whole = part.rstrip()
    start = whole.rfind("\n") + 1
    line = whole[start:]
    if _is_title(line.lstrip("# ")):
        return None
    mark = _LINE_MARK.match(line)
    written = line[mark.end() :] if mark else line
    if len(written) > LONGEST:
        return None
    comma = bool(mark and mark["comma"])
    return AnswerPlace("last_line", start, written, alone=True, comma=comma)


def _boxed(part: str, *, cut: bool) -> Iterator[AnswerPlace]:
    for start, written in boxed(part):
        yield AnswerPlace("boxed", start, written)
    if half := _OPEN_BOX.search(part):
        yield AnswerPlace("boxed", half.start(), half[1], open=cut)


def _marked(part: str, *, cut: bool) -> Iterator[AnswerPlace]:
    marks = list(_MARK.finditer(part))
    headings = _headings(part, marks)
    for mark in marks:
        if mark.start() in headings:
            continue
        if _BLANK.fullmatch(mark[1]):
            written, ends = _below(part, mark.end())
            yield AnswerPlace("marked", mark.start(), written, open=cut and ends, alone=True)
        else:
            ends = cut and _is_open(mark, 1, part)
            yield AnswerPlace("marked", mark.start(), mark[1][:LONGEST], open=ends)


def _headings(part: str, marks: Sequence[re.Match[str]]) -> frozenset[int]:
    """Return where `####` begins a heading: `#### Step 2`, `#### 2. Find the profit`.

    `#### 2 eggs`, `#### 2` are headings only among others: behind or before a 1, and its like.
    """
    headings = {mark.start() for mark in marks if _is_title(mark[1])}
    if not _FIRST.search(part):
        return frozenset(headings)
    numbered = {mark.start(): it for mark in marks if (it := _NUMBERED.match(mark[1]))}
    numbers = {int(number) for number in _HEADINGS.findall(part)} if numbered else set()
    end = len(part.rstrip())
    for mark in marks:
        it = numbered.get(mark.start())
        if it is None or 1 not in numbers:
            continue
        number, follows = int(it[1]), mark.end() < end
        among = bool(numbers & {number - 1, number + 1})
        if (follows and (among or (number == 1 and it[2]))) or (among and it[2] and number > 1):
            headings.add(mark.start())
    return frozenset(headings)


def _is_title(line: str) -> bool:
    return bool(_HEADING.match(line) or _TITLE.match(line[:LONGEST]))


def _phrases(pattern: re.Pattern[str], part: str, *, cut: bool) -> Iterator[AnswerPlace]:
    for phrase in pattern.finditer(part):
        if _is_supposed(phrase, part):
            continue
        parts = phrase.groupdict()
        written, comma = phrase["said"], bool(parts.get("comma"))
        alone = not parts.get("first", True) and phrase["verb"][-1:] in ":=>-"
        if _BLANK.fullmatch(written):
            written, ends = _below(part, phrase.end("said"))
            alone = True
        else:
            ends = _is_open(phrase, "said", part)
        yield AnswerPlace(
            "phrase", phrase.start(), written, open=cut and ends, alone=alone, comma=comma
        )


def _below(part: str, end: int) -> tuple[str, bool]:
    """Return the line below a mark or phrase that ends there, and whether the text ends with it."""
    line = _NEXT_LINE.match(part, end)
    return (line[1], line.end() == len(part)) if line else ("", True)


def _is_supposed(phrase: re.Match[str], part: str) -> bool:
    """Return whether the words before a phrase, or its object, make it no final answer."""
    before = part[max(0, phrase.start() - 40) : phrase.start()]
    return bool(_SUPPOSED.search(before) or _OF_A_STEP.search(phrase[0]))


def _is_open(match: re.Match[str], group: int | str, part: str) -> bool:
    """Return whether a group that reaches the end of `part` is a sentence without an end."""
    if match.end(group) < len(part):
        return False
    written = match[group][:LONGEST]
    return sentence_end(written + "A") > len(written)
