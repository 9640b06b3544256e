"""Ctrl-C at any moment of a run: exit code 130, two lines of what to do, and no traceback."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import yaml

from outside import started, until
from paribus.errors import RunFailed
from paribus.running import isolated
from paribus.running.isolated import Died, Send, in_child
from paribus.stopping import STOP_SIGNALS, Stopped, ending_on_signals

EXPERIMENT = {
    "model": "./tiny",
    "data": {"train_size": 24, "test_size": 8, "max_number": 6},
    "prompt": {"max_tokens": 600},
    "training": {"batch_size": 12, "micro_batch": 4, "epochs": 10_000},
    "evaluation": {"max_new_tokens": 8, "batch_size": 8},
    "matrix": {"method": ["full"]},
}
SERVER, TRAINING = "the server is started", "a run trains"
MOMENTS = [  # when, how many seconds later, and to the whole group, as a terminal does
    (SERVER, 0.0, True),
    pytest.param(SERVER, 1.0, False, marks=pytest.mark.slow),
    # To the group: tests/test_experiment.py.
    pytest.param(TRAINING, 0.0, False, marks=pytest.mark.slow),
]


def command_lines(group: int) -> list[str]:
    """Return the command lines of the processes of `group`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == group:
                found.append((folder / "cmdline").read_text())
        except (ProcessLookupError, FileNotFoundError):
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("moment", "later", "whole"), MOMENTS)
def test_an_interrupt_is_told_in_two_lines(tiny, tmp_path, moment, later, whole):
    (tmp_path / "tiny").symlink_to(tiny)
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    running = started("run", "e.yaml", cwd=tmp_path)
    begun = tmp_path / "runs" / "e" / "full" / "seed-0" / "spec.json"

    def happened() -> bool:
        if moment == TRAINING:
            return begun.exists()
        return any("forkserver" in line for line in command_lines(running.pid))

    until(happened, running)
    time.sleep(later)
    (os.killpg if whole else os.kill)(running.pid, signal.SIGINT)
    _, errors = running.communicate()
    # Python dies of the signal itself if that came while `exec` ran a text, as for a dataclass;
    # to a shell both are 130.
    assert running.returncode in (130, -signal.SIGINT)
    assert errors == "\nstopped. Finished runs are kept; resume with:\n  paribus run e.yaml\n"
    while command_lines(running.pid):  # nothing is left behind: else this has no end
        time.sleep(0.01)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_what_a_library_swallows_is_heard_before_a_run_begins(number):
    before = {each: signal.getsignal(each) for each in STOP_SIGNALS}
    signal.signal(number, signal.SIG_DFL)  # whoever runs the tests in the background ignores it
    heard: list[str] = []

    def verb() -> None:
        with ending_on_signals():
            with suppress(BaseException):  # as an import that falls back on something else
                os.kill(os.getpid(), number)
            in_child(fail, heard.append)

    with pytest.raises(Stopped) as stopped:
        verb()
    assert (stopped.value.number, heard) == (number, [])
    with pytest.raises(RunFailed):  # and once only
        in_child(fail, heard.append)
    assert heard == ["begun"]
    for each, handler in before.items():
        signal.signal(each, handler)


def test_an_interrupt_while_a_process_starts_is_heard_after_it_and_not_by_it():
    code = "import signal; print(*sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))"
    started = []

    def start() -> None:
        signal.raise_signal(signal.SIGINT)  # to this thread: of others none starts processes
        started.append(subprocess.check_output([sys.executable, "-c", code], text=True))

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with pytest.raises(KeyboardInterrupt):
        isolated._ignoring_signals(start)
    assert started == [f"{int(signal.SIGHUP)} {int(signal.SIGINT)}\n"]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
    signal.signal(signal.SIGINT, before)


def end_with(signal_number: int, send: Send) -> None:
    os.kill(os.getpid(), signal_number)


def fail(send: Send) -> None:
    send("begun")
    raise RunFailed("it did not work", "try again")


@pytest.mark.parametrize(("killer", "starved"), [(signal.SIGKILL, True), (signal.SIGUSR1, False)])
def test_only_what_the_kernel_kills_for_memory_dies_by_sigkill(monkeypatch, killer, starved):
    """The machine's counter of such deaths rises for any program's."""
    counter = iter([3, 4])
    monkeypatch.setattr(isolated, "_kills", lambda: next(counter))
    with pytest.raises(Died) as died:
        in_child(partial(end_with, killer), lambda _: None)
    assert (died.value.code, died.value.out_of_memory) == (-killer, starved)


def test_an_interrupt_while_listening_kills_the_child_and_is_heard_again():
    heard = []

    def stop(message: str) -> None:
        heard.append(message)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        in_child(fail, stop)
    assert heard == ["begun"]
    assert not multiprocessing.active_children()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_child_that_is_terminated_stops_all():
    """Whoever sends SIGTERM to the process that works, not to the command, means the same."""
    with pytest.raises(Stopped):
        in_child(partial(end_with, signal.SIGTERM), lambda _: None)


def test_what_a_child_raises_is_raised_here():
    with pytest.raises(RunFailed, match="it did not work"):
        in_child(fail, lambda _: None)


def fail_when_asked(send: Callable[[str], None]) -> None:
    try:
        send("begun")
        signal.pause()
    except Stopped:
        raise RunFailed("no room for its checkpoint", "make some") from None


def test_whoever_asked_to_stop_is_heard_though_the_child_failed_meanwhile():
    """Or the next run would begin, and the request be forgotten."""
    with pytest.raises(Stopped) as stopped:
        in_child(fail_when_asked, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert stopped.value.text == ", and this run failed meanwhile: no room for its checkpoint"


def test_a_child_whose_parent_is_gone_ends_without_a_word(capfd):
    receiver, sender = multiprocessing.Pipe(duplex=False)
    receiver.close()
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        with pytest.raises(SystemExit) as ended:
            isolated._child(fail, sender, {})
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sender.close()
    assert ended.value.code is None
    assert capfd.readouterr() == ("", "")
