"""Where the rows of a task are: files, folders, globs, a data set on the Hub, or the task itself.

    source = source_of(task, data, "train")           # where the training rows are, or None
    source.rows()                                     # [("intent.csv:2", {"text": …}), …]

A path is looked for from the task file's folder, or from `data.path` where that is set.
"""

import glob
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paribus import hub
from paribus.config.schema import DataConfig
from paribus.config.task import Task
from paribus.config.task_file import DATA_FILES
from paribus.data.rows import Row, has_half_pair, read_rows
from paribus.errors import DataError, NotHere

FORMATS = ("json", "csv", "parquet", "text")
"""Values of `dataset_path` that mean files of one's own."""
_KEYS = {"train": "training_split", "test": "test_split", "fewshot": "fewshot_split"}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """Rows that stand in the task file itself.

    Attributes:
        named: the key that holds them; listed: the rows.
    """

    named: str
    listed: tuple[dict[str, Any], ...]

    def rows(self) -> list[Row]:
        """Return the rows."""
        return [(f"{self.named}:{number}", row) for number, row in enumerate(self.listed, 1)]


Source = Files | OnHub | Stated


def source_of(task: Task, data: DataConfig, split: str) -> Source | None:
    """Return where the rows of `split` ("train", "test" or "fewshot") are.

    None if the task has no such split. Raises DataError if a file that is named is not there.
    """
    if split == "fewshot" and task.samples:
        return Stated(named="fewshot_config.samples", listed=tuple(task.samples))
    own = {"train": task.train, "test": task.test}.get(split)
    stated = {
        "train": task.training_split,
        "test": task.test_split or task.validation_split,
        "fewshot": task.fewshot_split,
    }[split]
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
                f"correct data_files or {_KEYS[split]} in the task file",
            )
        remedy = _remedy(task, named or "", split)
        return None if named is None else _files(named, _folder(task, data), remedy)
    if task.dataset_path is None or (stated is None and split != "train"):
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
