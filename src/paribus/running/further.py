"""A finished run's kept weights are tested further: more problems, other protocols, longer texts.

    if before := stored_before(spec, folder):         # the complete run that differs in its tests
        go_further(before, job)

Texts that exist are kept: those under the same prompts that ended by themselves, and those that
were cut, unless they may be longer now. The new run is made in `pieces/further`, sealed there, and
put in the old one's place; until then the old one is the complete run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from paribus.config.spec import RunSpec, differences, name_in, same_but_size
from paribus.errors import StoreError
from paribus.files import read_json, sha256_of_json
from paribus.models.fast import blocked
from paribus.models.fast.layers import load_adapter
from paribus.models.load import for_inference, load_model
from paribus.models.source import ModelSource
from paribus.planning.inputs import Inputs
from paribus.planning.stored import goes_further
from paribus.records import Generation, Stop
from paribus.running.engine import engine
from paribus.running.job import Job
from paribus.running.ranks import Hold, together
from paribus.running.record import result_record, spec_record
from paribus.running.testing import Kept, measure_all
from paribus.store.checkpoints import Pieces
from paribus.store.layout import RunFolder
from paribus.store.manifest import check
from paribus.store.results import (
    EvaluationCost,
    FurtherTest,
    LikelihoodSummary,
    RunResult,
    read_result,
)
from paribus.store.runs import (
    RunState,
    append_event,
    begin,
    finish,
    put_in_place,
    read_generations,
    read_heldout,
    state,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """The complete run to resume from: its `spec.json` and its result."""

    spec: dict[str, Any]
    result: RunResult

    @property
    def costs(self) -> dict[str, EvaluationCost]:
        """What testing cost under each protocol, by its name."""
        # Of a process of vLLM's own no peak is known.
        return {
            name: cost.model_copy(update={"peak_memory_bytes": cost.peak_memory_bytes or 0})
            for name, cost in self.result.protocols.items()
        }

    def steps(self, lines: Sequence[str], kept: Mapping[str, int]) -> list[FurtherTest]:
        """Return all further tests of the run, this one last."""
        this = FurtherTest(
            fingerprint=self.spec["fingerprint"],
            differences=list(lines),
            kept=dict(kept),
            costs=self.costs,
        )
        return [*self.result.tested_further, this]


def stored_before(spec: RunSpec, folder: RunFolder) -> Before | None:
    """Return the complete run in `folder` that `spec` tests further; None if there is none."""
    if state(folder) is not RunState.COMPLETE:
        return None
    stored = read_json(folder.spec)
    if not goes_further(spec, stored["identity"]):
        return None
    return Before(spec=stored, result=read_result(folder.result))


def go_further(before: Before, job: Job) -> None:
    """Test what is not there yet, and put the run that is complete then in the old one's place.

    Raises DamagedError if the old run is not as it was written, StoreError if it was made by other
    versions or on another machine: its texts and the new ones could not be mixed.
    """
    spec, inputs, folder = job.spec, job.inputs, job.folder
    record = _with_tasks_before(spec_record(job), before.spec)
    _refuse_others(before, record, folder)
    new = folder.further
    begin(new, record, events=folder.events)
    kept = _kept(before, spec, inputs, folder)
    lines = differences(before.spec["identity"], record["identity"])
    counts = {name: len(texts) for name, texts in kept.texts.items()}
    append_event(new, {"event": "further", "differences": lines, "kept": counts})
    pieces = Pieces(folder=new, run=record, on_damaged=job.note)
    with together(Hold.of(job, _load)):
        model = _load(job)
    with engine(model, job) as vllm:
        blocked.use(model)
        measured = measure_all(model, job, pieces, vllm, kept)
    result = result_record(job, None, measured)
    tested = {
        "evaluation": result.evaluation,
        "also": result.also,
        "heldout": result.heldout,
        **({"tasks": {**before.result.tasks, **result.tasks}} if result.tasks else {}),
        "data": result.data,
        "tested_further": before.steps(lines, counts),
    }
    finish(new, before.result.model_copy(update=tested))
    put_in_place(folder)


def _with_tasks_before(record: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return `record` with the further tasks, too, that were tested and are not asked for now.

    Their texts stay, and serve whoever asks for them again.
    """
    evaluation = record["identity"]["evaluation"]
    now = evaluation.get("tasks", [])
    names = {name_in(task) for task in now}
    kept = [t for t in before["identity"]["evaluation"].get("tasks", []) if name_in(t) not in names]
    if not kept:
        return record
    identity = {**record["identity"], "evaluation": {**evaluation, "tasks": [*now, *kept]}}
    inputs = {key: value for key, value in before["inputs"].items() if key.startswith("task ")}
    return {
        **record,
        "identity": identity,
        "fingerprint": sha256_of_json(identity),
        "inputs": {**inputs, **record["inputs"]},
    }


