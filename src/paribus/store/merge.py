"""Stores of one experiment, filled on several machines, as one store.

    merged = merge([Path("a/gsm8k"), Path("b/gsm8k")], Path("runs/gsm8k"))
    merged.copied                # [Path("runs/gsm8k/lora/seed-0"), …]

    1 compare   the experiments, the runs that several stores hold, settings and inputs of each arm
    2 verify    every file of every complete run against its manifest, weights too
    3 write     description, ledger and trials, each whole or not at all
    4 copy      each run to a hidden folder, verify the copy, then rename it into its place

Nothing is written before 1 and 2 find nothing wrong; all that is wrong is named at once. Whoever
was stopped in 4 gives the same command again: what is there already is one more store, and runs in
place are compared, not copied. Which runs are complete is looked up before ledgers are read, so a
run that another process completes meanwhile is left out, and its readings may be on record already.
"""

import os
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paribus.config.spec import differences, made_alike
from paribus.errors import DamagedError, StoreError, UserError, joined
from paribus.files import UNREADABLE, read_json, remove, sync
from paribus.store.experiments import (
    Description,
    read_description,
    read_tuning,
    write_description,
    write_tuning,
)
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.ledger import join_ledgers, read_ledger
from paribus.store.locks import held, locked
from paribus.store.manifest import check, read_manifest
from paribus.store.parts import joined_description, joined_tuning, refuse_other_decisions
from paribus.store.results import read_result
from paribus.store.runs import RunState, writing
from paribus.store.status import (
    experiments_in,
    is_trial,
    run_status,
    runs_of,
    store_of,
)
from paribus.store.verify import Checked, check_ledger, check_run

OnStep = Callable[[str], None]
"""Is told what is being done next."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A run, or a part of one, that was not taken, and why."""

    folder: Path
    why: str


@dataclass(slots=True)
class Merged:
    """What a merge did.

    Attributes:
        into: the folder of the joined experiment.
        copied: runs and trials that were copied there.
        kept: those that were complete there before.
        agreeing: those that more than one store holds, byte for byte the same.
        left_out: what was not taken.
        bytes: copied.
        readings: of the test split, in the joined ledger.
        machines: what runs were made on -> how many of them.
    """

    into: Path
    copied: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    agreeing: list[Path] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    bytes: int = 0
    readings: int = 0
    machines: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Found:
    """The complete runs of all stores, by their place in an experiment's folder."""

    runs: dict[Path, list[RunFolder]] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)


def merge(
    sources: Sequence[Path],
    into: Path,
    leave_out: Sequence[Path] = (),
    on_step: OnStep = lambda _: None,
) -> Merged:
    """Join the experiments in `sources` in the folder `into`, and return what was done.

    `leave_out` names folders of runs, or of arms, in `sources` that are not taken; their lines in
    the ledger are. Raises UserError, which names all that is wrong, before anything is written; a
    StoreError if `into` is in use or cannot be written.
    """
    _refuse_places(sources, into)
    target = ExperimentFolder(into)
    with locked(target.lock):
        _clear(target)
        others = [ExperimentFolder(path) for path in sources if not _same(path, into)]
        stores = [*([target] if target.description.is_file() else []), *others]
        described = [read_description(store) for store in stores]
        description = joined_description(stores, described)
        found = _find(stores, target, leave_out)
        tuning = joined_tuning({store: _arms_left_out(found, store) for store in stores})
        refuse_other_decisions(stores)
        _refuse(_faults(found, target, description))
        _refuse(_damaged(found, stores, on_step))
        merged = _outcome(found, target)
        to_copy = {place: runs[0] for place, runs in found.runs.items()
                   if target.path / place not in merged.kept}  # fmt: skip
        merged.bytes = _room(to_copy.values(), target)
        if target not in stores or description != described[0]:
            write_description(target, description)
        join_ledgers(target.ledger, [store.ledger for store in others])
        if tuning != read_tuning(target):
            write_tuning(target, tuning)
        for number, (place, run) in enumerate(sorted(to_copy.items()), 1):
            on_step(f"copying {run.path} ({number} of {len(to_copy)})")
            _copy(run, place, target)
        merged.readings = len(read_ledger(target.ledger))
    return merged


