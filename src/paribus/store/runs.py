"""The run store, the waist of paribus: what is expensive to compute is written here, once.

    begin(folder, spec)  ->  events, generations, weights  ->  finish(folder, result)

`finish` writes `manifest.json` last, with the size and SHA-256 of every file. A run without a
manifest is unfinished, whatever else its folder holds. It resumes from its newest checkpoint and
its finished pieces of tests, or starts over.

One process at a time works on a run: `store/locks`.
"""

import errno
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from math import isfinite
from pathlib import Path
from sys import intern
from typing import Any, TypeVar

from paribus.errors import StoreError
from paribus.files import (
    UNREADABLE,
    json_line,
    read_bytes,
    read_json_lines,
    remove,
    write_json,
    write_text,
)
from paribus.records import Generation, Likelihood, Stop
from paribus.store.layout import RunFolder
from paribus.store.manifest import read_manifest, write_manifest
from paribus.store.results import RunResult, write_result
from paribus.untrusted import redacted

_Row = TypeVar("_Row")

_REMEDIES = {
    errno.ENOSPC: "free some disk space, or put the runs elsewhere with --runs DIR",
    errno.EDQUOT: "raise the disk quota, or put the runs elsewhere with --runs DIR",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EROFS: "put the runs on a disk that can be written, with --runs DIR",
    errno.ELOOP: "remove the link: paribus makes none in a store, and follows none",
    errno.EINVAL: "remove it, or name another place: only files are replaced",
    errno.EACCES: "give yourself write permission, or put the runs elsewhere with --runs DIR",
    errno.EPERM: "give yourself write permission, or put the runs elsewhere with --runs DIR",
}


class RunState(StrEnum):
    """What a run is doing or has come to; its files alone show four of these (see `state`)."""

    MISSING = "not run"
    RUNNING = "running"
    """Unfinished, and a process holds its lock."""
    UNFINISHED = "unfinished"
    FAILED = "failed"
    COMPLETE = "complete"
    DAMAGED = "damaged"
    """It has a manifest, and its files are not what the manifest says."""
    TESTED_LESS = "tested less"
    """Complete, and left out of a report whose other runs are tested further already."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn operating system errors while writing under `path` into a StoreError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = _REMEDIES.get(error.errno or 0, "check the disk and the path given by --runs")
        raise StoreError(f"cannot write {error.filename or path}: {reason}", remedy) from error


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """Make the error by which safetensors reports a full disk the system's again."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise OSError(errno.ENOSPC, str(error), str(path)) from error


def begin(folder: RunFolder, spec: dict[str, Any], *, events: Path | None = None) -> None:
    """Open `folder` for a run: what an unfinished run left there is removed.

    Checkpoints and pieces stay, for whoever calls to use or remove, and what paribus did not write.
    `events` is a log to resume from.

    Raises StoreError if the folder holds a complete run, or cannot be written.
    """
    if state(folder) is RunState.COMPLETE:
        raise StoreError(
            f"{folder.path} holds a complete run",
            "delete the folder to run it again: a finished run is never overwritten",
        )
    with writing(folder.path):
        folder.path.mkdir(parents=True, exist_ok=True)
        for path in folder.written():
            remove(path)
        if events is not None:
            write_text(folder.events, events.read_text("utf-8"))
        write_json(folder.spec, spec)


def append_event(folder: RunFolder, event: dict[str, Any]) -> None:
    """Append one line to the run's event log."""
    with writing(folder.events), folder.events.open("a", encoding="utf-8") as file:
        file.write(json_line(event))


def read_events(folder: RunFolder, kind: str) -> list[dict[str, Any]]:
    """Return the run's events of one kind (`step`, `trained`, `tested`), oldest first.

    A torn last line, left by a crash, is skipped.
    """
    return read_events_of(folder.events, kind)


def read_events_of(path: Path, kind: str) -> list[dict[str, Any]]:
    """Return the events of one kind in the log `path`, oldest first."""
    if not path.exists():
        return []
    events = []
    for line in read_bytes(path).split(b"\n"):
        try:
            event = json.loads(line)
        except ValueError:  # not JSON, or cut within a character
            continue
        if isinstance(event, dict) and event.get("event") == kind:
            events.append(event)
    return events


def write_generations(folder: RunFolder, protocol: str, generations: Iterable[Generation]) -> None:
    """Store what the model wrote, whole or not at all."""
    path = folder.generations(protocol)
    with writing(path):
        write_text(
            path, "".join(json_line(generation_row(generation)) for generation in generations)
        )


