"""`paribus adopt`: a run that was copied in from another store gets its lines in the ledger."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paribus.cli.main import main
from paribus.files import read_json, sha256_of_json
from paribus.records import Likelihood
from paribus.store import runs
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.ledger import read_ledger
from paribus.store.locks import locked
from paribus.store.manifest import write_manifest
from stores import answers, complete_run, describe, enter

INPUTS = {"model": "sha256:m", "test_sha256": "t", "tokens": "k"}


def identity(seed: int) -> dict[str, Any]:
    training = {"learning_rate": 1e-4}
    return {"method": "lora", "model": "tiny", "seed": 0, "training": training, "replicate": seed}


def store(folder: Path) -> ExperimentFolder:
    """Two arms of two seeds; of the first arm a run is complete and on record."""
    made = ExperimentFolder(folder / "runs" / "x")
    describe(made, dict.fromkeys(("lora", "other"), "lora"), [], identity=identity(0), seeds=2)
    return made


def complete(run: RunFolder, spec: dict[str, Any] | None = None) -> None:
    """A complete run without a line in the ledger; `spec` changes what defines it."""
    own = {"identity": identity(run.replicate), "inputs": INPUTS, "arm": run.arm,
           "replicate": run.replicate} | (spec or {})  # fmt: skip
    own["fingerprint"] = sha256_of_json(own["identity"])
    heldout = {"problems": 10, "variant": "main"}
    complete_run(run, answers({0, 1}), "zero_shot/raw", spec=own, heldout=heldout)
    runs.write_heldout(run, [Likelihood(problem_id=f"{n:016x}", nll=1.0, tokens=2)
                             for n in range(10)])  # fmt: skip
    run.weights.mkdir()
    (run.weights / "adapter_model.safetensors").write_bytes(b"weights")
    write_manifest(run)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> ExperimentFolder:
    """A store with one run of its own, and the same run copied in as another seed's."""
    monkeypatch.chdir(tmp_path)
    complete(store(tmp_path / "theirs").run("lora", 1))
    made = store(Path())
    complete(made.run("lora", 0))
    assert main(["adopt", str(made.run("lora", 0).path)]) == 0
    shutil.copytree("theirs/runs/x/lora/seed-1", "runs/x/lora/seed-1")
    return made