def _refuse(faults: Sequence[UserError]) -> None:
    if faults:
        raise joined(faults)


def _same(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve()


def _refuse_places(sources: Sequence[Path], into: Path) -> None:
    """Raise StoreError unless each source is an experiment of its own, and `into` lies in none."""
    for at, path in enumerate(sources):
        if not ExperimentFolder(path).description.is_file():
            raise StoreError(f"{path} holds no experiment", _instead(path))
        if any(_same(path, other) for other in sources[:at]):
            raise StoreError(f"{path} is given twice", "name each store once")
    if all(_same(path, into) for path in sources):
        raise StoreError(f"nothing is to be joined with {into}", "name other stores before --into")
    if into.exists() and not into.is_dir():
        raise StoreError(f"{into} is not a folder", "name a new folder, or an experiment's")
    for path in (*sources, into):
        around = store_of(path.resolve())
        if around is not None:
            raise StoreError(
                f"{path} lies in {around}, which is a store itself", "name a place outside of it"
            )
    for path in sources:
        if path.resolve().is_relative_to(into.resolve()) and not _same(path, into):
            raise StoreError(f"{path} lies in {into}", "name a new folder for the joined store")


def _instead(path: Path) -> str:
    inside = [str(folder.path) for folder in experiments_in(path)]
    return f"name one of {', '.join(inside)}" if inside else "name an experiment's folder of runs"


def _clear(target: ExperimentFolder) -> None:
    """Remove what a killed merge left. Raises StoreError if files of something else lie there."""
    for path in target.path.glob(target.arriving().name):
        with writing(path):
            remove(path)
    locks = (target.lock, target.files_lock)
    others = [path for path in sorted(target.path.iterdir()) if path not in locks]
    if others and not target.description.is_file():
        raise StoreError(
            f"{target.path} holds {others[0].name}, and no experiment",
            "name a new folder, or that of an experiment",
        )


def _find(
    stores: Sequence[ExperimentFolder], target: ExperimentFolder, leave_out: Sequence[Path]
) -> _Found:
    """Return the complete runs of all stores, and what is not taken of those but `target`."""
    found, unused = _Found(), dict.fromkeys(path.resolve() for path in leave_out)
    for store in stores:
        for run in runs_of(store):
            named = [path for path in unused if run.path.resolve().is_relative_to(path)]
            now = run_status(run)
            in_use = held(run.lock)
            if named and store != target:
                unused |= dict.fromkeys(named, True)
                found.left_out.append(LeftOut(run.path, "left out as asked"))
            elif now.state in (RunState.COMPLETE, RunState.DAMAGED) and not in_use:
                found.runs.setdefault(run.path.relative_to(store.path), []).append(run)
                if store != target and run.pieces.is_dir() and not run.further.manifest.exists():
                    found.left_out.append(LeftOut(run.pieces, "unfinished further tests"))
            elif store != target and now.state is not RunState.MISSING:
                found.left_out.append(LeftOut(run.path, _why(run, in_use=in_use)))
    wrong = [path for path, used in unused.items() if not used]
    if wrong:
        raise StoreError(
            f"no run is left out by {wrong[0]}",
            "name the folder of a run or of an arm in one of the stores before --into",
        )
    return found


def _why(run: RunFolder, *, in_use: bool) -> str:
    """Return why a run that is not complete, or in use, is not taken."""
    now = run_status(run)
    if in_use:
        return "a process works on it"
    parts = [str(now.state), *(now.error or "").splitlines()[:1]]
    resumes = f"; it resumes there from {now.goes_on}" if now.goes_on else ""
    return ": ".join(parts) + resumes


def _arms_left_out(found: _Found, store: ExperimentFolder) -> set[str]:
    """Return the arms of which trials in `store` are not taken."""
    folders = [each.folder for each in found.left_out if is_trial(each.folder)]
    return {path.parent.name for path in folders if path.is_relative_to(store.path)}


def _faults(found: _Found, target: ExperimentFolder, description: Description) -> list[UserError]:
    """Return what is wrong with the runs, as far as no large file need be read."""
    faults: list[UserError] = []
    arms = {arm.name: arm.identity for arm in description.arms}
    inputs: dict[str, tuple[RunFolder, dict[str, Any]]] = {}
    for place, runs in found.runs.items():
        try:
            _refuse_half_placed(runs)
            _refuse_unlike(runs)
            _refuse_occupied(target, place, runs)
            if not is_trial(runs[0].path):
                _refuse_other_settings(runs[0], arms.get(runs[0].arm))
                _refuse_other_inputs(runs[0], inputs)
        except StoreError as error:
            faults.append(error)
        except UNREADABLE as error:
            faults.append(DamagedError(f"{runs[0].spec} cannot be read: {error!r}", "restore it"))
    return faults


def _refuse_half_placed(runs: Sequence[RunFolder]) -> None:
    for run in runs:
        if run.further.manifest.exists():
            check(run, weights=False)


def _refuse_unlike(runs: Sequence[RunFolder]) -> None:
    """Raise StoreError unless manifests of the same run list the same content."""
    first, *others = runs
    files = read_manifest(first)["files"]
    for other in others:
        theirs = read_manifest(other)["files"]
        names = sorted(files.keys() | theirs.keys())
        unlike = [name for name in names if files.get(name) != theirs.get(name)]
        if unlike:
            alike = [name for name in names if name not in unlike]
            lines = [
                f"{first.path} and {other.path} are not the same run byte for byte: "
                f"{', '.join(unlike)} differ; {', '.join(alike) or 'no file'} "
                f"{'agree' if len(alike) > 1 else 'agrees'}",
                *(f"  {line}" for line in _circumstances(first, other)),
            ]
            raise StoreError(
                "\n  ".join(lines),
                f"it was run twice: leave one out, as by --leave-out {other.path}; choose by how "
                "they were made, not by what they solved. Both readings of the test split stay on "
                "record",
            )


def _circumstances(first: RunFolder, other: RunFolder) -> list[str]:
    """Return in what settings, inputs, versions and machine two executions of a run differ."""
    parts = ("identity", "inputs", "environment")
    specs = [{part: read_json(run.spec).get(part) for part in parts} for run in (first, other)]
    return differences(*specs)


def _refuse_occupied(target: ExperimentFolder, place: Path, runs: Sequence[RunFolder]) -> None:
    """Raise StoreError if another than a complete run lies where the run is to be put."""
    goal = RunFolder(target.path / place)
    if goal.path in [run.path for run in runs] or not goal.path.exists():
        return
    if held(goal.lock):
        raise StoreError(f"{goal.path} is in use by another process", "wait until it is done")
    if any(path != goal.lock for path in goal.path.iterdir()):
        raise StoreError(
            f"{goal.path} is not complete, and {runs[0].path} would take its place",
            f"remove it first: paribus clean {goal.path}; or keep it: --leave-out {runs[0].path}",
        )


def _refuse_other_settings(run: RunFolder, expected: Mapping[str, Any] | None) -> None:
    """Raise StoreError unless the run has the settings of its arm, which may ask for more tests.

    Of an arm that is not described any more nothing is known.
    """
    if expected is None:
        return
    if "replicate" in expected:
        expected = {**expected, "replicate": run.replicate}
    identity = read_json(run.spec)["identity"]
    lines = differences(dict(expected), identity)
    if lines and not made_alike(expected, identity):
        raise StoreError(
            "\n  ".join([f"{run.path} was run with other settings than its arm:", *lines]),
            f"leave it out: --leave-out {run.path}",
        )


def _refuse_other_inputs(
    run: RunFolder, known: dict[str, tuple[RunFolder, dict[str, Any]]]
) -> None:
    """Raise StoreError if the run read other weights, problems or tokens than its arm's others."""
    spec = read_json(run.spec)
    settings = {key: value for key, value in spec["identity"].items() if key != "replicate"}
    key = f"{run.arm} {sorted(settings.items())}"
    other, inputs = known.setdefault(key, (run, spec["inputs"]))
    lines = differences(inputs, spec["inputs"])
    if lines:
        raise StoreError(
            "\n  ".join([f"{run.path} read something else than {other.path}:", *lines]),
            "weights or rows differed where it was made: run it again with those of the other, or "
            f"leave it out: --leave-out {run.path}",
        )


def _damaged(found: _Found, stores: Sequence[ExperimentFolder], on_step: OnStep) -> list[UserError]:
    """Return every file that is not as it was written, of runs and of ledgers."""
    checked = Checked()
    for runs in found.runs.values():
        for run in runs:
            on_step(f"checking {run.path}")
            with checked.reading(run.path):
                check_run(run, checked)
    for store in stores:
        with checked.reading(store.ledger):
            check_ledger(store, checked)
    faults: list[UserError] = [
        DamagedError(
            f"{difference.file}: {difference.what}",
            "restore what is damaged, remove what was added, or leave the run out: --leave-out RUN",
        )
        for difference in checked.differences
    ]
    faults += [StoreError(f"{path} is in use by now", "give the same command again")
               for path in checked.in_use]  # fmt: skip
    return faults


def _outcome(found: _Found, target: ExperimentFolder) -> Merged:
    """Return what there is to do, as if it were done."""
    merged = Merged(target.path, left_out=found.left_out)
    machines: Counter[str] = Counter()
    for place, runs in sorted(found.runs.items()):
        there = runs[0].path == target.path / place
        (merged.kept if there else merged.copied).append(target.path / place)
        if len(runs) > 1:
            merged.agreeing.append(target.path / place)
        facts = read_result(runs[0].result).environment
        known = [facts[name] for name in ("machine", "processor") if name in facts]
        machines["; ".join(known) or "a machine that is not on record"] += 1
    merged.machines = dict(machines)
    return merged


def _room(runs: Iterable[RunFolder], target: ExperimentFolder) -> int:
    """Return the bytes that the runs take. Raises StoreError if the disk has less room."""
    files = [read_manifest(run)["files"] for run in runs]
    size = sum(int(entry["bytes"]) for each in files for entry in each.values())
    free = shutil.disk_usage(target.path).free
    if size > free:
        raise StoreError(
            f"the runs to copy take {size:,} bytes, and {target.path} has room for {free:,}",
            "free some disk space, or name another disk with --into",
        )
    return size


def _copy(run: RunFolder, place: Path, target: ExperimentFolder) -> None:
    """Copy a run to its place, all of it or nothing. Raises StoreError."""
    temporary = RunFolder(target.arriving(secrets.token_hex(4)))
    try:
        with writing(temporary.path):
            _copy_files(run, temporary)
        try:
            check(temporary, hashing=True)
        except StoreError as error:
            raise StoreError(
                f"{run.path} changed while it was copied, or was not copied whole: {error.message}",
                "check the disks, then give the same command again",
            ) from error
        goal = RunFolder(target.path / place)
        with writing(goal.path):
            goal.path.parent.mkdir(parents=True, exist_ok=True)
            if goal.path.exists():  # a run that was never begun
                goal.lock.unlink(missing_ok=True)
                goal.path.rmdir()
            temporary.path.rename(goal.path)
            sync(goal.path.parent)
    except BaseException:
        shutil.rmtree(temporary.path, ignore_errors=True)
        raise


def _copy_files(run: RunFolder, goal: RunFolder) -> None:
    """Copy what the manifest names, and the manifest last, with their times. Raises OSError.

    They are copies, not links: what befalls a file of one store leaves the other as it is.
    """
    names = [*read_manifest(run)["files"], run.manifest.name]
    for name in names:
        path = goal.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run.path / name, path, follow_symlinks=False)
        times = (run.path / name).stat()
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        sync(path)
    for folder in {(goal.path / name).parent for name in names}:
        sync(folder)
