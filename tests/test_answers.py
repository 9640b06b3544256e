"""Golden answer cases, each with its source, and properties of the number normaliser."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paribus import numerals
from paribus.evaluation.answers import answer_is_complete
from paribus.evaluation.score import SCORERS, score
from paribus.records import Generation, Outcome, Stop

CASES = json.loads((Path(__file__).parent / "cases" / "answers.json").read_text())


def generation(text: str, gold: str, stop: str = "stop_token") -> Generation:
    return Generation(
        problem_id="0" * 16,
        question="?",
        answer=gold,
        prompt_sha256="0" * 64,
        text=text,
        num_tokens=1,
        stop=Stop(stop),
    )


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["text"])[:40])
def test_golden_answers(case, scorer):
    made = generation(case["text"], case["gold"], case.get("stop", "stop_token"))
    assert score(made, scorer) == case[scorer], case["source"]


def test_cases_cover_every_outcome_of_every_scorer():
    for scorer in SCORERS:
        assert {case[scorer] for case in CASES} == set(Outcome)


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("#### 18\n", True),
        ("#### 18 ", True),
        ("#### 1", False),  # the next token may be another digit
        ("#### 1,2", False),
        ("#### 18.", False),
        ("#### $18\nQ", True),
        ("####", False),
        ("18\n", False),
    ],
)
def test_answer_is_complete(text, complete):
    assert answer_is_complete(text) is complete


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234", "1234"), ("$29.00", "29"), ("-.5", "-0.5"), ("50 %", "50"), ("29...", "29"),
        ("+3", "3"), ("-0", "0"), ("007", "7"), ("1e3", None), ("", None), ("..", None),
        ("1.2.3", None), ("٣", None), ("9" * 65, None), ("- 3", "-3"),
    ],
)  # fmt: skip
def test_canonical_spelling(text, expected):
    assert numerals.canonical(text) == expected


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9),
                   max_value=10**9))  # fmt: skip
def test_normaliser_is_idempotent_and_keeps_the_value(number: Decimal):
    spelled = numerals.canonical(f"{number:,f}")
    assert spelled is not None
    assert numerals.canonical(spelled) == spelled
    assert numerals.parse(spelled) == number


@given(st.text())
def test_no_text_breaks_a_scorer(text: str):
    for scorer in SCORERS:
        assert score(generation(text, "1"), scorer) in Outcome


@pytest.mark.parametrize("piece", ["#### ", "####9", "9", "-", "$", ",", "#### -$ ", "Question"])
def test_a_megabyte_is_scored(piece):
    """Every pattern is linear: a quadratic one would take minutes here and stall the suite."""
    made = generation(piece * (1_000_000 // len(piece)), "1")
    assert all(score(made, scorer) is not Outcome.CORRECT for scorer in SCORERS)
    assert answer_is_complete(made.text + "\n#### 3\n")
