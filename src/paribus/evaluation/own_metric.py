"""A metric of the user's own: a Python function, in a process of its own, with a time limit.

    own = OwnMetric.named("./score.py:f1", Path("tasks"), seconds=10)
    own.judge("42", "42", generation)                 # what f1("42", document) returns, 0 to 1

The function is given the text and the row it was asked about. What it prints goes nowhere; what it
raises, a value that is not a score, or no value in time is an error that names all of it.
"""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import Any

from paribus.errors import ConfigError, DataError
from paribus.records import Generation


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMetric:
    """A function in a file, called in another process, which is started at the first call."""

    file: Path
    function: str
    seconds: float
    _process: list["subprocess.Popen[bytes]"] = field(default_factory=list, compare=False)

    @classmethod
    def named(cls, name: str, folder: Path, *, seconds: float) -> "OwnMetric":
        """Return the metric that `FILE:FUNCTION` names; the file is looked for from `folder`.

        Raises ConfigError if there is no such file.
        """
        path, _, function = name.rpartition(":")
        file = folder / path
        if not path or not function.isidentifier() or not file.is_file():
            raise ConfigError(
                f"metric python: {name!r:.80} does not name a function in a file: {file}",
                "write python: ./FILE.py:FUNCTION; the file is looked for from the task's folder",
            )
        return cls(file=file, function=function, seconds=seconds)

    def judge(self, text: str, gold: str, generation: Generation) -> float | None:
        """Return the function's score, None if it says None. Raises DataError."""
        document = generation.document or {
            "question": generation.question,
            "answer": gold,
            "solution": generation.solution,
        }
        value = self._call([text, dict(document)])
        if value is None:
            return None
        if not isinstance(value, bool | int | float) or not 0 <= value <= 1:
            raise self._fault(f"returned {value!r:.60}, not a bool or a number in [0, 1]", text)
        return float(value)

    def _call(self, arguments: list[Any]) -> Any:
        process = self._running()
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps(arguments, default=str).encode() + b"\n")
            process.stdin.flush()
        except OSError as error:
            raise self._ended(arguments[0]) from error
        with DefaultSelector() as selector:
            selector.register(process.stdout, EVENT_READ)
            if not selector.select(self.seconds):
                self._stop()
                raise self._fault(f"gave no value within {self.seconds:g} s", arguments[0])
        line = process.stdout.readline()
        if not line:
            raise self._ended(arguments[0])
        answer = json.loads(line)
        if "error" in answer:
            raise self._fault(answer["error"], arguments[0])
        return answer["value"]

    def _running(self) -> "subprocess.Popen[bytes]":
        if not self._process:
            self._process.append(
                subprocess.Popen(
                    [sys.executable, __file__, str(self.file), self.function],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    cwd=self.file.parent,
                )
            )
        return self._process[0]

    def _stop(self) -> None:
        process = self._process.pop()
        process.kill()
        process.communicate()

    def _ended(self, text: str) -> DataError:
        process = self._process.pop()
        return self._fault(f"ended its process (exit status {process.wait()})", text)

    def _fault(self, what: str, text: str) -> DataError:
        return DataError(
            f"{self.file}: {self.function}(text, document) {what}; the text: {text[:80]!r}",
            "correct the function, or raise `seconds` of the metric",
        )


def _serve(file: str, function: str) -> None:
    """Answer each line of stdin, `[text, document]`, by a line of JSON."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what it prints is no answer
    try:
        spec = importlib.util.spec_from_file_location("own_metric_of_a_task", file)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(Path(file).parent))
        spec.loader.exec_module(module)
        called = getattr(module, function)
        failed = None
    except BaseException as error:  # noqa: BLE001  # of someone else's code
        failed = f"cannot be loaded: {type(error).__name__}: {error}"
    for line in sys.stdin:
        answer: dict[str, Any]
        try:
            answer = {"error": failed} if failed else {"value": called(*json.loads(line))}
            text = json.dumps(answer)
        except BaseException as error:  # noqa: BLE001  # of someone else's code
            text = json.dumps({"error": f"raised {type(error).__name__}: {str(error)[:200]}"})
        answers.write(text + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
