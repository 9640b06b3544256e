"""Read completions made elsewhere, a row each, before they are matched with problems.

Four layouts, told apart by the keys of a file's first row; `data.rows` has the forms of files:

    {"doc": {"question": ..., "answer": "... #### 7"}, "resps": [["#### 7"]], "filter": ...}
    {"id": 12, "completion": "#### 7"}                     its gold is in another file
    {"question": "How many?", "completion": "#### 7", "answer": "... #### 7"}
    {"problem_id": ..., "question": ..., "text": "#### 7", "stop": "answer", ...}

The first is lm-evaluation-harness 0.4 `--log_samples`, whose every problem comes once for each
filter; the last is paribus's own. Files from elsewhere seldom say why a text ended. A row with
`"finish_reason": "length"`, `"stopReason": "max_tokens"` or another of their names, or with
`"truncated": true`, was cut by the token limit; every other counts as ended by itself, so that a
cut text without an answer is "no answer".
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from paribus.data.rows import MEND, Row, has_half_pair, read_rows
from paribus.errors import DataError
from paribus.records import Generation, Problem, Stop
from paribus.store.runs import as_generation

_LAYOUTS = (
    "give lm-eval's samples_*.jsonl (--log_samples), JSON lines of {'id' or 'question', "
    "'completion'}, or a generations file of paribus"
)


_ENDS = {"finishreason", "stopreason", "donereason", "stoptype", "stop"}
_CUT = {
    "length", "limit", "tokenlimit", "maxtokens", "maxnewtokens", "maxoutputtokens",
    "maxcompletiontokens", "maxlength", "modellength", "modelcontextwindowexceeded",
}  # fmt: skip
"""Where servers and libraries say why a text ended, and what they call the token limit: `_bare`."""


_STATED = ("question", "answer", "solution", "group")
"""What a generation of paribus says of its problem."""


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
        exact_match: whether the row itself calls the text right; None where it does not say.
        stated: the object that may state gold: `answer`, `solution`, `group`.
        choice_nlls: of each choice, where nothing was written; see `Generation`.
        value: what the row itself says that the text scores, or its loss; None where not asked for.
        problem: what a row states of its problem, where answers are no numbers.
    """

    where: str
    id: str | None
    question: str | None
    text: str
    stop: Stop
    num_tokens: int = 0
    prompt_sha256: str = ""
    filter: str = ""
    exact_match: bool | None = None
    stated: dict[str, Any]
    choice_nlls: tuple[float, ...] = ()
    value: float | None = None
    problem: Problem | None = None


def read_samples(path: Path) -> list[Sample]:
    """Return the samples in the file `path`, in its order, at least one.

    Raises DataError naming the row: not JSON in UTF-8, an unknown layout, a completion that is
    not text, several completions for one prompt.
    """
    rows, first = read_first(path)
    where, _ = rows[0]
    if is_of_paribus(first):
        return [_of_paribus(row, where) for where, row in rows]
    if is_of_harness(first):
        return [_harness(row, where) for where, row in rows]
    if "completion" in first:
        return [_plain(row, where) for where, row in rows]
    keys = ", ".join(map(ascii, list(first)[:8])) or "none"
    raise DataError(f"{where}: not a known layout; its keys: {keys:.200}", _LAYOUTS)


def read_first(path: Path, limit: int | None = None) -> tuple[list[Row], dict[str, Any]]:
    """Return the rows of `path`, `limit` of them at most, and the first row. Raises DataError."""
    rows = list(islice(read_objects(path), limit))
    if not rows:
        raise DataError(f"{path} holds no line", "give a file with at least one generation")
    return rows, rows[0][1]


def is_of_paribus(row: Mapping[str, Any]) -> bool:
    """Return whether a row is of a file of generations that paribus wrote."""
    return {"problem_id", "text"} <= row.keys()


def is_of_harness(row: Mapping[str, Any]) -> bool:
    """Return whether a row is of a file of samples that lm-eval wrote."""
    return {"doc", "resps"} <= row.keys()


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
            stated={key: getattr(generation, key) for key in _STATED},
        )
        for number, generation in enumerate(generations, 1)
    ]


KINDS: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


def read_objects(path: Path) -> Iterator[Row]:
    """Yield the place and the content of each row of `path`. Raises DataError.

    Half a surrogate pair, which JSON can spell and no text can hold, becomes "?".
    """
    for where, row in read_rows(path):
        if has_half_pair(row):
            text = json.dumps(row, ensure_ascii=False, default=repr)
            row = json.loads(text.encode(errors="replace"))
        yield where, row


def text_of(row: dict[str, Any], key: str, where: str) -> str:
    """Return the text under `key`. Raises DataError if it is missing or something else."""
    value = row.get(key)
    if not isinstance(value, str):
        raise DataError(f"{where}: {_no_text(row, key)}", MEND)
    return value


def _no_text(row: dict[str, Any], key: str) -> str:
    """Return what the value is instead, in the terms of JSON."""
    if key not in row:
        return f"there is no {key!r}"
    value = row[key]
    kind = KINDS.get(type(value), type(value).__name__)
    return f"{key!r} is {kind}, not text"


def label_of(row: dict[str, Any], key: str, where: str) -> str:
    """Return the text or whole number under `key` as text: 12 and "12" are one label."""
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text_of(row, key, where)


