"""Stores of one experiment on several machines: what the tests of `paribus merge` share.

store(folder)                          # two arms of three seeds, complete and on record
part(whole, folder, [("full", 0)])     # what a machine has that ran only this
a, b, c = two(tmp_path)                # stores of two machines, and where to join them
"""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from paribus.files import sha256_of_json
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.ledger import TestRead, append_read
from paribus.store.manifest import write_manifest
from stores import answers, complete_run, describe, flipped

BOTH = {"full": "full", "lora": "lora"}
SEEDS = 3
WHOLE = [(arm, seed) for arm in BOTH for seed in range(SEEDS)]
INPUTS = {"model": "sha256:m", "test_sha256": "t", "tokens": "k"}
MACHINES = ("8 cores, Linux", "2 cores, Linux")


def identity(arm: str, seed: int = 0) -> dict[str, Any]:
    return {"method": arm, "model": "tiny", "seed": 0, "replicate": seed,
            "training": {"learning_rate": 1e-4}}  # fmt: skip


def described(folder: Path, **config: Any) -> ExperimentFolder:
    made = ExperimentFolder(folder)
    describe(made, BOTH, [("full", "lora", "method")],
             identity={key: value for key, value in identity("").items() if key != "method"},
             **{"seeds": SEEDS, "data": {"path": str(folder)}, **config})  # fmt: skip
    return made


def run_in(
    folder: ExperimentFolder, arm: str, seed: int, *, machine: str = MACHINES[0],
    at: str = "2026-01-31T12", **spec: Any,
) -> RunFolder:  # fmt: skip
    """A complete run, on record, as `paribus run` leaves it."""
    run = folder.run(arm, seed)
    own = {"identity": identity(arm, seed), "inputs": INPUTS, "arm": arm, "replicate": seed,
           "environment": {"machine": machine}} | spec  # fmt: skip
    own["fingerprint"] = sha256_of_json(own["identity"])
    minute = WHOLE.index((arm, seed)) if (arm, seed) in WHOLE else 59
    append_read(folder.ledger, TestRead(
        time=f"{at}:{minute:02}:00+00:00", arm=arm, seed=seed, protocol="zero_shot/raw",
        problems=10, test_sha256="t", fingerprint=own["fingerprint"],
    ))  # fmt: skip
    complete_run(run, answers({*range(seed, seed + 3)}), "zero_shot/raw", spec=own,
                 environment={"machine": machine})  # fmt: skip
    run.weights.mkdir()
    (run.weights / "adapter_model.safetensors").write_bytes(f"{arm}{seed}".encode() * 500)
    write_manifest(run)
    return run


def store(
    folder: Path, which: Iterable[tuple[str, int]] = WHOLE, **of_run: Any
) -> ExperimentFolder:
    made = described(folder)
    for arm, seed in which:
        run_in(made, arm, seed, **of_run)
    return made


def files(folder: Path) -> dict[str, bytes]:
    """Every file but locks and the report, by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock" and "report" not in path.parts
    }


def part(whole: ExperimentFolder, folder: Path, which: Iterable[tuple[str, int]]) -> Path:
    """What a machine has that ran only these of an experiment's runs."""
    folder.mkdir(parents=True)
    shutil.copy(whole.description, folder)
    which = set(which)
    for arm, seed in which:
        shutil.copytree(whole.run(arm, seed).path, ExperimentFolder(folder).run(arm, seed).path)
    lines = whole.ledger.read_text().splitlines(keepends=True)
    mine = [line for line in lines if (json.loads(line)["arm"], json.loads(line)["seed"]) in which]
    (folder / "ledger.jsonl").write_text("".join(mine))
    return folder


def two(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Stores of two machines, and where they are to be joined."""
    a = store(tmp_path / "a", WHOLE[:3], machine=MACHINES[0])
    b = store(tmp_path / "b", WHOLE[3:], machine=MACHINES[1])
    return a.path, b.path, tmp_path / "c"


def rerun(folder: Path, arm: str, seed: int, **of_run: Any) -> None:
    shutil.rmtree(folder / arm / f"seed-{seed}", ignore_errors=True)
    run_in(ExperimentFolder(folder), arm, seed, **of_run)


def one_bit(path: Path, at: int = 20) -> None:
    path.write_bytes(flipped(path.read_bytes(), at))
