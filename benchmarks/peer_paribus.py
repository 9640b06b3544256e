"""paribus' parts: what `paribus run` does between loading and storing.

train_work(work, "full", folder)      # {"losses": […], "seconds": […], "peak_memory_bytes": …}
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peer_steps import Steps
from speed_model import own, tokenizer
from speed_work import Work, lora

from paribus.evaluation.engine.generate import generate
from paribus.models.device import compute_dtype, peak_memory_bytes, reset_peak_memory, return_freed
from paribus.models.fast import blocked
from paribus.models.load import for_inference, make_trainable
from paribus.prompts.encode import Prompt
from paribus.records import Generation, Problem
from paribus.training.train import StepRecord, train


def train_work(
    work: Work, method: str, folder: Path, on_step: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Train on `work` and return what was measured."""
    device = torch.device(work.asked.device)
    compute = compute_dtype(work.asked.precision, device)
    model = own(work.asked, compute, device)
    torch.manual_seed(work.seed)
    model = make_trainable(model, method, lora(work.asked.dropout), compute)
    steps = Steps(work.asked.device)
    steps.begin()

    def note(record: StepRecord) -> None:
        steps.mark(record.loss)
        on_step()

    train(
        model,
        work.encoded(),
        work.training[method],
        seed=work.seed,
        compute=compute,
        folder=folder,
        on_step=note,
    )
    return steps.figures()


def decoder(work: Work) -> Callable[[list[dict[str, Any]], int, int], list[Generation]]:
    """Return what decodes prompts: up to so many tokens each, so many texts at once."""
    device = torch.device(work.asked.device)
    compute = compute_dtype(work.asked.precision, device)
    model = for_inference(own(work.asked, compute, device), compute)
    blocked.use(model)
    encoding = tokenizer(work.asked)

    def decode(chosen: list[dict[str, Any]], new_tokens: int, rows: int) -> list[Generation]:
        return generate(
            model,
            encoding,
            [_prompt(prompt) for prompt in chosen],
            stop_ids=frozenset(work.stop_ids),
            max_new_tokens=new_tokens,
            batch_size=rows,
            on_batch=lambda _: None,
        )

    return decode


def evaluate_work(work: Work) -> dict[str, Any]:
    """Decode `work`'s prompts and return texts, seconds and peak memory."""
    device, decode = torch.device(work.asked.device), decoder(work)
    decode(work.prompts[:1], 4, work.asked.eval_batch)
    return_freed(device)
    reset_peak_memory(device)
    started = time.perf_counter()
    texts = decode(work.prompts, work.asked.new_tokens, work.asked.eval_batch)
    return {
        "texts": [generation.text for generation in texts],
        "seconds": time.perf_counter() - started,
        "peak_memory_bytes": peak_memory_bytes(device),
    }


def _prompt(stored: dict[str, Any]) -> Prompt:
    problem = Problem(question=stored["question"], solution="", answer=stored["answer"])
    return Prompt(problem=problem, text=stored["text"], ids=tuple(stored["ids"]))
