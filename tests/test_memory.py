"""The memory model against autograd, against real models, and against measured runs."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any
from weakref import WeakSet

import pytest
import torch
import transformers

from loads import GEMMA_2B, LOAD, LORA
from paribus.config.schema import LoraConfig
from paribus.models.fast import attention, layers
from paribus.models.fast.attention import packed
from paribus.models.load import count_parameters, decoder_and_head, make_trainable
from paribus.models.shapes import Shape, read_shape
from paribus.planning.cost.memory import Estimate, Parts, Workload, estimate
from paribus.planning.cost.peaks import training_moments, validation_moments
from paribus.planning.devices import device

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results" / "memory.json"
TABLE: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
CPU, GPU = device("cpu-24gb"), device("h100-80gb")
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}

FAMILIES = {
    "gemma": "GemmaConfig",
    "gemma2": "Gemma2Config",
    "gemma3": "Gemma3TextConfig",
    "llama": "LlamaConfig",
    "qwen2": "Qwen2Config",
    "qwen3": "Qwen3Config",
}
SIZES = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "sliding_window": 48,
}


def tiny(
    family: str, method: str, dtype: torch.dtype = torch.bfloat16
) -> tuple[torch.nn.Module, Shape]:
    """Return a trainable random model of a family and its shape."""
    values = {key: value for key, value in SIZES.items() if family[:5] == "gemma" or key[0] != "s"}
    config = getattr(transformers, FAMILIES[family])(**values)
    model = transformers.AutoModelForCausalLM.from_config(config).to(dtype)
    attention.use(model)
    layers.use_fast_norms(model)
    trainable = make_trainable(model, method, LoraConfig(), dtype)
    return trainable, read_shape(config.to_dict(), "folder")


@dataclass(frozen=True, eq=False)
class Kept:
    """A tensor for as long as its graph needs it: peft throws a part of DoRA's away."""

    tensor: torch.Tensor


def bytes_saved(model: torch.nn.Module, rows: int, length: int, dtype: torch.dtype) -> int:
    """Return the bytes that autograd keeps of a forward pass, the model's own weights aside."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    graph: WeakSet[Kept] = WeakSet()

    def pack(tensor: torch.Tensor) -> Kept:
        kept = Kept(tensor)
        graph.add(kept)
        return kept

    inputs = packed([[1] * length] * rows)
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor)
    with hooks, torch.autocast("cpu", dtype, enabled=dtype is torch.bfloat16):
        decoder = decoder_and_head(model)[0]
        alive = decoder(**inputs, use_cache=False)
    storages = [kept.tensor.untyped_storage() for kept in graph]
    sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
    del alive
    return sum(size for at, size in sizes.items() if at not in own)


@pytest.mark.parametrize(
    ("precision", "rows", "length"),
    [("bf16", 3, 72), ("bf16", 1, 40), ("bf16", 1, 72), ("fp32", 3, 72)],
)
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_forward_pass_keeps_is_what_autograd_saves(
    family: str, method: str, precision: str, rows: int, length: int
) -> None:
    model, shape = tiny(family, method, DTYPES[precision])
    load = replace(
        LOAD,
        method=method,
        precision=precision,
        train_length=length,
        pass_tokens=rows * length,
        steps=1,
    )
    moment = training_moments(shape, load, "cuda")["loss"]
    saved = bytes_saved(model.train(), rows, length, DTYPES[precision])
    head = 2 * shape.vocab * shape.hidden if (method, precision) == ("full", "bf16") else 0
    predicted = sum(moment["activations"]) + sum(moment["copies"]) - head
    assert predicted == pytest.approx(saved, rel=0.01)


@pytest.mark.parametrize(
    ("kind", "changes", "held"),
    [
        ("cuda", {}, True),
        ("cuda", {"accumulation": 1}, False),
        ("cuda", {"checkpointing": True}, False),
        ("cuda", {"precision": "fp32"}, False),
        ("cpu", {}, False),
    ],
)
def test_a_gpu_holds_copies_of_masters_while_passes_of_a_step_follow(kind, changes, held):
    moments = training_moments(GEMMA_2B, replace(LOAD, **changes), kind)
    layers = 2 * sum(wide * out for wide, out in GEMMA_2B.linears.values()) * GEMMA_2B.layers
    head = 2 * GEMMA_2B.vocab * GEMMA_2B.hidden * ("precision" not in changes)
    assert sum(moments["backward"]["copies"]) == head + held * layers
    assert sum(moments["step"]["copies"]) == head


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_are_those_of_the_model(family: str, method: str) -> None:
    model, shape = tiny(family, method)
    found = estimate(shape, replace(LOAD, method=method), CPU)
    assert (found.trainable_parameters, found.total_parameters) == count_parameters(model)


def remade(row: dict[str, Any]) -> Estimate:
    """Return today's estimate of a measured row."""
    stored = row["workload"] | {"lora_targets": tuple(row["workload"]["lora_targets"])}
    return estimate(Shape(**row["shape"]), Workload(**stored), CPU)


