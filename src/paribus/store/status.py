"""What a folder holds, and the status of each run: state, progress, where it would resume.

    for folder in experiments_in(Path("runs")): ...
    for run in runs_of(folder):
        run_status(run).state       # RunState.UNFINISHED
        run_status(run).goes_on     # "step 120 of 400"

A run is recognised by its place as well as by its files, so a lost file does not hide it. Links are
not followed and no large file is read: of a complete run sizes are compared, not content, which is
left to `verify`. What cannot be read is left out or becomes the run's error: `run_status` never
raises.
"""

import json
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paribus.errors import DamagedError, StoreError
from paribus.files import UNREADABLE, open_file, read_json
from paribus.store.checkpoints import newest_step
from paribus.store.experiments import is_sealed
from paribus.store.layout import ExperimentFolder, RunFolder, is_replicate
from paribus.store.locks import held
from paribus.store.manifest import changed_files, read_sealed
from paribus.store.runs import RunState, state

_TRIAL = re.compile(r"lr-.+|trial-\d+")
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}")
"""What `files.write_text` calls a file that is being written."""


def is_trial(path: Path) -> bool:
    """Return whether `path` is the folder of a trial."""
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
    owner = [spec["arm"], f"seed-{spec['replicate']}"][: len(place)]
    if owner == place:
        return None
    return f"is of {'/'.join(owner)}, and lies in the place of {'/'.join(place)}"


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
    """Yield every trial and run in an experiment's folder, begun or not."""
    arms = [*folders_in(folder.path / "tuning"), *folders_in(folder.path)]
    for arm in arms:
        yield from (RunFolder(path) for path in folders_in(arm) if is_run(path))


def experiments_in(path: Path) -> list[ExperimentFolder]:
    """Return the experiment that `path` is, or those that lie in it."""
    if is_experiment(path):
        return [ExperimentFolder(path)]
    return [ExperimentFolder(folder) for folder in folders_in(path) if is_experiment(folder)]


def find_stores(path: Path) -> tuple[list[ExperimentFolder], list[RunFolder]]:
    """Return the experiments in `path`, and the runs that lie in it and in none of them.

    Raises StoreError if there is nothing of either.
    """
    if is_run(path):
        return [], [RunFolder(path)]
    experiments = experiments_in(path)
    runs = []
    if not is_experiment(path):  # an arm, or runs that somebody put beside experiments
        runs = [RunFolder(folder) for folder in folders_in(path) if is_run(folder)]
    if not runs and not experiments:
        what = f"{path} holds no runs" if path.is_dir() else f"there is no folder {path}"
        raise StoreError(
            f"{path} is not a folder" if path.is_file() else what,
            "name a folder of runs, an experiment's folder in it, or one run's",
        )
    return experiments, runs


def folders_in(path: Path) -> list[Path]:
    """Return the folders that lie in `path`, sorted; none if it is not a folder or not readable."""
    if not path.is_dir():
        return []
    with os.scandir(path) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))


def files_under(path: Path, leave_out: Collection[Path] = ()) -> Iterator[Path]:
    """Yield all that lies under `path` and is not a folder: files, links, and whatever else.

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
    return sum(file.lstat().st_size for file in files_under(path))


_TAIL = 64 * 1024
"""Bytes at the end of a log in which its last step is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """Status of a run.

    Attributes:
        state: what it is doing or has come to.
        step: optimizer steps that are logged; None if none is.
        steps: how many there are.
        checkpoint: step of the newest checkpoint, by its name; None if there is none.
        tested: texts that are kept, under all protocols; None if it is complete or none is.
        to_test: how many there will be; None if that is not known.
        begun: seconds since the run began or continued; never below 0, None if it has not.
        changed: seconds since it last wrote something, likewise.
        error: why it failed, or what is damaged.
    """

    state: RunState
    step: int | None = None
    steps: int | None = None
    checkpoint: int | None = None
    tested: int | None = None
    to_test: int | None = None
    begun: int | None = None
    changed: int | None = None
    error: str | None = None

    @property
    def goes_on(self) -> str | None:
        """Where it would resume, in words; None if it would start over."""
        parts = []
        if self.checkpoint is not None:
            parts.append(f"step {self.checkpoint}" + (f" of {self.steps}" if self.steps else ""))
        if self.tested:
            parts.append(f"text {self.tested}" + (f" of {self.to_test}" if self.to_test else ""))
        return ", ".join(parts) or None


