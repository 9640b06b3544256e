"""The parts of benchmarks/growth.py, each in its own process.

python benchmarks/speed_growth.py batch full gemma-3-270m cpu bf16     # prints JSON

A part is a curve: a list of points, each with its `at` (batch, length, …) and what was measured.
Training examples are random tokens, the second half of each with loss: speed does not depend on
what the tokens say.
"""

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from peer_paribus import evaluate_work
from speed_machine import settled
from speed_model import vocabulary_model
from speed_work import Asked, lora, make_work

from paribus.config.schema import Precision, TrainingConfig
from paribus.models.device import compute_dtype, peak_memory_bytes, reset_peak_memory, return_freed
from paribus.models.load import load_model, make_trainable
from paribus.models.quiet import quiet_libraries
from paribus.models.shapes import shape_of
from paribus.models.source import find_model
from paribus.prompts.encode import Encoded
from paribus.training.loss import CompletionLoss
from paribus.training.train import train

STEPS = 3
"""Of each point; the first warms up."""

BATCHES, LENGTH = (1, 2, 4, 8, 16), 192
LENGTHS, BATCH = (64, 128, 256, 512, 1024), 4
VOCABULARIES = (32_768, 65_536, 131_072, 262_144)
PROBLEMS = (8, 16, 32, 64)
ROWS = (256, 512, 1024, 2048, 4096)

Point = dict[str, float]


class On(NamedTuple):
    """Where and in what is computed."""

    device: str
    precision: Precision


def batch(model: str, on: On, method: str) -> list[Point]:
    """Return examples a second and peak memory by batch."""
    return [{"at": size, **_trained(model, on, method, size, LENGTH)} for size in BATCHES]


def length(model: str, on: On, method: str) -> list[Point]:
    """Return examples a second and peak memory by length in tokens."""
    return [{"at": size, **_trained(model, on, method, BATCH, size)} for size in LENGTHS]


def vocabulary(model: str, on: On, method: str) -> list[Point]:
    """Return examples a second of a small random model, by the size of its vocabulary."""
    points = []
    for size in VOCABULARIES:
        with tempfile.TemporaryDirectory() as folder:
            made = vocabulary_model(size, Path(folder).resolve())
            points.append({"at": size, **_trained(str(made), on, method, 8, LENGTH)})
    return points


def problems(model: str, on: On, method: str) -> list[Point]:
    """Return problems a second, one-shot, by how many there are; 32 at most at once."""
    points = []
    for size in PROBLEMS:
        asked = Asked(
            model=model, device=on.device, precision=on.precision,
            steps=1, problems=size, eval_batch=32, new_tokens=64,
        )  # fmt: skip
        found = evaluate_work(make_work(asked))
        points.append(
            {
                "at": size,
                "per_second": size / found["seconds"],
                "peak_memory_bytes": found["peak_memory_bytes"],
            }
        )
    return points


def loss(model: str, on: On, method: str) -> list[Point]:
    """Return the peak memory of the loss alone, forward and backward, by rows in ascending order.

    What it takes beyond the head's weights and the hidden states: the gradients of both too.
    """
    shape, place = shape_of(model, None), torch.device(on.device)
    head = torch.randn(shape.vocab, shape.hidden, device=place) * 0.02
    head.requires_grad_(method == "full")
    points = []
    for rows in (ROWS[0], *ROWS):  # once in vain: libraries load themselves
        head.grad = None
        compute = compute_dtype(on.precision, place)
        hidden = torch.randn(rows, shape.hidden, device=place, dtype=compute, requires_grad=True)
        labels = torch.randint(shape.vocab, (rows,), device=place)
        return_freed(place)
        reset_peak_memory(place)
        before, started = peak_memory_bytes(place), time.perf_counter()
        torch.autograd.backward(CompletionLoss(head, compute)(hidden, labels, float(rows)))
        seconds = time.perf_counter() - started
        taken = peak_memory_bytes(place) - before
        points.append(
            {
                "at": rows,
                "seconds": seconds,
                "peak_memory_bytes": taken,
                "logits_bytes": 4 * rows * shape.vocab,
            }
        )
    return points[1:]


def _trained(model: str, on: On, method: str, size: int, tokens: int) -> Point:
    """Train `STEPS` steps on `size` random examples of `tokens` tokens each."""
    source, place = find_model(model, None), torch.device(on.device)
    compute = compute_dtype(on.precision, place)
    loaded = make_trainable(load_model(source, compute, place), method, lora(), compute)
    numbers = random.Random(tokens)
    vocabulary = shape_of(model, None).vocab
    examples = [
        Encoded(tuple(numbers.randrange(4, vocabulary) for _ in range(tokens)), tokens // 2)
        for _ in range(size * STEPS)
    ]
    config = TrainingConfig(
        batch_size=size, micro_batch=size, learning_rate=1e-5, warmup=0.0, save_weights=False
    )
    return_freed(place)
    with tempfile.TemporaryDirectory() as folder:
        found = train(
            loaded,
            examples,
            config,
            seed=0,
            compute=compute,
            folder=Path(folder),
            on_step=lambda _: None,
        ).record()
    return {
        "per_second": found["examples_per_second"],
        "tokens_per_second": found["tokens_per_second"],
        "peak_memory_bytes": found["peak_memory_bytes"],
    }


CURVES: Mapping[str, Callable[[str, On, str], list[Point]]] = {
    "batch": batch,
    "length": length,
    "vocabulary": vocabulary,
    "problems": problems,
    "loss": loss,
}


if __name__ == "__main__":
    quiet_libraries()
    curve, how, model_name, where, precision = sys.argv[1:]
    on = On(where, settled(precision, where))
    print(json.dumps(CURVES[curve](model_name, on, how)))
