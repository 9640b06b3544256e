"""What an experiment file may say: every key, its type, its default and its meaning.

The text below a field is its documentation; `docs/config.md` is generated from it.
`ArmConfig` is one arm; `ExperimentConfig` is an arm's values shared by all, plus the design.
"""

from collections.abc import Collection
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from paribus.config.task import GENERATED, Task, preset
from paribus.errors import ConfigError
from paribus.records import AnswerStyle

_STRICT = ConfigDict(extra="forbid", strict=True, defer_build=True)
"""Built when it is first asked: most verbs check no experiment file."""

# Beyond these bounds a value is a slip of the pen, and would only be met after hours.
Count = Annotated[int, Field(ge=1, le=1_000_000)]
BatchSize = Annotated[int, Field(ge=1, le=65_536)]
Size = Count | Literal["all"]
Fraction = Annotated[float, Field(ge=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0, le=1_000_000)]
Positive = Annotated[float, Field(gt=0, le=1_000_000)]
Margin = Annotated[float, Field(ge=0.1, le=50)]
"""Points: 0.02 is a share, and a slip."""
# A wild rate fails its run at the step where numbers of 32 bits end; no plan is held up by it.
LearningRate = Annotated[float, Field(gt=0, le=1e38)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
ArmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._=-]{0,63}$")]
"""An arm of the matrix may be called `r=4`."""
Pattern = Annotated[str, Field(min_length=1, max_length=200)]
"""A regular expression."""
ModuleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$", max_length=200)]
Precision = Literal["bf16", "fp32"]
Optimizer = Literal[
    "adamw", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "lion", "lion_8bit",
    "paged_lion_8bit", "muon", "adafactor", "adagrad", "rmsprop", "sgd",
]  # fmt: skip
Shots = Literal["zero_shot", "one_shot", "few_shot"]
ProtocolName = Literal[
    "zero_shot/raw", "zero_shot/raw+calculator", "zero_shot/chat", "zero_shot/chat+calculator",
    "one_shot/raw", "one_shot/raw+calculator", "one_shot/chat", "one_shot/chat+calculator",
    "few_shot/raw", "few_shot/raw+calculator", "few_shot/chat", "few_shot/chat+calculator",
]  # fmt: skip
Moment = (
    Literal["each_epoch"]
    | Annotated[int, Field(ge=1, le=10**9)]
    | Annotated[float, Field(gt=0, lt=1)]
)
"""When the model is measured while it trains."""
Rates = tuple[LearningRate, ...]


def _named(value: Any, info: ValidationInfo) -> Task:
    """Return the task that a file names, read by the context: `read_task`, once for each name."""
    if isinstance(value, Task):
        return value
    if not isinstance(value, str) or info.context is None:
        raise PydanticCustomError("string_type", "is not a Task")
    try:
        task: Task = info.context(value)
    except ConfigError as error:
        text = {"text": f"{error.message}; {error.remedy}"}
        raise PydanticCustomError("task", "{text}", text) from error
    return task


