"""What text gives which answer: the table of cases, and properties of the scorers."""

import json
import re
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import by_hand
from paribus import numerals
from paribus.evaluation.final import final, is_over
from paribus.evaluation.scoring import SCORERS, score, style_seen
from paribus.evaluation.spelled import spelled
from paribus.records import Generation, Outcome, Stop

CASES = json.loads((Path(__file__).parent / "cases" / "answers.json").read_text("utf-8"))
"""Gold is spelled as a file spells it; the solution that holds it is `#### GOLD`."""


def generation(text: str, gold: str, stop: str = "stop_token", question: str = "?") -> Generation:
    number = numerals.canonical(gold)
    assert number is not None
    written = by_hand.generation(0, text, stop)
    return replace(written, question=question, answer=number, solution=f"#### {gold}")


def of_case(case) -> Generation:
    return generation(
        case["text"], case["gold"], case.get("stop", "stop_token"), case.get("question", "?")
    )


@pytest.mark.parametrize("scorer", SCORERS)
def test_the_table_of_cases(scorer):
    found = {
        (case["text"], case["gold"]): score(of_case(case), scorer, case.get("style", "auto"))
        for case in CASES
    }
    asserted = {(case["text"], case["gold"]): case[scorer] for case in CASES}
    assert {key: (found[key], said) for key, said in asserted.items() if found[key] != said} == {}


PIECES = [
    *("#### 18", "#### 1", "# 1 ", "# 2. Find", "####", "\n", " ", "-", "7", "12", "1)", "答"),
    *("Step 1: 9*2=<<9*2=18>>18.", "The answer is 7.", "\\boxed{7}", "Wait, no.", "Question:"),
]


@given(text=st.lists(st.sampled_from(PIECES), max_size=7).map("".join), cut=st.booleans())
@example(text="#### 1\n", cut=False)
def test_what_most_texts_end_in_is_read_as_all_texts_are(text, cut):
    for each in (text, f"{text}\n#### 18", f"{text}#### -18\n"):
        found = final.__wrapped__(each, cut=cut)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("paribus.evaluation.final.stated_last", lambda part: None)
            assert final.__wrapped__(each, cut=cut) == found


STRICT = r"#### (\-?[0-9\.\,]+)"
FLEXIBLE = r"(-?[$0-9.,]{2,})|(-?[0-9]+)"
IGNORED = (",", r"\$", "(?s).*#### ", r"\.$")
"""As lm-evaluation-harness 0.4.13 has them, tasks/gsm8k/gsm8k.yaml."""


def harness(case, pattern: str, place: int) -> bool:
    """The task's filter, `group_select`, and metric, word for word."""
    text = case["text"]
    for stop in ("Question:", "</s>", "<|im_end|>"):
        text = text.split(stop)[0]
    found = [each if isinstance(each, str) else next(filter(None, each), "") for each in
             re.findall(pattern, text)]  # fmt: skip
    said, gold = found[place].strip() if found else "[invalid]", "#### " + case["gold"]
    for each in IGNORED:
        said, gold = re.sub(each, "", said), re.sub(each, "", gold)
    return said.lower() == gold.lower()


def test_strict_and_flexible_are_the_harness():
    judged = [case for case in CASES if case.get("stop") != "failed"]
    for case in judged:
        assert (case["strict"] == "correct") == harness(case, STRICT, 0), case
        assert (case["flexible"] == "correct") == harness(case, FLEXIBLE, -1), case


def test_cases_cover_every_outcome_of_every_scorer():
    for scorer in SCORERS:
        assert {case[scorer] for case in CASES} == set(Outcome) - {Outcome.SCORED}


PIECES = [
    "#### 18", "#### 12", "####", " 18", "\n", "\n\n", " million", " or 7", "The answer is 18.",
    "\\boxed{18}", "\\boxed{", "}", "<think>", "</think>", "Question:", "\nQ: ", "</s>", "Answer:",
    "How many eggs does Janet sell?", "Question: Ann\nAnswer: #### 4</s>\n\n",
    " Wait, no.", "#### 1. Find the eggs\n", "\n18\n", " no. ", "-7", "½",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
ASKED = "How many eggs does Janet sell?"


@given(text=TEXTS, more=TEXTS)
@example(text="#### 18\n\nQuestion:", more=f" {ASKED}\n#### 12")
@example(text="Question: Tom\n#### 3\n\nQuestion:", more=f" {ASKED}\n#### 18")
@example(
    text="Question: Tom\n#### 3\n\nQuestion: Ann\n#### 4</s>\n\nQuestion:",
    more=f" {ASKED}\n#### 18",
)
@example(text="#### 12\n\nQuestion: Tom\n#### 3</s>\n\nQuestion:", more=f" {ASKED}\n#### 18")
@example(text="<think>#### 12\nQuestion:", more="</think>#### 18")
def test_a_text_that_is_over_scores_as_whatever_follows(text: str, more: str):
    """Where decoding may stop, the stored text is worth what the whole text would be."""
    if is_over(text, ASKED):
        assert final(text, ASKED) == final(text + more, ASKED)
        assert final(text, ASKED) is not None


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case["text"])[:40])
def test_no_case_is_over_too_early(case):
    text, question = case["text"], case.get("question", "?")
    whole = final(text, question)
    over = [end for end in range(len(text) + 1) if is_over(text[:end], question)]
    assert all(final(text[:end], question) == whole for end in over)


