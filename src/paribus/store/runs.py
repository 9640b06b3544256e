"""The run store: the waist of paribus. What costs money is written here, once.

    begin(folder, spec)  ->  events, generations, weights  ->  finish(folder, result)

`finish` writes `manifest.json` last, with the size and SHA-256 of every file; a run without a
manifest is unfinished, whatever else lies in its folder, and starts anew.
"""

import errno
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Any

from paribus.errors import StoreError
from paribus.files import (
    json_line,
    read_json,
    read_json_lines,
    sha256_of_file,
    write_json,
    write_text,
)
from paribus.records import Generation, Stop
from paribus.store.layout import RunFolder

FORMAT = 2
"""Version of the files in a run folder. 2: generations by full protocol name, heldout.jsonl."""

_REMEDIES = {
    errno.ENOSPC: "free some disk space, or put the runs elsewhere with --runs DIR",
    errno.EDQUOT: "raise the disk quota, or put the runs elsewhere with --runs DIR",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EROFS: "put the runs on a disk that can be written, with --runs DIR",
    errno.EACCES: "give yourself write permission, or put the runs elsewhere with --runs DIR",
    errno.EPERM: "give yourself write permission, or put the runs elsewhere with --runs DIR",
}


class RunState(StrEnum):
    """How far a run has come."""

    MISSING = "not run"
    UNFINISHED = "unfinished"
    FAILED = "failed"
    COMPLETE = "complete"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn operating system errors while writing under `path` into a StoreError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = _REMEDIES.get(error.errno or 0, "check the disk and the path given by --runs")
        raise StoreError(f"cannot write {error.filename or path}: {reason}", remedy) from error


def begin(folder: RunFolder, spec: dict[str, Any]) -> None:
    """Open `folder` for a new run: what an unfinished run left there is removed.

    Raises StoreError if the folder holds a complete run, or cannot be written.
    """
    if state(folder) is RunState.COMPLETE:
        raise StoreError(
            f"{folder.path} holds a complete run",
            "a finished run is never overwritten; delete the folder to run it again",
        )
    with writing(folder.path):
        if folder.path.exists():
            shutil.rmtree(folder.path)
        folder.path.mkdir(parents=True)
        write_json(folder.spec, spec)


def append_event(folder: RunFolder, event: dict[str, Any]) -> None:
    """Append one line to the run's event log."""
    with writing(folder.events), folder.events.open("a", encoding="utf-8") as file:
        file.write(json_line(event))


def read_events(folder: RunFolder, kind: str) -> list[dict[str, Any]]:
    """Return the run's events of one kind (`step`, `stage`), oldest first.

    A torn last line, left by a crash, is skipped.
    """
    if not folder.events.exists():
        return []
    events = []
    for line in folder.events.read_bytes().split(b"\n"):
        try:
            event = json.loads(line)
        except ValueError:  # not JSON, or cut within a character
            continue
        if event.get("event") == kind:
            events.append(event)
    return events


def write_generations(folder: RunFolder, protocol: str, generations: Iterable[Generation]) -> None:
    """Store what the model wrote, whole or not at all."""
    path = folder.generations(protocol)
    with writing(path):
        write_text(path, "".join(json_line(asdict(each)) for each in generations))


def read_generations(path: Path) -> list[Generation]:
    """Return the generations in `path`. Raises StoreError on a malformed line."""
    try:
        rows = list(read_json_lines(path))
        return [Generation(**{**row, "stop": Stop(row["stop"])}) for row in rows]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{path} cannot be read: {error}", "restore the file, or delete the run's folder"
        ) from error


def write_heldout(folder: RunFolder, rows: Iterable[dict[str, Any]]) -> None:
    """Store the likelihood of each gold solution, whole or not at all."""
    with writing(folder.heldout):
        write_text(folder.heldout, "".join(map(json_line, rows)))


def finish(folder: RunFolder, result: dict[str, Any]) -> None:
    """Complete the run: write `result.json`, then the manifest over every file."""
    with writing(folder.path):
        write_json(folder.result, result)
        files = sorted(path for path in folder.path.rglob("*") if path.is_file())
        write_json(
            folder.manifest,
            {
                "format": FORMAT,
                "fingerprint": read_json(folder.spec)["fingerprint"],
                "files": {
                    path.relative_to(folder.path).as_posix(): {
                        "bytes": path.stat().st_size,
                        "sha256": sha256_of_file(path),
                    }
                    for path in files
                },
            },
        )


def fail(
    folder: RunFolder,
    error: str,
    traceback: str,
    *,
    kind: str = "failed",
    predicted_peak_bytes: int | None = None,
) -> None:
    """Record why the run stopped. It stays unfinished: the next `run` starts it anew.

    `kind` is `failed` or `out of memory`; the prediction stands beside either.
    """
    with writing(folder.failure):
        write_json(
            folder.failure,
            {
                "error": error,
                "kind": kind,
                "predicted_peak_bytes": predicted_peak_bytes,
                "traceback": traceback,
            },
        )


def state(folder: RunFolder) -> RunState:
    """Return how far the run has come, by the presence of its files."""
    if folder.manifest.exists():
        return RunState.COMPLETE
    if folder.failure.exists():
        return RunState.FAILED
    return RunState.UNFINISHED if folder.spec.exists() else RunState.MISSING


def check(folder: RunFolder) -> None:
    """Raise StoreError unless every file in the manifest is there with its size.

    Sizes catch lost and cut files at no cost; hashes are for a full verification.
    """
    try:
        files = read_json(folder.manifest)["files"]
        sizes = {name: int(recorded["bytes"]) for name, recorded in files.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(
            f"{folder.manifest} is damaged: {error!r}", f"delete {folder.path} to run it again"
        ) from error
    for name, expected in sizes.items():
        path = folder.path / name
        found = path.stat().st_size if path.is_file() else None
        if found != expected:
            what = "is missing" if found is None else f"has {found} bytes"
            raise StoreError(
                f"{path} {what}; the manifest says {expected} bytes",
                f"restore the file, or delete {folder.path} to run it again",
            )
