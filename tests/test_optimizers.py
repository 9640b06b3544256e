"""Each optimizer against a bare one in a plain loop, LoRA+ against peft's, NEFTune's noise."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model
from peft.optimizers import create_loraplus_optimizer
from torch import nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode
from transformers.integrations.neftune import neftune_post_forward_hook

from bare import take_steps, untouched
from loads import GEMMA_2B, LOAD
from paribus.config.load import load
from paribus.config.schema import LoraConfig
from paribus.design.matrix import expand
from paribus.errors import ConfigError
from paribus.models.load import load_model, make_trainable
from paribus.models.shapes import shape_of
from paribus.models.source import find_model
from paribus.planning.cost.peaks import training_moments
from paribus.planning.cost.time import training_operations, update_operations
from paribus.training.checkpointing import state_bytes
from paribus.training.optimizers import NAMES, muon_with_adamw
from paribus.training.passes import noisy
from paribus.training.trainer import CompletionTrainer
from training_cases import CPU, fit, trainable, word_problems

STEADY = {"schedule": "constant", "warmup": 0.0, "weight_decay": 0.0, "max_steps": 3}


@pytest.fixture(scope="module")
def examples():
    return word_problems()[:4]


def lion(model: Any) -> Any:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    return bitsandbytes.optim.Lion(model.parameters(), lr=1e-3, betas=(0.9, 0.999))


class Both:
    """Muon for the 14 matrices of two layers, AdamW for embedding and norms, as torch has them."""

    def __init__(self, model: Any) -> None:
        matrices = [p for n, p in model.named_parameters() if n.endswith("_proj.weight")]
        others = [p for n, p in model.named_parameters() if not n.endswith("_proj.weight")]
        assert len(matrices) == 14
        muon = {"lr": 1e-3, "weight_decay": 0.0, "adjust_lr_fn": "match_rms_adamw"}
        self.parts = [torch.optim.Muon(matrices, **muon),
                      torch.optim.AdamW(others, lr=1e-3, weight_decay=0.0)]  # fmt: skip

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad()

    def step(self) -> None:
        for part in self.parts:
            part.step()


BARE: dict[str, Callable[[Any], Any]] = {
    "lion": lion,
    "muon": Both,
    "adagrad": lambda model: torch.optim.Adagrad(model.parameters(), lr=1e-3),
    "rmsprop": lambda model: torch.optim.RMSprop(model.parameters(), lr=1e-3),
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=1e-3),
}


@pytest.mark.parametrize("name", BARE)
def test_three_steps_are_those_of_the_bare_optimizer(tiny, examples, name):
    model, plain = trainable(tiny, "full"), untouched(tiny)
    records, _ = fit(model, examples, optimizer=name, learning_rate=1e-3, **STEADY)
    expected = take_steps(plain, BARE[name](plain), examples, 3)
    assert [record.loss for record in records] == pytest.approx(expected, rel=1e-4)
    start = untouched(tiny)
    for weight, ours in model.named_parameters():
        theirs, before = plain.get_parameter(weight), start.get_parameter(weight)
        went = (theirs - before).norm()
        # Where a gradient is next to nothing it is rounding, of which Lion takes the sign, and
        # Muon the direction.
        assert (ours - theirs).norm() < (0.1 if name == "muon" else 0.05) * went
        assert went > 0


def test_muon_takes_the_matrices_of_the_layers_alone(tiny):
    model = trainable(tiny, "full")
    groups = [{"params": list(model.parameters()), "weight_decay": 0.0}]
    muon, adamw = muon_with_adamw(model, groups, lr=1e-3, betas=(0.9, 0.999), eps=1e-8).parts
    held = {name: id(p) for name, p in model.named_parameters()}
    matrices = {name for name, at in held.items() if at in map(id, muon.param_groups[0]["params"])}
    assert matrices == {name for name in held if name.endswith("_proj.weight")}
    assert len(adamw.param_groups[0]["params"]) == len(held) - 14


def test_a_schedule_moves_the_rates_of_both_parts(tiny, examples):
    changes = {"optimizer": "muon", "learning_rate": 1e-3, "schedule": "linear", "max_steps": 4}
    records, _ = fit(trainable(tiny, "full"), examples, warmup=0.0, **changes)
    rates = [record.learning_rate for record in records]
    assert rates == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])


def test_loraplus_is_pefts_own(tiny, examples):
    """B learns at 16 times A's rate, which is the one that is logged."""
    torch.manual_seed(1)
    model = load_model(find_model(str(tiny), None), torch.float32, CPU)
    lora = LoraConfig(r=4, alpha=12, dropout=0.0)
    model = make_trainable(model, "lora", lora, torch.float32)
    torch.manual_seed(1)
    keys = {"r": 4, "lora_alpha": 12, "target_modules": list(lora.targets)}
    plain: Any = get_peft_model(untouched(tiny), PeftLoraConfig(**keys))
    bare = create_loraplus_optimizer(plain, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=16.0)
    records, _ = fit(model, examples, method="lora", loraplus=16.0, learning_rate=1e-3, **STEADY)
    expected = take_steps(plain, bare, examples, 3)
    assert [record.loss for record in records] == pytest.approx(expected, rel=1e-5)
    assert [record.learning_rate for record in records] == [1e-3] * 3
    for weight, ours in model.named_parameters():
        assert_close(ours, plain.get_parameter(weight), rtol=0, atol=2e-4)
    moved = {n: p.abs().max().item() for n, p in model.named_parameters() if ".lora_B." in n}
    assert all(0.02 < most < 0.05 for most in moved.values())  # three steps of 0.016


