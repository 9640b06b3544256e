"""Cross-entropy on completion tokens, straight from hidden states, a chunk at a time.

    loss = Σ_n  logsumexp_v(cap(h_n · W_v)) - cap(h_n · W_{y_n})        cap(z) = c·tanh(z / c)

With a vocabulary of 262,144 the logits of one batch are larger than the model. Here only `CHUNK`
rows of them exist at a time, and rows of prompt and padding never do. Gradients are computed
in the forward pass, chunk by chunk, so no logit is computed twice: d loss / d z = softmax(z) -
onehot(y), times 1 - (cap(z)/c)² where the logits are capped (Gemma 2).

Shapes: N completion tokens, D hidden size, V vocabulary, C rows of a chunk.
"""

import torch
from torch import Tensor

CHUNK = 256
"""Rows of logits that exist at once: 256 × 262,144 in fp32 are 268 MB."""


def completion_loss(
    hidden_ND: Tensor,
    head_VD: Tensor,
    labels_N: Tensor,
    *,
    softcap: float | None = None,
    divisor: Tensor | float = 1.0,
) -> Tensor:
    """Return the summed cross-entropy of `labels_N` over `divisor`, a scalar in fp32.

    Args:
        hidden_ND: final hidden states at the positions that predict a completion token.
        head_VD: output embedding; its gradient is computed only if it requires one.
        labels_N: the tokens to predict, in [0, V).
        softcap: c above, or None.
        divisor: target tokens of the whole optimizer step; gradients are divided as they are
            made, which spares a pass over the head's.

    Matrix products run in the dtype of `hidden_ND`; everything else is fp32.
    """
    loss: Tensor = _CompletionLoss.apply(hidden_ND, head_VD, labels_N, softcap, divisor)
    return loss


class _CompletionLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden_ND, head_VD, labels_N, softcap, divisor):  # type: ignore[no-untyped-def]
        needs_hidden, needs_head = ctx.needs_input_grad[:2]
        weight_VD = head_VD.detach().to(hidden_ND.dtype)
        total = hidden_ND.new_zeros((), dtype=torch.float32)
        grad_hidden_ND = torch.empty_like(hidden_ND) if needs_hidden else None
        grad_head_VD = None
        for start in range(0, len(hidden_ND), CHUNK):
            chunk_CD = hidden_ND[start : start + CHUNK].detach()
            loss, grad_CV = _chunk(chunk_CD, weight_VD, labels_N[start : start + CHUNK], softcap)
            total += loss
            grad_CV = grad_CV.div_(divisor).to(hidden_ND.dtype)
            if grad_hidden_ND is not None:
                grad_hidden_ND[start : start + CHUNK] = grad_CV @ weight_VD
            if needs_head:
                product_VD = grad_CV.T @ chunk_CD
                if grad_head_VD is None:
                    grad_head_VD = product_VD.float()
                else:
                    grad_head_VD += product_VD
        ctx.save_for_backward(grad_hidden_ND, grad_head_VD)
        ctx.head_dtype = head_VD.dtype
        return total / divisor

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        grad_hidden_ND, grad_head_VD = ctx.saved_tensors
        if grad_hidden_ND is not None:
            grad_hidden_ND = grad_hidden_ND * grad.to(grad_hidden_ND.dtype)
        if grad_head_VD is not None:
            if grad != 1:  # the usual case, and the head's gradient is the largest tensor there is
                grad_head_VD = grad_head_VD * grad
            grad_head_VD = grad_head_VD.to(ctx.head_dtype)
        return grad_hidden_ND, grad_head_VD, None, None, None


def _chunk(
    hidden_CD: Tensor, weight_VD: Tensor, labels_C: Tensor, softcap: float | None
) -> tuple[Tensor, Tensor]:
    """Return the chunk's summed loss and d loss / d logits, both fp32."""
    logits_CV = (hidden_CD @ weight_VD.T).float()
    slope_CV = None
    if softcap is not None:
        logits_CV.div_(softcap).tanh_()
        slope_CV = 1.0 - logits_CV**2
        logits_CV.mul_(softcap)
    rows_C = torch.arange(len(labels_C), device=labels_C.device)
    normalizer_C = torch.logsumexp(logits_CV, dim=-1)
    loss = (normalizer_C - logits_CV[rows_C, labels_C]).sum()
    grad_CV = logits_CV.sub_(normalizer_C[:, None]).exp_()
    grad_CV[rows_C, labels_C] -= 1.0
    return loss, grad_CV if slope_CV is None else grad_CV.mul_(slope_CV)
