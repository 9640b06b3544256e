"""What a GPU is asked, counted on a CPU: kernels, and questions that it has to be stopped for.

The ways of a GPU are taken on a CPU, with a stand-in for the one operator that only a GPU has.
"""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, GemmaConfig, GemmaForCausalLM

from paribus.config.schema import LoraConfig, TrainingConfig
from paribus.errors import ModelError
from paribus.models import kernels
from paribus.models.fast import attention, layers
from paribus.models.load import decoder_and_head, make_trainable
from paribus.prompts.encode import Encoded
from paribus.training.loss import CompletionLoss
from paribus.training.passes import collate
from paribus.training.train import arguments
from paribus.training.trainer import CompletionTrainer

VIEWS = {
    "alias", "as_strided", "detach", "expand", "lift_fresh", "permute", "reshape", "select",
    "slice", "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unsqueeze",
    "_unsafe_view", "view",
}  # fmt: skip
"""Operations that start no kernel: views."""
ALLOCATIONS = {"empty_like", "empty", "empty_strided", "new_empty"}
STOPS = {"_local_scalar_dense", "nonzero", "is_nonzero", "_unique2", "masked_select"}
"""Operations whose results the process waits for."""


def _texts(query: Tensor, key: Tensor, value: Tensor, bounds: list[int], window: int) -> Tensor:
    """Each text's attention to itself, [T, heads, dim]."""
    parts = []
    for start, stop in zip(bounds, bounds[1:], strict=False):
        q, k, v = (x[start:stop].transpose(0, 1)[None] for x in (query, key, value))
        back = torch.arange(stop - start)[:, None] - torch.arange(stop - start)
        seen = (back >= 0) & (back <= (window if window >= 0 else stop))
        part = scaled_dot_product_attention(q, k, v, seen, enable_gqa=True)
        parts.append(part[0].transpose(0, 1))
    return torch.cat(parts)


class Counted(TorchDispatchMode):
    """Operations by name; `lap` begins anew."""

    active: "Counted | None" = None

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()
        self.laps: list[Counter[str]] = []
        self.silent = False

    def __enter__(self):
        Counted.active = self
        return super().__enter__()

    def __exit__(self, *raised):
        Counted.active = None
        return super().__exit__(*raised)

    @classmethod
    @contextmanager
    def as_one(cls, name: str) -> Iterator[None]:
        """Count what happens inside as one operation."""
        counting = cls.active
        if counting is None:
            yield
            return
        counting.names[name] += 1
        counting.silent = True
        try:
            yield
        finally:
            counting.silent = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not self.silent:
            _, name, *_ = str(func).split(".")
            masks = [x for x in args[1] if x is not None] if name == "index" else []
            stops = any(mask.dtype in (torch.bool, torch.uint8) for mask in masks)
            self.names["nonzero" if stops else name] += 1
        return func(*args, **(kwargs or {}))

    def lap(self, *_: object) -> dict[str, float]:
        self.laps.append(self.names.copy())
        self.names.clear()
        return {}


class _Varlen(torch.autograd.Function):
    """What is one kernel on a GPU, forward and backward."""

    @staticmethod
    def forward(ctx, query, key, value, bounds, window):
        ctx.save_for_backward(query, key, value)
        ctx.how = bounds.tolist(), window
        with Counted.as_one("varlen"):
            return _texts(query, key, value, *ctx.how)

    @staticmethod
    def backward(ctx, grad):
        inputs = [x.detach().requires_grad_() for x in ctx.saved_tensors]
        with Counted.as_one("varlen_backward"), torch.enable_grad():
            return *torch.autograd.grad(_texts(*inputs, *ctx.how), inputs, grad), None, None


def stand_in(  # noqa: PLR0913  # torch's interface
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, window_size=(-1, -1), enable_gqa=False
):
    """torch's `varlen_attn`, as one operation; without `scale`, as its first version."""
    assert enable_gqa or query.shape[1] == key.shape[1]
    assert type(max_q) is int
    assert window_size[1] == 0
    attended: Tensor = _Varlen.apply(query, key, value, cu_seq_q, window_size[0])
    return attended


@pytest.fixture
def as_gpu(monkeypatch):
    """The ways of a GPU, whatever computes."""
    monkeypatch.setattr(kernels, "varlen_attn", stand_in)
    monkeypatch.setattr(kernels, "on_gpu", lambda _: True)
    for user in ("training.loss", "models.load", "models.fast.layers"):
        monkeypatch.setattr(f"paribus.{user}.on_gpu", lambda _: True)
    monkeypatch.setattr(attention, "takes_varlen", lambda query, dropout: True)


def examples(vocabulary: int, count: int, lengths: tuple[int, int]) -> list[Encoded]:
    draw = random.Random(0)
    sizes = [draw.randrange(*lengths) for _ in range(count)]
    return [
        Encoded(tuple(draw.randrange(vocabulary) for _ in range(size)), size // 3) for size in sizes
    ]


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


@pytest.mark.parametrize(("method", "dropout"), [("full", 0.0), ("lora", 0.0), ("lora", 0.3)])
def test_a_gpus_ways_give_a_cpus_losses_and_gradients(tiny, method, dropout, request):
    """Sliding windows, keys that heads share and several texts of a pass among them."""
    found = []
    for ways in ("cpu", "gpu"):
        if ways == "gpu":
            request.getfixturevalue("as_gpu")
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
        attention.use(model)
        layers.use_fast_norms(model)
        model = make_trainable(model, method, LoraConfig(dropout=dropout), torch.float32)
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
        patch.setattr(attention, "takes_varlen", lambda query, dropout: False)
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


def kernels_and_stops(names: Counter[str]) -> tuple[int, int]:
    started = sum(count for name, count in names.items() if name not in VIEWS | ALLOCATIONS | STOPS)
    return started, sum(names[name] for name in STOPS)


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


MOST = [("full", 2600, 2), ("lora", 3000, 2)]
"""Kernels and stops of a step; before texts were attended to at once: 7,020 and 8,282, and 25."""


@pytest.mark.parametrize(("method", "most", "stops"), MOST)
def test_a_step_starts_few_kernels_and_waits_for_none(as_gpu, tmp_path, method, most, stops):
    started, waited = kernels_and_stops(a_step(method, tmp_path))
    assert started <= most
    assert waited <= stops


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
