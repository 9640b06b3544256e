"""Rules about texts, model families, training and design: what fires each, and what just does not.

The table is the specification: of each rule the facts it is about, and a near miss.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from facts import CPU, TOKENS, facts
from paribus.config.load import load
from paribus.config.schema import ArmConfig, ExperimentConfig
from paribus.design.matrix import expand
from paribus.planning.rules import design, families, optimizers, schedules, texts, tuning
from paribus.planning.rules.card import Facts, Rule, Severity

MODULES = (texts, families, schedules, design, tuning, optimizers)
RULES: dict[str, Rule] = {rule.id: rule for module in MODULES for rule in module.RULES}
BASELINE = {"method": "none"}
CHAT = {"prompt.format": "chat"}
TUNED_FOR_CHAT = {"instruction_tuned": True}
FULL = {"method": "full"}
RATE, OPTIMIZER = "training.learning_rate", "training.optimizer"
NOISE = "training.neftune_noise_alpha"
SPACE = {"space": {"lora.r": [4, 8]}}

Case = tuple[Facts, Facts, str]
"""What fires the rule, the near miss, and a part of what is found."""

CHOSEN = {
    "evaluation.at": ["each_epoch"],
    "evaluation.checkpoint": "best_loss",
    "data.validation_size": 200,
}
CASES: dict[str, Case] = {
    "PB025": (
        facts({"evaluation.also": ["zero_shot/chat"]}, tokens={"template_dates": True}),
        facts({"evaluation.also": ["one_shot/raw"]}, tokens={"template_dates": True}),
        "google/gemma-2b asks for today's date",
    ),
    "PB026": (
        facts(BASELINE, tokens=TUNED_FOR_CHAT),
        facts({**BASELINE, "evaluation.also": ["zero_shot/chat"]}, tokens=TUNED_FOR_CHAT),
        "google/gemma-2b is tuned for chat",
    ),
    "PB027": (
        facts(CHAT, tokens={"stop": 107, "model_eos": (1,)}),
        facts(CHAT, tokens={"stop": 107, "model_eos": (1, 107)}),
        "token 107, the model its texts with 1",
    ),
    "PB028": (
        facts(tokens={"train_examples": 7000, "dropped": 1}),
        facts(tokens={"train_examples": 7001, "dropped": 0}),
        "1 of 7001 training examples exceed prompt.max_tokens=1024",
    ),
    "PB029": (
        facts({"evaluation.max_new_tokens": 379}),
        facts({"evaluation.max_new_tokens": 380}),
        "max_new_tokens=379, and the longest gold solution has 380",
    ),
    "PB030": (
        facts(shape=None, tokens={"model_type": "mamba"}),
        facts(shape=None, tokens={"model_type": "llama"}),
        "of type mamba",
    ),
    "PB031": (
        facts(shape=None, tokens={"model_type": "granite"}),
        facts(shape=None, tokens={"model_type": "olmo2"}),
        "of type granite, which scales its logits",
    ),
    "PB032": (
        facts(shape=None, tokens={"model_type": "mixtral"}),
        facts({"lora.targets": ["q_proj", "v_proj"]}, tokens={"model_type": "mixtral"}),
        "mixtral has no down_proj, gate_proj, up_proj; it has k_proj, o_proj, q_proj, v_proj",
    ),
    "PB033": (
        facts(shape=None, tokens={"model_type": "gemma9"}),
        facts(shape=None, tokens={"model_type": "gemma2"}),
        "of type gemma9",
    ),
    "PB034": (
        facts(shape={"architecture": "Gemma3ForConditionalGeneration, text part"}),
        facts(shape={"architecture": "Gemma3ForCausalLM"}),
        "is a Gemma3ForConditionalGeneration",
    ),
    "PB035": (
        facts({"revision": None, "data.revision": "e53f048"}),
        facts({"revision": "main@2024", "data.revision": "e53f048"}),
        "model=google/gemma-2b without revision",
    ),
    "PB036": (
        facts(shape={"model_type": "mistral"}),
        facts(
            {"task": "wordproblems", "data.train_size": 9, "data.test_size": 200},
            shape={"model_type": "mistral"},
        ),
        "(mistral) is tested on gsm8k",
    ),
    "PB037": (
        facts(arms={"full": {**FULL, "training.learning_rate": 2e-4}}),
        facts(arms={"full": {**FULL, "training.learning_rate": 2e-5}}),
        "share training.learning_rate=0.0002",
    ),
    "PB038": (facts(steps=19), facts(steps=20), "19 optimizer steps in all, 1 of them warm-up"),
    "PB039": (
        facts(tokens={"overlap": 1}),
        facts(tokens={"overlap": 0}),
        "training problems too: 1",
    ),
    "PB040": (
        facts(tokens={"train_examples": 15}),
        facts(tokens={"train_examples": 16}),
        "training.batch_size=16 and 15 training examples",
    ),
    "PB041": (
        facts(steps=466),
        facts(steps=467),
        "466 steps of 16 see 7456 of 7473 training problems",
    ),
    "PB042": (
        facts(steps=101, tokens={"train_examples": 320}),
        facts(steps=100, tokens={"train_examples": 320}),
        "every one of 320 training problems is seen 5.05 times",
    ),
    "PB043": (
        facts(arms={"full": {**FULL, "evaluation.batch_size": 64}}),
        facts(arms={"full": {**FULL, "evaluation.batch_size": 32}}),
        "evaluation.batch_size is 32 and 64",
    ),
    "PB044": (facts(experiment={"seeds": 2}), facts(experiment={"seeds": 3}), "seeds=2"),
    "PB045": (
        facts(experiment={"seeds": 1}, arms={"full": FULL}),
        facts(experiment={"seeds": 1, "hypothesis": ""}, arms={"full": FULL}),
        "a hypothesis about 2 ways to tune",
    ),
    "PB046": (
        facts({"data.test_size": 99}),
        facts({"data.test_size": 100}),
        "data.test_size=99: 14.5 points or more",
    ),
    "PB047": (
        facts({"evaluation.protocol": "one_shot"}),
        facts({"evaluation.protocol": "zero_shot"}),
        "method=lora with evaluation.protocol=one_shot",
    ),
    "PB048": (
        facts({**BASELINE, "evaluation.protocol": "zero_shot"}),
        facts({**BASELINE, "evaluation.also": ["one_shot/raw"]}),
        "is asked without a solved example",
    ),
    "PB066": (
        facts(tokens={"vocabulary": 262_144, "letters_per_token": 0.9}),
        facts(tokens={"vocabulary": 262_144, "letters_per_token": 1.5}),
        "words become tokens of 0.9 letters (at least 1.5), and the tokenizer of google/gemma-2b "
        "has 262144 tokens",
    ),
    "PB070": (
        facts(tokens={"alike": "8 of 9 problems read like another"}),
        facts(tokens={"alike": ""}),
        "8 of 9 problems read like another",
    ),
    "PB071": (
        facts(CHAT, tokens={"unused": "<think>\n"}),
        facts(CHAT, tokens={"unused": "\n"}),
        "prompts leave out '<think>\\n', with which google/gemma-2b is asked",
    ),
    "PB080": (
        facts({**FULL, RATE: 2e-5, "training.train_only": ["norm"]}),
        facts({**FULL, RATE: 2e-4, "training.train_only": ["norm"]}),
        "trains 0.78% of the weights at training.learning_rate=2e-05, the default for all",
    ),
    "PB081": (
        facts({NOISE: 5}, arms={"plain": {}}),
        facts({NOISE: 5}, arms={"more": {NOISE: 15}}),
        "training.neftune_noise_alpha=5 here, none in plain",
    ),
    "PB082": (
        facts({OPTIMIZER: "paged_adamw_8bit"}, device=CPU),
        facts({OPTIMIZER: "paged_adamw_8bit"}),
        "training.optimizer=paged_adamw_8bit on ",
    ),
    "PB083": (
        facts({OPTIMIZER: "muon"}),
        facts({**BASELINE, OPTIMIZER: "muon"}),
        "training.optimizer=muon with method=lora",
    ),
    "PB084": (
        facts({"lora.loraplus_lr_ratio": 16}, arms={"plain": {}}),
        facts({"lora.loraplus_lr_ratio": 16, RATE: 1e-4}, arms={"plain": {}}),
        "lora.loraplus_lr_ratio=16 at training.learning_rate=0.0002, which plain has too",
    ),
    "PB085": (
        facts({OPTIMIZER: "lion"}, arms={"plain": {}}),
        facts({OPTIMIZER: "lion"}, arms={"small": {OPTIMIZER: "paged_lion_8bit"}}),
        "training.optimizer=lion at training.learning_rate=0.0002, as adamw in plain",
    ),
    "PB086": (
        facts({**CHOSEN, "data.validation_size": 49}),
        facts({**CHOSEN, "data.validation_size": 50}),
        "evaluation.checkpoint=best_loss with data.validation_size=49",
    ),
    "PB087": (
        facts(CHOSEN),
        facts({**CHOSEN, "evaluation.checkpoint": "last"}),
        "chosen by its loss",
    ),
    "PB089": (
        facts(experiment={"tune": {**SPACE, "flops": 1.9e15}}),
        facts(experiment={"tune": {**SPACE, "flops": 2e15}}),
        "tune.flops=1.9e+15, and one trial trains with up to 1e+15",
    ),
    "PB090": (
        facts(experiment={"tune": {**SPACE, "trials": 10}}),
        facts(experiment={"tune": SPACE}),
        "tune.sampler=tpe and tune.trials=10",
    ),
}

ALSO: dict[str, tuple[str, Facts, bool]] = {
    "a folder has no revision": (
        "PB035", facts({"model": "/models/mine", "revision": None, "data.revision": "e53f"}), False,
    ),
    "neither has the packaged model": (
        "PB035", facts({"model": "gemma-3-270m", "revision": None, "data.path": "/gsm8k"}), False,
    ),
    "the data set has one too": ("PB035", facts(), True),
    "a rate that is found is nobody's": (
        "PB037",
        facts(
            experiment={"tune": {}},
            arms={"full": {**FULL, "training.learning_rate": 2e-4}},
        ),
        False,
    ),
    "one more LoRA arm at its own rate": (
        "PB037",
        facts(
            arms={
                "full": {**FULL, "training.learning_rate": 2e-4},
                "lora-fair": {"training.learning_rate": 1e-3},
            }
        ),
        False,
    ),
    "another model's full arm": (
        "PB037", facts(arms={"full": {**FULL, "model": "google/gemma-7b"}}), False,
    ),
    "fp32 decodes alike in any batch": (
        "PB043",
        facts({"training.precision": "fp32"}, arms={"full": {"evaluation.batch_size": 64}}),
        False,
    ),
    "two seeds of nothing": ("PB044", facts(BASELINE, experiment={"seeds": 2}), False),
    "one arm is not a comparison": ("PB045", facts(experiment={"seeds": 1}), False),
    "three problems": ("PB046", facts({"data.test_size": 3}), True),
    "full SFT needs no names": (
        "PB032", facts(FULL, shape=None, tokens={"model_type": "gpt2"}), False,
    ),
    "the baseline of images is not trained": (
        "PB034", facts(BASELINE, shape={"architecture": "Gemma3ForConditionalGeneration"}), False,
    ),
    "operations of an unknown shape": (
        "PB089", facts(experiment={"tune": {**SPACE, "flops": 1e20}}, flops=None), True,
    ),
    "an arm that keeps what it states": (
        "PB089", facts(experiment={"tune": {**SPACE, "flops": 1, "fixed": ["it"]}}), False,
    ),
    "chance needs no start": (
        "PB090", facts(experiment={"tune": {**SPACE, "trials": 3, "sampler": "random"}}), False,
    ),
    "a rate that is stated beside a space": (
        "PB037",
        facts(experiment={"tune": SPACE}, arms={"full": {**FULL, "training.learning_rate": 2e-4}}),
        True,
    ),
    "no generation_config, no claim": (
        "PB027", facts(CHAT, tokens={"stop": 107, "model_eos": ()}), False,
    ),
}  # fmt: skip


def found(id: str, facts: Facts) -> str | None:
    return RULES[id].found(facts)


def test_every_rule_has_a_case_and_every_id_is_taken_once() -> None:
    given = [rule.id for module in MODULES for rule in module.RULES]
    assert sorted(given) == [
        *(f"PB{number:03d}" for number in range(25, 49)),
        "PB066",
        "PB070",
        "PB071",
        *(f"PB{number:03d}" for number in range(80, 88)),
        "PB089",
        "PB090",
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


@pytest.mark.parametrize("case", ALSO)
def test_further_cases(case: str) -> None:
    id, given, fires = ALSO[case]
    assert (found(id, given) is not None) is fires


@pytest.mark.parametrize("id", CASES)
def test_a_rule_that_knows_neither_model_nor_data_is_silent_or_needs_neither(id: str) -> None:
    unknown = facts(shape=None, tokens=None, steps=None, estimate=None, disk_bytes=None)
    assert (found(id, unknown) is not None) is (id == "PB035")


@pytest.mark.parametrize("id", CASES)
def test_sound_arms_are_left_alone(id: str) -> None:
    arms = {"full": {**FULL, "training.learning_rate": 2e-5}}
    sound = {"data.revision": "e53f048"}
    assert found(id, facts(sound, arms=arms)) is None
    shown = {**sound, **BASELINE, "evaluation.protocol": "one_shot"}
    assert found(id, facts(shown, arms=arms, steps=0, tokens={"train_examples": 0})) is None


SHIPPED: dict[str, tuple[int, set[str]]] = {
    "gsm8k_gemma_270m": (467, {"PB035"}),
    "gsm8k_gemma_2b": (467, {"PB026", "PB035"}),
    "gsm8k_gemma_2b_tuned": (436, {"PB035"}),
    "gsm8k_swapped_270m": (82, {"PB045"}),
    "quickstart": (20, {"PB045"}),
    "wordproblems_270m": (40, {"PB045"}),
}
"""Optimizer steps of a tuned arm, and the rules that fire: notes, all of them."""


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_experiments_earn_notes_only(name: str) -> None:
    steps, expected = SHIPPED[name]
    loaded = load(Path(__file__).parents[1] / "experiments" / f"{name}.yaml")
    arms = {arm.name: arm.config for arm in expand(loaded).arms}
    fired = {
        rule.id: rule.severity
        for config in arms.values()
        for rule in RULES.values()
        if found(rule.id, _shipped(config, arms, loaded.config, steps)) is not None
    }
    assert fired == dict.fromkeys(expected, Severity.NOTE)


def _shipped(
    config: ArmConfig, arms: Mapping[str, ArmConfig], experiment: ExperimentConfig, steps: int
) -> Facts:
    """The facts of an arm, its texts' lengths as in the builder."""
    trained = config.method != "none"
    tokens = replace(
        TOKENS,
        train_examples=steps * config.training.batch_size if trained else 0,
        longest_gold=config.evaluation.max_new_tokens,
        instruction_tuned=config.model.endswith("-it"),
        model_type="gemma",
    )
    return replace(
        facts(shape={}, steps=steps if trained else 0),
        config=config,
        arms=arms,
        experiment=experiment,
        tokens=tokens,
    )
