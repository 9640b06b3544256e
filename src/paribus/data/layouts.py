"""Layouts of rows that people have, recognised by their columns.

    layout_of({"instruction": "Add.", "input": "1, 2", "output": "3"}, "x.jsonl:1").name
    # "Alpaca"

A layout says how a row becomes a prompt and a target where the task file does not. A conversation
is turned into a prompt, the turns before, and a target, the assistant's turn.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paribus.errors import DataError
from paribus.records import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a row becomes text.

    Attributes:
        name: as users know it.
        columns: those that a row of it has.
        text: template of the prompt.
        question: template of what is asked, without a frame.
        delimiter: between prompt and target.
    """

    name: str
    columns: tuple[str, ...]
    text: str = ""
    question: str = ""
    delimiter: str = " "

    @property
    def conversation(self) -> bool:
        """Whether a row is a list of turns."""
        return not self.text

    @property
    def target(self) -> str:
        """The column that holds what is written after the prompt."""
        return self.columns[-1]


_INPUT = "{% if input is defined and input %}\n\n{{ input }}{% endif %}"

LAYOUTS = (
    Layout(name="messages", columns=("messages",)),
    Layout(name="ShareGPT", columns=("conversations",)),
    Layout(
        name="prompt/completion",
        columns=("prompt", "completion"),
        text="{{ prompt }}",
        question="{{ prompt }}",
        delimiter="",
    ),
    Layout(
        name="Alpaca",
        columns=("instruction", "output"),
        text="### Instruction:\n{{ instruction }}"
        "{% if input is defined and input %}\n\n### Input:\n{{ input }}{% endif %}"
        "\n\n### Response:",
        question="{{ instruction }}" + _INPUT,
        delimiter="\n",
    ),
    Layout(
        name="question/answer",
        columns=("question", "answer"),
        text="Question: {{ question }}\nAnswer:",
        question="{{ question }}",
    ),
    Layout(
        name="text/label",
        columns=("text", "label"),
        text="{{ text }}\nLabel:",
        question="{{ text }}",
    ),
)

_ROLES = {"human": "user", "gpt": "assistant", "user": "user", "assistant": "assistant",
          "system": "system"}  # fmt: skip


def layout_of(row: Mapping[str, Any], where: str) -> Layout:
    """Return the layout of `row`. Raises DataError with its columns and the nearest layout."""
    for layout in LAYOUTS:
        if set(layout.columns) <= row.keys() and _fits(layout, row):
            return layout
    columns = ", ".join(map(str, row))[:200] or "none"
    nearest, misses = _nearest(list(row))
    known = "; ".join(" and ".join(layout.columns) for layout in LAYOUTS)
    raise DataError(
        f"{where}: no known layout: its columns are {columns}; the nearest is {nearest.name}, "
        f"which lacks {' and '.join(misses)}",
        "state doc_to_text and doc_to_target in the task file, or name the columns as one of: "
        + known,
    )


def _fits(layout: Layout, row: Mapping[str, Any]) -> bool:
    return not layout.conversation or isinstance(row[layout.columns[0]], list)


def _nearest(columns: Sequence[str]) -> tuple[Layout, list[str]]:
    def misses(layout: Layout) -> list[str]:
        return [name for name in layout.columns if name not in columns]

    def alike(name: str) -> float:
        ratios = (difflib.SequenceMatcher(None, name, c.lower()).ratio() for c in columns)
        return max(ratios, default=0)

    def closeness(layout: Layout) -> tuple[float, float]:
        size = len(layout.columns)
        return -len(misses(layout)) / size, sum(map(alike, layout.columns)) / size

    best = max(LAYOUTS, key=closeness)
    return best, misses(best) or list(best.columns)


def delimiter_of(name: str) -> str:
    """Return what stands between prompt and target in the layout `name`; "" for none recognised."""
    return next((layout.delimiter for layout in LAYOUTS if layout.name == name), " ")


def turns_of(layout: Layout, row: Mapping[str, Any], where: str) -> tuple[Turn, ...]:
    """Return the turns of a conversation. Raises DataError on one without a known role or text."""
    turns = []
    for number, turn in enumerate(row[layout.columns[0]], 1):
        role = content = None
        if isinstance(turn, dict):
            role = _ROLES.get(str(turn.get("role", turn.get("from"))))
            content = turn.get("content", turn.get("value"))
        if role is None or not isinstance(content, str):
            raise DataError(
                f"{where}: turn {number} of {layout.columns[0]} is not "
                "{role: user | assistant | system, content: text}: " + f"{turn!r:.80}",
                "correct the row; turns with tools or images are not supported",
            )
        turns.append(Turn(role=role, content=content))
    return tuple(turns)


def splits_of(turns: Sequence[Turn], every: bool, where: str) -> list[tuple[tuple[Turn, ...], str]]:
    """Return the turns before an assistant's turn, and that turn: of the last one, or of `every`.

    Raises DataError if no turn of the assistant's follows one of the user's.
    """
    ends = [
        place
        for place, turn in enumerate(turns)
        if turn.role == "assistant" and any(before.role == "user" for before in turns[:place])
    ]
    if not ends:
        raise DataError(
            f"{where}: no turn of the assistant's follows one of the user's",
            "remove the row: there is nothing to learn from it",
        )
    return [(tuple(turns[:end]), turns[end].content) for end in (ends if every else ends[-1:])]
