"""Signals of wrong generations, by the very table that documents them; and a run's counted."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import by_hand
from paribus.analysis.signals import by_gold_steps, mean_step_accuracy, signal_table
from paribus.analysis.tables import Run, with_generations
from paribus.config.schema import DataConfig
from paribus.config.task_file import read_task
from paribus.data.problems import load_problems, read_split
from paribus.evaluation import mistakes as module
from paribus.evaluation.mistakes import Signal, annotated_steps, signal, steps
from paribus.evaluation.scoring import score
from paribus.records import Generation, Outcome, Problem, Stop
from paribus.statistics.intervals import share

REAL = Path(__file__).parents[2] / "shared" / "gsm8k"
QUESTION = "Tom has 3 boxes of 4 pens and 5 more. How many pens?"
GOLD = "<<3*4=12>> <<12+5=17>> #### 17"


def generation(
    text: str, *, stop=Stop.STOP_TOKEN, question=QUESTION, solution=GOLD, answer="17"
) -> Generation:
    written = by_hand.generation(0, text, stop)
    return replace(written, question=question, solution=solution, answer=answer)


def judged(text: str, **rest) -> Signal | None:
    """The signal of a text as the canonical scorer judges it."""
    made = generation(text, **rest)
    return signal(made, score(made, "canonical"))


# --- signals ---------------------------------------------------------------------------------

ROWS = re.findall(r"^\| ([a-z_]+) +\| [a-z' ,]+ \| (.*?) +\|$", module.__doc__, re.M)[1:]
STOPS = {"failed": Stop.FAILED, "repetition_loop": Stop.LENGTH, "truncated": Stop.LENGTH}


def test_the_table_has_every_signal_in_order():
    assert [name for name, _ in ROWS] == [each.value for each in Signal]


@pytest.mark.parametrize(("name", "text"), ROWS)
def test_the_documented_example_fires_its_signal(name, text):
    assert QUESTION in module.__doc__
    assert f"`{GOLD}`" in module.__doc__
    solution = "" if name == "unknown" else GOLD
    found = judged(text.strip(), stop=STOPS.get(name, Stop.STOP_TOKEN), solution=solution)
    assert found is Signal(name)


@pytest.mark.parametrize(
    ("text", "stop", "found"),
    [
        ("3+3+3+3+3=15. #### 17", Stop.ANSWER, None),
        ("He has 12.\n" * 3, Stop.STOP_TOKEN, Signal.REPETITION_LOOP),
        ("He has 12.\n" * 2, Stop.STOP_TOKEN, Signal.NO_ANSWER),
        ("He has 12 pens. " * 4 + "Question: He has", Stop.NEXT_QUESTION, Signal.REPETITION_LOOP),
        ("x" * 400 + ("y" * 399 + "z") * 3, Stop.LENGTH, Signal.REPETITION_LOOP),
        ("It is 0." + "3" * 24, Stop.LENGTH, Signal.REPETITION_LOOP),
        ("It is 10000000...", Stop.LENGTH, Signal.TRUNCATED),
        ("He has 12.\n" * 9 + "So he has", Stop.LENGTH, Signal.TRUNCATED),
        ("He has 12.\n" * 9 + "#### 12", Stop.ANSWER, Signal.NO_STEPS),
        # The answer is gold's first result, but nothing was computed; then, it was.
        ("#### 12", Stop.ANSWER, Signal.NO_STEPS),
        ("<<3+9=12>> <<12-5=6>> #### 12", Stop.ANSWER, Signal.STOPPED_EARLY),
        ("<<3*4=12>> <<12+5=16>> #### 9", Stop.ANSWER, Signal.ARITHMETIC_SLIP),
        ("3 * 4 = 12, 12 + 5 = 16 #### 16", Stop.ANSWER, Signal.ARITHMETIC_SLIP),
        ("<<34/5=6.8>> #### 7", Stop.ANSWER, Signal.COPY_SLIP),
        ("<<5*9=45>> #### 45.00", Stop.ANSWER, Signal.UNGROUNDED_NUMBER),
        ("<<5*60=300>> <<300*300=90000>> #### 90,000", Stop.ANSWER,
         Signal.SAME_STEPS_WRONG_RELATION),
        ("<<x*4=19>> #### 19", Stop.ANSWER, Signal.FEWER_STEPS),
    ],
)  # fmt: skip
def test_signals(text, stop, found):
    assert judged(text, stop=stop) is found


@pytest.mark.parametrize(
    ("question", "expression", "grounded"),
    [
        ("He has 8 pens.", "8*5", False),
        ("He has eight pens, five lost.", "8*5", True),
        ("Twice a dozen", "12*2", True),
        ("two hundred and fifty-five", "200+255", True),
        ("two hundred cars, fifty vans", "200+50", True),
        ("two cars, a thousand vans", "2000+1000", False),
        ("hundred " * 100_000 + "thousand", "100*1000", True),
        ("three-fifths of 40", "40*3/5", True),
        ("half of 40", "40*.5", True),
        ("a third of 90", "90*1/3", True),
        ("20% off", "1*.2+.8*80+120", True),
        ("3/8 of 40", "40*.375", True),
        ("5 hours a day", "5*7*60*365", True),
        ("1,500 pens at $2.25", "1500*2.25", True),
        ("no number", "13*1", False),
    ],
)
def test_where_an_operand_may_come_from(question, expression, grounded):
    """Gold takes two steps: one grounded step is too few, whatever else."""
    (step,) = steps(f"<<{expression}=0>>")
    text = f"<<{expression}={step.value}>> #### {float(step.value)}"
    expected = Signal.FEWER_STEPS if grounded else Signal.UNGROUNDED_NUMBER
    assert judged(text, question=question, answer="-1") is expected


@given(st.text("ab1=<># \n", max_size=80), st.sampled_from(Outcome))
def test_every_failure_has_a_signal_and_only_failures(text, outcome):
    assert (signal(generation(text), outcome) is None) == (outcome is Outcome.CORRECT)


def generated() -> list[Problem]:
    data = load_problems(read_task("wordproblems"), DataConfig(train_size=1, test_size=150), 0)
    return data.test


def golds() -> list[Problem]:
    """Generated problems always, GSM8K's where they are at hand."""
    real = []
    if REAL.is_dir():
        real, _ = read_split(read_task("gsm8k").base, DataConfig(path=str(REAL)), "test")
    return [*generated(), *real]