STATES = {
    "adamw": 8.0, "paged_adamw_32bit": 8.0, "adamw_8bit": 3.28, "paged_adamw_8bit": 3.28,
    "lion": 4.0, "lion_8bit": 1.64, "paged_lion_8bit": 1.64, "adagrad": 4.0, "rmsprop": 4.0,
    "sgd": 0.0, "adafactor": 0.01, "muon": 4.8,
}  # fmt: skip
"""Bytes of a weight on average: of Gemma 2B 21 % are embedding, in 32 bits or AdamW's."""


@pytest.mark.parametrize("name", STATES)
def test_states_are_planned_by_weight(name):
    moment = training_moments(GEMMA_2B, replace(LOAD, optimizer=name), "cuda")["loss"]
    assert sum(moment["optimizer"]) / GEMMA_2B.parameters == pytest.approx(STATES[name], abs=0.06)
    assert STATES.keys() == NAMES.keys()


@pytest.mark.parametrize("name", ["lion", "muon", "adagrad", "rmsprop"])
def test_planned_states_are_those_that_train(tiny, examples, name):
    seen: list[Any] = []

    class Kept(CompletionTrainer):
        def create_optimizer(self, model: Any = None) -> Any:
            seen.append(super().create_optimizer(model))
            return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("paribus.training.train.CompletionTrainer", Kept)
        model = trainable(tiny, "full")
        fit(model, examples, optimizer=name, **STEADY)
    held = state_bytes(model, seen[-1]) - 4 * 91_200
    planned = training_moments(shape_of(str(tiny), None), replace(LOAD, optimizer=name), "cpu")
    steps = 4 * 30  # a number for each tensor, at most
    assert 0 <= held - sum(planned["loss"]["optimizer"]) <= steps


def test_the_operations_of_muon_are_those_that_torch_counts(tiny):
    model = trainable(tiny, "full")
    groups = [{"params": list(model.parameters()), "weight_decay": 0.0}]
    muon = muon_with_adamw(model, groups, lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    with FlopCounterMode(display=False) as counter:
        muon.step()
    load = replace(LOAD, optimizer="muon", steps=7)
    shape = shape_of(str(tiny), None)
    assert update_operations(shape, load) == counter.get_total_flops() > 0
    plain = training_operations(shape, replace(load, optimizer="adamw"))
    assert training_operations(shape, load) == plain + 7 * counter.get_total_flops()


NOISE = [(5.0, 4, 64, 0.3125), (5.0, 16, 64, 0.15625), (15.0, 9, 100, 0.5), (10.0, 1, 25, 2.0)]
"""Alpha, a text's tokens, the width, and the largest noise: alpha / sqrt(L · d)."""


@pytest.mark.parametrize(("alpha", "length", "width", "most"), NOISE)
def test_noise_is_scaled_by_a_texts_own_length(alpha, length, width, most):
    """Beside 300 other texts in the pass: of them and of one far longer."""
    embedding = nn.Embedding(3, width)
    nn.init.zeros_(embedding.weight)
    torch.manual_seed(0)
    lengths = [100, *[length] * 300]
    ends = torch.tensor([0, *lengths]).cumsum(0, dtype=torch.int32)
    with noisy(embedding, alpha, ends):
        noise = embedding(torch.zeros(1, sum(lengths), dtype=torch.long))[0, 100:]
    assert 0.99 * most < noise.abs().max() <= most
    assert noise.square().mean().item() == pytest.approx(most**2 / 3, rel=0.03)  # uniform
    assert noise.mean().abs() < 0.05 * most
    assert not embedding(torch.zeros(1, 3, dtype=torch.long)).any()


def test_the_noise_of_a_pass_of_one_text_is_transformers_own():
    embedding, ids = nn.Embedding(50, 16), torch.arange(12)[None]
    torch.manual_seed(3)
    with noisy(embedding, 5.0, torch.tensor([0, 12], dtype=torch.int32)):
        ours = embedding(ids)
    embedding.neftune_noise_alpha = 5.0  # type: ignore[assignment]
    embedding.register_forward_hook(neftune_post_forward_hook)
    torch.manual_seed(3)
    assert_close(ours, embedding.train()(ids), rtol=0, atol=1e-6)


def test_noise_comes_with_the_seed_and_ends_with_the_training(tiny, examples):
    def losses(alpha: Any) -> list[float]:
        model = trainable(tiny, "full")
        records, _ = fit(model, examples, neftune_noise_alpha=alpha, **STEADY)
        embedding = model.get_input_embeddings()
        assert len(embedding._forward_hooks) == 1  # what fixes the stream's dtype
        return [record.loss for record in records]

    assert losses(5.0) == losses(5.0)
    assert losses(5.0)[0] != pytest.approx(losses(None)[0], rel=1e-6)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("training.optimizer: adam", "optimizer='adam' is not allowed; allowed: 'adamw', "),
        ("training.optimizer: muon, lora.loraplus_lr_ratio: 4", "has one for all matrices"),
        ("training.optimizer: rmsprop, training.beta1: 0.8", "beta1 is not read by"),
        ("lora.loraplus_lr_ratio: 0.5", "lora.loraplus_lr_ratio must be a number"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, keys, words):
    file = tmp_path / "x.yaml"
    file.write_text(
        f"arms: {{a: {{{keys}}}}}\ndata: {{train_size: 9, test_size: 9}}\n"
        "training: {precision: bf16}\n"
    )
    with pytest.raises(ConfigError, match=words):
        expand(load(file))
