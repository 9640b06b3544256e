"""Is everything in a store as it was written? Reads only; repairs nothing.

    verify(Path("runs"), checked := Checked(), on_folder=print)
    checked.differences          # [Difference(file=…/result.json, what="is missing; …")]

Whatever goes into a result is compared with the hash it was written with: every file of a complete
run, what an unfinished run would resume from, and the files of the experiment. Then what must
agree: a spec with its fingerprint and place, a result with its texts, the ledger with the runs.
Other files of an unfinished run are not compared: resuming removes them.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paribus.errors import StoreError
from paribus.files import UNREADABLE, read_json, sha256_of_json
from paribus.store.checkpoints import BEST, STEP, verified
from paribus.store.experiments import Description, check_conclusions, description_of, read_tuning
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.ledger import (
    is_cut_short,
    missing_look,
    repeated_lines,
    unrecorded_readings,
)
from paribus.store.locks import held
from paribus.store.manifest import changed_files, read_manifest, read_sealed
from paribus.store.results import LIKELIHOOD, read_result
from paribus.store.runs import RunState, read_generations, read_heldout, state
from paribus.store.status import files_under, find_stores, is_temporary, misplaced, runs_of


@dataclass(frozen=True, slots=True)
class Difference:
    """A file, or a folder, that is not as it was written, and in what."""

    file: Path
    what: str


@dataclass(slots=True)
class Checked:
    """What was checked, and what was found.

    Attributes:
        runs: complete and unfinished ones, trials among them.
        unfinished: how many of them are not complete.
        files: that were compared with what was written.
        bytes: of those.
        in_use: folders of runs that a process works on; they are not checked.
        differences: all that is not as it was written.
    """

    runs: int = 0
    unfinished: int = 0
    files: int = 0
    bytes: int = 0
    in_use: list[Path] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    def count(self, paths: Iterable[Path]) -> None:
        """Count those of `paths` that are files."""
        sizes = [path.stat().st_size for path in paths if path.is_file()]
        self.files += len(sizes)
        self.bytes += sum(sizes)

    def add(self, file: Path, what: str) -> None:
        """Note a difference; `what` may begin with the file's path."""
        difference = Difference(file, what.removeprefix(str(file)).lstrip(" ,:"))
        if difference not in self.differences:
            self.differences.append(difference)

    def add_line(self, line: str, files: Iterable[Path], otherwise: Path) -> None:
        """Note a difference whose `line` begins with one of `files`, or with none of them."""
        named = [path for path in files if line.startswith((f"{path} ", f"{path},"))]
        self.add(max(named, key=lambda path: len(str(path)), default=otherwise), line)

    @contextmanager
    def reading(self, file: Path) -> Iterator[None]:
        """Note what the block raises while it reads `file` as a difference of it."""
        try:
            yield
        except StoreError as error:
            self.add(file, error.message)
        except UNREADABLE as error:
            reason = getattr(error, "strerror", None) or repr(error)
            self.add(file, f"cannot be read: {reason}")


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
    paths: list[Path] = []
    with checked.reading(folder.path):
        there = list(files_under(folder.path))
        try:
            paths = [folder.path / name for name in read_manifest(folder)["files"]]
        except StoreError:
            paths = []  # `changed_files` says so
        for path, line in changed_files(folder):
            checked.add(path, line)
        checked.count([folder.manifest, *paths])
        _check_links(there, checked)
    if len(checked.differences) == before:
        with checked.reading(folder.spec):
            _check_spec(folder, checked)
        with checked.reading(folder.result):
            _check_result(folder, checked)


def _check_links(there: list[Path], checked: Checked) -> None:
    named = {difference.file for difference in checked.differences}
    for path in there:
        if path not in named and (path.is_symlink() or not path.is_file()):
            checked.add(path, "is not a file but a link or a device; paribus makes none")


def _check_spec(folder: RunFolder, checked: Checked) -> dict[str, Any] | None:
    """Check that the spec is what its fingerprint says, of the run whose place this is."""
    spec: dict[str, Any] = read_json(folder.spec)
    fingerprint = sha256_of_json(spec["identity"])
    if folder.manifest.exists() and read_manifest(folder)["fingerprint"] != fingerprint:
        checked.add(folder.manifest, f"is of another run than {folder.spec.name}")
    if spec["fingerprint"] != fingerprint:
        checked.add(
            folder.spec,
            f"says the fingerprint {spec['fingerprint']}, its identity has {fingerprint}",
        )
    elsewhere = misplaced(folder, spec)
    if elsewhere:
        checked.add(folder.spec, elsewhere)
    return spec


