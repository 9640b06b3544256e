"""The device a run uses, what it can compute in, and how much memory the process took."""

import ctypes
import errno
import re
from pathlib import Path
from typing import Any

import torch

from paribus.config.schema import Precision
from paribus.errors import UserError

CPU = torch.device("cpu")

_NO_MEMORY = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "out of device memory",
    "out of host memory",
    "bad alloc",  # C++
    # Libraries for GPUs: CUBLAS_STATUS_ALLOC_FAILED, cuDNN's …_DEVICE_ALLOCATION_FAILED,
    # miopenStatusAllocFailed, cudaErrorMemoryAllocation, rocblas_status_memory_error.
    "alloc failed",
    "allocation failed",
    "allocfailed",
    "errormemoryallocation",
    "status memory error",
    # oneDNN gives no reason. Products of shapes that torch has checked fail in it for want of
    # memory: under `ulimit -v` this is what is raised.
    "could not create a primitive",
    "could not create a memory object",
)


def default_device() -> torch.device:
    """Return the first CUDA device, or the CPU; a rank sees one alone."""
    return torch.device("cuda:0") if torch.cuda.is_available() else CPU


def compute_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the dtype of matrix products for `precision` ("bf16" or "fp32") on `device`.

    Raises UserError if a CUDA device has no bf16: a silent fall-back would make two machines
    disagree about what one experiment file means.
    """
    if precision == "fp32":
        return torch.float32
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UserError(
            f"{torch.cuda.get_device_name(device)} has no bf16",
            "set training.precision=auto or fp32",
        )
    return torch.bfloat16


def reset_peak_memory(device: torch.device) -> None:
    """Begin a new measurement of peak memory, where the platform allows it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif Path("/proc/self/clear_refs").exists():
        # 5 resets the high-water mark of resident memory: man 5 proc_pid_clear_refs.
        Path("/proc/self/clear_refs").write_text("5")


def return_freed(device: torch.device) -> None:
    """Give freed memory back: what torch keeps of a GPU's, or the C library in pieces (glibc).

    Between stages and long passes: after every step it would cost a tenth of the speed (LOG.md).
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def peak_memory_bytes(device: torch.device) -> int:
    """Return the peak in bytes: allocated on the GPU, or resident in this process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():
        match = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)
        if match:
            return int(match.group(1)) * 1024
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peaks(device: torch.device) -> dict[str, Any]:
    """Return the peaks in bytes, by the names of `store/results`; on a GPU what torch held, too."""
    allocated = {"peak_memory_bytes": peak_memory_bytes(device)}
    if device.type != "cuda":
        return allocated  # a process's resident memory is all of it
    return {**allocated, "peak_reserved_bytes": torch.cuda.max_memory_reserved(device)}


def beside_torch(device: torch.device) -> int:
    """Return the bytes of a GPU that are in use and not torch's: this process's context, others.

    The driver does not say whose they are. Of a part of a GPU (MIG) it counts that part alone.
    """
    free, total = torch.cuda.mem_get_info(device)
    return total - free - torch.cuda.memory_reserved(device)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether `error` says that memory could not be had, on a GPU or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError):  # a file that is mapped, a process that is forked
        return error.errno == errno.ENOMEM
    # The CPU's allocator, CUDA's libraries and bitsandbytes have no error class of their own.
    text = str(error).lower().replace("_", " ")
    return isinstance(error, RuntimeError) and any(words in text for words in _NO_MEMORY)


def describe(device: torch.device) -> str:
    """Return the device's name for the report."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} threads"
