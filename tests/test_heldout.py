"""Likelihoods of gold solutions: means, intervals and paired differences, against scipy."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from by_hand import generation, result
from paribus.analysis.heldout import comparisons, likelihoods, ratio
from paribus.analysis.tables import Arm, Run, Tables
from paribus.records import Likelihood
from paribus.report import accuracy
from paribus.statistics.verdicts import Verdict
from paribus.store.runs import RunState

NATS = [3.1, 4.0, 2.2, 9.7, 5.5, 4.1, 3.3, 6.8, 1.9, 7.4, 2.8, 5.0]
TOKENS = [10, 12, 9, 31, 17, 14, 11, 22, 8, 25, 10, 16]


def run(arm: str, nats, *, seed=0, variant="main", ids=None, groups=None, tokens=None) -> Run:
    """A run that found the gold solution of problem `ids[i]` so likely."""
    ids = ids or [f"p{number}" for number in range(len(nats))]
    groups, tokens = groups or [""] * len(ids), tokens or [10] * len(ids)
    generations = tuple(
        replace(generation(0, "#### 7", group=group), problem_id=identity)
        for identity, group in zip(ids, groups, strict=True)
    )
    rows = zip(ids, nats, tokens, strict=True)
    return Run(
        arm=arm,
        seed=seed,
        state=RunState.COMPLETE,
        result=result(heldout={"variant": variant, "problems": len(ids)}),
        generations=generations,
        heldout=tuple(Likelihood(problem_id=p, nll=nll, tokens=n) for p, nll, n in rows),
    )


def tables(*runs: Run, variants=None) -> Tables:
    """Every pair of the runs' arms is declared, in order; `variants` are what arms learned."""
    names = list(dict.fromkeys(run.arm for run in runs))
    learned = variants or {}
    return Tables(
        config={},
        origins={},
        arms=tuple(
            Arm(
                name=name,
                factors={"method": "none" if name == "base" else "full"},
                identity={"data": {"variant": learned.get(name, "main")}, "method": "full"},
            )
            for name in names
        ),
        declared=tuple((a, b, "method") for i, a in enumerate(names) for b in names[i + 1 :]),
        runs=runs,
    )


def less(nats, by):
    return [nll - difference for nll, difference in zip(nats, by, strict=True)]


BY = [0.3, 0.5, -0.1, 0.9, 0.4, 0.2, 0.6, 0.7, -0.2, 0.8, 0.1, 0.5]
"""How much likelier `full` finds each solution than `base`, in nats."""


def test_over_problems_it_is_the_t_interval():
    found = ratio(NATS, [1] * 12)
    reference = stats.ttest_1samp(NATS, 0)
    assert found.value == pytest.approx(np.mean(NATS))
    assert found.p_value == pytest.approx(reference.pvalue)
    interval = reference.confidence_interval(0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high))


def test_a_comparison_is_the_paired_t_test():
    (found,) = comparisons(tables(run("full", less(NATS, BY)), run("base", NATS)))
    reference = stats.ttest_rel(less(NATS, BY), NATS)
    interval = reference.confidence_interval(0.95)
    assert found.mean.value == pytest.approx(-np.mean(BY))
    assert found.mean.p_value == found.p_holm == pytest.approx(reference.pvalue)
    assert found.mean.interval.low == pytest.approx(interval.low)
    assert found.verdict is Verdict.SUPPORTED


def test_per_token_is_the_jackknife():
    found = ratio(NATS, TOKENS)
    y, x = np.array(NATS), np.array(TOKENS)
    left_out = (y.sum() - y) / (x.sum() - x)
    error = np.sqrt(11 / 12 * ((left_out - y.sum() / x.sum()) ** 2).sum())
    half = (found.interval.high - found.interval.low) / 2
    assert found.value == pytest.approx(y.sum() / x.sum())
    assert half == pytest.approx(stats.t.isf(0.025, 11) * error)


def test_copies_within_a_group_add_nothing():
    groups = np.repeat(np.arange(12), 3)
    once, thrice = ratio(NATS, TOKENS), ratio(np.repeat(NATS, 3), np.repeat(TOKENS, 3), groups)
    assert thrice.value == pytest.approx(once.value)
    assert thrice.interval.low == pytest.approx(once.interval.low)
    assert thrice.p_value == pytest.approx(once.p_value)


@pytest.mark.parametrize(
    ("values", "groups", "value", "reason"),
    [
        ([1.0, None, 3.0], None, None, "for 1 of 3 problems the model gave no valid distribution"),
        ([5.0], None, 5.0, "1 problems are too few, under 10"),
        ([1.0] * 9, None, 1.0, "9 problems are too few, under 10"),
        ([1.0, 3.0] * 6, np.repeat([0, 1, 2], 4), 2.0, "3 groups of problems are too few, under 1"),
        ([2.0] * 12, None, 2.0, "the figure is the same for every problem"),
    ],
)
def test_where_there_is_no_interval(values, groups, value, reason):
    found = ratio(values, [1] * len(values), groups)
    assert (found.value, found.interval, found.p_value) == (value, None, None)
    assert found.reason.startswith(reason)


