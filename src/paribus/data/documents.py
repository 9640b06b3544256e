"""The rows of a task, and the problem in each: files, folders, globs, or a data set on the Hub.

    source = source_of(task, data, "train")           # where the training rows are, or None
    source.rows()                                     # [("intent.csv:2", {"text": …}), …]
    problems_in(source, task, group_by=None)          # ([Problem(…), …], the layout of the rows)

A path is looked for from the task file's folder, or from `data.path` where that is set.
"""

import glob
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paribus import hub
from paribus.config.schema import DataConfig
from paribus.config.task import Task
from paribus.config.task_file import DATA_FILES
from paribus.data.layouts import Layout, layout_of, splits_of, turns_of
from paribus.data.rows import Row, has_half_pair, read_rows
from paribus.data.templates import holds, list_of, names_column, value_of
from paribus.errors import DataError, NotHere
from paribus.records import Problem, Turn

FORMATS = ("json", "csv", "parquet", "text")
"""Values of `dataset_path` that mean files of one's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Files of rows.

    Attributes:
        named: what the task or the experiment says; paths: the files that are meant.
    """

    named: str
    paths: tuple[Path, ...]

    def rows(self) -> list[Row]:
        """Return the rows of all files. Raises DataError."""
        rows = [row for path in self.paths for row in read_rows(path, table=True)]
        for where, row in rows:
            if has_half_pair(row):
                raise DataError(
                    f"{where}: not text: it spells half a surrogate pair, \\ud800 to \\udfff",
                    "fix or remove the line",
                )
        return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class OnHub:
    """A split of a data set, read by `datasets`: on the Hub, in its cache, or a folder laid out so.

    Attributes:
        path, name, revision, split: as of `datasets.load_dataset`.
    """

    path: str
    name: str | None
    revision: str | None
    split: str

    @property
    def named(self) -> str:
        """Its name in messages."""
        return " ".join(filter(None, (self.path, self.name, self.split)))

    def rows(self) -> list[Row]:
        """Return the rows. Raises NotHere where the Hub does not give them."""
        hub.settle()  # before this import: it copies whether the Hub may be asked
        from datasets import load_dataset
        from huggingface_hub.errors import HfHubHTTPError

        try:
            rows: Iterable[dict[str, Any]] = load_dataset(
                self.path, self.name, split=self.split, revision=self.revision
            )
        except (ConnectionError, FileNotFoundError, ValueError, HfHubHTTPError, OSError) as error:
            raise NotHere(
                f"{self.named} is not in the local cache and the Hub is out of reach, or has no "
                f"such data: {error}",
                "connect and run again, correct the name, or give files: train: FILE, test: FILE "
                "in the task (GSM8K: a folder with its JSON lines as data.path)",
            ) from error
        return [(f"{self.named}:{number}", dict(row)) for number, row in enumerate(rows, 1)]


Source = Files | OnHub


def source_of(task: Task, data: DataConfig, split: str) -> Source | None:
    """Return where the rows of `split` ("train" or "test") are; None if the task has no such split.

    Raises DataError if a file that is named is not there.
    """
    own = task.train if split == "train" else task.test
    stated = task.training_split if split == "train" else task.test_split or task.validation_split
    if own is not None and (data.path or not task.preset):
        return _files(own, _folder(task, data), _remedy(task, own, split))
    in_files = task.dataset_kwargs.get("data_files")
    if task.dataset_path in FORMATS or (task.dataset_path is None and in_files):
        by_split = in_files if isinstance(in_files, Mapping) else {"train": in_files}
        named = by_split.get(stated or split)
        if named is None and stated is not None:
            raise DataError(
                f"dataset_kwargs.data_files has no {stated!r}, which the task {task.task} names as "
                f"its {split} split; it has {', '.join(map(repr, by_split))}",
                f"correct data_files or {split}{'ing' * (split == 'train')}_split in the task file",
            )
        remedy = _remedy(task, named or "", split)
        return None if named is None else _files(named, _folder(task, data), remedy)
    if task.dataset_path is None or (stated is None and split == "test"):
        return None
    folder = _folder(task, data) / task.dataset_path
    return OnHub(
        path=str(folder) if task.folder and folder.is_dir() else task.dataset_path,
        name=task.dataset_name,
        revision=data.revision or task.dataset_kwargs.get("revision"),
        split=stated or split,
    )


