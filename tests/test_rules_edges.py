"""Rules about method, quantisation, precision and environment at their edges, and on our own files.

Each line says in words what a rule is, or is not, about.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from facts import CPU, EMULATING, ESTIMATE, GPU, MACHINE, OLD_GPU, VERSIONS, facts
from paribus.config.load import load
from paribus.config.schema import ArmConfig, ExperimentConfig
from paribus.design.matrix import expand
from paribus.models.configs import CONFIGS
from paribus.models.shapes import shape_of
from paribus.planning.cost.activations import kept
from paribus.planning.forecast import forecast
from paribus.planning.rules import environment
from paribus.planning.rules.card import Facts, Severity
from paribus.planning.rules.cards import card
from paribus.planning.rules.method import most_kept
from rule_cases import BASELINE, EIGHT_BIT, FULL, RATE, RULES, variables

ALSO: dict[str, tuple[str, Facts, bool]] = {
    "LoRA's highest rate": ("PB001", facts({RATE: 2e-3}), False),
    "over LoRA's highest rate": ("PB001", facts({RATE: 2.1e-3}), True),
    "a rate that trials will find": ("PB001", facts({RATE: 1e-5}, experiment={"tune": {}}), False),
    "a rate that they leave as it is": (
        "PB001", facts({RATE: 1e-5}, experiment={"tune": {"fixed": ["it"]}}), True,
    ),
    "full SFT at a low rate": ("PB001", facts({**FULL, RATE: 1e-5}), False),
    "LoRA at a rate too high for full SFT": ("PB002", facts({RATE: 1e-3}), False),
    "the targets are what is asked": (
        "PB003", facts({"lora.targets": ["q_proj"]}, arms={"all": {}}), False,
    ),
    "another attention-only arm is no reason": (
        "PB003",
        facts({"lora.targets": ["q_proj"]}, arms={"qv": {"lora.targets": ["q_proj", "v_proj"]}}),
        True,
    ),
    "full SFT reads no targets": ("PB003", facts({**FULL, "lora.targets": ["q_proj"]}), False),
    "all linear layers are more than attention": (
        "PB003", facts({"lora.targets": "all-linear"}), False
    ),
    "all linear layers are without the head": (
        "PB004", facts({"lora.targets": "all-linear"}), False
    ),
    "all linear layers, narrow ones too": (
        "PB005", facts({"lora.targets": "all-linear", "lora.r": 256}), True
    ),
    "a head by another name": ("PB004", facts({"lora.targets": ["embed_out"]}), True),
    "full SFT has a head": ("PB004", facts({**FULL, "lora.targets": ["lm_head"]}), False),
    "no narrow layer is adapted": (
        "PB005", facts({"lora.r": 512, "lora.targets": ["q_proj", "up_proj"]}), False,
    ),
    "names of another family": ("PB005", facts({"lora.r": 512, "lora.targets": ["fc1"]}), False),
    "rank 512 at alpha 32": ("PB006", facts({"lora.r": 512}), False),
    "rank 1024 at alpha 32": ("PB006", facts({"lora.r": 1024}), True),
    "rank 1024 at alpha 32, rslora": (
        "PB006", facts({"lora.r": 1024, "lora.use_rslora": True}), False
    ),
    "SGD has rates of its own": (
        "PB002", facts({**FULL, RATE: 0.1, "training.optimizer": "sgd"}), False
    ),
    "Lion at LoRA's default rate": ("PB072", facts({"training.optimizer": "lion_8bit"}), True),
    "Adafactor steps like AdamW": (
        "PB072", facts({**FULL, "training.optimizer": "adafactor"}), False
    ),
    "trials find SGD's rate": (
        "PB072", facts({"training.optimizer": "sgd"}, experiment={"tune": {}}), False
    ),
    "rsLoRA alone": ("PB073", facts({"lora.use_rslora": True}), False),
    "LoRA reads its keys": ("PB007", facts({"lora.r": 64}), False),
    "keys shared by all arms": (
        "PB007", facts({**FULL, "lora.r": 64}, experiment={"lora.r": 64}), False,
    ),
    "no checkpointing": ("PB008", facts({"training.checkpointing": False}), False),
    "a baseline recomputes nothing": (
        "PB008",
        facts(
            {**BASELINE, "training.checkpointing": True},
            estimate=replace(ESTIMATE, training=None),
        ),
        False,
    ),
    "16 bits of an embedding are no news": ("PB011", facts(), False),
    "LoRA trains no embedding": (
        "PB013", facts(EIGHT_BIT, estimate=replace(ESTIMATE, total_parameters=1)), False,
    ),
    "an untied head counts too": (
        "PB013",
        facts({**FULL, **EIGHT_BIT}, shape={"tied": False}, estimate=replace(
            ESTIMATE, total_parameters=5_242_879_999)),
        True,
    ),
    "a baseline needs bf16 too": ("PB014", facts(BASELINE, device=OLD_GPU), True),
    "a CPU that was not timed": ("PB015", facts(device=replace(CPU, bf16=False, flops={})), True),
    "fp32 on an old CPU": ("PB015", facts({"training.precision": "fp32"}, device=EMULATING), False),
    "a baseline on an old CPU": ("PB015", facts(BASELINE, device=EMULATING), True),
    "bf16 on a GPU": ("PB015", facts(machine={"cpu_flags": frozenset({"avx2"})}), False),
    "fp32 where there is nothing else": (
        "PB016", facts({"training.precision": "fp32"}, device=OLD_GPU), False,
    ),
    "a cosine reaches half as far": (
        "PB017", facts({**FULL, RATE: 1e-5}, steps=9), True,
    ),
    "ten steps of a cosine": ("PB017", facts({**FULL, RATE: 1e-5}, steps=10), False),
    "fp32 rounds nothing": (
        "PB017", facts({**FULL, "training.precision": "fp32"}, steps=1), False,
    ),
    "adapters start at nothing": ("PB017", facts(steps=1), False),
    "precision differs with the method": (
        "PB018", facts(arms={"full": {**FULL, "training.precision": "fp32"}}), True,
    ),
    "the optimizer is what is asked": ("PB018", facts(arms={"lora-8bit": EIGHT_BIT}), False),
    "a baseline has no optimizer": (
        "PB018", facts(EIGHT_BIT, arms={"baseline": BASELINE}), False,
    ),
    "one process of a launcher": ("PB019", variables("LOCAL_RANK", "MASTER_ADDR"), True),
    "a world of no number": ("PB019", facts(machine={"world_size": 0}), True),
    "full SFT makes no adapter": ("PB012", facts({**FULL, "quantization": "nf4"}), False),
    "several GPUs, and none is planned for": (
        "PB022", facts(device=CPU, machine={"gpus": (GPU.title,) * 2}), False,
    ),
    "kernels without the instructions": (
        "PB023",
        facts(machine={"versions": {**VERSIONS, "kernels": "1"}, "cpu_flags": frozenset()}),
        False,
    ),
    "bitsandbytes is not needed": (
        "PB024", facts(machine={"versions": {"torch": "2.13.0"}}), False,
    ),
}  # fmt: skip


def found(id: str, facts: Facts) -> str | None:
    return card(id).found(facts)


@pytest.mark.parametrize("case", ALSO)
def test_further_cases(case: str) -> None:
    id, given, fires = ALSO[case]
    assert (found(id, given) is not None) is fires


def test_the_variable_of_no_number_is_named() -> None:
    machine = {"world_size": 0, "environment": frozenset({"PMI_SIZE", "WORLD_SIZE", "HF_HOME"})}
    assert found("PB019", facts(machine=machine)) == "PMI_SIZE or WORLD_SIZE is not a number"


@pytest.mark.parametrize("model", CONFIGS)
@pytest.mark.parametrize("values", [{}, FULL, {"training.precision": "fp32"}], ids=str)
def test_layers_keep_less_than_what_checkpointing_is_judged_by(model: str, values) -> None:
    values = {**values, "model": model, "training.batch_size": 2, "training.micro_batch": 2}
    shape = shape_of(model, None)
    given = replace(facts(values, tokens=None), shape=shape)
    load = forecast(given.config, None, 0, shape, GPU).load
    length = given.config.prompt.max_tokens
    longest = replace(load, train_length=length, pass_tokens=2 * length)
    assert sum(kept(shape, longest)) < most_kept(given, shape)


def test_many_versions_that_differ_are_counted_and_not_all_named() -> None:
    others = dict.fromkeys(VERSIONS, "9.0")
    said = found("PB024", facts(machine={"versions": others}))
    assert said is not None
    assert said.endswith("bitsandbytes 9.0 (tested: 0.50.2) and 3 more")
    assert len(said) <= 160


def test_the_tested_versions_are_those_of_the_constraints() -> None:
    text = (Path(__file__).parents[1] / "constraints.txt").read_text(encoding="utf-8")
    pins = dict(line.split("==") for line in text.splitlines() if "==" in line)
    assert {name: pins[name] for name in environment.TESTED} == environment.TESTED


SHIPPED: dict[str, dict[str, Severity]] = {
    "gsm8k_gemma_270m": {"PB001": Severity.WARNING, "PB013": Severity.NOTE},
    "gsm8k_gemma_2b": {"PB001": Severity.WARNING, "PB013": Severity.NOTE},
    "gsm8k_gemma_2b_tuned": {"PB001": Severity.WARNING, "PB013": Severity.NOTE},
    "gsm8k_swapped_270m": {},
    "quickstart": {},
    "wordproblems_270m": {},
}
"""What fires on a GPU. PB001: the arms that keep the original project's rate, to show it."""


@pytest.mark.parametrize("name", SHIPPED)
def test_what_the_shipped_experiments_earn(name: str) -> None:
    loaded = load(Path(__file__).parents[1] / "experiments" / f"{name}.yaml")
    arms = {arm.name: arm.config for arm in expand(loaded).arms}
    facts_of = {arm: _shipped(arm, arms, loaded.config) for arm in arms}
    fired = {
        rule.id: rule.severity
        for each in facts_of.values()
        for rule in RULES.values()
        if found(rule.id, each) is not None
    }
    assert fired == SHIPPED[name]
    starved = [name for name, each in facts_of.items() if found("PB001", each) is not None]
    assert all(name.endswith("-original") for name in starved)


def _shipped(arm: str, arms: Mapping[str, ArmConfig], experiment: ExperimentConfig) -> Facts:
    """The facts of an arm, on the model and machine of the builder."""
    steps = 0 if arms[arm].method == "none" else 40
    total = 2_506_172_416
    built = facts(steps=steps, estimate=replace(ESTIMATE, total_parameters=total))
    return replace(
        built,
        arm=arm,
        config=arms[arm],
        arms=arms,
        experiment=experiment,
        machine=MACHINE,
    )