NamedTask = Annotated[
    Task,
    PlainValidator(_named),
    PlainSerializer(lambda task: task.source),
    WithJsonSchema({"type": "string"}),
]
"""A task, which a file states by its name. It is read once: what is done later to its file reaches
no run."""
DEFAULT_RATES = {"full": 2e-5, "lora": 2e-4}
"""Peak learning rate by method, where none is stated."""


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class DataConfig:
    """Which problems of the task are trained and tested on."""

    path: str | None = None
    """Folder of the task's files, such as GSM8K's `train.jsonl` and `test.jsonl`; null: the task
    file's own folder, or the Hub."""
    revision: str | None = None
    """Commit or tag of the data set on the Hub; null: its newest."""
    variant: Name = "main"
    """A variant of the task. Of GSM8K and generated problems: `main`, solutions as plain steps, or
    `socratic`, with a sub-question before each step."""
    train_size: Size = "all"
    """Training problems, drawn by the experiment's seed; every arm gets the same ones."""
    test_size: Size = "all"
    """Test problems, drawn by the experiment's seed; every arm gets the same ones."""
    validation_size: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Problems of the train pool that `tune` and `evaluation.at` measure on; neither trained on nor
    shown as shots."""
    group_by: str | None = None
    """Key of the test file's lines that says which problems belong together, such as a template."""
    min_steps: Annotated[int, Field(ge=1, le=5)] = 1
    """Generated problems: fewest calculation steps."""
    max_steps: Annotated[int, Field(ge=1, le=5)] = 2
    """Generated problems: most calculation steps."""
    max_number: Annotated[int, Field(ge=3, le=1000)] = 20
    """Generated problems: largest number in a question."""


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class PromptConfig:
    """How a problem becomes text. Training and evaluation use the same renderer."""

    format: Literal["raw", "chat"] = "raw"
    """The task's own frame, `Question: …\\nAnswer:`, or the tokenizer's own chat template."""
    template: str | None = None
    """Jinja over a row's columns, in place of the task's `doc_to_text`."""
    system: str | None = None
    """The system's turn in a chat, in place of the task's."""
    max_tokens: Count = 1024
    """Longest training example (prompt + solution) and longest test prompt, in tokens."""
    too_long: Literal["error", "drop"] = "error"
    """Training examples over `max_tokens`: stop, or leave out and count. Nothing is ever cut."""


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters; used by `method: lora` only."""

    r: Annotated[int, Field(ge=1, le=65_536)] = 16
    """Rank."""
    alpha: Positive = 32.0
    """Scale numerator: the update is alpha / r · B A; see `use_rslora`."""
    dropout: Fraction = 0.05
    """Dropout on the adapter's input while training."""
    use_rslora: bool = False
    """Scale by alpha / sqrt(r) in place of alpha / r (D. Kalajdzievski 2023, arXiv:2312.03732)."""
    init_lora_weights: (
        Annotated[str, Field(pattern=r"^(gaussian|olora|eva|pissa(_niter_[1-9][0-9]?)?)$")] | None
    ) = None
    """null: B is zero and A Kaiming's uniform; `gaussian`: A of variance 1 / r²; `eva`: A from the
    inputs of each layer on the training examples, every layer of rank r (F. Paischer et al. 2024,
    arXiv:2410.07170); `pissa` and `olora`: both from the weights' singular vectors (F. Meng et al.
    2024, arXiv:2404.02948) or QR (K. Büyükakyüz 2024, arXiv:2406.01775), and `pissa_niter_4` faster
    with 4 iterations. All but the first two are the same for every seed. The stored adapter of
    `pissa` and `olora` has rank 2 r, for the untouched model."""
    loraplus_lr_ratio: Annotated[float, Field(ge=1, le=1000)] | None = None
    """LoRA+ (S. Hayou et al. 2024, arXiv:2402.12354): B's learning rate as a multiple of A's, which
    is `training.learning_rate` and what is logged; null: the same for both."""
    targets: tuple[str, ...] | Literal["all-linear"] = (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    )  # fmt: skip
    """Names of the linear layers that get an adapter; `all-linear`: every one but the head. peft's
    name for it, `target_modules`, is read too."""
    use_dora: bool = False
    """Train each adapted layer's row lengths too, apart from their directions (DoRA, S.-Y. Liu et
    al. 2024, arXiv:2402.09353): peft's layers, slower than LoRA's."""
    modules_to_save: tuple[ModuleName, ...] = ()
    """Ends of the names of modules that are trained whole beside the adapters, and saved with them:
    `embed_tokens`, `lm_head`, `layernorm`. peft trains a copy: a tied head stays as it is where
    only the embedding is named, and the other way round."""
    layers_to_transform: tuple[Annotated[int, Field(ge=0, le=10_000)], ...] | None = None
    """Numbers of the decoder layers that get adapters, from 0; null: all."""

    @property
    def starts_from_weights(self) -> bool:
        """Whether adapters start from the weights, which are theirs less that start."""
        return (self.init_lora_weights or "").startswith(("pissa", "olora"))

    @property
    def stored_rank(self) -> int:
        """Rank of the adapter that is stored."""
        return 2 * self.r if self.starts_from_weights else self.r

    def target_names(self, linears: Collection[str]) -> tuple[str, ...]:
        """Return the names in `targets`; for `all-linear` those in `linears`, sorted."""
        return tuple(sorted(linears)) if self.targets == "all-linear" else tuple(self.targets)


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class TrainingConfig:
    """How an arm is trained. A baseline reads `precision` alone."""

    epochs: Positive = 1.0
    """Passes over the training problems."""
    max_steps: Annotated[int, Field(ge=1, le=10**9)] | None = None
    """Stop after this many optimizer steps, if sooner."""
    target_tokens: Annotated[int, Field(ge=1, le=10**12)] | None = None
    """Train until this many tokens have had a loss, in place of `epochs`: equal tokens per arm."""
    batch_size: BatchSize = 16
    """Examples per optimizer step; must be a multiple of `micro_batch`."""
    micro_batch: BatchSize | Literal["auto"] = 8
    """Examples per forward and backward pass; the rest is accumulated. `auto`: the fastest that
    fits the device, with a tenth of its memory to spare."""
    learning_rate: LearningRate | None = None
    """Peak learning rate; null: 2e-5 for full SFT and 2e-4 for LoRA, which wants about 10 times as
    much."""
    min_learning_rate: Annotated[float, Field(ge=0, le=1e38)] = 0.0
    """Where the schedule ends."""
    schedule: Literal["cosine", "linear", "constant", "inverse_sqrt", "wsd"] = "cosine"
    """Shape of the learning rate after warm-up, as in transformers. `inverse_sqrt` falls with the
    square root of the step and needs a warm-up; `wsd` is constant and falls at the end."""
    decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the steps over which `wsd` falls; null: 0.2."""
    warmup: Fraction = 0.03
    """Share of the steps over which the learning rate rises from zero."""
    weight_decay: NonNegative = 0.01
    """Decoupled weight decay, for SGD, RMSprop and Adagrad added to the gradient; not on norms and
    biases."""
    max_grad_norm: Positive = 1.0
    """Gradients are scaled down to this norm."""
    beta1: Fraction | None = None
    """AdamW's and Lion's decay rate of the gradient's mean; null: 0.9."""
    beta2: Fraction | None = None
    """AdamW's decay rate of the gradient's square, and Lion's second one; null: 0.999."""
    epsilon: Annotated[float, Field(gt=0, lt=1)] | None = None
    """What AdamW adds to its denominator; null: 1e-8."""
    optimizer: Optimizer = "adamw"
    """`adamw`, `adagrad`, `rmsprop`, and `sgd` without momentum, by torch; `lion` and what is 8-bit
    or paged (states move to the CPU's memory where a GPU's is full) by bitsandbytes; transformers'
    `adafactor`, without its own step sizes; or torch's `muon` for matrices, scaled to steps of
    AdamW's size, which trains all else. The default learning rate is AdamW's: state another's."""
    neftune_noise_alpha: Positive | None = None
    """NEFTune (N. Jain et al. 2023, arXiv:2310.05914): in training each text's embeddings get
    uniform noise of up to alpha / sqrt(L · d), with L its own tokens and d the model's width; null:
    none. The authors tried 5, 10 and 15."""
    train_only: tuple[Pattern, ...] = ()
    """Partial fine-tuning, by `method: full`: regular expressions, and only weights in whose names
    one is found are trained: `layers\\.1[0-7]\\.`, `lm_head`, `\\.bias$`. Others stay as they
    are, in the compute dtype. A tied head and its embedding are one weight, which either names."""
    precision: Precision | Literal["auto"] = "auto"
    """Compute dtype. Trainable weights have an fp32 master in either. `auto`: bf16 where the device
    multiplies in it natively (NVIDIA from Ampere on, AMX, avx512_bf16, Arm's bf16), else fp32; the
    same for all arms, and as stored runs have it."""
    checkpointing: bool | Literal["auto"] = False
    """Recompute activations in the backward pass (never re-entrant): less memory, more time.
    `auto`: only where the arm does not fit without."""
    checkpoint_minutes: NonNegative | None = 5.0
    """Minutes between checkpoints, of which two are kept until the run is complete; 0: one after
    every step; null: only when the run is stopped, and at the end of training."""
    save_weights: bool = True
    """Keep the tuned weights (full SFT) or adapter (LoRA) in the run's folder."""
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Also log to these, through the trainer's own integrations."""

    @property
    def pass_size(self) -> int:
        """`micro_batch` once it is settled. Raises ValueError while it is "auto"."""
        if self.micro_batch == "auto":
            raise ValueError("training.micro_batch is not settled yet")
        return self.micro_batch

    @property
    def has_states_of_bitsandbytes(self) -> bool:
        """Whether bitsandbytes updates the weights."""
        return self.has_8bit_states or self.optimizer.startswith(("lion", "paged"))

    @property
    def has_8bit_states(self) -> bool:
        """Whether bitsandbytes keeps the optimizer's states, in 8 bits."""
        return self.optimizer.endswith("_8bit")

    @property
    def computes_in(self) -> Precision:
        """`precision` once it is settled. Raises ValueError while it is "auto"."""
        if self.precision == "auto":
            raise ValueError("training.precision is not settled yet")
        return self.precision

    @property
    def peak_rate(self) -> float:
        """`learning_rate` once it is settled. Raises ValueError while it is null."""
        if self.learning_rate is None:
            raise ValueError("training.learning_rate is not settled yet")
        return self.learning_rate

    @property
    def recomputes(self) -> bool:
        """`checkpointing` once it is settled. Raises ValueError while it is "auto"."""
        if self.checkpointing == "auto":
            raise ValueError("training.checkpointing is not settled yet")
        return self.checkpointing


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class TestedTask:
    """A further task that every arm and the untuned model are tested on."""

    __test__ = False  # not a test for pytest, whatever its name

    task: NamedTask
    """As the experiment's own `task`; or `lm_eval/NAME`, which lm-eval's own code asks and scores:
    docs/tasks.md."""
    path: str | None = None
    """Folder of its files; null: the task file's own folder, or the Hub."""
    test_size: Size | None = None
    """Test problems, drawn by the experiment's seed; null: as `data.test_size`, or all if there are
    fewer."""
    protocol: Shots | None = None
    """Solved examples before the question, the same for all arms; null: the task's `num_fewshot`,
    else one if it has training problems, else none: no arm has been taught this format."""


