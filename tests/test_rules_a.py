"""Rules about method, quantisation, precision and environment: what fires each, what just not.

The table is the specification: of each rule the facts it is about, and a near miss. Further cases
are in test_rules_edges.py.
"""

from dataclasses import replace

import pytest

from facts import CPU, EMULATING, ESTIMATE, GB, GPU, OLD_GPU, VERSIONS, facts
from paribus.planning.cost.memory import Parts
from paribus.planning.rules import adapters, environment, method, precision
from paribus.planning.rules.card import Facts
from rule_cases import BASELINE, EIGHT_BIT, FULL, RATE, RULES, variables

NF4 = {"quantization": "nf4"}
AMX = frozenset({"avx2", "avx512f", "avx512_bf16", "amx_bf16"})


def weights(total: int) -> Facts:
    """LoRA in 4 bits on a model of so many weights; 2B's embedding has 524,288,000."""
    return facts(NF4, estimate=replace(ESTIMATE, total_parameters=total))


def full_8bit(total: int) -> Facts:
    return facts({**FULL, **EIGHT_BIT}, estimate=replace(ESTIMATE, total_parameters=total))


def recomputing(length: int) -> Facts:
    """Checkpointing on an 80 GB GPU: 6 GB and 4 texts of so many tokens through 18 layers."""
    estimate = replace(ESTIMATE, training=Parts(weights=5 * GB, runtime=GB))
    values = {"training.checkpointing": True, "training.batch_size": 4, "training.micro_batch": 4}
    return facts(values, estimate=estimate, tokens={"longest_example": length})


def versions(**changes: str) -> Facts:
    return facts(machine={"versions": {**VERSIONS, **changes}})


Case = tuple[Facts, Facts, str]
"""What fires the rule, the near miss, and a part of what is found."""

