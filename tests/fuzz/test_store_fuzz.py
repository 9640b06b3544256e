"""Spoiled stores: `verify` tells, and `report` and `status` give a listed error or what is true."""

import contextlib
import io
import json
import os
import random
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fuzz.mutations import HANG_SECONDS, spoil
from paribus.cli.main import main

STORES = int(os.environ.get("PARIBUS_FUZZ_STORES", "12"))
fuzz = settings(
    max_examples=STORES,
    deadline=None,
    database=None,
    derandomize="PARIBUS_FUZZ_STORES" not in os.environ,  # CI tries the same ones every time
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # a seed gets no simpler by being smaller
)


def damage(root: Path, chance: random.Random) -> str:
    """Spoil one file of the store; return which."""
    files = sorted(path for path in (root / "runs").rglob("*") if path.is_file())
    path = chance.choice([each for each in files if each.name != "lock"])
    harms: list[Callable[[], Any]] = [
        lambda: path.write_bytes(spoil(path.read_bytes(), chance)),
        lambda: path.write_bytes(spoil(path.read_bytes(), chance)),
        lambda: path.write_bytes(chance.choice(files).read_bytes()),
        path.unlink,
        lambda: link(path, chance.choice([files[0], Path("/etc/passwd"), path])),
        lambda: folder(path),
        lambda: pipe(path),
        lambda: path.rename(path.with_name(f"{path.name}.bak")),
        lambda: shutil.copytree(path.parent, path.parent.with_name(f"seed-{chance.randint(1, 9)}"),
                                dirs_exist_ok=True),
    ]  # fmt: skip
    chance.choice(harms)()
    return path.relative_to(root).as_posix()


def link(path: Path, to: Path) -> None:
    path.unlink()
    path.symlink_to(to)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def say(*words: str) -> tuple[int, str]:
    """Run a verb in this process; return its exit code and what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main(words)
    return code, out.getvalue()


def figures(root: Path) -> dict[str, Any]:
    findings = json.loads((root / "runs/tuned/report/findings.json").read_text())
    return {json.dumps(each["claim"]): each["evidence"] for each in findings["findings"]}


def content(root: Path) -> dict[str, Any]:
    """What must not change unseen. Of an unfinished run that is what it resumes from."""
    found = {}
    for path in sorted((root / "runs").rglob("*")):
        name = path.relative_to(root).as_posix()
        passing = name.startswith("runs/tiny/full/") and not re.search(
            r"spec\.json$|points/step|pieces", name
        )
        if path.is_file() and not passing and path.name != "lock":
            found[name] = unsealed(path)
    return found


def changed(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether any file is other, more or less. What an unfinished run lost is made again.

    An experiment that was copied as a whole, under another name, is as it was written.
    """
    after = {name: after[name] for name in after if not name.startswith("runs/seed-")}
    made_again = {
        name for name in before.keys() - after.keys() if name.startswith("runs/tiny/full/")
    }
    return {name: before[name] for name in before.keys() - made_again} != after


def unsealed(path: Path) -> Any:
    """Of sealed JSON its value is guarded, not its blanks."""
    try:
        value = json.loads(path.read_bytes())
        return value if "sha256" in value else path.read_bytes()
    except (ValueError, TypeError, RecursionError):
        return path.read_bytes()


@fuzz
@given(st.integers(0, 2**32))
def test_spoiled_stores(real_store, tmp_path_factory, seed):
    root = tmp_path_factory.mktemp("spoiled")
    shutil.copytree(real_store, root, dirs_exist_ok=True)
    before, expected = content(root), figures(root)
    began = time.process_time()
    path = damage(root, random.Random(seed))
    code, said = say("verify", str(root / "runs"))
    assert "Traceback" not in said
    assert code in ((1,) if changed(before, content(root)) else (0, 1)), (path, said)
    code, said = say("status", "--runs", str(root / "runs"))
    assert code in (0, 2), said
    findings = root / "runs/tuned/report/findings.json"
    if not findings.is_dir():
        findings.unlink(missing_ok=True)
    code, said = say("report", str(root / "runs" / "tuned"))
    assert code in (0, 2), said
    assert "Traceback" not in said
    if code == 0:
        for claim, evidence in figures(root).items():
            assert evidence == expected.get(claim, evidence), claim
    assert time.process_time() - began < 3 * HANG_SECONDS
    shutil.rmtree(root)
