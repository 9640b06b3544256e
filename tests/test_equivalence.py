"""As good within a margin: two one-sided tests, what they rest on, their power, and their words."""

from dataclasses import replace
from math import comb

import numpy as np
import pytest
from scipy.stats import binom, norm

from by_hand import tables
from paribus.analysis.family import judged
from paribus.analysis.findings import conclude
from paribus.analysis.wording import verdict_sentence
from paribus.errors import UserError
from paribus.statistics.equivalence import (
    margin_of,
    not_worse,
    opposite,
    power_of_equivalence,
    problems_for_equivalence,
)
from paribus.statistics.intervals import paired_difference, score_parts
from paribus.statistics.power import Design
from paribus.statistics.verdicts import compare


def pair(only_a: int, only_b: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    a = np.array([[True] * only_a + [False] * (n - only_a)])
    b = np.array([[False] * (n - only_b) + [True] * only_b])
    return a, b


@pytest.mark.parametrize(
    ("only_a", "only_b", "n"), [(3, 10, 100), (0, 0, 60), (12, 2, 50), (40, 38, 400), (0, 5, 30)]
)
def test_one_seed_agrees_with_the_interval_beside_it(only_a, only_b, n):
    """Tango's interval holds the differences that his test does not reject: at 0.025 one-sided."""
    a, b = pair(only_a, only_b, n)
    interval = paired_difference(only_a=only_a, only_b=only_b, n=n)
    for margin in (0.02, 0.05, 0.1, 0.2, 0.4):
        p_a, p_b = not_worse(compare(a, b), a, b, margin)
        assert (p_a < 0.025) == (interval.low > -margin)
        assert (p_b < 0.025) == (interval.high < margin)
        assert opposite((p_a, p_b)) == pytest.approx((min(1, 2 - 2 * p_a), min(1, 2 - 2 * p_b)))


def test_tango_by_hand():
    """No problem tells them apart, n = 200, margin 2 points: (200 x 0.02)² / (200 x 0.0196)."""
    a, b = pair(0, 0, 200)
    expected = norm.sf(4 / (200 * 0.02 * 0.98) ** 0.5)
    assert not_worse(compare(a, b), a, b, 0.02) == pytest.approx((expected, expected))


def test_several_seeds_are_held_against_the_margin_as_against_nought():
    """The distance to the margin is tested as a difference is: moved there, p is half of its p."""
    rng = np.random.default_rng(1)
    base = rng.random(400) < 0.5
    a, b = (base ^ (rng.random((3, 400)) < 0.1) for _ in range(2))
    tested = compare(a, b)
    gap = tested.crossed.value
    assert gap != 0
    p_a, p_b = not_worse(tested, a, b, abs(gap))
    assert (p_b if gap > 0 else p_a) == pytest.approx(0.5)
    both = not_worse(tested, a, b, 0.2)
    assert max(both) < 0.01
    assert not_worse(compare(a[:2], b[:2]), a[:2], b[:2], 0.2) == (None, None)


@pytest.mark.parametrize("points", [0.02, 0, -2, 51, float("nan")])
def test_a_margin_is_points(points):
    with pytest.raises(UserError, match="outside 0.1 to 50"):
        margin_of(points)
    assert margin_of(2) == 0.02


# --- power -----------------------------------------------------------------------------------


def test_the_power_for_one_seed_is_the_sum_over_all_tables():
    """All counts of problems that only A or only B solves, each judged, each with its chance."""
    n, accuracy, margin, correlation = 40, 0.4, 0.15, 0.6
    alone = accuracy * (1 - accuracy) * (1 - correlation)
    equivalent = one = 0.0
    for only_a in range(n + 1):
        for only_b in range(n + 1 - only_a):
            ways = comb(n, only_a) * comb(n - only_a, only_b)
            chance = ways * alone ** (only_a + only_b) * (1 - 2 * alone) ** (n - only_a - only_b)
            if chance < 1e-12:
                continue
            a, b = pair(only_a, only_b, n)
            p_a, p_b = not_worse(compare(a, b), a, b, margin)
            equivalent += chance * (max(p_a, p_b) < 0.05)
            one += chance * (p_a < 0.05)
    design = Design(n=n, correlation=correlation)
    assert power_of_equivalence(design, accuracy, margin) == pytest.approx(
        (equivalent, one), abs=1e-6
    )
    assert 0.2 < equivalent < one < 0.9


@pytest.mark.parametrize(("seeds", "n"), [(1, 1500), (3, 4000)])
def test_true_equals_are_shown_as_often_as_promised(seeds, n):
    """Drawn from a latent normal score: 400 experiments, within 3 points and chance."""
    spread, rng = 0.01, np.random.default_rng(5)
    accuracy, margin, experiments = 0.4, 0.05 if seeds == 3 else 0.04, 400
    shown = outcomes = 0
    correlations: list[tuple[float, float]] = []
    for _ in range(experiments):
        shared = np.sqrt(0.5) * rng.standard_normal(n)
        arms = []
        for _ in range(2):
            own = np.sqrt(0.2) * rng.standard_normal(n)
            truth = rng.normal(accuracy, spread * (seeds > 1), seeds)
            score = shared + own + np.sqrt(0.3) * rng.standard_normal((seeds, n))
            arms.append(score < norm.ppf(truth)[:, None])
        a, b = arms
        within = not_worse(compare(a, b), a, b, margin)
        shown += max(within) < 0.05
        outcomes += 1
        same = np.corrcoef(a)[0, 1] if seeds > 1 else 0.6
        correlations.append((float(np.corrcoef(a[0], b[0])[0, 1]), float(same)))
    across, within_arm = np.mean(correlations, axis=0)
    design = Design(n=n, seeds=seeds, correlation=across, same_arm=within_arm, spread=spread)
    promised, _ = power_of_equivalence(design, accuracy, margin)
    assert 0.3 < promised < 0.97
    error = (promised * (1 - promised) / experiments) ** 0.5
    assert shown / outcomes == pytest.approx(promised, abs=0.03 + 3 * error)


def test_the_problems_needed_are_the_fewest():
    design = Design(n=0)
    equivalent, one = problems_for_equivalence(design, 0.31, 0.03)
    assert one < equivalent
    enough = power_of_equivalence(Design(n=equivalent), 0.31, 0.03)[0]
    assert enough >= 0.8
    assert power_of_equivalence(Design(n=int(0.97 * equivalent)), 0.31, 0.03)[0] < 0.8
    # With seeds that scatter by 3 points, three of them never show it within 2.
    assert problems_for_equivalence(Design(n=0, seeds=3, spread=0.03), 0.31, 0.02) == (None, None)
    assert power_of_equivalence(Design(n=1000, seeds=2), 0.31, 0.02) == (0.0, 0.0)


# --- verdicts --------------------------------------------------------------------------------


def of(a: str, b: str, margin: float):
    made = tables({"full": [a], "lora": [b]}, [("full", "lora")])
    return replace(made, margins={("full", "lora"): margin})


HALF = "10" * 100
MORE, FEWER = "1" * 150 + "0" * 50, "1" * 40 + "0" * 160


@pytest.mark.parametrize(
    ("a", "b", "margin", "kind", "claim", "sentence"),
    [
        (HALF, HALF, 0.05, "supported", "full and lora are equivalent within 5 points",
         " Equivalent within 5 points."),
        (HALF, HALF, 0.001, "not_shown", "full and lora are equivalent within 0.1 points",
         " That they differ by less than 0.1 points is not shown, nor that they do not."),
        (MORE, FEWER, 0.05, "refuted", "full and lora are equivalent within 5 points",
         " lora is worse by 5 points or more."),
        (HALF, HALF[:-8] + "0" * 8, 0.03, "supported",
         "full is not worse than lora by 3 points or more",
         " full is not worse by 3 points or more."),
    ],
)  # fmt: skip
def test_the_verdicts_by_a_margin(a, b, margin, kind, claim, sentence):
    analysis = conclude(of(a, b, margin))
    (found,) = [each for each in analysis.findings if each.kind == "equivalence"]
    assert (found.verdict.value, found.claim) == (kind, claim)
    assert verdict_sentence(analysis.contrasts[0]).endswith(sentence)
    assert found.sentence.startswith(f"{sentence.strip()} The difference may be ")


def test_a_margin_changes_no_verdict_of_one_contrast():
    beside = of(MORE, FEWER, 0.05)
    plain = replace(beside, margins={})
    assert judged(plain).contrasts[0].p_holm == judged(beside).contrasts[0].p_holm


@pytest.mark.parametrize("comparisons", [1, 8])
@pytest.mark.parametrize("either", [0.06, 0.3])
@pytest.mark.parametrize("n", [200, 1319])
def test_the_level_of_tangos_test_at_the_margin(n, either, comparisons):
    """Exact: over all tables where A truly is worse by 5 points, whether rarely apart or often."""
    margin, alpha = 0.05, 0.05 / comparisons
    tosses = np.arange(n + 1)[:, None]
    only_a = np.arange(n + 1)[None, :]
    chances = binom.pmf(tosses, n, either) * binom.pmf(
        only_a, tosses, (either - margin) / 2 / either
    )
    distance, variance = score_parts(only_a, tosses - only_a, n, -margin)
    possible = only_a <= tosses
    shown = np.where(possible, distance > norm.isf(alpha) * np.sqrt(np.abs(variance)), False)
    assert chances[possible].sum() == pytest.approx(1)
    assert chances[shown].sum() < 1.25 * alpha
