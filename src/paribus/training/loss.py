"""Cross-entropy on completion tokens, from hidden states, a tile of the vocabulary at a time.

    loss = Σ_n  logsumexp_v(cap(h_n · W_v)) - cap(h_n · W_{y_n})        cap(z) = c·tanh(z / c)

With a vocabulary of 262,144 the logits of one batch are larger than the model. Here they never
exist at once: of `ROWS` completion tokens a tile of logits is made and reduced while it is in the
processor's cache, and its exponentials are kept in the compute dtype until the sums of all tiles
are known. No logit is computed twice, and none of a prompt. Gradients are computed
in the forward pass:

    d loss / d z = softmax(z) - onehot(y), times 1 - (cap(z)/c)² where logits are capped (Gemma 2)
    softmax(z)   = exp(z - m) · exp(m - logsumexp(z)),  m a row's peak in its tile

so products take the exponentials as they are, and the second factor goes to their narrow side.

Shapes: N completion tokens, R rows of a block, D hidden size, V vocabulary, T a tile, C tiles.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from paribus.models.fast.copies import Copies
from paribus.models.fast.layers import at_labels, refuse_outside
from paribus.models.kernels import kind, on_gpu
from paribus.models.tiles import loss_block


class CompletionLoss:
    """The loss of one head. Its large buffers stay from pass to pass.

    Allocating them anew would cost a CPU more time than the products.
    """

    def __init__(
        self,
        head_VD: Tensor,
        compute: torch.dtype,
        softcap: float | None = None,
        *,
        by_autograd: bool = False,
    ) -> None:
        """`head_VD` is the output embedding, `compute` the dtype of matrix products.

        With `by_autograd` the gradient of the head goes through autograd, as wrappers expect.
        """
        self.head_VD, self.compute, self.softcap = head_VD, compute, softcap
        self.by_autograd = by_autograd
        self.gpu = on_gpu(head_VD.device)
        self.rows, self.columns = loss_block(kind(head_VD.device), len(head_VD))
        self._copies = Copies([head_VD], compute)
        self._gradient_VD: Tensor | None = None
        self._kept = torch.empty(0, dtype=compute, device=head_VD.device)
        self._tile = torch.empty(0, dtype=torch.float32, device=head_VD.device)
        self._slope = torch.empty_like(self._tile)

    def __call__(
        self, hidden_ND: Tensor, labels_N: Tensor, divisor: Tensor | float = 1.0
    ) -> Tensor:
        """Return the summed cross-entropy of `labels_N` over `divisor`, a scalar in fp32.

        Args:
            hidden_ND: final hidden states at the positions that predict a completion token, in the
                compute dtype.
            labels_N: the tokens to predict, in [0, V).
            divisor: target tokens of the whole optimizer step.

        Raises ModelError for labels outside of that.

        If the head is trained, its gradient is in `head_VD.grad` when this returns: `backward` must
        begin at this value, unless the gradient goes `by_autograd`. Everything but the matrix
        products is fp32.
        """
        if not self.gpu:  # it would be stopped for that; `CompletionTrainer` has looked before
            refuse_outside(labels_N, len(self.head_VD))
        head_VD = self.head_VD if torch.is_grad_enabled() else self.head_VD.detach()
        loss: Tensor = _Loss.apply(hidden_ND, head_VD, labels_N, divisor, self)
        return loss

    def evaluate(
        self,
        hidden_ND: Tensor,
        labels_N: Tensor,
        divisor: Tensor | float,
        trains: tuple[bool, bool],
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the loss, and its gradients for the hidden states and for the head.

        `trains` says which of the two is wanted. That of the head is added to what is there, and
        None is returned, unless it goes `by_autograd`.
        """
        head_VD = self._weight()
        total = hidden_ND.new_zeros((), dtype=torch.float32)
        grad_ND = torch.empty_like(hidden_ND) if trains[0] else None
        grad_VD = None
        if trains[1] and self.by_autograd:
            grad_VD = torch.zeros_like(self.head_VD, dtype=torch.float32, requires_grad=False)
        for start in range(0, len(hidden_ND), self.rows):
            rows = slice(start, start + self.rows)
            block = self._block(hidden_ND[rows], head_VD, labels_N[rows])
            total += block.loss
            if grad_ND is not None:
                grad_ND[rows] = block.hidden_gradient(head_VD).div_(divisor)
            if grad_VD is not None:
                block.add_head_gradient(grad_VD, divisor, fresh=False)
            elif trains[1]:
                fresh = self.head_VD.grad is None
                block.add_head_gradient(self._target(), divisor, fresh=fresh)
        return total / divisor, grad_ND, grad_VD

    def _weight(self) -> Tensor:
        """Return the head in the compute dtype."""
        if self.head_VD.dtype is self.compute:
            return self.head_VD.detach()
        return self._copies.of(0)

    def _target(self) -> Tensor:
        """Return the head's gradient; where there is none yet, memory for it."""
        if self.head_VD.grad is None:
            if self._gradient_VD is None:
                self._gradient_VD = torch.empty_like(self.head_VD, requires_grad=False)
            self.head_VD.grad = self._gradient_VD
        return self.head_VD.grad

    def _block(self, hidden_RD: Tensor, head_VD: Tensor, labels_R: Tensor) -> "_Block":
        """Compute every logit of the rows, once."""
        rows, vocabulary = len(hidden_RD), len(head_VD)
        self._make_room(rows, vocabulary)
        tiles = _tiles(self._kept, rows, vocabulary, self.columns)
        peaks_CR, sums_CR = self._tile.new_empty(2, len(tiles), rows)
        label_R, slope_R = self._tile.new_zeros(rows), self._tile.new_ones(rows)
        for (columns, kept_RT), peak_R, sum_R in zip(tiles, peaks_CR, sums_CR, strict=True):
            product_RT = torch.mm(hidden_RD, head_VD[columns].T, out=kept_RT)
            logits_RT = self._tile[: kept_RT.numel()].view_as(kept_RT).copy_(product_RT)
            if self.softcap is not None:
                logits_RT.div_(self.softcap).tanh_()
                slope_RT = self._slope[: kept_RT.numel()].view_as(kept_RT)
                torch.mul(logits_RT, logits_RT, out=slope_RT).neg_().add_(1.0)
                slope_R = at_labels(slope_RT, labels_R, columns.start, slope_R)
                logits_RT.mul_(self.softcap)
            label_R = at_labels(logits_RT, labels_R, columns.start, label_R)
            torch.amax(logits_RT, dim=-1, out=peak_R)
            torch.sum(logits_RT.sub_(peak_R[:, None]).exp_(), dim=-1, out=sum_R)
            kept_RT.copy_(logits_RT if self.softcap is None else logits_RT.mul_(slope_RT))
        normalizer_R = torch.logsumexp(peaks_CR + sums_CR.log(), dim=0)
        return _Block(
            hidden_RD=hidden_RD,
            labels_R=labels_R,
            tiles=tiles,
            factors_CR=(peaks_CR - normalizer_R).exp_(),
            slope_R=slope_R,
            loss=(normalizer_R - label_R).sum(),
        )

    def _make_room(self, rows: int, vocabulary: int) -> None:
        """Make the pieces that every tile writes into large enough for `rows`.

        A piece taken again for each tile does not fit where the last one was freed, once a small
        result that stays has been put there: glibc then held up to 64 of 16 MB (LOG.md).
        """
        if len(self._kept) < rows * vocabulary:
            self._kept = self._kept.new_empty(0)
            self._kept = self._kept.new_empty(rows * vocabulary)
            self._tile = self._tile.new_empty(rows * self.columns)
            self._slope = torch.empty_like(self._tile if self.softcap is not None else self._slope)


