"""Devices by name, and what speed is estimated on them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loads import GEMMA_2B, LOAD, LORA
from paribus.errors import UserError
from paribus.planning.cost.activations import Workload
from paribus.planning.cost.time import speed
from paribus.planning.devices import DEVICES, GB, Device, device, device_here, machine_memory, timed

# name, GB, TFLOP/s in bf16 and fp32, GB/s, bf16: as on the vendors' data sheets
PUBLISHED = [
    ("h100-80gb", 80, 989, 67, 3350, True),
    ("h200-141gb", 141, 989, 67, 4800, True),
    ("a100-40gb", 40, 312, 19.5, 1555, True),
    ("rtx-4090", 24, 165, 82.6, 1008, True),
    ("t4-16gb", 16, 8.1, 8.1, 320, False),
    ("v100-32gb", 32, 15.7, 15.7, 900, False),
]


@pytest.mark.parametrize(("name", "memory", "bf16", "fp32", "giga", "native"), PUBLISHED)
def test_devices_are_as_published(
    name: str, memory: int, bf16: float, fp32: float, giga: float, native: bool
) -> None:
    found = device(name)
    assert (found.name, found.kind) == (name, "cuda")
    assert found.assumed == "not timed; as its data sheet has it"
    assert (found.memory_bytes, found.bf16) == (memory * GB, native)
    assert found.flops == pytest.approx({"bf16": bf16 * 1e12, "fp32": fp32 * 1e12})
    assert found.bandwidth == pytest.approx(giga * 1e9)


def test_names_are_taken_in_any_case() -> None:
    assert device(" RTX-4090 ") is DEVICES["rtx-4090"]


@pytest.mark.parametrize(("name", "gigabytes"), [("cpu-1gb", 1), ("CPU-24gb", 24)])
def test_a_cpu_is_named_by_its_memory_and_its_speed_is_assumed(name: str, gigabytes: int) -> None:
    found = device(name)
    assert (found.kind, found.memory_bytes) == ("cpu", gigabytes * GB)
    assert "two cores" in found.assumed


SHORT = {
    "h100": "h100-80gb", "H200": "h200-141gb", "4090": "rtx-4090", "rtx 4090": "rtx-4090",
    "t4": "t4-16gb", "l4": "l4-24gb", "l40s": "l40s-48gb", "a10g": "a10g-24gb",
    "3060": "rtx-3060-12gb", "rtx_6000": "rtx-6000-ada",
}  # fmt: skip


@pytest.mark.parametrize(("short", "name"), SHORT.items())
def test_a_part_of_a_name_that_means_one_device_will_do(short: str, name: str) -> None:
    assert device(short) is DEVICES[name]


@pytest.mark.parametrize("name", DEVICES)
def test_a_whole_name_means_its_own_device(name: str) -> None:
    assert device(name) is DEVICES[name]


UNKNOWN = [
    ("rtx-4091", "rtx-4090"),
    ("a100", "the nearest are a100-80gb, a100-40gb; "),
    ("v100", "the nearest are v100-32gb, v100-16gb; "),
    ("141gb", "h200-141gb"),
    ("cpu-5000gb", "cpu-1gb to cpu-4096gb"),
    ("cpu-0gb", "cpu-1gb to cpu-4096gb"),
    ("cpu-8", "cpu-1gb to cpu-4096gb"),
    ("", "h200-141gb"),
]


@pytest.mark.parametrize(("name", "says"), UNKNOWN)
def test_an_unknown_device_is_refused_with_what_there_is(name: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        device(name)
    assert repr(name) in caught.value.message
    assert says in caught.value.remedy


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Device:
    """This machine's CPU with an empty cache."""
    monkeypatch.setenv("PARIBUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    return device_here()


def test_this_machine_is_a_device_whose_speed_is_timed_only_when_it_is_asked_for(
    cpu: Device,
) -> None:
    assert (cpu.name, cpu.kind, cpu.memory_bytes) == ("here", "cpu", machine_memory())
    assert (cpu.flops, cpu.assumed) == ({}, "not timed")
    found = timed(cpu, {"fp32"})
    assert found.flops.keys() == {"fp32"}
    assert found.flops["fp32"] > 1e9
    assert "GFLOP/s in fp32, timed here" in found.assumed


def test_a_cpu_that_emulates_bf16_is_timed_in_fp32_beside_it(cpu: Device) -> None:
    assert timed(replace(cpu, bf16=False), {"bf16"}).flops.keys() == {"bf16", "fp32"}
    assert timed(replace(cpu, bf16=True), {"bf16"}).flops.keys() == {"bf16"}


@pytest.mark.parametrize("name", ["rtx-4090", "t4-16gb", "cpu-16gb"])
def test_a_device_elsewhere_is_never_timed(name: str) -> None:
    assert timed(device(name), {"bf16", "fp32"}) is device(name) or name == "cpu-16gb"
    assert timed(device(name), {"bf16", "fp32"}) == device(name)


SLOWER: list[tuple[str, Workload, dict[str, Any]]] = [
    ("full after LoRA", LORA, {"method": "full"}),
    ("recomputation", LOAD, {"checkpointing": True}),
    ("longer texts", LOAD, {"train_tokens": 400.0}),
    ("more loss", LOAD, {"target_tokens": 199.0}),
]


@pytest.mark.parametrize(("what", "load", "change"), SLOWER, ids=lambda value: str(value)[:20])
def test_what_makes_training_slower(what: str, load: Workload, change: dict[str, Any]) -> None:
    on = device("rtx-4090")
    before, after = speed(GEMMA_2B, load, on), speed(GEMMA_2B, replace(load, **change), on)
    assert after.train_examples_per_second < before.train_examples_per_second, what
    assert after.train_seconds > before.train_seconds


def test_training_costs_six_operations_for_each_weight_and_token() -> None:
    """2 forward, 4 backward, and attention's own; no head here, and no time for the optimizer."""
    on = replace(device("rtx-4090"), bandwidth=1e30)
    found = speed(GEMMA_2B, replace(LOAD, target_tokens=0.0), on)
    weights = 6 * GEMMA_2B.linear_parameters * LOAD.train_tokens
    attention = 3 * 2 * 18 * 2048 * LOAD.train_tokens**2
    per_second = 0.35 * 165e12 / (weights + attention)
    assert found.train_examples_per_second == pytest.approx(per_second, rel=1e-6)
    assert found.train_seconds == pytest.approx(100 * 8 / per_second)


def test_a_baseline_has_no_training_and_takes_the_time_of_evaluation() -> None:
    found = speed(GEMMA_2B, replace(LOAD, method="none", steps=0), device("rtx-4090"))
    assert (found.train_examples_per_second, found.train_seconds) == (0.0, 0.0)
    assert found.seconds == found.eval_seconds > 0


def test_decoding_is_bound_by_memory_on_small_batches_and_by_operations_on_large_ones() -> None:
    on = replace(device("rtx-4090"), bandwidth=1e9)
    slow_memory = speed(GEMMA_2B, LOAD, on).eval_seconds
    assert slow_memory > 20 * speed(GEMMA_2B, LOAD, device("rtx-4090")).eval_seconds
    wide = replace(LOAD, eval_batch=4096, eval_problems=4096, gold_targets=4096 * 125)
    quick = replace(device("rtx-4090"), flops={"bf16": 1e13})
    assert speed(GEMMA_2B, wide, quick).eval_seconds > 5 * (
        speed(GEMMA_2B, wide, device("rtx-4090")).eval_seconds
    )
