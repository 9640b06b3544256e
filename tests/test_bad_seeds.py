"""A seed that is unlike the others: found, named, and not seen where seeds only scatter."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from by_hand import tables
from paribus.analysis.findings import conclude, payload
from paribus.analysis.signals import bad_seeds, far_from_others
from paribus.analysis.tables import LossPoint

GOOD, OTHER = "1" * 62 + "0" * 138, "1" * 66 + "0" * 134
BAD = "1" * 6 + "0" * 194


def drawn(rng: np.random.Generator, truths: np.ndarray, n: int) -> np.ndarray:
    """[R, n]: seeds of these accuracies, whose outcomes correlate over problems by about 0.5."""
    from scipy.stats import norm

    shared = np.sqrt(0.7) * rng.standard_normal(n)
    score = shared + np.sqrt(0.3) * rng.standard_normal((len(truths), n))
    return np.asarray(score < norm.ppf(truths)[:, None])


@pytest.mark.parametrize(("spread", "often"), [(0.005, 0.01), (0.01, 0.01), (0.02, 0.02)])
@pytest.mark.parametrize(("n", "seeds"), [(200, 3), (1319, 3), (1319, 5)])
def test_seeds_that_scatter_normally_are_seldom_called_far(spread, often, n, seeds):
    rng, experiments = np.random.default_rng(3), 400
    called = sum(
        far_from_others(drawn(rng, rng.normal(0.35, spread, seeds), n)) is not None
        for _ in range(experiments)
    )
    assert binom.sf(called - 1, experiments, often) > 1e-4


@pytest.mark.parametrize(("n", "seeds"), [(200, 3), (1319, 3), (1319, 5)])
def test_a_diverged_seed_is_found(n, seeds):
    rng, experiments = np.random.default_rng(4), 200
    found = 0
    for _ in range(experiments):
        truths = rng.normal(0.35, 0.01, seeds)
        truths[1] = 0.02
        found += far_from_others(drawn(rng, truths, n)) == 1
    assert found / experiments > 0.95


def test_the_warning_names_the_seed_and_what_two_more_would_settle():
    (found,) = bad_seeds(tables({"full": [GOOD, BAD, OTHER], "lora": [GOOD] * 3}))
    assert (found.arm, found.seed, found.far, found.rose) == ("full", 1, True, None)
    assert found.sentence.startswith(
        "full, seed 1, solves 3 % where its other seeds solve 31 % and 33 %. Verdicts over seeds "
        "assume a normal scatter"
    )
    assert "Run two more seeds (seeds=5): if they come out like the others, full fails" in (
        found.sentence
    )


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ({"full": [GOOD, OTHER, GOOD]}, "alike"),
        ({"full": [GOOD, BAD]}, "two do not say which"),
        ({"full": [GOOD]}, "one"),
        ({"full": [None, None, GOOD]}, "interrupted"),
        ({"untuned": [GOOD]}, "nothing trained"),
        ({"full": [GOOD, "." * 200, OTHER]}, "no problem in common"),
    ],
)
def test_nothing_to_say(rows, why):
    assert bad_seeds(tables(rows)) == [], why


def curve(*losses: float) -> tuple[LossPoint, ...]:
    return tuple(LossPoint(step=step, loss=loss) for step, loss in enumerate(losses, 1))


DOWN = [2.0, 1.5, 1.2, 1.0, 0.9, 0.8, 0.8, 0.7, 0.7, 0.7]
UP = [2.0, 1.5, 1.2, 1.0, 0.9, 0.8, 2.5, 4.0, 5.0, 5.0]


@pytest.mark.parametrize(
    ("losses", "rose"),
    [
        (DOWN, None),
        (UP, (0.85, 5.0)),
        ([0.7, 0.9] * 10, None),  # batches differ
        ([0.01] * 8 + [0.05] * 2, None),  # five times nothing
        (UP[:9], None),  # too short to say
    ],
)
def test_a_loss_that_rose(losses, rose):
    made = tables({"full": [GOOD]})
    made = replace(made, runs=(replace(made.runs[0], losses=curve(*losses)),))
    found = bad_seeds(made)
    assert [each.rose for each in found] == ([] if rose is None else [pytest.approx(rose)])
    if rose:
        assert found[0].sentence == (
            "full, seed 0, ended at a training loss of 5.00, after 0.85. It may have diverged: its "
            "figures say little of the method."
        )


def test_far_and_risen_are_one_warning():
    made = tables({"full": [GOOD, BAD, OTHER]})
    made = replace(
        made,
        runs=tuple(
            replace(run, losses=curve(*(UP if run.seed == 1 else DOWN))) for run in made.runs
        ),
    )
    (found,) = bad_seeds(made)
    assert found.sentence.startswith(
        "full, seed 1, solves 3 % where its other seeds solve 31 % and 33 % and ended at a "
        "training loss of 5.00, after 0.85. Verdicts"
    )


def test_it_stands_before_all_figures_and_beside_every_comparison_of_the_arm():
    rows = {"full": [GOOD, BAD, OTHER], "lora": [GOOD, OTHER, GOOD], "untuned": [GOOD]}
    pairs = [("full", "lora"), ("full", "untuned"), ("lora", "untuned")]
    made = payload(conclude(tables(rows, pairs)))
    assert [each.startswith("full, seed 1, solves 3 %") for each in made["warnings"]] == [True]
    caveat = "full, seed 1, lies far from its other seeds"
    assert [caveat in each["caveats"] for each in made["contrasts"]] == [True, True, False]
    assert any("normal distribution" in each for each in made["limits"])
