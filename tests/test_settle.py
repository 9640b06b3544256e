"""`batch_size` and `engine` of `evaluation`, left `auto`: what is chosen, for whom, and kept."""

from dataclasses import replace
from functools import partial

import pytest

from facts import CPU, GPU, OLD_GPU, arm
from paribus.config.load import load
from paribus.config.schema import EvaluationConfig
from paribus.design.matrix import expand
from paribus.errors import ModelError
from paribus.files import write_json
from paribus.models.shapes import shape_of
from paribus.planning import settle
from paribus.planning.rules.environment import room
from paribus.planning.survey import fit
from paribus.store.layout import ExperimentFolder

GB = 10**9
FILE = """
model: google/gemma-2b-it
task: gsm8k
matrix: {method: [full, lora]}
training.micro_batch: auto
training.checkpointing: auto
"""
OPEN = "evaluation: {batch_size: auto, engine: auto}\n"


def settled(root, text: str, device, *values: str):
    """The design of an experiment file with every `auto` settled for `device`."""
    (root / "x.yaml").write_text(FILE + text)
    design = expand(load(root / "x.yaml", values))
    return fit(design, ExperimentFolder(root / "runs" / "x"), lambda: device, lambda _: None)


def sizes(design) -> set[object]:
    return {spec.config.evaluation.batch_size for spec in (*design.runs, *design.trials)}


def engines(design) -> set[str]:
    return {spec.config.evaluation.engine for spec in (*design.runs, *design.trials)}


def gpu(gigabytes: float):
    return replace(GPU, memory_bytes=round(gigabytes * GB))


def test_more_memory_means_more_problems_at_once_for_all_arms_alike(tmp_path):
    found = [sizes(settled(tmp_path, OPEN, gpu(size))) for size in (8, 12, 16, 80)]
    assert [len(of_all) for of_all in found] == [1] * 4
    one, *more = [size for (size,) in found]
    assert all(after > before for before, after in zip([one, *more], more, strict=False)), found
    assert more[-1] == settle.MOST_AT_ONCE


