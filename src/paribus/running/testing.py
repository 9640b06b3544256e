"""Test a trained model: its texts under every protocol, and the likelihood of gold solutions.

Before any of it reads the test split, a line in the experiment's ledger says so.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from typing import Any

from torch import nn

from paribus.config.spec import RunSpec
from paribus.config.task import Task
from paribus.data.alike import contained_13gram, contained_exactly, overlaps
from paribus.data.problems import hash_of_tests
from paribus.evaluation.engine.by_lm_eval import ask, left_out_of
from paribus.evaluation.engine.generate import measure, total_cost
from paribus.evaluation.engine.likelihood import measure_likelihoods
from paribus.evaluation.engine.vllm import BATCHES_AT_ONCE, Continued, generate_by_vllm
from paribus.models import ranks
from paribus.models.device import peak_memory_bytes
from paribus.planning.inputs import Inputs, PromptSet
from paribus.prompts.formats import SHOWN
from paribus.records import Generation, Likelihood, Problem
from paribus.running.job import Job
from paribus.running.progress import Pace, Progress, Stage
from paribus.running.shares import Choose, Decode, Rate, Test, shared
from paribus.store.checkpoints import Pieces
from paribus.store.layout import file_name, reading_of
from paribus.store.ledger import TestRead, append_read, now
from paribus.store.results import (
    LIKELIHOOD,
    DataCounts,
    EvaluationCost,
    LikelihoodSummary,
    TaskResult,
)
from paribus.store.runs import (
    append_event,
    as_generation,
    as_likelihood,
    generation_row,
    likelihood_row,
    write_generations,
    write_heldout,
)

PIECE = 16
"""Batches of problems that are decoded in one go, then stored as one piece.

A row that ends makes room for the next problem of the piece. At its end the batch runs empty, which
takes about a twentieth of the time.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What testing cost: the parts of a `RunResult` by these names."""

    evaluation: EvaluationCost
    also: dict[str, EvaluationCost]
    heldout: LikelihoodSummary | None
    tasks: dict[str, TaskResult] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What an earlier test of the same weights found, which is not tested again.

    Attributes:
        texts: protocol → hash of a prompt → what was written after it.
        costs: protocol → what all texts under it cost.
        heldout: rows and figures of the likelihoods; None if they are to be measured.
        tasks: the same of each further task, by its name.
    """

    texts: Mapping[str, Mapping[str, Generation]] = field(default_factory=dict)
    costs: Mapping[str, EvaluationCost] = field(default_factory=dict)
    heldout: tuple[list[Likelihood], LikelihoodSummary] | None = None
    tasks: Mapping[str, "Kept"] = field(default_factory=dict)


def measure_all(
    model: nn.Module,
    job: Job,
    pieces: Pieces,
    vllm: Continued | None = None,
    kept: Kept | None = None,
) -> Measured:
    """Test `model` under each of the arm's protocols, then on further tasks, and store its texts.

    What `pieces` holds already, or was `kept`, is not tested again. Where there is a `vllm`, it
    decodes; likelihoods are always computed here. Raises StoreError.
    """
    kept = kept or Kept()
    measured = _measure(model, job, pieces, vllm, kept)
    tasks = {}
    for inputs in job.inputs.further:
        known = kept.tasks.get(inputs.task, Kept())
        own = replace(job, inputs=inputs)
        if inputs.by_lm_eval:
            of_task = _measure_by_lm_eval(model, own, pieces, inputs.by_lm_eval, known)
        else:
            of_task = _measure(model, own, pieces, vllm, known)
        tasks[inputs.task] = TaskResult(
            evaluation=of_task.evaluation,
            heldout=of_task.heldout,
            data=_counts(inputs, job.inputs.problems.train),
        )
    return replace(measured, tasks=tasks)


def _counts(inputs: Inputs, trained: Sequence[Problem]) -> DataCounts:
    """Return counts of a further task's problems, and which occur in what is `trained` on."""
    sets = (inputs.tested, trained, inputs.problems.shots)
    return DataCounts(
        test_problems=len(inputs.tested),
        test_duplicates=inputs.problems.test_duplicates,
        overlap_exact=overlaps(*sets, contained_exactly),
        overlap_13gram=overlaps(*sets, contained_13gram),
        test_variant=inputs.problems.test_variant,
    )


