"""The work that every peer does: made once, written to a file, read by all.

    work = make_work(Asked(model="gemma-3-270m", steps=4))              # of benchmarks/speed.py
    work = random_work(Asked(model="google/gemma-2b-it", …), (120, 280))    # of speed_gpu.py
    work.write(Path("work.json"))            # Work.read(Path("work.json")) == work

Token ids, the batches in their order, the prompts and when a text ends are paribus' own, so that
nobody tokenises, shuffles or stops in their own way. Of real texts the first batch, which warms up
and is not counted, has the shortest: a step of a slow peer takes most of a minute.
"""

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from paribus.config.schema import (
    ArmConfig,
    DataConfig,
    EvaluationConfig,
    LoraConfig,
    Precision,
    PromptConfig,
    TrainingConfig,
)
from paribus.config.spec import RunSpec
from paribus.config.task import preset
from paribus.files import read_json, write_json
from paribus.models.configs import CONFIGS
from paribus.models.shapes import Shape, read_shape, shape_of
from paribus.planning.inputs import Inputs, PromptSet
from paribus.planning.prepare import prepare
from paribus.prompts.encode import Encoded
from paribus.testing.tiny import tiny_tokenizer
from paribus.training.batching import order_seed, plan_training

RATES = {"full": 1e-5, "lora": 1e-4}
"""Learning rates: the usual size, so that the losses after a step differ from those before."""

DRAWN = 256
"""Problems, at least, among which the shortest are looked for."""

SMALL: Mapping[str, Any] = {
    "model_type": "gemma", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 4096,
    "max_position_embeddings": 2048, "tie_word_embeddings": True,
}  # fmt: skip
"""The shape called `small`: Gemma's, for a rehearsal on a CPU."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"

Examples = list[tuple[list[int], int]]
"""Token ids, and how many of them are the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line asks for.

    Attributes:
        model: a name, an absolute folder or a Hub id; for `random_work` the id of a known shape, or
            `small`.
        data: folder of GSM8K's files; None: generated problems of 4 to 5 steps, about as long.
        steps: optimizer steps, the first of which warms up.
        trl_steps: how many of them TRL does, which is slow.
        batch: examples of a step.
        problems: prompts, each with one solved example.
        eval_batch: problems decoded at once.
        new_tokens: longest text.
        device: `cpu` or `cuda`.
        precision: of matrix products.
        dropout: of adapters; above 0 only the first losses of peers are alike.
        rows: texts decoded at once, each number by itself; in place of `eval_batch`.
    """

    model: str
    data: str | None = None
    steps: int = 4
    trl_steps: int = 2
    batch: int = 8
    problems: int = 64
    eval_batch: int = 32
    new_tokens: int = 256
    device: str = "cpu"
    precision: Precision = "bf16"
    dropout: float = 0.0
    rows: tuple[int, ...] = ()

    def config(self) -> ArmConfig:
        """Return the arm whose inputs are the work."""
        gsm8k = self.data is not None
        data = DataConfig(
            path=self.data,
            train_size=max(self.steps * self.batch, DRAWN),
            test_size=self.problems,
            min_steps=1 if gsm8k else 4,
            max_steps=2 if gsm8k else 5,
        )
        return ArmConfig(
            model=self.model,
            method="full",
            task=preset("gsm8k" if gsm8k else "wordproblems"),
            data=data,
            prompt=PromptConfig(max_tokens=2048),
            training=self.training("full"),
            evaluation=EvaluationConfig(
                protocol="one_shot", max_new_tokens=self.new_tokens, batch_size=self.eval_batch
            ),
        )

    def training(self, method: str) -> TrainingConfig:
        """Return how `method` is trained: what every peer is told, in paribus' words."""
        return TrainingConfig(
            batch_size=self.batch,
            micro_batch=self.batch,
            max_steps=self.steps,
            learning_rate=RATES[method],
            schedule="constant",
            warmup=0.0,
            weight_decay=0.0,
            precision=self.precision,
            save_weights=False,
        )


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    """Return `values` as a config has them: JSON knows lists alone."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work itself, in what JSON can hold.

    Attributes:
        asked: with the model's folder in place of its name.
        source: of the problems: `gsm8k` or `wordproblems`.
        seed: root of paribus' random streams; the order of examples follows from it.
        examples: ids, and how many of them are the prompt.
        batches: indices into `examples`, a list for each optimizer step.
        prompts: `question`, `answer`, `text` and `ids` of each tested problem.
        stop_ids: tokens that end a text, beside `#### N` and the next question.
        training: how each method is trained.
    """

    asked: Asked
    source: str
    seed: int
    examples: Examples
    batches: list[list[int]]
    prompts: list[dict[str, Any]]
    stop_ids: list[int]
    training: dict[str, TrainingConfig]

    @classmethod
    def read(cls, path: Path) -> "Work":
        """Return the work in the file `path`."""
        found = read_json(path)
        found["examples"] = [(ids, length) for ids, length in found["examples"]]
        found["training"] = {
            method: TrainingConfig(**_with_tuples(values))
            for method, values in found["training"].items()
        }
        return cls(**found | {"asked": Asked(**_with_tuples(found["asked"]))})

    def write(self, path: Path) -> None:
        """Write it to the file `path`."""
        write_json(path, asdict(self))

    @property
    def ordered(self) -> Examples:
        """The examples of all steps, in the order in which they are trained on."""
        return [self.examples[index] for batch in self.batches for index in batch]

    def encoded(self) -> list[Encoded]:
        """Return the examples as paribus holds them."""
        return [Encoded(tuple(ids), length) for ids, length in self.examples]

    def step(self, number: int) -> Examples:
        """Return the examples of one step, counted from 0."""
        return [self.examples[index] for index in self.batches[number]]

    def first(self, steps: int) -> "Work":
        """Return the same work with no more than `steps` optimizer steps."""
        return replace(self, batches=self.batches[:steps])