@pytest.mark.parametrize(
    ("text", "over"),
    [
        ("#### 18\n", False), ("#### 18\n\nQuestion:", True), ("It is 18.\n\nQuestion:", False),
        ("The answer is 18.\n\nQuestion:", True), ("Question: So #### 18", False),
        ("<think>#### 18\nQuestion:", False), ("#### Step 1\nQuestion:", False),
        (f"Question: {ASKED}\n#### 18\n\nQuestion:", True),
    ],
)  # fmt: skip
def test_is_over(text, over):
    assert is_over(text, ASKED) is over


@given(
    number=st.decimals(-(10**9), 10**9, places=2, allow_nan=False).map(lambda x: x.normalize()),
    wrapper=st.sampled_from(
        ["{}", "**{}**", "${}$", "\\boxed{{{}}}", "\\text{{{}}}", "({})", "x = {}", "€ {}",
         "{} USD", "{} eggs", "The answer is {}.", "\\(\\mathbf{{{}}}\\)", "<b>{}</b>", "{}\u200b"]
    ),
)  # fmt: skip
def test_every_wrapper_keeps_every_number(number: Decimal, wrapper: str):
    for digits in (f"{number:f}", f"{number:,f}", f"{number:,f}".replace(",", " ")):
        found = final("#### " + wrapper.format(digits))
        assert found is not None
        assert found.value.number == Fraction(number)


@given(
    first=st.integers(1, 999),
    second=st.integers(1, 999),
    between=st.sampled_from([" or ", "-", "–", " to ", ", ", ":", "^", "×", "+", "; ", " vs "]),
)
def test_no_two_numbers_are_one(first: int, second: int, between: str):  # fmt: skip
    assert spelled(f"{first}{between}{second}") is None


@given(st.text(), st.text())
def test_no_text_breaks_a_scorer(text: str, question: str):
    for scorer in SCORERS:
        for stop in Stop:
            assert score(generation(text, "1", stop, question), scorer) in Outcome


@pytest.mark.parametrize(
    "piece",
    ["#### ", "####9", "9", "-", "$", ",", "#### -$ ", "Question", "Question:", "\\boxed{",
     "answer is ", "<think>", "</think>", "#### 9x ", "#### 1. a\n", "</s>",
     "\u0661", "#### (((((", "{}", "* *", "\\boxed{1}, ", "a \\boxed{1} is ", "#### 1. Wait, "],
)  # fmt: skip
def test_long_texts_are_scored(piece):
    """Every pattern is linear: a quadratic one would take minutes here and stall the suite."""
    made = generation(piece * (100_000 // len(piece)), "5")
    assert all(score(made, scorer) is not Outcome.CORRECT for scorer in SCORERS)
    assert not is_over(made.text)


@pytest.mark.parametrize("blank", ["\n", " ", " \n", ". ", "- "])
def test_what_follows_an_answer_is_read_in_linear_time(blank: str):
    found = final("#### 18" + "\n" + blank * (100_000 // len(blank)) + "x")
    assert found is not None
    assert found.value.number == 18


def test_styles_seen():
    texts = {
        "#### 18": "marked", "The answer is 18.": "phrase", "\\boxed{18}": "boxed",
        "9*2\n18": "last_line", "It is 18.": "none", "#### 12\nThe answer is 18.": "phrase",
    }  # fmt: skip
    assert {text: style_seen(generation(text, "18")) for text in texts} == texts
    assert style_seen(generation("\\boxed{18}", "18"), "marked") == "none"


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
    digits = numerals.canonical(f"{number:,f}")
    assert digits is not None
    assert numerals.canonical(digits) == digits
    assert numerals.parse(digits) == number