def _measure(
    model: nn.Module, job: Job, pieces: Pieces, vllm: Continued | None, kept: Kept
) -> Measured:
    """Test `model` on one task, under each of its protocols."""
    inputs, spec = job.inputs, job.spec
    if not inputs.generates:
        return _losses_alone(model, job, pieces, kept)
    figures: dict[str, EvaluationCost] = {}
    folder = pieces.folder.of_task(inputs.task)
    for asked in inputs.prompt_sets:
        name = asked.protocol.name
        texts = kept.texts.get(name, {})
        left = asked.beyond(texts)
        costs = [kept.costs[name]] if texts else []
        if left.prompts:
            reading = reading_of(inputs.task, name)
            _enter(reading, [prompt.problem for prompt in left.prompts], spec, pieces)
            at_once = spec.config.evaluation.at_once * (BATCHES_AT_ONCE if vllm else ranks.count())
            decode = partial(write, model, job, left, vllm, pace=Pace(at_once=at_once))
            generations, cost = _by_piece(left, reading, spec, pieces, decode)
            costs.append(cost)
            texts = {
                **texts,
                **{generation.prompt_sha256: generation for generation in generations},
            }
        known: dict[str, Any] = {"protocol": name, "problems": len(asked.prompts)}
        if vllm is not None:
            # What was measured is not the process that decoded.
            known |= dict.fromkeys(("peak_memory_bytes", "peak_reserved_bytes"))
        figures[name] = total_cost(costs).model_copy(update=known)
        append_event(pieces.folder, {**_event("tested", inputs), **figures[name].record()})
        write_generations(folder, name, [texts[prompt.sha256] for prompt in asked.prompts])
    main = inputs.prompt_sets[0].protocol.name
    evaluation = figures.pop(main)
    heldout = _measure_heldout(model, job, pieces, kept)
    return Measured(evaluation=evaluation, also=figures, heldout=heldout)


def _measure_by_lm_eval(
    model: nn.Module, job: Job, pieces: Pieces, task: Task, kept: Kept
) -> Measured:
    """Let lm-eval's own code test `model` on one task: all of it, or nothing if that is `kept`."""
    inputs = job.inputs
    (asked,) = inputs.prompt_sets
    name, folder = asked.protocol.name, pieces.folder.of_task(inputs.task)
    reading = reading_of(inputs.task, name)
    texts = list(kept.texts.get(name, {}).values())
    cost = kept.costs.get(name)
    if cost is None or len(texts) != len(asked.prompts):
        _enter(reading, inputs.tested, job.spec, pieces)
        report = reporter("testing", len(asked.prompts), job)
        report(0)
        run = partial(
            ask,
            model,
            inputs.tokenizer,
            task,
            asked.prompts,
            shots=SHOWN[asked.protocol.shots],
            batch_size=job.config.evaluation.at_once,
        )
        texts, cost = _as_piece(reading, pieces, partial(measure, run, job.device))
        report(len(asked.prompts))
    left_out = sorted({key for text in texts for key in left_out_of(task, text)})
    if left_out:
        job.note(f"{inputs.task}: left out, as no figure of each document: {', '.join(left_out)}")
    cost = cost.model_copy(update={"protocol": name})
    append_event(pieces.folder, {**_event("tested", inputs), **cost.record()})
    write_generations(folder, name, texts)
    return Measured(evaluation=cost, also={}, heldout=None)


def _losses_alone(model: nn.Module, job: Job, pieces: Pieces, kept: Kept) -> Measured:
    """Measure the losses of gold solutions; no text is generated, and none is stored."""
    name = job.inputs.prompt_sets[0].protocol.name
    write_generations(pieces.folder.of_task(job.inputs.task), name, [])
    return Measured(
        evaluation=EvaluationCost(protocol=name, problems=0, seconds=0.0),
        also={},
        heldout=_measure_heldout(model, job, pieces, kept),
    )


def _event(name: str, inputs: Inputs) -> dict[str, Any]:
    """Return the beginning of an event of testing, with the name of a further task."""
    return {"event": name, **({"task": inputs.task} if inputs.task else {})}


def _by_piece(
    asked: PromptSet,
    reading: str,
    spec: RunSpec,
    pieces: Pieces,
    decode: Callable[[slice], tuple[list[Generation], EvaluationCost]],
) -> tuple[list[Generation], EvaluationCost]:
    """Return all generations under one protocol and their cost, a piece at a time."""
    size = PIECE * spec.config.evaluation.at_once * ranks.count()
    generations: list[Generation] = []
    costs: list[EvaluationCost] = []
    for start in range(0, len(asked.prompts), size):
        name = f"{reading}-{start:06d}"
        found, cost = _as_piece(name, pieces, partial(decode, slice(start, start + size)))
        generations += found
        costs.append(cost)
    return generations, total_cost(costs)


def _as_piece(
    name: str, pieces: Pieces, decode: Callable[[], tuple[list[Generation], EvaluationCost]]
) -> tuple[list[Generation], EvaluationCost]:
    """Return the generations of one piece and their cost: as it was stored, or stored now."""
    piece = pieces.read(file_name(name))
    if piece is None:
        found, cost = decode()
        piece = {
            "generations": [generation_row(generation) for generation in found],
            "cost": cost.record(),
        }
        pieces.write(file_name(name), piece)
    generations = [as_generation(row) for row in piece["generations"]]
    return generations, EvaluationCost(**piece["cost"])


