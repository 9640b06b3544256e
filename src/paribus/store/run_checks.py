"""Is one run as it was written: a complete one wholly, an unfinished one where it would go on.

What else lies in the folder of an unfinished run is not compared with anything: whoever goes on
removes it, and nothing of it comes into a result.
"""

from pathlib import Path
from typing import Any

from paribus.errors import StoreError
from paribus.files import read_json, sha256_of_json
from paribus.store.checked import Checked
from paribus.store.checkpoints import verified
from paribus.store.layout import RunFolder
from paribus.store.ledger import LIKELIHOOD
from paribus.store.lock import held
from paribus.store.manifest import changed_files, read_manifest
from paribus.store.places import files_under, is_temporary, misplaced
from paribus.store.results import read_result
from paribus.store.runs import RunState, read_generations, read_heldout, state
from paribus.store.sealed import read_sealed


def check_run(folder: RunFolder, checked: Checked) -> None:
    """Check the run in `folder`; one that a process works on is left alone."""
    if held(folder.lock):
        checked.in_use.append(folder.path)
    elif state(folder) is RunState.COMPLETE:
        checked.runs += 1
        _check_complete(folder, checked)
    elif any(path != folder.lock for path in folder.path.iterdir()):
        checked.runs += 1
        checked.unfinished += 1
        _check_unfinished(folder, checked)


def _check_complete(folder: RunFolder, checked: Checked) -> None:
    before = len(checked.differences)
    said: list[Path] = []
    with checked.reading(folder.path):
        there = list(files_under(folder.path))
        try:
            said = [folder.path / name for name in read_manifest(folder)["files"]]
        except StoreError:
            said = []  # `changed_files` says so
        for path, line in changed_files(folder):
            checked.add(path, line)
        checked.count([folder.manifest, *said])
        _check_links(there, checked)
    if len(checked.differences) == before:
        with checked.reading(folder.spec):
            _check_spec(folder, checked)
        with checked.reading(folder.result):
            _check_result(folder, checked)


def _check_links(there: list[Path], checked: Checked) -> None:
    named = {each.file for each in checked.differences}
    for path in there:
        if path not in named and (path.is_symlink() or not path.is_file()):
            checked.add(path, "is no file but a link or a device; paribus makes none")


def _check_spec(folder: RunFolder, checked: Checked) -> dict[str, Any] | None:
    """Check that the spec is what its fingerprint says, of the run whose place this is."""
    spec: dict[str, Any] = read_json(folder.spec)
    found = sha256_of_json(spec["identity"])
    if folder.manifest.exists() and read_manifest(folder)["fingerprint"] != found:
        checked.add(folder.manifest, f"is of another run than {folder.spec.name}")
    if spec["fingerprint"] != found:
        checked.add(
            folder.spec,
            f"says the fingerprint {spec['fingerprint']}, its identity has {found}",
        )
    elsewhere = misplaced(folder, spec)
    if elsewhere:
        checked.add(folder.spec, elsewhere)
    return spec


def _check_result(folder: RunFolder, checked: Checked) -> None:
    """Check that there are as many texts and likelihoods as the result speaks of."""
    result = read_result(folder.result)
    for name, cost in result.protocols.items():
        path = folder.generations(name)
        with checked.reading(path):
            _compare(path, len(read_generations(path)), cost.problems, "texts", checked)
    if result.heldout:
        with checked.reading(folder.heldout):
            rows = len(read_heldout(folder.heldout))
            _compare(folder.heldout, rows, result.heldout.problems, LIKELIHOOD, checked)


def _compare(path: Path, found: int, said: int, what: str, checked: Checked) -> None:
    if found != said:
        checked.add(path, f"has {found} lines; result.json speaks of {said} ({what})")


def _check_unfinished(folder: RunFolder, checked: Checked) -> None:
    if folder.result.exists():
        checked.add(
            folder.manifest,
            "is missing, though there is a result: it was removed, or the run was stopped as it "
            "was about to write it; `paribus run` goes on",
        )
    spec: dict[str, Any] | None = None
    if folder.spec.exists():
        with checked.reading(folder.spec):
            spec = _check_spec(folder, checked)
    if folder.failure.exists():
        with checked.reading(folder.failure):
            read_json(folder.failure)["error"]
    with checked.reading(folder.path):
        _check_links(list(files_under(folder.path)), checked)
        if folder.checkpoints.is_dir():
            for path in sorted(folder.checkpoints.iterdir()):
                _check_checkpoint(path, folder, spec, checked)
        if folder.pieces.is_dir():
            for path in sorted(folder.pieces.iterdir()):
                _check_piece(path, folder, spec, checked)


def _check_checkpoint(
    path: Path, folder: RunFolder, spec: dict[str, Any] | None, checked: Checked
) -> None:
    if path.name.startswith(".damaged-"):
        checked.add(path, "failed its check and was put aside; `paribus clean` removes it")
    elif path.name.startswith("step-"):
        with checked.reading(path):
            try:
                run = verified(path).run
            except StoreError as error:
                checked.add_line(error.message, files_under(path), path)
                return
            checked.count(files_under(path))
            if spec is not None and run != spec:
                checked.add(folder.spec, f"is of another run than {path.name}")
    elif not path.name.startswith(".new-"):
        checked.add(path, "was added: it is no checkpoint")


def _check_piece(
    path: Path, folder: RunFolder, spec: dict[str, Any] | None, checked: Checked
) -> None:
    if path.suffix == ".damaged":
        checked.add(path, "failed its check and was put aside; `paribus clean` removes it")
    elif path.suffix == ".json" and not is_temporary(path):
        with checked.reading(path):
            run = read_sealed(path)["run"]
            checked.count([path])
            if spec is not None and run != sha256_of_json(spec):
                checked.add(folder.spec, f"is of another run than {path.name}")
    elif not is_temporary(path):
        checked.add(path, "was added: it holds nothing that was tested")
