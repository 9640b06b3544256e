"""paribus' part of benchmarks/speed.py: what `paribus run` does between loading and storing.

train_work(work, "full", folder)      # {"losses": […], "seconds": […], "peak_memory_bytes": …}
"""

import time
from pathlib import Path
from typing import Any

import torch
from peer_steps import Steps
from speed_work import Work, lora

from paribus.evaluation.engine.generate import generate
from paribus.models.device import compute_dtype, peak_memory_bytes, reset_peak_memory, return_freed
from paribus.models.fast import blocked
from paribus.models.load import for_inference, load_model, make_trainable
from paribus.models.source import find_model, load_tokenizer
from paribus.prompts.encode import Prompt
from paribus.records import Problem
from paribus.training.train import train


def train_work(work: Work, method: str, folder: Path) -> dict[str, Any]:
    """Train on `work` and return what was measured."""
    device = torch.device(work.asked.device)
    compute = compute_dtype(work.asked.precision, device)
    model = load_model(find_model(work.asked.model, None), compute, device)
    torch.manual_seed(work.seed)
    model = make_trainable(model, method, lora(), compute)
    steps = Steps(work.asked.device)
    steps.begin()
    train(
        model,
        work.encoded(),
        work.training[method],
        seed=work.seed,
        compute=compute,
        folder=folder,
        on_step=lambda record: steps.mark(record.loss),
    )
    return steps.figures()


def evaluate_work(work: Work) -> dict[str, Any]:
    """Decode `work`'s prompts and return texts, seconds and peak memory."""
    device = torch.device(work.asked.device)
    compute = compute_dtype(work.asked.precision, device)
    source = find_model(work.asked.model, None)
    model = for_inference(load_model(source, compute, device), compute)
    blocked.use(model)
    tokenizer = load_tokenizer(source)
    prompts = [_prompt(prompt) for prompt in work.prompts]

    def decode(chosen: list[Prompt], new_tokens: int) -> list[str]:
        found = generate(
            model,
            tokenizer,
            chosen,
            stop_ids=frozenset(work.stop_ids),
            max_new_tokens=new_tokens,
            batch_size=work.asked.eval_batch,
            on_batch=lambda _: None,
        )
        return [generation.text for generation in found]

    decode(prompts[:1], 4)
    return_freed(device)
    reset_peak_memory(device)
    started = time.perf_counter()
    texts = decode(prompts, work.asked.new_tokens)
    return {
        "texts": texts,
        "seconds": time.perf_counter() - started,
        "peak_memory_bytes": peak_memory_bytes(device),
    }


def _prompt(stored: dict[str, Any]) -> Prompt:
    problem = Problem(question=stored["question"], solution="", answer=stored["answer"])
    return Prompt(problem=problem, text=stored["text"], ids=tuple(stored["ids"]))