def _harness(row: dict[str, Any], where: str) -> Sample:
    """A line of `--log_samples`: lm-eval 0.4.13, evaluator.py and loggers/evaluation_tracker.py."""
    doc, prompt = document_of(row, where), row.get("prompt_hash")
    text = _one_text(row, where)
    return Sample(
        where=where,
        id=None,
        question=text_of(doc, "question", where),
        text=text,
        stop=stop_of(row),
        prompt_sha256=prompt if isinstance(prompt, str) else "",
        filter=str(row.get("filter", "")),
        exact_match=_exact_match(row),
        stated=doc,
    )


def document_of(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return what lm-eval's row says of its problem. Raises DataError if it says nothing."""
    doc = row.get("doc")
    if not isinstance(doc, dict):
        raise DataError(f"{where}: 'doc' is not an object", MEND)
    return doc


def asked_in(row: Mapping[str, Any]) -> str:
    """Return what lm-eval's row asked: its question, or its whole prompt, or its place."""
    match row:
        case {"doc": {"question": str() as question}} if question.strip():
            return question
        case {"arguments": {"gen_args_0": {"arg_0": str() as prompt}}} if prompt.strip():
            return prompt
        case {"arguments": [[str() as prompt, *_], *_]} if prompt.strip():
            return prompt
    return f"doc_id {row.get('doc_id')}"


def written_in(
    row: Mapping[str, Any], choices: Sequence[str], where: str
) -> tuple[str, tuple[float, ...]]:
    """Return the text of lm-eval's row; of multiple choice the likeliest, and the loss of each.

    Raises DataError if there is no text, several, or not one likelihood for each choice.
    """
    resps = row["resps"]
    try:
        pairs = [(float(log_likelihood), greedy) for ((log_likelihood, greedy),) in resps]
    except (TypeError, ValueError):
        return _one_text(row, where), ()
    if len(pairs) != len(choices):
        raise DataError(
            f"{where}: 'resps' holds {len(pairs)} likelihoods; there are {len(choices)} choices",
            "give the task that lm-eval asked, --task FILE, with doc_to_choice; or take lm-eval's "
            "own values: --metric acc",
        )
    losses = tuple(-log_likelihood for log_likelihood, _ in pairs)
    return choices[losses.index(min(losses))], losses


def _one_text(row: Mapping[str, Any], where: str) -> str:
    match row.get("resps"):
        case [[str() as text]]:
            return text
        case [[str(), *others]]:
            raise DataError(
                f"{where}: {1 + len(others)} completions of one problem; the limit is 1",
                "run lm-eval with repeats: 1, or give each repeat its own file and one name: "
                "NAME=FILE NAME=FILE",
            )
        case _:
            raise DataError(
                f"{where}: 'resps' is not one text, [[text]]",
                "give the samples of a task that generates text (generate_until), such as gsm8k",
            )


def _plain(row: dict[str, Any], where: str) -> Sample:
    asked = "question" in row
    if not asked and "id" not in row:
        raise DataError(
            f"{where}: has neither 'id' nor 'question'",
            "give the line the id or the question of the problem it answers",
        )
    return Sample(
        where=where,
        id=None if asked else label_of(row, "id", where),
        question=text_of(row, "question", where) if asked else None,
        text=text_of(row, "completion", where),
        stop=stop_of(row),
        exact_match=_exact_match(row),
        stated=row,
    )


def _exact_match(row: dict[str, Any]) -> bool | None:
    """Return what the row itself says of its text: 1 or 0, true or false; else None."""
    value = row.get("exact_match")
    return bool(value) if isinstance(value, int | float) and value in (0, 1) else None


def stop_of(row: Mapping[str, Any]) -> Stop:
    """Return why a text ended, as far as its row says."""
    parts = {_bare(value) for key in row if _key(key) in _ENDS for value in _within(row[key])}
    cut = {_bare(value) for key in row if _key(key) == "truncated" for value in _within(row[key])}
    return Stop.LENGTH if parts & _CUT or cut & (_CUT | {"true", "1"}) else Stop.STOP_TOKEN


@lru_cache(maxsize=2**10)
def _key(name: str) -> str:
    """Return `_bare(name)`; kept, for the rows of a file have the same keys."""
    return _bare(name)


def _within(value: Any) -> list[Any]:
    """Return what a list or an object holds; of anything else itself."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else [value]


def _bare(name: Any) -> str:
    """Return `finish_reason` and `finishReason` as one, and of a printed enum its member."""
    member = str(name).strip("<> ").partition(":")[0].rpartition(".")[2]
    return re.sub(r"[\s_-]", "", member).lower()


def generation_of(row: dict[str, Any], where: str) -> Generation:
    """Return the generation in a row that paribus wrote. Raises DataError."""
    for key in ("problem_id", "question", "answer", "prompt_sha256", "text"):
        text_of(row, key, where)
    for key in {"solution", "group"} & row.keys():
        text_of(row, key, where)
    if type(row.get("num_tokens")) is not int or row["num_tokens"] < 0:
        raise DataError(f"{where}: 'num_tokens' is not a whole number of 0 or more", MEND)
    try:
        return as_generation(row)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{where}: not a generation as paribus writes it: {error}", MEND) from error


def _of_paribus(row: dict[str, Any], where: str) -> Sample:
    (sample,) = own_samples([generation_of(row, where)], where)
    return replace(sample, where=where)
