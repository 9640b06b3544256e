"""`auto`: which micro-batch and whether to recompute, and that a stored choice is kept."""

from dataclasses import replace

import pytest

from facts import CPU, GPU, arm
from paribus.experiment.fitting import choose, is_open
from paribus.experiment.forecast import forecast
from paribus.models.shapes import shape_of

GB = 10**9
GEMMA = "google/gemma-2b-it"
AUTO = {
    "training.micro_batch": "auto",
    "training.checkpointing": "auto",
    "training.batch_size": 16,
}


def chosen(method: str, gigabytes: float, **values):
    config = arm({"model": GEMMA, "method": method, **AUTO, **values})
    device = replace(GPU, memory_bytes=round(gigabytes * GB))
    made = choose(config, None, 0, shape_of(GEMMA, None), device)
    return made, forecast(made, None, 0, shape_of(GEMMA, None), device)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_less_memory_means_smaller_passes_then_recomputation(method):
    sizes = [80, 60, 48, 40, 24, 16]
    found = [chosen(method, size) for size in sizes]
    for (config, seen), size in zip(found, sizes, strict=True):
        assert 16 % config.training.pass_size == 0
        least = chosen(method, 1)[1].memory.peak_bytes
        assert seen.fits_easily or seen.memory.peak_bytes == least, size
    speeds = [seen.speed.train_examples_per_second for _, seen in found if seen.fits_easily]
    assert speeds == sorted(speeds, reverse=True)


def every_forecast(method: str, gigabytes: float):
    """What each of the ten settings takes, by (micro_batch, checkpointing)."""
    config = arm({"model": GEMMA, "method": method, **AUTO})
    device = replace(GPU, memory_bytes=round(gigabytes * GB))
    found = {}
    for size in (1, 2, 4, 8, 16):
        for recompute in (False, True):
            training = replace(config.training, micro_batch=size, checkpointing=recompute)
            each = replace(config, training=training)
            found[size, recompute] = forecast(each, None, 0, shape_of(GEMMA, None), device)
    return found


def setting(config):
    return config.training.micro_batch, config.training.checkpointing


def test_what_is_chosen_is_the_fastest_of_all_that_fit():
    every = every_forecast("lora", 20)
    fitting = [each for each in every.values() if each.memory.peak_bytes <= 0.9 * 20 * GB]
    assert 0 < len(fitting) < len(every)
    best = max(each.speed.train_examples_per_second for each in fitting)
    made, _ = chosen("lora", 20)
    assert every[setting(made)].speed.train_examples_per_second == best


def test_only_what_is_auto_is_chosen():
    made, _ = chosen("lora", 24, **{"training.micro_batch": 2})
    assert made.training.micro_batch == 2
    assert not is_open(made)
    made, _ = chosen("lora", 500, **{"training.checkpointing": True})
    assert made.training.checkpointing is True
    assert made.training.micro_batch == 16


def test_where_nothing_fits_the_least_is_taken():
    """Not always the smallest pass: gradients that wait for further passes take room too."""
    every = every_forecast("full", 10)
    made, seen = chosen("full", 10)
    assert not seen.fits
    least = min(each.memory.peak_bytes for each in every.values())
    assert every[setting(made)].memory.peak_bytes == least


def test_a_baseline_leaves_nothing_open():
    """It has no passes: what its experiment says of them may stay "auto"."""
    config = replace(arm({"model": GEMMA, **AUTO}), method="none")
    assert not is_open(config)
    seen = forecast(config, None, 0, shape_of(GEMMA, None), GPU)
    assert (seen.memory.training, seen.load.steps) == (None, 0)


def test_a_cpu_is_a_device_like_others():
    config = arm({"model": "gemma-3-270m", "method": "full", **AUTO})
    made = choose(config, None, 0, shape_of("gemma-3-270m", None), CPU)
    assert not is_open(made)