def read_generations(path: Path) -> list[Generation]:
    """Return the generations in `path`. Raises StoreError on a malformed line."""
    return _read_rows(path, as_generation)


def read_heldout(path: Path) -> list[Likelihood]:
    """Return the likelihoods in `path`. Raises StoreError on a malformed line."""
    return _read_rows(path, as_likelihood)


def _read_rows(path: Path, from_row: Callable[[dict[str, Any]], _Row]) -> list[_Row]:
    try:
        return [from_row(row) for row in read_json_lines(path)]
    except UNREADABLE as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreError(
            f"{path} cannot be read: {reason}", "restore the file, or delete the run's folder"
        ) from error


_OPTIONAL = ("answers", "choices", "choice_nlls", "document")
"""Of a generation: not in its row where there is nothing to say."""
_KINDS: dict[str, type] = {
    "num_tokens": int,
    "answers": list,
    "choices": list,
    "choice_nlls": list,
    "document": dict,
}


def generation_row(generation: Generation) -> dict[str, Any]:
    """Return the row of JSON that `as_generation` reads."""
    row = asdict(generation)
    lists = {name: list(row[name]) for name in _OPTIONAL[:3]}
    return {name: value for name, value in (row | lists).items() if name not in _OPTIONAL or value}


def as_generation(row: dict[str, Any]) -> Generation:
    """Return the generation in a row of JSON. Raises TypeError, ValueError or KeyError."""
    values: dict[str, Any] = {}
    for name, value in row.items():
        kind = _KINDS.get(name, str)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"{name} is {value!r}, which is not of type {kind.__name__}")
        if kind is str and name != "text":  # every run has the same problems
            value = intern(str(value))
        values[name] = tuple(value) if kind is list else value
    values["stop"] = Stop(values["stop"])
    return Generation(**values)


def as_likelihood(row: dict[str, Any]) -> Likelihood:
    """Return the likelihood in a row of JSON. Raises TypeError or ValueError."""
    likelihood = Likelihood(**row)
    if likelihood.nll is not None and not isfinite(likelihood.nll):
        raise ValueError(f"nll is {likelihood.nll}, which is not finite")
    return likelihood


def likelihood_row(likelihood: Likelihood) -> dict[str, Any]:
    """Return a likelihood as a row of JSON; a group only where there is one."""
    row = asdict(likelihood)
    return row if likelihood.group else {k: v for k, v in row.items() if k != "group"}


def write_heldout(folder: RunFolder, rows: Iterable[Likelihood]) -> None:
    """Store the likelihood of each gold solution, whole or not at all."""
    with writing(folder.heldout):
        write_text(folder.heldout, "".join(json_line(likelihood_row(row)) for row in rows))


def finish(folder: RunFolder, result: RunResult) -> None:
    """Complete the run: write `result.json`, then the manifest over every file."""
    with writing(folder.path):
        write_result(folder.result, result)
        write_manifest(folder)
        for path in (folder.checkpoints, folder.pieces):  # of no use any more
            remove(path)


def put_in_place(folder: RunFolder) -> None:
    """Let a sealed run in `folder.further` take the place of the complete run in `folder`.

    Whoever was stopped in between calls it again. Weights and trackers stay, and texts under
    protocols that are not asked for any more. Does nothing if no run is sealed there.
    """
    new = folder.further
    if not new.manifest.exists():
        return
    with writing(folder.path):
        for name in read_manifest(new)["files"]:
            if (new.path / name).exists():
                (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
                (new.path / name).replace(folder.path / name)
        write_manifest(folder)
        remove(new.manifest)  # first: without it the rest is of no use
        remove(folder.pieces)


def fail(
    folder: RunFolder,
    error: str,
    traceback: str,
    *,
    kind: str = "failed",
    predicted_peak_bytes: int | None = None,
) -> None:
    """Record why the run stopped. The next `run` resumes it, or starts it over.

    `kind` is `failed` or `out of memory`; the prediction stands beside either.
    """
    with writing(folder.failure):
        write_json(
            folder.failure,
            {
                "error": redacted(error),
                "kind": kind,
                "predicted_peak_bytes": predicted_peak_bytes,
                "traceback": redacted(traceback),
            },
        )


def state(folder: RunFolder) -> RunState:
    """Return how far the run has come, by the presence of its files."""
    if folder.manifest.exists():
        return RunState.COMPLETE
    if folder.failure.exists():
        return RunState.FAILED
    return RunState.UNFINISHED if folder.spec.exists() else RunState.MISSING
