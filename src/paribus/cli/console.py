"""The console and the tables that verbs print. Nothing that is printed commands the terminal.

Texts of models and data, names of files and arms, and messages of other libraries can hold escape
sequences that clear the screen, rename the window or hide output. rich removes some control
characters; here all are spelled out, when text and style are final. `settle_streams` makes any
standard streams usable.

    table = table_of(["arm"], ["weights", "train"])     # no frame, numbers to the right,
    table.add_row("full-main", "10.0", "33.6!")         # readable at 60 columns
"""

import codecs
import os
import sys
from collections.abc import Iterable, Sequence
from io import TextIOWrapper

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table

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
    """Return the replacement of the first character that cannot be encoded."""
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


_NAME, _LEAST_NAME, _LEAST_WORDS = 28, 12, 8
"""Columns of the terminal: what a name gets, what it keeps, what other words keep."""


class _Fitted(Table):
    """A table that gives way in the order in which it hurts least where it is too wide.

    First the gaps, then names down to 12 columns, then headings of numbers; numbers never. rich
    alone takes it all from the first column, until no name is left.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width
        longest = [_longest(console, [column.header, *column.cells]) for column in self.columns]
        if sum(longest) + 2 * (len(longest) - 1) > room:
            self.padding = (0, 1, 0, 0)
            self._fit(console, longest, room - (len(longest) - 1))
        yield from super().__rich_console__(console, options)

    def _fit(self, console: Console, longest: Sequence[int], room: int) -> None:
        """Set widths so that all columns fit into `room`; rich folds the words that are left."""
        widths = {id(column): width for column, width in zip(self.columns, longest, strict=True)}
        first, *others = self.columns
        numbers = [column for column in others if column.justify == "right"]
        words = sum(min(widths[id(c)], _LEAST_WORDS) for c in others if c not in numbers)
        left = room - words - sum(widths[id(column)] for column in numbers)
        first.width = min(widths[id(first)], _NAME, max(left, _LEAST_NAME))
        for column in numbers:
            column.width = widths[id(column)]
        spare = {id(column): _longest(console, column.cells) for column in numbers}
        for _ in range(first.width - left):
            widest = max(numbers, key=lambda c: (c.width or 0) - spare[id(c)], default=None)
            if widest is None or widest.width is None or widest.width <= spare[id(widest)]:
                return
            widest.width -= 1


def _longest(console: Console, cells: Iterable[RenderableType]) -> int:
    return max((console.measure(cell).maximum for cell in cells), default=0)


def captioned(table: Table, caption: str) -> Table:
    """Return `table` with words below it."""
    table.caption, table.caption_justify = caption, "left"
    return table


def table_of(headings: Sequence[str], numbers: Sequence[str] = ()) -> Table:
    """Return an empty table with columns of words, then of numbers."""
    table = _Fitted(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", overflow="fold")
    return table
