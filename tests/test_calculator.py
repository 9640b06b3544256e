"""The calculator: what it reads, what it refuses, how it spells, and when it completes a text."""

import json
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paribus.evaluation.calculator import (
    MAX_EXPRESSION,
    MAX_RESULT_DIGITS,
    complete,
    evaluate,
    numbers,
    spell,
)
from paribus.evaluation.mistakes import annotated_steps, steps

REAL = Path(__file__).parents[2] / "shared" / "gsm8k"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("12*3", "36"),
        ("2+3*4", "14"),
        ("(2+3)*4", "20"),
        ("10-4-3", "3"),
        ("24/4/2", "3"),
        ("24/(4/2)", "12"),
        ("1/3+1/6", "1/2"),
        (" 1 + 2 ", "3"),
        ("7", "7"),
        ("+5", "5"),
        ("-5+-3", "-8"),
        ("2--3", "5"),
        ("9*-2", "-18"),
        ("2/-4*6", "-3"),
        ("-(2+3)", "-5"),
        ("((((7))))", "7"),
        (".5*8", "4"),
        ("5.*2", "10"),
        ("0.1+0.2", "3/10"),
        ("1,200*3", "3600"),
        ("1,234,567.5", "2469135/2"),
        ("$40-$12.50", "55/2"),
        ("-$5", "-5"),
        ("80*25%", "20"),
        ("100%-40%", "3/5"),
        ("(10+15)%", "1/4"),
        ("-50%", "-1/2"),
    ],
)
def test_it_reads(expression, value):
    assert evaluate(expression) == Fraction(value)


@pytest.mark.parametrize(
    "expression",
    [
        *("", " ", "()", "+", "1+", "*2", "(1", "1)", ")1(", "1 2", "2(3)", "(2)(3)", "1..2"),
        *("1,23", "12,34,567", "1234,567", "%", "%5", "5%3", "1e3", "2**3", "7//2", "2^3", "1_000"),
        *("x", "2x", "3 * y", "__import__('os')", "1\n+1", "\u0663", "1=1", "1/0", "1/(2-2)"),
        "9" * MAX_RESULT_DIGITS + "*10",
        "1/" + "9" * MAX_RESULT_DIGITS + "/10",
        "1+" * (MAX_EXPRESSION // 2) + "1",
    ],
)
def test_it_refuses(expression):
    assert evaluate(expression) is None


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 99 + "7" + ")" * 99,
        "-" * 198 + "7",
        "*".join(["9" * 9] * 6),
        "+".join(f"1/{n}" for n in (97, 89, 83, 79, 73, 71, 67, 61, 59, 53, 47, 43, 41)),
    ],
)
def test_deep_or_long_expressions_take_no_time(expression):
    """A hundred parentheses need no recursion; no number outgrows what 200 characters can spell."""
    assert len(expression) <= MAX_EXPRESSION
    started = time.process_time()
    assert evaluate(expression) is not None
    assert time.process_time() - started < 1


def _join(parts) -> tuple[str, Fraction | None]:
    """An expression and its value by Python's own operators."""
    (left, a), operator, (right, b) = parts
    text = f"({left}) {operator} ({right})"
    if a is None or b is None or (operator == "/" and b == 0):
        return text, None
    values = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else None}
    return text, values[operator]


LEAVES = st.decimals(0, 9999, places=2).map(lambda d: (f"{d:,}", Fraction(d)))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(_join),
        inner.map(lambda pair: (f"-({pair[0]})", None if pair[1] is None else -pair[1])),
    ),
    max_leaves=6,
)


@given(TREES)
def test_it_computes_what_fractions_compute(tree):
    expression, value = tree
    assert evaluate(expression) == (value if len(expression) <= MAX_EXPRESSION else None)


@given(st.text("0123456789.,+-*/()%$ x", max_size=MAX_EXPRESSION))
def test_it_never_fails(text):
    value = evaluate(text)
    assert value is None or max(abs(value.numerator), value.denominator) < 10**MAX_RESULT_DIGITS


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Tom has 3 pens, 1,200 cards and $4.50.", ["3", "1200", "4.50"]),
        ("1/2 of 30% is .15", ["1", "2", "30", ".15"]),
        ("8:30 in 12345,678 and 5-3", ["8", "30", "12345", "678", "5", "3"]),
        ("none", []),
        ("9" * 5000 + " and 7", ["7"]),
    ],
)
def test_numbers(text, found):
    assert numbers(text) == tuple(map(Fraction, found))


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        ("36", "36"),
        ("0", "0"),
        ("1/2", "0.5"),
        ("-7/4", "-1.75"),
        ("1000", "1000"),
        ("10/3", "3.33333333333"),
        ("2/3", "0.666666666667"),
        ("200/3", "66.6666666667"),
        ("1/128", "0.0078125"),
        ("1/3000000", "0.000000333333333333"),
        ("123456789012345", "123456789012345"),
        ("246913578024691/2", "123456789012346"),
    ],
)
def test_spell(value, spelled):
    assert spell(Fraction(value)) == spelled


@given(st.fractions(max_denominator=10**6))
@example(Fraction(10**40, 3))
@example(Fraction(1, 10**40))
def test_what_is_spelled_is_plain_and_the_value(value):
    spelled = spell(value)
    assert "E" not in spelled.upper()
    assert not ("." in spelled and spelled.endswith(("0", ".")))
    assert abs(Fraction(Decimal(spelled)) - value) <= abs(value) / 10**11
    (step,) = steps(f"<<{value.numerator}/{value.denominator}={spelled}>>")
    assert step.consistent
    assert step.written == value


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Leo has 12*3=<<12*3=", "36>>"),
        ("<<10/4=", "2.5>>"),
        ("<<1,000*25%=", "250>>"),
        ("<<2*3=6>>6 <<6-10=", "-4>>"),
        ("<<5=", "5>>"),
        ("<<<3*4=", "12>>"),
        (f"<<{'1+' * 99}1=", "100>>"),
        (f"<<{'1+' * 100}1=", None),
        ("12*3=", None),
        ("<<12*3", None),
        ("<<12*3= ", None),
        ("<<12*3=36>>=", None),
        ("<<12*3=36=", None),
        ("<<12*x=", None),
        ("<<1/0=", None),
        ("<<=", None),
        ("<<12*\n3=", None),
        ("", None),
    ],
)
def test_complete(text, written):
    assert complete(text) == written


def test_complete_looks_at_the_tail_only():
    text = "<<" * 500_000 + "<<2*3="
    started = time.process_time()
    assert complete(text) == "6>>"
    assert time.process_time() - started < 1


@pytest.mark.skipif(not REAL.is_dir(), reason="GSM8K is not here")
@pytest.mark.parametrize(("split", "exceptions"), [("train", 2), ("test", 0)])
def test_the_calculator_writes_what_gsm8k_wrote(split, exceptions):
    """Every annotation of GSM8K: the exceptions use Python's `//`."""
    found = 0
    for line in (REAL / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
        for step in annotated_steps(json.loads(line)["answer"]):
            result = complete(f"<<{step.expression}=")
            if result is None:
                assert "//" in step.expression
                found += 1
            else:
                assert evaluate(result.removesuffix(">>")) == step.written
                assert step.consistent
    assert found == exceptions
