"""The lock of a run: one owner, no trace, and nothing outside the store is touched."""

import fcntl
import os
import stat
import subprocess
import sys

import pytest

from paribus.errors import StoreError
from paribus.store import locks
from paribus.store.locks import held, locked


def test_the_file_says_who_has_it_and_goes_if_nothing_came_of_it(tmp_path):
    path = tmp_path / "e" / "full" / "seed-0" / "lock"
    with locked(path):
        assert held(path)
        assert path.read_text().startswith(f"process {os.getpid()} on ")
        with pytest.raises(StoreError, match=f"is in use by process {os.getpid()} on "), \
                locked(path):  # fmt: skip
            pass
    assert list(tmp_path.iterdir()) == []
    with locked(path):
        (path.parent / "spec.json").touch()
    assert path.exists()
    assert not held(path)


def test_whoever_may_read_the_store_may_see_that_it_is_in_use(tmp_path):
    before = os.umask(0o022)
    try:
        with locked(tmp_path / "lock"):
            assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o644
    finally:
        os.umask(before)


def test_no_link_is_followed(tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("dear")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "lock").symlink_to(mine)
    with pytest.raises(StoreError, match="symbolic links") as told, \
            locked(tmp_path / "runs" / "lock"):  # fmt: skip
        pass
    assert "remove the link" in told.value.remedy
    assert mine.read_text() == "dear"
    assert not held(tmp_path / "runs" / "lock")


def test_a_pipe_is_no_lock_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "lock")
    assert not held(tmp_path / "lock")
    with pytest.raises(StoreError, match="is not a file"), locked(tmp_path / "lock"):
        pass


def test_what_its_last_owner_removed_locks_nothing(tmp_path, monkeypatch):
    """Between opening and locking the one before goes, and its file with it."""
    path, take, tries = tmp_path / "lock", locks._take, []

    def take_late(descriptor: int, kind: int) -> None:
        if not tries:
            path.unlink()
        tries.append(descriptor)
        take(descriptor, kind)

    monkeypatch.setattr(locks, "_take", take_late)
    with locked(path):
        assert len(tries) == 2
        with path.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_folder_that_is_removed_meanwhile_hides_no_error(tmp_path):
    def work() -> None:
        with locked(tmp_path / "run" / "lock"):
            (tmp_path / "run" / "lock").unlink()
            (tmp_path / "run").rmdir()
            raise ValueError("what happened")

    with pytest.raises(ValueError, match="what happened"):
        work()


def test_a_dead_owner_holds_nothing(tmp_path):
    path = tmp_path / "lock"
    source = f"""
import os, signal
from pathlib import Path
from paribus.store.locks import locked
with locked(Path({str(path)!r})):
    Path({str(tmp_path / "begun")!r}).touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", source], check=False)
    assert (tmp_path / "begun").exists()
    assert path.exists()
    with locked(path):
        pass
