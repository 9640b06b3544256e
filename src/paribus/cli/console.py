"""The console that verbs print on: whatever text comes, nothing in it commands the terminal.

Texts of models and data, names of files and arms, and messages of other libraries can hold escape
sequences that clear the screen, rename the window or hide what was said. rich takes out some
control characters; here all are spelled out, when what is printed is already text and style.

Whatever streams this process was given, `settle_streams` makes them such that printing works.
"""

import codecs
import os
import sys
from collections.abc import Iterable
from io import TextIOWrapper
from typing import IO, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from paribus.untrusted import printable

_SPELLED = "paribus.spelled"
_SIMPLER = str.maketrans({"−": "-", "–": "-", "→": ">", "…": "~", "“": '"', "”": '"'})
"""What stands for characters of ours in ASCII, each as wide: tables stay aligned."""


def settle_streams() -> None:
    """Make every standard stream one that can be used; children inherit that.

    A stream that was closed leads nowhere from now on, and no file opened later gets its number. A
    character that a stream's encoding does not know is written in a simpler form, or spelled out.
    """
    codecs.register_error(_SPELLED, _spelled)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: its own
            os.set_inheritable(nowhere, nowhere == number)
            stream = os.fdopen(nowhere, "w" if number else "r", encoding="utf-8")
            setattr(sys, name, stream)
        if number and isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=_SPELLED)
    encoding = os.environ.get("PYTHONIOENCODING", "").partition(":")[0]
    os.environ["PYTHONIOENCODING"] = f"{encoding}:backslashreplace"


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for the first of the characters that cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    simpler = character.translate(_SIMPLER)
    if simpler == character:
        simpler = character.encode("ascii", "backslashreplace").decode()
    return simpler, error.start + 1


class PlainConsole(Console):
    """A rich console whose texts are printable; styles and rich's own controls stay."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of `renderable`, as rich asks for them, made printable."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


def silence(stream: TextIO) -> None:
    """Let `stream` lead nowhere: what is still buffered is flushed at exit, and must not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def enduring(stream: TextIO) -> IO[str]:
    """Return `stream` such that it goes silent when nobody reads it any more.

    A terminal was closed, or `head` has seen enough: that must not end a run, least of all while
    it saves what it has done because of it.
    """
    return cast(IO[str], _Enduring(stream))


class _Enduring:
    """All of a text stream that rich asks for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = stream.encoding

    def write(self, text: str) -> int:
        """Write `text`, or drop it."""
        try:
            return self._stream.write(text)
        except OSError:
            silence(self._stream)
            return len(text)

    def flush(self) -> None:
        """Write out what is buffered, or drop it."""
        try:
            self._stream.flush()
        except OSError:
            silence(self._stream)

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the file's number."""
        return self._stream.fileno()
