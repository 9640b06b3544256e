"""Run paribus in its own process: for signals, limits, terminals, what it imports.

No wait has its own limit. A machine may be slow; a hang ends by pytest's timeout.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paribus.stopping import STOP_SIGNALS


def started(*words: str, cwd: Path, **options: Any) -> "subprocess.Popen[str]":
    """Start paribus in its own group, which hears all signals; `options` are Popen's."""
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "120"}
    return subprocess.Popen(
        [sys.executable, "-m", "paribus.cli.main", *words], cwd=cwd, text=True,
        **{"start_new_session": True, "preexec_fn": hear_all, "env": environment, **pipes,
           **options},
    )  # fmt: skip


def paribus(*words: str, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run paribus to its end."""
    running = started(*words, cwd=cwd, **options)
    out, errors = running.communicate()
    return subprocess.CompletedProcess(words, running.returncode, out, errors)


def until(happened: Callable[[], bool], running: "subprocess.Popen[str]") -> None:
    """Wait for what a process does; one that ends without it fails the test."""
    while running.poll() is None and not happened():
        time.sleep(0.01)
    assert happened(), running.communicate()


def hear_all() -> None:
    """Undo what tests inherit that run in the background, or under `nohup`: signals ignored."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
