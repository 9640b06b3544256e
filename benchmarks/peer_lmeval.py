"""lm-eval's parts: its `hf` model, or its `vllm`, asked for the texts of paribus' prompts.

evaluate_work(work)                     # {"texts": […], "seconds": …, "peak_memory_bytes": …}
evaluate_work(work, Path("weights"))    # the same with the weights or the adapter in a folder

lm-eval knows stop strings, and decodes a batch until each row holds one. Here its rows may also
stop at paribus' rules, each for itself: that spares it work, and both are asked for the same texts.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from speed_model import tokenizer, weights
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


def evaluate_work(work: Work, saved: Path | None = None) -> dict[str, Any]:
    """Decode `work`'s prompts and return texts, seconds and peak memory.

    `saved` is a folder that a Trainer has saved. Raises RuntimeError if lm-eval would put other
    tokens to the model than paribus.
    """
    asked = work.asked
    device = torch.device(asked.device)
    adapted = saved is not None and (saved / "adapter_config.json").exists()
    lm = HFLM(
        pretrained=asked.model if adapted or saved is None else str(saved),
        tokenizer=asked.model,
        peft=str(saved) if adapted else None,
        dtype="bfloat16" if asked.precision == "bf16" else "float32",
        device=asked.device,
        batch_size=asked.eval_batch,
    )
    _refuse_other_tokens(lm.tok_batch_encode, work)
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


def decode_by_hf(work: Work) -> Callable[[list[dict[str, Any]], int, int], int]:
    """Return what decodes prompts with the model `hf`, and how many tokens that is.

    It does not say how many it wrote; random weights end no text.
    """
    dtype = torch.bfloat16 if work.asked.precision == "bf16" else torch.float32
    lm = HFLM(pretrained=weights(work.asked, dtype), tokenizer=tokenizer(work.asked))
    _refuse_other_tokens(lm.tok_batch_encode, work)

    def decode(prompts: list[dict[str, Any]], new_tokens: int, rows: int) -> int:
        lm.batch_size_per_gpu = rows
        return new_tokens * len(_texts(lm, prompts, new_tokens))

    return decode


def decode_by_vllm(work: Work, folder: Path) -> Callable[[list[dict[str, Any]], int, int], int]:
    """Return the same with the model `vllm`, which reads weights and tokenizer from `folder`."""
    from lm_eval.models.vllm_causallms import VLLM

    longest = max(len(prompt["ids"]) for prompt in work.prompts) + work.asked.new_tokens
    lm = VLLM(
        pretrained=str(folder),
        dtype="bfloat16" if work.asked.precision == "bf16" else "float32",
        add_bos_token=True,
        max_model_len=longest + 1,
        batch_size="auto",
        gpu_memory_utilization=0.8,
    )

    def decode(prompts: list[dict[str, Any]], new_tokens: int, rows: int) -> int:
        return new_tokens * len(_texts(lm, prompts, new_tokens))

    return decode


def _refuse_other_tokens(encode: Callable[[list[str]], Any], work: Work) -> None:
    for prompt in work.prompts:
        ids = encode([prompt["text"]])[0][0].tolist()
        if ids != prompt["ids"]:
            raise RuntimeError(f"lm-eval's tokens differ from paribus': {ids[:8]}… {prompt!r}")


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
