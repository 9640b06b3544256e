"""Masters are rounded once a step where a GPU computes, and their gradients are autocast's."""

from functools import partial

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

import gpu_ways
from families import tiny as tiny_family
from gpu_ways import Counted, examples
from paribus.config.schema import LoraConfig, TrainingConfig
from paribus.models.fast import attention, layers
from paribus.models.fast.copies import Copies
from paribus.models.load import make_trainable
from paribus.training.train import arguments
from paribus.training.trainer import CompletionTrainer

WHOLE = LoraConfig(targets=("q_proj", "v_proj"), modules_to_save=("up_proj",))
ARMS = {
    "full": ("full", LoraConfig(), ()),
    "part": ("full", LoraConfig(), ("mlp",)),
    "lora": ("lora", LoraConfig(), ()),
    "lora beside whole layers": ("lora", WHOLE, ()),
}


@pytest.fixture
def as_gpu(monkeypatch):
    gpu_ways.take(monkeypatch)


def trainer(arm, folder, on_step=lambda *_: {}, *, passes=4, **training):
    """Of a tiny model with biases and a head that is tied, `passes` of 2 texts a step."""
    method, lora, train_only = ARMS[arm]
    model = (
        tiny_family("qwen2", tie_word_embeddings=True, num_key_value_heads=1)
        .to(torch.bfloat16)
        .train()
    )
    attention.use(model)
    layers.use_fast_norms(model)
    model = make_trainable(model, method, lora, torch.bfloat16, train_only)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(generator=torch.Generator().manual_seed(len(name)))
    rows = model.get_input_embeddings().weight.shape[0]
    size = 2 * passes
    config = TrainingConfig(batch_size=size, micro_batch=2, precision="bf16", **training)
    return CompletionTrainer(
        model,
        arguments(config, 3, 0, torch.device("cpu"), folder),
        examples=examples(rows, size, (3, 20)),
        micro_batches=[[at, at + 1] for _ in range(3) for at in range(0, size, 2)],
        compute=torch.bfloat16,
        on_step=on_step,
    )


def weights_after(training):
    training.train()
    return {name: weight.detach().clone() for name, weight in training.model.named_parameters()}


@pytest.mark.parametrize("arm", ["full", "part", "lora beside whole layers"])
def test_a_step_of_four_passes_rounds_its_masters_once(as_gpu, tmp_path, arm):
    counted = Counted()
    training = trainer(arm, tmp_path, counted.lap, learning_rate=1e-3)
    with counted:
        training.train()
    assert counted.rounded == 0
    # Adapters have copies of their own, and so has a head.
    expected = {"full": 2, "part": 1, "lora beside whole layers": 2}
    assert [lap["_foreach_copy_"] for lap in counted.laps] == [expected[arm]] * 3


def test_autocast_rounds_them_in_each_pass(as_gpu, tmp_path):
    """What the counts above are without copies: 14 matrices and 6 biases in each of 12 passes."""
    counted = Counted()
    training = trainer("full", tmp_path, counted.lap, learning_rate=1e-3)
    _without_copies(training)
    with counted:
        training.train()
    assert counted.rounded == 12 * (14 + 6)


def _without_copies(training):
    for module in training.model.modules():
        if type(module) is nn.Linear and "forward" in vars(module):
            module.forward = partial(nn.Linear.forward, module)
    training.copies = None


@pytest.mark.parametrize("recomputes", [False, True])
@pytest.mark.parametrize("arm", ARMS)
def test_weights_become_those_of_autocast_bit_for_bit(as_gpu, tmp_path, arm, recomputes):
    how = {"learning_rate": 1e-2, "checkpointing": recomputes}
    found = weights_after(trainer(arm, tmp_path, **how))
    plain = trainer(arm, tmp_path, **how)
    if arm != "lora":
        assert (plain.copies is None) == recomputes
        _without_copies(plain)
    expected = weights_after(plain)
    begin = {n: w.detach() for n, w in trainer(arm, tmp_path, **how).model.named_parameters()}
    assert found.keys() == expected.keys()
    changed = 0
    for name, weight in found.items():
        assert torch.equal(weight, expected[name]), name
        changed += not torch.equal(weight, begin[name])
    assert changed


def test_a_weight_that_was_written_to_or_replaced_is_copied_anew():
    masters = [torch.tensor([1.0, 2.0]), torch.tensor([3.0])]
    copies = Copies(masters, torch.bfloat16, [10.0])
    assert copies.of(0).tolist() == [10, 20]
    first = copies.of(1)
    assert copies.of(1) is first
    masters[1].add_(1)
    assert copies.of(1).tolist() == [4]
    masters[1].data = torch.tensor([7.0])
    assert copies.of(1).tolist() == [7]
    copies.free()
    assert copies.of(1) is not first
    assert copies.of(0).tolist() == [10, 20]


def test_the_copies_of_a_step_are_gone_before_its_last_backward_pass(as_gpu, tmp_path):
    training = trainer("full", tmp_path, learning_rate=1e-3)
    training.train()
    assert training.copies is not None
    assert training.copies.copies == []


def test_a_cpu_keeps_autocast(tmp_path):
    training = trainer("full", tmp_path, learning_rate=1e-3)
    assert training.copies is None
    assert not any("forward" in vars(m) for m in training.model.modules() if type(m) is nn.Linear)


def test_in_fp32_nothing_is_copied(as_gpu, tiny, tmp_path):
    model = make_trainable(
        AutoModelForCausalLM.from_pretrained(tiny), "full", LoraConfig(), torch.float32
    )
    training = TrainingConfig(batch_size=2, micro_batch=2, learning_rate=1e-3, precision="fp32")
    made = CompletionTrainer(
        model,
        arguments(training, 1, 0, torch.device("cpu"), tmp_path),
        examples=examples(20, 2, (3, 9)),
        micro_batches=[[0, 1]],
        compute=torch.float32,
        on_step=lambda *_: {},
    )
    assert made.copies is None
