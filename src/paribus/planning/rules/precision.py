"""Rules about number formats: what a device computes in, rounding, 4-bit weights, 8-bit states.

PB014   training.precision=bf16 on Tesla T4, which has no bf16
PB009   method=full with quantization=nf4
"""

from typing import TYPE_CHECKING

from paribus.planning.devices import GB, Device
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
    embedding = _embedding_share(facts)
    if facts.config.quantization is None or embedding is None or embedding[0] <= _MOST:
        return None
    share, weights = embedding
    return f"{share:.0%} of the weights ({weights:,}) are embedding and stay in 16 bits"


def _belongs_to_its_base(facts: Facts) -> str | None:
    if facts.config.quantization is None or facts.config.method != "lora":
        return None
    return f"quantization={facts.config.quantization}: the adapter is made for the 4-bit base"


def _embedding_states(facts: Facts) -> str | None:
    embedding = _embedding_share(facts)
    if not facts.config.trains_all or embedding is None or embedding[0] <= _NOTABLE:
        return None
    training = facts.config.training
    if not training.has_8bit_states:
        return None
    share, weights = embedding
    states = 1 if "lion" in training.optimizer else 2
    return (
        f"{training.optimizer}: {share:.0%} of the weights are embedding: "
        f"{4 * states * weights / GB:.1f} GB of 32-bit states"
    )


