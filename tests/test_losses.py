"""Does the lower training loss mean more problems solved? Only beyond noise, and like with like."""

from dataclasses import replace

import numpy as np
import pytest

from by_hand import result, tables
from paribus.analysis.family import judged
from paribus.analysis.findings import conclude
from paribus.analysis.losses import LossOrder, loss_against_accuracy
from paribus.analysis.tables import Tables
from paribus.statistics.verdicts import Verdict

LESS, MORE = "0" * 12, "1" * 12
"""Of 12 problems none and all: shown to differ, also after correction for a few comparisons."""


def trained(
    solved: dict[str, str],
    losses: dict[str, list[float | None]],
    declared=(),
    tokens: dict[str, int] | None = None,
) -> Tables:
    """Arms with a run for each of their losses, every one of which solves alike; `tokens` per 10
    examples are 1000 if not said."""
    made = tables({arm: [row] * len(losses.get(arm, [0])) for arm, row in solved.items()}, declared)
    return replace(
        made,
        runs=tuple(
            replace(
                run,
                result=result(
                    training={
                        "final_loss": losses[run.arm][run.seed],
                        "target_tokens": (tokens or {}).get(run.arm, 1000),
                        "examples": 10,
                        "examples_per_second": 1.0,
                        "peak_memory_bytes": 10**9,
                    }
                ),
            )
            if run.arm in losses
            else run
            for run in made.runs
        ),
    )


def order(made: Tables) -> LossOrder | None:
    return loss_against_accuracy(made, judged(made).contrasts)


NEAR_2, NEAR_1 = [0.20, 0.21, 0.19], [0.10, 0.11, 0.09]
PAIR = ("b", "a")


@pytest.mark.parametrize(
    ("of_a", "of_b", "kind"),
    [
        # b solves more. Its loss is higher, lower, within what seeds scatter, or the same.
        (NEAR_1, NEAR_2, "against"),
        (NEAR_2, NEAR_1, "along"),
        ([0.10, 0.20, 0.30], [0.15, 0.22, 0.32], "equal"),
        ([0.20] * 3, [0.20] * 3, "equal"),
        # A millionth is no difference, whatever seeds say; nor is half a percent.
        ([0.500000] * 3, [0.500001] * 3, "equal"),
        ([0.500001, 0.500002, 0.500003], [0.5, 0.5, 0.5], "equal"),
        ([0.5000, 0.5001, 0.4999], [0.5025, 0.5026, 0.5024], "equal"),
        ([0.5] * 3, [0.6] * 3, "against"),
        # One seed does not say how far losses scatter.
        ([0.1], [0.9], "unknown"),
    ],
)
def test_a_pair_of_losses(of_a, of_b, kind):
    found = order(trained({"a": LESS, "b": MORE}, {"a": of_a, "b": of_b}, [("a", "b")]))
    kinds = ("against", "along", "equal", "unknown", "apart")
    assert {name: getattr(found, name) for name in kinds if getattr(found, name)} == {kind: (PAIR,)}
    verdicts = {"against": Verdict.SUPPORTED, "along": Verdict.REFUTED}
    assert found.verdict is verdicts.get(kind, Verdict.NOT_SHOWN)


def test_one_pair_against_is_enough():
    solved = {"a": LESS, "b": MORE, "c": LESS}
    losses = {"a": NEAR_1, "b": NEAR_2, "c": [0.3, 0.31, 0.29]}
    found = order(trained(solved, losses, [("a", "b"), ("b", "c")]))
    assert (found.against, found.along) == ((("b", "a"),), (("b", "c"),))
    assert found.verdict is Verdict.SUPPORTED


def test_losses_of_other_targets_are_not_compared():
    """Socratic targets are 58 % longer: lower per token, higher per example, and neither says
    anything of skill."""
    made = trained(
        {"main": MORE, "socratic": LESS},
        {"main": [0.50, 0.51, 0.49], "socratic": [0.40, 0.41, 0.39]},
        [("main", "socratic")],
        tokens={"socratic": 1580},
    )
    found = order(made)
    assert found.apart == (("main", "socratic"),)
    assert found.verdict is Verdict.NOT_SHOWN
    (finding,) = [each for each in conclude(made).findings if each.kind == "loss"]
    assert finding.sentence == (
        "Shown to solve more, but trained on targets of other text or tokens: main than socratic, "
        "whose losses say nothing of each other."
    )
    assert finding.evidence["other_targets"] == [["main", "socratic"]]


@pytest.mark.parametrize(
    ("key", "alike"),
    [
        ("data.variant", False),
        ("model", False),
        ("data.source", False),
        ("task", False),
        ("lora.r", True),
    ],
)
def test_which_settings_make_other_targets(key, alike):
    made = trained({"a": LESS, "b": MORE}, {"a": NEAR_1, "b": NEAR_2}, [("a", "b")])
    section, _, name = key.partition(".")
    arms = tuple(
        replace(arm, identity=arm.identity | {section: {name: arm.name} if name else arm.name})
        for arm in made.arms
    )
    found = order(replace(made, arms=arms))
    assert (found.against, found.apart) == (((PAIR,), ()) if alike else ((), (PAIR,)))


