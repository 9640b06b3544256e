"""The steps of a solution, and why a wrong one may be wrong.

    steps("Leo has 12*3=<<12*3=36>>36 pens.")[0]
        expression "12*3", result "36", operands (12, 3), value 36, written 36, consistent True
    steps("Leo has 12 x 3 = $36.")               the same, read from the equation
    count_gold_steps(solution)                   2
    signal(generation, outcome)                  "copy_slip"

Steps are read from the calculator annotations. Models tuned on stripped solutions write none, so
the equations of a text without annotations are read: units are skipped (`12 pens * 3 = 36 pens`),
and what has letters in it or begins mid-way (`2x + 3 = 7`) is not a step. On GSM8K's own
solutions, stripped, that finds 97 % of the annotated results; 0.3 % of what it reads looks like a
slip and is none.

The signal of a generation is the first of this table that fires. For
"Tom has 3 boxes of 4 pens and 5 more. How many pens?" with the gold solution
`<<3*4=12>> <<12+5=17>> #### 17` (in the row of `unknown` it is not known):

| signal                    | fires when                 | on a text such as                       |
|---------------------------|----------------------------|-----------------------------------------|
| failed                    | nothing usable was written |                                         |
| repetition_loop           | no answer, ends in copies  | 12 pens, 12 pens, 12 pens, 12           |
| truncated                 | no answer at the limit     | 3*4=<<3*4=12>>12 and then               |
| no_answer                 | ended without an answer    | It is 3*4=<<3*4=12>>12.                 |
| no_steps                  | nothing is computed        | It is #### 19                           |
| stopped_early             | answer is a step of gold's | <<3*4=12>> #### 12                      |
| arithmetic_slip           | a result is not its value  | <<3*4=14>> <<14+5=19>> #### 19          |
| copy_slip                 | answer is nowhere computed | <<3*4=12>> <<12+5=17>> #### 71          |
| ungrounded_number         | an operand from nowhere    | <<3*4=12>> <<12+8=20>> #### 20          |
| unknown                   | gold's steps are not known | <<3+5=8>> #### 8                        |
| fewer_steps               | fewer steps than gold      | <<3+5=8>> #### 8                        |
| more_steps                | more steps than gold       | <<3*5=15>><<4+5=9>><<15+9=24>> #### 24  |
| same_steps_wrong_relation | as many steps as gold      | <<3*5=15>> <<15-4=11>> #### 11          |

A signal is not a diagnosis: the rules are blunt, and a problem has more than one solution. The last
three count steps as a stand-in for reasoning; and one in eight of GSM8K's own gold solutions uses
a number that `ungrounded_number` cannot place. An operand is placed if the question has it, in
digits, in words, as a fraction, or as a percentage (20 % off: 0.2, 0.8, 80), if it is an earlier
result, or if it is a count up to 4 or a common unit (7 days, 60 minutes, 100 cents).

Of the 1,894 wrong solutions that OpenAI published for
two fine-tuned GPT-3 models 27 % have fewer steps, 20 % more, 22 % as many; 11 % have an ungrounded
number, 9 % a copy slip, 8 % stop early, 1 % have an arithmetic slip (a calculator was on).
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache

from paribus.evaluation.calculator import MAX_EXPRESSION, SIGNIFICANT_DIGITS, evaluate, numbers
from paribus.evaluation.final import own_part
from paribus.evaluation.scoring import answer_of, own_text
from paribus.numerals import parse
from paribus.records import AnswerStyle, Generation, Outcome

_ANNOTATION = re.compile(
    rf"<<([^<>=\n]{{1,{MAX_EXPRESSION}}}+)=([^<>=\n]{{0,{MAX_EXPRESSION}}}+)>>"
)

_NOISE = Fraction(10, 10**SIGNIFICANT_DIGITS)
"""Share of a value by which a calculator's result may miss it, ours or one that uses floats."""

