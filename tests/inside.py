"""Run paribus as its users do, by the command line, in this process, where the imports are done.

A process of its own costs ten seconds of imports: `outside`, for what only a process can show.
"""

import io
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

from paribus.cli.main import main


def paribus(*words: str, cwd: Path) -> CompletedProcess[str]:
    """Return what a shell would get: exit code and both streams."""
    out, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    wide = patch.dict(os.environ, COLUMNS="120")
    with chdir(cwd), wide, redirect_stdout(out), redirect_stderr(errors):
        code = _code(words)
    return CompletedProcess(words, code, _written(out), _written(errors))


@contextmanager
def meanwhile(happened: Callable[[], bool], act: Callable[[], object]) -> Iterator[None]:
    """Call `act` when something has happened, beside what the block does."""
    done = threading.Event()

    def watch() -> None:
        while not happened():
            if done.wait(0.01):
                return
        act()

    watching = threading.Thread(target=watch, daemon=True)
    # Whoever runs the tests in the background has Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()
        signal.signal(signal.SIGINT, before)


def ctrl_c() -> None:
    """Interrupt this process, and with it the verb that it runs."""
    os.kill(os.getpid(), signal.SIGINT)


def _code(words: tuple[str, ...]) -> int:
    try:
        return main(words)
    except SystemExit as ended:  # argparse's
        return int(str(ended.code))


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()
