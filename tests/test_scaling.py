"""The data-scaling curve: which arms it joins, its trend, and what more problems would bring."""

import re
from dataclasses import replace
from math import log2
from pathlib import Path

import numpy as np
import pytest

import by_hand
from paribus.analysis.findings import conclude, payload
from paribus.analysis.scaling import scaling
from paribus.analysis.tables import Arm, Run, Tables, with_generations
from paribus.evaluation.metrics import metrics_of
from paribus.evaluation.scorers import Scorers
from paribus.records import Likelihood, Measure, Outcome
from paribus.report.scaling import scaling_figure
from paribus.store.results import DataCounts
from paribus.store.runs import RunState

PROBLEMS = 200
SHARES = {250: 0.20, 500: 0.26, 1000: 0.34, 2000: 0.40}


def run(arm: str, size: int, share: float, seed: int) -> Run:
    """A run that solves about this share of the problems: the easier ones, with some luck."""
    hard = np.random.default_rng(1).uniform(-0.3, 0.3, PROBLEMS)
    solved = np.random.default_rng([size, seed]).uniform(size=PROBLEMS) < share + hard
    generations = [
        by_hand.generation(number, "#### 7" if right else "#### 8", "stop_token")
        for number, right in enumerate(solved)
    ]
    made = Run(arm=arm, seed=seed, state=RunState.COMPLETE, data=DataCounts(train_problems=size))
    return with_generations(made, [replace(g, answer="7") for g in generations])


def tables(seeds: int = 3, sizes=tuple(SHARES), methods=("lora",)) -> Tables:
    arms, runs = [], []
    for method in methods:
        for size in sizes:
            factors = {"data.train_size": size}
            name = f"{method}-{size}"
            factors |= {"method": method} if len(methods) > 1 else {}
            arms.append(Arm(name=name, factors=factors, identity={"method": method}))
            runs += [run(name, size, SHARES[size], seed) for seed in range(seeds)]
    return Tables(config={"name": "x"}, origins={}, arms=tuple(arms), declared=(), runs=tuple(runs))


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_trend_is_that_of_least_squares_and_is_carried_on_by_one_doubling(seeds):
    (curve,) = scaling(tables(seeds))
    assert (curve.sizes, curve.more) == (tuple(SHARES), 2000)
    assert curve.means == pytest.approx(list(SHARES.values()), abs=0.08)
    slope = np.polyfit(np.log2(list(SHARES)), curve.means, 1)[0]
    assert curve.per_doubling == pytest.approx(slope)
    assert curve.gain == pytest.approx(slope * log2((2000 + 2000) / 2000))
    assert curve.interval is not None
    # The standard error of the slope over independent problems: the squared weights sum to 1/5.
    error = np.sqrt(0.2 * 0.3 * 0.7 / PROBLEMS / seeds)
    assert error < curve.gain - curve.interval.low < 4 * error
    assert error < curve.interval.high - curve.gain < 4 * error


LOSSES = {250: 2.0, 500: 1.7, 1000: 1.45, 2000: 1.1}


def of_losses(seeds: int) -> Tables:
    """The same arms by the loss of each problem, which falls with their size."""
    runs = []
    for given in tables(seeds).runs:
        size = given.data.train_problems
        rng = np.random.default_rng([size, given.seed])
        nlls = LOSSES[size] + np.linspace(-0.5, 0.5, PROBLEMS) + rng.normal(0, 0.1, PROBLEMS)
        heldout = tuple(
            Likelihood(problem_id=str(number), nll=float(nll), tokens=1)
            for number, nll in enumerate(nlls)
        )
        plain = Run(arm=given.arm, seed=given.seed, state=RunState.COMPLETE, data=given.data)
        loss = replace(plain, scorers=Scorers(loss=True), heldout=heldout)
        runs.append(with_generations(loss, []))
    return replace(tables(seeds), runs=tuple(runs))


@pytest.mark.parametrize("seeds", [1, 3])
def test_losses_have_a_trend_with_their_own_interval(seeds):
    (curve,) = scaling(of_losses(seeds))
    assert curve.measure is Measure.LOSS
    assert curve.means == pytest.approx(list(LOSSES.values()), abs=0.03)
    assert curve.gain == pytest.approx(np.polyfit(np.log2(list(LOSSES)), curve.means, 1)[0])
    # Of independent errors of 0.1; the spread that all arms share cancels out.
    error = np.sqrt(0.2 * 0.01 / PROBLEMS / seeds)
    assert error < curve.gain - curve.interval.low < 8 * error
    caption = scaling_figure(conclude(of_losses(seeds))).caption
    assert re.search(r"2,000 more would bring −0\.\d{3} nats \[−0\.\d{3} to −0\.\d{3}\]", caption)
    assert caption.startswith("Mean loss by the number of training problems")
    assert payload(conclude(of_losses(seeds)))["scaling"][0]["measure"] == "loss"


def test_scores_have_a_trend_in_points():
    scored = [
        replace(
            run,
            scorers=Scorers(metrics=metrics_of([{"metric": "f1"}], None, folder=Path())),
            generations=tuple(
                replace(text, text="x y" if right is Outcome.CORRECT else "x", answer="x y")
                for text, right in zip(run.generations, run.judged, strict=True)
            ),
        )
        for run in tables().runs
    ]
    runs = tuple(with_generations(run, run.generations) for run in scored)
    (curve,) = scaling(replace(tables(), runs=runs))
    (binary,) = scaling(tables())
    assert curve.measure is Measure.SCORE
    # A miss scores 2/3: a third of each difference is left.
    assert curve.gain == pytest.approx(binary.gain / 3)
    assert curve.interval.low == pytest.approx(binary.interval.low / 3, abs=0.01)


def test_small_experiments_are_carried_on_no_further_than_twice_their_size():
    (curve,) = scaling(tables(sizes=(250, 500, 1000)))
    assert curve.more == 1000


def test_each_combination_of_other_factors_is_a_curve_of_its_own():
    curves = scaling(tables(methods=("full", "lora")))
    assert [curve.label for curve in curves] == ["full", "lora"]
    assert curves[0].arms == ("full-250", "full-500", "full-1000", "full-2000")


def test_two_sizes_and_other_factors_make_no_curve():
    assert scaling(tables(sizes=(250, 500))) == []
    plain = tables()
    arms = tuple(replace(arm, factors={"lora.r": 4}) for arm in plain.arms)
    assert scaling(replace(plain, arms=arms)) == []


def test_the_report_draws_it_and_findings_have_it():
    analysis = conclude(tables())
    picture = scaling_figure(analysis)
    assert picture is not None
    assert re.search(r"Along it: 2,000 more would bring \+\d\.\d points \[", picture.caption)
    assert "Accuracy by training problems: 250 " in picture.svg
    (row,) = payload(analysis)["scaling"]
    assert row["sizes"] == tuple(SHARES)
    assert row["interval"] == row["interval_per_doubling"]  # 2,000 more are one doubling
    assert "scaling" not in payload(conclude(tables(sizes=(250, 500))))