def test_gold_solutions_have_no_signal_and_spoilt_ones_theirs():
    kept = 0
    for problem in golds():
        of = {"question": problem.question, "solution": problem.solution, "answer": problem.answer}
        assert judged(problem.solution, **of) is None
        results = [step.result for step in annotated_steps(problem.solution)]
        if len(results) < 2 or "/" in results[-2] or results[-1] != problem.answer:
            continue
        if problem.answer in results[:-1]:
            continue
        kept += 1
        body = problem.solution.rpartition("<<")[0]
        assert judged(f"{body}#### {results[-2]}", **of) is Signal.STOPPED_EARLY
        assert judged(f"{body}<<2+2=5>> #### 98765431", **of) is Signal.ARITHMETIC_SLIP
        assert judged(f"{body}#### 98765431", **of) is Signal.COPY_SLIP
        assert judged(body, stop=Stop.LENGTH, **of) is Signal.TRUNCATED
    assert kept > 50  # with GSM8K beside the checkout there are many more


# --- a run -----------------------------------------------------------------------------------


def run_of(*made: Generation) -> Run:
    return with_generations(Run(arm="a", seed=0, state="complete"), made)


def test_signals_of_a_run_are_counted():
    table = signal_table(
        run_of(
            generation("<<3*4=12>> <<12+5=17>> #### 17"),
            generation("#### 17", solution=""),
            generation("<<3*4=12>> #### 12"),
            generation("<<3*4=12>> #### 12", solution=""),
            generation("#### 18"),
            generation("#### 18"),
            generation("", stop=Stop.FAILED),
        )
    )
    assert (table.n, table.correct) == (7, 2)
    assert [row.signal for row in table.rows] == list(Signal)
    counted = {row.signal.value: row.count for row in table.rows if row.count}
    assert counted == {"failed": 1, "no_steps": 2, "stopped_early": 1, "unknown": 1}
    for row in table.rows:
        assert row.share == row.count / 7
        assert row.interval == share(row.count, 7)


def test_accuracy_by_gold_steps():
    rows = by_gold_steps(
        run_of(
            generation("#### 17", solution="<<1+1=2>>" * 11),
            generation("#### 18", solution="<<1+1=2>>" * 8),
            generation("#### 17"),
            generation("#### 17"),
            generation("none"),
            generation("#### 17", solution="17"),
            generation("#### 17", solution="<<1+1=2>>"),
        )
    )
    assert [(row.label, row.gold_steps, row.solved, row.n) for row in rows] == [
        ("1", 1, 1, 1),
        ("2", 2, 2, 3),
        ("8 or more", 8, 1, 2),
        ("not known", None, 1, 1),
    ]
    assert (rows[1].accuracy, rows[1].interval) == (2 / 3, share(2, 3))


TWO, ONE, NONE = "<<3*4=12>> <<12+5=17>>", "<<3*4=12>>", ""


@pytest.mark.parametrize(
    ("texts", "mean", "interval"),
    [
        ([], None, None),
        ([TWO], 1.0, None),
        ([NONE] * 50, 0.0, share(0, 50)),
        ([ONE] * 50, 0.5, share(25, 50)),
        # Zeros and ones are a share of problems; by hand: its error is sqrt(n / (n-1)) larger and
        # t is 2.0096 instead of 1.96, so 50 problems count as 46.61.
        ([TWO] * 20 + [NONE] * 30, 0.4, share(0.4 * 46.61, 46.61)),
    ],
)
def test_mean_step_accuracy(texts, mean, interval):
    found = mean_step_accuracy(run_of(*map(generation, texts)))
    assert (found.mean, found.n) == (mean, len(texts))
    if interval is None:
        assert found.interval is None
    else:
        bounds = (found.interval.low, found.interval.high)
        assert bounds == pytest.approx((interval.low, interval.high), abs=1e-4)


def test_mean_step_accuracy_leaves_out_what_has_no_gold_steps():
    found = mean_step_accuracy(run_of(generation(ONE), generation(TWO, solution="")))
    assert (found.mean, found.n, found.interval) == (0.5, 1, None)


def test_a_run_without_generations_has_no_shares():
    table = signal_table(Run(arm="a", seed=0, state="missing"))
    assert (table.n, table.correct) == (0, 0)
    assert {(row.count, row.share, row.interval) for row in table.rows} == {(0, None, None)}
    assert by_gold_steps(Run(arm="a", seed=0, state="missing")) == ()
