"""What a run will take, from its config and its texts' lengths: memory by part, and time.

    inputs or assumed lengths  ->  Workload  ->  planning/memory, planning/speed  ->  Forecast

The batches are planned as training plans them, so the longest of them is known, not guessed.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from paribus.config.schema import ArmConfig
from paribus.models.shapes import Shape
from paribus.planning.devices import Device
from paribus.planning.inputs import Inputs
from paribus.planning.lengths import Lengths, assumed_lengths, count_lengths
from paribus.planning.memory import Estimate, estimate
from paribus.planning.rules.limits import room
from paribus.planning.speed import Speed, speed
from paribus.planning.workload import Workload
from paribus.training.batching import count_steps, fullest_passes, order_seed

PLANNED = "planned"
"""The event that holds what was predicted for a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a run was expected to take, stored beside what it took.

    Attributes:
        peak_bytes: the predicted peak of memory.
        device: what it was planned for.
        device_bytes: memory of that.
    """

    peak_bytes: int
    device: str
    device_bytes: int

    def event(self) -> dict[str, Any]:
        """Return the line of `events.jsonl`."""
        return {"event": PLANNED, **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What one run of an arm takes on a device.

    Attributes:
        config: the arm's values, `micro_batch` and `checkpointing` settled.
        device: where it would run.
        load: what decides memory and time.
        lengths: of its texts.
        memory: its peaks.
        kv_cache_bytes: keys and values at the last token of a test batch.
        speed: its time, an estimate without a promise.
    """

    config: ArmConfig
    device: Device
    load: Workload
    lengths: Lengths
    memory: Estimate
    kv_cache_bytes: int
    speed: Speed

    @property
    def planned(self) -> "Planned":
        """What a run keeps of it."""
        device = self.device
        return Planned(
            peak_bytes=self.memory.peak_bytes,
            device=device.title,
            device_bytes=device.memory_bytes,
        )

    @property
    def fits(self) -> bool:
        """Whether its peak is within the device's memory."""
        return self.memory.peak_bytes <= self.device.memory_bytes

    @property
    def fits_easily(self) -> bool:
        """Whether it fits even if the prediction is as wrong as it can be."""
        return self.memory.peak_bytes <= room(self.device)


def forecast(
    config: ArmConfig, inputs: Inputs | None, stream: int, shape: Shape, device: Device
) -> Forecast:
    """Return what a run of a settled `config` takes; `stream` is the root of its random streams.

    Without inputs the lengths are assumed. Raises ConfigError if `lora.targets` names no layer.
    """
    if config.method == "lora":
        shape.adapter_parameters(config.lora.r, config.lora.targets)  # names that no layer has
    lengths = count_lengths(inputs) if inputs else assumed_lengths(config)
    load = _workload(config, lengths, _passes(config, inputs, stream) if inputs else None)
    return Forecast(
        config=config,
        device=device,
        load=load,
        lengths=lengths,
        memory=estimate(shape, load, device),
        kv_cache_bytes=cache_bytes(shape, load, load.prompt_length + load.new_tokens),
        speed=speed(shape, load, device),
    )


def cache_bytes(shape: Shape, load: Workload, tokens: int) -> int:
    """Return the size of keys and values of a test batch, `tokens` long."""
    width = 2 if load.precision == "bf16" else 4
    return shape.kv_bytes_per_token(width) * load.eval_batch * tokens


def alternatives(config: ArmConfig) -> Iterator[ArmConfig]:
    """Yield the ways to train the same model on the same texts: method, states, recomputation."""
    kinds: tuple[tuple[Literal["full", "lora"], Literal["nf4"] | None, str], ...] = (
        ("full", None, "adamw"),
        ("full", None, "adamw_8bit"),
        ("lora", None, "adamw"),
        ("lora", "nf4", "adamw"),
    )
    for method, quantization, optimizer in kinds:
        for checkpointing in (False, True):
            training = replace(
                config.training,
                optimizer="adamw_8bit" if optimizer == "adamw_8bit" else "adamw",
                checkpointing=checkpointing,
            )
            yield replace(config, method=method, quantization=quantization, training=training)


def _passes(config: ArmConfig, inputs: Inputs, stream: int) -> tuple[int, int, int]:
    """Return steps, and the most tokens and targets of a pass; zeros for a baseline."""
    if config.method == "none":
        return 0, 0, 0
    lengths = [(len(example.ids), example.target_length) for example in inputs.examples]
    return fullest_passes(lengths, config.training, order_seed(stream))


def _workload(config: ArmConfig, lengths: Lengths, passes: tuple[int, int, int] | None) -> Workload:
    training, evaluation = config.training, config.evaluation
    trains = config.method != "none"
    size = training.pass_size if trains else 1  # a baseline has no passes to settle
    if passes is None:
        # As when all examples of a pass were half again as long as the mean, or one the longest.
        longest = max(lengths.longest_example, round(1.5 * size * lengths.mean_example))
        steps = count_steps(
            lengths.examples,
            epochs=training.epochs,
            batch_size=training.batch_size,
            max_steps=training.max_steps,
        )
        passes = steps, longest, round(1.5 * size * lengths.mean_target)
    steps, pass_tokens, train_targets = passes
    return Workload(
        method=config.method,
        quantization=config.quantization,
        optimizer=training.optimizer,
        precision=training.computes_in,
        checkpointing=trains and training.recomputes,
        lora_r=config.lora.r,
        lora_targets=config.lora.targets,
        lora_dropout=config.lora.dropout,
        micro_batch=size,
        accumulation=training.batch_size // size,
        train_length=lengths.longest_example if trains else 0,
        pass_tokens=pass_tokens,
        train_targets=train_targets,
        train_tokens=lengths.mean_example,
        target_tokens=lengths.mean_target,
        steps=steps if trains else 0,
        eval_batch=min(evaluation.batch_size, lengths.problems),
        eval_problems=lengths.problems,
        prompt_length=lengths.longest_prompt,
        shared_prefix=lengths.shared_prefix,
        gold_length=lengths.longest_gold,
        gold_targets=round(evaluation.batch_size * lengths.mean_gold),
        new_tokens=evaluation.max_new_tokens,
    )
