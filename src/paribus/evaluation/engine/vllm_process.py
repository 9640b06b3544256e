"""vLLM in its own process: it continues token ids, greedily, and knows nothing else.

    python -m paribus.evaluation.engine.vllm_process        # lines of JSON in, lines of JSON out

    in   {"model": "/weights", "adapter": null, "dtype": "bfloat16", "longest": 1024, "rows": 32, …}
    out  {"ready": true}
    in   {"ids": [[2, 10], [2, 20, 21]], "numbers": [128, 128], "stop_ids": [1, 106]}
    out  {"ids": [[11, 12, 1], …], "finite": [[true, true, true], …]}

Ends when its input does, which is also when the process that asked is killed. What vLLM prints goes
to standard error.
"""

import json
import os
import sys
from math import isfinite
from typing import Any


def main() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # vLLM logs to standard output

    def answer(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    engine = _Engine(**json.loads(sys.stdin.readline()))
    answer({"ready": True})
    for line in sys.stdin:
        answer(engine.continued(**json.loads(line)))


_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


class _Engine:
    def __init__(  # noqa: PLR0913  # one for each setting of a run
        self,
        *,
        model: str,
        adapter: str | None,
        rank: int,
        dtype: str,
        longest: int,
        rows: int,
        share: float | None,
    ) -> None:
        from vllm import LLM
        from vllm.lora.request import LoRARequest

        self.adapter = LoRARequest("adapter", 1, adapter) if adapter else None
        self.llm: Any = LLM(
            model=model,
            dtype=dtype,
            skip_tokenizer_init=True,
            trust_remote_code=False,
            load_format="safetensors",
            max_model_len=longest,
            max_num_seqs=rows,
            # On a CPU it would compile, for longer than most tests take.
            enforce_eager=share is None,
            **({"gpu_memory_utilization": share} if share else {}),
            enable_lora=adapter is not None,
            # It has kernels for these alone.
            max_lora_rank=next((size for size in _RANKS if size >= rank), rank),
            max_loras=1,
            seed=0,
        )

    def continued(
        self, *, ids: list[list[int]], numbers: list[int], stop_ids: list[int]
    ) -> dict[str, Any]:
        from vllm import SamplingParams

        outputs = self.llm.generate(
            [{"prompt_token_ids": text} for text in ids],
            [
                SamplingParams(
                    temperature=0.0,
                    max_tokens=number,
                    stop_token_ids=stop_ids,
                    detokenize=False,
                    logprobs=0,  # of the chosen token: NaN where its logits are
                )
                for number in numbers
            ],
            lora_request=self.adapter,
            use_tqdm=False,
        )
        written = [output.outputs[0] for output in outputs]
        return {
            "ids": [list(text.token_ids) for text in written],
            "finite": [_finite(text) for text in written],
        }


def _finite(text: Any) -> list[bool]:
    """Return for each token whether its log-probability is finite."""
    pairs = zip(text.token_ids, text.logprobs, strict=True)
    return [isfinite(chances[token].logprob) for token, chances in pairs]


if __name__ == "__main__":
    main()
