"""A search on the page: what smaller budgets would have found, and what fresh seeds confirm."""

from dataclasses import replace
from itertools import combinations
from math import inf
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from in_memory import GOLD, run, tables
from paribus.analysis.searches import searches
from paribus.analysis.tables import Run
from paribus.records import Likelihood
from paribus.report import searching, tuning
from paribus.statistics.real.best import expected_best
from paribus.store.experiments import ArmTuning, Searched, Tried

RATE, RANK = "training.learning_rate", "lora.r"
KEYS = {RATE: {"low": 1e-5, "high": 1e-3, "log": True}, RANK: [4, 8]}


@pytest.mark.parametrize("losses", [[1.2, 0.9, 1.1, 1.5], [2.0], [1.0, 1.0], [3.0, None, 1.0]])
def test_expected_best_is_the_mean_over_all_subsets(losses):
    values = [inf if loss is None else loss for loss in losses]
    by_hand = [
        fmean(min(drawn) for drawn in combinations(values, k)) for k in range(1, len(values) + 1)
    ]
    assert expected_best(losses) == pytest.approx(by_hand)


def test_expected_best_is_unbiased():
    """Of six independent trials, by chance, the best of three is expected as of three alone."""
    draws = np.random.default_rng(0).exponential(size=(20_000, 6))
    of_six = np.mean([expected_best(list(row))[2] for row in draws])
    assert of_six == pytest.approx(1 / 3, abs=0.005)  # the least of three exponentials


def trial(rate: float, rank: int, loss: float | None) -> Tried:
    return Tried(
        learning_rate=None,
        state="failed" if loss is None else "complete",
        fingerprint="f",
        nll_per_token=loss,
        solved=None if loss is None else 3,
        n=None if loss is None else 100,
        seconds=None if loss is None else 61.2,
        error="nan at step 3" if loss is None else None,
        values={RATE: rate, RANK: rank},
        flops=2e12,
        nll_error=None if loss is None else 0.02,
    )


def tuned(*trials: Tried, edges: Any = None, **asked: Any) -> ArmTuning:
    losses = [inf if each.nll_per_token is None else each.nll_per_token for each in trials]
    best = None if min(losses) == inf else losses.index(min(losses))
    budget = {"trials": len(trials), "flops": None, "sampler": "tpe", "seed": 0, **asked}
    return ArmTuning(
        chosen=None,
        edge=None,
        trials=list(trials),
        search=Searched(asked={"keys": KEYS, **budget}, best=best, edges=edges or {}),
    )


TRIALS = (trial(1.234e-4, 4, 1.2), trial(2e-3, 8, 0.9), trial(1e-5, 8, None))


def measured(seed: int, loss: float) -> Run:
    """A run of 200 problems of ten tokens, with so much loss per token on average."""
    texts = [GOLD] * 200
    nats = [10 * (loss + 0.1 * (-1) ** number) for number in range(200)]
    made = run("lora", *texts, seed=seed)
    rows = [
        Likelihood(problem_id=text.problem_id, nll=nll, tokens=10)
        for text, nll in zip(made.generations, nats, strict=True)
    ]
    return replace(made, heldout=tuple(rows))


def found(*losses: float, tuning: ArmTuning | None = None) -> searching.Searching:
    runs = [measured(seed, loss) for seed, loss in enumerate(losses)]
    made = searching.section(tables(*runs, tried={"lora": tuning or tuned(*TRIALS)}))
    assert made is not None
    return made


def test_the_page():
    made = found(0.91, 0.93, 0.92)
    assert made.how == "Each of these arms had 3 trials, with values proposed by Optuna's TPE"
    assert made.warnings == []
    assert made.chosen.headings[1:3] == [RATE, RANK]
    (row,) = made.chosen.rows
    assert row[:5] == ["lora", "0.002", "8", "0.900", "0.920"]
    assert row[5].startswith("+0.020 [−0.0")
    assert row[6:] == ["3", "6e12"]
    assert [line[1:5] for line in made.trials.rows] == [
        ["1", "1.23e-4", "4", "1.200"],
        ["2", "0.002", "8", "0.900"],
        ["3", "1e-5", "8", "–"],
    ]
    assert [line[-1] for line in made.trials.rows] == ["", "chosen", "failed"]
    assert made.failed == ["lora, trial 3: nan at step 3"]
    assert made.curve is not None
    # Of one trial it may be the one that failed.
    assert "Expected best held-out loss by trials: lora 2: 1.000, 3: 0.900." in made.curve.svg
    assert tuning.section(tables(measured(0, 1), tried={"lora": tuned(*TRIALS)})) is None
    assert found(0.91, 0.93, 0.92) == made  # to the byte


def test_operations_are_the_axis_where_they_were_equal():
    made = found(0.9, tuning=tuned(*TRIALS, trials=None, flops=7e12))
    assert made.how.startswith("Each of these arms had as many trials as train with 7e12 operation")
    assert made.curve is not None
    assert "by operations: lora 4e12: 1.000, 6e12: 0.900." in made.curve.svg


@pytest.mark.parametrize(
    ("losses", "verdict"),
    [
        ((0.99, 1.0, 1.01), True),
        ((0.93, 0.94, 0.95), False),  # within what the problems scatter
        ((0.8, 1.0, 1.2), False),  # within what the seeds scatter
        ((0.79, 0.8, 0.81), False),  # better
        ((1.0, 1.01), None),  # too few seeds
        ((), ...),
    ],
)
def test_what_fresh_seeds_confirm(losses, verdict):
    runs = [measured(seed, loss) for seed, loss in enumerate(losses)]
    (search,) = searches(tables(*runs, tried={"lora": tuned(*TRIALS)}))
    if verdict is ...:
        assert search.confirmed is None
        return
    assert search.confirmed is not None
    assert search.confirmed.seeds == len(losses)
    assert search.confirmed.difference == pytest.approx(fmean(losses) - 0.9)
    assert search.confirmed.is_worse is bool(verdict)
    assert (search.confirmed.interval is None) is (verdict is None)
    made = found(*losses)
    assert any("with fresh seeds the loss is worse" in line for line in made.warnings) is bool(
        verdict
    )
    assert ("Too few seeds or problems for an interval: lora." in made.confirmed) is (
        verdict is None
    )


def test_ends_of_a_space_and_an_arm_without_any_loss():
    made = found(0.9, tuning=tuned(*TRIALS, edges={RATE: "high", RANK: "low"}))
    assert made.warnings == [
        "lora: training.learning_rate=0.002 is at the high end of what was searched: the range "
        "should go further up.",
        "lora: lora.r=8 is at the low end of what was searched: the range should go further down.",
    ]
    made = found(0.9, tuning=tuned(trial(1e-4, 4, None)))
    assert made.warnings == ["Nothing could be chosen for lora: none of its trials has a loss."]
    assert made.curve is None
    assert made.chosen.rows == [["lora", "–", "–", "–", "–", "–", "1", "2e12"]]
