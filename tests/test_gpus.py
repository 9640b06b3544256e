"""Memory and random numbers of GPUs."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from paribus.models.device import return_freed
from paribus.training import checkpointing

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


def saved(folder, device):
    weights = torch.nn.Linear(2, 2).to(device)
    optimizer = torch.optim.AdamW(weights.parameters())
    checkpointing.save(folder, weights, optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer))
    return folder / "random.safetensors"


@pytest.mark.parametrize("device", [CPU, pytest.param(GPU, marks=pytest.mark.gpu)], ids=str)
def test_random_numbers_go_on(tmp_path, device):
    saved(tmp_path, device)
    drawn = torch.rand(8, device=device)
    checkpointing.restore_random(tmp_path, device)
    assert torch.equal(torch.rand(8, device=device), drawn)


def test_a_state_of_more_gpus_than_are_visible_is_restored(tmp_path):
    """Earlier versions saved the generator of every GPU; this machine may have fewer, or none."""
    file = saved(tmp_path, CPU)
    assert load_file(file).keys() == {"cpu"}
    of_gpus = {f"cuda-{i}": torch.zeros(16, dtype=torch.uint8) for i in range(8)}
    save_file({"cpu": torch.get_rng_state(), **of_gpus}, file)
    drawn = torch.rand(8)
    checkpointing.restore_random(tmp_path, CPU)
    assert torch.equal(torch.rand(8), drawn)


@pytest.mark.gpu
def test_only_the_gpu_that_trains_is_asked(tmp_path):
    file = saved(tmp_path, GPU)
    assert load_file(file).keys() == {"cpu", "cuda-0"}


@pytest.mark.gpu
def test_freed_memory_goes_back_to_the_gpu():
    taken = torch.empty(2**28, dtype=torch.uint8, device=GPU)
    del taken
    kept = torch.cuda.memory_reserved(GPU)
    return_freed(GPU)
    assert torch.cuda.memory_reserved(GPU) <= kept - 2**28


SETTINGS = "import os, paribus, torch; print(torch._C._accelerator_getAllocatorSettings())"


@pytest.mark.skipif(
    not hasattr(torch._C, "_accelerator_getAllocatorSettings"), reason="torch does not say"
)
@pytest.mark.parametrize(
    ("own", "read"),
    [
        ({}, "expandable_segments:True"),
        ({"PYTORCH_ALLOC_CONF": ""}, ""),
        ({"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64"}, "max_split_size_mb:64"),
    ],
)
def test_segments_grow_unless_the_user_says_how_torch_allocates(own, read):
    others = {name: value for name, value in os.environ.items() if "ALLOC_CONF" not in name}
    command = [sys.executable, "-c", SETTINGS]
    done = subprocess.run(command, env={**others, **own}, capture_output=True, text=True)
    assert done.stdout.strip() == read, done.stderr
