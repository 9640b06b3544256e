"""The fused loss against plain PyTorch on full logits, and what it must never compute."""

import pytest
import torch
from torch.nn.functional import cross_entropy, linear
from torch.testing import assert_close
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


def inputs(N, dtype=torch.float32, *, head_grad=True):
    """Logits of about ±10, so that caps of 30 and 1 both bend them."""
    generator = torch.Generator().manual_seed(N)
    hidden = (3 * torch.randn(N, D, generator=generator)).to(dtype).requires_grad_()
    head = torch.randn(V, D, generator=generator).to(dtype).requires_grad_(head_grad)
    return hidden, head, torch.randint(0, V, (N,), generator=generator)


def reference(hidden, head, labels, softcap):
    logits = linear(hidden, head)
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    return cross_entropy(logits.float(), labels, reduction="sum")


@pytest.mark.parametrize("divisor", [1.0, torch.tensor(7)], ids=["sum", "divided"])
@pytest.mark.parametrize("softcap", SOFTCAPS)
@pytest.mark.parametrize("N", SIZES)
def test_loss_and_gradients_equal_plain_cross_entropy(N, softcap, divisor):
    hidden, head, labels = inputs(N)
    expected = reference(hidden, head, labels, softcap) / divisor
    found = completion_loss(hidden, head, labels, softcap=softcap, divisor=divisor)
    assert found.dtype is torch.float32
    assert found.shape == ()
    assert_close(found, expected, rtol=1e-5, atol=0)
    for factor in (1, 3):  # what comes from further back, as in scaled losses
        expected_grads = torch.autograd.grad(expected * factor, (hidden, head), retain_graph=True)
        grads = torch.autograd.grad(found * factor, (hidden, head), retain_graph=True)
        for grad, expected_grad in zip(grads, expected_grads, strict=True):
            assert_close(grad, expected_grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("softcap", SOFTCAPS)
def test_gradients_equal_finite_differences(softcap):
    """In float64 around a few coordinates: the loss is fp32 inside, so gradcheck is too sharp."""
    hidden, head, labels = inputs(CHUNK + 1)
    loss = completion_loss(hidden, head, labels, softcap=softcap)
    grads = torch.autograd.grad(loss, (hidden, head))
    for which, grad in enumerate(grads):
        for flat in range(0, grad.numel(), 17):
            values = []
            for step in (1e-6, -1e-6):
                moved = [hidden.detach().double(), head.detach().double()]
                moved[which].view(-1)[flat] += step
                logits = linear(*moved)
                logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
                values.append(cross_entropy(logits, labels, reduction="sum"))
            slope = (values[0] - values[1]) / 2e-6
            assert_close(grad.view(-1)[flat].double(), slope, rtol=1e-4, atol=1e-5)


def test_a_frozen_head_gets_no_gradient():
    hidden, head, labels = inputs(CHUNK + 1, head_grad=False)
    completion_loss(hidden, head, labels).backward()
    assert head.grad is None
    expected = torch.autograd.grad(reference(hidden, head, labels, None), hidden)[0]
    assert_close(hidden.grad, expected, rtol=1e-5, atol=1e-6)


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
    expected = torch.autograd.grad(reference(hidden, head, labels, None), head)[0]
    assert_close(head.grad, expected, rtol=1e-5, atol=1e-6)


def test_bfloat16_against_an_fp32_master():
    """Products in bf16 as autocast has them; loss and the head's gradient stay in fp32."""
    hidden, _, labels = inputs(3 * CHUNK, torch.bfloat16)
    _, head, _ = inputs(3 * CHUNK)
    found = completion_loss(hidden, head, labels)
    found.backward()
    rounded = linear(hidden, head.to(torch.bfloat16)).float()
    assert_close(found, cross_entropy(rounded, labels, reduction="sum"), rtol=1e-5, atol=0)
    assert (found.dtype, head.grad.dtype, hidden.grad.dtype) == (
        torch.float32,
        torch.float32,
        torch.bfloat16,
    )
    exact_hidden, exact_head = hidden.detach().float().requires_grad_(), head.detach()
    exact_head = exact_head.to(torch.bfloat16).float().requires_grad_()
    exact = reference(exact_hidden, exact_head, labels, None)
    grads = torch.autograd.grad(exact, (exact_hidden, exact_head))
    for grad, expected in zip((hidden.grad.float(), head.grad), grads, strict=True):
        assert (grad - expected).norm() / expected.norm() < 0.01


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