@pytest.mark.parametrize(
    ("of_a", "of_b", "said"),
    [
        (NEAR_1, NEAR_2, "Shown to solve more at a higher loss: b than a."),
        (NEAR_2, NEAR_1, "Shown to solve more at a lower loss: b than a."),
        (
            NEAR_1,
            NEAR_1,
            "Shown to solve more at a loss that is not shown to differ: b than a.",
        ),
        (
            [0.1],
            [0.2],
            "Shown to solve more, with too few seeds to say how far losses scatter: b than a (it "
            "takes 3 of both).",
        ),
    ],
)
def test_what_the_finding_says(of_a, of_b, said):
    made = trained({"a": LESS, "b": MORE}, {"a": of_a, "b": of_b}, [("a", "b")])
    (finding,) = [each for each in conclude(made).findings if each.kind == "loss"]
    assert finding.sentence == said


def test_without_a_difference_in_accuracy_nothing_is_said_of_losses():
    made = trained({"a": MORE, "b": MORE}, {"a": NEAR_1, "b": NEAR_2}, [("a", "b")])
    (finding,) = [each for each in conclude(made).findings if each.kind == "loss"]
    assert (finding.verdict, finding.sentence) == (
        Verdict.NOT_SHOWN,
        "No two tuned arms are shown to differ in accuracy.",
    )


def test_equal_losses_of_seeds_that_scatter_are_seldom_told_apart():
    """Of 200 pairs of arms whose losses are drawn alike, at most 5 % are shown to differ."""
    random = np.random.default_rng(16)
    made = trained({"a": LESS, "b": MORE}, {"a": NEAR_1, "b": NEAR_1}, [("a", "b")])
    found = judged(made).contrasts
    differ = []
    for drawn in random.normal(0.3, 0.03, size=(200, 2, 3)):
        losses = dict(zip("ab", drawn, strict=True))
        runs = tuple(
            replace(run, result=result(training={"final_loss": float(losses[run.arm][run.seed])}))
            for run in made.runs
        )
        seen = loss_against_accuracy(replace(made, runs=runs), found)
        differ.append(seen.verdict is not Verdict.NOT_SHOWN)
    assert np.mean(differ) <= 0.05


def test_an_untuned_arm_has_no_place_in_the_order():
    found = order(
        trained(
            {"untuned": LESS, "a": MORE, "b": MORE},
            {"a": NEAR_1, "b": NEAR_2},
            [("a", "untuned"), ("b", "untuned")],
        )
    )
    assert list(found.losses) == ["a", "b"]
    assert (found.against, found.along, found.verdict) == ((), (), Verdict.NOT_SHOWN)


@pytest.mark.parametrize(
    ("losses", "solved", "tau"),
    [
        ([0.1, 0.2, 0.3], ["1110", "1100", "1000"], 1.0),
        ([0.1, 0.2, 0.3], ["1000", "1100", "1110"], -1.0),
        # Pairs ab, ac agree and bc does not: (2 - 1) / 3.
        ([0.1, 0.2, 0.3], ["1110", "1000", "1100"], 1 / 3),
        # tau-b with b and c tied in accuracy: 2 agreeing pairs over sqrt(3 * 2).
        ([0.1, 0.2, 0.3], ["1110", "1000", "0100"], 2 / 6**0.5),
        ([0.1, 0.2, 0.3], ["1000", "0100", "0010"], None),
        ([0.2, 0.2, 0.2], ["1110", "1100", "1000"], None),
        ([0.1, 0.2], ["1100", "1000"], None),
    ],
)
def test_rank_correlation(losses, solved, tau):
    names = "abc"[: len(losses)]
    rows = dict(zip(names, solved, strict=True))
    of_arms = {name: [loss] for name, loss in zip(names, losses, strict=True)}
    expected = None if tau is None else pytest.approx(tau)
    assert order(trained(rows, of_arms)).tau == expected
    # Over different texts there is no such order.
    assert order(trained(rows, of_arms, tokens={"a": 1580})).tau is None


def test_under_two_losses_there_is_no_order():
    assert order(trained({"a": MORE, "b": LESS}, {"a": [0.1], "b": [None]})) is None
    assert order(tables({"untuned": [LESS]})) is None


def test_losses_are_averaged_over_seeds():
    found = order(trained({"a": "11", "b": "11"}, {"a": [0.2, 0.4], "b": [0.1]}))
    assert found.losses == {"a": pytest.approx(0.3), "b": 0.1}
    assert found.spreads == {"a": pytest.approx(0.02**0.5), "b": None}
