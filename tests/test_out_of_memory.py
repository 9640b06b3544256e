"""A run that needs more memory than there is: recorded as that, with what was predicted."""

import errno
from functools import partial

import pytest
import torch

from paribus.config.schema import ArmConfig, DataConfig, LoraConfig, PromptConfig, TrainingConfig
from paribus.config.spec import RunSpec
from paribus.errors import OutOfMemory
from paribus.files import read_json
from paribus.models.device import is_out_of_memory
from paribus.planning.forecast import Planned
from paribus.running.isolated import in_child, run_here
from paribus.store.layout import ExperimentFolder
from paribus.store.runs import RunState, state

PLANNED = Planned(peak_bytes=7_000_000_000, device="a CPU", device_bytes=24_000_000_000)


def caught(work) -> Exception:
    with pytest.raises(Exception) as found:  # noqa: PT011  # its kind is what is tested
        work()
    return found.value


@pytest.mark.parametrize(
    ("work", "is_one"),
    [
        (lambda: torch.empty(2**60), True),  # the CPU's allocator: a RuntimeError
        (lambda: bytearray(2**62), True),  # Python's: a MemoryError
        (lambda: torch.empty(2) @ torch.empty(3), False),
        (lambda: int("x"), False),
    ],
    ids=["tensor", "bytes", "shapes", "value"],
)
def test_what_counts_as_out_of_memory(work, is_one):
    assert is_out_of_memory(caught(work)) is is_one


CUDA = "CUDA error: {} when calling `cublasCreate(handle)`"
SAID = [  # as the libraries word it: what it takes to hear some of them is a machine at its limit
    (RuntimeError("could not create a primitive"), True),  # oneDNN's, under `ulimit -v`
    (RuntimeError("could not create a memory object"), True),
    (RuntimeError("Error out of memory at line 380 in file /src/csrc/pythonInterface.cpp"), True),
    (RuntimeError("could not create a tensor from a str"), False),
    (torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be asyn"), True),
    (RuntimeError("CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY"), True),
    (RuntimeError("cudaErrorMemoryAllocation"), True),
    (RuntimeError(CUDA.format("CUBLAS_STATUS_ALLOC_FAILED")), True),
    (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
    (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), True),
    (RuntimeError("cuSPARSE error: CUSPARSE_STATUS_ALLOC_FAILED"), True),
    (RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED"), True),
    (RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"), True),
    (RuntimeError("CURAND_STATUS_ALLOCATION_FAILED"), True),
    (RuntimeError("HIP error: HIPBLAS_STATUS_ALLOC_FAILED"), True),
    (RuntimeError("rocblas_status_memory_error"), True),
    (RuntimeError("miopenStatusAllocFailed"), True),
    (RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB)"), True),
    (RuntimeError("level_zero: UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY"), True),
    (RuntimeError("std::bad_alloc"), True),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
    (RuntimeError("unable to mmap 9 bytes from file <x>: Cannot allocate memory (12)"), True),
    (OSError(errno.ENOSPC, "No space left on device"), False),
    (OSError("out of memory"), False),
    (RuntimeError(CUDA.format("CUBLAS_STATUS_EXECUTION_FAILED")), False),
    (RuntimeError(CUDA.format("CUBLAS_STATUS_NOT_INITIALIZED")), False),
    (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED"), False),
    (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), False),
    (torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"), False),
    (ValueError("could not create a primitive"), False),
]


@pytest.mark.parametrize(("error", "is_one"), SAID, ids=[str(error)[-40:] for error, _ in SAID])
def test_words_that_mean_out_of_memory(error, is_one):
    assert is_out_of_memory(error) is is_one


def test_a_run_out_of_memory_says_what_was_predicted(tiny, tmp_path):
    """No machine can meet a request for adapters of rank 10¹², past what a file may ask for."""
    lora = LoraConfig()
    object.__setattr__(lora, "r", 10**12)
    config = ArmConfig(
        model=str(tiny),
        method="lora",
        data=DataConfig(train_size=4, test_size=2),
        prompt=PromptConfig(max_tokens=600),
        lora=lora,
        training=TrainingConfig(precision="fp32", learning_rate=1e-5),
    )
    spec = RunSpec(experiment="x", arm="lora", replicate=0, seed=0, config=config)
    folder = ExperimentFolder(tmp_path / "x").of(spec)
    with pytest.raises(OutOfMemory) as failed:
        in_child(partial(run_here, spec, folder, planned=PLANNED), lambda _: None)
    assert failed.value.message.startswith(
        "lora seed 0 ran out of memory; 7.0 GB were predicted, and a CPU has 24.0: "
    )
    assert "training.micro_batch=auto" in failed.value.remedy
    recorded = read_json(folder.failure)
    assert recorded["kind"] == "out of memory"
    assert recorded["predicted_peak_bytes"] == 7_000_000_000
    assert state(folder) is RunState.FAILED
