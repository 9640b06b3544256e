"""How likely a model finds the gold solutions: a figure where accuracy has no power left.

    nll = - sum_t log p(y_t | prompt, y_<t)      over the solution's tokens and the stop token

In nats. One forward pass per batch; the output head sees completion positions only, `CHUNK` rows
at a time, as in training. Texts are padded on the right, where causal attention cannot see.

Shapes: B texts, L tokens, N completion tokens of a batch, D hidden size, V vocabulary, C a chunk.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paribus.models.load import decoder_and_head
from paribus.prompts.encode import Encoded

CHUNK = 256
"""Rows of logits that exist at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likelihood:
    """What a model makes of one problem's gold solution.

    Attributes:
        problem_id: `Problem.id`.
        nll: negative log-likelihood of the solution and its stop token, in nats; None if the
            model gave no valid distribution.
        tokens: how many tokens that is.
    """

    problem_id: str
    nll: float | None
    tokens: int


def likelihoods(
    model: nn.Module,
    examples: Sequence[Encoded],
    ids: Sequence[str],
    *,
    batch_size: int,
    on_batch: Callable[[int], None],
) -> list[Likelihood]:
    """Return one likelihood per example, in their order; `ids` are their problems'.

    Examples of similar length share a batch. `on_batch` is called with the number done so far.
    """
    order = sorted(range(len(examples)), key=lambda index: len(examples[index].ids))
    found: dict[int, Likelihood] = {}
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            sums = _negative_log_likelihoods(model, [examples[index] for index in batch])
            for index, nll in zip(batch, sums, strict=True):
                found[index] = Likelihood(
                    problem_id=ids[index],
                    nll=nll if math.isfinite(nll) else None,
                    tokens=examples[index].target_length,
                )
            on_batch(len(found))
    return [found[index] for index in range(len(examples))]


def measure_likelihoods(
    run: Callable[[], list[Likelihood]],
) -> tuple[list[Likelihood], dict[str, Any]]:
    """Return what `run` finds, and its summary: the `heldout` part of result.json.

    The means are None if any problem's figure is: to leave it out would flatter the model.
    """
    started = time.perf_counter()
    found = run()
    seconds = time.perf_counter() - started
    known = [each.nll for each in found if each.nll is not None]
    tokens = sum(each.tokens for each in found)
    total = math.fsum(known) if known and len(known) == len(found) else None
    return found, {
        "problems": len(found),
        "tokens": tokens,
        "undefined": len(found) - len(known),
        "nll_per_token": None if total is None else total / tokens,
        "nll_per_problem": None if total is None else total / len(found),
        "seconds": seconds,
    }


def _negative_log_likelihoods(model: nn.Module, batch: Sequence[Encoded]) -> list[float]:
    """Return the summed negative log-likelihood of each example's completion, in nats."""
    decoder, head, softcap = decoder_and_head(model)
    device = head.weight.device
    longest = max(len(example.ids) for example in batch)
    ids_BL = torch.zeros(len(batch), longest, dtype=torch.int64)
    mask_BL = torch.zeros_like(ids_BL)
    predicts_BL = torch.zeros_like(ids_BL, dtype=torch.bool)
    for row, example in enumerate(batch):
        length = len(example.ids)
        ids_BL[row, :length] = torch.tensor(example.ids)
        mask_BL[row, :length] = 1
        predicts_BL[row, example.prompt_length - 1 : length - 1] = True
    labels_N = ids_BL[:, 1:][predicts_BL[:, :-1]].to(device)
    hidden_BLD = decoder(
        input_ids=ids_BL.to(device), attention_mask=mask_BL.to(device), use_cache=False
    ).last_hidden_state
    losses_N = _losses(hidden_BLD[predicts_BL.to(device)], head.weight, labels_N, softcap)
    counts = [example.target_length for example in batch]
    return [float(losses.sum()) for losses in torch.split(losses_N.double().cpu(), counts)]


def _losses(hidden_ND: Tensor, head_VD: Tensor, labels_N: Tensor, softcap: float | None) -> Tensor:
    """Return each label's negative log-likelihood, in fp32 [N]."""
    found = []
    for start in range(0, len(hidden_ND), CHUNK):
        labels_C = labels_N[start : start + CHUNK]
        logits_CV = (hidden_ND[start : start + CHUNK] @ head_VD.T).float()
        if softcap is not None:
            logits_CV.div_(softcap).tanh_().mul_(softcap)
        chosen_C = logits_CV.gather(1, labels_C[:, None])[:, 0]
        found.append(torch.logsumexp(logits_CV, dim=-1) - chosen_C)
    return torch.cat(found)
