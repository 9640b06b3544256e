"""Read GSM8K: from a folder of its JSON lines, or from the Hub (`openai/gsm8k`).

A folder holds `train.jsonl`, `test.jsonl` and, for socratic solutions, `train_socratic.jsonl`,
`test_socratic.jsonl`, each line `{"question": …, "answer": "…\\n#### N"}`, as OpenAI publishes it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from paribus import hub, numerals
from paribus.data.rows import Row, has_half_pair, read_rows
from paribus.errors import DataError, NotHere
from paribus.records import Problem, Variant

HUB_NAME = "openai/gsm8k"
_MARK = "#### "


def problem(question: Any, solution: Any, where: str) -> Problem:
    """Return a Problem, its answer taken from the solution's last line.

    Raises DataError, naming `where`, unless the last line is `#### N`.
    """
    if not isinstance(question, str) or not isinstance(solution, str) or not question.strip():
        raise DataError(
            f"{where}: needs text in both 'question' and 'answer'", "fix or remove the line"
        )
    last = solution.rstrip().rpartition("\n")[2]
    answer = numerals.canonical(last.removeprefix(_MARK)) if last.startswith(_MARK) else None
    if answer is None:
        remedy = "fix or remove the line: without a gold answer nothing can be scored"
        if "####" in last:
            remedy = "write '####', one blank and the number alone, on a new line at the end"
        raise DataError(
            f"{where}: the solution does not end in '#### N' on its own line but in {last[-40:]!r}",
            remedy,
        )
    return Problem(question=question, solution=solution.rstrip(), answer=answer, where=where)


def read(
    path: str | None,
    revision: str | None,
    variant: Variant,
    split: str,
    group_by: str | None = None,
) -> list[Problem]:
    """Return the problems of `split` ("train" or "test") in file order.

    `path` is a folder; None means the Hub at `revision`. `group_by` names the key that holds a
    problem's group. Raises DataError, NotHere where the Hub does not give it.
    """
    if path is None:
        whole = f"{HUB_NAME} {variant} {split}"
        found = enumerate(_hub_rows(revision, variant, split), 1)
        rows = [(f"{whole}:{number}", row) for number, row in found]
    else:
        whole = str(_file(Path(path), variant, split))
        rows = _file_rows(Path(path), variant, split)
    problems = []
    for place, row in rows:
        made = problem(row.get("question"), row.get("answer"), place)
        problems.append(replace(made, group=_group(row, group_by, place)) if group_by else made)
    if not problems:
        raise DataError(f"{whole} is empty", "give a file with at least one problem")
    return problems


def has(path: str | None, variant: Variant, split: str) -> bool:
    """Return whether `split` can be had in `variant`. The Hub has all of them."""
    return path is None or _file(Path(path), variant, split).is_file()


def _file(folder: Path, variant: Variant, split: str) -> Path:
    return folder / f"{split}{'_socratic' if variant is Variant.SOCRATIC else ''}.jsonl"


def _group(row: Mapping[str, Any], key: str, place: str) -> str:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DataError(
            f"{place}: has no text or whole number under {key!r}, which data.group_by names",
            f"give every line one, or name another key; this line's: {', '.join(row)[:200]}",
        )
    return str(value)


def _file_rows(folder: Path, variant: Variant, split: str) -> list[Row]:
    file = _file(folder, variant, split)
    if not file.is_file():
        remedy = (
            "give the folder with GSM8K's JSON lines as data.path, or data.path=null for the Hub"
        )
        if split == "train" and variant is Variant.SOCRATIC:
            remedy += "; without a network data.source=gsm8k_swapped trains on the test files"
        raise DataError(f"there is no file {file}", remedy)
    rows = list(read_rows(file))
    for where, row in rows:
        if has_half_pair(row):
            raise DataError(
                f"{where}: not text: it spells half a surrogate pair, \\ud800 to \\udfff",
                "fix or remove the line",
            )
    return rows


def _hub_rows(revision: str | None, variant: Variant, split: str) -> Iterable[dict[str, Any]]:
    hub.settle()  # before this import: it copies whether the Hub may be asked
    from datasets import load_dataset
    from huggingface_hub.errors import HfHubHTTPError

    try:
        rows: Iterable[dict[str, Any]] = load_dataset(
            HUB_NAME, variant.value, split=split, revision=revision
        )
    except (ConnectionError, FileNotFoundError, ValueError, HfHubHTTPError, OSError) as error:
        raise NotHere(
            f"{HUB_NAME} ({variant}) is not in the local cache and the Hub is out of reach: "
            f"{error}",
            "connect and run again, or give a folder with its JSON lines as data.path",
        ) from error
    return rows
