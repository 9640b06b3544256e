"""What the loss must never compute or hold: products nobody needs, all logits at once."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from loss_cases import ROWS, SIZES, TILE, D, V, inputs
from paribus.training import loss as module
from paribus.training.loss import CompletionLoss


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(module, "loss_block", lambda _, vocabulary: (ROWS, min(TILE, vocabulary)))


class Results(TorchDispatchMode):
    """Shape, dtype and memory of every tensor that an operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            where = out.untyped_storage().data_ptr()
            self.seen.append((tuple(out.shape), out.dtype, where))
        return out


@pytest.mark.parametrize(
    ("hidden_grad", "head_grad", "products"), [(1, 1, 3), (1, 0, 2), (0, 1, 2)]
)
def test_only_the_products_needed_are_computed(hidden_grad, head_grad, products):
    """Logits once, never again in the backward pass; a gradient only for what requires one."""
    hidden, head, labels = inputs(2 * ROWS + 3, head_grad=bool(head_grad))
    with FlopCounterMode(display=False) as counter:
        loss = CompletionLoss(head, torch.float32)
        loss(hidden.requires_grad_(bool(hidden_grad)), labels).backward()
    assert counter.get_total_flops() == products * 2 * len(labels) * D * V


@pytest.mark.parametrize("softcap", [None, 30.0])
@pytest.mark.parametrize("N", SIZES)
def test_no_more_than_a_tile_of_logits_exists_in_fp32(N, softcap):
    """And the exponentials, in the compute dtype, of no more than `ROWS` rows, in one memory."""
    hidden, head, labels = inputs(N)
    loss = CompletionLoss(head, torch.bfloat16, softcap)
    loss.evaluate(hidden.detach().to(torch.bfloat16), labels, 1.0, (False, False))
    with Results() as results:
        loss(hidden.to(torch.bfloat16), labels).backward()
    # Of two dimensions: not a column, nor hidden states or weights, nor a figure for each tile.
    others = {D, len(range(0, V, TILE))}
    logits = [each for each in results.seen if len(each[0]) == 2 and each[0][1] != 1]
    logits = [each for each in logits if not others & set(each[0])]
    exact = [(shape, where) for shape, dtype, where in logits if dtype is torch.float32]
    assert max(rows for (rows, _), _ in exact) == min(N, ROWS)
    assert max(columns for (_, columns), _ in exact) == TILE
    # Taken again for each tile they would scatter over the heap: 650 MB of holes on real models.
    pieces = {loss._tile, loss._slope} if softcap else {loss._tile}
    assert {where for _, where in exact} == {each.untyped_storage().data_ptr() for each in pieces}
    wide = [(shape, where) for shape, dtype, where in logits if dtype is torch.bfloat16]
    assert {where for _, where in wide} == {loss._kept.untyped_storage().data_ptr()}
    assert loss._kept.numel() == min(N, ROWS) * V


def test_memory_is_taken_once():
    """The second step of the same size takes none of the size of the head or of a block."""
    hidden, head, labels = inputs(2 * ROWS)
    loss = CompletionLoss(head, torch.bfloat16)
    seen = []
    for _ in range(3):
        head.grad = None
        loss(hidden.to(torch.bfloat16), labels).backward()
        seen.append([t.data_ptr() for t in (head.grad, loss._kept, loss._weight())])
    assert seen[0] == seen[1] == seen[2]
