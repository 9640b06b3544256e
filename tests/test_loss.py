"""The loss and its gradients against plain PyTorch on full logits, for any cut into tiles."""

import pytest
import torch
from torch.nn.functional import cross_entropy, linear

from loss_cases import ROWS, SIZES, TILE, D, V, inputs
from paribus.training import loss as module
from paribus.training.loss import CompletionLoss

VOCABULARIES = [TILE - 1, TILE, TILE + 1, 3 * TILE]
SOFTCAPS = [None, 30.0, 1.0]
DIVISORS = pytest.mark.parametrize("divisor", [1.0, torch.tensor(7)], ids=["sum", "divided"])


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(module, "loss_block", lambda _, vocabulary: (ROWS, min(TILE, vocabulary)))


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


def assert_exact(N, V, softcap, divisor):
    hidden, head, labels = inputs(N, V)
    expected, *expected_grads = exact(hidden, head, labels, softcap, divisor)
    found = CompletionLoss(head, torch.float32, softcap)(hidden, labels, divisor)
    assert found.dtype is torch.float32
    assert found.shape == ()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    found.backward()
    for grad, expected_grad in zip((hidden.grad, head.grad), expected_grads, strict=True):
        assert_gradient(grad, expected_grad)


@DIVISORS
@pytest.mark.parametrize("softcap", SOFTCAPS)
@pytest.mark.parametrize("N", SIZES)
def test_loss_and_gradients_equal_plain_cross_entropy(N, softcap, divisor):
    assert_exact(N, V, softcap, divisor)


@pytest.mark.parametrize("softcap", SOFTCAPS)
@pytest.mark.parametrize("V", VOCABULARIES)
def test_a_vocabulary_may_end_anywhere_in_a_tile(V, softcap):
    assert_exact(3 * ROWS + 2, V, softcap, 1.0)


@pytest.mark.parametrize("label", [0, TILE - 1, TILE, 2 * TILE - 1, 2 * TILE, V - 1])
def test_a_label_may_stand_at_any_edge_of_a_tile(label):
    hidden, head, _ = inputs(ROWS + 1)
    labels = torch.full((ROWS + 1,), label)
    expected, *expected_grads = exact(hidden, head, labels)
    found = CompletionLoss(head, torch.float32)(hidden, labels)
    found.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    for grad, expected_grad in zip((hidden.grad, head.grad), expected_grads, strict=True):
        assert_gradient(grad, expected_grad)


def test_tiles_of_which_one_holds_all_the_weight():
    """Logits of ±500 in single tiles: exp of any but a row's own peak is 0 or infinite in fp32."""
    hidden, head, labels = inputs(ROWS)
    with torch.no_grad():
        head[TILE : 2 * TILE] *= 40
        head[2 * TILE :] *= 1e-3
    expected, *expected_grads = exact(hidden, head, labels)
    assert linear(hidden, head).abs().max() > 300
    found = CompletionLoss(head, torch.float32)(hidden, labels)
    found.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    for grad, expected_grad in zip((hidden.grad, head.grad), expected_grads, strict=True):
        assert_gradient(grad, expected_grad)


@pytest.mark.parametrize("factor", [1, 3])
def test_a_frozen_head_gets_no_gradient_and_the_loss_may_be_scaled(factor):
    hidden, head, labels = inputs(ROWS + 1, head_grad=False)
    (CompletionLoss(head, torch.float32)(hidden, labels) * factor).backward()
    assert head.grad is None
    assert_gradient(hidden.grad, factor * exact(hidden, head, labels)[1])


def test_the_loss_of_a_head_that_trains_cannot_be_scaled_afterwards():
    """Its gradient is taken by then: a factor would be lost without a word."""
    hidden, head, labels = inputs(ROWS + 1)
    found = CompletionLoss(head, torch.float32)(hidden, labels)
    with pytest.raises(RuntimeError, match=r"was scaled by 0\.5 after its gradient was taken"):
        (found / 2).backward()


