"""A step on a GPU takes nothing from the CPU's memory but its batch.

The ways of a GPU are taken on `meta`, whose tensors have shapes and no values: what asks for one
fails, and so does a product of tensors in two dtypes, as `meta` has no autocast.
"""

import sys
from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import TrainingArguments

import gpu_ways
from families import tiny as tiny_family
from gpu_ways import examples
from paribus.config.schema import LoraConfig, TrainingConfig
from paribus.models.fast import attention, layers
from paribus.models.fast.varlen import varlen_attn
from paribus.models.load import make_trainable
from paribus.training.passes import collate
from paribus.training.train import arguments
from paribus.training.trainer import RECOMPUTING, Additions, CompletionTrainer

THERE = torch.device("meta")
SENDS = {"_to_copy", "copy_"}


class OnDevice(TorchDispatchMode):
    """What is done with tensors of the CPU, by name; sending them to the device is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.here: list[str] = []
        self.done: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        _, name, *_ = str(func).split(".")
        given = [] if name in SENDS else [x for x in tree_leaves((args, kwargs)) if _is_here(x)]
        if any(_is_here(x) for x in tree_leaves(made)) or any(x.dim() for x in given):
            self.here.append(name)
        self.done[name] += 1
        return made


def _is_here(value: object) -> bool:
    return isinstance(value, Tensor) and value.device != THERE


@pytest.fixture
def on_meta(monkeypatch):
    gpu_ways.take(monkeypatch)
    monkeypatch.setattr("paribus.models.fast.varlen.varlen_attn", varlen_attn)  # torch's own
    monkeypatch.setattr(TrainingArguments, "device", THERE)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(
        sys.modules["torch.optim.optimizer"],
        "_get_fused_kernels_supported_devices",
        lambda: ["meta"],
    )


def a_trainer(method, folder, lora=LoraConfig(), *, family="gemma3_text", **training):  # noqa: B008
    sizes = {"num_key_value_heads": 1, "intermediate_size": 48, "tie_word_embeddings": True}
    model = tiny_family(family, **sizes).to(torch.bfloat16).train()
    attention.use(model)
    layers.use_fast_norms(model)
    model = make_trainable(model, method, lora, torch.bfloat16).to(THERE)
    (model if method == "full" else model.get_base_model()).tie_weights()
    how = TrainingConfig(
        batch_size=4, micro_batch=2, learning_rate=1e-3, precision="bf16", **training
    )
    return CompletionTrainer(
        model,
        arguments(how, 1, 0, torch.device("cpu"), folder),
        examples=examples(20, 4, (3, 20)),
        micro_batches=[[0, 1], [2, 3]],
        compute=torch.bfloat16,
        on_step=lambda *_: {},
        additions=Additions(neftune_noise_alpha=how.neftune_noise_alpha),
    )


def a_step(training) -> OnDevice:
    """Two passes, clipping and the optimizer's step, twice: the second finds states and copies."""
    model = training.model
    optimizer = training.create_optimizer()
    batches = [collate([training.examples[at] for at in batch]) for batch in ([0, 1], [2, 3])]
    items = torch.tensor(30, device=THERE)
    with OnDevice() as watched:
        for _ in range(2):
            for batch in batches:
                training.training_step(model, dict(batch), items)
            training.accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    return watched


DROPS = LoraConfig(dropout=0.1)
METHODS = pytest.mark.parametrize(("method", "lora"), [("full", LoraConfig()), ("lora", DROPS)])


@pytest.mark.parametrize("recomputes", [False, True])
@METHODS
def test_a_step_takes_nothing_of_the_cpus_memory(on_meta, tmp_path, method, lora, recomputes):
    training = a_trainer(method, tmp_path, lora, checkpointing=recomputes)
    if recomputes:
        getattr(training.model, f"{RECOMPUTING}_enable")({"use_reentrant": False})
        for module in training.model.modules():
            if type(module) is nn.Linear:  # autocast's part, where masters have no copies
                module.forward = lambda x, own=module: linear(x, own.weight.to(x.dtype))
    watched = a_step(training)
    assert watched.here == []
    # Two layers, four passes, and once more each where they are recomputed: torch's own operator.
    assert watched.done["_varlen_attn"] == 8 * (1 + recomputes)
    assert watched.done["_varlen_attn_backward"] == 8
    groups = [group for group in training.optimizer.param_groups if group["params"]]
    assert watched.done["_fused_adamw_"] == 2 * len(groups)


@pytest.mark.parametrize("family", ["gemma", "gemma2", "llama", "qwen3"])
@METHODS
def test_other_families_take_none_either(on_meta, tmp_path, family, method, lora):
    """Gemma 2 caps its scores, which torch's operator does not."""
    watched = a_step(a_trainer(method, tmp_path, lora, family=family))
    assert watched.here == []
    assert watched.done["_varlen_attn"] == 8 * (family != "gemma2")


def test_noise_takes_none_either(on_meta, tmp_path):
    watched = a_step(a_trainer("full", tmp_path, neftune_noise_alpha=5.0))
    assert watched.here == []
    assert watched.done["uniform_"] == 4


@pytest.mark.parametrize(
    "work",
    [
        lambda x: torch.zeros(3),
        lambda x: torch.tensor(2.0),
        lambda x: torch.arange(3, device="cpu").to(THERE),
    ],
)
def test_what_takes_some_is_seen(work):
    with OnDevice() as watched:
        work(torch.empty(3, device=THERE))
    assert watched.here


def test_an_optimizer_that_counts_its_steps_on_the_cpu_is_seen(on_meta, tmp_path):
    training = a_trainer("full", tmp_path)
    training.args.optim = "adamw_torch"
    assert "lift_fresh" in a_step(training).here


def test_a_layer_that_takes_some_is_seen(on_meta, tmp_path):
    training = a_trainer("full", tmp_path)
    norm = next(m for m in training.model.modules() if type(m) is nn.Linear)
    norm.register_forward_hook(lambda *_: torch.ones(2).sum() and None)
    assert {"ones", "sum"} <= set(a_step(training).here)
