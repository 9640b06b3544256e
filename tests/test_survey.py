"""`auto`: which micro-batch and whether to recompute, and that a stored choice is kept."""

from dataclasses import replace

import pytest

from facts import CPU, EMULATING, GPU, OLD_GPU, arm
from paribus.config.load import load
from paribus.config.schema import TrainingConfig
from paribus.design.matrix import expand
from paribus.files import write_json
from paribus.models.shapes import shape_of
from paribus.planning.forecast import forecast
from paribus.planning.survey import choose, fit, is_open
from paribus.store.layout import ExperimentFolder

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


FILE = "model: gemma-3-270m\ndata: {train_size: 8, test_size: 4}\n"
TUNED = "matrix: {method: [full, lora]}\ntune: {}\ndata.validation_size: 4\n"
NATIVE_OR_NOT = [(CPU, "bf16"), (EMULATING, "fp32"), (GPU, "bf16"), (OLD_GPU, "fp32")]


def settled(text: str, root, device, *values: str):
    """The design of an experiment file with every `auto` settled for `device`."""
    (root / "x.yaml").write_text(FILE + text)
    design = expand(load(root / "x.yaml", values))
    return fit(design, ExperimentFolder(root / "runs" / "x"), lambda: device, lambda arm: None)


@pytest.mark.parametrize(("device", "precision"), NATIVE_OR_NOT, ids=lambda v: str(v)[:20])
def test_precision_is_bf16_where_it_is_native_for_all_arms_and_trials(tmp_path, device, precision):
    found = settled(TUNED, tmp_path, device)
    specs = [*found.runs, *found.trials]
    assert {spec.config.training.precision for spec in specs} == {precision}
    assert [arm.origins["training.precision"].kind for arm in found.arms] == ["auto"] * 3
    stated = settled(f"training.precision: {precision}\n", tmp_path, device)
    auto = settled("", tmp_path, device)
    assert [run.fingerprint for run in auto.runs] == [run.fingerprint for run in stated.runs]


def test_a_stated_precision_stays_what_it_is_on_any_device(tmp_path):
    arms = "arms: {a: {training.precision: bf16}, b: {training.precision: fp32}, c: {lora.r: 4}}\n"
    found = settled(arms, tmp_path, EMULATING)
    precisions = {arm.name: arm.config.training.precision for arm in found.arms}
    assert precisions == {"baseline": "fp32", "a": "bf16", "b": "fp32", "c": "fp32"}


@pytest.mark.parametrize("first", ["baseline", "lora-main"])
@pytest.mark.parametrize("begun", [CPU, EMULATING])
def test_what_a_stored_run_computes_in_is_kept_on_another_machine(tmp_path, begun, first):
    design = settled("", tmp_path, begun)
    spec = next(run for run in design.runs if run.arm == first)
    place = ExperimentFolder(tmp_path / "runs" / "x").of(spec)
    write_json(place.spec, {"identity": spec.identity(), "fingerprint": spec.fingerprint})
    for device in (CPU, EMULATING):
        found = settled("", tmp_path, device, "training.learning_rate=3e-4")
        kept = {run.config.training.precision for run in found.runs}
        assert kept == {spec.config.training.precision}


def test_an_open_precision_is_no_precision():
    with pytest.raises(ValueError, match="not settled"):
        _ = TrainingConfig().computes_in
