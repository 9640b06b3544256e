"""A store as paribus leaves it: a tuned experiment that is complete, and a run that was killed.

make(folder, tiny)       runs/tuned, of six runs and trials; runs/tiny, whose run was killed
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from inside import paribus
from interrupted import run_until, spec_of
from paribus.store.layout import ExperimentFolder, RunFolder
from small_store import describe

EXPERIMENT = {
    "question": "Which?",
    "data": {"source": "wordproblems", "train_size": 8, "test_size": 4, "validation_size": 3,
             "max_steps": 1},
    "training": {"batch_size": 4, "micro_batch": 4, "precision": "fp32"},
    "evaluation": {"max_new_tokens": 3, "also": ["one_shot/raw"]},
    "matrix": {"method": ["lora"]},
    "tune": {"learning_rates": {"lora": [1e-3, 1e-2]}},
}  # fmt: skip
MOMENT = 8 + 1 + 18
"""Report of progress: loading, probing, six steps; then of 20 problems 18 are tested."""


def make(folder: Path, tiny: Path) -> None:
    """Make both experiments under `folder`/runs."""
    text = yaml.safe_dump({**EXPERIMENT, "model": str(tiny)}, sort_keys=False)
    (folder / "tuned.yaml").write_text(text)
    made = paribus("run", "tuned.yaml", cwd=folder)
    assert made.returncode == 0, made.stdout + made.stderr
    describe(killed(folder).experiment)
    run_until(spec_of(tiny, folder, {}), killed(folder), MOMENT)


def killed(folder: Path) -> RunFolder:
    """The run that was killed."""
    return ExperimentFolder(folder / "runs" / "tiny").run("full", 0)


@contextmanager
def instead(path: Path, content: bytes | None) -> Iterator[None]:
    """`path` with other content, or gone, while the context lasts; its times stay."""
    before, times = path.read_bytes(), path.stat()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def flipped(content: bytes, at: int) -> bytes:
    """`content` with one bit of the byte `at` turned."""
    at %= len(content)
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
