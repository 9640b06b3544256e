"""Which examples go into which optimizer step: decided before training, from numbers alone.

The epochs' permutations form one stream, cut into full batches, so every example is seen once
before any is seen twice. Lengths play no part: nothing is padded, so nothing is gained by sorting,
and the batches are the same in every arm. The plan is a pure function, so training can go on from
any step by skipping.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import count, islice

from paribus.config.schema import TrainingConfig
from paribus.prompts.encode import Encoded
from paribus.seeds import derive


def order_seed(stream: int) -> int:
    """Return the seed of a run's order of examples, from the root of its random streams."""
    return derive(stream, "order")


def count_steps(num_examples: int, *, epochs: float, batch_size: int, max_steps: int | None) -> int:
    """Return the optimizer steps for `epochs` passes in full batches, at least one."""
    steps = max(1, round(epochs * num_examples / batch_size))
    return steps if max_steps is None else min(steps, max_steps)


def count_steps_to(
    target_tokens: int, target_lengths: Sequence[int], *, batch_size: int, seed: int
) -> int:
    """Return the fewest steps in full batches whose examples hold `target_tokens` in sum.

    `target_lengths` are the examples' tokens with loss, `seed` the one of `plan_batches`.
    """
    stream, seen, steps = _stream(len(target_lengths), seed), 0, 0
    while seen < target_tokens:
        seen += sum(target_lengths[index] for index in islice(stream, batch_size))
        steps += 1
    return steps


def training_length(
    target_lengths: Sequence[int], config: TrainingConfig, seed: int
) -> tuple[int, int]:
    """Return how long `config` trains: optimizer steps, and target tokens in all of them."""
    batch_size, max_steps = config.batch_size, config.max_steps
    if config.target_tokens is None:
        steps = count_steps(
            len(target_lengths), epochs=config.epochs, batch_size=batch_size, max_steps=max_steps
        )
    else:
        steps = count_steps_to(
            config.target_tokens, target_lengths, batch_size=batch_size, seed=seed
        )
        steps = steps if max_steps is None else min(steps, max_steps)
    stream = islice(_stream(len(target_lengths), seed), steps * batch_size)
    return steps, sum(target_lengths[index] for index in stream)


def plan_training(
    examples: Sequence[Encoded], config: TrainingConfig, seed: int
) -> list[list[list[int]]]:
    """Return a whole training: steps of micro-batches of indices into `examples`.

    `seed` is the one of `order_seed`.
    """
    num_steps, _ = training_length([example.target_length for example in examples], config, seed)
    return plan_batches(
        len(examples),
        num_steps=num_steps,
        batch_size=config.batch_size,
        micro_batch=config.pass_size,
        seed=seed,
    )


def plan_batches(
    num_examples: int, *, num_steps: int, batch_size: int, micro_batch: int, seed: int
) -> list[list[list[int]]]:
    """Return steps, each a list of micro-batches, each a list of indices below `num_examples`.

    plan_batches(4, num_steps=3, batch_size=2, micro_batch=1, seed=0)
    -> [[[0], [1]], [[2], [3]], [[1], [3]]]   (every example once, before any twice)

    Raises ValueError if `batch_size` is not a multiple of `micro_batch`.
    """
    if batch_size % micro_batch:
        raise ValueError(f"batch size {batch_size} is no multiple of micro-batch {micro_batch}")
    stream = _stream(num_examples, seed)
    return [
        [list(islice(stream, micro_batch)) for _ in range(batch_size // micro_batch)]
        for _ in range(num_steps)
    ]


def _stream(num_examples: int, seed: int) -> Iterator[int]:
    """Yield indices without end: one permutation after the other, each from its own stream."""
    for epoch in count():
        permutation = list(range(num_examples))
        random.Random(derive(seed, "epoch", epoch)).shuffle(permutation)
        yield from permutation
