"""Where runs are put on this machine, and how many at once: `--jobs`.

    places_here(None, on_note=print)         # auto: one for each GPU, or the machine itself
    gpus_here()[0].selector                  # "0", or what CUDA_VISIBLE_DEVICES names first

A place is a GPU, which its processes alone see, or the machine without one. How many threads a run
computes with decides its last bits, so it is left as it is: on a CPU `auto` starts as many runs as
have processors for theirs.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from paribus.planning.devices import machine_memory
from paribus.planning.machine import processors
from paribus.planning.rules.environment import MARGIN
from paribus.running.executing import Request

_VISIBLE = "CUDA_VISIBLE_DEVICES"
SHARING = 4
"""The most runs that `auto` puts on one GPU: they take turns there."""


@dataclass(slots=True, kw_only=True, eq=False)
class Place:
    """Where runs are put.

    Attributes:
        memory_bytes: what the predicted peaks of its runs may come to in all; None: any.
        most: how many runs at once.
        environment: variables that its processes are started with.
        runs: those that it has.
    """

    memory_bytes: float | None
    most: int
    environment: Mapping[str, str] = field(default_factory=dict)
    runs: list[Request] = field(default_factory=list)

    def has_room(self, request: Request) -> bool:
        """Return whether the run may start beside those that are here; the first always may."""
        if not self.runs:
            return True
        if len(self.runs) >= self.most:
            return False
        if self.memory_bytes is None:
            return True
        peak = 0
        for each in (*self.runs, request):
            if each.planned is None:
                return False  # nothing is predicted of it: it may need all there is
            peak += each.planned.peak_bytes
        return peak <= self.memory_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A CUDA device of this machine.

    Attributes:
        selector: what CUDA_VISIBLE_DEVICES calls it: an index, or the UUID that was given.
        name: of its kind.
        memory_bytes: of it.
    """

    selector: str
    name: str
    memory_bytes: int


def gpus_here() -> list[Gpu]:
    """Return the CUDA devices that this process sees, in their order."""
    import torch

    count = torch.cuda.device_count()
    given = [name.strip() for name in os.environ.get(_VISIBLE, "").split(",") if name.strip()]
    gpus = []
    for index in range(count):
        properties = torch.cuda.get_device_properties(index)
        selector = given[index] if given else str(index)
        gpus.append(
            Gpu(selector=selector, name=properties.name, memory_bytes=properties.total_memory)
        )
    return gpus


def places_here(jobs: int | None, on_note: Callable[[str], None]) -> tuple[list[Place], int]:
    """Return the places of this machine, and how many runs may go on in all; None jobs: `auto`.

    `on_note` is told in a sentence why it is fewer than there might be.
    """
    if jobs == 1:
        return [Place(memory_bytes=None, most=1)], 1
    gpus = gpus_here()
    if gpus:
        return _on_gpus(gpus, jobs, on_note)
    return _on_processors(jobs, on_note)


def _on_gpus(
    gpus: Sequence[Gpu], jobs: int | None, on_note: Callable[[str], None]
) -> tuple[list[Place], int]:
    """Return a place for each GPU of the first one's kind: another kind gives other bits."""
    alike = [gpu for gpu in gpus if gpu.name == gpus[0].name]
    if others := len(gpus) - len(alike):
        on_note(
            f"runs go on {gpus[0].name} alone: {others} GPU{'s' * (others > 1)} of another kind "
            "would compute other bits; CUDA_VISIBLE_DEVICES chooses"
        )
    most = max(len(alike), processors()) if jobs is None else jobs
    places = [
        Place(
            memory_bytes=(1 - MARGIN) * gpu.memory_bytes if jobs is None else None,
            most=SHARING if jobs is None else jobs,
            environment={_VISIBLE: gpu.selector},
        )
        for gpu in alike
    ]
    return places, most


def _on_processors(jobs: int | None, on_note: Callable[[str], None]) -> tuple[list[Place], int]:
    """Return the machine as one place, for as many runs as have processors for their threads."""
    import torch

    threads, there = torch.get_num_threads(), processors()
    most = max(1, there // threads) if jobs is None else jobs
    uses = f"{most} at once, with {threads} thread{'s' * (threads > 1)} each, on {there} processors"
    if jobs is None and most < there:
        on_note(f"runs: {uses}; OMP_NUM_THREADS=1 leaves room for {there}")
    elif most * threads > there:
        on_note(f"runs: {uses}, which they share; OMP_NUM_THREADS sets the threads of a run")
    memory = (1 - MARGIN) * machine_memory() if jobs is None else None
    return [Place(memory_bytes=memory, most=most)], most
