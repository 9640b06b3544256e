"""What a machine is: facts that are read, odd environments, names of variables but no values."""

import os
import platform
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from paribus.planning.devices import cpu_name
from paribus.planning.machine import _world_size, free_bytes, here, packages, tokens
from paribus.records import LAUNCHERS


def test_this_machine(tmp_path):
    machine = here(tmp_path / "not" / "there" / "yet")
    assert machine.python == platform.python_version()
    assert machine.versions["torch"] == torch.__version__
    assert machine.versions["peft"] == version("peft")
    assert "pytest" not in machine.versions  # what only tests need changes no run
    assert len(machine.gpus) == torch.cuda.device_count()
    assert machine.device.kind == ("cuda" if torch.cuda.is_available() else "cpu")
    assert 1 <= machine.threads <= (os.cpu_count() or 1)
    assert machine.free_disk_bytes == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)
    assert machine.offline  # conftest says so
    assert cpu_name()


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="needs Linux")
def test_flags_of_the_processor_are_words(tmp_path):
    flags = here(tmp_path).cpu_flags
    assert flags & {"sse2", "asimd"}  # every 64-bit x86 or ARM processor has one of these
    assert not any(" " in flag for flag in flags)


@pytest.mark.parametrize(
    ("variables", "size"),
    [
        ({}, 1),
        ({"WORLD_SIZE": "4"}, 4),
        ({"WORLD_SIZE": "1"}, 1),
        ({"WORLD_SIZE": "0"}, 1),
        ({"WORLD_SIZE": "-1"}, 1),
        ({"WORLD_SIZE": "abc"}, 0),
        ({"WORLD_SIZE": ""}, 0),
        ({"OMPI_COMM_WORLD_SIZE": "2", "WORLD_SIZE": "8"}, 2),
    ],
    ids=str,
)
def test_world_size(variables, size, monkeypatch):
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert _world_size() == size


def test_variables_are_named_and_their_values_are_not_kept(tmp_path, monkeypatch):
    read = {"HF_TOKEN", "WANDB_API_KEY", "ACCELERATE_USE_FSDP", "WORLD_SIZE", "PMI_SIZE"}
    for name in (*read, "MY_DATABASE_PASSWORD"):
        monkeypatch.setenv(name, "planted-secret")
    machine = here(tmp_path)
    assert read <= machine.environment
    assert "MY_DATABASE_PASSWORD" not in machine.environment
    assert "planted-secret" not in repr(machine)
    assert tokens()["HF_TOKEN"] is tokens()["WANDB_API_KEY"] is True


@pytest.mark.parametrize("name", ["HF_TOKEN", "WANDB_API_KEY"])
def test_an_empty_token_is_none(name, monkeypatch):
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setenv(name, "")
    assert tokens()[name] is False


def test_packages_are_those_of_pyproject():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    wanted = dict.fromkeys(project["dependencies"], "")
    for extra, names in project["optional-dependencies"].items():
        wanted = wanted if extra == "dev" else dict.fromkeys(names, extra) | wanted  # the first
    assert packages() == wanted


def test_free_space_of_a_folder_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    assert free_bytes(tmp_path / "file" / "runs") > 0


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_by_either_variable(name, tmp_path):
    """In its own process: the Hub's client reads them once."""
    program = "from paribus.planning.machine import _offline as offline; print(offline())"
    clean = {k: v for k, v in os.environ.items() if not k.endswith("_OFFLINE")}
    for variables, answer in (({name: "1"}, "True"), ({name: "0"}, "False")):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=clean | variables,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == answer
