"""Every reading of the test split, one line each, written before it happens and never removed.

    {"time": "2026-01-31T12:00:00+00:00", "arm": "lora-main", "seed": 0,
     "protocol": "zero_shot/raw", "problems": 1319, "test_sha256": "...", "fingerprint": "...",
     "sha256": "<of the line without this key>"}

A run that was copied in from another store has `"adopted": true`, and the time of that.

The ledger lies beside the runs, not in them: deleting a run's folder and trying again leaves
both lines. Trials of learning rates read validation problems and add none.
"""

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from paribus.errors import DamagedError
from paribus.files import json_line, read_bytes, sha256_of_json
from paribus.store.runs import writing

LIKELIHOOD = "likelihood"
"""The protocol of a line that says gold solutions were read, not generated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRead:
    """One reading of the test split.

    Attributes:
        time: when it began, UTC, ISO 8601.
        arm: the arm that was tested.
        seed: which replicate of it.
        protocol: full name of the protocol, or `LIKELIHOOD`.
        problems: how many were read.
        test_sha256: hash of questions and answers.
        fingerprint: of the run's spec.
        adopted: whether it took place in another store, before this line was written.
    """

    __test__ = False  # not a test for pytest, whatever its name

    time: str
    arm: str
    seed: int
    protocol: str
    problems: int
    test_sha256: str
    fingerprint: str
    adopted: bool = False


def now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def append_read(path: Path, read: TestRead) -> None:
    """Append one line to the ledger and wait until it is on the disk. Raises StoreError.

    One process at a time: what another is in the middle of writing looks like a line cut short.
    """
    row = asdict(read)
    if not read.adopted:  # as lines were written before any could be
        del row["adopted"]
    line = json_line({**row, "sha256": sha256_of_json(row)}).encode()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # ends with the file, or with the process
            file.seek(0)
            content = file.read()
            tail = content.rpartition(b"\n")[2]
            if tail and _is_cut(tail):
                # It stood for a reading that never began: it would have waited for this line.
                file.truncate(len(content) - len(tail))
                tail = b""
            file.write(b"\n" * bool(tail) + line)
            file.flush()
            os.fsync(file.fileno())


def read_ledger(path: Path) -> list[TestRead]:
    """Return the ledger's lines, oldest first; none if there is no ledger.

    A last line that was cut short is skipped: its reading never began. Raises DamagedError if any
    other is not what was written, for to skip it would be to report fewer readings than there were.
    """
    try:
        *lines, tail = read_bytes(path).split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DamagedError(
            f"{path} cannot be read: {error.strerror}", "restore the file"
        ) from error
    if tail and not _is_cut(tail):
        lines.append(tail)
    return [_read_of(line, f"{path}, line {number},") for number, line in enumerate(lines, 1)]


def is_cut_short(path: Path) -> bool:
    """Return whether the last line of the ledger ends too early. Raises OSError."""
    tail = read_bytes(path).rpartition(b"\n")[2]
    return bool(tail) and _is_cut(tail)


def repeated_lines(path: Path) -> list[tuple[int, int]]:
    """Return each line that is an earlier one's copy, and that one, both from 1.

    Raises DamagedError as `read_ledger` does.
    """
    firsts: dict[TestRead, int] = {}
    found = [(at, firsts.setdefault(read, at)) for at, read in enumerate(read_ledger(path), 1)]
    return [(at, first) for at, first in found if first < at]


def _is_cut(tail: bytes) -> bool:
    """Return whether `tail`, which no newline ends, is the beginning of a line, and not more."""
    try:
        json.JSONDecoder().raw_decode(tail.decode())
    except ValueError:  # not JSON yet, or cut within a character
        return True
    except RecursionError:  # deeper than any line of ours
        pass
    return False


def _read_of(line: bytes, place: str) -> TestRead:
    """Return what `line` says. Raises DamagedError, which names its `place`."""
    try:
        row = json.loads(line)
        said = row.pop("sha256")
        if sha256_of_json(row) == said:
            return TestRead(**row)
        reason = "its content has another SHA-256 than it says"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = repr(error)
    raise DamagedError(
        f"{place} is not what was written: {reason}",
        "restore the file; without a copy of it, move it away: the report then knows of no "
        "earlier reading of the test split",
    )
