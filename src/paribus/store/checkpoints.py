"""Checkpoints of a run, and the pieces of its tests: what an interrupted run resumes from.

    runs/<experiment>/<arm>/seed-<k>/checkpoints/
      .new-000060-8c1d…/           being written or removed; garbage once its process has ended
      step-000020-1b2c3d4e/        …-<first digits of the hash of the run's settings>
      step-000040-1b2c3d4e/
        weights.safetensors  optimizer.safetensors  random.safetensors
        state.json  trainer_state.json
        events.jsonl               the run's log up to here
        manifest.json              last: the run's settings, sizes and hashes
      best-000020-1b2c3d4e/        weights alone: those to test, so far (`evaluation.checkpoint`)
      .damaged-step-000030-…/      failed verification: kept, never read

    1 write into a new folder on the same disk    4 rename it, never over another; sync the parent
    2 sync every file                             5 verify what is on the disk now
    3 manifest, sync it and the folder            6 only then remove all but the newest two

A process that is killed at any point leaves the newest two checkpoints intact.

    pieces/zero_shot-raw-000000.json     generations for the first problems under one protocol
    pieces/likelihood.json               likelihoods of the gold solutions

A piece is sealed and bound to the run's settings. It holds the problems that are decoded in one go
(`running/testing.PIECE` batches), so a text has the same neighbours whether or not the run was
interrupted: in bf16 they may change a rounding.
"""

import shutil
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paribus.errors import DamagedError
from paribus.files import UNREADABLE, on_disk, sha256_of_file, sha256_of_json, sync
from paribus.store.layout import RunFolder
from paribus.store.manifest import read_sealed, write_sealed
from paribus.store.runs import writing


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """The pieces of one run.

    Attributes:
        folder: the run's.
        run: what the run is, as in `spec.json`.
        on_damaged: is called with a message when a damaged piece is put aside.
    """

    folder: RunFolder
    run: Mapping[str, Any]
    on_damaged: Callable[[str], None]

    def read(self, name: str) -> dict[str, Any] | None:
        """Return the content of a piece; None if it is not there or is not to be trusted."""
        path = self.folder.pieces / f"{name}.json"
        if not path.exists():
            return None
        try:
            piece = read_sealed(path)
            content: dict[str, Any] = piece["content"]
            return content if piece["run"] == sha256_of_json(self.run) else None
        except (DamagedError, KeyError) as error:
            aside = path.with_suffix(".damaged")
            with writing(path):
                path.replace(aside)
            self.on_damaged(f"{error}; kept aside as {aside.name}, its problems are tested again")
            return None

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Keep a piece. Raises StoreError."""
        path = self.folder.pieces / f"{name}.json"
        with writing(path):
            write_sealed(path, {"run": sha256_of_json(self.run), "content": content})


CHECKPOINT_FORMAT = 1
"""Version of a checkpoint's files."""

KEPT = 2
"""Verified checkpoints that stay."""

