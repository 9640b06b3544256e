"""What a GPU is asked, counted on a CPU: kernels, and questions that it has to be stopped for.

The ways of a GPU are taken on a CPU, with a stand-in for the one operator that only a GPU has.
"""

import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GemmaConfig, GemmaForCausalLM

import gpu_ways
from gpu_ways import Counted, examples, kernels_and_stops
from paribus.config.schema import LoraConfig, TrainingConfig
from paribus.errors import ModelError
from paribus.models import kernels
from paribus.models.fast import attention, layers, varlen
from paribus.models.load import decoder_and_head, make_trainable
from paribus.prompts.encode import Encoded
from paribus.training.loss import CompletionLoss
from paribus.training.passes import collate
from paribus.training.train import arguments
from paribus.training.trainer import CompletionTrainer


@pytest.fixture
def as_gpu(monkeypatch):
    gpu_ways.take(monkeypatch)


def loss_and_gradients(model: nn.Module, batch: list[Encoded]) -> tuple[Tensor, dict[str, Tensor]]:
    """What a pass comes to, in fp32."""
    inputs = collate(batch)
    labels, places = inputs.pop("labels")[0], inputs.pop("places")
    decoder, head, softcap = decoder_and_head(model)
    hidden = decoder(**inputs, use_cache=False).last_hidden_state[0]
    loss = CompletionLoss(head.weight, torch.float32, softcap)
    value = loss(hidden.index_select(0, places), labels[places + 1], len(places))
    value.backward()
    return value.detach(), {
        name: parameter.grad.to_dense()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def a_model(tiny, method, dropout=0.0):
    """The tiny model as it is trained; the same each time."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    attention.use(model)
    layers.use_fast_norms(model)
    return make_trainable(model, method, LoraConfig(dropout=dropout), torch.float32)


@pytest.mark.parametrize(("method", "dropout"), [("full", 0.0), ("lora", 0.0), ("lora", 0.3)])
def test_a_gpus_ways_give_a_cpus_losses_and_gradients(tiny, method, dropout, request):
    """Sliding windows, keys that heads share and several texts of a pass among them."""
    found = []
    for ways in ("cpu", "gpu"):
        if ways == "gpu":
            request.getfixturevalue("as_gpu")
        model = a_model(tiny, method, dropout)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(generator=torch.Generator().manual_seed(len(name)))
        rows = model.get_input_embeddings().weight.shape[0]
        torch.manual_seed(1)  # the same is dropped
        found.append(loss_and_gradients(model, examples(rows, 5, (3, 40))))
    (loss, gradients), (other, others) = found
    torch.testing.assert_close(other, loss, rtol=1e-5, atol=1e-6)
    assert gradients.keys() == others.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_gpus_ways_learn_what_a_cpus_do(tiny, tmp_path, method, optimizer, request):
    """Three steps of two passes: each computes with the weights that the last one left."""
    found = []
    for ways in ("cpu", "gpu"):
        if ways == "gpu":
            request.getfixturevalue("as_gpu")
        model = a_model(tiny, method)
        rows = model.get_input_embeddings().weight.shape[0]
        how = {"learning_rate": 0.02, "precision": "fp32", "warmup": 0.0, "optimizer": optimizer}
        losses: list[float] = []
        CompletionTrainer(
            model,
            arguments(
                TrainingConfig(batch_size=4, micro_batch=2, **how),
                3,
                0,
                torch.device("cpu"),
                tmp_path,
            ),
            examples=examples(rows, 4, (3, 20)),
            micro_batches=[[0, 1], [2, 3]] * 3,
            compute=torch.float32,
            on_step=lambda _, figures, losses=losses: losses.append(figures["loss"]) or {},
        ).train()
        found.append(losses)
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    assert len({*found[0]}) == 3


@pytest.mark.parametrize("window", [None, 1, 3, 50])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_windows_and_scalings_mean_the_same_to_both(as_gpu, window, scaling):
    torch.manual_seed(1)
    lengths = (7, 1, 12)
    query, key = torch.randn(1, 4, 20, 8), torch.randn(1, 2, 20, 8)
    bounds = torch.tensor([0, *lengths]).cumsum(0, dtype=torch.int32)
    how = {
        "scaling": scaling, "sliding_window": window, "cu_seq_lens_q": bounds,
        "text_lengths": lengths,
    }  # fmt: skip
    at_once, _ = attention.attend(nn.Module(), query, key, key, None, **how)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(varlen, "fits", lambda query: False)
        one_by_one, _ = attention.attend(nn.Module(), query, key, key, None, **how)
    torch.testing.assert_close(at_once, one_by_one, rtol=1e-4, atol=1e-5)


def test_cudnns_attention_which_plans_for_every_shape_is_left_out(tiny):
    """Of whatever still calls `scaled_dot_product_attention`: it is one switch of the process."""
    model = AutoModelForCausalLM.from_pretrained(tiny)
    torch.backends.cuda.enable_cudnn_sdp(True)
    attention.use(model)
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    assert torch.backends.cuda.flash_sdp_enabled()
    assert torch.backends.cuda.mem_efficient_sdp_enabled()


def a_step(method: str, folder: Path) -> Counter[str]:
    """The second step of a narrow Gemma as deep as Gemma 2B, 16 texts in one pass."""
    torch.manual_seed(0)
    config = GemmaConfig(
        vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=18,
        num_attention_heads=8, num_key_value_heads=1, head_dim=16, attn_implementation="sdpa",
    )  # fmt: skip
    model = GemmaForCausalLM(config).to(torch.bfloat16)
    attention.use(model)
    layers.use_fast_norms(model)
    model = make_trainable(model, method, LoraConfig(), torch.bfloat16)
    training = TrainingConfig(batch_size=16, micro_batch=16, learning_rate=1e-4, precision="bf16")
    with Counted() as counted:
        CompletionTrainer(
            model,
            arguments(training, 3, 0, torch.device("cpu"), folder),
            examples=examples(512, 16, (12, 28)),
            micro_batches=[list(range(16))] * 3,
            compute=torch.bfloat16,
            on_step=counted.lap,
        ).train()
    return counted.laps[1]


MOST = [("full", 1700, 2), ("lora", 2850, 2)]
"""Kernels and stops of a step; before texts were attended to at once: 7,020 and 8,282, and 25."""


@pytest.mark.parametrize(("method", "most", "stops"), MOST)
def test_a_step_starts_few_kernels_and_waits_for_none(as_gpu, tmp_path, method, most, stops):
    started, waited = kernels_and_stops(a_step(method, tmp_path))
    assert started <= most
    assert waited <= stops


ASKING = re.compile(r"\.type\s*(==|!=|in\b)|is_cuda\b")
OTHER_THAN_KERNELS = {
    "models/kernels", "models/device",  # the seam; memory
    "training/checkpointing", "training/probes",  # random streams
    "evaluation/engine/vllm",  # another engine's share
}  # fmt: skip


def test_no_module_but_the_seam_asks_what_kind_of_device_computes():
    package = Path(kernels.__file__).parents[1]
    asking = {
        path.relative_to(package).with_suffix("").as_posix()
        for part in ("models", "training", "evaluation")
        for path in (package / part).rglob("*.py")
        if ASKING.search(path.read_text())
    }
    assert asking <= OTHER_THAN_KERNELS
    assert "models/kernels" in asking


def test_labels_outside_of_the_vocabulary_are_refused_before_a_step(as_gpu, tmp_path):
    torch.manual_seed(0)
    config = GemmaConfig(
        vocab_size=20, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, head_dim=16,
    )  # fmt: skip
    model = make_trainable(GemmaForCausalLM(config), "full", LoraConfig(), torch.float32)
    training = TrainingConfig(batch_size=1, micro_batch=1, learning_rate=1e-4, precision="fp32")
    with pytest.raises(ModelError, match="token ids 3 to 20 are to be predicted"):
        CompletionTrainer(
            model,
            arguments(training, 1, 0, torch.device("cpu"), tmp_path),
            examples=[Encoded((1, 2, 3, 20), 2)],
            micro_batches=[[0]],
            compute=torch.float32,
            on_step=lambda *_: {},
        )


def test_a_gpus_logits_are_of_the_whole_vocabulary():
    from paribus.models.tiles import LOSS_BYTES, ROWS, TILE, loss_block

    assert loss_block("cpu", 256_000) == (ROWS, TILE)
    rows, columns = loss_block("cuda", 256_000)
    assert columns == 256_000
    assert rows == 2604
    assert 6 * rows * columns <= LOSS_BYTES
