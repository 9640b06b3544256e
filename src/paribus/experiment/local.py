"""Run an experiment on this machine, one run after the other.

Everything is checked first; finished runs are kept; a failed run does not stop the others.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from paribus.config.load import Loaded
from paribus.config.spec import RunSpec, differences
from paribus.errors import RunFailed, StoreError, UserError
from paribus.experiment.isolated import run_here, run_isolated
from paribus.experiment.matrix import Design
from paribus.experiment.progress import Progress
from paribus.files import read_json
from paribus.models.quiet import quiet_libraries
from paribus.planning.inputs import Inputs, prepare
from paribus.store.experiments import write_description
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.runs import RunState, check, state

OnRun = Callable[[RunSpec, Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an experiment went.

    Attributes:
        ran: runs finished now.
        kept: runs that were complete before.
        failed: run name and message of each failure.
    """

    ran: int
    kept: int
    failed: tuple[tuple[str, str], ...]


def run_experiment(
    loaded: Loaded, design: Design, root: Path, on_progress: OnRun, *, isolate: bool = True
) -> Outcome:
    """Run what is not complete yet under `root`, and return how it went.

    Raises UserError before any compute is spent if something cannot work, StoreError if a
    complete run there was made from another spec or nothing can be written. Failures of single
    runs are in the result.
    """
    folder = ExperimentFolder(root / loaded.config.name)
    pending = [spec for spec in design.runs if not is_complete(spec, folder)]
    if pending:
        check_inputs(design, folder)
    write_description(folder, description(loaded, design))
    execute = run_isolated if isolate else run_here
    failed: list[tuple[str, str]] = []
    for spec in pending:
        try:
            execute(spec, folder.run(spec.arm, spec.replicate), partial(on_progress, spec))
        except StoreError:  # the disk: the next run would fail as this one did
            raise
        except (RunFailed, UserError) as error:
            failed.append((f"{spec.arm}/seed-{spec.replicate}", str(error)))
            on_progress(spec, Progress(stage="failed"))
        else:
            on_progress(spec, Progress(stage="complete"))
    ran = len(pending) - len(failed)
    return Outcome(ran=ran, kept=len(design.runs) - len(pending), failed=tuple(failed))


def is_complete(spec: RunSpec, folder: ExperimentFolder) -> bool:
    """Return whether `spec` has been run to the end.

    Raises StoreError if its place is taken by a run with another fingerprint, or if files of
    the finished run are gone.
    """
    run = folder.run(spec.arm, spec.replicate)
    if state(run) is not RunState.COMPLETE:
        return False
    stored = read_json(run.spec)
    if stored["fingerprint"] != spec.fingerprint:
        raise _taken(run, differences(stored["identity"], spec.identity()))
    check(run)
    return True


def check_inputs(design: Design, folder: ExperimentFolder) -> dict[str, Inputs]:
    """Return every arm's inputs, by arm. Raises UserError on the first that cannot be made.

    A complete run whose weights or problems were other than today's is a StoreError: its arm
    could not be compared with the others.
    """
    quiet_libraries()
    inputs = {arm.name: prepare(arm.config, design.runs[0].seed) for arm in design.arms}
    for spec in design.runs:
        run = folder.run(spec.arm, spec.replicate)
        if state(run) is RunState.COMPLETE:
            stored, now = read_json(run.spec)["inputs"], inputs[spec.arm].identity()
            if stored != now:
                raise _taken(run, differences(stored, now))
    return inputs


def description(loaded: Loaded, design: Design) -> dict[str, Any]:
    """Return the content of `experiment.yaml`."""
    identities = {spec.arm: spec.identity() for spec in reversed(design.runs)}
    return {
        "format": 1,
        "config": asdict(loaded.config),
        "origins": {key: str(origin) for key, origin in loaded.origins.items()},
        "arms": [
            {"name": arm.name, "factors": dict(arm.factors), "identity": identities[arm.name]}
            for arm in design.arms
        ],
        "contrasts": [asdict(contrast) for contrast in design.contrasts],
    }


def _taken(run: RunFolder, lines: list[str]) -> StoreError:
    return StoreError(
        "\n  ".join([f"{run.path} holds a complete run that differs from this one:", *lines]),
        "run under another name (name=…) or folder (--runs DIR), or delete that run's folder",
    )