_LIST_MARK = re.compile(r"[ \t]*+(?:[-*+]|[0-9]{1,3}[.)])[ \t]++")
_SIGNS = str.maketrans(
    {"\u00d7": "*", "\u00f7": "/", "\u2212": "-", "\u2013": "-", "\u20ac": "$", "\u00a3": "$"}
)
_TIMES = re.compile(r"(?<=[0-9)% ])[xX](?= ?[(0-9$.])")
# Up to six words between a number and a sign: `48 pieces of mail / 8`, `$2/pen = `.
_UNIT = re.compile(r"(?<=[0-9)%])(?:[ \t/][A-Za-z]{2,24}+){1,6}+(?=[ \t]*+[-+*/=])")
# A full stop or a comma before a blank ends a sentence, not a number.
_ARITHMETIC = re.compile(r"(?:[-0-9+*/()=$% \t]++|[.,](?![ \t]))++")
_DECIMALS = re.compile(r"\.([0-9]*+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One computation in a solution, as written.

    Attributes:
        expression: what is computed, as written.
        result: what was written as its result; may be empty or no number.
        operands: the unsigned numbers in `expression`, `25%` as 25.
        value: of `expression`, exact; None if it has none.
        written: value of `result`, `25%` as 25; None if it has none. Where it misses `value` by a
            calculator's rounding only (1 in 10^11), it is `value`.
        consistent: whether `written` is `value`, or `value` rounded to the decimals written
            (either way at a tie). Where a `%` is written, `value` may be in hundredths. None if
            either value is missing.
    """

    expression: str
    result: str
    operands: tuple[Fraction, ...]
    value: Fraction | None
    written: Fraction | None
    consistent: bool | None


def annotated_steps(text: str) -> tuple[Step, ...]:
    """Return the steps written as `<<12*3=36>>`, in their order. Main and socratic solutions of
    a problem have the same. Linear in the length of `text`, as is `steps`."""
    return tuple(_step(*match.groups()) for match in _ANNOTATION.finditer(text))


def steps(text: str) -> tuple[Step, ...]:
    """Return the annotated steps; if there is none, those written as plain equations."""
    read = (_step(*sides) for sides in _equations(text))
    return annotated_steps(text) or tuple(step for step in read if step.value is not None)


_gold_steps = lru_cache(maxsize=2**13)(annotated_steps)
"""Kept: every run answers the same problems."""


def count_gold_steps(solution: str) -> int:
    """Return the number of annotations; 0 if `solution` is unknown or has none."""
    return sum(1 for _ in _ANNOTATION.finditer(solution))


def step_accuracy(generation: Generation) -> float | None:
    """Return the share of the gold solution's results that the generation wrote too, 0 to 1.

    Results are compared as numbers and each written one counts once, in any order: gold
    6, 12, 12 against written 12, 6, 5 is 2 of 3. A partial score for models whose accuracy is
    near 0. None if the gold solution has no annotations.
    """
    gold = _gold_steps(generation.solution)
    if not gold:
        return None
    wrote = steps(own_part(generation.text, generation.question))
    return (_results(gold) & _results(wrote)).total() / len(gold)


def _results(steps: Sequence[Step]) -> Counter[tuple[int, int]]:
    """Return what steps come to, as ratios: fractions are slow to count."""
    return Counter(step.written.as_integer_ratio() for step in steps if step.written is not None)


@lru_cache(maxsize=2**16)
def _step(expression: str, result: str) -> Step:
    """Return both sides of a `=`. Cached: many texts compute the same."""
    value = evaluate(expression)
    written = evaluate(result.replace("%", ""))
    consistent = None if value is None or written is None else value == written
    if consistent is False and value is not None and written is not None:
        if abs(value - written) <= abs(value) * _NOISE:
            written = value
        scales = (1, 100) if "%" in expression + result else (1,)
        half = _half_unit(result)
        consistent = any(abs(scale * value - written) <= half for scale in scales)
    return Step(
        expression=expression.strip(),
        result=result.strip(),
        operands=numbers(expression),
        value=value,
        written=written,
        consistent=consistent,
    )


def _half_unit(result: str) -> Fraction:
    """Return the largest error of rounding to the decimals of `result`; a fraction has none."""
    decimals = _DECIMALS.search(result)
    places = len(decimals.group(1)) if decimals else 0
    return Fraction(0) if "/" in result else Fraction(1, 2 * 10**places)


def _equations(text: str) -> Iterator[tuple[str, str]]:
    """Yield both sides of each `=` that may have a whole computation on its left."""
    for line in text.translate(_SIGNS).splitlines():
        mark = _LIST_MARK.match(line)
        line = _UNIT.sub("", _TIMES.sub("*", line[mark.end() :] if mark else line))
        for run in _ARITHMETIC.finditer(line):
            sides = run.group().split("=")
            for left, right in zip(sides, sides[1:], strict=False):
                left, right = left.lstrip(" \t,$"), right.strip(" \t,$").rstrip(" \t,.$(-+*/")
                if len(left) > MAX_EXPRESSION or left.startswith(("+ ", "- ")):
                    continue
                if len(numbers(left)) > 1:
                    yield left, right


COPIES = 3
"""Copies of one piece of text, one after the other, that make a loop."""
LOOP_LENGTH = 24
"""Characters that the copies take at least: `1000` and `...` are no loops."""
LOOP_TAIL = 1500
"""Characters at the end of a text in which a loop is looked for."""

_CONSTANTS = frozenset(map(Fraction, (0, 1, 2, 3, 4, 7, 12, 16, 24, 30, 52, 60, 100, 365, 1000)))
_CARDINALS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
)
_WORDS = {word: Fraction(value) for value, word in enumerate(_CARDINALS.split())} | {
    word: Fraction(value)
    for word, value in {
        **{"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80},
        **{"ninety": 90, "hundred": 100, "thousand": 1000, "million": 10**6, "dozen": 12},
        **{"twice": 2, "double": 2, "triple": 3, "half": 2, "third": 3, "quarter": 4, "fourth": 4},
        **{"fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10},
    }.items()
}
_SCALES = frozenset(map(Fraction, (100, 1000, 10**6)))
_FRACTION = re.compile(r"([0-9]{1,9}+)/([1-9][0-9]{0,8}+)")


class Signal(StrEnum):
    """Kinds of failure in the order in which they are looked for; the module has the rules."""

    FAILED = "failed"
    REPETITION_LOOP = "repetition_loop"
    TRUNCATED = "truncated"
    NO_ANSWER = "no_answer"
    NO_STEPS = "no_steps"
    STOPPED_EARLY = "stopped_early"
    ARITHMETIC_SLIP = "arithmetic_slip"
    COPY_SLIP = "copy_slip"
    UNGROUNDED_NUMBER = "ungrounded_number"
    UNKNOWN = "unknown"
    FEWER_STEPS = "fewer_steps"
    MORE_STEPS = "more_steps"
    SAME_STEPS_WRONG_RELATION = "same_steps_wrong_relation"


def signal(generation: Generation, outcome: Outcome, style: AnswerStyle = "auto") -> Signal | None:
    """Return the first signal that fires, None for a correct generation.

    `outcome` is the canonical scorer's under `style`.
    """
    if outcome is Outcome.CORRECT:
        return None
    if outcome is Outcome.FAILED:
        return Signal.FAILED
    if outcome is Outcome.WRONG:
        return _of_wrong(generation, style)
    if _loops(own_text(generation.text)):
        return Signal.REPETITION_LOOP
    return Signal.TRUNCATED if outcome is Outcome.TRUNCATED else Signal.NO_ANSWER


@lru_cache(maxsize=2**18)
def mentions(text: str, answer: str) -> bool:
    """Return whether `text` contains the number `answer`, in digits or in words.

    Signs do not count, and `25` is in `25 %`: meant for "may have known it", not for a score.
    Kept: every variation of an experiment asks.
    """
    number = parse(answer)
    if number is None:
        return False
    size = abs(Fraction(number))
    return size in numbers(text) or size in _spelled_out(text)


def _of_wrong(generation: Generation, style: AnswerStyle) -> Signal:
    """Return the signal of a text whose final answer is wrong."""
    gold = _gold_steps(generation.solution)
    wrote = steps(own_part(generation.text, generation.question))
    answer = answer_of(generation, style)
    if not wrote:
        return Signal.NO_STEPS
    if any(answer == step.written for step in gold):
        return Signal.STOPPED_EARLY
    if any(step.consistent is False for step in wrote):
        return Signal.ARITHMETIC_SLIP
    if not any(answer in (step.value, step.written) for step in wrote):
        return Signal.COPY_SLIP
    if _has_ungrounded(wrote, generation.question):
        return Signal.UNGROUNDED_NUMBER
    if not gold:
        return Signal.UNKNOWN
    if len(wrote) == len(gold):
        return Signal.SAME_STEPS_WRONG_RELATION
    return Signal.FEWER_STEPS if len(wrote) < len(gold) else Signal.MORE_STEPS


def _loops(text: str) -> bool:
    """Return whether `text` ends in `COPIES` copies of one piece, the last of them perhaps cut.

    Read backwards, such a text begins with a stretch of period p; the periods of all beginnings
    are found in one pass: D. E. Knuth, J. H. Morris, V. R. Pratt (1977), SIAM J. Comput. 6.
    """
    backwards = text[: -LOOP_TAIL - 1 : -1]
    # Whatever the period, what the text ends in comes once more before: most texts end here.
    if backwards.find(backwards[: LOOP_LENGTH // COPIES], 1) < 0:
        return False
    borders, border = [0], 0
    for length, letter in enumerate(backwards[1:], 2):
        while border and letter != backwards[border]:
            border = borders[border - 1]
        border += letter == backwards[border]
        borders.append(border)
        if length >= max(LOOP_LENGTH, COPIES * (length - border)):
            return True
    return False


def _has_ungrounded(wrote: tuple[Step, ...], question: str) -> bool:
    """Return whether an operand is not from the question, a constant or an earlier result."""
    given, found = _grounded(question), set[Fraction | None]()
    for step in wrote:
        if not all(operand in given or operand in found for operand in step.operands):
            return True
        found |= {step.value, step.written}
    return False


@lru_cache(maxsize=2**13)
def _grounded(question: str) -> frozenset[Fraction]:
    """Return the numbers a question gives, and constants: digits, words, fractions, and each as a
    percentage. Kept: every run answers the same problems."""
    whole = {*numbers(question), *_spelled_out(question)}
    shares = {n / 100 for n in whole}
    parts = {Fraction(int(a), int(b)) for a, b in _FRACTION.findall(question)}
    changes = {1 - share for share in shares} | {1 + share for share in shares}
    percentages = {100 * change for change in changes}
    return _CONSTANTS | whole | parts | shares | changes | percentages


def _spelled_out(question: str) -> set[Fraction]:
    """Return the numbers in words, `half` as 2 and 1/2, `two hundred fifty` with its parts."""
    values, running = set(), Fraction(0)
    for word in re.findall(r"[a-z]++", question.lower()):
        value = _WORDS.get(word, _WORDS.get(word.removesuffix("s")))
        if value is None:
            running = running if word == "and" else Fraction(0)
            continue
        if 0 < running < value and value in _SCALES:
            running *= value
        elif running >= 20 and value < running:
            running += value
        else:
            running = value
        values |= {value, running, 1 / value if value else value}
    return values