def _measure_heldout(model: nn.Module, job: Job, pieces: Pieces, kept: Kept) -> LikelihoodSummary:
    inputs, spec = job.inputs, job.spec
    folder = pieces.folder.of_task(inputs.task)
    if kept.heldout:
        rows, summary = kept.heldout
        write_heldout(folder, rows)
        return summary
    reading = reading_of(inputs.task, LIKELIHOOD)
    _enter(reading, inputs.tested, spec, pieces)
    size = spec.config.evaluation.at_once
    report = reporter("likelihood", len(inputs.gold), job)
    piece = pieces.read(file_name(reading))
    if piece is None:
        found, figures = measure_likelihoods(
            lambda: shared(
                Rate(batch_size=size),
                list(zip(inputs.gold, [problem.id for problem in inputs.tested], strict=True)),
                model,
                inputs.tokenizer,
                report,
            )
        )
        if not inputs.generates:
            pairs = zip(found, inputs.tested, strict=True)
            found = [replace(row, group=problem.group) for row, problem in pairs]
        piece = {"rows": [likelihood_row(row) for row in found], "figures": figures.record()}
        pieces.write(file_name(reading), piece)
    variant = spec.config.data.variant if inputs.trial else inputs.problems.test_variant
    summary = LikelihoodSummary(**piece["figures"], variant=variant)
    append_event(pieces.folder, {**_event("likelihood", inputs), **summary.record()})
    write_heldout(folder, map(as_likelihood, piece["rows"]))
    return summary


def _enter(protocol: str, problems: Sequence[Problem], spec: RunSpec, pieces: Pieces) -> None:
    """Write into the ledger that the test split is about to be read; a trial does not read it.

    Resuming a reading that was interrupted is no further one.
    """
    entered = f"{file_name(protocol)}-entered"
    if spec.trial or pieces.read(entered) is not None:
        return
    read = TestRead(
        time=now(),
        arm=spec.arm,
        seed=spec.replicate,
        protocol=protocol,
        problems=len(problems),
        test_sha256=hash_of_tests(problems),
        fingerprint=spec.fingerprint,
    )
    append_read(pieces.folder.experiment.ledger, read)
    pieces.write(entered, asdict(read))


def write(
    model: nn.Module,
    job: Job,
    asked: PromptSet,
    vllm: Continued | None,
    part: slice,
    *,
    stage: Stage = "testing",
    pace: Pace | None = None,
) -> tuple[list[Generation], EvaluationCost]:
    """Decode some of the problems; return what was written, and what it cost.

    What is decoded part by part goes on at one `pace`. All ranks take part, but for a model that
    still trains: rank 0 measures it alone.
    """
    inputs, evaluation = job.inputs, job.config.evaluation
    report = reporter(stage, len(asked.prompts), job, part.start, pace)
    report(0)
    prompts = asked.prompts[part]
    decode = Decode(
        stop_ids=_stop_ids(model, inputs, asked),
        max_new_tokens=inputs.max_new_tokens,
        batch_size=evaluation.at_once,
        calculator=asked.protocol.calculator,
        until=inputs.until,
    )
    if vllm is not None and not asked.choices:
        settings = {f.name: getattr(decode, f.name) for f in fields(decode)}
        return measure(
            partial(generate_by_vllm, vllm, inputs.tokenizer, prompts, on_batch=report, **settings),
            job.device,
        )
    test: Test = decode
    problems: Sequence[Any] = prompts
    if asked.choices:
        test, problems = (
            Choose(batch_size=evaluation.at_once),
            list(zip(prompts, asked.choices[part], strict=True)),
        )
    if stage == "testing":
        run = partial(shared, test, problems, model, inputs.tokenizer, report)
    else:
        run = partial(test, model, inputs.tokenizer, problems, report)
    return measure(run, job.device)


def reporter(
    stage: Stage, total: int, job: Job, before: int = 0, pace: Pace | None = None
) -> Callable[[int], None]:
    """Return a function that reports how many of `total` problems are done, `before` of them.

    Parts of one test share a `pace`.
    """
    pace = pace or Pace(at_once=job.config.evaluation.at_once)
    done, at = 0, time.perf_counter()

    def report(so_far: int) -> None:
        nonlocal done, at
        now, left = time.perf_counter(), total - before - so_far
        a_second = pace.rate(so_far - done, now - at, left)
        done, at = so_far, now
        job.on_progress(
            Progress(
                stage=stage,
                task=job.inputs.task,
                done=before + done,
                total=total,
                examples_per_second=a_second,
                memory_bytes=peak_memory_bytes(job.device),
                seconds_left=left / a_second if a_second else None,
            )
        )

    return report


def _stop_ids(model: nn.Module, inputs: Inputs, asked: PromptSet) -> frozenset[int]:
    """Return the trained stop token, and the model's own end-of-text tokens."""
    config: Any = getattr(model, "generation_config", None)
    own = getattr(config, "eos_token_id", None)
    ids = {asked.stop, inputs.tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])}
    return frozenset(id for id in ids if id is not None)
