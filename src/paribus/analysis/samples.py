"""Read completions made elsewhere, one JSON line each, before they are matched with problems.

Four layouts, told apart by the keys of a file's first line, never by the file's name:

    {"doc": {"question": ..., "answer": "... #### 7"}, "resps": [["#### 7"]], "filter": ...}
    {"id": 12, "completion": "#### 7"}                     its gold is in another file
    {"question": "How many?", "completion": "#### 7", "answer": "... #### 7"}
    {"problem_id": ..., "question": ..., "text": "#### 7", "stop": "answer", ...}

The first is lm-evaluation-harness 0.4 `--log_samples`, whose every problem comes once for each
filter; the last is paribus's own. Files from elsewhere do not say why a text ended. A row with
`"finish_reason": "length"`, `"stop": "length"` or `"truncated": true` was cut by the token limit;
every other counts as ended by itself, so that a cut text without an answer is "no answer".
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from paribus.errors import DataError
from paribus.files import open_file
from paribus.records import Generation, Stop
from paribus.store.runs import read_generations

MAX_LINE_BYTES = 16 * 2**20
"""A longer line is no sample of a word problem, and is not read into memory."""

_MEND = "mend or remove the line"
_LAYOUTS = (
    "give lm-eval's samples_*.jsonl (--log_samples), JSON lines of {'id' or 'question', "
    "'completion'}, or a generations file of paribus"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One completion as its file states it.

    Attributes:
        where: file and line.
        id: what the file calls the problem; None where it states the question.
        question: None where the file states an id alone.
        text: what the model wrote.
        stop: why it ended, as far as the file says.
        num_tokens: 0 where it is not known.
        prompt_sha256: of the prompt; "" where it is not known.
        filter: lm-eval's filter; the same text comes once for each. "" elsewhere.
        stated: the object that may state gold: `answer`, `solution`, `group`.
    """

    where: str
    id: str | None
    question: str | None
    text: str
    stop: Stop
    num_tokens: int = 0
    prompt_sha256: str = ""
    filter: str = ""
    stated: dict[str, Any]


def read_samples(path: Path) -> list[Sample]:
    """Return the samples in the file `path`, in its order, at least one.

    Raises DataError naming the line: not JSON in UTF-8, an unknown layout, a completion that is
    not text, several completions for one prompt.
    """
    lines = list(read_objects(path))
    if not lines:
        raise DataError(f"{path} holds no line", "give a file with at least one generation")
    first = lines[0][1]
    if {"problem_id", "text"} <= first.keys():
        return _own_file(path, lines)
    if {"doc", "resps"} <= first.keys():
        return [_harness(row, f"{path}:{number}") for number, row in lines]
    if "completion" in first:
        return [_plain(row, f"{path}:{number}") for number, row in lines]
    keys = ", ".join(map(ascii, list(first)[:8])) or "none"
    raise DataError(f"{path}:{lines[0][0]}: not a known layout; its keys: {keys:.200}", _LAYOUTS)


def own_samples(generations: Sequence[Generation], where: str) -> list[Sample]:
    """Return generations of paribus as samples."""
    return [
        Sample(
            where=f"{where}: {number}",
            id=None,
            question=generation.question,
            text=generation.text,
            stop=generation.stop,
            num_tokens=generation.num_tokens,
            prompt_sha256=generation.prompt_sha256,
            stated=asdict(generation),
        )
        for number, generation in enumerate(generations, 1)
    ]


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for each line of `path` that is not blank. Raises DataError.

    A byte order mark is dropped. Half a surrogate pair, which JSON can spell and no text can
    hold, becomes "?".
    """
    try:
        with open_file(path) as file:
            for number in count(1):
                line = file.readline(MAX_LINE_BYTES + 1)
                if not line:
                    return
                if len(line) > MAX_LINE_BYTES:
                    raise DataError(
                        f"{path}:{number}: the line is longer than {MAX_LINE_BYTES:,} bytes",
                        "give JSON lines: one object on each line",
                    )
                if line.strip():
                    yield number, _object(line, f"{path}:{number}")
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", "give a file that exists and can be read"
        ) from error


def text_of(row: dict[str, Any], key: str, where: str) -> str:
    """Return the text under `key`. Raises DataError if it is missing or something else."""
    value = row.get(key)
    if not isinstance(value, str):
        found = f"{key!r} is {type(value).__name__}" if key in row else f"there is no {key!r}"
        raise DataError(f"{where}: {found}, not text", _MEND)
    return value


def label_of(row: dict[str, Any], key: str, where: str) -> str:
    """Return the text or whole number under `key` as text: 12 and "12" are one label."""
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text_of(row, key, where)


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
        if b"\\u" in line:
            row = json.loads(json.dumps(row, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON in UTF-8: {error}", _MEND) from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: not an object", _LAYOUTS)
    return row


def _harness(row: dict[str, Any], where: str) -> Sample:
    """A line of `--log_samples`: lm-eval 0.4.13, evaluator.py and loggers/evaluation_tracker.py."""
    doc, prompt = row.get("doc"), row.get("prompt_hash")
    if not isinstance(doc, dict):
        raise DataError(f"{where}: 'doc' is not an object", _MEND)
    match row.get("resps"):
        case [[str() as text]]:
            pass
        case [[str(), *others]]:
            raise DataError(
                f"{where}: {1 + len(others)} completions of one problem; the limit is 1",
                "run lm-eval with repeats: 1, or give each repeat a file of its own and one name: "
                "NAME=FILE NAME=FILE",
            )
        case _:
            raise DataError(
                f"{where}: 'resps' is not one text, [[text]]",
                "give the samples of a task that generates text (generate_until), such as gsm8k",
            )
    return Sample(
        where=where,
        id=None,
        question=text_of(doc, "question", where),
        text=text,
        stop=Stop.STOP_TOKEN,
        prompt_sha256=prompt if isinstance(prompt, str) else "",
        filter=str(row.get("filter", "")),
        stated=doc,
    )


def _plain(row: dict[str, Any], where: str) -> Sample:
    asked = "question" in row
    if not asked and "id" not in row:
        raise DataError(f"{where}: neither 'id' nor 'question'", "say which problem is answered")
    ends = (row.get("finish_reason"), row.get("stop"))
    cut = "length" in ends or row.get("truncated") is True
    return Sample(
        where=where,
        id=None if asked else label_of(row, "id", where),
        question=text_of(row, "question", where) if asked else None,
        text=text_of(row, "completion", where),
        stop=Stop.LENGTH if cut else Stop.STOP_TOKEN,
        stated=row,
    )


def _own_file(path: Path, lines: Sequence[tuple[int, dict[str, Any]]]) -> list[Sample]:
    """The file is read twice: by us for types and line numbers, by the store for its format."""
    for number, row in lines:
        where = f"{path}:{number}"
        for key in ("problem_id", "question", "answer", "prompt_sha256", "text"):
            text_of(row, key, where)
        for key in {"solution", "group"} & row.keys():
            text_of(row, key, where)
        if type(row.get("num_tokens")) is not int or row["num_tokens"] < 0:
            raise DataError(f"{where}: 'num_tokens' is not a whole number of 0 or more", _MEND)
    samples = own_samples(read_generations(path), str(path))
    return [
        replace(sample, where=f"{path}:{number}", text=row["text"], question=row["question"])
        for sample, (number, row) in zip(samples, lines, strict=True)
    ]
