"""Steps of decoding as CUDA graphs: what a GPU computes for one shape, recorded once and replayed.

    graphs = Graphs(compute, device, possible=True)
    answer = graphs(numbers, visible=256)     # compute(numbers, 256), from the fourth time replayed
    graphs.clear()                            # the tensors that `compute` reads lie elsewhere now

A step of decoding starts hundreds of kernels of a few microseconds each, and starting one takes a
process about as long. A graph starts them all at once. It repeats the same kernels on the same
addresses, so `compute` may depend on nothing but tensors that stay where they are: its argument,
for which there is a buffer for each shape, the weights and the cache. What Python decides is the
same for a shape, and whatever asks the GPU for a value cannot be recorded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Compute = Callable[[Tensor, int], Tensor]
Replay = Callable[[], Tensor]

RECORDED_AFTER = 3
"""Steps of a shape that are computed one kernel at a time before it is recorded. Recording takes
about as long as they do, so shapes that are rare cost nothing, and others twice that at most."""


@dataclass(slots=True)
class _Shape:
    """What is kept of the steps of one shape: their argument's buffer, and how to replay them."""

    numbers: Tensor
    steps: int = 0
    replay: Replay | None = None


class Graphs:
    """`compute`, recorded for each shape of its first argument and each value of its second."""

    def __init__(self, compute: Compute, device: torch.device, *, possible: bool) -> None:
        self._compute = compute
        self._device = device
        self._possible = possible
        self.clear()

    def clear(self) -> None:
        """Forget all recordings, and give back the memory that they share."""
        self._shapes: dict[tuple[torch.Size, int], _Shape] = {}
        self._pool: Any = None  # all that use a pool gone, it cannot be used again

    def __call__(self, numbers: Tensor, visible: int) -> Tensor:
        """Return what `compute` does; the next call may overwrite it."""
        key = numbers.shape, visible
        shape = self._shapes.setdefault(key, _Shape(torch.empty_like(numbers)))
        shape.numbers.copy_(numbers)
        if shape.replay is not None:
            return shape.replay()
        shape.steps += 1
        if self._possible and shape.steps > RECORDED_AFTER:
            # These steps did what a library does once: choose kernels, take working memory.
            self._record(shape, visible)
        if shape.replay is not None:
            return shape.replay()
        return self._compute(shape.numbers, visible)

    def _record(self, shape: _Shape, visible: int) -> None:
        """Record a shape, or give up on all: as where experts are chosen by the tokens' number."""
        self._pool = self._pool or new_pool(self._device)
        try:
            refuse_waits(lambda: self._compute(shape.numbers, visible))
            shape.replay = capture(lambda: self._compute(shape.numbers, visible), self._pool)
        except RuntimeError:  # CUDA's, out of memory among them: without a graph it went well
            self._possible = False


def can_capture(model: nn.Module) -> bool:
    """Return whether a pass of `model` is known to be no recording's undoing.

    bitsandbytes' kernels for 4-bit weights are started past torch, which would not know that they
    have to wait.
    """
    return not any(hasattr(parameter, "quant_state") for parameter in model.parameters())


def new_pool(device: torch.device) -> Any:
    """Return memory for graphs to share: of several, one at a time is replayed."""
    with torch.cuda.device(device):
        return torch.cuda.graph_pool_handle()


def refuse_waits(run: Callable[[], object]) -> None:
    """Raise RuntimeError if `run` waits for the GPU: before it does, while nothing is recorded.

    A recording that fails half-way leaves more behind than an exception.
    """
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run()
    finally:
        torch.cuda.set_sync_debug_mode(before)


def capture(run: Replay, pool: Any) -> Replay:
    """Record what `run` does on the GPU, and return what does it again, to the same tensor."""
    graph = torch.cuda.CUDAGraph()
    # The outer block takes the stream back also where the recording fails.
    with (
        torch.cuda.stream(torch.cuda.current_stream()),
        torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"),
    ):
        answer = run()

    def replay() -> Tensor:
        graph.replay()
        return answer

    return replay
