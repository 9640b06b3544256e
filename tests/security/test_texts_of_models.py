"""What a model writes is read in linear time, computed without eval, and never too large.

Growth is judged, not speed: four times the text may take eight times as long. A quadratic pattern
takes sixteen times as long, and minutes for a megabyte.
"""

import importlib
import pkgutil
import re
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

import by_hand
import paribus.analysis
import paribus.evaluation
from paribus import numerals
from paribus.data.alike import ngrams
from paribus.evaluation import scoring
from paribus.evaluation.calculator import MAX_RESULT_DIGITS, complete, evaluate, numbers, spell
from paribus.evaluation.final import final, is_over
from paribus.evaluation.mistakes import (
    annotated_steps,
    count_gold_steps,
    signal,
    step_accuracy,
    steps,
)
from paribus.evaluation.scoring import SCORERS, score
from paribus.evaluation.spelled import spelled
from paribus.records import Generation, Outcome

SIZES = [2**16, pytest.param(2**20, marks=pytest.mark.slow)]
"""The longest text; shorter ones come first, so that what is quadratic fails in seconds."""
MEASURABLE_SECONDS = 0.1
"""Shorter times say nothing of growth, and are linear enough."""

UNITS = {
    "hashes": "#", "marks": "#### ", "mark and dots": "####.", "mark and signs": "#### -$ -",
    "dots": ".", "commas": ",", "digits": "7", "thousands": "1,", "minus": "-", "minus 1": "-1",
    "angles": "<<", "open": "<<1", "open =": "<<1=", "annotations": "<<1+1=2>>", "equals": "=",
    "1=": "1=", "equations": "1+1=2 ", "operators": "1+", "parentheses": "(", "blanks": " ",
    "tabs": "\t1", "units": "1 ab cd ef gh ij ", "times": "1 x ", "lines": "\n", "list": "- 1.\n",
    "dollars": "$", "percents": "1%", "letters": "a", "words": "a ", "CRs": "1\r",
    "questions": "Question: ", "boxes": "\\boxed{", "thoughts": "<think>", "ends": "</s>",
    "phrases": "answer is ", "headings": "#### 1. a\n", "answers": "#### 1 or 2 ",
    "question": "Question", "NBSPs": "\u00a0", "fractions": "1/2 ", "scales": "two hundred ",
}  # fmt: skip
END = "x"
"""So that a repeated unit is followed by what cannot end it."""