def _check_result(folder: RunFolder, checked: Checked) -> None:
    """Check that there are as many texts and likelihoods as the result speaks of."""
    for task, costs, heldout in read_result(folder.result).tests:
        place = folder.of_task(task)
        for name, cost in costs.items():
            path = place.generations(name)
            with checked.reading(path):
                _compare(path, len(read_generations(path)), cost.problems, "texts", checked)
        if heldout:
            with checked.reading(place.heldout):
                rows = len(read_heldout(place.heldout))
                _compare(place.heldout, rows, heldout.problems, LIKELIHOOD, checked)


def _compare(path: Path, lines: int, stated: int, what: str, checked: Checked) -> None:
    if lines != stated:
        checked.add(path, f"has {lines} lines; result.json speaks of {stated} ({what})")


def _check_unfinished(folder: RunFolder, checked: Checked) -> None:
    if folder.result.exists():
        checked.add(
            folder.manifest,
            "is missing, though there is a result: it was removed, or the run was stopped as it "
            "was about to write it; `paribus run` resumes",
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
    elif path.name.startswith((STEP, BEST)):
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
        checked.add(path, "was added: it is not a checkpoint")


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


def verify(path: Path, checked: Checked, on_folder: Callable[[Path], None]) -> None:
    """Check all runs and experiments in `path`: a store, an experiment, an arm or a run.

    `on_folder` is called with the next one. Raises StoreError if there is nothing to check.
    """
    experiments, runs = find_stores(path)
    for folder in experiments:
        runs += runs_of(folder)
    for run in runs:
        on_folder(run.path)
        with checked.reading(run.path):
            check_run(run, checked)
    for folder in experiments:
        on_folder(folder.path)
        with checked.reading(folder.path):
            _check_experiment(folder, checked)
    tops = {run.path for run in runs} | {folder.path for folder in experiments}
    if path not in tops:
        for link in (entry for entry in sorted(path.iterdir()) if entry.is_symlink()):
            checked.add(link, "is a link, which is not followed: verify where it leads")


def _check_experiment(folder: ExperimentFolder, checked: Checked) -> None:
    """Check the files that belong to no single run."""
    if folder.description.exists() or any(runs_of(folder)):
        with checked.reading(folder.description):
            _check_rates(folder, description_of(folder), checked)
    with checked.reading(folder.tuning):
        read_tuning(folder)
    with checked.reading(folder.ledger):
        check_ledger(folder, checked)
        if folder.ledger.exists() and is_cut_short(folder.ledger):
            checked.add(folder.ledger, "ends within a line, which counts no reading")
    report = (folder.findings, folder.report, folder.report_manifest)
    for line in check_conclusions(folder):
        checked.add_line(line, report, folder.report)
    known = (folder.description, folder.tuning, folder.ledger, *report)
    checked.count(known)
    for path in files_under(folder.path, leave_out={run.path for run in runs_of(folder)}):
        if path.is_symlink():
            checked.add(path, "is a link; paribus makes none and follows none")
        elif path not in (*known, folder.lock, folder.files_lock) and not _passing(path, folder):
            checked.add(path, "was added: paribus did not write it")


def _passing(path: Path, folder: ExperimentFolder) -> bool:
    """Return whether `path` was being written, or copied here, when its process was killed."""
    first = path.relative_to(folder.path).parts[0]
    return is_temporary(path) or Path(first).match(folder.arriving().name)


def _check_rates(folder: ExperimentFolder, description: Description, checked: Checked) -> None:
    """Check that the chosen rates are on record of every arm that has started its runs."""
    tuned = {trial.arm for trial in description.trials}
    done = {run.arm for run in folder.runs() if state(run) is RunState.COMPLETE}
    if tuned & done and not folder.tuning.exists():
        checked.add(folder.tuning, f"is missing, though {min(tuned & done)} ran with a chosen rate")


def check_ledger(folder: ExperimentFolder, checked: Checked) -> None:
    """Check the lines, and that every reading is among them of which anything is stored."""
    missing = unrecorded_readings(folder)
    for number, first in repeated_lines(folder.ledger):
        checked.add(folder.ledger, f"line {number} repeats line {first}, as paribus never writes")
    if look := missing_look(folder.ledger):
        checked.add(folder.ledger, f"has no line for look {look}, and one for a later look")
    for reading in missing:
        checked.add(
            folder.ledger,
            f"has no line for {reading.arm} seed {reading.seed}, {reading.protocol}, which was "
            "tested; if that run was copied in from another store: paribus adopt",
        )
