"""Tables as every verb prints them: no frame, numbers to the right, readable at 60 columns.

table = table_of(["arm"], ["weights", "train"])
table.add_row("full-main", "10.0", "33.6!")
"""

from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table

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
