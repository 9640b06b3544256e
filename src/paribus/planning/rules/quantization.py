"""Cards about weights in 4 bits and optimizer states in 8.

PB009   method=full with quantization=nf4
"""

from paribus.planning.devices import GB
from paribus.planning.rules.card import Facts, Rule, Severity

_NOTABLE = 0.2
"""Share of a model's weights, in the embedding, from which 8-bit states save notably less."""
_MOST = 0.5
"""Share from which 4-bit layers leave most of a model in 16 bits."""


def _full_on_4bit(facts: Facts) -> str | None:
    if facts.config.method != "full" or facts.config.quantization is None:
        return None
    return f"method=full with quantization={facts.config.quantization}"


def _4bit_on_cpu(facts: Facts) -> str | None:
    if facts.config.quantization is None or facts.device.kind != "cpu":
        return None
    return f"quantization={facts.config.quantization} on {facts.device.title}"


def _embedding_share(facts: Facts) -> tuple[float, int] | None:
    """Return the share of the model's weights in embedding and head, and their number."""
    if facts.shape is None or facts.estimate is None:
        return None
    rows = facts.shape.vocab * (1 if facts.shape.tied else 2)
    weights = rows * facts.shape.hidden
    return weights / facts.estimate.total_parameters, weights


def _4bit_saves_little(facts: Facts) -> str | None:
    found = _embedding_share(facts)
    if facts.config.quantization is None or found is None or found[0] <= _MOST:
        return None
    share, weights = found
    return f"{share:.0%} of the weights ({weights:,}) are embedding and stay in 16 bits"


def _belongs_to_its_base(facts: Facts) -> str | None:
    if facts.config.quantization is None or facts.config.method != "lora":
        return None
    return f"quantization={facts.config.quantization}: the adapter is made for the 4-bit base"


def _embedding_states(facts: Facts) -> str | None:
    found = _embedding_share(facts)
    if facts.config.method != "full" or found is None or found[0] <= _NOTABLE:
        return None
    if facts.config.training.optimizer != "adamw_8bit":
        return None
    share, weights = found
    gb = 8 * weights / GB
    return f"adamw_8bit: {share:.0%} of the weights are embedding: {gb:.1f} GB of 32-bit states"


RULES: tuple[Rule, ...] = (
    Rule(
        id="PB009",
        title="Full fine-tuning cannot train weights of 4 bits",
        severity=Severity.ERROR,
        what="The run would stop before its first step.",
        why="A weight of 4 bits takes one of 16 values; a step of the optimizer is far smaller "
        "than the gap between two of them. Only adapters beside the frozen weights can be trained.",
        evidence=(
            "Re-run here: bitsandbytes 0.50.2, transformers 5.23.0: paribus refuses it when it "
            "makes the model trainable.",
            "Read here in transformers 5.23.0 (trainer_utils.py): its Trainer refuses it too.",
        ),
        instead="Set method: lora (this is QLoRA), or quantization: null.",
        check=_full_on_4bit,
    ),
    Rule(
        id="PB010",
        title="4-bit training on a CPU says nothing of a GPU",
        severity=Severity.NOTE,
        what="It works and is slow: speed and memory measured so must not be reported as QLoRA's.",
        why="On a CPU a layer's 4-bit weights are turned into 16-bit ones before every product, by "
        "other code than on a GPU. Accuracy can be compared, cost cannot.",
        evidence=(
            "Measured here: bitsandbytes 0.50.2, torch 2.13.0, 2 cores with AMX, a layer of "
            "640 x 2,048 with 1, 256 and 2,048 rows: nf4 took 1.7 to 5.5 times as long as bf16.",
        ),
        instead="Measure cost on a GPU. On a CPU use quantization: null unless memory forbids it.",
        check=_4bit_on_cpu,
    ),
    Rule(
        id="PB011",
        title="4 bits save little: most of the model is its embedding",
        severity=Severity.NOTE,
        what="Memory falls far less than to a quarter, and every layer is slower and less exact.",
        why="Only the linear layers of the decoder are rounded to 4 bits. A large vocabulary on a "
        "small model puts most weights into the embedding, which is also the output head.",
        evidence=(
            "Re-run here: bitsandbytes 0.50.2, transformers 5.23.0, the tiny model with "
            "quantization=nf4: embedding, head and norms keep the compute dtype.",
            "Gemma 3 270M: 262,144 rows of 640 are 168 million of its 268 million weights.",
        ),
        instead="Set quantization: null for small models; LoRA alone needs no optimizer state for "
        "the frozen weights.",
        check=_4bit_saves_little,
    ),
    Rule(
        id="PB012",
        title="A QLoRA adapter belongs to its 4-bit base",
        severity=Severity.NOTE,
        what="The arm is trained and tested on the 4-bit base; its baseline is the model in 16 "
        "bits, so their difference has the loss by rounding in it. Loaded onto, or merged into, "
        "the 16-bit base the adapter gives other answers than those tested.",
        why="The adapter learns to add to what the rounded layers compute, their errors included. "
        "Merging into the 4-bit weights rounds once more.",
        evidence=(
            "Re-run here: bitsandbytes 0.50.2, peft 0.21.2, fp32, 10 steps on the tiny model: on "
            "the 16-bit base the logits differ by 22 % of their norm, where the adapter itself "
            "moves them by 57 %.",
            "huggingface/peft#2321, #2105: answers change when such an adapter is merged.",
        ),
        instead="Ship the adapter with the base's name and quantization: nf4, and test whatever "
        "was merged before it is used.",
        check=_belongs_to_its_base,
    ),
    Rule(
        id="PB013",
        title="8-bit AdamW keeps 32-bit states for the embedding",
        severity=Severity.NOTE,
        what="The optimizer takes more memory than 2 bytes for each weight: 8 for those of the "
        "embedding, which in models with a large vocabulary is a good part of all.",
        why="The Trainer tells bitsandbytes to treat embeddings in 32 bits, for stability. Tensors "
        "under 4,096 values keep 32-bit states too.",
        evidence=(
            "Re-run here through paribus's own Trainer: bitsandbytes 0.50.2, transformers 5.23.0: "
            "states of embed_tokens are float32, those of layers with 4,096 or more values uint8.",
            "bitsandbytes-foundation/bitsandbytes#1269: how the override is registered.",
        ),
        instead="Nothing to do: `paribus plan` counts it. Do not read the saving as a quarter.",
        versions={"bitsandbytes": ">=0.50,<0.51", "transformers": ">=5.23,<5.24"},
        check=_embedding_states,
    ),
)