def _stated(value: Any) -> Any:
    """Return a further task that is named alone as a mapping."""
    return {"task": value} if isinstance(value, str) else value


FurtherTask = Annotated[TestedTask, BeforeValidator(_stated)]
"""One, or its name alone."""


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class EvaluationConfig:
    """How an arm is tested: greedy decoding, the same for all arms."""

    protocol: Shots = "zero_shot"
    """Solved examples put before the question: 0, 1 or 5. Tuned arms know the format: zero-shot."""
    also: tuple[ProtocolName, ...] = ()
    """Further protocols that every arm and the baseline are tested under, by full name."""
    tasks: tuple[FurtherTask, ...] = ()
    """Further tasks that every arm and the untuned model are tested on: names as in `task`, or
    `{task: gsm8k, path: DIR, test_size: 200, protocol: one_shot}`. Nothing is trained on them."""
    max_new_tokens: Count = 512
    """Longest solution a model may write, in tokens; reaching it is counted as truncated."""
    batch_size: BatchSize | Literal["auto"] = 32
    """Problems decoded at once. `auto`: as many as make tests faster, by the plan, and leave a
    tenth of the device's memory free; the same for all arms, and as stored runs have it."""
    engine: Literal["paribus", "vllm", "auto"] = "paribus"
    """What decodes: paribus itself, or vLLM, where it is installed: same prompts and stop rules.
    `auto`: vLLM where it is installed, can load every arm, and a GPU would test a run for ten
    minutes or more, by the plan; the same for all arms, and as stored runs have it."""
    answer: AnswerStyle = "auto"
    """What counts as a final answer, for all arms: `marked` (`#### N`), `phrase` (The answer is N),
    `boxed` (`\\boxed{N}`), `last_line` (N alone), or any of these: `auto`. No run changes."""
    at: tuple[Moment, ...] = ()
    """When, while it trains, an arm is measured on the validation problems, and at the end of
    training: `each_epoch`, optimizer steps (`200`) or shares of the training (`0.25`). No weight
    that is trained changes by it."""
    at_generates: bool = False
    """At these moments also generate under the main protocol, and score the texts."""
    checkpoint: Literal["last", "best_loss"] = "last"
    """Which weights are tested: those after the last step, or of the moment in `at` with the lowest
    validation loss."""

    @property
    def at_once(self) -> int:
        """`batch_size` once it is settled. Raises ValueError while it is "auto"."""
        if self.batch_size == "auto":
            raise ValueError("evaluation.batch_size is not settled yet")
        return self.batch_size


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class ArmConfig:
    """One condition. These keys may also vary in `matrix` and `arms`, by dotted name."""

    model: str = "gemma-3-270m"
    """`gemma-3-270m` (packaged), a folder with safetensors, or a Hub id."""
    task: NamedTask = preset(GENERATED)
    """`gsm8k`; `gsm8k_swapped`, which trains on its test files and tests on train's;
    `wordproblems`, which are generated; a task file (`.yaml`); or a task of the installed lm-eval,
    by its name: docs/tasks.md."""
    revision: str | None = None
    """Commit or tag of the model on the Hub; null: its newest."""
    method: Annotated[str, Field(pattern=r"^(full|lora|none|[A-Z][A-Z0-9_]*( \{.*\})?)$")] = "lora"
    """Train all weights (`full`), low-rank adapters (`lora`), or nothing (`none`); or another
    method of peft's with its keys, `{peft: IA3}` or `{peft: VeRA, r: 64}`, at a learning rate that
    is stated: docs/methods.md."""
    quantization: Literal["nf4"] | None = None
    """`nf4`: LoRA's frozen base in 4 bits (QLoRA, by bitsandbytes); null: as `precision` says."""
    data: DataConfig = field(default_factory=DataConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    @property
    def trains_all(self) -> bool:
        """Whether every weight of the model is trained."""
        return self.method == "full" and not self.training.train_only

    @property
    def is_validated(self) -> bool:
        """Whether it is measured on the validation problems while it trains."""
        return bool(self.evaluation.at) and self.method != "none"

    @property
    def trains_beside(self) -> bool:
        """Whether the base is frozen, and what trains is stored as an adapter of peft's."""
        return self.method not in ("full", "none")

    @property
    def needs_bitsandbytes(self) -> bool:
        """Whether the base is in 4 bits, or the optimizer is bitsandbytes' own."""
        trains = self.method != "none" and self.training.has_states_of_bitsandbytes
        return self.quantization is not None or trains


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class BaselineConfig:
    """The untuned model, tested for comparison."""

    protocol: Shots = "one_shot"
    """An untuned model must be shown the answer format: one-shot."""


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class RateGrids:
    """Learning rates to try for each method: as many for one as for the other, ascending."""

    full: Rates = (5e-6, 1e-5, 2e-5, 5e-5, 1e-4)
    """Full SFT. The last was added to usual grids so that both methods get five trials."""
    lora: Rates = (5e-5, 1e-4, 2e-4, 5e-4, 1e-3)
    """LoRA, which wants about 10 times what full SFT wants."""


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class TuneConfig:
    """How arms get their learning rates, or values of any keys: trials on validation problems, as
    many for every arm."""

    learning_rates: RateGrids = field(default_factory=RateGrids)
    """Rates by method, `full` and `lora`. Lowest held-out loss wins, then accuracy."""
    space: dict[str, Any] = field(default_factory=dict)
    """In place of `learning_rates`: dotted keys of `training` or `lora`, each with a list of values
    or a range `{low: 1e-6, high: 1e-3, log: true}`. Keys under `full:` or `lora:` are for arms of
    that method alone; keys that an arm does not read are left out. Needs `paribus[tune]`."""
    trials: Annotated[int, Field(ge=2, le=1000)] | None = None
    """Trials of each arm in `space`; null: 12, unless `flops` is stated."""
    flops: Annotated[float, Field(gt=0, le=1e30)] | None = None
    """In place of `trials`: floating-point operations that an arm's trials may train with."""
    sampler: Literal["tpe", "random"] = "tpe"
    """Who proposes values in `space`: Optuna's TPE, whose first ten trials are random, or chance
    alone. The seed is the experiment's: arms with the same keys begin with the same values."""
    fixed: tuple[ArmName, ...] = ()
    """Arms that keep what they state."""


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class ContrastConfig:
    """A pair of arms with more to say of it than `[a, b]` does."""

    a: str
    """The arm that may be better."""
    b: str
    """The arm it is compared with."""
    margin: Margin | None = None
    """This contrast's own margin, in points; null: the experiment's."""


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
    arms: dict[ArmName, dict[str, Any]] = field(default_factory=dict)
    """Arms by name: dotted keys, and `base: FILE` for a file whose own keys come first."""
    contrasts: Literal["auto"] | list[tuple[str, str] | ContrastConfig] = "auto"
    """Pairs of arms, `[a, b]` or `{a: full, b: lora, margin: 2}`; `auto`: each with its baseline,
    and all that differ in one factor."""
    margin: Margin | None = None
    """Points by which a difference would not matter: adds which arms are equivalent within them,
    and which are not worse by more. Changes no run; `report FILE margin=2` asks it later."""
    guard: dict[str, Margin] = field(default_factory=dict)
    """What must not get worse: the name of a task in `evaluation.tasks` → points that an arm may
    lose on it against its untuned model. Changes no run; `report FILE guard.gsm8k=2` asks it
    later."""
    tune: TuneConfig | None = None
    """Choose each arm's learning rate, or values of any keys, by trials; `{}`: the default rates.
    null: as stated."""
    trust_task_code: bool = False
    """Run the functions that task files name: `process_docs`, and `!function` in `doc_to_text`,
    `doc_to_target` and `doc_to_choice`, each in a process of its own. They may do what you may."""
    strict: bool = False
    """Refuse contrasts whose arms differ in more than one factor, the prompt among them."""
    paired_seeds: bool = False
    """Compare methods seed by seed: runs with one number share order, initialisation, dropout."""
    labels: str | None = None
    """File of corrected gold answers (JSON lines with `question`, `answer`), scored beside."""
    seeds: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Runs of every tuned arm."""
    budget: Annotated[int, Field(ge=3, le=10_000)] | None = None
    """Most runs of a tuned arm, in place of `seeds`: `run` looks at the verdicts in between, and
    continues only with arms of which something is still open."""
    looks: list[Annotated[int, Field(ge=3, le=10_000)]] | None = None
    """Numbers of seeds at which `run` looks, up to `budget`; null: half the budget, and all."""
    seed: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Root of every random stream: data, order, initialisation, dropout."""


def values_of(config: ArmConfig) -> dict[str, Any]:
    """Return every key with its value, nested: a task by its name."""
    values: dict[str, Any] = TypeAdapter(type(config)).dump_python(config)
    return values
