"""A metric of the user's own: a Python function, in a process of its own, with a time limit.

    own = OwnFunction(file=Path("score.py"), function="agrees")
    own("42", {"question": "6*7?", "answer": "42"})    # what agrees("42", {…}) returns, 0 to 1

The function gets the text and the row it was asked about. The process is started at the first call
and kept. What the function prints goes nowhere. What it raises, a value that is no score, no value
in time and the end of its process are errors that name the function, the row and the value.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import IO, Any

from paribus.errors import UserError
from paribus.functions import described, load_function, own_streams

TO_START = 60.0
"""Seconds that the process may take to start and to load the file."""

_SHOWN = 80
"""Characters of a text that an error quotes."""


class TookTooLongError(UserError):
    """A function gave no value in time."""


class _Process:
    """A process that has loaded one function, and answers a line of JSON by another."""

    def __init__(self, file: Path, function: str, seconds: float) -> None:
        self.pid = os.getpid()
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # until `end`
        self._process = subprocess.Popen(
            # -P: modules beside paribus's own must not stand in for the user's.
            [
                *(sys.executable, "-P", "-m", "paribus.evaluation.own_metric"),
                *(str(file), function, str(seconds)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            cwd=file.parent,
        )

    def ask(self, request: object) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request, default=str).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self, seconds: float) -> Any:
        """Return its next answer. Raises TimeoutError, or EOFError if it has ended."""
        assert self._process.stdout
        with DefaultSelector() as selector:
            selector.register(self._process.stdout, EVENT_READ)
            if not selector.select(seconds):
                raise TimeoutError
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return json.loads(line)

    def end(self) -> str:
        """Stop it; return how it ended and what it wrote last."""
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                assert pipe
                pipe.close()
            except BrokenPipeError:
                pass
        code = self._process.wait()
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        self._said.seek(0)
        last = self._said.read().decode(errors="replace").strip().rpartition("\n")[2]
        self._said.close()
        return f"{how}: {last[:200]}" if last else how

    def __del__(self) -> None:
        if self._process.returncode is None and self.pid == os.getpid():
            self._process.kill()
            self.end()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFunction:
    """A function in a file, called in another process.

    Attributes:
        file: the file that has it.
        function: its name; it takes a text and a row, a mapping.
        seconds: limit for each call.
        binary: whether it may only say 0 or 1.
        abstains: whether it may say None, of a text without an answer.
    """

    file: Path
    function: str
    seconds: float = 10.0
    binary: bool = False
    abstains: bool = False
    _kept: list[_Process] = field(default_factory=list, compare=False, repr=False)

    def __call__(self, text: str, document: Mapping[str, Any]) -> float | None:
        """Return the function's score; None only where it may abstain.

        Raises UserError on a fault, TookTooLongError if there is no value in time.
        """
        row = json.dumps(dict(document), default=str, ensure_ascii=False)
        size = f" ({len(text):,} characters)" if len(text) > _SHOWN else ""
        about = f"for the text {text[:_SHOWN]!r}{size} of the row {row[:160]}"
        process = self._process()
        try:
            process.ask([text, dict(document)])
            answer = process.answer(self.seconds)
        except TimeoutError as error:
            self._end()
            raise TookTooLongError(
                f"{self._name} gave no value within {self.seconds:g} s {about}",
                "make it faster, or raise `seconds` of the metric",
            ) from error
        except (EOFError, OSError) as error:
            raise self._fault(f"ended its process ({self._end()}) {about}") from error
        if "fault" in answer:
            self._end()  # it may be mended before it is called again
            raise self._fault(f"{answer['fault']} {about}")
        value: float | None = answer["value"]
        if value is None and not self.abstains:
            raise self._fault(f"returned None {about}")
        if self.binary and value not in (0, 1):
            raise self._fault(f"returned {value}, which is not 0 or 1 (binary: true), {about}")
        return value

    @property
    def _name(self) -> str:
        return f"{self.file}: {self.function}(text, document)"

    def _process(self) -> _Process:
        """Return the process, started if there is none of this process's own."""
        if self._kept and self._kept[0].pid == os.getpid():
            return self._kept[0]
        self._kept[:] = [_Process(self.file, self.function, self.seconds)]
        try:
            answer = self._kept[0].answer(TO_START)
        except TimeoutError as error:
            self._end()
            raise self._fault(f"was not loaded within {TO_START:g} s") from error
        except EOFError as error:
            raise self._fault(f"was not loaded: its process ended ({self._end()})") from error
        if "fault" in answer:
            self._end()
            raise self._fault(answer["fault"])
        return self._kept[0]

    def _end(self) -> str:
        return self._kept.pop().end()

    def _fault(self, what: str) -> UserError:
        return UserError(
            f"{self._name} {what}",
            "correct the function: it returns a bool or a number between 0 and 1",
        )


def _serve(file: str, function: str, seconds: float) -> None:
    """Load the function, write `{}`, and answer each line of stdin, `[text, document]`.

    An answer is `{"value": number}` or `{"fault": text}`. It ends when stdin does.
    """
    requests, answers = own_streams()
    called: Callable[..., Any] | None = None
    try:
        called = load_function(Path(file), function)
    except BaseException as error:  # noqa: BLE001  # of someone else's code
        _write(answers, {"fault": f"cannot be loaded: {described(error)}"})
        return
    _write(answers, {})
    for line in requests:
        # Should whoever asks be gone, a call that hangs is ended here.
        signal.setitimer(signal.ITIMER_REAL, seconds + 5)
        try:
            answer = _judged(called(*json.loads(line)))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  # of someone else's code
            answer = {"fault": f"raised {described(error)}"}
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(answers, answer)


def _judged(value: Any) -> dict[str, Any]:
    if type(value).__module__ != "builtins" and hasattr(value, "item"):
        value = value.item()  # of NumPy or torch
    if value is None:
        return {"value": None}
    if not isinstance(value, bool | int | float):
        return {"fault": f"returned {value!r:.60}, not a bool or a number,"}
    if not 0 <= value <= 1:
        return {"fault": f"returned {value!r:.60}, which is not between 0 and 1,"}
    return {"value": float(value)}


def _write(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], float(sys.argv[3]))
