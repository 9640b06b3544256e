"""Estimated times: what makes a step longer, and what must not."""

from dataclasses import replace

import pytest

from facts import CPU, GEMMA_2B, GPU, arm
from paribus.planning.cost.time import LAYER_SECONDS, speed
from paribus.planning.forecast import forecast


def load_of(method: str, micro_batch: int, *, checkpointing: bool = False):
    values = {"method": method, "training.batch_size": 16, "training.micro_batch": micro_batch,
              "training.checkpointing": checkpointing}  # fmt: skip
    return forecast(arm(values), None, 0, GEMMA_2B, GPU).load


def test_all_linear_is_planned_as_every_linear_layer():
    load = forecast(arm({"lora.targets": "all-linear"}), None, 0, GEMMA_2B, GPU).load
    assert set(load.lora_targets) == set(GEMMA_2B.linears)


@pytest.mark.parametrize("device", [GPU, CPU], ids=["gpu", "cpu"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_larger_passes_are_never_slower(method, device):
    speeds = [
        speed(GEMMA_2B, load_of(method, size), device).train_examples_per_second
        for size in (1, 2, 4, 8, 16)
    ]
    assert speeds == sorted(speeds)


def test_short_passes_wait_for_python():
    """16 passes of one short text keep a GPU no busier than 18 layers' kernels can be started."""
    short = {"train_tokens": 8.0, "target_tokens": 4.0}
    many, one = (replace(load_of("lora", size), **short) for size in (1, 16))
    slow, fast = (speed(GEMMA_2B, load, GPU).train_seconds / load.steps for load in (many, one))
    assert slow > 8 * fast
    assert slow >= 16 * 2 * 18 * LAYER_SECONDS["cuda"]
    again = replace(many, checkpointing=True)
    assert speed(GEMMA_2B, again, GPU).train_seconds / again.steps > 1.4 * slow


def test_a_baseline_trains_nothing():
    found = speed(GEMMA_2B, load_of("none", 1), GPU)
    assert (found.train_seconds, found.train_examples_per_second) == (0.0, 0.0)
    assert found.eval_seconds > 0


def test_measuring_while_it_trains_takes_its_own_time():
    """Once after each of two epochs, and generating takes longer than the loss alone."""
    values = {"training.epochs": 2.0, "data.validation_size": 200, "evaluation.at": ["each_epoch"]}
    loads = [
        forecast(arm(some), None, 0, GEMMA_2B, GPU).load
        for some in ({"training.epochs": 2.0}, values, {**values, "evaluation.at_generates": True})
    ]
    assert [load.validations for load in loads] == [0, 2, 2]
    off, loss, generated = (speed(GEMMA_2B, load, GPU) for load in loads)
    assert off.validation_seconds == 0 < 10 * loss.validation_seconds < generated.validation_seconds
    assert off.train_seconds == loss.train_seconds == generated.train_seconds
    assert loss.seconds == off.seconds + loss.validation_seconds
