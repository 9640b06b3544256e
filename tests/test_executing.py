"""The driver of runs: what it starts, what it leaves to others, what stops all of them."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from paribus.config.schema import ArmConfig
from paribus.config.spec import RunSpec
from paribus.errors import InUse, ParibusError, RunFailed, StoreError
from paribus.planning.forecast import Planned
from paribus.running import places
from paribus.running.executing import Ended, OnMessage, Request, carry_out
from paribus.running.places import Gpu, Place, gpus_here, places_here
from paribus.running.progress import Progress
from paribus.stopping import Stopped
from paribus.store.layout import ExperimentFolder
from paribus.store.locks import locked
from paribus.store.runs import fail

GB = 10**9


def request(root: Path, seed: int, peak: int | None = 1) -> Request:
    spec = RunSpec(experiment="e", arm="full", replicate=seed, seed=0, config=ArmConfig())
    planned = None if peak is None else Planned(peak_bytes=peak * GB, device="d", device_bytes=GB)
    return Request(spec=spec, folder=ExperimentFolder(root / "e").of(spec), planned=planned)


class Scripted:
    """An executor whose runs end as they are told to, the first one first."""

    def __init__(self, most: int, ends: dict[int, ParibusError | Stopped | Callable[[], None]]):
        self.most, self.ends = most, ends
        self.running: list[Request] = []
        self.log: list[str] = []

    def has_room(self, _request: Request) -> bool:
        return len(self.running) < self.most

    def start(self, request: Request) -> None:
        self.running.append(request)
        self.log.append(f"start {request.spec.replicate}")

    def wait(self, seconds: float | None, on_message: OnMessage) -> None:
        if not self.running:
            assert seconds is not None, "it would wait for ever"
            return
        request = self.running.pop(0)
        end = self.ends.get(request.spec.replicate)
        if callable(end):
            end()
            end = None
        self.log.append(f"end {request.spec.replicate}")
        on_message(request, Ended(failure=end))

    def stop(self) -> None:
        self.log.append("stop")

    def close(self) -> None:
        self.log.append("close")


def carried(
    root: Path, executor: Scripted, runs: int
) -> tuple[tuple[int, int, list[str]], list[tuple[int, str]]]:
    told: list[tuple[int, str]] = []

    def tell(spec: RunSpec, progress: Progress) -> None:
        told.append((spec.replicate, progress.stage))

    results = carry_out([request(root, seed) for seed in range(runs)], executor, tell)
    failed = [spec.title for spec, _ in results.failed]
    return (results.ran, results.kept, failed), told


def test_as_many_run_as_there_is_room_for_and_one_failure_leaves_the_others(tmp_path):
    executor = Scripted(2, {0: RunFailed("it blew up", "")})
    counts, told = carried(tmp_path, executor, 3)
    assert counts == (2, 0, ["full seed 0"])
    assert executor.log == ["start 0", "start 1", "end 0", "start 2", "end 1", "end 2", "close"]
    assert told == [(0, "failed"), (1, "complete"), (2, "complete")]


@pytest.mark.parametrize("error", [StoreError("the disk is full", ""), Stopped(", at step 3")])
def test_what_concerns_all_runs_stops_them_and_is_raised_once_they_have(tmp_path, error):
    executor = Scripted(2, {0: error})
    with pytest.raises(type(error)) as raised:
        carried(tmp_path, executor, 3)
    assert raised.value is error
    assert executor.log == ["start 0", "start 1", "end 0", "stop", "end 1", "close"]


def test_an_error_counts_for_more_than_the_stops_that_it_causes(tmp_path):
    full = StoreError("the disk is full", "")
    with pytest.raises(StoreError) as raised:
        carried(tmp_path, Scripted(3, {0: Stopped(), 1: full, 2: Stopped()}), 3)
    assert raised.value is full


def test_a_run_that_another_process_claimed_first_is_done_once_it_is_free(tmp_path):
    """It took the lock after this driver had looked: the child finds it taken."""
    claims = iter([InUse("taken", "")])

    class Late(Scripted):
        def wait(self, seconds: float | None, on_message: OnMessage) -> None:
            self.ends = {0: claim} if (claim := next(claims, None)) else {}
            super().wait(seconds, on_message)

    counts, told = carried(tmp_path, Late(1, {}), 1)
    assert counts == (1, 0, [])
    assert told == [(0, "elsewhere"), (0, "complete")]


def test_what_another_process_works_on_is_waited_for_while_others_run(tmp_path):
    """And if it failed there it is not tried a second time here."""
    first = request(tmp_path, 0).folder
    working, over = threading.Event(), threading.Event()

    def elsewhere() -> None:
        with locked(first.lock):
            working.set()
            over.wait()
            fail(first, "it blew up there", "")

    other = threading.Thread(target=elsewhere)
    other.start()
    working.wait()
    executor = Scripted(1, {1: over.set})
    counts, told = carried(tmp_path, executor, 2)
    other.join()
    assert counts == (1, 0, ["full seed 0"])
    assert executor.log == ["start 1", "end 1", "close"]
    assert told == [(0, "elsewhere"), (1, "complete"), (0, "failed")]


def test_a_failure_of_before_is_tried_again(tmp_path):
    fail(request(tmp_path, 0).folder, "it blew up last week", "")
    assert carried(tmp_path, Scripted(1, {}), 1)[0] == (1, 0, [])


# runs there already and their peaks in GB, the new one's, whether it may start
ROOM: list[tuple[list[int | None], int | None, bool]] = [
    ([], 50, True),  # more than there is: tried where nothing else runs
    ([], None, True),
    ([10], 10, True),
    ([10], 11, False),
    ([10], None, False),
    ([None], 1, False),
    ([1, 1, 1], 1, False),  # as many as may be
]


@pytest.mark.parametrize(("there", "peak", "fits"), ROOM)
def test_a_run_starts_where_its_predicted_peak_fits_beside_the_others(tmp_path, there, peak, fits):
    place = Place(memory_bytes=20 * GB, most=3)
    place.runs += [request(tmp_path, seed, each) for seed, each in enumerate(there)]
    assert place.has_room(request(tmp_path, 9, peak)) is fits


class _Properties:
    def __init__(self, name: str) -> None:
        self.name, self.total_memory = name, 80 * GB


@pytest.mark.parametrize(
    ("visible", "selectors"),
    [(None, ["0", "1"]), ("3,GPU-5f", ["3", "GPU-5f"]), ("1, 0,2", ["1", "0"])],
)
def test_a_gpu_is_called_what_the_user_called_it(monkeypatch, visible, selectors):
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: _Properties("H100"))
    assert [gpu.selector for gpu in gpus_here()] == selectors


def gpus(*names: str) -> list[Gpu]:
    return [
        Gpu(selector=str(index), name=name, memory_bytes=80 * GB)
        for index, name in enumerate(names)
    ]


def test_each_gpu_of_one_kind_is_a_place(monkeypatch):
    monkeypatch.setattr(places, "gpus_here", lambda: gpus("H100", "H100", "T4"))
    monkeypatch.setattr(places, "processors", lambda: 16)
    notes: list[str] = []
    found, most = places_here(None, notes.append)
    selected = [place.environment["CUDA_VISIBLE_DEVICES"] for place in found]
    assert (selected, most) == (["0", "1"], 16)
    assert notes == ["runs go on H100 alone: 1 GPU of another kind would compute other bits; "
                     "CUDA_VISIBLE_DEVICES chooses"]  # fmt: skip
    assert places_here(1, notes.append)[0][0].environment == {}


@pytest.mark.parametrize(
    ("jobs", "threads", "most", "noted"),
    [
        (None, 1, 4, False),
        (None, 4, 1, True),
        (None, 8, 1, True),
        (4, 1, 4, False),
        (2, 4, 2, True),
    ],
)
def test_without_a_gpu_each_run_has_processors_for_its_threads(
    monkeypatch, jobs, threads, most, noted
):
    monkeypatch.setattr(places, "gpus_here", list)
    monkeypatch.setattr(places, "processors", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    notes: list[str] = []
    assert places_here(jobs, notes.append)[1] == most
    assert bool(notes) is noted
    assert all("OMP_NUM_THREADS" in note for note in notes)
