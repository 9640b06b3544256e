"""Sizes and inputs of the loss."""

import torch

ROWS, TILE = 8, 16
D, V = 12, 50  # three tiles and a piece of two columns
SIZES = [1, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS + 2]


def inputs(N, V=V, *, head_grad=True):
    """Logits of about ±10, so that caps of 30 and 1 both bend them."""
    generator = torch.Generator().manual_seed(N)
    hidden = (3 * torch.randn(N, D, generator=generator)).requires_grad_()
    head = torch.randn(V, D, generator=generator).requires_grad_(head_grad)
    return hidden, head, torch.randint(0, V, (N,), generator=generator)
