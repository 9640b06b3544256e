"""Every reading of the test split, one line each, written before it happens and never removed.

    {"time": "2026-01-31T12:00:00+00:00", "arm": "lora-main", "seed": 0,
     "protocol": "zero_shot/raw", "problems": 1319, "test_sha256": "...", "fingerprint": "..."}

The ledger lies beside the runs, not in them: deleting a run's folder and trying again leaves
both lines. Trials of learning rates read validation problems and add none.
"""

import json
import os
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from paribus.files import json_line
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
    """

    __test__ = False  # not a test for pytest, whatever its name

    time: str
    arm: str
    seed: int
    protocol: str
    problems: int
    test_sha256: str
    fingerprint: str


def now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def append_read(path: Path, read: TestRead) -> None:
    """Append one line to the ledger and wait until it is on the disk. Raises StoreError."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            # A line that a crash cut short must not swallow this one.
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            torn = file.read(1) not in (b"", b"\n")
            file.write(b"\n" * torn + json_line(asdict(read)).encode())
            file.flush()
            os.fsync(file.fileno())


def read_ledger(path: Path) -> list[TestRead]:
    """Return the ledger's lines, oldest first; none if there is no ledger. Skips torn lines."""
    if not path.exists():
        return []
    names = {field.name for field in fields(TestRead)}
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
        except ValueError:  # not JSON, or cut within a character
            continue
        if isinstance(row, dict) and row.keys() == names:
            found.append(TestRead(**row))
    return found
