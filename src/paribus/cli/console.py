"""The console that verbs print on: whatever text comes, nothing in it commands the terminal.

Texts of models and data, names of files and arms, and messages of other libraries can hold escape
sequences that clear the screen, rename the window or hide what was said. rich takes out some
control characters; here all are spelled out, when what is printed is already text and style.
"""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from paribus.untrusted import printable


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
