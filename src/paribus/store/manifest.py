"""The manifest of a complete run, and sealed JSON: files that prove that they are whole.

    write_manifest(folder)              # last: its presence means that the run is complete
    check(folder)                       # before a complete run is kept or reported
    changed_files(folder)               # files that are not as they were written

    write_sealed(path, {"step": 40})    # {"step": 40, "sha256": "5f1c…"}
    read_sealed(path)                   # {"step": 40}, or DamagedError

A manifest lists every file with its size and SHA-256 and is sealed itself: it holds the SHA-256 of
its own canonical JSON. Whatever goes into a result is sealed, or listed in a sealed manifest.
"""

from pathlib import Path
from typing import Any

from paribus.errors import DamagedError, StoreError
from paribus.files import (
    UNREADABLE,
    on_disk,
    read_json,
    sha256_of_file,
    sha256_of_json,
    sync,
    write_json,
)
from paribus.store.layout import RunFolder


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """Write `value`, atomically, with its own hash. Raises OSError."""
    write_json(path, {**value, "sha256": sha256_of_json(value)})


def read_sealed(path: Path) -> dict[str, Any]:
    """Return the value in `path`. Raises DamagedError unless it is just what was written."""
    try:
        value = read_json(path)
        stated = value.pop("sha256")
        checksum = sha256_of_json(value)
    except UNREADABLE as error:
        raise DamagedError(f"{path} cannot be read: {error!r}", "restore the file") from error
    if checksum != stated:
        raise DamagedError(
            f"{path} is not what was written: its SHA-256 is {checksum}, it says {stated}",
            "restore the file",
        )
    return dict(value)


MANIFEST_FORMAT = 3
"""Version of the files in a run folder. 3: the manifest is sealed, inputs know their tokens."""


def write_manifest(folder: RunFolder) -> None:
    """List what paribus wrote in `folder`, all of it on the disk before. Raises OSError."""
    ours = folder.written()
    files = {
        name: on_disk(path)
        for name, path in _files_of(folder).items()
        if folder.path / Path(name).parts[0] in ours
    }
    for place in {path.parent for path in map(folder.path.joinpath, files)}:
        sync(place)
    fingerprint = read_json(folder.spec)["fingerprint"]
    write_sealed(
        folder.manifest, {"format": MANIFEST_FORMAT, "fingerprint": fingerprint, "files": files}
    )


def read_manifest(folder: RunFolder) -> dict[str, Any]:
    """Return the manifest. Raises DamagedError, or StoreError for another version's."""
    try:
        manifest = read_sealed(folder.manifest)
    except DamagedError as error:
        # Whoever wrote it may have known no seal.
        raise DamagedError(
            f"{folder.manifest} is damaged, or of an earlier paribus: it "
            f"{error.message.removeprefix(f'{folder.manifest} ')}",
            f"delete {folder.path} to run it again",
        ) from error
    if manifest.get("format") != MANIFEST_FORMAT:
        raise StoreError(
            f"{folder.manifest} has format {manifest.get('format')}, this paribus reads "
            f"{MANIFEST_FORMAT}",
            f"use the paribus that wrote it, or delete {folder.path} to run it again",
        )
    return manifest


def check(folder: RunFolder, *, weights: bool = True, hashing: bool = False) -> None:
    """Raise StoreError unless every file in the manifest is as it was written.

    Of weights, which no figure is read from, sizes are compared, unless `hashing`; without
    `weights` they may be gone. `paribus verify` hashes them too.
    """
    if folder.further.manifest.exists():
        raise DamagedError(
            f"{folder.path} was stopped while its further tests were put in place",
            "give the same `paribus run` again: it completes that",
        )
    for name, entry in read_manifest(folder)["files"].items():
        heavy = (folder.path / name).is_relative_to(folder.weights)
        difference = (
            None
            if heavy and not weights
            else _difference(folder, name, entry, sizes_only=heavy and not hashing)
        )
        if difference:
            raise DamagedError(
                difference, f"restore the file, or delete {folder.path} to run it again"
            )


def changed_files(folder: RunFolder, *, sizes_only: bool = False) -> list[tuple[Path, str]]:
    """Return each file that is not as it was written, is missing or was added, and how.

    With `sizes_only` no file but the manifest is read, and what was added is left out: nothing that
    counts rests on it.
    """
    try:
        manifest = read_manifest(folder)
    except StoreError as error:
        return [(folder.manifest, error.message)]
    files = manifest["files"]
    differences = [
        (folder.path / name, _difference(folder, name, entry, sizes_only=sizes_only))
        for name, entry in files.items()
    ]
    added = [] if sizes_only else sorted(_files_of(folder).keys() - files)
    return [(path, line) for path, line in differences if line] + [
        (folder.path / name, f"{folder.path / name} is not in the manifest") for name in added
    ]


def _files_of(folder: RunFolder) -> dict[str, Path]:
    """Return the files that belong to the run, by their path in its folder."""
    passing = (folder.checkpoints, folder.pieces)
    files = sorted(path for path in folder.path.rglob("*") if path.is_file())
    return {
        path.relative_to(folder.path).as_posix(): path
        for path in files
        if path not in (folder.lock, folder.manifest)
        and not any(path.is_relative_to(place) for place in passing)
    }


def _difference(folder: RunFolder, name: str, entry: Any, *, sizes_only: bool) -> str | None:
    """Return what is wrong with one file, or None."""
    path = folder.path / name
    # A manifest of others may name anything; what it names must lie here and be a file.
    if path.is_symlink() or not path.resolve().is_relative_to(folder.path.resolve()):
        return f"{path} leads out of the run's folder"
    size = path.stat().st_size if path.is_file() else None
    if size != entry["bytes"]:
        what = "is missing" if size is None else f"has {size} bytes"
        return f"{path} {what}; the manifest says {entry['bytes']} bytes"
    if not sizes_only and sha256_of_file(path) != entry["sha256"]:
        return f"{path} has other content than the manifest says, in as many bytes"
    return None