QUANTIZATION: tuple[Rule, ...] = (
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
        title="8-bit optimizers keep 32-bit states for the embedding",
        severity=Severity.NOTE,
        what="The optimizer takes more memory than 2 bytes for each weight (Lion 1): 8 (Lion 4) "
        "for those of the embedding, which in models with a large vocabulary is a good part of "
        "all.",
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


if TYPE_CHECKING:
    from paribus.config.schema import ArmConfig

_LEAST_REACH = 5e-5
"""How far weights must be able to move, or more than half of them round back to where they were."""


def without_bf16(device: Device) -> Rule | None:
    """Return the card that stating bf16 breaks on `device`; None if it multiplies in bf16."""
    if device.bf16:
        return None
    return NO_BF16 if device.kind == "cuda" else EMULATED_BF16


def _no_bf16(facts: Facts) -> str | None:
    if without_bf16(facts.device) is not NO_BF16 or _precision(facts) != "bf16":
        return None
    return f"training.precision=bf16 on {facts.device.title}, which has no bf16"


def _slow_bf16(facts: Facts) -> str | None:
    if without_bf16(facts.device) is not EMULATED_BF16 or _precision(facts) != "bf16":
        return None
    flops = facts.device.flops
    factor = flops["fp32"] / flops["bf16"] if flops else 1.0
    # Timed beside other work the factor may be nonsense.
    slower = f"{factor:,.0f} times" if factor >= 2 else "many times"
    return (
        "training.precision=bf16 on a CPU that emulates it: products take "
        f"{slower} as long as in fp32"
    )


def _slow_fp32(facts: Facts) -> str | None:
    if facts.device.kind != "cuda" or not facts.device.bf16 or _precision(facts) != "fp32":
        return None
    return f"training.precision=fp32 on {facts.device.title}, which has bf16"


def _lost_in_rounding(facts: Facts) -> str | None:
    training = facts.config.training
    if facts.config.method != "full" or training.precision != "bf16" or not facts.steps:
        return None
    mean = training.peak_rate
    if training.schedule != "constant":
        mean = (mean + training.min_learning_rate) / 2
    reach = facts.steps * mean
    if reach >= _LEAST_REACH:
        return None
    return f"{facts.steps} steps at {mean:g} on average move a weight by {reach:.2g} at most"


def _numerics_differ(facts: Facts) -> str | None:
    own, tuned = facts.config, [arm for arm in facts.arms.values() if arm.method != "none"]
    if own.method == "none":
        return None
    for name, other in facts.arms.items():
        if other.method in ("none", own.method) or _numerics(other) == _numerics(own):
            continue
        if any(a.method == other.method and _numerics(a) == _numerics(own) for a in tuned):
            continue
        return f"{' and '.join(_numerics(own))} here, {' and '.join(_numerics(other))} in {name}"
    return None


def _numerics(config: "ArmConfig") -> tuple[str, str]:
    return config.training.optimizer, config.training.precision


def _precision(facts: Facts) -> str:
    return facts.config.training.precision


NO_BF16 = Rule(
    id="PB014",
    title="The GPU has no bf16",
    severity=Severity.ERROR,
    what="The run would stop as soon as it looked at its device.",
    why="NVIDIA GPUs before Ampere (T4, V100, GTX, RTX 20) have no bf16. paribus never falls "
    "back to fp16 in silence: its range is too small for Gemma's activations, and one "
    "experiment file would mean two things on two machines.",
    evidence=(
        "Read here in paribus 0.1.0 (models/device.py): torch 2.13.0 is asked whether the GPU "
        "has bf16, emulation left out.",
        "huggingface/transformers#36822, unslothai/unsloth#5074: Gemma 3 overflows in fp16.",
    ),
    instead="Leave training.precision at auto, or set fp32, or use a GPU of the Ampere "
    "generation or later.",
    check=_no_bf16,
)
EMULATED_BF16 = Rule(
    id="PB015",
    title="This CPU emulates bf16",
    severity=Severity.WARNING,
    what="Training takes many times as long as in fp32, for the same result but rounding: "
    "what takes minutes may take days.",
    why="The processor has no instructions for bf16 (avx512_bf16, AMX, Arm's bf16), or "
    "ONEDNN_MAX_CPU_ISA forbids them: every product is widened, multiplied and rounded.",
    evidence=(
        "Measured here: torch 2.13.0, 2 cores of an AMD EPYC (Zen 4), square products of 1,024 "
        "rows, GFLOP/s in bf16 and fp32: with avx512_bf16 416 and 195; held to AVX2 0.9 and "
        "155.",
        "Measured here: torch 2.13.0, 2 cores of a Xeon with AMX, a product of 2,048 x 640 by "
        "640 x 2,048, instructions limited by ONEDNN_MAX_CPU_ISA, GFLOP/s in bf16 and fp32: "
        "AVX2 7 and 96, AVX-512 18 and 79, with avx512_bf16 53 and 103, with AMX 451 and 91.",
    ),
    instead="Leave training.precision at auto, or set fp32 for all arms: it takes more memory.",
    versions={"torch": ">=2.13,<2.14"},
    check=_slow_bf16,
)

RULES: tuple[Rule, ...] = (
    *QUANTIZATION,
    NO_BF16,
    EMULATED_BF16,
    Rule(
        id="PB016",
        title="fp32 on a GPU that has bf16",
        severity=Severity.NOTE,
        what="Training and testing take many times as long and more memory.",
        why="Tensor cores, which do most of a GPU's work in bf16, are not used for plain fp32.",
        evidence=(
            "NVIDIA's data sheet of the H100 SXM: 989 TFLOP/s in bf16, dense, and 67 in fp32.",
            "docs/design.md: in fp32 generated texts are the same for any batch size; in bf16 they "
            "need not be.",
        ),
        instead="Set training.precision: bf16, unless fp32 is what you ask about or check with.",
        check=_slow_fp32,
    ),
    Rule(
        id="PB017",
        title="Training this short is lost when weights are rounded",
        severity=Severity.WARNING,
        what="Most weights of the tested and saved model are exactly those of the untrained one, "
        "although its fp32 copy was trained.",
        why="Full SFT trains an fp32 copy, but every product in bf16 rounds it, in training as in "
        "testing. A change below about 1/512 of a weight is rounded away. AdamW moves a weight by "
        "about the learning rate in a step, so the sum of all rates bounds how far it comes.",
        evidence=(
            "Measured here on Gemma 3 270M (median weight 0.021): of the bf16 weights of its "
            "matrices 95 % round back after a shift of 1e-6, 88 % after 1e-5, 55 % after 5e-5, "
            "29 % after 1e-4, 0.04 % after 5e-4.",
            "Measured here (LOG.md, what bf16 costs): after 24 steps at 2e-5 rounding returns 37 % "
            "of the weights of the matrices to where they were, 94 % of the embedding's, and that "
            "costs no accuracy: so far above this card's limit it does no harm.",
            "pytorch/ao#1124, pytorch/torchtune#2254: the same loss of small updates in bf16.",
        ),
        instead="Train longer or at a higher rate, or set training.precision: fp32, which tests "
        "the master weights themselves.",
        check=_lost_in_rounding,
    ),
    Rule(
        id="PB018",
        title="Methods are compared at different precision or optimizer",
        severity=Severity.WARNING,
        what="A difference between full SFT and LoRA may come from the optimizer's 8-bit states "
        "or from rounding, and no one can tell afterwards.",
        why="Two things change at once from arm to arm, and no arm changes only one of them.",
        evidence=(
            "pytorch/ao#1124: full SFT in pure bf16 loses small updates, which LoRA's fp32 "
            "adapters do not; paribus holds the dtypes equal, optimizer and precision the file.",
        ),
        instead="Set training.optimizer and training.precision once, at the top, or add the arm "
        "that changes one of them alone.",
        check=_numerics_differ,
    ),
)
