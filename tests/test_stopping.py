"""Stopping a run from outside: Ctrl-C, SIGTERM, twice, and two commands on one experiment."""

import fcntl
import json
import os
import pty
import select
import signal
import termios
import threading
from functools import partial
from pathlib import Path

import pytest
import yaml

import outside
from inside import ctrl_c, meanwhile, paribus
from outside import hear_all, until

EXPERIMENT = {
    "data": {"train_size": 24, "test_size": 8, "max_number": 6},
    "prompt": {"max_tokens": 600},
    "training": {"batch_size": 12, "micro_batch": 4, "epochs": 400, "checkpoint_minutes": None},
    "evaluation": {"max_new_tokens": 8, "batch_size": 8},
    "matrix": {"method": ["full"]},
}


@pytest.fixture
def place(tiny, tmp_path) -> Path:
    (tmp_path / "e.yaml").write_text(yaml.safe_dump({"model": str(tiny), **EXPERIMENT}))
    return tmp_path


started = partial(outside.started, "run", "e.yaml")
LOG = "runs/e/full/seed-0/events.jsonl"


def steps(place: Path) -> list[int]:
    """The steps in the log so far; its last line may be half there."""
    log = place / LOG
    lines = log.read_text().split("\n")[:-1] if log.exists() else []
    return [row["step"] for row in map(json.loads, lines) if row["event"] == "step"]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_a_request_to_stop_ends_after_the_step_and_names_the_command(place, number, code):
    running = started(cwd=place)
    until(lambda: len(steps(place)) >= 3, running)
    # Ctrl-C goes to the whole group; a scheduler's signal to the command.
    (os.killpg if number == signal.SIGINT else os.kill)(running.pid, number)
    out, errors = running.communicate()
    done = steps(place)[-1]
    assert running.returncode == code, errors
    assert "full seed 0: stopping as soon as what is done is safe; once more stops at once" in out
    assert errors == (
        f"\nstopped. Finished runs are kept, this one resumes from step {done} of 800; resume with:"
        "\n  paribus run e.yaml\n"
    )
    folder = place / "runs/e/full/seed-0/checkpoints"
    assert [path.name[:11] for path in folder.iterdir()] == [f"step-{done:06d}"]
    with meanwhile(lambda: max(steps(place), default=0) > done, ctrl_c):
        assert paribus("run", "e.yaml", cwd=place).returncode == 130
    assert steps(place) == list(range(1, steps(place)[-1] + 1))


@pytest.mark.slow
def test_a_second_request_stops_at_once_and_nothing_is_damaged(place):
    running = started(cwd=place)
    until(lambda: len(steps(place)) >= 3, running)
    os.kill(running.pid, signal.SIGINT)
    os.kill(running.pid, signal.SIGINT)
    _, errors = running.communicate()
    assert running.returncode == 130
    assert "paribus run e.yaml" in errors
    assert "Traceback" not in errors
    before = max(steps(place))
    assert before < 800  # it did not go to its end
    with meanwhile(lambda: max(steps(place), default=0) > before, ctrl_c):
        assert "resumes from step" in paribus("run", "e.yaml", cwd=place).stderr


@pytest.mark.slow
def test_what_another_command_works_on_is_waited_for_and_done_if_it_dies(place):
    first = started(cwd=place)
    until(lambda: len(steps(place)) >= 1, first)
    other = paribus("run", "e.yaml", "question=Another?", cwd=place)
    assert other.returncode == 2
    assert f"is in use by process {first.pid} on " in other.stderr
    assert "question: " in other.stderr
    second = started(cwd=place)
    assert second.stdout is not None
    assert any(" in the hands of process " in line for line in second.stdout)
    os.killpg(first.pid, signal.SIGKILL)  # a dead owner holds nothing
    first.communicate()
    (place / LOG).unlink()  # so that the next lines are seen to be new
    until(lambda: len(steps(place)) >= 2, second)
    second.send_signal(signal.SIGINT)
    _, errors = second.communicate()
    assert (second.returncode, "resumes from step" in errors) == (130, True)


@pytest.mark.slow
def test_a_closed_terminal_saves_what_is_done(place):
    """The window is closed: the group hears SIGHUP, and whoever prints gets an error."""
    parent, child = pty.openpty()
    running = started(
        cwd=place, stdin=child, stdout=child, stderr=child, preexec_fn=take_terminal,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TERM": "xterm"},
    )  # fmt: skip
    os.close(child)
    reading = threading.Thread(target=read_all, args=(parent,), daemon=True)
    reading.start()
    until(lambda: len(steps(place)) >= 3, running)
    closed.add(parent)
    reading.join()
    os.close(parent)
    assert running.wait() == 129
    folder = place / "runs/e/full/seed-0/checkpoints"
    assert [path.name[:11] for path in folder.iterdir()] == [f"step-{steps(place)[-1]:06d}"]


def take_terminal() -> None:
    hear_all()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


closed: set[int] = set()


def read_all(terminal: int) -> None:
    while terminal not in closed:
        if select.select([terminal], [], [], 0.05)[0]:
            os.read(terminal, 65536)


@pytest.mark.slow
def test_a_reader_that_leaves_ends_no_run(place):
    """Such as `head`, or a `tee` that Ctrl-C has ended too."""
    running = started(cwd=place)
    assert running.stdout is not None
    running.stdout.readline()
    running.stdout.close()
    until(lambda: len(steps(place)) >= 3, running)
    os.kill(running.pid, signal.SIGINT)
    assert running.wait() == 130
    assert running.stderr is not None
    assert "this one resumes from step" in running.stderr.read()
    running.stderr.close()
    folder = place / "runs/e/full/seed-0/checkpoints"
    assert [path.name[:11] for path in folder.iterdir()] == [f"step-{steps(place)[-1]:06d}"]
