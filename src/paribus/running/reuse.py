"""A baseline that the store holds already is copied into an experiment, not computed again.

    runs/baselines/gemma-3-270m-one_shot-raw-1f2e3d4c/seed-0     by `paribus baseline`
    runs/gsm8k/baseline/seed-0                                   made of it: `reuse` gives True

What an untuned model writes follows from its weights, the prompts, how it is decoded, the precision
and the software. All of it must be equal: the prompts are compared one by one, so it does not
matter which settings led to them. Each protocol may come from a different run. A stored run that is
damaged, or whose readings of the test split are not on record, is passed over.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from paribus.config.spec import RunSpec
from paribus.errors import StoreError
from paribus.files import UNREADABLE, read_json
from paribus.planning.inputs import Inputs, PromptSet
from paribus.prompts.encode import Prompt
from paribus.running.job import Job
from paribus.running.record import environment, precision, result_record, spec_record
from paribus.running.testing import Measured
from paribus.store.layout import RunFolder
from paribus.store.ledger import TestRead, append_read, read_ledger
from paribus.store.manifest import MANIFEST_FORMAT, check
from paribus.store.results import LIKELIHOOD, RunResult, read_result
from paribus.store.runs import (
    RunState,
    append_event,
    begin,
    finish,
    read_generations,
    state,
    writing,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A complete run of the same untuned model, its `result.json` and its experiment's ledger."""

    folder: RunFolder
    result: RunResult
    ledger: list[TestRead]

    @property
    def main(self) -> str:
        """Its main protocol, after whose prompts the likelihoods were measured."""
        return self.result.evaluation.protocol

    def reads(self, protocol: str) -> list[TestRead]:
        """Return its readings of the test split under `protocol`."""
        own = (self.folder.arm, self.folder.replicate, protocol)
        return [read for read in self.ledger if (read.arm, read.seed, read.protocol) == own]


def reuse(job: Job) -> bool:
    """Complete a run from other experiments of the store; return whether that was possible.

    Returns False and writes nothing if the run trains, is tested on further tasks too, or if the
    store lacks one of its protocols.
    Raises StoreError if the folder holds a complete run or cannot be written.
    """
    spec, folder = job.spec, job.folder
    if spec.config.method != "none" or job.inputs.further:
        return False
    stored_runs = _find(spec, job.inputs, folder, environment(spec, job.device))
    if not stored_runs:
        return False
    begin(folder, spec_record(job))
    _copy(stored_runs, folder)
    main, *also = stored_runs
    root = folder.experiment.path.parent
    places = [run.folder.path.relative_to(root).as_posix() for run in stored_runs.values()]
    sources = list(dict.fromkeys(places))
    append_event(folder, {"event": "reused", "from": sources})
    _copy_reads(stored_runs, spec, folder)
    costs = {name: run.result.protocols[name] for name, run in stored_runs.items()}
    measured = Measured(
        evaluation=costs[main],
        also={name: costs[name] for name in also},
        heldout=stored_runs[main].result.heldout,
    )
    record = result_record(job, None, measured)
    finish(folder, record.model_copy(update={"reused_from": sources}))
    return True


def _find(
    spec: RunSpec, inputs: Inputs, folder: RunFolder, here: Mapping[str, str]
) -> dict[str, _Stored]:
    """Return a stored run for each protocol, the main one first; empty if any has none."""
    root = folder.experiment.path.parent
    places = sorted(path.parent for path in root.glob("*/*/seed-*/spec.json"))
    opened = [_open(RunFolder(path), spec, inputs, here) for path in places]
    stored = [run for run in opened if run is not None]
    by_protocol: dict[str, _Stored] = {}
    for asked in inputs.prompt_sets:
        name, first = asked.protocol.name, not by_protocol
        # The likelihoods come with the main protocol: only a run that has it as its own serves.
        able = (run for run in stored if not first or (run.main == name and run.reads(LIKELIHOOD)))
        chosen = next((run for run in able if _serves(run, asked)), None)
        if chosen is None:
            return {}
        by_protocol[name] = chosen
    return by_protocol


def _open(
    folder: RunFolder, spec: RunSpec, inputs: Inputs, here: Mapping[str, str]
) -> _Stored | None:
    """Return the run in `folder` if it is whole, and the same model tested in the same way."""
    try:
        stored = read_json(folder.spec)
        if (
            stored["format"] != MANIFEST_FORMAT
            or stored["inputs"]["model"] != inputs.source.identity
            or _decoding(stored["identity"]) != _decoding(spec.identity())
            or state(folder) is not RunState.COMPLETE
        ):
            return None
        check(folder)
        result = read_result(folder.result)
        equal = result.environment == here and result.precision == precision(spec.config)
        ledger = read_ledger(folder.experiment.ledger)
        return _Stored(folder=folder, result=result, ledger=ledger) if equal else None
    except (StoreError, *UNREADABLE):
        return None  # damaged: as if it were not there


def _decoding(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a baseline reads of its identity besides model and prompts."""
    evaluation = identity["evaluation"]
    return {
        "method": identity["method"],
        "quantization": identity.get("quantization"),
        "max_new_tokens": evaluation["max_new_tokens"],
        "batch_size": evaluation["batch_size"],
        "engine": evaluation.get("engine", "paribus"),
    }


def _serves(run: _Stored, asked: PromptSet) -> bool:
    """Return whether `run` answered just these prompts, in this order, and it is on record."""
    name = asked.protocol.name
    if name not in run.result.protocols or not run.reads(name):
        return False
    try:
        answered = read_generations(run.folder.generations(name))
    except StoreError:
        return False
    return [
        (
            generation.prompt_sha256,
            generation.question,
            generation.answer,
            generation.solution,
            generation.group,
            generation.answers,
            generation.choices,
            generation.document,
        )
        for generation in answered
    ] == [_expected(prompt) for prompt in asked.prompts]


def _expected(prompt: Prompt) -> tuple[object, ...]:
    own = prompt.problem
    return (
        *(prompt.sha256, own.question, own.answer, own.solution, own.group),
        *(own.answers, own.choices, own.document),
    )


def _copy(by_protocol: Mapping[str, _Stored], folder: RunFolder) -> None:
    """Copy the texts of every protocol, and the likelihoods of the first."""
    with writing(folder.path):
        for index, (name, run) in enumerate(by_protocol.items()):
            target = folder.generations(name)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(run.folder.generations(name), target)
            if index == 0:
                shutil.copyfile(run.folder.heldout, folder.heldout)


def _copy_reads(by_protocol: Mapping[str, _Stored], spec: RunSpec, folder: RunFolder) -> None:
    """Enter the readings that the texts come from, with their time, into the new ledger.

    A reading that is there already is not entered twice: it was one reading.
    """
    ledger = folder.experiment.ledger
    main = next(iter(by_protocol.values()))
    known = set(read_ledger(ledger))
    for name, run in [*by_protocol.items(), (LIKELIHOOD, main)]:
        for read in run.reads(name):
            moved = replace(read, arm=spec.arm, seed=spec.replicate)
            if moved not in known:
                append_read(ledger, moved)
