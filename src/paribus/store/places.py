"""What lies in a folder: experiments, their runs, and every other file. Links are not followed.

    for folder in experiments_in(Path("runs")): ...
    for run in runs_of(folder): ...

A run is told by its place as well as by its files, so that a lost file does not hide it.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from paribus.errors import StoreError
from paribus.store.experiments import is_sealed
from paribus.store.layout import ExperimentFolder, RunFolder, is_replicate

_TRIAL = re.compile(r"lr-.+")
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}")
"""What `files.write_text` calls a file that is being written."""


def is_trial(path: Path) -> bool:
    """Return whether `path` is where the trial of a learning rate lies."""
    return bool(_TRIAL.fullmatch(path.name)) and path.parent.parent.name == "tuning"


def is_run(path: Path) -> bool:
    """Return whether `path` is the folder of a run or of a trial."""
    if not path.is_dir() or _is_described(ExperimentFolder(path)):
        return False
    return is_replicate(path.name) or is_trial(path) or RunFolder(path).spec.is_file()


def misplaced(folder: RunFolder, spec: Mapping[str, Any]) -> str | None:
    """Return whose run `spec` is, if it is not the one whose place this is. Raises KeyError."""
    at = folder.path.resolve()
    place = [at.parent.name] if is_trial(at) else [at.parent.name, at.name]
    said = [spec["arm"], f"seed-{spec['replicate']}"][: len(place)]
    if said == place:
        return None
    return f"is of {'/'.join(said)}, and lies in the place of {'/'.join(place)}"


def is_experiment(path: Path) -> bool:
    """Return whether `path` is the folder of an experiment."""
    folder = ExperimentFolder(path)
    return _is_described(folder) or any(runs_of(folder))


def _is_described(folder: ExperimentFolder) -> bool:
    return folder.description.is_file() or folder.ledger.is_file()


def store_of(path: Path) -> Path | None:
    """Return the folder of an experiment or a run in which `path` would lie, links followed."""
    for folder in path.parent.resolve().joinpath("_").parents:
        described = ExperimentFolder(folder).description
        if described.is_file() and is_sealed(described):
            return folder
        if is_replicate(folder.name) and RunFolder(folder).spec.is_file():
            return folder
    return None


def is_temporary(path: Path) -> bool:
    """Return whether `path` was being written when its process was killed."""
    return bool(_TEMPORARY.fullmatch(path.name))


def runs_of(folder: ExperimentFolder) -> Iterator[RunFolder]:
    """Yield every trial and run that lies in an experiment's folder, begun or not."""
    arms = [*folders_in(folder.path / "tuning"), *folders_in(folder.path)]
    for arm in arms:
        yield from (RunFolder(path) for path in folders_in(arm) if is_run(path))


def experiments_in(path: Path) -> list[ExperimentFolder]:
    """Return the experiment that `path` is, or those that lie in it."""
    if is_experiment(path):
        return [ExperimentFolder(path)]
    return [ExperimentFolder(each) for each in folders_in(path) if is_experiment(each)]


def find_stores(path: Path) -> tuple[list[ExperimentFolder], list[RunFolder]]:
    """Return the experiments in `path`, and the runs that lie in it and in none of them.

    Raises StoreError if there is nothing of either.
    """
    if is_run(path):
        return [], [RunFolder(path)]
    experiments = experiments_in(path)
    runs = []
    if not is_experiment(path):  # an arm, or runs that somebody put beside experiments
        runs = [RunFolder(each) for each in folders_in(path) if is_run(each)]
    if not runs and not experiments:
        what = f"{path} holds no runs" if path.is_dir() else f"there is no folder {path}"
        raise StoreError(
            f"{path} is no folder" if path.is_file() else what,
            "name a folder of runs, an experiment's folder in it, or one run's",
        )
    return experiments, runs


def folders_in(path: Path) -> list[Path]:
    """Return the folders that lie in `path`, sorted; none if it is not a folder or not readable."""
    if not path.is_dir():
        return []
    with os.scandir(path) as entries:
        return sorted(Path(each.path) for each in entries if each.is_dir(follow_symlinks=False))


def files_under(path: Path, leave_out: Collection[Path] = ()) -> Iterator[Path]:
    """Yield all that lies under `path` and is no folder: files, links, and whatever else.

    Nothing below a folder in `leave_out` is. Raises OSError for a folder that cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(path, onerror=refuse):
        here = Path(place)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(
            name for name in folders if name not in links and here / name not in leave_out
        )
        yield from (here / name for name in sorted([*names, *links]))


def size_of(path: Path) -> int:
    """Return the bytes of the files under `path`, or of the file that it is. Raises OSError."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(each.lstat().st_size for each in files_under(path))
