"""The fused loss against plain PyTorch on full logits, and what it must never compute."""

import pytest
import torch
from torch.nn.functional import cross_entropy, linear
from torch.utils.flop_counter import FlopCounterMode

from paribus.prompts.encode import Encoded
from paribus.training import loss as module
from paribus.training.loss import completion_loss
from paribus.training.trainer import IGNORED, collate

CHUNK = 8
D, V = 12, 50
SIZES = [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 2]
SOFTCAPS = [None, 30.0, 1.0]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", CHUNK)


@pytest.fixture
def chunks(monkeypatch):
    """Rows of every chunk of logits computed, in order."""
    rows = []
    real = module._chunk

    def spy(*arguments):
        loss, grad_CV = real(*arguments)
        rows.append(len(grad_CV))
        return loss, grad_CV

    monkeypatch.setattr(module, "_chunk", spy)
    return rows


def inputs(N, *, head_grad=True):
    """Logits of about ±10, so that caps of 30 and 1 both bend them."""
    generator = torch.Generator().manual_seed(N)
    hidden = (3 * torch.randn(N, D, generator=generator)).requires_grad_()
    head = torch.randn(V, D, generator=generator).requires_grad_(head_grad)
    return hidden, head, torch.randint(0, V, (N,), generator=generator)


def exact(hidden, head, labels, softcap=None, divisor=1.0):
    """The loss on full logits in float64, and its gradients."""
    hidden, head = (tensor.detach().double().requires_grad_() for tensor in (hidden, head))
    logits = linear(hidden, head)
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    loss = cross_entropy(logits, labels, reduction="sum") / divisor
    return loss, *torch.autograd.grad(loss, (hidden, head))


def assert_gradient(found, expected, within=1e-5):
    """No entry is off by more than `within` of the largest."""
    assert (found.double() - expected).abs().max() <= within * expected.abs().max()


@pytest.mark.parametrize("divisor", [1.0, torch.tensor(7)], ids=["sum", "divided"])
@pytest.mark.parametrize("softcap", SOFTCAPS)
@pytest.mark.parametrize("N", SIZES)
def test_loss_and_gradients_equal_plain_cross_entropy(N, softcap, divisor):
    hidden, head, labels = inputs(N)
    expected, *expected_grads = exact(hidden, head, labels, softcap, divisor)
    found = completion_loss(hidden, head, labels, softcap=softcap, divisor=divisor)
    assert found.dtype is torch.float32
    assert found.shape == ()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    for factor in (1, 3):  # what comes from further back, as from a scaled loss
        grads = torch.autograd.grad(found * factor, (hidden, head), retain_graph=True)
        for grad, expected_grad in zip(grads, expected_grads, strict=True):
            assert_gradient(grad, expected_grad * factor)


def test_a_frozen_head_gets_no_gradient():
    hidden, head, labels = inputs(CHUNK + 1, head_grad=False)
    completion_loss(hidden, head, labels).backward()
    assert head.grad is None
    assert_gradient(hidden.grad, exact(hidden, head, labels)[1])


@pytest.mark.parametrize(
    ("hidden_grad", "head_grad", "products"), [(1, 1, 3), (1, 0, 2), (0, 1, 2)]
)
def test_only_the_products_needed_are_computed(hidden_grad, head_grad, products):
    """Logits once, never again in the backward pass; a gradient only for what requires one."""
    hidden, head, labels = inputs(2 * CHUNK + 3, head_grad=bool(head_grad))
    with FlopCounterMode(display=False) as counter:
        completion_loss(hidden.requires_grad_(bool(hidden_grad)), head, labels).backward()
    assert counter.get_total_flops() == products * 2 * len(labels) * D * V


def test_a_head_can_train_alone():
    hidden, head, labels = inputs(CHUNK + 1)
    completion_loss(hidden.detach(), head, labels).backward()
    assert_gradient(head.grad, exact(hidden, head, labels)[2])


def test_bfloat16_against_an_fp32_master():
    """Products in bf16 as autocast has them; loss and the head's gradient stay in fp32."""
    hidden, _, labels = inputs(3 * CHUNK)
    hidden = (hidden.detach() / 8).to(torch.bfloat16).requires_grad_()  # logits of about ±1
    _, head, _ = inputs(3 * CHUNK)
    found = completion_loss(hidden, head, labels)
    found.backward()
    rounded = head.detach().to(torch.bfloat16)
    logits = linear(hidden, rounded).float()
    expected = cross_entropy(logits, labels, reduction="sum")
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    dtypes = (found.dtype, head.grad.dtype, hidden.grad.dtype)
    assert dtypes == (torch.float32, torch.float32, torch.bfloat16)
    _, hidden_grad, head_grad = exact(hidden, rounded, labels)
    assert_gradient(hidden.grad, hidden_grad, within=2**-7)
    assert_gradient(head.grad, head_grad, within=2**-7)


def test_many_chunks_add_up_in_fp32():
    """In bf16 a sum of equal terms stops growing at 256 of them."""
    chunks = 600
    hidden = torch.ones(chunks * CHUNK, D, dtype=torch.bfloat16)
    head, labels = torch.zeros(V, D, requires_grad=True), torch.zeros(len(hidden), dtype=int)
    completion_loss(hidden, head, labels).backward()
    assert_gradient(head.grad, exact(hidden, head, labels)[2], within=2**-7)


@pytest.mark.parametrize("N", SIZES)
def test_no_more_than_a_chunk_of_logits_exists(N, chunks):
    completion_loss(*inputs(N)).backward()
    assert sum(chunks) == N
    assert max(chunks) <= CHUNK
    assert len(chunks) == -(-N // CHUNK)


def test_collate_pads_on_the_right_and_labels_completions():
    batch = collate([Encoded((2, 10, 11, 12, 1), 3), Encoded((2, 20, 0), 1)])
    x = IGNORED
    assert {name: tensor.tolist() for name, tensor in batch.items()} == {
        "input_ids": [[2, 10, 11, 12, 1], [2, 20, 0, 0, 0]],
        "attention_mask": [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]],
        "labels": [[x, x, x, 12, 1], [x, 20, 0, x, x]],
    }
