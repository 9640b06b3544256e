"""What the arguments of `paribus compare` name: files and folders, as runs of named arms.

    read_sources(["base.jsonl", "lora=out/b.jsonl", "runs/gsm8k/full-main"])
    # base seed 0; lora seed 0; full-main seeds 0, 1 and 2

An arm is called NAME in `NAME=FILE`; else after the file, after the folder of an lm-eval file
(the model: `out/google__gemma-2b/samples_gsm8k_*.jsonl`), or after the arm of a run of paribus.
Where two would be called the same, folders are put before. The same NAME given to several
files makes them runs of one arm; `repeats` says whether they are its seeds.
"""

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paribus.analysis.elsewhere.samples import Sample
from paribus.analysis.elsewhere.ways import Way
from paribus.analysis.reading import read_run
from paribus.analysis.tables import Run
from paribus.config.task import Task, stored_task
from paribus.errors import DataError, StoreError
from paribus.files import UNREADABLE, path_fault, read_json
from paribus.store.experiments import read_description, refuse_links
from paribus.store.layout import RunFolder
from paribus.store.runs import RunState

_RUN_NAME = re.compile(r"seed-[0-9]{1,9}")
_HARNESS_PREFIX = "samples_"
_SHOWN = 5
"""Files that an error names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The texts of one run.

    Attributes:
        path: the file or folder, as given.
        run: names arm and seed; for a run folder it holds what paribus recorded. Incomplete
            if the folder's run is.
        identity: the settings of a run folder; empty for a file.
        samples: what was written, in the file's order; empty only if the run is incomplete.
    """

    path: Path
    run: Run
    identity: dict[str, Any]
    samples: list[Sample]


def read_sources(arguments: Sequence[str], way: Way) -> list[Source]:
    """Return the runs that `arguments` (`FILE` or `NAME=FILE`) name, in their order, read by `way`.

    Raises DataError: nothing readable there, a file given twice, an arm without a complete run.
    """
    given = paths_of(arguments)
    paths = [path for _, path in given]
    for path, times in Counter(path.resolve() for path in paths).items():
        if times > 1:
            raise DataError(f"{path} is given {times} times", "give each file once")
    names = _names(given)
    sources: list[Source] = []
    for name, path in zip(names, paths, strict=True):
        read = _read(path, way)
        if not any(source.run.complete for source in read):
            notes = "; ".join(source.run.note for source in read)
            raise DataError(f"{path} holds no complete run: {notes}", "finish the run first")
        earlier = sum(source.run.arm == name for source in sources)
        for number, source in enumerate(read):
            # Seeds of a folder keep their numbers: with the same one, arms saw the same order.
            seed = source.run.seed if names.count(name) == 1 else earlier + number
            sources.append(replace(source, run=replace(source.run, arm=name, seed=seed)))
    return sources


def paths_of(arguments: Sequence[str]) -> list[tuple[str | None, Path]]:
    """Return the name, if one is given, and the path of each argument. Raises DataError."""
    return [(name, _samples_in(path)) for name, path in map(_split, arguments)]


def task_of_run(path: Path) -> Task | None:
    """Return the task of a run or an arm of paribus; None for GSM8K's presets, and for a file.

    It is that of the experiment around it. Raises StoreError if that cannot be read.
    """
    whole = path.absolute()
    folder = RunFolder(whole if _RUN_NAME.fullmatch(whole.name) else whole / "seed-0")
    if not whole.is_dir() or not folder.experiment.description.is_file():
        return None
    arms = {arm.name: arm.task for arm in read_description(folder.experiment).arms}
    record = arms.get(folder.arm)
    return None if record is None else stored_task(record)


def _split(argument: str) -> tuple[str | None, Path]:
    """Return (NAME or None, FILE). A file whose name holds "=" is taken as it is."""
    name, equals, file = argument.partition("=")
    fault = path_fault(file if equals else argument)
    if fault:
        raise DataError(f"{argument[:40]!a}… {fault}", "name a file")
    if not equals or Path(argument).exists():
        return None, Path(argument)
    if not name.strip() or not file:
        raise DataError(f"{argument!a} is neither FILE nor NAME=FILE", "give NAME=FILE")
    return name.strip(), Path(file)


