"""A complete run that was copied in from another store: checked, then entered into the ledger.

    adopt(Path("runs/gsm8k/lora/seed-1"))     # one TestRead for each protocol, marked as adopted

Nothing is written unless its files are as they were written, and it is a run of this experiment.
"""

from pathlib import Path
from typing import Any

from paribus.config.spec import differences
from paribus.errors import DamagedError, StoreError
from paribus.files import UNREADABLE, read_json
from paribus.store.experiments import Description, read_description
from paribus.store.layout import RunFolder, is_replicate
from paribus.store.ledger import Reading, TestRead, append_read, now, unrecorded_readings
from paribus.store.locks import locked
from paribus.store.results import read_result
from paribus.store.runs import RunState, state
from paribus.store.status import is_trial
from paribus.store.verify import Checked, check_run

_ELSEWHERE = "take the folder out, or put it into the experiment that it belongs to"


def adopt(path: Path) -> list[TestRead]:
    """Enter into the ledger what the run in `path` read, and return the lines; none lacked: none.

    Raises StoreError if it is not a complete run of the experiment around it, or in use;
    DamagedError if it, or the experiment, is not as it was written.
    """
    folder = RunFolder(path.absolute())
    if is_trial(folder.path):
        raise StoreError(f"{path} is a trial", "name a run of an arm: trials read no test problems")
    if not is_replicate(folder.path.name) or not folder.experiment.description.is_file():
        raise StoreError(
            f"{path} is not a run in an experiment's folder",
            "copy it to runs/EXPERIMENT/ARM/seed-K and name that",
        )
    with locked(folder.experiment.lock):
        description = read_description(folder.experiment)
        _check_whole(folder)
        spec: dict[str, Any] = read_json(folder.spec)
        _check_design(folder, spec, description)
        _check_inputs(folder)
        own = (folder.arm, folder.replicate)
        missing = [
            unrecorded_reading
            for unrecorded_reading in unrecorded_readings(folder.experiment)
            if (unrecorded_reading.arm, unrecorded_reading.seed) == own
        ]
        reads = [_line(reading, spec, folder) for reading in missing]
        for read in reads:
            append_read(folder.experiment.ledger, read)
    return reads


def _check_whole(folder: RunFolder) -> None:
    """Raise unless the run is complete and every file, weights too, is as it was written."""
    if state(folder) is not RunState.COMPLETE:
        raise StoreError(
            f"{folder.path} is not complete ({state(folder)})",
            "finish it where it was begun, or here: paribus run",
        )
    checked = Checked()
    check_run(folder, checked)
    if checked.in_use:
        raise StoreError(f"{folder.path} is in use by another process", "wait until it is done")
    if checked.differences:
        lines = "\n  ".join(
            f"{difference.file}: {difference.what}" for difference in checked.differences
        )
        raise DamagedError(lines, "copy the whole folder once more")


def _check_design(folder: RunFolder, spec: dict[str, Any], description: Description) -> None:
    """Raise StoreError unless the experiment has this arm with this seed, and just these settings.

    The description holds the settings of an arm's first seed.
    """
    arms = {arm.name: arm.identity for arm in description.arms}
    if folder.arm not in arms:
        raise StoreError(
            f"{folder.experiment.path} has no arm {folder.arm}; its arms: {', '.join(arms)}",
            _ELSEWHERE,
        )
    expected = dict(arms[folder.arm])
    seeds = description.seeds if "replicate" in expected else 1
    if folder.replicate >= seeds:
        raise StoreError(
            f"{folder.arm} has seeds up to {seeds - 1}, and this run has {folder.replicate}",
            "run the experiment once with more `seeds`: it keeps what is complete",
        )
    if "replicate" in expected:
        expected["replicate"] = folder.replicate
    different = differences(expected, spec["identity"])
    if different:
        raise StoreError(
            "\n  ".join([f"{folder.path} was run with other settings than its arm:", *different]),
            _ELSEWHERE,
        )


def _check_inputs(folder: RunFolder) -> None:
    """Raise StoreError unless it was tested on what the experiment's complete runs were tested on.

    Runs of its own arm had the same weights, problems and tokens in every seed.
    """
    for other in folder.experiment.runs():
        if other.path == folder.path or state(other) is not RunState.COMPLETE:
            continue
        theirs, own = _inputs(other), _inputs(folder)
        keys = theirs.keys() | own.keys() if other.arm == folder.arm else {"test_sha256"}
        different = differences(
            {key: theirs.get(key) for key in keys}, {key: own.get(key) for key in keys}
        )
        if different:
            lines = [f"{folder.path} read something else than {other.path}:", *different]
            raise StoreError("\n  ".join(lines), _ELSEWHERE)


def _inputs(run: RunFolder) -> dict[str, str]:
    """Return the hashes of what a complete run read. Raises DamagedError."""
    try:
        return dict(read_json(run.spec)["inputs"])
    except UNREADABLE as error:
        raise DamagedError(f"{run.spec} cannot be read: {error!r}", "restore it") from error


def _line(tested: Reading, spec: dict[str, Any], folder: RunFolder) -> TestRead:
    """Return the line for one reading; when it took place is not known here."""
    return TestRead(
        time=now(),
        arm=tested.arm,
        seed=tested.seed,
        protocol=tested.protocol,
        problems=read_result(folder.result).evaluation.problems,
        test_sha256=str(spec["inputs"]["test_sha256"]),
        fingerprint=str(spec["fingerprint"]),
        adopted=True,
    )
