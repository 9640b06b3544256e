"""Being asked to stop: at once where nothing would be lost, else when the step is done.

A run's process hears SIGTERM only: the parent passes on Ctrl-C, SIGTERM and a closed terminal.

    hear()                          # from now on a request raises Stopped, anywhere
    with at_a_step():               # in here it is only noted
        ...
        if asked(): save and raise Stopped

A reader who leaves, such as `head`, asks for nothing: `enduring` streams drop what nobody reads.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO, cast

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, what a scheduler sends, a terminal that was closed."""


class Stopped(KeyboardInterrupt):
    """Somebody asked to stop.

    Attributes:
        text: where the run continues, if it does.
        number: of the signal, for the exit code.
    """

    def __init__(self, text: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(text, number)
        self.text, self.number = text, int(number)


_patient = False
_asked = False
_raised: Stopped | None = None
"""What a signal raised in a verb: a library may swallow it, above all while it is imported."""


def hear() -> None:
    """Take SIGTERM as the request to stop, and no other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _on_request)


@contextmanager
def hearing() -> Iterator[None]:
    """Take every signal to stop as a request while the block runs, and the second at its word.

    For a run that has no process of its own.
    """
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def request(number: int, frame: FrameType | None) -> None:
        if _asked:
            raise Stopped(number=number)
        _on_request(number, frame)

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, request)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def passing_on(ask: Callable[[Stopped], None]) -> Iterator[Callable[[], Stopped | None]]:
    """Call `ask` at the first signal to stop while the block runs; at the second raise Stopped.

    What the block gets says whether there was a first. Other threads than the main one hear none.
    Raises Stopped at once if a signal came before and was swallowed.
    """
    if _raised is not None:
        raise _raised
    heard: list[Stopped] = []

    def hand_on(number: int, _frame: FrameType | None) -> None:
        heard.append(Stopped(number=number))
        if len(heard) > 1:
            raise heard[-1]
        ask(heard[0])

    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, hand_on)
    try:
        yield lambda: heard[0] if heard else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a closed terminal end the block: each raises Stopped."""

    def end(number: int, _frame: FrameType | None) -> None:
        global _raised
        _raised = Stopped(number=number)
        raise _raised

    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup
            signal.signal(number, end)
    try:
        yield
    finally:
        global _raised
        _raised = None
        for number, handler in before.items():
            signal.signal(number, handler)


def _on_request(_number: int, _frame: FrameType | None) -> None:
    global _asked
    _asked = True
    if not _patient:
        raise Stopped


def asked() -> bool:
    """Return whether somebody asked the run to stop."""
    return _asked


@contextmanager
def at_a_step() -> Iterator[None]:
    """Only note a request while the block runs, and stop at its end."""
    global _patient
    _patient = True
    try:
        yield
    finally:
        _patient = False
    if _asked:
        raise Stopped


def silence(stream: TextIO) -> None:
    """Let `stream` lead nowhere: what is still buffered is flushed at exit, and must not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def enduring(stream: TextIO, fault: type[OSError] = OSError) -> TextIO:
    """Return `stream` wrapped so that it stays silent once writing has failed with `fault`.

    A terminal was closed, or `head` has seen enough: that must not end a run, least of all while
    it saves what it has done because of it.
    """
    return cast(TextIO, _Enduring(stream, fault))


class _Enduring:
    def __init__(self, stream: TextIO, fault: type[OSError]) -> None:
        self._stream, self._fault = stream, fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except self._fault:
            silence(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except self._fault:
            silence(self._stream)
