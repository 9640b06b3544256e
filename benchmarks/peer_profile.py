"""What paribus asks of a GPU in one step, or to decode: kernels, stops, the longest of them.

    profile_work(work, "full", folder)       # {"kernels": 1983, "launches": 1990, "stops": 2, …}
    profile_work(work, "decoding", folder)

A stop is a wait of the process for the GPU. On a CPU there are none to be counted: None.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peer_paribus
import torch
from peer_steps import wait
from speed_work import Work
from torch.profiler import ProfilerActivity, profile

STEP, TOKENS, LONGEST = 3, 16, 20
"""Steps before the one that is looked at; new tokens of a text; kernels that are named."""


def profile_work(work: Work, stage: str, folder: Path) -> dict[str, Any]:
    """Return what a step of the method `stage`, or the decoding of the most rows, comes to."""
    on_gpu = work.asked.device == "cuda"
    watched = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu]
    profiler = profile(activities=watched)
    work_alone = _decoding if stage == "decoding" else _training
    work_alone(work, stage, folder, profiler)
    return _counted(profiler.key_averages(), on_gpu)


def _training(work: Work, method: str, folder: Path, profiler: Any) -> None:
    ended = 0

    def on_step() -> None:
        nonlocal ended
        ended += 1
        if ended == STEP:
            profiler.start()
        if ended == STEP + 1:
            profiler.stop()

    peer_paribus.train_work(work, method, folder, on_step)


def _decoding(work: Work, stage: str, folder: Path, profiler: Any) -> None:
    decode = peer_paribus.decoder(work)
    rows = max(work.asked.rows)
    decode(work.prompts[-rows:], TOKENS, rows)
    wait(torch.device(work.asked.device))
    with profiler:
        decode(work.prompts[:rows], TOKENS, rows)


def _counted(events: Any, on_gpu: bool) -> dict[str, Any]:
    """Return counts by the names of CUDA's functions, and the longest kernels, in ms."""

    def calls(holds: Callable[[str], bool]) -> int | None:
        return sum(event.count for event in events if holds(event.key)) if on_gpu else None

    kernels = [
        event
        for event in events
        if event.device_type.name == "CUDA" and not event.is_user_annotation
    ]
    longest = sorted(kernels, key=lambda event: -event.self_device_time_total)[:LONGEST]
    return {
        "launches": calls(lambda name: "LaunchKernel" in name),
        "graphs": calls(lambda name: "GraphLaunch" in name),
        # Devices are waited for by the benchmark alone, and by the profiler.
        "stops": calls(lambda name: name in ("cudaStreamSynchronize", "cudaEventSynchronize")),
        "kernels": sum(event.count for event in kernels) if on_gpu else None,
        "device_ms": sum(event.self_device_time_total for event in kernels) / 1e3
        if on_gpu
        else None,
        "longest": [
            {
                "name": event.key[:80],
                "calls": event.count,
                "ms": event.self_device_time_total / 1e3,
            }
            for event in longest
        ],
    }
