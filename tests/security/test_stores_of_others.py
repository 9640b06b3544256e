"""What is still open in reading stores of others: strict, so whoever fixes it removes the mark."""

import re
from pathlib import Path

import pytest

from paribus.cli.main import main
from paribus.errors import StoreError
from paribus.files import write_json
from paribus.store.layout import ExperimentFolder
from paribus.store.manifest import check, read_sealed, write_sealed
from stores import complete, describe_trained


@pytest.fixture
def store(tmp_path: Path) -> ExperimentFolder:
    folder = ExperimentFolder(tmp_path / "runs" / "small")
    describe_trained(folder)
    return complete(folder)


@pytest.mark.parametrize("name", ["../../../../outside", "/etc/hostname"])
def test_a_manifest_names_files_of_its_own_run(
    store: ExperimentFolder, tmp_path: Path, name: str
) -> None:
    (tmp_path / "outside").write_text("private")
    run = store.run("full-main", 0)
    manifest = read_sealed(run.manifest)
    size = (run.path / name).stat().st_size
    manifest["files"][name] = {"bytes": size, "sha256": "0" * 64}
    write_sealed(run.manifest, manifest)
    with pytest.raises(StoreError, match="leads out of the run's folder"):
        check(run)


def test_status_prints_no_escapes_of_a_stored_failure(
    store: ExperimentFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in store.runs():
        run.events.unlink(missing_ok=True)
    failed = store.run("lora-main", 0)
    failed.manifest.unlink()
    write_json(failed.failure, {"error": "\x1b]0;renamed\x07 \x9b2J", "traceback": ""})
    assert main(["status", str(store.path)]) == 0
    said = capsys.readouterr().out
    assert "failed" in said
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", said)


def test_status_of_events_without_their_keys(store: ExperimentFolder) -> None:
    assert main(["status", str(store.path)]) in (0, 2)
