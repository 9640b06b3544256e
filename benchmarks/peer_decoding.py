"""Decoding by each, for benchmarks/speed_gpu.py: the same prompts, so many texts at once.

    decode_work(work, "generate", folder, print)
    # {"rows": {"32": {"seconds": 7.3, "tokens": 2048, "peak_memory_bytes": …}}}

Greedy, from random weights, which end no text and do not repeat themselves: guesses that paribus
makes from a text (prompt lookup) bring nothing here, and of real texts they save passes. What is
compiled, captured or cached is there before the clock starts: as many other prompts are decoded
first.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from peer_steps import memory, wait
from speed_model import weights
from speed_work import Work

from paribus.models.device import reset_peak_memory

Decode = Callable[[list[dict[str, Any]], int, int], int]
"""From prompts, new tokens of each and texts at once, to the tokens written."""


def decode_work(
    work: Work, who: str, folder: Path, on_rows: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Decode with each number of rows; tell `on_rows` what was measured, after each.

    `folder` holds the weights, for who cannot take them from memory.
    """
    device = torch.device(work.asked.device)
    decode = _WAYS[who](work, folder)
    found: dict[str, dict[str, Any]] = {}
    for rows in work.asked.rows:
        decode(work.prompts[-rows:], work.asked.new_tokens, rows)
        wait(device)
        reset_peak_memory(device)
        started = time.perf_counter()
        tokens = decode(work.prompts[:rows], work.asked.new_tokens, rows)
        wait(device)
        seconds = time.perf_counter() - started
        found[str(rows)] = {"seconds": seconds, "tokens": tokens, **memory(device)}
        on_rows({"rows": found})
    return {"rows": found}


def _paribus(work: Work, folder: Path) -> Decode:
    import peer_paribus

    decode = peer_paribus.decoder(work)
    return lambda *asked: sum(text.num_tokens for text in decode(*asked))


def _transformers(work: Work, folder: Path) -> Decode:
    return _generate(work, {})


def _static(work: Work, folder: Path) -> Decode:
    """With a cache of fixed size, for which transformers compiles the model's forward pass."""
    return _generate(work, {"cache_implementation": "static"})


def _generate(work: Work, settings: dict[str, Any]) -> Decode:
    dtype = torch.bfloat16 if work.asked.precision == "bf16" else torch.float32
    model = weights(work.asked, dtype).eval()

    def decode(prompts: list[dict[str, Any]], new_tokens: int, rows: int) -> int:
        ids = torch.tensor([prompt["ids"] for prompt in prompts], device=work.asked.device)
        with torch.inference_mode():
            written = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=new_tokens,
                min_new_tokens=new_tokens,
                do_sample=False,
                pad_token_id=0,
                **settings,
            )
        return int(written[:, ids.shape[1] :].numel())

    return decode


def _vllm(work: Work, folder: Path) -> Decode:
    from vllm import LLM, SamplingParams

    longest = max(len(prompt["ids"]) for prompt in work.prompts) + work.asked.new_tokens
    llm: Any = LLM(
        model=str(folder),
        dtype="bfloat16" if work.asked.precision == "bf16" else "float32",
        skip_tokenizer_init=True,
        max_model_len=longest + 1,
        max_num_seqs=max(work.asked.rows),
        gpu_memory_utilization=0.8,
        seed=0,
    )

    def decode(prompts: list[dict[str, Any]], new_tokens: int, rows: int) -> int:
        outputs = llm.generate(
            [{"prompt_token_ids": prompt["ids"]} for prompt in prompts],
            SamplingParams(
                temperature=0.0, max_tokens=new_tokens, ignore_eos=True, detokenize=False
            ),
            use_tqdm=False,
        )
        return sum(len(output.outputs[0].token_ids) for output in outputs)

    return decode


def _lm_eval(work: Work, folder: Path) -> Decode:
    import peer_lmeval

    return peer_lmeval.decode_by_hf(work)


def _lm_eval_vllm(work: Work, folder: Path) -> Decode:
    import peer_lmeval

    return peer_lmeval.decode_by_vllm(work, folder)


_WAYS: Mapping[str, Callable[[Work, Path], Decode]] = {
    "paribus": _paribus,
    "generate": _transformers,
    "generate-static": _static,
    "vllm": _vllm,
    "lm-eval": _lm_eval,
    "lm-eval-vllm": _lm_eval_vllm,
}