STEP, BEST = "step-", "best-"
"""How the folders of checkpoints begin: to resume from, or to be tested once training is over."""
_NEW, _DAMAGED = ".new-", ".damaged-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint whose every file was verified.

    Attributes:
        path: its folder.
        step: optimizer steps that are done.
        run: what the run is: spec, inputs and environment, as in `spec.json`.
        forked_from: where the run came from if it began at a checkpoint of another spec.
        trains: whether training can resume from it; the last one of a training has weights alone.
    """

    path: Path
    step: int
    run: dict[str, Any]
    forked_from: dict[str, Any] | None
    trains: bool


def make_room(folder: Path, step: int) -> Path:
    """Return a new, empty folder for a checkpoint under `folder`. Raises StoreError."""
    temporary = folder / f"{_NEW}{step:06d}-{uuid.uuid4().hex[:12]}"
    with writing(temporary):
        temporary.mkdir(parents=True)
    return temporary


def keep_best(temporary: Path, step: int, run: Mapping[str, Any]) -> Checkpoint:
    """Complete the weights that lie in `temporary` as the best so far, in place of those before.

    Raises StoreError.
    """
    best = _place(temporary, step, run, None, kind=BEST)
    for old in best.path.parent.glob(f"{BEST}*"):
        if old != best.path:
            _discard(old)
    return best


def find_best(folder: Path, step: int, run: Mapping[str, Any]) -> Checkpoint | None:
    """Return the weights of `run` that were kept at `step`; None if there are none.

    Raises DamagedError if they are not as they were written.
    """
    path = _final(folder, step, run, BEST)
    return verified(path) if path.exists() else None


def publish(
    temporary: Path,
    step: int,
    run: Mapping[str, Any],
    forked_from: Mapping[str, Any] | None,
) -> Checkpoint:
    """Complete the checkpoint whose files lie in `temporary`, and remove what it replaces.

    Raises StoreError if it cannot be written or is not what was written; the ones before stay.
    """
    checkpoint = _place(temporary, step, run, forked_from)
    for old in _all(checkpoint.path.parent)[KEPT:]:
        _discard(old)
    return checkpoint


def _place(
    temporary: Path,
    step: int,
    run: Mapping[str, Any],
    forked_from: Mapping[str, Any] | None,
    kind: str = STEP,
) -> Checkpoint:
    """Do steps 2 to 5. Raises StoreError."""
    with writing(temporary):
        files = {path.name: on_disk(path) for path in sorted(temporary.iterdir())}
        manifest = {
            "format": CHECKPOINT_FORMAT,
            "step": step,
            "run": dict(run),
            "forked_from": None if forked_from is None else dict(forked_from),
            "files": files,
        }
        write_sealed(temporary / "manifest.json", manifest)
        sync(temporary)
        final = _final(temporary.parent, step, run, kind)
        temporary.rename(final)
        sync(final.parent)
    return verified(final)


def verified(path: Path) -> Checkpoint:
    """Return the checkpoint in `path`. Raises DamagedError if a file is not what was written."""
    checkpoint, files = _manifest(path)
    there = {file.name for file in path.iterdir()} - {"manifest.json"}
    if there != set(files):
        odd = sorted(there ^ set(files))
        raise DamagedError(
            f"{path} lacks files or has extra ones: {', '.join(odd)}", "restore the folder"
        )
    for name, entry in files.items():
        file = path / name
        if not file.is_file() or file.is_symlink() or sha256_of_file(file) != entry["sha256"]:
            raise DamagedError(f"{file} is not what was written", "restore the file")
    return checkpoint


def _manifest(path: Path) -> tuple[Checkpoint, dict[str, Any]]:
    """Return what the manifest in `path` says, and of which files. Raises DamagedError."""
    manifest = read_sealed(path / "manifest.json")
    if manifest.get("format") != CHECKPOINT_FORMAT:
        raise DamagedError(
            f"{path} has format {manifest.get('format')}, this paribus reads {CHECKPOINT_FORMAT}",
            "resume with the version of paribus that wrote it",
        )
    try:
        run = dict(manifest["run"])
        for part in ("identity", "inputs", "environment"):
            dict(run[part])
        checkpoint = Checkpoint(
            path=path,
            step=int(manifest["step"]),
            run=run,
            forked_from=manifest["forked_from"],
            trains="trainer_state.json" in manifest["files"],
        )
        return checkpoint, dict(manifest["files"])
    except UNREADABLE as error:
        raise DamagedError(
            f"{path} has an invalid manifest: {error!r}", "restore the file"
        ) from error


def newest(
    folder: Path, on_damaged: Callable[[str], None], *, trains: bool = False
) -> Checkpoint | None:
    """Return the newest checkpoint under `folder` that can be trusted; None if there is none.

    With `trains` it is the newest that training can resume from. What cannot be trusted is put
    aside, and `on_damaged` is called. What a dead process left unfinished is removed: the caller
    holds the run's lock. Raises StoreError if the folder cannot be written.
    """
    for path in folder.glob(f"{_NEW}*"):
        with writing(path):
            shutil.rmtree(path)
    for path in _all(folder):
        try:
            checkpoint = verified(path)
        except DamagedError as error:
            aside = path.with_name(f"{_DAMAGED}{path.name}-{uuid.uuid4().hex[:6]}")
            with writing(path):
                path.rename(aside)
            on_damaged(f"{error.message}; kept aside as {aside.name}, the one before is tried")
        else:
            if checkpoint.trains or not trains:
                return checkpoint
    return None


def glance(folder: Path, *, trains: bool = False) -> Checkpoint | None:
    """Return what `newest` will, if all is well: only manifests are read, nothing is put aside."""
    for path in _all(folder):
        with suppress(DamagedError):
            checkpoint, _ = _manifest(path)
            if checkpoint.trains or not trains:
                return checkpoint
    return None


def newest_step(folder: Path) -> int | None:
    """Return the step of the newest checkpoint by its name, nothing verified; None without one."""
    return max((_step(path) for path in _all(folder)), default=None)


def relabel(old: Checkpoint, run: Mapping[str, Any], forked_from: Mapping[str, Any]) -> Checkpoint:
    """Return a copy of `old` that belongs to `run`, in place of it and all others.

    Raises StoreError.
    """
    folder, final = old.path.parent, _final(old.path.parent, old.step, run)
    checkpoint = old
    if old.path != final:
        if final.exists():
            _discard(final)  # of a fork that was killed before it was done
        temporary = make_room(folder, old.step)
        with writing(temporary):
            for path in old.path.iterdir():
                if path.name != "manifest.json":
                    shutil.copyfile(path, temporary / path.name)
        checkpoint = _place(temporary, old.step, run, forked_from)
    for path in _all(folder):
        if path != checkpoint.path:
            _discard(path)
    return checkpoint


def _discard(path: Path) -> None:
    """Remove a checkpoint: first its name, so that no half of one is ever found under it."""
    rubbish = path.with_name(f"{_NEW}{path.name}-{uuid.uuid4().hex[:12]}")
    with writing(path):
        path.rename(rubbish)
        shutil.rmtree(rubbish)


def _final(folder: Path, step: int, run: Mapping[str, Any], kind: str = STEP) -> Path:
    return folder / f"{kind}{step:06d}-{sha256_of_json(run)[:8]}"


def _all(folder: Path) -> list[Path]:
    """Return the published checkpoints, newest first. The step counts, not the clock."""
    paths = [path for path in folder.glob(f"{STEP}*") if path.is_dir() and not path.is_symlink()]
    return sorted(paths, key=lambda path: (_step(path), path.name), reverse=True)


def _step(path: Path) -> int:
    """Return the step in a checkpoint's name; -1 if there is none."""
    number = path.name.split("-")[1]
    return int(number) if number.isdecimal() else -1
