"""Batches are planned: what is promised of the plan holds for any sizes and any seed."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paribus.config.schema import TrainingConfig
from paribus.seeds import derive
from paribus.training.batching import (
    WINDOW,
    count_steps,
    count_steps_to,
    plan_batches,
    training_length,
)


def flat(steps: list[list[list[int]]]) -> list[int]:
    return [index for step in steps for micro_batch in step for index in micro_batch]


@st.composite
def plans(draw: st.DrawFn):
    """Arguments of `plan_batches`: from less than a batch to many windows, up to three epochs."""
    lengths = draw(st.lists(st.integers(1, 30), min_size=1, max_size=80))
    micro_batch = draw(st.integers(1, 4))
    batch_size = micro_batch * draw(st.integers(1, 3))
    num_steps = draw(st.integers(1, 3 * len(lengths) // batch_size + 1))
    sizes = {"num_steps": num_steps, "batch_size": batch_size, "micro_batch": micro_batch}
    return lengths, {**sizes, "seed": draw(st.integers(0, 2**62))}


def test_the_example_of_the_docstring():
    plan = plan_batches([5, 9, 5, 9], num_steps=2, batch_size=2, micro_batch=1, seed=0)
    assert plan == [[[0], [2]], [[1], [3]]]
    assert repr(plan) in plan_batches.__doc__


def test_a_plan_of_two_epochs_in_full():
    """Six examples in batches of four: the second step holds the end of the first epoch."""
    plan = plan_batches([3, 1, 2, 6, 5, 4], num_steps=3, batch_size=4, micro_batch=2, seed=1)
    assert plan == [[[1, 0], [5, 4]], [[2, 2], [5, 3]], [[1, 0], [4, 3]]]


@given(plans())
def test_every_example_once_before_any_twice(case):
    lengths, arguments = case
    plan = plan_batches(lengths, **arguments)
    seen = Counter(dict.fromkeys(range(len(lengths)), 0))
    for step in plan:
        seen.update(flat([step]))
        assert max(seen.values()) - min(seen.values()) <= 1
    assert set(seen) == set(range(len(lengths)))


@given(plans())
def test_every_batch_is_full(case):
    lengths, arguments = case
    plan = plan_batches(lengths, **arguments)
    assert len(plan) == arguments["num_steps"]
    micro_batches = arguments["batch_size"] // arguments["micro_batch"]
    assert {len(step) for step in plan} == {micro_batches}
    assert {len(batch) for step in plan for batch in step} == {arguments["micro_batch"]}


@given(plans())
def test_a_plan_depends_on_the_order_of_lengths_alone(case):
    """The same plan again; the same for lengths with the same order; the caller's list is kept."""
    lengths, arguments = case
    before = list(lengths)
    plan = plan_batches(lengths, **arguments)
    assert lengths == before
    assert plan_batches(tuple(lengths), **arguments) == plan
    assert plan_batches([7 * length**2 + 1 for length in lengths], **arguments) == plan


@pytest.mark.parametrize("cut", [WINDOW, 2 * WINDOW, 5 * WINDOW])
def test_a_longer_plan_goes_on_from_a_shorter_one(cut):
    """The plan is made anew on resuming: what was trained on is its beginning, the tail is left.

    A shorter training's last window holds other batches only if it is cut short.
    """
    lengths = [(37 * i) % 256 + 1 for i in range(256)]
    sizes = {"batch_size": 4, "micro_batch": 2, "seed": 5}
    whole = plan_batches(lengths, num_steps=64, **sizes)
    assert plan_batches(lengths, num_steps=cut, **sizes) == whole[:cut]
    assert sorted(flat(whole[:cut]) + flat(whole[cut:])) == list(range(256))


def test_seeds_share_nothing():
    """Not the order, and not the next seed's first epoch as this seed's second."""
    sizes = {"num_steps": 32, "batch_size": 4, "micro_batch": 4}
    plans = [plan_batches([1] * 64, **sizes, seed=seed) for seed in range(20)]
    epochs = {tuple(flat(half)) for plan in plans for half in (plan[:16], plan[16:])}
    assert len(epochs) == 40


def test_streams_are_derived_by_hash():
    assert derive(0, "order", 1) == 4_489_457_307_835_839_548
    numbers = [derive(base, name, k) for base in range(30) for name in "ab" for k in range(30)]
    assert len(set(numbers)) == len(numbers)
    assert all(0 <= number < 2**63 for number in numbers)


@pytest.mark.parametrize("seed", range(5))
def test_sorting_saves_padding(seed):
    """Lengths 1 to 256: in random order a batch of 8 is padded by 44 %, here by less than 12 %."""
    lengths = [(37 * i) % 256 + 1 for i in range(256)]
    sizes = {"num_steps": 32, "batch_size": 8, "micro_batch": 8, "seed": seed}

    def padding(plan) -> float:
        padded = sum(len(m) * max(lengths[i] for i in m) for step in plan for m in step)
        return 1 - sum(lengths) / padded

    assert 0.40 < padding(plan_batches([1] * 256, **sizes)) < 0.50
    assert padding(plan_batches(lengths, **sizes)) < 0.12


def test_a_steps_place_says_nothing_of_its_length():
    """Over many seeds each place in the window holds the longest batch about as often."""
    lengths = list(range(2 * WINDOW))
    places = Counter()
    for seed in range(400):
        plan = plan_batches(lengths, num_steps=WINDOW, batch_size=2, micro_batch=2, seed=seed)
        places[max(range(WINDOW), key=lambda k: max(flat([plan[k]])))] += 1
    assert set(places) == set(range(WINDOW))
    assert all(25 < count < 85 for count in places.values()), places


def test_a_batch_size_that_is_no_multiple_is_refused():
    with pytest.raises(ValueError, match="batch size 6 is no multiple of micro-batch 4"):
        plan_batches([1] * 6, num_steps=1, batch_size=6, micro_batch=4, seed=0)


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
    found = count_steps_to(target_tokens, target_lengths, batch_size=batch_size, seed=0)
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
    prompts = [len(lengths) - i for i in range(len(lengths))]
    plan = plan_batches(prompts, num_steps=steps, batch_size=batch_size, micro_batch=1, seed=seed)
    assert sum(lengths[index] for index in flat(plan)) == tokens >= wanted
    fewer = plan_batches(
        prompts, num_steps=max(1, steps - 1), batch_size=batch_size, micro_batch=1, seed=seed
    )
    assert steps == 1 or sum(lengths[index] for index in flat(fewer)) < wanted


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
