"""Tables as every verb prints them: no frame, numbers to the right."""

from collections.abc import Sequence

from rich.table import Table


def captioned(table: Table, caption: str) -> Table:
    """Return `table` with words below it."""
    table.caption, table.caption_justify = caption, "left"
    return table


def table_of(headings: Sequence[str], numbers: Sequence[str] = ()) -> Table:
    """Return an empty table with columns of words, then of numbers."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