@pytest.mark.parametrize("row", TABLE["rows"], ids=lambda row: row["name"])
def test_every_measured_peak_is_predicted_within_a_tenth(row: dict[str, Any]) -> None:
    measured = max(row["measured"]["training"] or 0, row["measured"]["evaluation"])
    found = remade(row)
    assert found.peak_bytes == pytest.approx(measured, rel=0.1)
    assert row["predicted"]["peak"] == found.peak_bytes, "python benchmarks/memory.py remakes it"


def test_the_table_is_large_enough_and_its_median_error_within_4_percent() -> None:
    rows = TABLE["rows"]
    held_out = [row for row in rows if row["held_out"]]
    assert len(rows) >= 24
    assert 2 * len(held_out) >= len(rows)
    for some in (rows, held_out):
        assert median(abs(row["error"]) for row in some) <= 0.04
    kinds = {(r["workload"]["method"], r["workload"]["optimizer"]) for r in rows}
    assert {("full", "adamw"), ("full", "adamw_8bit"), ("lora", "adamw")} <= kinds
    assert {row["workload"]["checkpointing"] for row in rows} == {False, True}
    assert any(row["measured"]["evaluation"] > (row["measured"]["training"] or 0) for row in rows)


def test_parts_add_up_to_the_peak() -> None:
    found = estimate(GEMMA_2B, LOAD, GPU)
    assert found.training is not None
    assert Parts(weights=3, logits=4).total == 7
    assert found.peak_bytes == max(found.training.total, found.evaluation.total)


def test_full_fine_tuning_holds_16_bytes_for_every_weight() -> None:
    training = estimate(GEMMA_2B, LOAD, GPU).training
    assert training is not None
    held = training.weights + training.gradients + training.optimizer
    assert held == 16 * GEMMA_2B.parameters


def test_a_baseline_does_not_train() -> None:
    found = estimate(GEMMA_2B, replace(LOAD, method="none"), GPU)
    assert found.training is None
    assert found.trainable_parameters == 0
    assert found.evaluation.weights == 2 * GEMMA_2B.parameters
    assert found.peak_bytes == found.evaluation.total


LESS = [
    ("recomputation", LORA, {"checkpointing": True}),
    ("smaller passes", LORA, {"micro_batch": 2, "pass_tokens": 600, "accumulation": 4}),
    ("shorter texts", LORA, {"train_length": 150, "pass_tokens": 600}),
    ("LoRA", LOAD, {"method": "lora"}),
    ("4 bits", LORA, {"quantization": "nf4"}),
    ("8-bit states", LOAD, {"optimizer": "adamw_8bit"}),
    ("one 8-bit state", replace(LOAD, optimizer="adamw_8bit"), {"optimizer": "lion_8bit"}),
    ("means of rows and columns", LOAD, {"optimizer": "adafactor"}),
    ("no states", LOAD, {"optimizer": "sgd"}),
    ("no dropout", LORA, {"lora_dropout": 0.0}),
    ("bf16", replace(LORA, precision="fp32"), {"precision": "bf16"}),
]


@pytest.mark.parametrize(("what", "load", "change"), LESS, ids=lambda value: str(value)[:20])
def test_what_saves_memory_on_a_gpu(what: str, load: Workload, change: dict[str, Any]) -> None:
    before, after = estimate(GEMMA_2B, load, GPU), estimate(GEMMA_2B, replace(load, **change), GPU)
    assert before.training is not None
    assert after.training is not None
    assert after.training.total < before.training.total, what


def test_the_cache_grows_with_what_may_be_written() -> None:
    short, long = (
        estimate(GEMMA_2B, replace(LOAD, method="none", new_tokens=n, eval_batch=256), GPU)
        for n in (512, 2048)
    )
    assert long.evaluation.kv_cache > short.evaluation.kv_cache


def test_on_a_cpu_bitsandbytes_updates_need_more_than_they_save() -> None:
    """An embedding of 2 GB in fp32, which is updated by torch there and by one kernel on a GPU."""
    small = replace(LOAD, optimizer="adamw_8bit")
    on_cpu, on_gpu = (
        sum(training_moments(GEMMA_2B, small, kind)["step"]["optimizer"])
        for kind in ("cpu", "cuda")
    )
    assert on_cpu - on_gpu >= 3 * 4 * GEMMA_2B.embedding_parameters


@pytest.mark.parametrize(("precision", "rounded"), [("bf16", 2), ("fp32", 0)])
def test_a_model_measured_in_training_has_rounded_weights_beside_its_own(
    precision: str, rounded: int
) -> None:
    """In fp32 they are the same tensors; states of the optimizer stay either way."""
    load = replace(LOAD, precision=precision, validations=2, validation_problems=50)
    moments = validation_moments(GEMMA_2B, load, "cuda")
    assert set(moments) == {"validation, gold", "validation, likelihood"}
    head = rounded * GEMMA_2B.vocab * GEMMA_2B.hidden
    for moment in moments.values():
        assert sum(moment["weights"]) == 4 * GEMMA_2B.parameters
        assert sum(moment["optimizer"]) == 8 * GEMMA_2B.parameters
        assert sum(moment["copies"]) == rounded * GEMMA_2B.parameters + head
    generating = validation_moments(GEMMA_2B, replace(load, validation_generates=True), "cuda")
    assert sum(generating["validation, last tokens"]["kv_cache"]) > 0
    assert validation_moments(GEMMA_2B, LOAD, "cuda") == {}
