"""What this machine is: packages, processor, memory, disk, network. Read, never changed.

    here(Path("runs")).versions["torch"]      # "2.13.0+cpu"
    packages()["bitsandbytes"]                # "8bit": the extra that installs it
    tokens()                                  # {"HF_TOKEN": True, ...}, never what they are

Nothing is asked of the network, and no value of a variable that may be a secret is kept.
"""

import os
import platform
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from paribus.models.source import cache_folder
from paribus.planning.devices import Device, cpu_flags, device_here
from paribus.records import LAUNCHERS

_OTHERS = ("kernels", "deepspeed", "flash-attn")
"""Not ours; where they are installed they change what the libraries below us do."""
_READ = re.compile(
    r"(ACCELERATE|BNB|CUBLAS|CUDA|DEEPSPEED|FSDP|HF|HUGGING_FACE|KMP|MKL|NCCL|NVIDIA|OMP|PARIBUS|"
    r"PYTORCH|TOKENIZERS|TORCH|TRANSFORMERS|WANDB)_|(LOCAL_RANK|MASTER_ADDR|MASTER_PORT|RANK)$"
)
"""Names of variables that the libraries read and that change what a run does."""
_SWITCHES = re.compile(r"ACCELERATE_|NVIDIA_TF32_OVERRIDE$|TORCH_ALLOW_TF32_CUBLAS_OVERRIDE$")
_OFF = frozenset({"", "0", "false", "no", "none"})
"""Values by which a switch is as good as not set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Facts about the place where `paribus run` would run.

    Attributes:
        python: version.
        system: `Linux x86_64`.
        versions: distribution to version, for those of paribus's dependencies that are installed,
            optional ones and `kernels`, `deepspeed`, `flash-attn` included.
        device: what a run would use here.
        gpus: names of all CUDA devices.
        cpu_flags: of the first processor, `avx512_bf16`, `amx_bf16` and so on; empty if unknown.
        threads: processors this process may use.
        free_disk_bytes: where runs are kept.
        free_cache_bytes: where models are cached: ours or the Hub's, whichever has less.
        offline: whether `HF_HUB_OFFLINE` (or its like) is set.
        environment: names of the set variables that change what a run does (`WORLD_SIZE`,
            `ACCELERATE_USE_FSDP`, `HF_TOKEN`, `CUDA_VISIBLE_DEVICES`, ...), never their values.
        world_size: of a launcher such as torchrun; 1 without one, 0 if it is not a number.
    """

    python: str
    system: str
    versions: Mapping[str, str]
    device: Device
    gpus: tuple[str, ...]
    cpu_flags: frozenset[str]
    threads: int
    free_disk_bytes: int
    free_cache_bytes: int
    offline: bool
    environment: frozenset[str]
    world_size: int


def here(runs: Path) -> Machine:
    """Return what this machine is, for runs kept under `runs`, which need not exist yet."""
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        versions=_installed(),
        device=device_here(),
        gpus=_gpus(),
        cpu_flags=cpu_flags(),
        threads=processors(),
        free_disk_bytes=free_bytes(runs),
        free_cache_bytes=min(free_bytes(cache_folder()), free_bytes(hub_cache())),
        offline=_offline(),
        environment=_environment(),
        world_size=_world_size(),
    )


def packages() -> dict[str, str]:
    """Return each distribution that paribus can use, and its extra; "" for one always needed."""
    extras = {}
    for text in requires("paribus") or []:
        name = re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0]
        extra = re.search(r"""extra == ['"]([^'"]+)""", text)
        if extra is None or extra[1] != "dev":
            extras[name] = "" if extra is None else extra[1]
    return extras


def tokens() -> dict[str, bool]:
    """Return where a token can be, and whether there is one. Values are not kept."""
    from huggingface_hub import constants

    saved = Path(constants.HF_TOKEN_PATH)
    return {
        "HF_TOKEN": bool(os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")),
        "hf auth login": saved.is_file() and saved.stat().st_size > 0,
        "WANDB_API_KEY": bool(os.environ.get("WANDB_API_KEY")),
    }


def hub_cache() -> Path:
    """Return where the Hub's models are kept."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def free_bytes(folder: Path) -> int:
    """Return the free space where `folder` is, or would be made."""
    place = folder.absolute()
    return shutil.disk_usage(next(p for p in (place, *place.parents) if p.is_dir())).free


def _environment() -> frozenset[str]:
    """Return the names of the variables that matter, without switches that are off."""
    return frozenset(
        name
        for name, value in os.environ.items()
        if (_READ.match(name) or name in LAUNCHERS)
        and not (_SWITCHES.match(name) and value.strip().lower() in _OFF)
    )


def _installed() -> dict[str, str]:
    versions = {}
    for name in (*packages(), *_OTHERS):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _gpus() -> tuple[str, ...]:
    import torch

    return tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux: containers are often given fewer
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _world_size() -> int:
    for name in LAUNCHERS:
        if name in os.environ:
            try:
                size = int(os.environ[name])
            except ValueError:
                return 0
            if size > 0:
                return size
    return 1