def exists(task: Task, data: DataConfig) -> bool:
    """Return whether the test rows of a variant, `task`, can be had."""
    try:
        return source_of(task, data, "test") is not None
    except DataError:
        return False


def _folder(task: Task, data: DataConfig) -> Path:
    return Path(data.path or task.folder)


def _remedy(task: Task, named: str | Sequence[str], split: str) -> str:
    """Return what to do where the files that are `named` are not there."""
    if not task.preset:
        return f"correct {split} in the task file: paths start at its folder, or at data.path"
    remedy = "give the folder with GSM8K's JSON lines as data.path, or data.path=null for the Hub"
    if split == "train" and named == "train_socratic.jsonl":
        remedy += "; without a network task=gsm8k_swapped trains on the test files"
    return remedy


def _files(named: str | Sequence[str], folder: Path, remedy: str) -> Files:
    names = [named] if isinstance(named, str) else list(named)
    paths = [path for name in names for path in _matching(name, folder, remedy)]
    return Files(named=", ".join(str(folder / name) for name in names), paths=tuple(paths))


def _matching(name: str, folder: Path, remedy: str) -> list[Path]:
    path = folder / name
    if path.is_file():
        return [path]
    if path.is_dir():
        matching = sorted(p for p in path.iterdir() if p.name.endswith(DATA_FILES) and p.is_file())
        missing = f"no file in the folder {path} has a name that ends in {', '.join(DATA_FILES)}"
    else:
        # A pattern may begin at the root, which Path.glob refuses.
        names = glob.glob(str(path), recursive=True)  # noqa: PTH207
        matching = sorted(filter(Path.is_file, map(Path, names)))
        missing = f"there is no file {path}"
    if not matching:
        raise DataError(missing, remedy)
    return matching


def problems_in(
    source: Source, task: Task, group_by: str | None = None
) -> tuple[list[Problem], Layout | None]:
    """Return the problems in `source`, in its order, and the layout by which they were read.

    Raises DataError naming the row.
    """
    rows = source.rows()
    if task.where is not None:
        rows = [(where, row) for where, row in rows if holds(task.where, row, where)]
    if not rows:
        kept = f": there is no row for which where: {task.where} holds" if task.where else ""
        raise DataError(f"{source.named} is empty{kept}", "give a file with at least one problem")
    layout = _layout(task, rows[0])
    problems = [
        problem
        for where, row in rows
        for problem in _problems(task, layout, row, where, group_by or task.group_by)
    ]
    return problems, layout


def _layout(task: Task, first: Row) -> Layout | None:
    """Return the layout of the rows; None where the task says itself how they become text."""
    where, row = first
    if task.doc_to_text is not None and task.doc_to_target is not None:
        return None
    if task.doc_to_text is None and task.doc_to_target is None:
        return layout_of(row, where)
    given, lacking = ("doc_to_text", "doc_to_target")[:: 1 if task.doc_to_text else -1]
    raise DataError(f"the task {task.task} states {given} and not {lacking}", f"state {lacking}")


def _problems(
    task: Task, layout: Layout | None, row: dict[str, Any], where: str, group_by: str | None
) -> Iterator[Problem]:
    group = "" if group_by is None else _group(row, group_by, where)
    if layout is not None and layout.conversation:
        turns = turns_of(layout, row, where)
        for before, target in splits_of(turns, task.turns == "every", where):
            yield _of_conversation(before, target, where, group)
        return
    yield _of_row(task, layout, row, where, group)


def _of_conversation(before: tuple[Turn, ...], target: str, where: str, group: str) -> Problem:
    transcript = "\n\n".join(f"{turn.role.capitalize()}: {turn.content}" for turn in before)
    return Problem(
        question=before[-1].content,
        key=f"{transcript}\n\n{target}",
        prompt=f"{transcript}\n\nAssistant:",
        solution=target,
        answer=target,
        turns=before,
        group=group,
        where=where,
    )


