"""Devices by name: how much memory they have, and how fast they are.

    device("rtx-4090")        # 24 GB, 165 TFLOP/s in bf16
    device("cpu-24gb")        # a CPU with 24 GB, of an assumed speed
    device_here()             # this machine's first GPU, or its CPU, not timed yet
    timed(device_here(), {"fp32"})   # the same with its measured speed in fp32

The table is from the vendors' data sheets: dense matrix products in bf16 with fp32 sums, without
sparsity, and in plain fp32. A gigabyte is 10⁹ bytes: drivers report a little more.

    multiplies_bf16(cpu_flags())      # True with AMX, avx512_bf16 or Arm's bf16
    matrix_flops("fp32")              # 1.8e11: timed once for a machine and its versions

A processor without bf16 emulates it, up to hundreds of times slower than fp32: each product is
widened, multiplied and rounded. So timing begins with small products and stops early.
"""

import os
import platform
import re
import time
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from paribus.errors import UserError
from paribus.files import read_json, write_json
from paribus.models import ranks
from paribus.models.ranks import Parallel
from paribus.models.source import cache_folder

if TYPE_CHECKING:
    import torch

_BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
"""Of processors that multiply in bf16; the last is Arm's."""
_ISA_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_ISA_WITHOUT_BF16 = frozenset(
    {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}
)
"""Limits that keep oneDNN, which multiplies for torch, from the processor's bf16."""
_SMALLEST, _LARGEST = 128, 2048
"""Rows of the matrices that are timed. The largest exceed a processor's caches, as a model's do."""


NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
"""What the kernel says of NVIDIA's driver; there is no such file without it."""


def driver_version(said: Path = NVIDIA_DRIVER) -> str | None:
    """Return the version of NVIDIA's driver, `570.86.15`; None where it does not say one."""
    try:
        found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", said.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found[1] if found else None


def cpu_name() -> str:
    """Return the processor's name as its maker gives it, or its architecture."""
    return _cpu_info("model name") or platform.processor() or platform.machine()


def cpu_flags() -> frozenset[str]:
    """Return the flags of the first processor; none where Linux does not tell."""
    return frozenset(_cpu_info("flags|Features").split())  # by architecture