def _samples_in(path: Path) -> Path:
    """Return the file of samples in a folder that lm-eval wrote, else `path` as it is.

    Raises DataError if there are several: of another date, task or model.
    """
    paths = [*path.glob("samples_*.json*"), *path.glob("*/samples_*.json*")]
    if len(paths) > 1:
        listed = ", ".join(str(file.relative_to(path)) for file in sorted(paths)[:_SHOWN])
        raise DataError(
            f"{path} holds {len(paths)} files of samples: {listed}", "name the files to compare"
        )
    return paths[0] if paths else path


def _names(given: Sequence[tuple[str | None, Path]]) -> list[str]:
    """Return a name for each, distinct where none was given."""
    names = [_printable(name or _short_name(path)) for name, path in given]
    parts = [(path.parent / _bare(path)).absolute().parts for _, path in given]
    for depth in range(2, max(map(len, parts)) + 1):
        counts = Counter(names)
        names = [
            _printable("/".join(parts[index][-depth:]))
            if counts[name] > 1 and given[index][0] is None
            else name
            for index, name in enumerate(names)
        ]
    for index, name in enumerate(names):
        if names.count(name) > 1 and given[index][0] is None:
            raise DataError(f"two arms would have the name {name!a}", "give each a name: NAME=FILE")
    return names


def _short_name(path: Path) -> str:
    path = path.absolute()
    if _RUN_NAME.fullmatch(path.name):
        return path.parent.name
    if path.parent.name == "generations" and _RUN_NAME.fullmatch(path.parents[1].name):
        return path.parents[2].name
    return path.parent.name if path.name.startswith(_HARNESS_PREFIX) else _bare(path)


def _bare(path: Path) -> str:
    if path.is_dir():
        return path.absolute().name
    packed = path.suffix in (".gz", ".bz2", ".xz")
    return Path(path.stem).stem if packed else path.stem


def _printable(name: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in name)


def _read(path: Path, way: Way) -> list[Source]:
    if not path.is_dir():
        run = Run(arm="", seed=0, state=RunState.COMPLETE)
        return [Source(path=path, run=run, identity={}, samples=way.read(path))]
    whole = path.absolute()
    if _RUN_NAME.fullmatch(whole.name):
        source = _read_folder(RunFolder(whole), path, way)
        return [replace(source, run=replace(source.run, seed=0))]
    folders = [RunFolder(folder) for folder in whole.iterdir() if _RUN_NAME.fullmatch(folder.name)]
    if not folders:
        raise DataError(
            f"{path} is neither a run (seed-0) nor an arm (with seed-0 in it), and holds no "
            "samples_*.jsonl of lm-eval (--log_samples)",
            "give a file of generations, a run's folder or an arm's; for a whole experiment: "
            f"paribus report {shlex.quote(str(path))}",
        )
    ordered = sorted(folders, key=lambda run: run.replicate)
    return [_read_folder(folder, path, way) for folder in ordered]


def _read_folder(folder: RunFolder, path: Path, way: Way) -> Source:
    refuse_links(folder.path)
    run = read_run(folder, way.of_runs)
    if not run.complete:
        return Source(path=path, run=run, identity={}, samples=[])
    try:
        identity: dict[str, Any] = read_json(folder.spec)["identity"]
    except UNREADABLE as error:
        raise StoreError(
            f"{folder.spec} cannot be read: {error!r}", "restore it, or name the generations file"
        ) from error
    if "task" in identity and way.of_numbers:
        raise DataError(
            f"{folder.path} is of the task {identity['task'].get('task')}, a task file's, and its "
            "answers need not be numbers",
            "give that file, --task FILE, or a metric, --metric NAME; or compare its arms by "
            "`paribus report`",
        )
    samples = way.of_run(run, str(folder.path))
    return Source(path=path, run=run, identity=identity, samples=samples)
