"""What of a store can be made again or is of no use any more, and what removing it costs.

    for place in places_in(Path("runs")):
        found = place.look()                     # [Leftover(what="checkpoints", …)]
        kept = place.remove(found)               # under its locks; [] unless something changed

Never of a complete run's own files, the ledger, the description, or what paribus did not write.
Links are removed, not followed.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from paribus.files import remove
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.locks import held, locked
from paribus.store.runs import RunState, state, writing
from paribus.store.status import (
    RunStatus,
    find_stores,
    is_temporary,
    is_trial,
    run_status,
    runs_of,
    size_of,
)

_KILLED = "left by a process that was killed; nothing reads them"


@dataclass(frozen=True, slots=True)
class Leftover:
    """Files and folders that can be removed. Equal to another of the same files, as large.

    Attributes:
        what: they are, in a word or two.
        why: they can go, and what that costs.
        paths: all of them lie in one run's or experiment's folder.
        bytes: in all.
    """

    what: str = field(compare=False)
    why: str = field(compare=False)
    paths: tuple[Path, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that may hold leftovers.

    Attributes:
        path: the folder.
        locks: whoever holds one of them is at work there.
        look: returns what can be removed there now.
    """

    path: Path
    locks: tuple[Path, ...]
    look: Callable[[], list[Leftover]]

    def in_use(self) -> bool:
        """Return whether a process is at work there."""
        return any(held(lock, shared=True) for lock in self.locks)

    def remove(self, shown: Sequence[Leftover]) -> list[Leftover]:
        """Remove what was `shown`; return what is not as it was shown any more, and stays.

        Raises StoreError if a process is at work there, or something cannot be removed.
        """
        with ExitStack() as stack:
            for lock in self.locks:
                stack.enter_context(locked(lock))
            now = self.look()
            for leftover in shown:
                if leftover in now:
                    _remove(leftover)
        return [leftover for leftover in shown if leftover not in now]


def places_in(path: Path) -> list[Place]:
    """Return every place in a store, an experiment, an arm or a run. Raises StoreError."""
    experiments, runs = find_stores(path)
    places = [_place_of(run, _experiment_of(run)) for run in runs]
    for folder in experiments:
        places += [_place_of(run, folder) for run in runs_of(folder)]
        places.append(Place(folder.path, (folder.lock,), partial(_in_experiment, folder)))
    return places


def cache_place(models: Path) -> Place:
    """Return the folder of unpacked models as a place. No lock guards it: a run may need one."""

    def look() -> list[Leftover]:
        paths = sorted(models.iterdir()) if models.is_dir() else []
        why = "unpacked again when it is needed next, in about a minute"
        return [_leftover(path.name, why, [path]) for path in paths if not _being_made(path)]

    return Place(models, (), look)


def encodings_place(folder: Path) -> Place:
    """Return the folder of encoded texts as a place. A run that needs some encodes them itself."""

    def look() -> list[Leftover]:
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        why = "encoded again when they are needed next, in seconds"
        return [_leftover("encoded texts", why, paths)] if paths else []

    return Place(folder, (), look)


def _being_made(model: Path) -> bool:
    """Return whether a process may be unpacking into this folder."""
    return model.name.startswith(".building-") and time.time() - model.stat().st_mtime < 3600


def _experiment_of(run: RunFolder) -> ExperimentFolder | None:
    """Return the experiment of a run that was named alone."""
    path = run.path.absolute()
    folder = ExperimentFolder(path.parents[2] if is_trial(path) else path.parents[1])
    return folder if folder.description.is_file() or folder.ledger.is_file() else None


def _place_of(run: RunFolder, folder: ExperimentFolder | None) -> Place:
    locks = (run.lock,) if folder is None else (folder.lock, run.lock)
    return Place(run.path, locks, partial(_in_run, run))


def _in_experiment(folder: ExperimentFolder) -> list[Leftover]:
    """Return what killed processes left in the experiment's folder."""
    own = [folder.description, folder.ledger, folder.tuning, folder.report, folder.findings]
    names = {path.name for path in (*own, folder.report_manifest)}
    places = [place for place in (folder.path, folder.report.parent) if place.is_dir()]
    paths = [path for place in places for path in sorted(place.iterdir())]
    left = [path for path in paths if is_temporary(path) and path.name[1:-9] in names]
    left += sorted(folder.path.glob(folder.arriving().name))
    return [_leftover("half-written files", _KILLED, left)] if left else []


def _in_run(run: RunFolder) -> list[Leftover]:
    """Return what can be removed of a run, the worthless first."""
    if state(run) is RunState.COMPLETE:
        return _of_complete(run)
    if run.result.exists():
        return []  # it lacks its manifest alone: whether it is complete is for `verify` to say
    now = run_status(run)
    saved, tested = _inside(run.checkpoints), _inside(run.pieces)
    aside = [p for p in saved + tested if p.name.startswith(".damaged-") or p.suffix == ".damaged"]
    left = [p for p in saved + tested if p.name.startswith(".new-") or is_temporary(p)]
    worthless = {*aside, *left}
    links = [path for path in (run.checkpoints, run.pieces) if path.is_symlink()]
    rest = [*run.written(), *links]
    kinds = [
        ("put aside", "failed its check; nothing reads it", aside),
        ("half-written files", _KILLED, left),
        ("checkpoints", _cost_of_checkpoints(now), [p for p in saved if p not in worthless]),
        ("tested problems", _cost_of_pieces(now), [p for p in tested if p not in worthless]),
        (f"{state(run)} run", _reason(now), rest),
    ]
    return [_leftover(what, why, paths) for what, why, paths in kinds if paths]


def _of_complete(run: RunFolder) -> list[Leftover]:
    if run.further.manifest.exists():
        return []  # it is the run's own content by now, on its way into place
    rests = [path for path in (run.checkpoints, run.pieces) if path.exists() or path.is_symlink()]
    what, why = "leftovers", "the run is complete; nothing reads them"
    if run.further.path.is_dir():
        what, why = "further tests", "the run is complete without them; they would be made again"
    return [_leftover(what, why, rests)] if rests else []


def _inside(folder: Path) -> list[Path]:
    """Return the content of a folder; empty if it is a link or missing."""
    return [] if folder.is_symlink() or not folder.is_dir() else sorted(folder.iterdir())


def _cost_of_checkpoints(now: RunStatus) -> str:
    if now.checkpoint is None:
        return "nothing resumes from them"
    of = f" of {now.steps}" if now.steps else ""
    return f"it resumes from step {now.checkpoint}{of}: this work would be lost"


def _cost_of_pieces(now: RunStatus) -> str:
    if not now.tested:
        return "nothing is tested yet"
    of = f" of {now.to_test}" if now.to_test else ""
    return f"{now.tested}{of} texts are written: they would be written again"


def _reason(now: RunStatus) -> str:
    if now.state is RunState.FAILED and now.error:
        return f"{now.error.splitlines()[0]}; its log would be lost"
    return "the run writes it again"


def _leftover(what: str, why: str, paths: Sequence[Path]) -> Leftover:
    return Leftover(what, why, tuple(paths), sum(size_of(path) for path in paths))


def _remove(leftover: Leftover) -> None:
    for path in leftover.paths:
        with writing(path):
            remove(path)
        if path.parent.name in ("checkpoints", "pieces"):
            with suppress(OSError):  # something else lies there still
                path.parent.rmdir()
