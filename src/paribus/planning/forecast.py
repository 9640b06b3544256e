"""Forecast what a run takes, from its config and the lengths of its texts: memory and time.

    inputs or assumed lengths  ->  Workload  ->  cost/memory, cost/time  ->  Forecast
    assumed_lengths(config).mean_example               # 189.1 for GSM8K's main solutions

Batches are planned as training plans them, so the longest of them is known. Lengths are counted
from the arm's inputs. They are assumed where data or tokenizer are not available, as on a laptop
without a network.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import mean
from typing import Any, Literal

from paribus.config.peft_method import is_peft
from paribus.config.schema import ArmConfig
from paribus.models.shapes import (
    Shape,
    matching_weights,
    refuse_rank,
    refuse_unknown_layers,
    refuse_unknown_targets,
    saved_modules,
)
from paribus.planning.cost.activations import Workload
from paribus.planning.cost.memory import Estimate, estimate
from paribus.planning.cost.time import Speed, speed, training_operations
from paribus.planning.devices import GB, Device
from paribus.planning.inputs import Inputs
from paribus.planning.rules.environment import room
from paribus.planning.rules.ranks import unsharded
from paribus.prompts.encode import shared_length
from paribus.prompts.formats import protocols
from paribus.training.batching import count_steps, fullest_passes, measured_steps, order_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Sizes in tokens, and how many texts there are.

    Attributes:
        examples: training examples; 0 for a baseline.
        longest_example: prompt, solution and stop token of the longest.
        mean_example: of all.
        mean_target: of the tokens with loss of one example.
        problems: tested problems, once for each protocol, of all tasks.
        longest_prompt: over all protocols and tasks.
        shared_prefix: what all prompts begin with under the protocol that has the longest.
        longest_gold: the longest main prompt with its gold solution.
        mean_gold: gold solution of a tested problem.
        new_tokens: the most that a tested problem's text may have; 0 if none is generated.
        assumed: whose lengths these are, if not the arm's own; "" if they were counted.
    """

    examples: int
    longest_example: int
    mean_example: float
    mean_target: float
    problems: int
    longest_prompt: int
    shared_prefix: int
    longest_gold: int
    mean_gold: float
    new_tokens: int
    assumed: str


# GSM8K with Gemma 3's tokenizer, all of it (LOG.md): examples, longest, mean, mean target.
_TRAIN = {"main": (7_468, 544, 189.1, 124.3), "socratic": (7_468, 643, 234.7, 167.3)}
# By shots: the longest raw prompt, and what all of them begin with.
_PROMPTS = {"zero_shot": (195, 3), "one_shot": (377, 182), "few_shot": (1_242, 1_047)}
_TESTS, _LONGEST_SOLUTION, _MEAN_SOLUTION = 1_319, 420, 126.7


def count_lengths(inputs: Inputs) -> Lengths:
    """Return the lengths of what an arm reads."""
    tests = (inputs, *inputs.further)
    asked = max(
        (prompt_set for own in tests for prompt_set in own.prompt_sets),
        key=lambda prompt_set: max(len(p.ids) for p in prompt_set.prompts),
    )
    gold = [example for own in tests for example in own.gold]
    prompts = [prompt.ids for prompt in asked.prompts]
    return Lengths(
        examples=len(inputs.examples),
        longest_example=max((len(example.ids) for example in inputs.examples), default=0),
        mean_example=_mean([len(example.ids) for example in inputs.examples]),
        mean_target=_mean([example.target_length for example in inputs.examples]),
        problems=sum(len(own.tested) * len(own.prompt_sets) for own in tests),
        longest_prompt=max(map(len, prompts)),
        shared_prefix=shared_length(prompts),
        longest_gold=max(len(example.ids) for example in gold),
        mean_gold=_mean([example.target_length for example in gold]),
        new_tokens=max(own.max_new_tokens if own.generates else 0 for own in tests),
        assumed="",
    )


