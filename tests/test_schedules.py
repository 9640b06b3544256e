"""Learning rates over the steps, by schedule, and what an experiment may state of them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import get_scheduler

from paribus.config.load import load
from paribus.config.schema import ArmConfig, TrainingConfig
from paribus.config.spec import RunSpec
from paribus.design.matrix import expand
from paribus.errors import ConfigError
from paribus.training.train import arguments

CPU = torch.device("cpu")
RATES: list[tuple[dict[str, Any], list[float]]] = [  # of 10 steps, in millionths
    ({"schedule": "cosine"}, [0, 500, 1000, 962, 854, 691, 500, 309, 146, 38]),
    (
        {"schedule": "cosine", "min_learning_rate": 1e-4},
        [0, 500, 1000, 966, 868, 722, 550, 378, 232, 134],
    ),
    ({"schedule": "linear"}, [0, 500, 1000, 875, 750, 625, 500, 375, 250, 125]),
    ({"schedule": "constant"}, [0, 500, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000]),
    ({"schedule": "inverse_sqrt"}, [0, 500, 1000, 816, 707, 632, 577, 535, 500, 471]),
    ({"schedule": "wsd"}, [0, 500, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 500]),
    (
        {"schedule": "wsd", "decay": 0.4, "min_learning_rate": 1e-4},
        [100, 550, 1000, 1000, 1000, 1000, 1000, 868, 550, 232],
    ),
    (
        {"schedule": "wsd", "decay": 1.0},
        [0, 500, 1000, 962, 854, 691, 500, 309, 146, 38],
    ),
]


@pytest.mark.parametrize(("stated", "rates"), RATES)
def test_the_rate_of_each_step(stated, rates):
    config = TrainingConfig(learning_rate=1e-3, warmup=0.2, precision="fp32", **stated)
    said = arguments(config, len(rates), 0, CPU, Path("unused"))
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=said.learning_rate)
    schedule = get_scheduler(
        said.lr_scheduler_type,
        optimizer,
        num_warmup_steps=said.warmup_steps,
        num_training_steps=len(rates),
        scheduler_specific_kwargs=said.lr_scheduler_kwargs,
    )
    found = []
    for _ in rates:
        found.append(round(1e6 * schedule.get_last_lr()[0]))
        optimizer.step()
        schedule.step()
    assert found == rates


@pytest.mark.parametrize(
    ("stated", "betas"),
    [({}, (0.9, 0.999)), ({"beta2": 0.95}, (0.9, 0.95)), ({"beta1": 0.0}, (0.0, 0.999))],
)
def test_adamw_has_the_usual_decay_rates_unless_others_are_stated(stated, betas):
    config = TrainingConfig(learning_rate=1e-3, precision="fp32", **stated)
    said = arguments(config, 9, 0, CPU, Path("unused"))
    assert (said.adam_beta1, said.adam_beta2) == betas


@pytest.mark.parametrize(("stated", "epsilon"), [({}, 1e-8), ({"epsilon": 1e-6}, 1e-6)])
def test_epsilon_is_the_usual_one_unless_another_is_stated(stated, epsilon):
    config = TrainingConfig(learning_rate=1e-3, precision="fp32", **stated)
    assert arguments(config, 9, 0, CPU, Path("unused")).adam_epsilon == epsilon


def test_what_is_not_stated_is_in_no_identity():
    def keys(config: ArmConfig) -> set[str]:
        spec = RunSpec(experiment="x", arm="a", replicate=0, seed=0, config=config)
        return set(spec.identity().get("training", {}))

    plain = keys(ArmConfig(method="full"))
    stated = TrainingConfig(beta2=0.95, schedule="wsd", decay=0.1)
    assert keys(ArmConfig(method="full", training=stated)) - plain == {"beta2", "decay"}
    for precision in ("bf16", "fp32"):
        untrained = ArmConfig(
            method="none", training=TrainingConfig(precision=precision, beta1=0.8)
        )
        assert keys(untrained) == keys(
            ArmConfig(method="none", training=TrainingConfig(precision=precision))
        )


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["training.decay=0.1"], "training.decay is the share over which training.schedule='wsd'"),
        (
            ["training.schedule=inverse_sqrt", "training.warmup=0"],
            "falls from the end of the warm-up, and training.warmup is 0",
        ),
        (
            ["training.schedule=inverse_sqrt", "training.min_learning_rate=1e-6"],
            "training.min_learning_rate=1e-06 is ignored by training.schedule='inverse_sqrt'",
        ),
        (
            ["training.schedule=wsd", "training.decay=0"],
            "training.decay must be a number > 0 and ≤ 1 or null, got 0",
        ),
        (
            ["training.optimizer=adafactor", "training.beta1=0.8"],
            "training.beta1 is not read by training.optimizer='adafactor'; set training.beta1=null",
        ),
        (
            ["training.optimizer=lion_8bit", "training.epsilon=1e-6"],
            "training.epsilon is not read by training.optimizer='lion_8bit'",
        ),
        (["training.beta2=1"], "training.beta2 must be a number ≥ 0 and < 1 or null, got 1"),
    ],
)
def test_values_that_do_nothing_are_refused(tmp_path, items, message):
    (tmp_path / "x.yaml").write_text("data: {train_size: 9, test_size: 9}\n")
    with pytest.raises(ConfigError) as caught:
        expand(load(tmp_path / "x.yaml", items))
    assert message in caught.value.message