def run_status(folder: RunFolder) -> RunStatus:
    """Return the status of the run in `folder`."""
    now, error = _state(folder)
    step, steps = _last_step(folder.events)
    over = now in (RunState.COMPLETE, RunState.DAMAGED)
    tested, to_test = (None, None) if over else _tested(folder)
    moving = (folder.spec, folder.events, folder.failure, folder.manifest, folder.checkpoints,
              folder.pieces)  # fmt: skip
    return RunStatus(
        state=now,
        step=step,
        steps=steps,
        checkpoint=None if over else newest_step(folder.checkpoints),
        tested=tested,
        to_test=to_test,
        begun=_age(folder.spec),
        changed=min((age for age in map(_age, moving) if age is not None), default=None),
        error=error,
    )


def _state(folder: RunFolder) -> tuple[RunState, str | None]:
    """Return the state, and what went wrong."""
    reached = state(folder)
    if reached is RunState.COMPLETE:
        different = changed_files(folder, sizes_only=True)
        return (RunState.DAMAGED, different[0][1]) if different else (RunState.COMPLETE, None)
    if held(folder.lock):
        return RunState.RUNNING, None
    if reached is RunState.FAILED:
        return RunState.FAILED, why_it_failed(folder)
    return reached, None


def why_it_failed(folder: RunFolder) -> str:
    """Return what a failed run recorded, or that this cannot be read."""
    try:
        return str(read_json(folder.failure)["error"]).strip() or "no reason was given"
    except UNREADABLE:
        return f"{folder.failure} cannot be read, which says why"


def _last_step(log: Path) -> tuple[int | None, int | None]:
    """Return the last step in a run's log and how many there are."""
    for event in _last_events(log):
        if event.get("event") == "step":
            step, steps = event.get("step"), event.get("num_steps")
            return step if isinstance(step, int) else None, steps if isinstance(
                steps, int
            ) else None
    return None, None


def _last_events(log: Path) -> Iterator[dict[str, Any]]:
    """Yield the last events of a log, newest first; torn lines are skipped."""
    try:
        with open_file(log) as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            lines = file.read().split(b"\n")
    except OSError:
        return
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event


def _tested(folder: RunFolder) -> tuple[int | None, int | None]:
    """Return how many texts lie in pieces, and how many there will be."""
    last: dict[str, Path] = {}
    for path in sorted(folder.pieces.glob("*-*.json")):
        protocol, _, first = path.stem.rpartition("-")
        if first.isdecimal():
            last[protocol] = path  # where it ends, its protocol has come to
    ends = [_end_of(path) for path in last.values()]
    return (sum(ends), _to_test(folder)) if ends else (None, None)


def _end_of(piece: Path) -> int:
    """Return the number of the last problem in a piece; of its first if it is damaged."""
    first = int(piece.stem.rpartition("-")[2])
    try:
        return first + len(read_sealed(piece)["content"]["generations"])
    except (DamagedError, *UNREADABLE):
        return first


def _to_test(folder: RunFolder) -> int | None:
    """Return how many texts the run will write: each problem once for each protocol."""
    try:
        entered = next(folder.pieces.glob("*-entered.json"))
        problems = read_sealed(entered)["content"]["problems"]
        return int(problems) * (1 + len(read_json(folder.spec)["identity"]["evaluation"]["also"]))
    except (StopIteration, DamagedError, *UNREADABLE):
        return None


def _age(path: Path) -> int | None:
    """Return the seconds since `path` changed; 0 if the clock went backwards since."""
    try:
        return max(0, round(time.time() - path.stat().st_mtime))
    except OSError:
        return None
