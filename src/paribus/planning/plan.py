"""What `paribus plan` knows of an experiment before anything runs, and the JSON that it prints.

plan = Plan(experiment="quickstart", arms=(...), ...)
plan.arms[0].estimate.peak_bytes                       # 5_600_000_000
plan.as_json()["arms"][0]["estimate"]["peak_bytes"]    # the same
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from paribus.config.spec import RunSpec
from paribus.design.pairs import Contrast
from paribus.errors import OutOfMemory, ParibusError, UserError
from paribus.planning.cost.memory import Parts
from paribus.planning.devices import Device
from paribus.planning.forecast import Forecast, alternatives, forecast
from paribus.planning.foresight import Foresight, TaskForesight
from paribus.planning.inputs import TokenCounts
from paribus.planning.preflight import Warned
from paribus.planning.survey import Prospect


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEstimate:
    """What one run of an arm takes: predicted, or corrected by a probe. Bytes and seconds.

    Attributes:
        parameters: of the model; `trainable_parameters` of them are trained.
        micro_batch: examples of a forward and backward pass; None for a baseline.
        accumulation: passes of a step; None for a baseline.
        checkpointing: whether activations are recomputed; None for a baseline.
        sharded: whether each of several ranks holds a part of every weight.
        training: memory by part at the peak of training; None for a baseline.
        evaluation: memory by part at the peak of testing.
        eval_batch: problems decoded at once.
        engine: what decodes them.
        kv_cache_bytes: keys and values at the last token of a test batch.
        peak_bytes: the larger of both peaks: what the device must hold.
        tensor_bytes: the most that tensors take of it, on a GPU; None on a CPU.
        fits: whether that is within the device's memory.
        fits_with_a_tenth_to_spare: whether it would fit if the prediction were a tenth too low.
        examples_per_second: of training; None for a baseline.
        train_seconds: of all steps.
        validation_seconds: of what is measured while it trains.
        eval_seconds: of all tests.
        assumed_lengths: whose lengths of texts were assumed; None if they were counted.
    """

    parameters: int
    trainable_parameters: int
    micro_batch: int | None
    accumulation: int | None
    checkpointing: bool | None
    sharded: bool
    training: Parts | None
    evaluation: Parts
    eval_batch: int
    engine: str
    kv_cache_bytes: int
    peak_bytes: int
    tensor_bytes: int | None
    fits: bool
    fits_with_a_tenth_to_spare: bool
    examples_per_second: float | None
    train_seconds: float
    validation_seconds: float
    eval_seconds: float
    assumed_lengths: str | None

    @classmethod
    def of(cls, forecast: Forecast) -> "RunEstimate":
        """Return what `forecast` predicts."""
        memory, load, speed = forecast.memory, forecast.load, forecast.speed
        trains = load.steps > 0
        return cls(
            parameters=memory.total_parameters,
            trainable_parameters=memory.trainable_parameters,
            micro_batch=load.micro_batch if trains else None,
            accumulation=load.accumulation if trains else None,
            checkpointing=load.checkpointing if trains else None,
            sharded=load.sharded,
            training=memory.training,
            evaluation=memory.evaluation,
            eval_batch=load.eval_batch,
            engine=forecast.config.evaluation.engine,
            kv_cache_bytes=forecast.kv_cache_bytes,
            peak_bytes=memory.peak_bytes,
            tensor_bytes=memory.tensor_bytes if forecast.device.kind == "cuda" else None,
            fits=forecast.fits,
            fits_with_a_tenth_to_spare=forecast.fits_easily,
            examples_per_second=speed.train_examples_per_second if trains else None,
            train_seconds=speed.train_seconds,
            validation_seconds=speed.validation_seconds,
            eval_seconds=speed.eval_seconds,
            assumed_lengths=forecast.lengths.assumed or None,
        )

    @property
    def seconds(self) -> float:
        """Training and testing together."""
        return self.train_seconds + self.validation_seconds + self.eval_seconds

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON, each stage's parts with their total."""
        return {
            **asdict(self),
            "training": _with_total(self.training) if self.training else None,
            "evaluation": _with_total(self.evaluation),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a rehearsal measured, in bytes and seconds.

    Attributes:
        training_peak_bytes: of two steps at the longest batch; None for a baseline.
        step_seconds: of the second of them; None for a baseline.
        step_tokens: tokens of that step; None for a baseline.
        evaluation_peak_bytes: of the longest prompts decoded for a few tokens, and of the longest
            gold solutions' likelihoods.
        decode_seconds: of one further token for the whole batch.
        prompt_seconds: of the batch's prompts.
        training_reserved_bytes: what torch held of a GPU, tensors or not, as the next one.
        evaluation_reserved_bytes: None on a CPU.
        context_bytes: what the GPU held for the process besides; 0 on a CPU.
    """

    training_peak_bytes: int | None
    step_seconds: float | None
    step_tokens: int | None
    evaluation_peak_bytes: int
    decode_seconds: float
    prompt_seconds: float
    training_reserved_bytes: int | None = None
    evaluation_reserved_bytes: int | None = None
    context_bytes: int = 0

    @property
    def training_held_bytes(self) -> int:
        """What the device must hold for the steps; 0 for a baseline."""
        taken = self.training_reserved_bytes or self.training_peak_bytes
        return taken + self.context_bytes if taken else 0

    @property
    def evaluation_held_bytes(self) -> int:
        """What it must hold for the batch."""
        return (self.evaluation_reserved_bytes or self.evaluation_peak_bytes) + self.context_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOutcome:
    """The probe of an arm: what it measured, or why there is nothing.

    Attributes:
        measured: by the arm's rehearsal; None if that stopped.
        error: why it stopped; None if it did not.
        remedy: what to do about it; None if nothing is known.
        out_of_memory: whether it ran out of memory.
    """

    measured: Rehearsal | None = None
    error: str | None = None
    remedy: str | None = None
    out_of_memory: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON: `error` and `remedy`, behind what was measured."""
        measured = asdict(self.measured) if self.measured else {}
        return {**measured, "error": self.error, "remedy": self.remedy}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedArm:
    """What is known of an arm.

    Attributes:
        also: names of further protocols it is tested under.
        learning_rate: its peak; None for a baseline, or while it is to be found.
        learning_rate_from: the file, line or default that states it; None for a baseline.
        learning_rates: those that trials try; None without trials.
        steps: optimizer steps; None for a baseline, or without inputs.
        planned_target_tokens: tokens with loss in all steps; None as `steps`.
        tokens: of what it reads; None without inputs.
        estimate: what one run takes; None if the model's shape is not known.
        probe: what was measured; None if nothing was to be.
        unknown: why something cannot be known; None if all is.
    """

    name: str
    method: str
    variant: str
    protocol: str
    also: list[str]
    learning_rate: float | None
    learning_rate_from: str | None
    learning_rates: list[float] | None
    steps: int | None
    planned_target_tokens: int | None
    tokens: TokenCounts | None
    estimate: RunEstimate | None
    probe: ProbeOutcome | None
    unknown: str | None

    def stopped(self, error: ParibusError) -> "PlannedArm":
        """Return the arm with why its probe stopped; one that ran out of memory does not fit."""
        out_of_memory = isinstance(error, OutOfMemory)
        probe = ProbeOutcome(
            error=error.message, remedy=error.remedy or None, out_of_memory=out_of_memory
        )
        estimate = self.estimate
        if estimate and out_of_memory:
            estimate = replace(estimate, fits=False, fits_with_a_tenth_to_spare=False)
        return replace(self, probe=probe, estimate=estimate)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            **asdict(self),
            "estimate": self.estimate.as_json() if self.estimate else None,
            "probe": self.probe.as_json() if self.probe else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """Another way to train a model, and what one run takes that way."""

    model: str
    method: str
    quantization: str | None
    optimizer: str
    estimate: RunEstimate

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON: one row."""
        row = {**asdict(self), **self.estimate.as_json()}
        del row["estimate"]
        return row


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTrial:
    """A trial of a learning rate, or by its number in a search; fields as in `PlannedRun`."""

    learning_rate: float | None
    number: int | None
    arm: str
    fingerprint: str | None
    state: str

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON, without what it is not called by."""
        row = asdict(self)
        del row["number" if self.number is None else "learning_rate"]
        return row


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSearch:
    """How an arm's values are searched for.

    Attributes:
        keys: dotted key -> a list of values, or a range.
        trials: how many; None where `flops` bounds them.
        flops: most operations of all trials; None where `trials` bounds them.
        trial_flops: most operations of one trial; None if the model's shape is not known.
    """

    arm: str
    keys: dict[str, Any]
    sampler: str
    trials: int | None
    flops: float | None
    trial_flops: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """A run.

    Attributes:
        seed: its replicate.
        arm: name of its arm.
        fingerprint: of its settings; None while its learning rate is to be found.
        state: in the store: a `RunState`, or "another" if the run stored there is not this one.
    """

    seed: int
    arm: str
    fingerprint: str | None
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLooks:
    """Declared looks, and what they cost: if the next one decides all, and if none does.

    Attributes:
        seeds: at how many seeds the runs are looked at.
        taken: looks that were taken.
        over: whether nothing is left that more seeds are likely to decide.
    """

    seeds: Sequence[int]
    taken: int
    over: bool
    least_runs: int
    most_runs: int
    least_seconds: float | None
    most_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be run, what it takes and what is known to go wrong.

    Attributes:
        disk_bytes: of all weights that are kept; None if not known.
        checkpoint_bytes: of checkpoints while the largest run trains; None if not known.
        seconds: of all trials and runs; None if that of one is not known.
        violations: of rules, errors first.
        foresight: what the contrasts can show; None if that cannot be known.
        stored: why runs in the store are in the way.
        not_compared: pairs that differ in several factors.
        seconds_left: of the trials and runs that are not complete.
        tasks: the further tasks that arms are tested on.
        looks: None if none are declared.
        verdict: whether it can be run, in a few words.
    """

    experiment: str
    question: str
    device: Device
    arms: tuple[PlannedArm, ...]
    alternatives: tuple[Alternative, ...]
    disk_bytes: int | None
    checkpoint_bytes: int | None
    seconds: float | None
    violations: tuple[Warned, ...]
    foresight: Foresight | None
    searches: tuple[PlannedSearch, ...]
    trials: tuple[PlannedTrial, ...]
    runs: tuple[PlannedRun, ...]
    stored: tuple[UserError, ...]
    contrasts: tuple[Contrast, ...]
    not_compared: tuple[Contrast, ...]
    seconds_left: float | None
    tasks: tuple[TaskForesight, ...]
    looks: PlannedLooks | None
    verdict: str

    def as_json(self) -> dict[str, Any]:
        """Return what `plan --json` prints."""
        return {
            **{field.name: getattr(self, field.name) for field in fields(self)},
            "device": asdict(self.device),
            "arms": [arm.as_json() for arm in self.arms],
            "alternatives": [other.as_json() for other in self.alternatives],
            "violations": [violation.row() for violation in self.violations],
            "foresight": self.foresight.as_json() if self.foresight else None,
            "searches": [asdict(search) for search in self.searches],
            "trials": [trial.as_json() for trial in self.trials],
            "runs": [asdict(run) for run in self.runs],
            "stored": [{"message": error.message, "remedy": error.remedy} for error in self.stored],
            "contrasts": [asdict(contrast) for contrast in self.contrasts],
            "not_compared": [
                {"a": pair.a, "b": pair.b, "factor": pair.factor} for pair in self.not_compared
            ],
            "tasks": [asdict(task) for task in self.tasks],
            "looks": asdict(self.looks) if self.looks else None,
        }


def other_ways(prospects: Sequence[Prospect]) -> tuple[Alternative, ...]:
    """Return the other ways to train each model: from its first arm that trains."""
    firsts: dict[str, Prospect] = {}
    for prospect in prospects:
        if prospect.forecast and prospect.forecast.load.steps:
            firsts.setdefault(prospect.forecast.config.model, prospect)
    return tuple(
        Alternative(
            model=model,
            method=config.method,
            quantization=config.quantization,
            optimizer=config.training.optimizer,
            estimate=RunEstimate.of(
                forecast(config, first.inputs, first.first.stream, first.shape, known.device)
            ),
        )
        for model, first in firsts.items()
        if (known := first.forecast) and first.shape
        for config in alternatives(known.config)
    )


def total_seconds(specs: Sequence[RunSpec], arms: Sequence[PlannedArm]) -> float | None:
    """Return the time that runs and trials take; None if that of one is unknown."""
    seconds = {arm.name: arm.estimate.seconds for arm in arms if arm.estimate}
    if not seconds.keys() >= {spec.arm for spec in specs}:
        return None
    return sum(seconds[spec.arm] for spec in specs)


def _with_total(parts: Parts) -> dict[str, int]:
    return {**asdict(parts), "total": parts.total}
