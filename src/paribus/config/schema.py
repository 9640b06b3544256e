"""What an experiment file may say: every key, its type, its default and its meaning.

The text below a field is its documentation; `docs/config.md` is generated from it.
`ArmConfig` is one arm; `ExperimentConfig` is an arm's values shared by all, plus the design.
"""

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid", strict=True)

Count = Annotated[int, Field(ge=1)]
Size = Count | Literal["all"]
Fraction = Annotated[float, Field(ge=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Protocol = Literal["zero_shot", "one_shot"]


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class DataConfig:
    """Which problems are trained and tested on."""

    source: Literal["gsm8k", "gsm8k_swapped", "wordproblems"] = "wordproblems"
    """`wordproblems` are generated; `gsm8k_swapped` trains on test files and tests on train's."""
    path: str | None = None
    """Folder with GSM8K's `train.jsonl`, `test.jsonl`, `test_socratic.jsonl`; null: the Hub."""
    revision: str | None = None
    """Commit or tag of the data set on the Hub; null: its newest."""
    variant: Literal["main", "socratic"] = "main"
    """Solutions as plain steps, or with a sub-question before each step."""
    train_size: Size = "all"
    """Training problems, drawn by the experiment's seed; every arm gets the same ones."""
    test_size: Size = "all"
    """Test problems, drawn by the experiment's seed; every arm gets the same ones."""
    min_steps: Annotated[int, Field(ge=1, le=5)] = 1
    """Generated problems: fewest calculation steps."""
    max_steps: Annotated[int, Field(ge=1, le=5)] = 2
    """Generated problems: most calculation steps."""
    max_number: Annotated[int, Field(ge=3)] = 20
    """Generated problems: largest number in a question."""


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class PromptConfig:
    """How a problem becomes text. Training and evaluation use the same renderer."""

    format: Literal["raw", "chat"] = "raw"
    """`Question: …\\nAnswer:`, or the tokenizer's own chat template."""
    max_tokens: Count = 1024
    """Longest training example (prompt + solution) and longest test prompt, in tokens."""
    too_long: Literal["error", "drop"] = "error"
    """Training examples over `max_tokens`: stop, or leave out and count. Nothing is ever cut."""


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters; used by `method: lora` only."""

    r: Count = 16
    """Rank."""
    alpha: Positive = 32.0
    """Scale numerator: the update is alpha / r · B A."""
    dropout: Fraction = 0.05
    """Dropout on the adapter's input while training."""
    targets: tuple[str, ...] = (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    )  # fmt: skip
    """Names of the linear layers that get an adapter."""


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class TrainingConfig:
    """How an arm is trained. Ignored by the baseline."""

    epochs: Positive = 1.0
    """Passes over the training problems."""
    max_steps: Count | None = None
    """Stop after this many optimizer steps, if sooner."""
    batch_size: Count = 16
    """Examples per optimizer step; must be a multiple of `micro_batch`."""
    micro_batch: Count = 8
    """Examples per forward and backward pass; the rest is accumulated."""
    learning_rate: Positive = 1e-5
    """Peak learning rate. LoRA wants about 10 times what full SFT wants."""
    min_learning_rate: NonNegative = 0.0
    """Where the schedule ends."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Shape of the decay after warm-up."""
    warmup: Fraction = 0.03
    """Share of the steps over which the learning rate rises from zero."""
    weight_decay: NonNegative = 0.01
    """Decoupled weight decay; not on norms and biases."""
    max_grad_norm: Positive = 1.0
    """Gradients are scaled down to this norm."""
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    """AdamW by torch, or with 8-bit states by bitsandbytes."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Compute dtype. Trainable weights have an fp32 master in either."""
    checkpointing: bool = False
    """Recompute activations in the backward pass (never re-entrant): less memory, more time."""
    save_weights: bool = True
    """Keep the tuned weights (full SFT) or adapter (LoRA) in the run's folder."""
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Also log to these, through the trainer's own integrations."""


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class EvaluationConfig:
    """How an arm is tested: greedy decoding, the same for all arms."""

    protocol: Protocol = "zero_shot"
    """Solved examples put before the question. Tuned arms know the format: zero-shot."""
    max_new_tokens: Count = 512
    """Longest solution a model may write, in tokens; reaching it is counted as truncated."""
    batch_size: Count = 32
    """Problems decoded at once."""


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class ArmConfig:
    """One condition. These keys may also vary in `matrix` and `arms`, by dotted name."""

    model: str = "gemma-3-270m"
    """`gemma-3-270m` (packaged), a folder with safetensors, or a Hub id."""
    revision: str | None = None
    """Commit or tag of the model on the Hub; null: its newest."""
    method: Literal["full", "lora", "none"] = "lora"
    """Train all weights, low-rank adapters, or nothing."""
    data: DataConfig = field(default_factory=DataConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class BaselineConfig:
    """The untrained model, tested beside the arms."""

    protocol: Protocol = "one_shot"
    """An untuned model must be shown the answer format: one-shot."""


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class ExperimentConfig(ArmConfig):
    """A question, its arms, its contrasts, its seeds."""

    name: Name
    """Folder of the runs; without one, the file's own name."""
    question: str = ""
    """What the experiment asks, for the report."""
    hypothesis: str = ""
    """What is expected, written before the runs."""
    baseline: BaselineConfig | None = field(default_factory=BaselineConfig)
    """Adds an arm `baseline` for every model used; null: none."""
    matrix: dict[str, list[Any] | dict[str, dict[str, Any]]] = field(default_factory=dict)
    """Factors: dotted key → values, or value → further keys that come with it. All crossed."""
    arms: dict[Name, dict[str, Any]] = field(default_factory=dict)
    """Arms by name: dotted keys, and `base: FILE` for a file whose own keys come first."""
    contrasts: Literal["auto"] | list[tuple[str, str]] = "auto"
    """Pairs of arms; `auto`: each with its baseline, and all that differ in one factor."""
    seeds: Count = 1
    """Runs of every tuned arm."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Root of every random stream: data, order, initialisation, dropout."""
