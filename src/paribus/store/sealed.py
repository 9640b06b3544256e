"""JSON that knows whether it is whole: a value beside the SHA-256 of its canonical form.

    write_sealed(path, {"step": 40})        # {"step": 40, "sha256": "5f1c…"}
    read_sealed(path)                       # {"step": 40}, or DamagedError

What goes into a result is sealed or listed, with its hash, in a manifest that is.
"""

from pathlib import Path
from typing import Any

from paribus.errors import DamagedError
from paribus.files import UNREADABLE, read_json, sha256_of_json, write_json


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """Write `value`, atomically, with its own hash. Raises OSError."""
    write_json(path, {**value, "sha256": sha256_of_json(value)})


def read_sealed(path: Path) -> dict[str, Any]:
    """Return the value in `path`. Raises DamagedError unless it is just what was written."""
    try:
        value = read_json(path)
        said = value.pop("sha256")
        found = sha256_of_json(value)
    except UNREADABLE as error:
        raise DamagedError(f"{path} cannot be read: {error!r}", "restore the file") from error
    if found != said:
        raise DamagedError(
            f"{path} is not what was written: its SHA-256 is {found}, it says {said}",
            "restore the file",
        )
    return dict(value)