@pytest.mark.parametrize("gigabytes", [10, 16, 24, 80])
@pytest.mark.parametrize("method", ["full", "lora", "none"])
def test_what_is_chosen_fits_and_the_next_larger_would_not_or_is_hardly_faster(method, gigabytes):
    config = arm({"model": "google/gemma-2b-it", "evaluation.batch_size": "auto"})
    config, device = replace(config, method=method), gpu(gigabytes)
    shape = shape_of(config.model, None)
    chosen = settle.settle_alone(config, None, lambda: device).evaluation.at_once
    predict = partial(settle._predicted, config, None, shape, device)
    now, then = predict(chosen), predict(2 * chosen)
    assert now.memory.peak_bytes <= room(device)
    faster = (
        chosen < settle.MOST_AT_ONCE
        and now.speed.eval_seconds > settle.HARDLY * then.speed.eval_seconds
    )
    assert not faster or then.memory.peak_bytes > room(device)
    if chosen > 1:
        fewer = predict(chosen // 2)
        assert fewer.speed.eval_seconds > now.speed.eval_seconds


def test_a_cpu_without_fast_bf16_decodes_few_at_once(tmp_path):
    slow = replace(CPU, bf16=False, flops={"bf16": 1e9, "fp32": 5e10})
    small = ["model=gemma-3-270m", "task=wordproblems", "data.train_size=8", "data.test_size=100"]
    (few,), (many,) = (sizes(settled(tmp_path, OPEN, on, *small)) for on in (slow, GPU))
    assert 2 <= few <= 16
    assert many == 128  # the first that holds all


def test_the_smallest_of_what_suits_each_arm_is_taken(tmp_path):
    arms = "model: gemma-3-270m\narms: {small: {}, large: {model: google/gemma-2b-it}}\n"
    text = OPEN + arms
    (tmp_path / "x.yaml").write_text(text)
    device = gpu(12)
    design = expand(load(tmp_path / "x.yaml", ["task=gsm8k", "baseline=null"]))
    alone = {
        each.name: settle.settle_alone(
            replace(each.config, training=replace(each.config.training, precision="bf16")),
            None,
            lambda: device,
        ).evaluation.at_once
        for each in design.arms
    }
    assert alone["small"] > alone["large"]
    found = fit(design, ExperimentFolder(tmp_path / "runs" / "x"), lambda: device, lambda _: None)
    assert sizes(found) == {alone["large"]}


def test_what_is_stated_stays_and_nothing_is_asked(tmp_path):
    def never():
        raise AssertionError("nothing is open")

    (tmp_path / "x.yaml").write_text(FILE + "evaluation.batch_size: 3\n")
    stated = ["training.precision=bf16", "training.micro_batch=8", "training.checkpointing=false"]
    design = expand(load(tmp_path / "x.yaml", stated))
    found = fit(design, ExperimentFolder(tmp_path / "x"), never, never)
    assert sizes(found) == {3}
    assert engines(found) == {"paribus"}


def test_what_was_chosen_is_as_if_it_had_been_stated(tmp_path):
    chosen = settled(tmp_path, OPEN, GPU)
    (size,) = sizes(chosen)
    stated = settled(tmp_path, "", GPU, f"evaluation.batch_size={size}")
    assert [run.fingerprint for run in chosen.runs] == [run.fingerprint for run in stated.runs]
    for each in chosen.arms:
        assert each.origins["evaluation.batch_size"].kind == "auto"
        assert each.origins["evaluation.engine"].kind == "auto"


@pytest.mark.parametrize("first", ["baseline", "lora"])
def test_what_a_stored_run_was_tested_with_is_kept_on_another_machine(tmp_path, first, monkeypatch):
    monkeypatch.setattr(settle, "find_spec", lambda _: object())
    design = settled(tmp_path, OPEN, gpu(16))
    spec = next(run for run in design.runs if run.arm == first)
    place = ExperimentFolder(tmp_path / "runs" / "x").of(spec)
    write_json(place.spec, {"identity": spec.identity(), "fingerprint": spec.fingerprint})
    monkeypatch.setattr(settle, "find_spec", lambda _: None)
    for device in (gpu(80), OLD_GPU, replace(CPU, memory_bytes=64 * GB)):
        found = settled(tmp_path, OPEN, device, "training.learning_rate=3e-4")
        assert sizes(found) == sizes(design)
        assert engines(found) == engines(design)


SLOW = replace(GPU, bandwidth=5e9)
VLLM = [
    ("long tests on a GPU", SLOW, True, ["data.test_size=all"], "vllm"),
    ("not installed", SLOW, False, ["data.test_size=all"], "paribus"),
    ("short for what starting takes", SLOW, True, ["data.test_size=100"], "paribus"),
    ("a CPU", CPU, True, ["data.test_size=all"], "paribus"),
    ("another kind of adapter", SLOW, True, ["lora.use_dora=true"], "paribus"),
    ("a base of 4 bits", SLOW, True, ["quantization=nf4", "matrix={}"], "paribus"),
]


@pytest.mark.parametrize(("what", "device", "there", "values", "engine"), VLLM, ids=lambda v: v)
def test_vllm_is_taken_where_it_pays_and_can(
    tmp_path, monkeypatch, what, device, there, values, engine
):
    monkeypatch.setattr(settle, "find_spec", lambda _: object() if there else None)
    found = settled(tmp_path, OPEN, device, *values)
    assert engines(found) == {engine}


def test_a_model_of_unknown_shape_needs_a_stated_batch_size(tmp_path):
    write_json(tmp_path / "config.json", {"model_type": "unheard_of"})
    (tmp_path / "x.yaml").write_text(f"model: {tmp_path}\ntask: gsm8k\n{OPEN}")
    folder, never = ExperimentFolder(tmp_path / "x"), (lambda _: None)
    with pytest.raises(ModelError, match="no known shape") as raised:
        fit(expand(load(tmp_path / "x.yaml")), folder, lambda: GPU, never)
    assert "evaluation.batch_size instead of auto" in raised.value.remedy
    found = fit(
        expand(load(tmp_path / "x.yaml", ["evaluation.batch_size=4"])), folder, lambda: GPU, never
    )
    assert engines(found) == {"paribus"}


def test_an_open_batch_size_is_no_number():
    with pytest.raises(ValueError, match="not settled"):
        _ = EvaluationConfig(batch_size="auto").at_once
