"""Files written whole or not at all, JSON lines, and content hashes.

Half a surrogate pair, which JSON can spell and UTF-8 cannot, is written as `\\ud800`: in JSON that
is its spelling, elsewhere it shows what is there. Files get the permissions that the umask leaves.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What is raised where a JSON file is missing, is not JSON, or does not have the expected shape."""
MAX_PATH_BYTES = 4095
MAX_NAME_BYTES = 255
"""Of a whole path, and between two slashes of it: what Linux and macOS take."""


def path_fault(path: str) -> str | None:
    """Return why nothing can be called `path` on any system; None if something may be."""
    try:
        data = os.fsencode(path)
    except UnicodeEncodeError:
        return "is not Unicode"
    if b"\0" in data:
        return "holds a NUL character"
    longest = max(map(len, data.split(b"/")))
    if len(data) > MAX_PATH_BYTES or longest > MAX_NAME_BYTES:
        return (
            f"is {len(data):,} bytes long, {longest:,} of them between two slashes; a path has "
            f"at most {MAX_PATH_BYTES:,} and {MAX_NAME_BYTES}"
        )
    return None


def is_special(path: str) -> bool:
    """Return whether there is something at `path`, links followed, but no file and no folder."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):  # nothing is there, or nothing can be called so
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` atomically, as `write_bytes` does. Raises OSError."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` atomically: readers see the old file or the new one.

    Raises OSError (no room, no permission, a link or a device there); then what is there stays.
    """
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by tempfile: its files are for their owner alone, whatever the umask.
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove(path: Path) -> None:
    """Remove a file, or a folder and all in it, if it is there. Links are removed, not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until the file or folder `path` is on the disk: a folder's names, a file's bytes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def on_disk(path: Path) -> dict[str, Any]:
    """Wait until the file `path` is on the disk; return its size and hash, for a manifest."""
    sync(path)
    return {"bytes": path.stat().st_size, "sha256": sha256_of_file(path)}


def open_file(path: Path) -> BufferedReader:
    """Open the file `path` for reading. Raises OSError, also if it is a pipe or a device.

    A store may come from someone else, and whoever opens a pipe waits for what may never come.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path) -> bytes:
    """Return the content of the file `path`. Raises OSError."""
    with open_file(path) as file:
        return file.read()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinities raise ValueError."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


class KeyTwiceError(ValueError):
    """An object in JSON that has one key twice."""


def parse_json(text: str) -> Any:
    """Return the value in `text`. Raises ValueError; KeyTwiceError if an object has one key twice.

    Of two values under one key readers take the last, the first or both: nobody can say which.
    """
    # A decoder of its own for each line takes as long as reading it.
    return json.loads(text) if text.startswith("\ufeff") else _DECODER.decode(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise KeyTwiceError(f"the key {twice[:60]!a} comes twice in one object")
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def read_json(path: Path) -> Any:
    """Return the value in the JSON file `path`."""
    return parse_json(read_bytes(path).decode())


def json_line(value: Any) -> str:
    """Return `value` as one line of JSON. NaN and infinities raise ValueError."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"
    return line.encode(errors="backslashreplace").decode()


def read_json_lines(path: Path) -> Iterator[Any]:
    """Yield the value on each non-blank line of `path`."""
    with open_file(path) as file:
        for line in file:
            if line.strip():
                yield parse_json(line.decode())


def sha256_of_file(path: Path) -> str:
    """Return the hex SHA-256 of the file's bytes."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_json(value: Any) -> str:
    """Return the hex SHA-256 of `value` in canonical JSON: sorted keys, no blanks."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()