def multiplies_bf16(flags: Set[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a CPU with `flags` multiplies in bf16 itself, as oneDNN may use it."""
    held = {environment.get(name, "").strip().upper() for name in _ISA_VARIABLES}
    return bool(_BF16_FLAGS & flags) and not held & _ISA_WITHOUT_BF16


def matrix_flops(precision: str) -> float:
    """Return the operations per second of this CPU's matrix products in `precision`.

    They are timed once and kept in the cache, for this processor, its threads and torch's version;
    not while others keep it busy, for that would slow all estimates from then on.
    """
    import torch

    limits = [os.environ.get(name, "") for name in (*_ISA_VARIABLES, "ATEN_CPU_CAPABILITY")]
    parts = [cpu_name(), torch.get_num_threads(), f"torch {torch.__version__}", precision, *limits]
    key = ", ".join(str(part) for part in parts if part)
    file = cache_folder() / "speed.json"
    kept = _read(file)
    if key not in kept:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        kept[key] = time_products(dtype, torch.device("cpu"))
        if os.getloadavg()[0] < torch.get_num_threads() / 2:
            # A cache that cannot be written costs a fraction of a second each time.
            with suppress(OSError):
                write_json(file, kept)
    return kept[key]


def time_products(
    dtype: "torch.dtype", device: "torch.device", seconds: float = 0.2, largest: int = _LARGEST
) -> float:
    """Return the most operations per second of a square product in `dtype`.

    The matrices double, up to `largest` rows, while a product of the next size, eight times the
    work, still fits into what is left of `seconds`. The quickest of a size counts, for the first
    ones also set up threads.
    """
    import torch

    size, quickest, spent, best = _SMALLEST, inf, 0.0, 0.0
    while spent < seconds:
        tensor = torch.randn(size, size, device=device).to(dtype)
        _wait(device)
        started = time.perf_counter()
        tensor @ tensor
        _wait(device)
        taken = time.perf_counter() - started
        spent, quickest = spent + taken, min(quickest, taken)
        best = max(best, 2 * size**3 / taken)
        if 8 * quickest < seconds - spent and size < largest:
            size, quickest = 2 * size, inf
    return best


def _wait(device: "torch.device") -> None:
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


def _read(file: Path) -> dict[str, float]:
    """Return what was timed before; nothing if the file is missing or damaged."""
    try:
        kept = read_json(file)
    except (OSError, ValueError):
        return {}
    right = isinstance(kept, dict) and all(
        isinstance(value, float) and value > 0 for value in kept.values()
    )
    return kept if right else {}


def _cpu_info(name: str) -> str:
    """Return a line of Linux's description of the first processor, or ""."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    match = re.search(rf"^(?:{name})\s*:(.*)$", text, re.MULTILINE)
    return match[1].strip() if match else ""


GB = 10**9
MOST_CPU_GB = 4096
_MEMORY = re.compile(r"([0-9]+gb)?")
_CPU = re.compile(r"cpu-([1-9][0-9]{0,3})gb")

# What two cores of a Xeon with AMX were measured to reach; the bandwidth is a guess.
_CPU_FLOPS, _CPU_BANDWIDTH = {"bf16": 4e11, "fp32": 9e10}, 2e10
PUBLISHED = "not timed; as its data sheet has it"
_UNPUBLISHED = "not timed; it is not in the table of devices and taken to be as fast as an L4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a run would be put on.

    Attributes:
        name: as typed after `--device`, or `here` for this machine's.
        title: in words, for tables: `NVIDIA GeForce RTX 4090`.
        kind: `cuda` or `cpu`.
        memory_bytes: of the device; on a CPU, of the machine.
        flops: operations per second of dense matrix products, by precision, as published, assumed
            or timed; empty for this machine's CPU until it is `timed`.
        bandwidth: bytes per second of its memory, as published or assumed.
        bf16: whether it multiplies in bf16 itself; what does not may emulate it, slowly.
        assumed: where its speed comes from, in words.
        ranks: how many of them compute one run together; all else is of each.
        parallel: how they do: each with the whole model (`ddp`), or with a part of every weight
            (`fsdp`); `auto` is the first where it has room.
    """

    name: str
    title: str
    kind: Literal["cuda", "cpu"]
    memory_bytes: int
    flops: Mapping[str, float]
    bandwidth: float
    bf16: bool
    assumed: str
    ranks: int = 1
    parallel: Parallel = "auto"

    def together(self, ranks: int, parallel: Parallel = "auto") -> "Device":
        """Return what each of `ranks` has that compute one run; on a CPU they share its memory."""
        if ranks == 1:
            return self
        shared = ranks if self.kind == "cpu" else 1
        return replace(
            self,
            ranks=ranks,
            parallel=parallel,
            title=f"each of {ranks} ranks on {self.title}",
            memory_bytes=self.memory_bytes // shared,
        )


# name, title, GB, TFLOP/s in bf16 (None: it has none) and fp32, GB/s
_GPUS = (
    ("b200", "NVIDIA B200", 180, 2250, 75, 8000),
    ("h200-141gb", "NVIDIA H200", 141, 989, 67, 4800),
    ("h100-80gb", "NVIDIA H100 SXM", 80, 989, 67, 3350),
    ("a100-80gb", "NVIDIA A100 80GB SXM", 80, 312, 19.5, 2039),
    ("a100-40gb", "NVIDIA A100 40GB SXM", 40, 312, 19.5, 1555),
    ("l40s-48gb", "NVIDIA L40S", 48, 362, 91.6, 864),
    ("rtx-6000-ada", "NVIDIA RTX 6000 Ada", 48, 364, 91.1, 960),
    ("l4-24gb", "NVIDIA L4", 24, 121, 30.3, 300),
    ("a10g-24gb", "NVIDIA A10G", 24, 70, 31.2, 600),
    ("rtx-5090", "NVIDIA GeForce RTX 5090", 32, 209, 105, 1792),
    ("rtx-4090", "NVIDIA GeForce RTX 4090", 24, 165, 82.6, 1008),
    ("rtx-4080", "NVIDIA GeForce RTX 4080", 16, 97, 48.7, 717),
    ("rtx-4070-12gb", "NVIDIA GeForce RTX 4070", 12, 58, 29.1, 504),
    ("rtx-3090", "NVIDIA GeForce RTX 3090", 24, 71, 35.6, 936),
    ("rtx-3060-12gb", "NVIDIA GeForce RTX 3060", 12, 25, 12.7, 360),
    ("v100-32gb", "NVIDIA V100 32GB SXM2", 32, None, 15.7, 900),
    ("v100-16gb", "NVIDIA V100 16GB SXM2", 16, None, 15.7, 900),
    ("t4-16gb", "NVIDIA T4", 16, None, 8.1, 320),
)

DEVICES: dict[str, Device] = {
    name: Device(
        name=name,
        title=title,
        kind="cuda",
        memory_bytes=memory * GB,
        # Without bf16 of its own a GPU is at most as fast in it as in fp32.
        flops={"bf16": (bf16 or fp32) * 1e12, "fp32": fp32 * 1e12},
        bandwidth=giga * 1e9,
        bf16=bf16 is not None,
        assumed=PUBLISHED,
    )
    for name, title, memory, bf16, fp32, giga in _GPUS
}
"""All but CPUs, which are named by their memory: `cpu-16gb`."""


def device(name: str) -> Device:
    """Return the device called `name`, in any case. Raises UserError if there is none.

    A part of a name, `h100` or `4090`, will do where it means one device.
    """
    wanted = name.strip().lower()
    meant = _matching(wanted)
    if len(meant) == 1:
        return DEVICES[meant[0]]
    if wanted in DEVICES:
        return DEVICES[wanted]
    match = _CPU.fullmatch(wanted)
    if match and int(match.group(1)) <= MOST_CPU_GB:
        return Device(
            name=wanted,
            title=f"CPU, {match.group(1)} GB",
            kind="cpu",
            memory_bytes=int(match.group(1)) * GB,
            flops=_CPU_FLOPS,
            bandwidth=_CPU_BANDWIDTH,
            bf16=True,
            assumed="not timed; memory says nothing of it, so it is taken to be two cores with AMX",
        )
    near = meant or get_close_matches(wanted, DEVICES, n=3, cutoff=0.4)
    nearest = f"the nearest are {', '.join(near)}; all are " if near else ""
    raise UserError(
        f"no device is called {name!r}",
        f"choose a device: {nearest}{', '.join(DEVICES)}, and cpu-1gb to cpu-{MOST_CPU_GB}gb",
    )


def _matching(wanted: str) -> list[str]:
    """Return the devices whose names hold every word of `wanted`; memory alone names none."""
    words = set(re.split(r"[\s_-]+", wanted))
    if all(_MEMORY.fullmatch(word) for word in words):
        return []
    return [name for name in DEVICES if words <= set(name.split("-"))]


def device_here() -> Device:
    """Return what a rank has here: a CUDA device, or of the CPU, whose speed is not timed yet."""
    import torch

    here = _gpu_here() if torch.cuda.is_available() else _cpu_here(torch.get_num_threads())
    return here.together(ranks.count(), ranks.parallel())


def _cpu_here(threads: int) -> Device:
    return Device(
        name="here",
        title=f"this machine's CPU, {threads} thread{'s' * (threads != 1)}",
        kind="cpu",
        memory_bytes=machine_memory(),
        flops={},
        bandwidth=_CPU_BANDWIDTH,
        bf16=multiplies_bf16(cpu_flags()),
        assumed="not timed",
    )


def timed(device: Device, precisions: Iterable[str]) -> Device:
    """Return `device` with its speed in each of `precisions`: timed, where none is known yet.

    A CPU that emulates bf16 is timed in fp32 beside it, so that it can be said what that costs.
    """
    wanted = set(precisions) | ({"fp32"} if not device.bf16 else set())
    if wanted <= device.flops.keys():
        return device
    flops = {precision: matrix_flops(precision) for precision in sorted(wanted)}
    speeds = " and ".join(f"{flops[name] / 1e9:.3g} GFLOP/s in {name}" for name in flops)
    return replace(
        device,
        flops=flops,
        assumed=f"{speeds}, timed here beside whatever else was running; "
        f"{device.bandwidth / 1e9:.0f} GB/s of memory are assumed",
    )


def machine_memory() -> int:
    """Return the bytes of memory this process may have: the machine's, or its cgroup's limit."""
    import os

    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    # version 2, then version 1, as a container sees its own
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        limit = Path("/sys/fs/cgroup") / name
        if limit.exists() and limit.read_text().strip().isdigit():
            sizes.append(int(limit.read_text()))
    return min(sizes)


def _gpu_here() -> Device:
    import torch

    properties = torch.cuda.get_device_properties(0)
    known = [known for known in DEVICES.values() if _same(known.title, properties.name)]
    # Where two sizes have one title, such as the A100's, the nearer one.
    known.sort(key=lambda device: abs(device.memory_bytes - properties.total_memory))
    return replace(
        known[0] if known else DEVICES["l4-24gb"],
        name="here",
        title=properties.name,
        memory_bytes=properties.total_memory,
        bf16=torch.cuda.is_bf16_supported(including_emulation=False),
        assumed=PUBLISHED if known else _UNPUBLISHED,
    )


def _same(title: str, reported: str) -> bool:
    """Return whether a driver's name for a GPU is a title's: vendor, size and socket aside."""

    def model(text: str) -> set[str]:
        words = re.sub(r"[-\s]+", " ", text.lower()).split()
        plain = {word for word in words if not re.fullmatch(r"\d+gb", word)}
        return plain - {"nvidia", "geforce", "tesla", "generation", "hbm3", "pcie"} - {
            "sxm", "sxm2", "sxm4",
        }  # fmt: skip

    return model(title) == model(reported)