@given(
    st.lists(st.floats(-50, 50), min_size=10, max_size=40).filter(lambda v: np.std(v) > 1e-3),
    st.floats(0.1, 10),
)
def test_interval_and_test_agree_and_units_do_not_matter(values, unit):
    found = ratio(values, [1] * len(values))
    scaled = ratio([unit * value for value in values], [1] * len(values))
    assert found.interval.low < found.value < found.interval.high
    if abs(found.p_value - 0.05) > 1e-6:
        outside = found.interval.low > 0 or found.interval.high < 0
        assert (found.p_value < 0.05) == outside
    assert scaled.value == pytest.approx(unit * found.value, abs=1e-9)
    assert scaled.p_value == pytest.approx(found.p_value, rel=1e-6, abs=1e-12)


def test_the_interval_holds_the_truth():
    """Of nats per token, for solutions of skewed length, 100 of them."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        tokens = rng.integers(20, 200, 100)
        nats = tokens * 0.5 * rng.lognormal(-0.08, 0.4, 100)
        interval = ratio(list(nats), list(tokens)).interval
        held += interval.low <= 0.5 <= interval.high
    assert 930 <= held <= 970


def test_runs_with_groups_and_a_question_asked_twice():
    twice = ["p", "p", *(f"q{number}" for number in range(10))]
    (found,) = likelihoods(tables(run("full", NATS, ids=twice, groups=["g", "g", *"abcdefghij"])))
    alone = ratio(NATS, [1] * 12)
    assert found.per_problem.n == 12
    assert found.per_problem.value == pytest.approx(alone.value)
    assert found.per_problem.interval != alone.interval


@pytest.mark.parametrize(
    ("b", "n", "reason"),
    [
        (run("b", NATS), 12, ""),
        (run("b", NATS[:11]), 11, ""),
        (run("b", NATS, variant="socratic"), 0, "written differently, main and socratic"),
        (run("b", NATS, ids=list("abcdefghijkl")), 0, "tested on different problems"),
        (run("b", NATS, seed=1), 0, "not both were measured with seed 0"),
        (run("b", []), 0, "not both were measured with seed 0"),
        (run("b", [None, *NATS[1:]]), 12, "for 1 of 12 problems"),
    ],
)
def test_what_can_be_compared(b, n, reason):
    (found,) = comparisons(tables(run("a", less(NATS, BY)), b))
    assert found.mean.n == n
    assert reason in found.mean.reason
    assert (found.mean.interval is None) == bool(reason)
    assert (found.verdict is Verdict.NOT_SHOWN) == bool(reason)


def test_the_declared_contrasts_are_one_family():
    found = comparisons(
        tables(run("full", less(NATS, BY)), run("lora", NATS), run("late", NATS, seed=1))
    )
    assert [each.mean.p_value is None for each in found] == [False, True, True]
    # Holm counts comparisons that could not be made: they do not sharpen the others.
    assert found[0].p_holm == pytest.approx(3 * found[0].mean.p_value)


def test_the_section():
    asked = tables(
        run("base", NATS, tokens=TOKENS),
        run("full", less(NATS, BY), tokens=TOKENS),
        run("lora", [None, *NATS[1:]], tokens=TOKENS),
        variants={"full": "socratic"},
    )
    found = accuracy.section(asked)
    assert found is not None
    assert found.runs.rows[0] == ["base", "0.302 [0.289 to 0.314]", "4.650 [3.160 to 6.140]", "12"]
    assert found.runs.rows[2] == ["lora", "–", "–", "12"]
    assert found.other_seeds.rows == []
    name, factor, size, p, corrected, shown = found.comparisons.rows[0]
    assert (name, factor, size) == ("base − full", "method", "+0.392 [+0.172 to +0.611]")
    assert (p, corrected) == ("0.002", "0.007")
    assert shown == "Of these two models, full finds the gold solutions likelier than base."
    assert found.comparisons.rows[1][5].startswith("No verdict: for 1 of 12 problems")
    assert found.notes == [
        "full learned to write solutions of another variant than those judged here: part of a "
        "difference is style.",
        "lora, seed 0: for 1 of 12 problems the model gave no valid distribution.",
    ]
    assert accuracy.section(tables(run("base", []))) is None


def test_a_store_that_does_not_name_the_variant_has_its_section_all_the_same():
    section = accuracy.section(tables(run("base", NATS, tokens=TOKENS, variant="")))
    assert section is not None
    assert (section.written, len(section.runs.rows)) == ("", 1)