def _refuse_others(before: Before, record: Mapping[str, Any], folder: RunFolder) -> None:
    """Raise StoreError if the old run is damaged, or of other versions or another machine."""
    stored, now = (_tests_alike(made["environment"]) for made in (before.spec, record))
    lines = differences(stored, now)
    if lines:
        raise StoreError(
            "\n  ".join(
                [f"{folder.path} cannot be tested further here, it was made with:", *lines]
            ),
            "use those versions and that machine, or run under another name (name=…)",
        )
    check(folder, hashing=True)


def _tests_alike(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without how ranks train, which no test depends on."""
    ranks = environment.get("ranks", "1").partition(",")[0]
    return {**environment, "ranks": ranks}


def _kept(before: Before, spec: RunSpec, inputs: Inputs, folder: RunFolder) -> Kept:
    """Return what need not be tested again, of the arm's own task and of further ones."""
    stored, asked = before.spec["identity"], spec.identity()
    longer = asked["evaluation"]["max_new_tokens"] > stored["evaluation"]["max_new_tokens"]
    result = before.result
    main = (result.evaluation.protocol, result.heldout)
    own = _kept_of(before.costs, main, inputs, folder, longer=longer)
    # A task that was another then is tested anew: its texts may end elsewhere.
    tested, now = ({name_in(task): task for task in identity["evaluation"].get("tasks", [])}
                   for identity in (stored, asked))  # fmt: skip
    tasks = {}
    for task in inputs.further:
        known = result.tasks.get(task.task)
        if known and task.task in tested and same_but_size(tested[task.task], now[task.task]):
            main = (known.evaluation.protocol, known.heldout)
            costs = {known.evaluation.protocol: known.evaluation}
            place = folder.of_task(task.task)
            tasks[task.task] = _kept_of(costs, main, task, place, longer=longer)
    return replace(own, tasks=tasks)


def _kept_of(
    costs: Mapping[str, EvaluationCost],
    main: tuple[str, LikelihoodSummary | None],
    inputs: Inputs,
    folder: RunFolder,
    *,
    longer: bool,
) -> Kept:
    """Return what is kept of one task; `main` is its main protocol with its likelihoods then."""
    texts: dict[str, dict[str, Generation]] = {}
    for asked in inputs.prompt_sets:
        name = asked.protocol.name
        if name in costs:
            wanted = {prompt.sha256 for prompt in asked.prompts}
            written = read_generations(folder.generations(name))
            texts[name] = {
                generation.prompt_sha256: generation
                for generation in written
                if generation.prompt_sha256 in wanted
                and not (longer and generation.stop is Stop.LENGTH)
            }
    protocol, known = main
    if inputs.prompt_sets[0].protocol.name != protocol or (
        known and known.problems != len(inputs.tested)
    ):
        known = None
    heldout = (read_heldout(folder.heldout), known) if known else None
    return Kept(texts=texts, costs=costs, heldout=heldout)


def _load(job: Job) -> nn.Module:
    """Return the run's model as it was tested: its kept weights, or the untuned ones."""
    config, source, weights = job.config, job.inputs.source, job.folder.weights
    if config.method == "full":
        source = ModelSource(path=Path(weights), identity=source.identity)
    model = load_model(source, job.compute, job.device, config.quantization)
    if config.trains_beside:
        model = load_adapter(model, weights)
    return for_inference(model, job.compute)
