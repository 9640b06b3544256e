"""Code of the user's, loaded from a file: only ever in a process of its own.

requests, answers = own_streams()                 # before anything of the user's runs
called = load_function(Path("score.py"), "agrees")
"""

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any


def own_streams() -> tuple[IO[str], IO[str]]:
    """Return stdin and stdout, which the function cannot reach: its own are empty and nowhere."""
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    return requests, answers


def load_function(file: Path, function: str) -> Callable[..., Any]:
    """Return a function of a file, which is run. Raises whatever its code does, and TypeError."""
    if not file.is_relative_to(Path(__file__).parent):  # paribus's own stand in for no others
        sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # dataclasses and pickles look it up
    spec.loader.exec_module(module)
    called: Callable[..., Any] | None = getattr(module, function, None)
    if called is None or not callable(called):
        raise TypeError(f"the file has no function {function!r}")
    return called


def described(error: BaseException) -> str:
    """Return what someone else's code raised, in words."""
    return f"{type(error).__name__}: {str(error)[:200]}"
