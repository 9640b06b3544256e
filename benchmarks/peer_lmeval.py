"""lm-eval's part of benchmarks/speed.py: its `hf` model, asked for the texts of paribus' prompts.

evaluate_work(work)                     # {"texts": […], "seconds": …, "peak_memory_bytes": …}
evaluate_work(work, Path("weights"))    # the same with the weights or the adapter in a folder

lm-eval knows stop strings, and decodes a batch until each row holds one. Here its rows may also
stop at paribus' rules, each for itself: that spares it work, and both are asked for the same texts.
"""

import time
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from speed_work import Work
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from paribus.evaluation.scoring import NEXT_QUESTION
from paribus.models.device import peak_memory_bytes, reset_peak_memory, return_freed

TAIL = 24
"""Tokens looked at for a stop, as in paribus."""


class _Complete(StoppingCriteria):
    """Ends a row that holds a question of the model's own."""

    def __init__(self, tokenizer: Any, prompt_length: int) -> None:
        self.tokenizer = tokenizer
        self.prompt_length = prompt_length

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        start = max(self.prompt_length, input_ids.shape[1] - TAIL)
        tails = self.tokenizer.batch_decode(input_ids[:, start:])
        ended = [NEXT_QUESTION in tail for tail in tails]
        return torch.tensor(ended, device=input_ids.device)


def evaluate_work(work: Work, weights: Path | None = None) -> dict[str, Any]:
    """Decode `work`'s prompts and return texts, seconds and peak memory.

    `weights` is a folder that a Trainer has saved. Raises RuntimeError if lm-eval would put other
    tokens to the model than paribus.
    """
    asked = work.asked
    device = torch.device(asked.device)
    adapted = weights is not None and (weights / "adapter_config.json").exists()
    lm = HFLM(
        pretrained=asked.model if adapted or weights is None else str(weights),
        tokenizer=asked.model,
        peft=str(weights) if adapted else None,
        dtype="bfloat16" if asked.precision == "bf16" else "float32",
        device=asked.device,
        batch_size=asked.eval_batch,
    )
    for prompt in work.prompts:
        ids = lm.tok_batch_encode([prompt["text"]])[0][0].tolist()
        if ids != prompt["ids"]:
            raise RuntimeError(f"lm-eval's tokens differ from paribus': {ids[:8]}… {prompt!r}")
    _stop_alike(lm, work)
    _texts(lm, work.prompts[:1], 4)
    return_freed(device)
    reset_peak_memory(device)
    started = time.perf_counter()
    texts = _texts(lm, work.prompts, asked.new_tokens)
    return {
        "texts": texts,
        "seconds": time.perf_counter() - started,
        "peak_memory_bytes": peak_memory_bytes(device),
    }


def _stop_alike(lm: Any, work: Work) -> None:
    """Let the model's `generate` end each row where paribus ends it."""
    lm.model.generation_config.eos_token_id = work.stop_ids
    generate = lm.model.generate

    def ending(*, input_ids: Tensor, stopping_criteria: Any, **settings: Any) -> Any:
        rule = _Complete(lm.tokenizer, input_ids.shape[1])
        both = StoppingCriteriaList([*stopping_criteria, rule])
        return generate(input_ids=input_ids, stopping_criteria=both, **settings)

    lm.model.generate = ending


def _texts(lm: Any, prompts: list[dict[str, Any]], new_tokens: int) -> list[str]:
    settings = {"until": [NEXT_QUESTION], "max_gen_toks": new_tokens, "do_sample": False}
    requests = [
        Instance(
            request_type="generate_until",
            doc={},
            arguments=(prompt["text"], dict(settings)),
            idx=index,
        )
        for index, prompt in enumerate(prompts)
    ]
    found: list[str] = lm.generate_until(requests, disable_tqdm=True)
    return found
