"""Is everything in a store as it was written? Only read, never mended.

    verify(Path("runs"), checked := Checked(), on_folder=print)
    checked.differences          # [Difference(file=…/result.json, what="is missing; …")]

What goes into a result is compared with the hash it was written with: every file of a complete run,
what an unfinished run goes on from, and the files of the experiment as a whole. Then what must
agree: a spec with its fingerprint and place, a result with its texts, the ledger with the runs.
"""

from collections.abc import Callable
from pathlib import Path

from paribus.store.checked import Checked
from paribus.store.description import Description
from paribus.store.experiments import check_conclusions, description_of, read_tuning
from paribus.store.layout import ExperimentFolder
from paribus.store.ledger import is_cut_short, missing_look, repeated_lines
from paribus.store.places import files_under, find_stores, is_temporary, runs_of
from paribus.store.run_checks import check_run
from paribus.store.runs import RunState, state
from paribus.store.tested import unrecorded_readings


def verify(path: Path, checked: Checked, on_folder: Callable[[Path], None]) -> None:
    """Check all runs and experiments in `path`: a store, an experiment, an arm or a run.

    `on_folder` is told which is next. Raises StoreError if there is nothing to check.
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
        for link in (each for each in sorted(path.iterdir()) if each.is_symlink()):
            checked.add(link, "is a link, which is not followed: verify where it leads")


def _check_experiment(folder: ExperimentFolder, checked: Checked) -> None:
    """Check the files that belong to no single run."""
    if folder.description.exists() or any(runs_of(folder)):
        with checked.reading(folder.description):
            _check_rates(folder, description_of(folder), checked)
    with checked.reading(folder.tuning):
        read_tuning(folder)
    with checked.reading(folder.ledger):
        _check_ledger(folder, checked)
    report = (folder.findings, folder.report, folder.report_manifest)
    for line in check_conclusions(folder):
        checked.add_line(line, report, folder.report)
    known = (folder.description, folder.tuning, folder.ledger, *report)
    checked.count(known)
    for path in files_under(folder.path, leave_out={run.path for run in runs_of(folder)}):
        if path.is_symlink():
            checked.add(path, "is a link; paribus makes none and follows none")
        elif path not in (*known, folder.lock) and not is_temporary(path):
            checked.add(path, "was added: paribus did not write it")


def _check_rates(folder: ExperimentFolder, description: Description, checked: Checked) -> None:
    """Check that the chosen rates are on record of every arm that has gone on to its runs."""
    tuned = {trial.arm for trial in description.trials}
    done = {run.arm for run in folder.runs() if state(run) is RunState.COMPLETE}
    if tuned & done and not folder.tuning.exists():
        checked.add(folder.tuning, f"is missing, though {min(tuned & done)} ran with a chosen rate")


def _check_ledger(folder: ExperimentFolder, checked: Checked) -> None:
    """Check the lines, and that every reading is among them of which anything is stored."""
    missing = unrecorded_readings(folder)
    if folder.ledger.exists() and is_cut_short(folder.ledger):
        checked.add(folder.ledger, "ends within a line, which counts no reading")
    for number, first in repeated_lines(folder.ledger):
        checked.add(folder.ledger, f"line {number} repeats line {first}, as paribus never writes")
    if look := missing_look(folder.ledger):
        checked.add(folder.ledger, f"has no line for look {look}, and one for a later look")
    for each in missing:
        checked.add(
            folder.ledger,
            f"has no line for {each.arm} seed {each.seed}, {each.protocol}, which was tested; if "
            "that run was copied in from another store: paribus adopt",
        )