Tiles = list[tuple[slice, Tensor]]
"""Columns of the vocabulary, and the place of their exponentials, [R, T]."""


def _tiles(kept: Tensor, rows: int, vocabulary: int, columns: int) -> Tiles:
    edges = [*range(0, vocabulary, columns), vocabulary]
    return [
        (slice(start, stop), kept[rows * start : rows * stop].view(rows, stop - start))
        for start, stop in pairwise(edges)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """What is known of `ROWS` rows after their logits were made.

    Attributes:
        hidden_RD: hidden states.
        labels_R: tokens to predict.
        tiles: exp(z - m) times the slope of the soft-cap.
        factors_CR: exp(m - logsumexp(z)).
        slope_R: of the soft-cap at the label; 1 without one.
        loss: the sum over the rows.
    """

    hidden_RD: Tensor
    labels_R: Tensor
    tiles: Tiles
    factors_CR: Tensor
    slope_R: Tensor
    loss: Tensor

    def hidden_gradient(self, head_VD: Tensor) -> Tensor:
        """Return d loss / d hidden in fp32, [R, D]."""
        found_RD = head_VD[self.labels_R].float().mul_(-self.slope_R[:, None])
        for (columns, kept_RT), factor_R in zip(self.tiles, self.factors_CR, strict=True):
            found_RD.addcmul_(kept_RT @ head_VD[columns], factor_R[:, None])
        return found_RD

    def add_head_gradient(self, target_VD: Tensor, divisor: Tensor | float, *, fresh: bool) -> None:
        """Add d loss / d head over `divisor` to `target_VD`, which holds nothing yet if `fresh`."""
        hidden_RD = self.hidden_RD.to(torch.float32, copy=True).div_(divisor)
        for (columns, kept_RT), factor_R in zip(self.tiles, self.factors_CR, strict=True):
            scaled_RD = (hidden_RD * factor_R[:, None]).to(kept_RT.dtype)
            product_TD = kept_RT.T @ scaled_RD
            if fresh:
                target_VD[columns].copy_(product_TD)
            else:
                target_VD[columns].add_(product_TD)
        target_VD.index_add_(0, self.labels_R, hidden_RD.mul_(-self.slope_R[:, None]))


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden_ND, head_VD, labels_N, divisor, loss):  # type: ignore[no-untyped-def]
        trains = ctx.needs_input_grad[:2]
        value, grad_ND, grad_VD = loss.evaluate(hidden_ND.detach(), labels_N, divisor, trains)
        ctx.save_for_backward(grad_ND, grad_VD)
        ctx.head = head_VD.dtype
        # To look at the factor would stop a GPU.
        ctx.checked = trains[1] and grad_VD is None and not loss.gpu
        return value

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        if ctx.checked and grad != 1:
            raise RuntimeError(f"the loss was scaled by {grad.item()} after its gradient was taken")
        grad_ND, grad_VD = ctx.saved_tensors
        if grad_ND is not None:
            grad_ND = grad_ND * grad.to(grad_ND.dtype)
        if grad_VD is not None:
            grad_VD = grad_VD.mul_(grad).to(ctx.head)
        return grad_ND, grad_VD, None, None, None
