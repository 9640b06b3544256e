"""This machine's processor: its name, what it multiplies in, and how fast.

    multiplies_bf16(cpu_flags())      # True with AMX, avx512_bf16 or Arm's bf16
    matrix_flops("fp32")              # 1.8e11: timed once for a machine and its versions

A processor without bf16 emulates it: each product is widened, multiplied and rounded, up to
hundreds of times slower than fp32. So whatever is timed here begins small and stops early.
"""

import os
import platform
import re
import time
from collections.abc import Mapping, Set
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from paribus.files import read_json, write_json
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
        one = torch.randn(size, size, device=device).to(dtype)
        _wait(device)
        started = time.perf_counter()
        one @ one
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
    found = re.search(rf"^(?:{name})\s*:(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""
