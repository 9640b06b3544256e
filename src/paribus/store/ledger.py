"""The ledger: every reading of the test split and every look at the verdicts, a line each, kept.

    {"time": "2026-01-31T12:00:00+00:00", "arm": "lora-main", "seed": 0,
     "protocol": "zero_shot/raw", "problems": 1319, "test_sha256": "...", "fingerprint": "...",
     "sha256": "<of the line without this key>"}
    {"time": "2026-01-31T13:00:00+00:00", "look": 1, "runs": {"lora-main": 3}, "problems": 1319,
     "sha256": "..."}

A reading is recorded before it happens. A run that was copied in from another store has `"adopted":
true`, and the time of its adoption. A look is recorded before it is shown, if it has more runs or
problems than any look before; a declared one (`looks`) also holds `planned`, `decided` and
`goes_on`.

The ledger lies beside the runs, not in them: deleting a run's folder and running again leaves both
lines. Trials of learning rates read validation problems and add none. A lost ledger, or lost lines,
are found by comparison with the runs' own files:

    unrecorded_readings(ExperimentFolder(Path("runs/gsm8k")))
    # [Reading(arm="full-main", seed=0, protocol="zero_shot/raw")]
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import BufferedRandom
from operator import itemgetter
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from paribus.config.spec import differences, further_within, overrides, testing
from paribus.errors import DamagedError, StoreError
from paribus.files import UNREADABLE, json_line, read_bytes, read_json, sha256_of_json, write_bytes
from paribus.records import Settled
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.manifest import read_sealed
from paribus.store.results import read_result
from paribus.store.runs import RunState, state, writing


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRead:
    """One reading of the test split.

    Attributes:
        time: when it began, UTC, ISO 8601.
        arm: the arm that was tested.
        seed: which replicate of it.
        protocol: full name of the protocol, or `LIKELIHOOD`; of a further task behind its name.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What a declared look found of one contrast.

    Attributes:
        a, b: its arms.
        difference: share solved by a minus share solved by b; None if they cannot be compared.
        p_value: over all looks so far; None without a test.
        p_holm: corrected for the family.
        chance: of being shown by the last look; None where it was not asked.
        state: what follows.
    """

    a: str
    b: str
    difference: float | None
    p_value: float | None
    p_holm: float | None
    chance: float | None
    state: Settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Verdicts were shown of more data than at any look before.

    Attributes:
        time: UTC, ISO 8601.
        look: its number, from 1.
        runs: arm -> its complete runs.
        problems: that they were tested on, at most.
        planned: numbers of seeds at which looks are declared; () if none are.
        decided: of a declared look, a row for each contrast.
        goes_on: of a declared look, the arms that get more seeds.
    """

    time: str
    look: int
    runs: dict[str, int]
    problems: int
    planned: tuple[int, ...] = ()
    decided: tuple[Decided, ...] = ()
    goes_on: tuple[str, ...] = ()

    @property
    def seeds(self) -> int:
        """The most complete runs that any arm had."""
        return max(self.runs.values(), default=0)

    def row(self) -> dict[str, Any]:
        """Return the line's content, of which an undeclared look holds less."""
        row = asdict(self)
        return row if self.planned else {key: row[key] for key in _UNDECLARED}


_UNDECLARED = ("time", "look", "runs", "problems")
_LOOK = TypeAdapter(Look)


def now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def append_read(path: Path, read: TestRead) -> None:
    """Append one reading to the ledger and wait until it is on the disk. Raises StoreError."""
    row = asdict(read)
    if not read.adopted:  # as lines were written before any could be
        del row["adopted"]
    _append(path, row)


def append_look(path: Path, look: Look) -> None:
    """Append one look to the ledger and wait until it is on the disk. Raises StoreError."""
    _append(path, look.row())


