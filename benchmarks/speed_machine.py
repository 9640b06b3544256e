"""What the machine can do, and what the work needs: the two sides of "how close to the limit".

    useful_flops(shape, examples, method="full")   # floating-point operations, without padding
    python benchmarks/speed_machine.py cpu fp32    # {"matrix_flops": …, "copy_bytes": …, …}

A product of an m × k and a k × n matrix counts 2·m·k·n. The ceiling is the fastest such product in
the precision of the work, of matrices that grow until their time is spent.
"""

import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from math import prod
from statistics import median
from typing import Any

from paribus.config.schema import Precision
from paribus.models.device import compute_dtype
from paribus.models.shapes import Shape
from paribus.planning import devices
from paribus.planning.devices import cpu_flags, cpu_name, multiplies_bf16, time_products

PRODUCTS_SECONDS, LARGEST = 2.0, 8192
"""How long products are timed, and rows of the largest: only a GPU gets so far."""
COPIED = 10**9
HELD = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")
"""Variables that keep oneDNN, and torch's own kernels, from a processor's newer instructions."""
PACKAGES = (
    "torch", "transformers", "peft", "accelerate", "trl", "lm_eval", "liger_kernel", "flash_attn",
    "unsloth", "vllm",
)  # fmt: skip


def useful_flops(
    shape: Shape, examples: Sequence[tuple[Sequence[int], int]], *, method: str, rank: int = 16
) -> float:
    """Return the operations of one pass over `examples`, forward and backward.

    For each token, P weights in the decoder's linear layers: 2·P forward, 2·P for the gradient of
    the inputs, 2·P for that of the weights, which LoRA needs for its A adapter weights only. The
    head V·D counts at target tokens alone, without its own gradient under LoRA. Attention: 4·H·d
    for each pair of tokens that see each other, thrice. Padding and recomputation do not count.
    """
    tokens = sum(len(ids) for ids, _ in examples)
    targets = sum(len(ids) - prompt for ids, prompt in examples)
    head = shape.vocab * shape.hidden * targets
    attention = 12 * shape.heads * shape.head_dim * sum(_pairs(shape, len(i)) for i, _ in examples)
    if method == "full":
        return 6.0 * shape.linear_parameters * tokens + 6.0 * head + attention
    adapters = shape.layers * sum(map(prod, shape.adapter_sizes(rank, shape.linears)))
    return (4.0 * shape.linear_parameters + 6.0 * adapters) * tokens + 4.0 * head + attention


def _pairs(shape: Shape, length: int) -> int:
    """Return how many pairs of tokens see each other in all layers."""
    full = length * (length + 1) // 2
    window = min(shape.sliding_window or length, length)
    near = window * (window + 1) // 2 + (length - window) * window
    return shape.sliding_layers * near + (shape.layers - shape.sliding_layers) * full


def settled(precision: str, device: str) -> Precision:
    """Return `precision`; for "auto" that in which `paribus run` would compute on `device`."""
    if precision == "auto":
        bf16 = devices.device_here().bf16 if device == "cuda" else multiplies_bf16(cpu_flags())
        return "bf16" if bf16 else "fp32"
    return "fp32" if precision == "fp32" else "bf16"


def measure_limits(device: str, precision: Precision) -> dict[str, Any]:
    """Return the best matrix product, FLOP/s, and a copy, bytes read and written a second."""
    import torch

    place = torch.device(device)
    source = torch.ones(COPIED, dtype=torch.uint8, device=place)
    target = torch.empty_like(source)
    dtype = compute_dtype(precision, place)
    return {
        "precision": precision,
        "matrix_flops": time_products(dtype, place, PRODUCTS_SECONDS, LARGEST),
        "copy_bytes": 2 * COPIED / _seconds(partial(target.copy_, source), device),
    }


def published_flops(device: str, precision: Precision) -> float | None:
    """Return what a GPU's maker says it does, FLOP/s; None of a CPU and of an unknown GPU."""
    found = devices.device_here() if device == "cuda" else None
    return found.flops[precision] if found and found.assumed == devices.PUBLISHED else None


def _seconds(work: Callable[[], Any], device: str, repeats: int = 7) -> float:
    """Return the median time of `work`, after one that warms up."""
    import torch

    taken = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return median(taken[1:])


def machine(device: str) -> dict[str, Any]:
    """Return what the results were measured with: processor, cores, memory, versions."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    held = {name: os.environ[name] for name in HELD if os.environ.get(name)}
    memory = devices.machine_memory()
    found = {"name": processor(device), "cores": cores(), "memory_bytes": memory}
    return {**found, **versions, **held}


def slug(device: str, precision: Precision) -> str:
    """Return the results' name for a file: `intel-xeon-2-cores`, `amd-epyc-2-cores-avx2-fp32`."""
    name = re.sub(r"\([^)]*\)|@.*|processor|cpu", " ", processor(device).lower())
    words = re.sub(r"[^a-z0-9]+", "-", name).strip("-")
    held = re.findall("[a-z0-9]+", limited().lower())
    return "-".join([words, f"{cores()}-cores", *held, *(["fp32"] * (precision == "fp32"))])


def limited() -> str:
    """Return the instructions that oneDNN is held to, if it is: a machine without newer ones."""
    return os.environ.get(HELD[0], "")


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0))


def processor(device: str) -> str:
    """Return the name of the GPU, or of the CPU."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    return cpu_name()


if __name__ == "__main__":
    where, computing = sys.argv[1:]
    print(json.dumps(measure_limits(where, settled(computing, where))))
