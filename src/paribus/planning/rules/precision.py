"""Cards about number formats: what a device computes in, and what rounding leaves of training.

PB014   training.precision=bf16 on Tesla T4, which has no bf16
"""

from typing import TYPE_CHECKING

from paribus.planning.devices import Device
from paribus.planning.rules.card import Facts, Rule, Severity

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