def _of_row(
    task: Task, layout: Layout | None, row: dict[str, Any], where: str, group: str
) -> Problem:
    text = layout.text if layout else task.doc_to_text or ""
    question = task.question or (layout.question if layout else text)
    prompt = _text(value_of(text, row, where), "doc_to_text", where)
    choices = _choices(task.doc_to_choice, row, where)
    golds = _golds(_target(task, layout, choices, row, where), choices, where)
    asked = prompt if question == text else _text(value_of(question, row, where), "question", where)
    return Problem(
        question=asked,
        prompt=prompt,
        key="" if task.id is None else _text(value_of(task.id, row, where), "id", where),
        solution=golds[0],
        answer=golds[0],
        answers=tuple(golds[1:]),
        choices=tuple(choices),
        group=group,
        where=where,
        document=json.loads(json.dumps(row, default=str)) if task.reads_rows else None,
    )


def _text(value: Any, key: str, where: str) -> str:
    is_text = (
        isinstance(value, str | int | float) and not isinstance(value, bool) and value == value
    )
    if not is_text or not str(value).strip():
        raise DataError(
            f"{where}: {key} gives {value!r:.60}, which is {'blank' if is_text else 'not text'}",
            f"fix or remove the line, correct {key} in the task file, or leave out such rows by "
            "`where: CONDITION`",
        )
    return str(value)


def _choices(stated: Any, row: dict[str, Any], where: str) -> list[str]:
    if stated is None:
        return []
    choices = list(stated.values()) if isinstance(stated, dict) else stated
    if isinstance(choices, str):
        choices = list_of(choices, row, where)
    if not isinstance(choices, list) or len(choices) < 2:
        raise DataError(
            f"{where}: doc_to_choice gives {choices!r:.60}, not a list of at least two choices",
            "correct doc_to_choice, or the row",
        )
    return [_text(choice, "doc_to_choice", where) for choice in choices]


def _target(
    task: Task, layout: Layout | None, choices: list[str], row: dict[str, Any], where: str
) -> Any:
    """Return what `doc_to_target` gives, a number where it is the place of a choice.

    As in lm-eval a text that is a number is a place where a template renders it, and a choice where
    it stands in a column.
    """
    stated = layout.target if layout else task.doc_to_target
    if not isinstance(stated, str):
        return stated
    value = list_of(stated, row, where)
    if layout is not None and isinstance(value, bool):
        return str(value)
    if choices and isinstance(value, str) and value.isdecimal():
        return value if names_column(stated, row) and value in choices else int(value)
    if isinstance(task.doc_to_choice, list) and type(value) is int:
        _check_place(value, choices, where)
    return value


def _check_place(value: int, choices: list[str], where: str) -> None:
    """Raise DataError if a number may be the place of a choice, or another choice itself."""
    if str(value) in choices and choices[value : value + 1] != [str(value)]:
        raise DataError(
            f"{where}: doc_to_target is the number {value}, which may be the choice {value}, or a "
            f"place among the choices {', '.join(choices)!r:.120}",
            'say which: doc_to_target: "{{ [1, 2, 3].index(label) }}" gives the place of a label',
        )


def _golds(value: Any, choices: list[str], where: str) -> list[str]:
    """Return the gold texts, at least one. A number is the place of the right one of `choices`."""
    if choices:
        place = value
        if isinstance(place, int) and not isinstance(place, bool):
            if not 0 <= place < len(choices):
                raise DataError(
                    f"{where}: doc_to_target is {place}; there are {len(choices)} choices, from 0",
                    "correct doc_to_target, or the row",
                )
            return [choices[place]]
        if value not in choices:
            raise DataError(
                f"{where}: doc_to_target is {value!r:.60}, which is none of the choices "
                f"{', '.join(choices)!r:.120}",
                "correct doc_to_target or doc_to_choice, or the row",
            )
    values = value if isinstance(value, list) else [value]
    if not values:
        raise DataError(f"{where}: doc_to_target gives an empty list", "fix or remove the row")
    return [_text(target, "doc_to_target", where) for target in values]


def _group(row: Mapping[str, Any], key: str, place: str) -> str:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DataError(
            f"{place}: has no text or whole number under {key!r}, which data.group_by names",
            f"give every line one, or name another key; this line's: {', '.join(row)[:200]}",
        )
    return str(value)