@pytest.mark.parametrize("softcap", [None, 1.0])
def test_a_gradient_by_autograd_reaches_whoever_waits_for_it_and_may_be_scaled(softcap):
    """As DistributedDataParallel does, which sums the gradients of all ranks."""
    hidden, head, labels = inputs(3 * ROWS + 2)
    waiting: list[torch.Tensor] = []
    head.register_post_accumulate_grad_hook(lambda weight: waiting.append(weight.grad.clone()))
    loss = CompletionLoss(head, torch.float32, softcap, by_autograd=True)
    for _ in range(2):
        (loss(hidden, labels, 5.0) * 3).backward()
    _, hidden_grad, head_grad = exact(hidden, head, labels, softcap, divisor=5.0)
    assert_gradient(waiting[0], 3 * head_grad)
    assert_gradient(waiting[1], 6 * head_grad)
    assert_gradient(hidden.grad, 6 * hidden_grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_what_is_given_is_left_as_it_was(dtype):
    """The hidden states are the decoder's: its backward pass may need them."""
    hidden, head, labels = inputs(2 * ROWS + 1)
    given = hidden.detach().to(dtype).requires_grad_()
    CompletionLoss(head, dtype)(given, labels, 3.0).backward()
    untouched = inputs(2 * ROWS + 1)
    assert torch.equal(given, untouched[0].to(dtype))
    assert torch.equal(head, untouched[1])
    assert torch.equal(labels, untouched[2])


def test_a_head_can_train_alone():
    hidden, head, labels = inputs(ROWS + 1)
    CompletionLoss(head, torch.float32)(hidden.detach(), labels).backward()
    assert_gradient(head.grad, exact(hidden, head, labels)[2])


def test_a_second_pass_adds_to_the_gradient():
    """As micro-batches do: of unlike sizes, one of them of several blocks."""
    _, head, _ = inputs(1)
    loss = CompletionLoss(head, torch.float32)
    expected = torch.zeros(V, D, dtype=torch.float64)
    for N in (ROWS + 3, 2, 3 * ROWS):
        hidden, _, labels = inputs(N)
        loss(hidden, labels, 5.0).backward()
        expected += exact(hidden, head, labels, divisor=5.0)[2]
        assert_gradient(head.grad, expected)


@pytest.mark.parametrize("forgotten", ["none", "zero"])
@pytest.mark.parametrize("softcap", [None, 1.0])
def test_nothing_of_an_earlier_step_is_left_in_the_memory_it_used(forgotten, softcap):
    """The head moves between steps, sizes rise and fall, an earlier step was not even finite."""
    _, head, _ = inputs(1)
    loss = CompletionLoss(head, torch.float32, softcap)
    broken, _, labels = inputs(2 * ROWS)
    with torch.no_grad():
        broken[0, 0] = float("nan")
    loss(broken, labels).backward()
    assert not head.grad.isfinite().all()
    for step, N in enumerate((3, 2 * ROWS + 1, ROWS, 1, 3 * ROWS + 2)):
        if forgotten == "none" or step == 0:
            head.grad = None
        else:
            head.grad.zero_()
        with torch.no_grad():
            head.add_(0.1 * torch.randn(V, D, generator=torch.Generator().manual_seed(step)))
        hidden, _, labels = inputs(N)
        expected, hidden_grad, head_grad = exact(hidden, head, labels, softcap)
        found = loss(hidden, labels)
        found.backward()
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)
        assert_gradient(hidden.grad, hidden_grad)
        assert_gradient(head.grad, head_grad)


def test_a_gradient_that_was_put_there_by_another_is_added_to():
    hidden, head, labels = inputs(ROWS + 1)
    head.grad = torch.ones_like(head)
    CompletionLoss(head, torch.float32)(hidden, labels).backward()
    assert_gradient(head.grad, 1 + exact(hidden, head, labels)[2])


def test_a_tied_head_gets_the_gradients_of_both_its_uses():
    """In one pass: the head's is there before the embedding's, sparse, is added."""
    _, head, _ = inputs(1)
    loss = CompletionLoss(head, torch.float32)
    ids = torch.tensor([3, 3, 40, 7, 0, 49, 21, 5, 3])
    labels = ids.roll(-1)
    for _ in range(2):  # the second time in memory that was used
        head.grad = None
        loss(torch.nn.functional.embedding(ids, head, sparse=True), labels).backward()
        twin = head.detach().double().requires_grad_()
        cross_entropy(linear(twin[ids], twin), labels, reduction="sum").backward()
        assert head.grad.layout is torch.strided
        assert_gradient(head.grad, twin.grad)


def test_bfloat16_against_an_fp32_master():
    """Products in bf16 as autocast has them; loss and the head's gradient stay in fp32."""
    hidden, _, labels = inputs(3 * ROWS)
    hidden = (hidden.detach() / 8).to(torch.bfloat16).requires_grad_()  # logits of about ±1
    _, head, _ = inputs(3 * ROWS)
    found = CompletionLoss(head, torch.bfloat16)(hidden, labels)
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


def test_many_blocks_add_up_in_fp32():
    """In bf16 a sum of equal terms stops growing at 256 of them."""
    hidden = torch.ones(600 * ROWS, D, dtype=torch.bfloat16)
    head, labels = torch.zeros(V, D, requires_grad=True), torch.zeros(len(hidden), dtype=int)
    CompletionLoss(head, torch.bfloat16)(hidden, labels).backward()
    assert_gradient(head.grad, exact(hidden, head, labels)[2], within=2**-7)
