"""Kill a run at the n-th thing it does to the disk: what Python calls, and half-way through a file.

The points are numbered as they happen: opened for writing, synced, renamed, removed, made; tensors
written by half. They are seen from outside, by an audit hook: the code that writes knows nothing.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from paribus.config.spec import RunSpec
from paribus.running.isolated import Died, Send, in_child, run_here
from paribus.store.layout import RunFolder
from paribus.training import checkpointing

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
TOUCHING = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}


def run_to_point(spec: RunSpec, folder: RunFolder, point: int | None) -> list[str]:
    """Run `spec`, killed at `point`; None: to the end. Return the points that were passed."""
    log = folder.path.parents[3] / "points.jsonl"
    log.unlink(missing_ok=True)
    try:
        in_child(partial(_work, spec, folder, point, log), lambda _: None)
    except Died:
        assert point is not None
    return [json.loads(line) for line in log.read_text().splitlines()]


def _work(spec: RunSpec, folder: RunFolder, point: int | None, log: Path, send: Send) -> None:
    lines = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    root = str(folder.experiment.path)
    passed = 0

    def reach(what: str, path: Any) -> None:
        nonlocal passed
        name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if not name.startswith(root):
            return
        passed += 1
        os.write(lines, (json.dumps(f"{what} {name[len(root) + 1 :]}") + "\n").encode())
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def hear(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[2], int) and args[2] & WRITES:
            reach("open", args[0])
        elif event in TOUCHING:
            reach(event.partition(".")[2], args[0])

    os.fsync = _synced(os.fsync, reach)
    checkpointing.save_file = _by_half(checkpointing.save_file, reach)
    sys.addaudithook(hear)
    run_here(spec, folder, lambda _: None)


def _synced(sync: Callable[[int], None], reach: Callable[[str, Any], None]) -> Any:
    def synced(descriptor: int) -> None:
        reach("sync", Path(f"/proc/self/fd/{descriptor}").readlink())
        sync(descriptor)

    return synced


def _by_half(save: Callable[..., None], reach: Callable[[str, Any], None]) -> Any:
    """A kill at its point finds half of the file: what a process that writes leaves behind."""

    def saved(tensors: Any, path: Path) -> None:
        save(tensors, path)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        reach("half written", str(path))
        path.write_bytes(whole)

    return saved