def assumed_lengths(config: ArmConfig) -> Lengths:
    """Return GSM8K's lengths for an arm whose data or tokenizer are not here."""
    asked = protocols(config)
    longest, shared = max(_PROMPTS[protocol.shots] for protocol in asked)
    examples, longest_example, mean_example, mean_target = _TRAIN[config.data.variant]
    size, tests = config.data.train_size, config.data.test_size
    lengths = Lengths(
        examples=examples if size == "all" else size,
        longest_example=min(longest_example, config.prompt.max_tokens),
        mean_example=mean_example,
        mean_target=mean_target,
        problems=(_TESTS if tests == "all" else tests) * len(asked),
        longest_prompt=longest,
        shared_prefix=shared,
        longest_gold=_PROMPTS[asked[0].shots][0] + _LONGEST_SOLUTION,
        mean_gold=_MEAN_SOLUTION,
        new_tokens=0 if config.task.measures_loss else config.evaluation.max_new_tokens,
        assumed="GSM8K's, with Gemma 3's tokenizer",
    )
    return replace(lengths, examples=0) if config.method == "none" else lengths


def _mean(lengths: Sequence[int]) -> float:
    return mean(lengths) if lengths else 0.0


PLANNED = "planned"
"""The event that holds what was predicted for a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a run was predicted to take, stored with what it took.

    Attributes:
        peak_bytes: the predicted peak of memory: what the device must hold.
        device: what it was planned for.
        device_bytes: memory of that.
        sharded: whether each of several ranks holds a part of every weight while it trains.
    """

    peak_bytes: int
    device: str
    device_bytes: int
    sharded: bool = False

    def event(self) -> dict[str, Any]:
        """Return the line of `events.jsonl`."""
        return {"event": PLANNED, **asdict(self)}

    def beside(self, taken: int) -> str:
        """Return what to tell where other programs hold `taken` bytes; "" if both have room."""
        if taken + self.peak_bytes <= self.device_bytes:
            return ""
        return (
            f"other programs hold {taken / GB:.1f} GB of {self.device}, which has "
            f"{self.device_bytes / GB:.1f}; this run is planned for {self.peak_bytes / GB:.1f}. "
            "If it runs out of memory, wait for them, or set a smaller training.micro_batch or "
            "evaluation.batch_size"
        )


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
        flops: floating-point operations of its training; 0 for a baseline.
    """

    config: ArmConfig
    device: Device
    load: Workload
    lengths: Lengths
    memory: Estimate
    kv_cache_bytes: int
    speed: Speed
    flops: float

    @property
    def planned(self) -> "Planned":
        """What a run keeps of it."""
        device = self.device
        return Planned(
            peak_bytes=self.memory.peak_bytes,
            device=device.title,
            device_bytes=device.memory_bytes,
            sharded=self.load.sharded,
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

    Without inputs the lengths are assumed. Raises ConfigError if a key of `lora` names what the
    model has not.
    """
    lengths = count_lengths(inputs) if inputs else assumed_lengths(config)
    # A batch that cannot be divided is refused; meanwhile it is planned for as one process has it.
    ranks = device.ranks if config.training.batch_size % device.ranks == 0 else 1
    passes = _passes(config, inputs, stream, ranks) if inputs else None
    load = _workload(config, shape, lengths, passes, ranks)
    memory = estimate(shape, load, device)
    if _is_sharded(config, load, memory, device):
        load = replace(load, sharded=True)
        memory = estimate(shape, load, device)
    return Forecast(
        config=config,
        device=device,
        load=load,
        lengths=lengths,
        memory=memory,
        kv_cache_bytes=cache_bytes(shape, load, load.prompt_length + load.new_tokens),
        speed=speed(shape, load, device),
        flops=training_operations(shape, load),
    )


def _is_sharded(config: ArmConfig, load: Workload, whole: Estimate, device: Device) -> bool:
    """Return whether ranks hold parts of each weight: as asked, else if `whole` has no room."""
    if load.ranks == 1 or not load.steps or unsharded(config) or device.parallel == "ddp":
        return False
    return device.parallel == "fsdp" or whole.peak_bytes > room(device)


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
                train_only=(),
            )
            yield replace(config, method=method, quantization=quantization, training=training)