def test_a_copied_run_is_adopted_once(folder, capsys):
    assert main(["verify", "runs"]) == 1
    assert "if that run was copied in from another store: paribus adopt" in capsys.readouterr().out
    before = folder.ledger.read_bytes()
    assert main(["adopt", "runs/x/lora/seed-1"]) == 0
    assert "as adopted, for zero_shot/raw, likelihood" in capsys.readouterr().out
    assert folder.ledger.read_bytes().startswith(before)
    lines = read_ledger(folder.ledger)[2:]
    assert [(each.arm, each.seed, each.protocol, each.problems, each.test_sha256, each.adopted)
            for each in lines] == [
        ("lora", 1, "zero_shot/raw", 10, "t", True), ("lora", 1, "likelihood", 10, "t", True)
    ]  # fmt: skip
    assert lines[0].fingerprint == sha256_of_json(identity(1))
    assert main(["verify", "runs"]) == 0, capsys.readouterr().out
    after = folder.ledger.read_bytes()
    assert main(["adopt", "runs/x/lora/seed-1/"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert folder.ledger.read_bytes() == after


def test_the_report_says_what_was_adopted(folder, capsys):
    assert main(["adopt", "runs/x/lora/seed-1"]) == 0
    assert main(["report", "runs/x"]) == 0, capsys.readouterr().err
    page = folder.report.read_text(encoding="utf-8")
    assert "came from another store (adopted)" in page
    assert read_json(folder.findings)["unrecorded"] == ""


RUNS = Path("runs/x")
COPIED = RUNS / "lora" / "seed-1"


def other(arm: str, seed: int, **spec: Any) -> Callable[[], None]:
    """Put a complete run there instead of what there is."""
    path = RUNS / arm / f"seed-{seed}"

    def put() -> None:
        shutil.rmtree(path, ignore_errors=True)
        complete(RunFolder(path), spec)

    return put


FAULTS: dict[str, tuple[Path, Callable[[], object] | None, str]] = {
    "no run": (RUNS, None, "not a run in an experiment's folder"),
    "an arm": (RUNS / "lora", None, "not a run in an experiment's folder"),
    "no folder": (Path("runs/y/lora/seed-0"), None, "not a run in an experiment's folder"),
    "alone": (Path("seed-0"), lambda: shutil.copytree(COPIED, "seed-0"), "not a run in an"),
    "a trial": (RUNS / "tuning/lora/lr-0.1", None, "is a trial"),
    "not there": (RUNS / "other/seed-0", None, r"is not complete \(not run\)"),
    "unfinished": (COPIED, (COPIED / "manifest.json").unlink, r"not complete \(unfinished\)"),
    "no arm": (RUNS / "new/seed-0", other("new", 0), "has no arm new; its arms: lora, other"),
    "a seed too many": (RUNS / "lora/seed-2", other("lora", 2), "has seeds up to 1"),
    "another's place": (
        RUNS / "other/seed-1",
        lambda: shutil.copytree(COPIED, RUNS / "other/seed-1"),
        "is of lora/seed-1, and lies in the place of other/seed-1",
    ),
    "other settings": (
        COPIED,
        other("lora", 1, identity={**identity(1), "method": "full"}),
        "other settings than its arm:\n.*method: lora → full",
    ),
    "other problems": (
        RUNS / "other/seed-0",
        other("other", 0, inputs={**INPUTS, "test_sha256": "u"}),
        "read something else than .*\n.*test_sha256: t → u",
    ),
    "other weights": (
        COPIED,
        other("lora", 1, inputs={**INPUTS, "model": "sha256:n"}),
        "read something else than .*\n.*model: sha256:m → sha256:n",
    ),
    "damaged": (
        COPIED,
        lambda: (COPIED / "heldout.jsonl").write_text("{}\n"),
        "heldout.jsonl: has 3 bytes",
    ),
    "damaged weights": (
        COPIED,
        lambda: (COPIED / "weights/adapter_model.safetensors").write_bytes(b"WEIGHTS"),
        "adapter_model.safetensors: has other content",
    ),
    "a damaged ledger": (
        COPIED,
        lambda: (RUNS / "ledger.jsonl").write_text("{}\n"),
        "ledger.jsonl, line 1, is not what was written",
    ),
    "a damaged experiment": (
        COPIED,
        lambda: (RUNS / "experiment.yaml").write_text("a: 1\n"),
        "experiment.yaml is not what was written",
    ),
}


@pytest.mark.parametrize(("path", "spoil", "message"), FAULTS.values(), ids=FAULTS)
def test_nothing_else_is_adopted(folder, path, spoil, message, capsys):
    if spoil:
        spoil()
    before = folder.ledger.read_bytes()
    assert main(["adopt", str(path)]) == 2
    said = capsys.readouterr().err
    assert re.search(message, said), said
    assert "→" in said
    assert folder.ledger.read_bytes() == before


def test_a_store_in_use_is_left_alone(folder, capsys):
    with locked(folder.lock):
        assert main(["adopt", "runs/x/lora/seed-1"]) == 2
    assert "in use" in capsys.readouterr().err


def test_lines_of_our_own_stay_as_they_were(folder):
    """Earlier versions read the ledger of this one, as long as nothing was adopted."""
    assert all(json.loads(line)["adopted"] for line in folder.ledger.read_text().splitlines())
    enter(folder, "other", "zero_shot/raw")
    assert "adopted" not in json.loads(folder.ledger.read_text().splitlines()[-1])
