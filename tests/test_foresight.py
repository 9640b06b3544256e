"""What a hypothesis claims, and whether the experiment could see it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paribus.planning.foresight import ASSUMED, foresee
from paribus.records import Measure
from paribus.statistics.equivalence import power_of_equivalence
from paribus.statistics.power import Design, detectable_about
from paribus.statistics.verdicts import compare, detectable


def claimed(hypothesis: str) -> float | None:
    return foresee(n=50, seeds=1, comparisons=1, hypothesis=hypothesis).claimed


@pytest.mark.parametrize(
    ("hypothesis", "points"),
    [
        ("LoRA comes within 2 points of full SFT.", 2),
        ("It falls 5 or more points behind.", 5),
        ("No more than 3 or fewer points.", 3),
        ("LoRA wins by 2.5 percentage points.", 2.5),
        ("A difference of 1 point", 1),
        ("5 Points", 5),
        ("12.50 points", 12.5),
        ("100 points", 100),
        ("Within 2 points; at full SFT's rate 5 points behind.", 2),
        ("10 points, of which 0 points are format", 10),
        ("2-3 points", 3),
        ("of 1,319 points none is missing", None),
        ("from 3.14159 points on", None),
        ("a point", None),
        ("by a few points", None),
        ("0 points", None),
        ("5 pointers", None),
        ("5 percent of 200 problems", None),
        ("LoRA is better.", None),
        ("", None),
    ],
)
def test_the_smallest_size_that_a_hypothesis_names(hypothesis, points):
    assert claimed(hypothesis) == (None if points is None else pytest.approx(points / 100))


@given(st.text(st.sampled_from("0123456789., \t\npointsormer"), max_size=60))
def test_any_text_claims_a_positive_share_or_nothing(hypothesis):
    found = claimed(hypothesis)
    assert found is None or 0 < found < 10


def test_what_a_design_can_see():
    found = foresee(n=100, seeds=1, comparisons=8, hypothesis="Within 2 points.")
    assert found.detectable == detectable_about(Design(n=100, comparisons=8), ASSUMED)
    assert found.detectable == pytest.approx(0.204, abs=5e-4)
    assert found.sentence == (
        "With 100 test problems, 1 seed, 8 comparisons, a difference of 20.4 points or more is "
        "shown 8 times in 10; smaller ones are likely to be missed."
    )
    assert found.warning.startswith("The hypothesis speaks of 2 points, which this experiment")
    assert "data.test_size or seeds" in found.warning


def test_scores_that_are_no_outcomes_are_said_to_need_less():
    found = foresee(n=100, seeds=1, comparisons=8, hypothesis="", measure=Measure.SCORE)
    assert found.sentence.endswith(
        "a difference of 20.4 points or more is shown 8 times in 10, if scores are 0 or 1, and a "
        "smaller one if they are not; smaller ones are likely to be missed."
    )


def test_with_declared_looks_the_last_one_has_not_the_whole_level():
    """Six comparisons at 90 % of the level are 6.67 at all of it; the sentence counts six."""
    given = {"n": 1000, "seeds": 7, "comparisons": 6, "hypothesis": ""}
    whole, last = foresee(**given), foresee(**given, looks=[4, 7], margin=0.03)
    assert (whole.level, last.level) == (pytest.approx(0.05), pytest.approx(0.045))
    design = Design(n=1000, seeds=7, comparisons=6 / 0.9)
    assert last.detectable == detectable_about(design, ASSUMED)
    assert last.equivalent == power_of_equivalence(design, ASSUMED, 0.03)[0]
    assert whole.detectable < last.detectable < 1.02 * whole.detectable
    assert last.sentence.startswith(
        "With 1,000 test problems, 7 seeds, 6 comparisons and the 90 % of the level that the last "
        f"look has, a difference of {100 * last.detectable:.1f} points or more is shown 8 times in "
    )
    assert foresee(**given, looks=[7]) == whole


def test_one_comparison_at_the_last_look():
    found = foresee(n=500, seeds=10, comparisons=1, hypothesis="", looks=[4, 7, 10])
    assert "10 seeds and the 90 % of the level that the last look has, a" in found.sentence


def test_what_was_foreseen_is_what_the_table_could_see_where_all_came_as_assumed():
    """Both solve half of 100 problems, 35 of them both: a correlation of 0.4."""
    a, b = (np.repeat([True, first, not first, False], [35, 15, 15, 35]) for first in (True, False))
    a, b = a[None], b[None]
    seen = detectable(compare(a, b), a, b, 8)
    assert seen == foresee(n=100, seeds=1, comparisons=8, hypothesis="").detectable


@pytest.mark.parametrize(
    ("n", "hypothesis", "warned"),
    [
        (100, "25 points", False),
        (100, "15 points", True),
        (100, "It is better.", False),
        (10_000, "5 points", False),
        (1, "99 points", True),  # nothing is large enough
    ],
)
def test_a_warning_where_the_claim_would_be_missed(n, hypothesis, warned):
    found = foresee(n=n, seeds=1, comparisons=8, hypothesis=hypothesis)
    assert bool(found.warning) == warned


def test_a_design_that_can_show_nothing_says_so():
    found = foresee(n=1, seeds=1, comparisons=1, hypothesis="")
    assert found.detectable is None
    assert found.sentence == (
        "With 1 test problems, 1 seed, no difference is large enough to be shown 8 times in 10."
    )


def test_two_seeds_give_no_verdicts():
    found = foresee(n=1319, seeds=2, comparisons=3, hypothesis="5 points")
    assert found.detectable is None
    assert found.sentence == (
        "2 seeds give no verdicts: too few to say how much the seed matters. "
        "1 compares the trained models, 3 or more the methods."
    )
    assert found.warning


def test_one_comparison_at_least():
    alone = foresee(n=100, seeds=3, comparisons=1, hypothesis="")
    assert foresee(n=100, seeds=3, comparisons=0, hypothesis="") == alone
    assert "100 test problems, 3 seeds, a difference of" in alone.sentence


def test_how_often_true_equals_would_be_shown_equivalent():
    found = foresee(n=3000, seeds=1, comparisons=2, hypothesis="", margin=0.03)
    promised, _ = power_of_equivalence(found.design, ASSUMED, 0.03)
    assert 0.2 < promised < 0.9
    assert found.sentence.endswith(
        "Two arms that are truly equal are shown equivalent within 3 points "
        f"{100 * promised:.0f} times in 100."
    )
    assert foresee(n=3000, seeds=2, comparisons=2, hypothesis="", margin=0.03).equivalent == 0
    plain = foresee(n=3000, seeds=1, comparisons=2, hypothesis="")
    assert (plain.margin, plain.equivalent) == (None, None)
    assert found.sentence.startswith(plain.sentence)
