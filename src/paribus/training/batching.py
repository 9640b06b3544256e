"""Which examples go into which optimizer step: decided before training, from numbers alone.

The epochs' permutations form one stream, cut into full batches, so every example is seen once
before any is seen twice. Lengths play no part: nothing is padded, so nothing is gained by sorting,
and the batches are the same in every arm. The plan is a pure function, so training can resume from
any step by skipping.
"""

import random
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count, islice, takewhile

import numpy as np
from numpy.typing import NDArray

from paribus.config.schema import TrainingConfig
from paribus.errors import ConfigError
from paribus.prompts.encode import Encoded
from paribus.seeds import derive

MAX_SEEN = 5_000_000
"""Examples of one training, repetitions counted: GSM8K 670 times. Each is listed beforehand."""


def order_seed(stream: int) -> int:
    """Return the seed of a run's order of examples, from the root of its random streams."""
    return derive(stream, "order")


def count_steps(num_examples: int, *, epochs: float, batch_size: int, max_steps: int | None) -> int:
    """Return the optimizer steps for `epochs` passes in full batches, at least one."""
    steps = max(1, round(epochs * num_examples / batch_size))
    return steps if max_steps is None else min(steps, max_steps)


def count_steps_to(
    target_tokens: int,
    target_lengths: Sequence[int],
    *,
    batch_size: int,
    max_steps: int | None,
    seed: int,
) -> int:
    """Return the fewest steps in full batches whose examples hold `target_tokens` in sum.

    `target_lengths` are the examples' tokens with loss, `seed` the one of `plan_batches`.
    """
    stream, seen, steps = _stream(len(target_lengths), seed), 0, 0
    while seen < target_tokens and (max_steps is None or steps < max_steps):
        seen += sum(target_lengths[index] for index in islice(stream, batch_size))
        steps += 1
    return steps


def training_length(
    target_lengths: Sequence[int], config: TrainingConfig, seed: int
) -> tuple[int, int]:
    """Return how long `config` trains: optimizer steps, and target tokens in all of them.

    Raises ConfigError if it would see more than `MAX_SEEN` examples.
    """
    batch_size, max_steps = config.batch_size, config.max_steps
    examples, wanted = len(target_lengths), config.target_tokens
    epochs = config.epochs if wanted is None else wanted / sum(target_lengths)
    steps = count_steps(examples, epochs=epochs, batch_size=batch_size, max_steps=max_steps)
    _refuse_endless(steps * batch_size, examples)
    if wanted is not None:
        steps = count_steps_to(
            wanted, target_lengths, batch_size=batch_size, max_steps=max_steps, seed=seed
        )
    order = _order(examples, seed, steps * batch_size)
    return steps, int(np.asarray(target_lengths)[order].sum())


def fullest_passes(
    lengths: Sequence[tuple[int, int]], config: TrainingConfig, seed: int, ranks: int = 1
) -> tuple[int, int, int]:
    """Return the steps of a whole training, and the most tokens and targets of any one pass.

    `lengths` are each example's tokens and tokens with loss, `seed` the one of `order_seed`. The
    same as `plan_training` gives and `share_of` makes of it, without their lists.
    """
    steps, _ = training_length([targets for _, targets in lengths], config, seed)
    order = _order(len(lengths), seed, steps * config.batch_size)
    shares = np.asarray(lengths)[order].reshape(-1, config.batch_size // ranks, 2)
    starts = range(0, shares.shape[1], config.pass_size)
    passes = [shares[:, start : start + config.pass_size].sum(axis=1) for start in starts]
    tokens, targets = np.max(passes, axis=(0, 1))
    return steps, int(tokens), int(targets)


def measured_steps(
    at: Sequence[str | int | float], num_steps: int, *, num_examples: int, batch_size: int
) -> list[int]:
    """Return after which steps a model is measured as `evaluation.at` says, and after the last.

    measured_steps(["each_epoch", 0.25], 20, num_examples=30, batch_size=4) -> [5, 8, 15, 20]

    An epoch ends with the step that holds the last example of its permutation. Raises ConfigError
    if a step lies behind the last.
    """
    late = [moment for moment in at if isinstance(moment, int) and moment > num_steps]
    if late:
        raise ConfigError(
            f"evaluation.at names step {late[0]:,}, and the training ends after {num_steps:,}",
            f"name steps up to {num_steps:,}, or shares of the training such as 0.5",
        )
    steps = {num_steps}
    for moment in at:
        if isinstance(moment, str):
            ends = (-(-epoch * num_examples // batch_size) for epoch in count(1))
            steps.update(takewhile(lambda step: step <= num_steps, ends))
        elif isinstance(moment, float):
            steps.add(max(1, round(moment * num_steps)))
        else:
            steps.add(moment)
    return sorted(steps)


def _refuse_endless(seen: int, examples: int) -> None:
    if seen > MAX_SEEN:
        raise ConfigError(
            f"the training would see {seen:,} examples, {seen / examples:,.0f} times each of "
            f"{examples:,}, over {MAX_SEEN:,}",
            "lower training.epochs, training.target_tokens or training.batch_size, or set "
            "training.max_steps",
        )


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


def share_of(
    step: Sequence[Sequence[int]], rank: int, ranks: int, micro_batch: int
) -> list[list[int]]:
    """Return the micro-batches of one rank's share of a step, as many as every other's.

    share_of([[3, 1, 4], [1, 5, 9]], rank=1, ranks=2, micro_batch=2) -> [[1, 5], [9]]

    Raises ValueError if the step's examples cannot be divided evenly.
    """
    examples = [index for batch in step for index in batch]
    size, left = divmod(len(examples), ranks)
    if left:
        raise ValueError(f"{len(examples)} examples cannot be divided over {ranks} ranks")
    own = examples[rank * size : (rank + 1) * size]
    return [own[start : start + micro_batch] for start in range(0, size, micro_batch)]


def plan_batches(
    num_examples: int, *, num_steps: int, batch_size: int, micro_batch: int, seed: int
) -> list[list[list[int]]]:
    """Return steps, each a list of micro-batches, each a list of indices below `num_examples`.

    plan_batches(4, num_steps=3, batch_size=2, micro_batch=1, seed=0)
    -> [[[0], [1]], [[2], [3]], [[1], [3]]]   (every example once, before any twice)

    Raises ValueError if `batch_size` is not a multiple of `micro_batch`.
    """
    if batch_size % micro_batch:
        raise ValueError(f"batch size {batch_size} is not a multiple of micro-batch {micro_batch}")
    stream = _stream(num_examples, seed)
    return [
        [list(islice(stream, micro_batch)) for _ in range(batch_size // micro_batch)]
        for _ in range(num_steps)
    ]


@lru_cache(maxsize=1)
def _order(num_examples: int, seed: int, count: int) -> NDArray[np.int64]:
    """Return the first `count` indices of the stream."""
    return np.fromiter(islice(_stream(num_examples, seed), count), np.int64, count)


def _stream(num_examples: int, seed: int) -> Iterator[int]:
    """Yield indices without end: one permutation after the other, each from its own stream."""
    for epoch in count():
        permutation = list(range(num_examples))
        random.Random(derive(seed, "epoch", epoch)).shuffle(permutation)
        yield from permutation
