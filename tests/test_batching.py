"""Batches are planned: what is promised of the plan holds for any sizes and any seed."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paribus.config.schema import TrainingConfig
from paribus.errors import ConfigError
from paribus.prompts.encode import Encoded
from paribus.seeds import derive
from paribus.training.batching import (
    count_steps,
    count_steps_to,
    fullest_passes,
    plan_batches,
    plan_training,
    training_length,
)


def flat(steps: list[list[list[int]]]) -> list[int]:
    return [index for step in steps for micro_batch in step for index in micro_batch]


@st.composite
def plans(draw: st.DrawFn):
    """Arguments of `plan_batches`: from less than a batch to many, up to three epochs."""
    num_examples = draw(st.integers(1, 80))
    micro_batch = draw(st.integers(1, 4))
    batch_size = micro_batch * draw(st.integers(1, 3))
    num_steps = draw(st.integers(1, 3 * num_examples // batch_size + 1))
    sizes = {"num_steps": num_steps, "batch_size": batch_size, "micro_batch": micro_batch}
    return num_examples, {**sizes, "seed": draw(st.integers(0, 2**62))}


def test_the_example_of_the_docstring():
    plan = plan_batches(4, num_steps=3, batch_size=2, micro_batch=1, seed=0)
    assert plan == [[[0], [1]], [[2], [3]], [[1], [3]]]
    assert repr(plan) in plan_batches.__doc__


def test_a_plan_of_two_epochs_in_full():
    """Six examples in batches of four: the second step holds the end of the first epoch."""
    plan = plan_batches(6, num_steps=3, batch_size=4, micro_batch=2, seed=1)
    assert plan == [[[0, 5], [4, 1]], [[3, 2], [5, 2]], [[3, 4], [1, 0]]]


@given(plans())
def test_every_example_once_before_any_twice(case):
    num_examples, arguments = case
    seen = Counter(dict.fromkeys(range(num_examples), 0))
    for index in flat(plan_batches(num_examples, **arguments)):
        seen[index] += 1
        assert max(seen.values()) - min(seen.values()) <= 1
    assert set(seen) == set(range(num_examples))


@given(plans())
def test_every_batch_is_full(case):
    num_examples, arguments = case
    plan = plan_batches(num_examples, **arguments)
    assert len(plan) == arguments["num_steps"]
    micro_batches = arguments["batch_size"] // arguments["micro_batch"]
    assert {len(step) for step in plan} == {micro_batches}
    assert {len(batch) for step in plan for batch in step} == {arguments["micro_batch"]}


@given(plans())
def test_a_longer_plan_goes_on_from_a_shorter_one(case):
    """At any cut: on resuming the plan is made again, and its beginning is what was trained on."""
    num_examples, arguments = case
    whole = plan_batches(num_examples, **arguments)
    for cut in range(1, len(whole)):
        assert plan_batches(num_examples, **{**arguments, "num_steps": cut}) == whole[:cut]


@given(plans())
def test_passes_only_cut_the_order_into_pieces(case):
    """Neither they nor the steps they make up change which example is seen when."""
    num_examples, arguments = case
    order = flat(plan_batches(num_examples, **arguments))
    alone = {"num_steps": len(order), "batch_size": 1, "micro_batch": 1}
    assert flat(plan_batches(num_examples, **{**arguments, **alone})) == order


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=4, max_size=20))
def test_lengths_play_no_part(lengths):
    """Examples of any lengths are trained on in the order of as many of equal lengths."""
    config = TrainingConfig(epochs=2.0, batch_size=4, micro_batch=2)
    examples = [Encoded((7,) * (prompt + target), prompt) for prompt, target in lengths]
    equal = [Encoded((7, 7), 1)] * len(examples)
    assert plan_training(examples, config, seed=3) == plan_training(equal, config, seed=3)


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_each_epoch_is_a_permutation_of_its_own(epoch):
    plan = plan_batches(256, num_steps=3 * 64, batch_size=4, micro_batch=2, seed=5)
    epochs = [flat(plan[start : start + 64]) for start in (0, 64, 128)]
    assert sorted(epochs[epoch]) == list(range(256))
    assert epochs[epoch] not in [list(range(256)), epochs[epoch - 1]]


def test_any_example_may_come_first():
    """Over many seeds each of eight examples is first about as often: 50 of 400, ± 4 deviations."""
    plans = (plan_batches(8, num_steps=1, batch_size=1, micro_batch=1, seed=s) for s in range(400))
    firsts = Counter(flat(plan)[0] for plan in plans)
    assert set(firsts) == set(range(8))
    assert all(24 <= count <= 76 for count in firsts.values()), firsts


def test_seeds_share_nothing():
    """Not the order, and not the next seed's first epoch as this seed's second."""
    sizes = {"num_steps": 32, "batch_size": 4, "micro_batch": 4}
    plans = [plan_batches(64, **sizes, seed=seed) for seed in range(20)]
    epochs = {tuple(flat(half)) for plan in plans for half in (plan[:16], plan[16:])}
    assert len(epochs) == 40


def test_streams_are_derived_by_hash():
    assert derive(0, "order", 1) == 4_489_457_307_835_839_548
    numbers = [derive(base, name, k) for base in range(30) for name in "ab" for k in range(30)]
    assert len(set(numbers)) == len(numbers)
    assert all(0 <= number < 2**63 for number in numbers)


def test_a_batch_size_that_is_no_multiple_is_refused():
    with pytest.raises(ValueError, match="batch size 6 is not a multiple of micro-batch 4"):
        plan_batches(6, num_steps=1, batch_size=6, micro_batch=4, seed=0)


@pytest.mark.parametrize(
    ("num_examples", "epochs", "batch_size", "max_steps", "steps"),
    [
        (32, 1.0, 8, None, 4),
        (32, 3.0, 8, None, 12),
        (32, 0.5, 8, None, 2),
        (35, 1.0, 8, None, 4),
        (37, 1.0, 8, None, 5),
        (3, 1.0, 8, None, 1),
        (1, 0.01, 8, None, 1),
        (32, 3.0, 8, 5, 5),
        (32, 1.0, 8, 100, 4),
        (7473, 2.0, 16, None, 934),
    ],
)
def test_count_steps(num_examples, epochs, batch_size, max_steps, steps):
    counted = count_steps(num_examples, epochs=epochs, batch_size=batch_size, max_steps=max_steps)
    assert counted == steps


@pytest.mark.parametrize(
    ("target_tokens", "target_lengths", "batch_size", "steps"),
    [
        (1, [5, 5, 5, 5], 2, 1),
        (10, [5, 5, 5, 5], 2, 1),
        (11, [5, 5, 5, 5], 2, 2),
        (20, [5, 5, 5, 5], 2, 2),
        (21, [5, 5, 5, 5], 2, 3),
        (60, [5, 5, 5, 5], 2, 6),
        (100, [100, 1], 2, 1),
        (102, [100, 1], 2, 2),
        (20, [5], 2, 2),
        (7, [3, 3], 4, 1),
    ],
)
def test_count_steps_to(target_tokens, target_lengths, batch_size, steps):
    sizes = {"batch_size": batch_size, "max_steps": None, "seed": 0}
    found = count_steps_to(target_tokens, target_lengths, **sizes)
    assert found == steps


@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=40),
    st.integers(1, 3000),
    st.integers(1, 6),
    st.integers(0, 9),
)
def test_the_fewest_steps_whose_batches_hold_the_target_tokens(lengths, wanted, batch_size, seed):
    """Counted on the very plan that is trained on."""
    config = TrainingConfig(target_tokens=wanted, batch_size=batch_size, micro_batch=1)
    steps, tokens = training_length(lengths, config, seed)
    sizes = {"batch_size": batch_size, "micro_batch": 1, "seed": seed}
    plan = plan_batches(len(lengths), num_steps=steps, **sizes)
    assert sum(lengths[index] for index in flat(plan)) == tokens >= wanted
    assert sum(lengths[index] for index in flat(plan[:-1])) < wanted


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"epochs": 1.0}, (4, 80)),
        ({"epochs": 2.0, "max_steps": 3}, (3, 60)),
        ({"target_tokens": 81}, (5, 100)),
        ({"target_tokens": 81, "max_steps": 2}, (2, 40)),
        ({"target_tokens": 81, "epochs": 9.0}, (5, 100)),
    ],
)
def test_training_length_is_by_epochs_or_by_tokens_and_never_over_max_steps(settings, expected):
    config = TrainingConfig(batch_size=4, micro_batch=4, **settings)
    assert training_length([5] * 16, config, seed=3) == expected


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ({"epochs": 1e6}, "16,000,000 examples, 1,000,000 times each of 16"),
        ({"target_tokens": 10**12}, "200,000,000,000 examples"),
        ({"target_tokens": 10**12, "max_steps": 10**9}, "4,000,000,000 examples"),
    ],
)
def test_a_training_without_end_is_refused_before_it_is_listed(settings, seen):
    config = TrainingConfig(batch_size=4, micro_batch=4, **settings)
    with pytest.raises(ConfigError, match=f"would see {seen}"):
        training_length([5] * 16, config, seed=3)


def test_max_steps_ends_a_training_whatever_its_target():
    config = TrainingConfig(batch_size=4, micro_batch=4, target_tokens=10**12, max_steps=2)
    assert training_length([5] * 16, config, seed=3) == (2, 40)


@given(
    st.lists(st.tuples(st.integers(5, 90), st.integers(1, 5)), min_size=1, max_size=30),
    st.floats(0.1, 4.0),
    st.sampled_from([(1, 1), (4, 2), (6, 3), (8, 8)]),
)
def test_the_fullest_passes_are_those_of_the_plan(lengths, epochs, sizes):
    batch_size, micro_batch = sizes
    config = TrainingConfig(epochs=epochs, batch_size=batch_size, micro_batch=micro_batch)
    steps, *most = fullest_passes(lengths, config, seed=3)
    plan = plan_batches(
        len(lengths), num_steps=steps, batch_size=batch_size, micro_batch=micro_batch, seed=3
    )
    sums = [
        [sum(lengths[i][part] for i in one) for step in plan for one in step] for part in (0, 1)
    ]
    assert most == [max(each) for each in sums]