def _passes(config: ArmConfig, inputs: Inputs, stream: int, ranks: int) -> tuple[int, int, int]:
    """Return steps, and the most tokens and targets of a pass; zeros for a baseline."""
    if config.method == "none":
        return 0, 0, 0
    lengths = [(len(example.ids), example.target_length) for example in inputs.examples]
    return fullest_passes(lengths, config.training, order_seed(stream), ranks)


def _validations(config: ArmConfig, steps: int, examples: int) -> int:
    """Return how often an arm is measured while it trains; `prepare` refuses steps behind the end.

    Where lengths are assumed, so is the end.
    """
    at = [moment for moment in config.evaluation.at if isinstance(moment, str) or moment <= steps]
    size = config.training.batch_size
    return len(measured_steps(at, steps, num_examples=examples, batch_size=size))


def trained_alone(patterns: Sequence[str], shape: Shape) -> tuple[str, ...]:
    """Return the weights that `patterns` match; the head's name too where it is the embedding."""
    names = {*matching_weights(patterns, shape.weights)}
    ends = {"model.embed_tokens.weight", "lm_head.weight"}
    if shape.tied and ends & names:
        names |= ends
    return tuple(name for name in shape.weights if name in names)


def _workload(
    config: ArmConfig,
    shape: Shape,
    lengths: Lengths,
    passes: tuple[int, int, int] | None,
    ranks: int,
) -> Workload:
    training, evaluation, lora = config.training, config.evaluation, config.lora
    trains = config.method != "none"
    targets = lora.target_names(shape.linears)
    whole: tuple[str, ...] = ()
    more: dict[str, Any] = {}
    if is_peft(config.method):
        from paribus.models.peft_methods import added  # peft takes seconds to import

        own = added(shape, config.method)
        targets = own.targets
        more = {
            "peft_sizes": own.trained,
            "peft_frozen": own.frozen,
            "peft_kept": own.kept,
            "peft_passing": own.passing,
        }
    elif config.method == "full" and training.train_only:
        whole = trained_alone(training.train_only, shape)
    elif config.method == "lora":
        refuse_unknown_targets(targets, shape.linears)
        refuse_unknown_layers(lora.layers_to_transform, shape.layers)
        if lora.starts_from_weights:
            widths = {name: shape.linears[name] for name in targets}
            refuse_rank(lora.r, str(lora.init_lora_weights), widths)
        modules = shape.modules
        packed = [name for name in modules if config.quantization and name.endswith("_proj")]
        saved = saved_modules(lora.modules_to_save, modules, targets, packed)
        whole = tuple(name for name in shape.weights if name.rpartition(".")[0] in saved)
    share = training.batch_size // ranks
    size = min(training.pass_size, share) if trains else 1  # a baseline has no passes to settle
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
    problems = -(-lengths.problems // ranks)
    at_once = min(evaluation.at_once, problems)
    return Workload(
        method=config.method,
        quantization=config.quantization,
        optimizer=training.optimizer,
        precision=training.computes_in,
        checkpointing=trains and training.recomputes,
        lora_r=config.lora.r,
        lora_targets=targets,
        lora_dropout=config.lora.dropout,
        lora_layers=lora.layers_to_transform,
        dora=config.method == "lora" and lora.use_dora,
        lora_starts=config.method == "lora" and lora.starts_from_weights,
        whole=whole,
        **more,
        micro_batch=size,
        accumulation=-(-share // size),
        train_length=lengths.longest_example if trains else 0,
        pass_tokens=pass_tokens,
        train_targets=train_targets,
        train_tokens=lengths.mean_example,
        target_tokens=lengths.mean_target,
        steps=steps if trains else 0,
        eval_batch=at_once,
        eval_problems=problems,
        prompt_length=lengths.longest_prompt,
        shared_prefix=lengths.shared_prefix,
        gold_length=lengths.longest_gold,
        gold_targets=round(at_once * lengths.mean_gold),
        new_tokens=lengths.new_tokens,
        validations=_validations(config, steps, lengths.examples) if config.is_validated else 0,
        validation_problems=config.data.validation_size if config.is_validated else 0,
        validation_generates=config.is_validated and evaluation.at_generates,
        ranks=ranks,
    )