def lora(dropout: float = 0.0) -> LoraConfig:
    """Return the adapters: rank 16, all linear layers; with dropout later losses would differ."""
    return LoraConfig(r=16, alpha=32.0, dropout=dropout)


def shape_values(name: str) -> dict[str, Any]:
    """Return the config of the shape `name`, a Hub id or `small`: of its decoder of text."""
    values = dict(SMALL if name == "small" else CONFIGS[name])
    return dict(values.get("text_config", values))


def work_shape(work: "Work") -> Shape:
    """Return the shape of the work's model."""
    if Path(work.asked.model).is_absolute():
        return shape_of(work.asked.model, None)
    return read_shape(shape_values(work.asked.model), "table")


def random_work(asked: Asked, lengths: tuple[int, int], prompt: tuple[int, int]) -> Work:
    """Return work of random tokens for a model of which only the shape is known.

    Examples have from `lengths[0]` to `lengths[1] - 1` tokens, a third of which are the prompt.
    Decoded are letters, of which the tiny tokenizer makes a token each: `prompt[0]` tokens that
    all prompts begin with, then `prompt[1]` of each one's own. There are twice as many prompts as
    `asked.rows` at most: the others are to warm up with.
    """
    draw = random.Random(0)
    vocabulary = shape_values(asked.model)["vocab_size"]
    sizes = [draw.randrange(*lengths) for _ in range(asked.steps * asked.batch)]
    examples = [([draw.randrange(10, vocabulary) for _ in range(n)], n // 3) for n in sizes]
    training = {method: asked.training(method) for method in RATES}
    encode, shared = tiny_tokenizer(), "".join(draw.choices(LETTERS, k=prompt[0] - 1))
    many = 2 * max(asked.rows)
    texts = [shared + "".join(draw.choices(LETTERS, k=prompt[1])) for _ in range(many)]
    return Work(
        asked=asked,
        source="random",
        seed=0,
        examples=examples,
        batches=_plan(examples, training["full"], 0),
        prompts=[
            {"question": text, "answer": "", "text": text, "ids": encode(text)["input_ids"]}
            for text in texts
        ],
        stop_ids=[encode.eos_token_id],
        training=training,
    )


def make_work(asked: Asked) -> Work:
    """Return the work. Raises UserError for data, models or prompts that cannot be used."""
    config = asked.config()
    spec = RunSpec(experiment="speed", arm="full", replicate=0, seed=0, config=config)
    work = work_of(spec, asked, {method: asked.training(method) for method in RATES})
    # The plan depends on the number of examples alone: which is which may be chosen behind it.
    chosen = _shortest_first(work.examples, asked)
    batches = _plan(chosen, config.training, work.seed)
    places = [index for batch in batches for index in batch]
    placed = dict(zip(places, chosen, strict=True))
    return replace(work, batches=batches, examples=[placed[index] for index in sorted(placed)])


def work_of(spec: RunSpec, asked: Asked, training: dict[str, TrainingConfig]) -> Work:
    """Return all that the run `spec` trains on, in its order, and is tested on.

    Raises UserError as `make_work` does.
    """
    inputs = prepare(spec.config, spec.seed)
    shown = inputs.prompt_sets[0]
    examples = [(list(example.ids), example.prompt_length) for example in inputs.examples]
    return Work(
        asked=replace(asked, model=str(inputs.source.path)),
        source=spec.config.task.task,
        seed=spec.stream,
        examples=examples,
        batches=_plan(examples, spec.config.training, spec.stream) if training else [],
        prompts=[
            {
                "question": prompt.problem.question,
                "answer": prompt.problem.answer,
                "text": prompt.text,
                "ids": list(prompt.ids),
            }
            for prompt in shown.prompts
        ],
        stop_ids=_stop_ids(inputs, shown),
        training=training,
    )


def _plan(examples: Examples, config: TrainingConfig, seed: int) -> list[list[int]]:
    encoded = [Encoded(tuple(ids), length) for ids, length in examples]
    steps = plan_training(encoded, config, order_seed(seed))
    return [[index for passed in step for index in passed] for step in steps]


def _shortest_first(examples: Examples, asked: Asked) -> Examples:
    """Return as many examples as all steps take: the shortest for the first, others as drawn."""
    by_length = sorted(range(len(examples)), key=lambda index: len(examples[index][0]))
    short = by_length[: asked.batch]
    others = [index for index in range(len(examples)) if index not in short]
    return [examples[index] for index in [*short, *others[: (asked.steps - 1) * asked.batch]]]


def _stop_ids(inputs: Inputs, shown: PromptSet) -> list[int]:
    """Return the format's stop token, the tokenizer's, and what the model says of itself."""
    own: Any = []
    said = inputs.source.path / "generation_config.json"
    if said.exists():
        own = read_json(said).get("eos_token_id") or []
    ids = {shown.stop, inputs.tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])}
    return sorted(id for id in ids if id is not None)
