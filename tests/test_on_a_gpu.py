"""What only a GPU shows: its kernels compute what a CPU's do, and it is seldom waited for.

`python -m pytest -m gpu` runs this and what else is marked so. Attention is tested on a CPU too,
with a stand-in for the call that only a GPU has, so that the test itself is known to work.
"""

import json
import warnings
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

import gpu_ways
from decoding import FULL, SLIDING, brief, prompts_of, wild
from inside import paribus
from paribus.models.device import peak_memory_bytes
from paribus.models.fast import attention, varlen
from test_decoding_on_a_gpu import MANY, texts
from training_cases import CPU, fit, trainable, word_problems

GPU = torch.device("cuda:0")
LENGTHS = (70, 1, 130, 64)


def attended(query, key, value, how) -> list[torch.Tensor]:
    """Attention over texts of these lengths, and its gradients, in fp32."""
    inputs = [x.detach().requires_grad_() for x in (query, key, value)]
    bounds = torch.tensor([0, *LENGTHS]).cumsum(0, dtype=torch.int32).to(query.device)
    found, _ = attention.attend(
        nn.Module(), *inputs, None, cu_seq_lens_q=bounds, text_lengths=LENGTHS, **how
    )
    torch.manual_seed(2)
    found.backward(torch.randn(found.shape).to(found))
    return [found.detach().float(), *(x.grad.float() for x in inputs)]


def errors(found, exact) -> list[float]:
    return [((a - b).norm() / b.norm()).item() for a, b in zip(found, exact, strict=True)]


@pytest.mark.parametrize("device", [CPU, pytest.param(GPU, marks=pytest.mark.gpu)], ids=str)
@pytest.mark.parametrize(("heads", "shared", "width"), [(8, 1, 256), (4, 2, 64), (2, 2, 128)])
@pytest.mark.parametrize("window", [None, 48])
@pytest.mark.parametrize("scaling", [None, 0.1])
def test_one_call_for_all_texts_is_as_exact_as_text_by_text(
    device, heads, shared, width, window, scaling, monkeypatch
):
    """In bf16, forward and backward, against fp32 text by text."""
    if device == CPU:
        gpu_ways.take(monkeypatch)
    torch.manual_seed(1)
    query, key, value = (
        torch.randn(1, count, sum(LENGTHS), width).to(device, torch.bfloat16)
        for count in (heads, shared, shared)
    )
    how = {"scaling": scaling, "sliding_window": window}
    assert varlen.fits(query)
    at_once = attended(query, key, value, how)
    monkeypatch.setattr(varlen, "fits", lambda query: False)
    one_by_one = attended(query, key, value, how)
    exact = attended(query.float(), key.float(), value.float(), how)
    for found, usual in zip(errors(at_once, exact), errors(one_by_one, exact), strict=True):
        assert found < 2 * usual + 1e-3


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "apart"), [("fp32", 2e-3), ("bf16", 3e-2)])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_gpu_learns_what_a_cpu_learns(tiny, method, precision, apart):
    examples = word_problems()
    on_cpu, on_gpu = (trainable(tiny, method, precision, device=at) for at in (CPU, GPU))
    on_gpu.load_state_dict(on_cpu.state_dict())
    (expected, _), (found, cost) = (
        fit(model, examples, method=method, precision=precision) for model in (on_cpu, on_gpu)
    )
    losses = [record.loss for record in found]
    assert losses == pytest.approx([record.loss for record in expected], rel=apart)
    assert losses[-1] < 0.98 * losses[0]
    assert 0 < cost.peak_memory_bytes <= peak_memory_bytes(GPU)
    assert cost.peak_memory_bytes <= cost.peak_reserved_bytes


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_step_waits_for_the_gpu_twice(tiny, method):
    """For the loss and the gradient norm that are logged."""
    model, examples, steps = trainable(tiny, method, "bf16", device=GPU), word_problems(), 6
    fit(model, examples, method=method, precision="bf16", max_steps=1)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            fit(model, examples, method=method, precision="bf16", max_steps=steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [each for each in said if "synchronizing CUDA operation" in str(each.message)]
    outside_of_steps = 10  # weights are counted, labels checked, the last figures read
    assert len(waits) <= 2 * steps + outside_of_steps, [str(each.message) for each in waits]


@pytest.mark.gpu
@pytest.mark.parametrize("layer_types", [[FULL, FULL], [SLIDING, FULL]])
def test_a_gpu_writes_what_a_cpu_writes_in_fp32(tiny, tokenizer, layer_types):
    model, prompts = wild(tiny, layer_types), prompts_of(tokenizer, 1, MANY)
    expected = texts(model, prompts)
    assert len(set(brief(expected))) > 15
    assert texts(model.to(GPU), prompts) == expected


@pytest.mark.gpu
def test_an_experiment_runs_on_a_gpu_from_its_file_to_its_report(tiny, tmp_path):
    experiment = {
        "question": "Which?", "name": "gpu", "model": str(tiny),
        "data": {"train_size": 16, "test_size": 8, "max_steps": 1},
        "training": {"batch_size": 4, "micro_batch": 4},
        "evaluation": {"max_new_tokens": 16},
        "matrix": {"method": ["full", "lora"]},
    }  # fmt: skip
    (tmp_path / "gpu.yaml").write_text(yaml.safe_dump(experiment))
    for words in (("run", "gpu.yaml"), ("verify", "runs/gpu"), ("report", "runs/gpu")):
        done = paribus(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    results = list(Path(tmp_path, "runs", "gpu").glob("*/seed-*/result.json"))
    assert len(results) >= 2
    for result in results:
        found = json.loads(result.read_text())
        assert found["environment"]["device"] == "cuda"
        assert torch.cuda.get_device_name(GPU) in found["environment"]["machine"]
        for stage in filter(None, (found["training"], found["evaluation"])):
            assert 0 < stage["peak_memory_bytes"] <= stage["peak_reserved_bytes"]