def _append(path: Path, row: dict[str, Any]) -> None:
    """Append one line.

    One process at a time: what another is in the middle of writing looks like a line cut short.
    """
    line = json_line({**row, "sha256": sha256_of_json(row)}).encode()
    with writing(path), _held(path) as file:
        content = file.read()
        tail = content.rpartition(b"\n")[2]
        if tail and _is_cut(tail):
            # It stood for what never began: it would have waited for this line.
            file.truncate(len(content) - len(tail))
            tail = b""
        file.write(b"\n" * bool(tail) + line)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _held(path: Path) -> Iterator[BufferedRandom]:
    """Yield the ledger's file, made if need be, which no other process writes meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # ends with the file, or with the process
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):  # else it was replaced
                file.seek(0)
                yield file
                return


def join_ledgers(path: Path, others: Sequence[Path]) -> None:
    """Add to the ledger `path` the lines of `others` that it lacks, by time.

    Every line stays as it was written, with its own hash. Raises DamagedError as `read_ledger`
    does, StoreError if it cannot be written.
    """
    with writing(path), _held(path):
        lines: dict[str, tuple[str, bytes]] = {}
        for ledger in (path, *others):
            for line, entry in zip(_lines(ledger), _entries(ledger), strict=True):
                lines.setdefault(_content(entry), (entry.time, line))
        by_time = sorted(lines.values(), key=itemgetter(0))
        write_bytes(path, b"".join(line + b"\n" for _, line in by_time))


def read_ledger(path: Path) -> list[TestRead]:
    """Return the readings in the ledger, oldest first; none if there is no ledger.

    A last line that was cut short is skipped: its reading never began. Raises DamagedError if any
    other is not what was written, for to skip it would be to report fewer readings than there were.
    """
    return [entry for entry in _entries(path) if isinstance(entry, TestRead)]


def read_looks(path: Path) -> list[Look]:
    """Return the looks in the ledger, oldest first. Skips and raises as `read_ledger` does."""
    return [entry for entry in _entries(path) if isinstance(entry, Look)]


def _entries(path: Path) -> list[TestRead | Look]:
    lines = _lines(path)
    return [_entry_of(line, f"{path}, line {number},") for number, line in enumerate(lines, 1)]


def _lines(path: Path) -> list[bytes]:
    """Return the lines as they were written, without one that was cut short."""
    try:
        *lines, tail = read_bytes(path).split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DamagedError(
            f"{path} cannot be read: {error.strerror}", "restore the file"
        ) from error
    return [*lines, tail] if tail and not _is_cut(tail) else lines


def _content(entry: TestRead | Look) -> str:
    """Return a hash that is equal for equal lines."""
    return sha256_of_json(asdict(entry))


def is_cut_short(path: Path) -> bool:
    """Return whether the last line of the ledger ends too early. Raises OSError."""
    tail = read_bytes(path).rpartition(b"\n")[2]
    return bool(tail) and _is_cut(tail)


def repeated_lines(path: Path) -> list[tuple[int, int]]:
    """Return each line that is an earlier one's copy, and that one, both from 1.

    Raises DamagedError as `read_ledger` does.
    """
    firsts: dict[str, int] = {}
    keys = [_content(entry) for entry in _entries(path)]
    repeats = [(at, firsts.setdefault(key, at)) for at, key in enumerate(keys, 1)]
    return [(at, first) for at, first in repeats if first < at]


def missing_look(path: Path) -> int | None:
    """Return the number of the first look without a line, where a later one has one; else None."""
    numbers = sorted(look.look for look in read_looks(path))  # joined ledgers may have two of one
    return next((at for at, number in enumerate(numbers, 1) if number > at), None)


def stopped_at(looks: Sequence[Look]) -> dict[str, int]:
    """Return arm -> the seeds it has had, for each that a declared look has stopped."""
    stopped: dict[str, int] = {}
    for look in (entry for entry in looks if entry.planned):
        for arm in look.runs.keys() - look.goes_on:
            stopped.setdefault(arm, look.seeds)
    return stopped


def _is_cut(tail: bytes) -> bool:
    """Return whether `tail`, which no newline ends, is the beginning of a line, and not more."""
    try:
        json.JSONDecoder().raw_decode(tail.decode())
    except ValueError:  # not JSON yet, or cut within a character
        return True
    except RecursionError:  # deeper than any line of ours
        pass
    return False


def _entry_of(line: bytes, place: str) -> TestRead | Look:
    """Return what `line` says. Raises DamagedError, which names its `place`."""
    try:
        row = json.loads(line)
        checksum = row.pop("sha256")
        if sha256_of_json(row) == checksum:
            return _LOOK.validate_python(row) if "look" in row else TestRead(**row)
        reason = "its content has another SHA-256 than it says"
    except UNREADABLE as error:
        reason = repr(error)
    raise DamagedError(
        f"{place} is not what was written: {reason}",
        "restore the file; without a copy of it, move it away: the report then knows of no "
        "earlier reading of the test split",
    )


Further = dict[str, tuple[Any, Any]]
"""Setting of testing, dotted -> its value in the run, and in the experiment by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A reading of the test split of which a run holds something."""

    arm: str
    seed: int
    protocol: str


def unrecorded_readings(folder: ExperimentFolder) -> list[Reading]:
    """Return every reading without a line in the ledger. Raises DamagedError if that is damaged."""
    entered = {(read.arm, read.seed, read.protocol) for read in read_ledger(folder.ledger)}
    tested = [
        Reading(arm=run.arm, seed=run.replicate, protocol=protocol)
        for run in folder.runs()
        for protocol in tested_for(run)
    ]
    return [
        reading
        for reading in tested
        if (reading.arm, reading.seed, reading.protocol) not in entered
    ]


def tested_for(run: RunFolder) -> list[str]:
    """Return what the run read the test split for: protocols, and the likelihoods.

    Protocols under which nothing was generated are not among them.
    Nothing if it is damaged, which is named where the run itself is checked.
    """
    with suppress(StoreError, *UNREADABLE):
        if state(run) is RunState.COMPLETE:
            return read_result(run.result).readings
        entered = sorted(run.pieces.glob("*-entered.json"))
        return [str(read_sealed(path)["content"]["protocol"]) for path in entered]
    return []


def still_to_test(run: RunFolder, identity: Mapping[str, Any]) -> Further:
    """Return in which settings of its tests a complete run differs from today's `identity`.

    Nothing if it is not complete, or damaged, which is named where the run itself is checked.
    """
    asked = testing(identity)
    with suppress(*UNREADABLE):
        if state(run) is RunState.COMPLETE:
            stored = testing(read_json(run.spec)["identity"])
            different = {
                key: (stored[key], asked[key])
                for key in sorted(stored.keys() & asked.keys())
                if stored[key] != asked[key]
            }
            if further_within(asked, stored):
                different.pop("evaluation.tasks", None)  # more were tested than are asked for
            return different
    return {}


def about_further(further: Further) -> str:
    """Return what is still to be tested, and how to continue."""
    old, new = ({key: pair[at] for key, pair in further.items()} for at in (0, 1))
    words = overrides(new)
    resumes = f"`paribus run`{words and f' with {words}'} resumes"
    return f"still to be tested further ({', '.join(differences(old, new))}): {resumes}"
