"""Generated parts of a page that is otherwise written by hand.

    <!-- generated table -->
    | what stands here | is made again by `make docs` |
    <!-- end table -->

A block may stand within a line, too: `in <!-- generated count -->12<!-- end count --> runs`.
"""

import re
from collections.abc import Mapping

_BLOCK = re.compile(r"<!-- generated (\w+) -->(\n?)(?:.*?\n?)<!-- end \1 -->", re.DOTALL)
_MARKER = re.compile(r"<!-- (?:generated|end) \w+ -->")


def filled(name: str, page: str, blocks: Mapping[str, str]) -> str:
    """Return `page` with each of `blocks` between its markers.

    Raises ValueError, with the page's `name`, for a block without markers, markers without a
    block, half a pair and a pair that comes twice.
    """
    found = [match[1] for match in _BLOCK.finditer(page)]
    if sorted(found) != sorted(blocks) or len(_MARKER.findall(page)) != 2 * len(found):
        raise ValueError(f"{name} has markers of {sorted(found)}, but blocks are {sorted(blocks)}")
    return _BLOCK.sub(lambda match: _block(match[1], match[2], blocks[match[1]]), page)


def _block(name: str, line_end: str, text: str) -> str:
    return f"<!-- generated {name} -->{line_end}{text}{line_end}<!-- end {name} -->"