CASES: dict[str, Case] = {
    "PB001": (
        facts({RATE: 4.9e-5}),
        facts({RATE: 5e-5}),
        "training.learning_rate=4.9e-05 with method=lora; what works is 5e-05 to 0.002",
    ),
    "PB002": (
        facts({**FULL, RATE: 1.1e-4}),
        facts({**FULL, RATE: 1e-4}),
        "training.learning_rate=0.00011 with method=full, over 0.0001",
    ),
    "PB003": (
        facts({"lora.targets": ["q_proj", "v_proj"]}),
        facts({"lora.targets": ["q_proj", "v_proj", "up_proj"]}),
        "lora.targets=[q_proj, v_proj]",
    ),
    "PB004": (
        facts({"lora.targets": ["up_proj", "lm_head"]}),
        facts({"lora.targets": ["up_proj"]}),
        "lora.targets=[up_proj, lm_head] has the output head",
    ),
    "PB005": (
        facts({"lora.r": 256}),
        facts({"lora.r": 255}),
        "lora.r=256, and k_proj and v_proj have a width of 256",
    ),
    "PB006": (
        facts({"lora.r": 1, "lora.alpha": 33}),
        facts({"lora.r": 1, "lora.alpha": 32}),
        "lora.alpha=33 / lora.r=1 = 33, outside 0.0625 to 32",
    ),
    "PB007": (
        facts({**FULL, "lora.r": 64}),
        facts({**FULL, "lora.r": 16}),
        "method=full never reads lora.r",
    ),
    "PB008": (
        recomputing(920),
        recomputing(930),
        "training.checkpointing=true; NVIDIA H100 80GB HBM3 has room for all activations",
    ),
    "PB009": (facts({**FULL, **NF4}), facts(NF4), "method=full with quantization=nf4"),
    "PB010": (facts(NF4, device=CPU), facts(NF4, device=GPU), "quantization=nf4 on CPU, 24 GB"),
    "PB011": (
        weights(1_048_575_999),
        weights(1_048_576_000),
        "50% of the weights (524,288,000) are embedding",
    ),
    "PB012": (facts(NF4), facts(), "quantization=nf4: the adapter is made for the 4-bit base"),
    "PB013": (
        full_8bit(2_621_439_999),
        full_8bit(2_621_440_000),
        "20% of the weights are embedding: 4.2 GB of 32-bit states",
    ),
    "PB014": (
        facts(device=OLD_GPU),
        facts({"training.precision": "fp32"}, device=OLD_GPU),
        "training.precision=bf16 on Tesla T4, which has no bf16",
    ),
    "PB015": (
        facts(device=EMULATING),
        facts(device=CPU),
        "bf16 on a CPU that emulates it: products take 180 times as long as in fp32",
    ),
    "PB016": (
        facts({"training.precision": "fp32"}, device=GPU),
        facts({"training.precision": "bf16"}, device=GPU),
        "training.precision=fp32 on NVIDIA H100 80GB HBM3",
    ),
    "PB017": (
        facts({**FULL, "training.schedule": "constant", RATE: 1e-5}, steps=4),
        facts({**FULL, "training.schedule": "constant", RATE: 1e-5}, steps=5),
        "4 steps at 1e-05 on average move a weight by 4e-05 at most",
    ),
    "PB018": (
        facts(arms={"full": {**FULL, **EIGHT_BIT}}),
        facts(arms={"full": {**FULL, **EIGHT_BIT}, "full-32": FULL}),
        "adamw and bf16 here, adamw_8bit and bf16 in full",
    ),
    "PB019": (
        facts(machine={"world_size": 2, "environment": frozenset({"WORLD_SIZE"})}),
        facts(machine={"world_size": 1, "environment": frozenset({"WORLD_SIZE"})}),
        "WORLD_SIZE says 2 processes",
    ),
    "PB020": (
        variables("ACCELERATE_USE_DEEPSPEED"),
        variables("ACCELERATE_USE_FSDP", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS"),
        "ACCELERATE_USE_DEEPSPEED is set",
    ),
    "PB021": (
        variables("NVIDIA_TF32_OVERRIDE", "ACCELERATE_MIXED_PRECISION"),
        variables("NVIDIA_VISIBLE_DEVICES", "ACCELERATE_USE_CPU"),
        "ACCELERATE_MIXED_PRECISION and NVIDIA_TF32_OVERRIDE are set",
    ),
    "PB022": (
        facts(machine={"gpus": (GPU.title,) * 2}),
        facts(machine={"gpus": (GPU.title,)}),
        "2 GPUs are visible; runs use the first",
    ),
    "PB023": (
        versions(kernels="0.17.2"),
        facts(machine={"versions": {**VERSIONS, "kernels": "0.17.2"}, "offline": True}),
        "kernels 0.17.2 is installed, the CPU has avx512_bf16",
    ),
    "PB024": (
        versions(torch="2.14.0", peft="0.21.9"),
        versions(torch="2.13.1+cu128"),
        "torch 2.14.0 (tested: 2.13.0)",
    ),
    "PB072": (
        facts({**FULL, "training.optimizer": "sgd"}),
        facts({**FULL, "training.optimizer": "sgd", RATE: 0.1}),
        "training.optimizer=sgd at training.learning_rate=2e-05, which is AdamW's default with",
    ),
    "PB073": (
        facts({"lora.use_rslora": True}, arms={"plain": {}}),
        facts({"lora.use_rslora": True, "lora.alpha": 8}, arms={"plain": {}}),
        "lora.alpha=32 and lora.r=16 here and in plain: the scale is 8 here, 2 there",
    ),
    "PB074": (
        facts({"lora.use_dora": True}),
        facts({"lora.use_dora": True, "lora.dropout": 0.0}),
        "lora.use_dora=true with lora.dropout=0.05",
    ),
    "PB075": (
        facts({"lora.modules_to_save": ["lm_head"]}, arms={"plain": {}}),
        facts({"lora.modules_to_save": ["model.norm"]}, arms={"plain": {}}),
        "trains 524,288,000 weights beside 19,611,648 of adapters; plain does not train them",
    ),
    "PB076": (
        facts({"lora.modules_to_save": ["embed_tokens"]}),
        facts({"lora.modules_to_save": ["embed_tokens"]}, shape={"tied": False}),
        "lora.modules_to_save=[embed_tokens] of a model whose head is its embedding",
    ),
    "PB077": (
        facts({"lora.init_lora_weights": "pissa"}, arms={"plain": {}}),
        facts({"lora.init_lora_weights": "pissa", RATE: 5e-5}, arms={"plain": {}}),
        "lora.init_lora_weights=pissa and plain LoRA (plain) share training.learning_rate=0.0002",
    ),
    "PB078": (
        facts({"method": "IA3"}),
        facts({"method": "IA3"}, estimate=None),
        "method=IA3",
    ),
    "PB079": (
        facts({"method": "IA3"}, arms={"plain": {}}),
        facts({"method": "IA3", RATE: 3e-3}, arms={"plain": {}}),
        "method=IA3 and plain share training.learning_rate=0.0002",
    ),
}


def found(id: str, facts: Facts) -> str | None:
    return RULES[id].found(facts)


def test_every_rule_has_a_case_and_every_id_is_taken_once() -> None:
    modules = (method, precision, environment, adapters)
    given = [rule.id for module in modules for rule in module.RULES]
    assert sorted(given) == [
        *(f"PB{number:03d}" for number in range(1, 25)),
        *(f"PB{number:03d}" for number in range(72, 80)),
    ]
    assert list(CASES) == sorted(given)


@pytest.mark.parametrize("id", CASES)
def test_what_fires_a_rule_and_what_just_does_not(id: str) -> None:
    fires, near_miss, part = CASES[id]
    said = found(id, fires)
    assert said is not None
    assert part in said
    assert len(said) <= 160
    assert found(id, near_miss) is None


@pytest.mark.parametrize("id", CASES)
def test_nothing_is_said_of_what_is_not_known(id: str) -> None:
    unknown = {"shape": None, "tokens": None, "steps": None, "estimate": None, "machine": None}
    assert found(id, facts(**unknown)) is None


@pytest.mark.parametrize("id", CASES)
def test_sound_arms_are_left_alone(id: str) -> None:
    arms = {"full": FULL, "baseline": BASELINE}
    assert found(id, facts(arms=arms)) is None
    assert found(id, facts(FULL, arms=arms)) is None
    assert found(id, facts(BASELINE, arms=arms, steps=0)) is None
    assert found(id, facts(arms=arms, device=CPU, machine={"cpu_flags": AMX, "gpus": ()})) is None
