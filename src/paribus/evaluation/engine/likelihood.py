"""How likely a model finds the gold solutions: a figure where accuracy has no power left.

    nll = - sum_t log p(y_t | prompt, y_<t)      over the solution's tokens and the stop token

In nats. The texts of a pass lie end to end; the output head sees completion positions
only, and of its logits no more exist at once than a CPU's cache holds.

Shapes: T tokens of a batch, N completion tokens of them, R rows of a block, D hidden size,
V vocabulary, W columns of a tile.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate

import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn

from paribus.models.device import return_freed
from paribus.models.fast.attention import packed
from paribus.models.fast.layers import at_labels, refuse_outside
from paribus.models.kernels import kind, on_gpu, sent
from paribus.models.load import decoder_and_head
from paribus.models.tiles import GOLD_TOKENS, loss_block
from paribus.prompts.encode import Encoded, Prompt
from paribus.records import Generation, Likelihood, Stop
from paribus.store.results import LikelihoodSummary


def likelihoods(
    model: nn.Module,
    examples: Sequence[Encoded],
    ids: Sequence[str],
    *,
    batch_size: int,
    on_batch: Callable[[int], None],
) -> list[Likelihood]:
    """Return one likelihood per example, in their order; `ids` are their problems'.

    Examples of similar length share a pass. `on_batch` is called with the number done so far.
    """
    by_index: dict[int, Likelihood] = {}
    device = decoder_and_head(model)[1].weight.device
    with torch.inference_mode():
        for batch in _batches([len(example.ids) for example in examples], batch_size):
            if not on_gpu(device):
                # Passes differ in length, and a CPU's heap would keep the pieces of each.
                return_freed(device)
            sums = _negative_log_likelihoods(model, [examples[index] for index in batch])
            for index, nll in zip(batch, sums, strict=True):
                by_index[index] = Likelihood(
                    problem_id=ids[index],
                    nll=nll if math.isfinite(nll) else None,
                    tokens=examples[index].target_length,
                )
            on_batch(len(by_index))
    return [by_index[index] for index in range(len(examples))]


def choose(
    model: nn.Module,
    prompts: Sequence[Prompt],
    choices: Sequence[Sequence[Encoded]],
    *,
    batch_size: int,
    on_batch: Callable[[int], None],
) -> list[Generation]:
    """Return the likeliest of each problem's `choices` as its text, with the likelihood of each.

    `choices` are prompts with a choice behind them and no stop token, as lm-evaluation-harness
    judges them. `on_batch` is called with the number of problems done so far.
    """
    examples = [example for of_problem in choices for example in of_problem]
    most = max(map(len, choices))
    rated = likelihoods(
        model,
        examples,
        [prompt.problem.id for prompt, of_problem in zip(prompts, choices, strict=True)
         for _ in of_problem],
        batch_size=batch_size,
        on_batch=lambda done: on_batch(done // most),
    )  # fmt: skip
    left = iter(rated)
    return [
        _chosen(prompt, [next(left).nll for _ in of_problem])
        for prompt, of_problem in zip(prompts, choices, strict=True)
    ]


def _chosen(prompt: Prompt, nlls: Sequence[float | None]) -> Generation:
    problem = prompt.problem
    known = tuple(nll for nll in nlls if nll is not None)
    if len(known) < len(nlls):
        return Generation.of(problem, text="", stop=Stop.FAILED, prompt_sha256=prompt.sha256)
    likeliest = problem.choices[known.index(min(known))]
    chosen = Generation.of(
        problem, text=likeliest, stop=Stop.STOP_TOKEN, prompt_sha256=prompt.sha256
    )
    return replace(chosen, choice_nlls=known)


def measure_likelihoods(
    run: Callable[[], list[Likelihood]],
) -> tuple[list[Likelihood], LikelihoodSummary]:
    """Return what `run` finds, and its summary.

    The means are None if any problem's figure is: to leave it out would flatter the model.
    """
    started = time.perf_counter()
    likelihoods = run()
    seconds = time.perf_counter() - started
    known = [likelihood.nll for likelihood in likelihoods if likelihood.nll is not None]
    tokens = sum(likelihood.tokens for likelihood in likelihoods)
    total = math.fsum(known) if known and len(known) == len(likelihoods) else None
    return likelihoods, LikelihoodSummary(
        problems=len(likelihoods),
        tokens=tokens,
        undefined=len(likelihoods) - len(known),
        nll_per_token=None if total is None else total / tokens,
        nll_per_problem=None if total is None else total / len(likelihoods),
        seconds=seconds,
    )


def _batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Return indices of texts that share a pass: at most `batch_size`, and `GOLD_TOKENS` tokens."""
    batches: list[list[int]] = []
    tokens = GOLD_TOKENS
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if tokens + lengths[index] > GOLD_TOKENS or len(batches[-1]) == batch_size:
            batches.append([])
            tokens = 0
        batches[-1].append(index)
        tokens += lengths[index]
    return batches


def _negative_log_likelihoods(model: nn.Module, batch: Sequence[Encoded]) -> list[float]:
    """Return the summed negative log-likelihood of each example's completion, in nats."""
    decoder, head, softcap = decoder_and_head(model)
    device = head.weight.device
    inputs = send_to_device(packed([example.ids for example in batch]), device)
    hidden_TD = decoder(**inputs, use_cache=False).last_hidden_state[0]
    ends = accumulate(len(example.ids) for example in batch)
    # The token before a completion's first is the first that predicts, its last predicts nothing.
    predicts = [
        place
        for example, end in zip(batch, ends, strict=True)
        for place in range(end - example.target_length - 1, end - 1)
    ]
    labels = [token for example in batch for token in example.ids[example.prompt_length :]]
    refuse_outside(torch.tensor(labels), len(head.weight))
    predicts_N, labels_N = sent([predicts, labels], device)
    losses_N = _losses(hidden_TD[predicts_N], head.weight, labels_N, softcap)
    counts = [example.target_length for example in batch]
    return [float(losses.sum()) for losses in torch.split(losses_N.double().cpu(), counts)]


def _losses(hidden_ND: Tensor, head_VD: Tensor, labels_N: Tensor, softcap: float | None) -> Tensor:
    """Return each label's negative log-likelihood, in fp32 [N]."""
    losses = []
    rows, columns = loss_block(kind(head_VD.device), len(head_VD))
    for hidden_RD, labels_R in zip(hidden_ND.split(rows), labels_N.split(rows), strict=True):
        normalizer_R = hidden_RD.new_full((len(hidden_RD),), -torch.inf, dtype=torch.float32)
        chosen_R = torch.zeros_like(normalizer_R)
        for start in range(0, len(head_VD), columns):
            logits_RW = (hidden_RD @ head_VD[start : start + columns].T).float()
            if softcap is not None:
                logits_RW.div_(softcap).tanh_().mul_(softcap)
            # In place: a small result that stays would lie where the next tile has to fit (LOG.md).
            chosen_R.copy_(at_labels(logits_RW, labels_R, start, chosen_R))
            sums_R = torch.logsumexp(logits_RW, dim=-1)
            torch.logaddexp(normalizer_R, sums_R, out=normalizer_R)
        losses.append(normalizer_R - chosen_R)
    return torch.cat(losses)
