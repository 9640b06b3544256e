"""The executors of this machine: child processes side by side, or this process itself.

    on_this_machine(4)               # four runs at once
    Processes(places, most=8)        # eight, where there is room for them
    Here()                           # one after the other, in this process

A run is put where the fewest are. One that is predicted to take more memory than there is starts
where no other runs.
"""

import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import Any

from paribus.errors import ParibusError
from paribus.running.executing import Ended, OnMessage, Request
from paribus.running.isolated import Child, Died, get_ready, why_it_died
from paribus.running.places import Place, places_here
from paribus.stopping import Stopped


def on_this_machine(
    jobs: int | None = 1, on_note: Callable[[str], None] = lambda _: None
) -> "Processes":
    """Return the executor of this machine: so many runs at once; None: as it has room for.

    The imports that children need begin at once. `on_note` is told what decides how many run.
    """
    get_ready()
    places, most = places_here(jobs, on_note)
    return Processes(places, most=most)


class Processes:
    """An executor of child processes, which are confined, and free all they took."""

    def __init__(self, places: Sequence[Place], *, most: int) -> None:
        """Use these places, for at most so many runs in all."""
        self.places, self.most = places, most
        self._children: dict[Any, tuple[Child, Request, Place]] = {}
        self._stopping = False

    def has_room(self, request: Request) -> bool:
        """Return whether a place has room for the run."""
        return self._place_for(request) is not None

    def start(self, request: Request) -> None:
        """Start a process for the run, where the fewest are."""
        place = self._place_for(request)
        assert place is not None, "has_room was not asked"
        child = Child(request.work, place.environment)
        place.runs.append(request)
        self._children[child.receiver] = (child, request, place)
        if self._stopping:
            child.ask()

    def wait(self, seconds: float | None, on_message: OnMessage) -> None:
        """Hand on what the children say."""
        for receiver in wait(list(self._children), seconds):
            child, request, place = self._children[receiver]
            if not child.hear(lambda message, of=request: on_message(of, message)):  # type: ignore[misc]
                failure = child.end()
                del self._children[receiver]
                place.runs.remove(request)
                child.close()
                on_message(request, Ended(failure=self._reason(request, failure)))

    def stop(self) -> None:
        """Ask all children to stop, once."""
        if not self._stopping:
            self._stopping = True
            for child, _, _ in self._children.values():
                child.ask()

    def close(self) -> None:
        """Kill what still runs."""
        for child, _, _ in self._children.values():
            child.close()
        self._children.clear()

    def _place_for(self, request: Request) -> Place | None:
        if len(self._children) >= self.most:
            return None
        free = [place for place in self.places if place.has_room(request)]
        return min(free, key=lambda place: len(place.runs), default=None)

    def _reason(
        self, request: Request, failure: ParibusError | Stopped | Died | None
    ) -> ParibusError | Stopped | None:
        if not isinstance(failure, Died):
            return failure
        # Asked before it could hear that, a process ends by the signal itself.
        return Stopped() if self._stopping else why_it_died(failure, request.spec, request.folder)


class Here:
    """An executor that does one run after the other in this process."""

    def __init__(self) -> None:
        self._next: Request | None = None

    def has_room(self, _request: Request) -> bool:
        """Return whether no run is to be done yet."""
        return self._next is None

    def start(self, request: Request) -> None:
        """Note the run: `wait` does it."""
        self._next = request

    def wait(self, seconds: float | None, on_message: OnMessage) -> None:
        """Do the run, if there is one."""
        request, self._next = self._next, None
        if request is None:
            time.sleep(seconds or 0)
            return
        failure = None
        try:
            request.work(lambda progress: on_message(request, progress))
        except (ParibusError, Stopped) as error:
            failure = error
        on_message(request, Ended(failure=failure))

    def stop(self) -> None:
        """Do nothing: a signal is heard by what this process does."""

    def close(self) -> None:
        """Do nothing: no run is left."""
