"""Steps read from solutions: annotations, and the equations of texts without any."""

import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

import by_hand
from paribus.config.schema import DataConfig
from paribus.config.task_file import read_task
from paribus.data.problems import read_split
from paribus.evaluation.mistakes import count_gold_steps, step_accuracy, steps
from paribus.records import Generation

REAL = Path(__file__).parents[2] / "shared" / "gsm8k"
GOLD = "<<3*4=12>> <<12+5=17>> #### 17"


def generation(text: str, solution: str) -> Generation:
    written = by_hand.generation(0, text, "stop_token")
    return replace(written, question="How many?", answer="17", solution=solution)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # Annotated: expression, result, consistent.
        ("Leo has 12*3=<<12*3=36>>36 pens.", [("12*3", "36", True)]),
        ("How many? ** 12*3=<<12*3=36>>36\n#### 36", [("12*3", "36", True)]),
        ("<<2*3=6>> 4*5=21 <<6 + 1=8>>", [("2*3", "6", True), ("6 + 1", "8", False)]),
        ("<<3/4=3/4>> <<98*3400=333200.00>>",
         [("3/4", "3/4", True), ("98*3400", "333200.00", True)]),
        ("<<10/3=3.33>> <<10/3=3>> <<10/3=4>>",
         [("10/3", "3.33", True), ("10/3", "3", True), ("10/3", "4", False)]),
        ("<<5/2=3>> <<5/2=2>> <<5/2=2.4>>",
         [("5/2", "3", True), ("5/2", "2", True), ("5/2", "2.4", False)]),
        ("<<.1*24=2.4000000000000004>>", [(".1*24", "2.4000000000000004", True)]),
        ("<<80*25%=20>> <<100%-40%=60>> <<1/4=25%>>",
         [("80*25%", "20", True), ("100%-40%", "60", True), ("1/4", "25%", True)]),
        ("<<2*x=6>> <<7//2=3>> <<2*3=>> <<2*3=six>>",
         [("2*x", "6", None), ("7//2", "3", None), ("2*3", "", None), ("2*3", "six", None)]),
        ("<<2*3>> <<=6>> <<2\n*3=6>> <<2*3", []),
        # By equations, since there are no annotations.
        ("12*3=36", [("12*3", "36", True)]),
        ("So 12 x 3 = $36. Then 36 \u00f7 4 = 8.",
         [("12 * 3", "36", True), ("36 / 4", "8", False)]),
        ("48 pieces of mail / 8 houses = 6 pieces/house", [("48 / 8", "6", True)]),
        ("- 3 * $1,200 = $3,600\n2. 5 - 3 = 2\n#### 2",
         [("3 * $1,200", "3,600", True), ("5 - 3", "2", True)]),
        ("2 + 3 = 10 / 2 = 5", [("2 + 3", "10 / 2", True), ("10 / 2", "5", True)]),
        ("pens + 3 * 4 = 14, X*2 = 18, 2x + 3 = 7, 5 = 5, 3 plus 4 = 7", []),
        ("3/2 = 1 1/2", [("3/2", "1 1/2", None)]),
        ("<<2*3=6", [("2*3", "6", True)]),
        ("1 + 1 = 2, 1 + 2 = 3. 3 + 4 = 7", [("1 + 1", "2", True), ("1 + 2", "3", True),
                                             ("3 + 4", "7", True)]),
        ("", []),
    ],
)  # fmt: skip
def test_steps(text, found):
    assert [(step.expression, step.result, step.consistent) for step in steps(text)] == found


def test_a_step_holds_its_numbers():
    (step,) = steps("<<1,200*25%-$.5=299.5>>")
    assert step.operands == (1200, 25, Fraction(1, 2))
    assert step.value == step.written == Fraction(599, 2)


@pytest.mark.parametrize(
    "text",
    [
        *("<<" * 500_000, "<<1=" * 250_000, "<<" + "1+" * 500_000 + "1=", "1" * 1_000_000),
        *("1+" * 500_000 + "=2", "1+1=" * 100_000, "1 ab " * 200_000, "2 x " * 250_000),
        *("<<1+1=2>>" * 20_000, "- " * 500_000, " " * 1_000_000 + "="),
    ],
    ids=lambda text: text[:12],
)
def test_a_megabyte_takes_linear_time(text):
    started = time.process_time()
    step_accuracy(generation(text, text))
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("text", "solution", "accuracy"),
    [
        ("<<3*4=12>> <<12+5=17>> #### 17", GOLD, 1.0),
        ("4*3=12.0, 12+5=18 #### 18", GOLD, 0.5),
        ("#### 17", GOLD, 0.0),
        ("", GOLD, 0.0),
        ("<<1+5=6>> <<2*6=12>>", "<<6=6>> <<6*2=12>> <<12=12>>", 2 / 3),
        ("<<3*4=>> <<3*4=twelve>>", GOLD, 0.0),
        ("<<3*4=12>>\nQuestion: <<12+5=17>>", GOLD, 0.5),
        ("<<3*4=12>>", "3*4=12 #### 12", None),
        ("<<3*4=12>>", "", None),
    ],
)
def test_step_accuracy(text, solution, accuracy):
    assert step_accuracy(generation(text, solution)) == accuracy


@pytest.mark.skipif(not REAL.is_dir(), reason="GSM8K is not here")
def test_both_variants_of_gsm8k_have_the_same_steps():
    data = DataConfig(path=str(REAL))
    main, socratic = (
        [problem.solution for problem in read_split(read_task("gsm8k").of(name), data, "test")[0]]
        for name in ("main", "socratic")
    )
    assert [steps(text) for text in main] == [steps(text) for text in socratic]
    assert sum(map(count_gold_steps, main)) == 4282