def repeated(unit: str, size: int, end: str = "") -> str:
    return (unit * (size // len(unit) + 1))[: size - len(end)] + end


def assert_linear(read: Callable[[str], Any], size: int, unit: str, end: str = "") -> None:
    shorter = 1024
    while shorter < size:
        text = repeated(unit, 4 * shorter, end)
        large = timed(read, text)
        if large > MEASURABLE_SECONDS:
            small = timed(read, repeated(unit, shorter, end))
            if large >= 8 * small:  # the machine may have been busy with something else
                large = timed(read, text)
            assert large < 8 * small, (4 * shorter, small, large)
        shorter *= 4


def timed(read: Callable[[str], Any], text: str) -> float:
    started = time.process_time()
    read(text)
    return time.process_time() - started


SHORT = {"reckoned", "spelled", "words"}
"""Modules whose patterns only ever see the `LONGEST` characters of one answer."""


def patterns() -> dict[str, re.Pattern[str]]:
    """Every pattern that a module of evaluation or analysis compiles, and the normaliser's."""
    packages = (paribus.evaluation, paribus.analysis)
    names = [
        module.name
        for package in packages
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if module.name.rpartition(".")[2] not in {"vllm_process", *SHORT}
    ]
    return {
        f"{name}.{key}": value
        for name in (*names, "paribus.numerals", "paribus.data.alike")
        for key, value in vars(importlib.import_module(name)).items()
        if isinstance(value, re.Pattern)
    }


PATTERNS = patterns()
ANCHORED = {
    "_LIST_MARK", "_TOKEN", "_HEADING", "_NUMBERED", "_TURN", "_LINE_MARK", "_SCALE_WORD",
    "_NEXT_LINE", "_BLANK", "_COUNT",
}  # fmt: skip
"""Only ever matched at one place, the second in at most 200 characters: as a search, quadratic."""


def test_every_pattern_is_found() -> None:
    names = {name.rpartition(".")[2] for name in PATTERNS}
    assert {"_STRICT", "_FLEXIBLE", "_MARK", "_ANNOTATION", "_UNIT", "_TOKEN"} <= names


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_are_linear(name: str, size: int) -> None:
    def every_match(text: str) -> None:
        if name.rpartition(".")[2] in ANCHORED:
            PATTERNS[name].match(text)
            return
        for _ in PATTERNS[name].finditer(text):
            pass

    for unit in UNITS.values():
        assert_linear(every_match, size, unit, END)


def generation(text: str, question: str = "Why?") -> Generation:
    written = by_hand.generation(0, text, "stop_token")
    return replace(written, question=question, solution="<<3*4=12>> #### 12")


READERS: dict[str, tuple[Callable[[str], Any], str]] = {  # what reads a text: its worst units
    "scorers": (
        lambda text: (final.cache_clear(), [score(generation(text), each) for each in SCORERS]),
        "hashes, marks, mark and dots, mark and signs, dots, digits, thousands, questions, boxes, "
        "thoughts, ends, phrases, headings, times, answers, blanks",
    ),
    "end": (is_over, "marks, mark and dots, questions, thoughts, ends"),
    "answer": (spelled, "digits, thousands, times, dollars, blanks, (, **1, \\text{"),
    "equal": (lambda text: scoring.harness_equal(text, "7"), "marks, dots, dollars"),
    "steps": (steps, "angles, open =, annotations, equations, operators, units, times, list, CRs"),
    "annotated steps": (annotated_steps, "angles, open, open ="),
    "gold steps": (count_gold_steps, "open, annotations"),
    "step accuracy": (lambda text: step_accuracy(generation(text)), "equations, 1="),
    "wrong": (
        lambda text: signal(generation(text + "\n#### 8"), Outcome.WRONG),
        "annotations, 1=, operators",
    ),
    "loop": (lambda text: signal(generation(text), Outcome.NO_ANSWER), "letters, words"),
    "question": (
        lambda text: signal(generation("<<3*55=165>>\n#### 165", text), Outcome.WRONG),
        "scales, fractions, digits",
    ),
    "calculator": (lambda text: (evaluate(text), numbers(text), complete(text)), "thousands, ("),
    "number": (lambda text: (numerals.parse(text), numerals.canonical(text)), "digits, blanks"),
    "overlap": (ngrams, "words, letters, NBSPs"),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("read", "units"), READERS.values(), ids=READERS)
def test_readers_are_linear(read: Callable[[str], Any], units: str, size: int) -> None:
    for name in units.split(", "):
        assert_linear(read, size, UNITS.get(name, name))


NO_VALUE = [
    "9**9**9", "9^9", "9//2", "1e9", "0x10", "1_000", "__import__('os').system('touch ran')",
    "().__class__", "lambda: 1", "1 if 1 else 2", "[1]", "'a'*9", "1;2", "1=1", "x", "", " ",
    "1/0", "1/(2-2)", "0/0", "(1", "1)", "()", "1 2", "+", "1,00", "९", "²", "1\x00",
    "9" * 61, "9" * 200, "9*" * 99 + "9", "(" * 201 + "1", "1/3" + "/3" * 150, "1" * 201,
]  # fmt: skip


@pytest.mark.parametrize("expression", NO_VALUE)
def test_expressions_without_a_value(expression: str) -> None:
    assert evaluate(expression) is None


VALUES = {
    "(" * 99 + "1" + ")" * 99: 1,
    "-" * 199 + "1": -1,
    "9" * MAX_RESULT_DIGITS: 10**MAX_RESULT_DIGITS - 1,
    "9*" * 60 + "1": 9**60,
    "1/3*3": 1,
}


@pytest.mark.parametrize(("expression", "value"), VALUES.items())
def test_long_expressions_within_the_bounds(expression: str, value: int) -> None:
    assert evaluate(expression) == value
    assert len(spell(Fraction(value))) <= MAX_RESULT_DIGITS + 1
