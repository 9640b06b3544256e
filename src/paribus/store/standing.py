"""How a run stands: its state, how far it came, where it would go on; no large file is read.

    standing(folder).state           # RunState.UNFINISHED
    standing(folder).goes_on         # "step 120 of 400"

Of a complete run the sizes of files are compared, not their content: that is for `verify`. Whatever
cannot be read is left out or becomes the run's error: nothing here raises.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paribus.errors import DamagedError
from paribus.files import UNREADABLE, open_file, read_json
from paribus.store.checkpoints import newest_step
from paribus.store.layout import RunFolder
from paribus.store.lock import held
from paribus.store.manifest import changed_files
from paribus.store.runs import RunState, state
from paribus.store.sealed import read_sealed

_TAIL = 64 * 1024
"""Bytes at the end of a log in which its last step is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a run stands.

    Attributes:
        state: what it is doing or has come to.
        step: optimizer steps that are logged; None if none is.
        steps: how many there are.
        checkpoint: step of the newest checkpoint, by its name; None if there is none.
        tested: texts that are kept, under all protocols; None if it is complete or none is.
        to_test: how many there will be; None if that is not known.
        begun: seconds since the run began or went on; never below 0, None if it has not.
        changed: seconds since it last wrote something, likewise.
        error: why it failed, or what is damaged.
    """

    state: RunState
    step: int | None = None
    steps: int | None = None
    checkpoint: int | None = None
    tested: int | None = None
    to_test: int | None = None
    begun: int | None = None
    changed: int | None = None
    error: str | None = None

    @property
    def goes_on(self) -> str | None:
        """Where it would go on, in words; None if it would begin anew."""
        parts = []
        if self.checkpoint is not None:
            parts.append(f"step {self.checkpoint}" + (f" of {self.steps}" if self.steps else ""))
        if self.tested:
            parts.append(f"text {self.tested}" + (f" of {self.to_test}" if self.to_test else ""))
        return ", ".join(parts) or None


def standing(folder: RunFolder) -> Standing:
    """Return how the run in `folder` stands."""
    now, error = _state(folder)
    step, steps = _last_step(folder.events)
    over = now in (RunState.COMPLETE, RunState.DAMAGED)
    tested, to_test = (None, None) if over else _tested(folder)
    moving = (folder.spec, folder.events, folder.failure, folder.manifest, folder.checkpoints,
              folder.pieces)  # fmt: skip
    return Standing(
        state=now,
        step=step,
        steps=steps,
        checkpoint=None if over else newest_step(folder.checkpoints),
        tested=tested,
        to_test=to_test,
        begun=_age(folder.spec),
        changed=min((age for age in map(_age, moving) if age is not None), default=None),
        error=error,
    )


def _state(folder: RunFolder) -> tuple[RunState, str | None]:
    """Return the state, and what went wrong."""
    reached = state(folder)
    if reached is RunState.COMPLETE:
        different = changed_files(folder, sizes_only=True)
        return (RunState.DAMAGED, different[0][1]) if different else (RunState.COMPLETE, None)
    if held(folder.lock):
        return RunState.RUNNING, None
    if reached is RunState.FAILED:
        return RunState.FAILED, why_it_failed(folder)
    return reached, None


def why_it_failed(folder: RunFolder) -> str:
    """Return what a failed run recorded, or that this cannot be read."""
    try:
        return str(read_json(folder.failure)["error"]).strip() or "no reason was given"
    except UNREADABLE:
        return f"{folder.failure} cannot be read, which says why"


def _last_step(log: Path) -> tuple[int | None, int | None]:
    """Return the last step in a run's log and how many there are."""
    for event in _last_events(log):
        if event.get("event") == "step":
            step, steps = event.get("step"), event.get("num_steps")
            return step if isinstance(step, int) else None, steps if isinstance(
                steps, int
            ) else None
    return None, None


def _last_events(log: Path) -> Iterator[dict[str, Any]]:
    """Yield the last events of a log, newest first; torn lines are skipped."""
    try:
        with open_file(log) as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            lines = file.read().split(b"\n")
    except OSError:
        return
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event


def _tested(folder: RunFolder) -> tuple[int | None, int | None]:
    """Return how many texts lie in pieces, and how many there will be."""
    last: dict[str, Path] = {}
    for path in sorted(folder.pieces.glob("*-*.json")):
        protocol, _, first = path.stem.rpartition("-")
        if first.isdecimal():
            last[protocol] = path  # where it ends, its protocol has come to
    found = [_end_of(path) for path in last.values()]
    return (sum(found), _to_test(folder)) if found else (None, None)


def _end_of(piece: Path) -> int:
    """Return the number of the last problem in a piece; of its first if it is damaged."""
    first = int(piece.stem.rpartition("-")[2])
    try:
        return first + len(read_sealed(piece)["content"]["generations"])
    except (DamagedError, *UNREADABLE):
        return first


def _to_test(folder: RunFolder) -> int | None:
    """Return how many texts the run will write: each problem once for each protocol."""
    try:
        entered = next(folder.pieces.glob("*-entered.json"))
        problems = read_sealed(entered)["content"]["problems"]
        return int(problems) * (1 + len(read_json(folder.spec)["identity"]["evaluation"]["also"]))
    except (StopIteration, DamagedError, *UNREADABLE):
        return None


def _age(path: Path) -> int | None:
    """Return the seconds since `path` changed; 0 if the clock went backwards since."""
    try:
        return max(0, round(time.time() - path.stat().st_mtime))
    except OSError:
        return None
