"""Decoding by vLLM in place of paribus' own engine: the same prompts, ends of texts and records.

    with serving(Weights(model=folder), compute=…, device=…, longest=1024, rows=32,
                 cache_bytes=None) as continued:
        generations = generate_by_vllm(continued, tokenizer, prompts, stop_ids=…, …)

vLLM only continues token ids (`vllm_process`). Where a text ends and what the calculator adds is
decided here, by the rules of `decoding` that also end our own engine's texts. So that a text that
has ended is not continued for long, it is looked at every `ROUND` tokens; vLLM keeps what it has
computed of it until the next round.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import IO, Any

import torch

from paribus.errors import RunFailed
from paribus.evaluation.engine.decoding import OpenText, Rules
from paribus.prompts.encode import Prompt
from paribus.records import Generation

ROUND = 128
"""Tokens that a text is continued by before it is looked at."""

BATCHES_AT_ONCE = 8
"""Batches of problems that are given to vLLM at once: it fills its batch from them."""

_PATIENCE = 60
"""Seconds to wait for vLLM's end."""

Continued = Callable[
    [list[list[int]], list[int], list[int]], tuple[list[list[int]], list[list[bool]]]
]
"""From texts as token ids, how many tokens to add at most and stop tokens, to what was added, and
whether each token was chosen among finite logits."""

_DTYPES = {torch.bfloat16: "bfloat16", torch.float32: "float32"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What to test, on disk.

    Attributes:
        model: folder of the model that is tested, or of an adapter's base.
        adapter: folder of the adapter, and its
        rank: r.
    """

    model: Path
    adapter: Path | None = None
    rank: int = 0


@contextmanager
def serving(
    weights: Weights,
    *,
    compute: torch.dtype,
    device: torch.device,
    longest: int,
    rows: int,
    cache_bytes: float | None,
) -> Iterator[Continued]:
    """Start vLLM on `weights` for texts of up to `longest` tokens, `rows` at once.

    `cache_bytes` is what their keys and values take, if that is known. Raises RunFailed if vLLM
    does not start or later stops, with the end of what it printed.
    """
    settings = {
        "model": str(weights.model),
        "adapter": weights.adapter and str(weights.adapter),
        "rank": weights.rank,
        "dtype": _DTYPES[compute],
        "longest": longest,
        "rows": rows,
        "share": _free_share() if device.type == "cuda" else None,
    }
    environment = {
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",  # else a core is idle
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",  # it would report to its makers
    }
    if cache_bytes is not None:
        environment["VLLM_CPU_KVCACHE_SPACE"] = str(ceil(cache_bytes / 2**30))
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            [sys.executable, "-m", "paribus.evaluation.engine.vllm_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        ) as process,
    ):
        try:
            _ask(process, log, settings)

            def continued(
                ids: list[list[int]], numbers: list[int], stop_ids: list[int]
            ) -> tuple[list[list[int]], list[list[bool]]]:
                reply = _ask(process, log, {"ids": ids, "numbers": numbers, "stop_ids": stop_ids})
                return reply["ids"], reply["finite"]

            yield continued
        finally:
            _end(process)


def generate_by_vllm(  # noqa: PLR0913  # what an engine needs to know
    continued: Continued,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    stop_ids: frozenset[int],
    max_new_tokens: int,
    batch_size: int,
    on_batch: Callable[[int], None],
    calculator: bool = False,
    until: tuple[str, ...] | None = None,
) -> list[Generation]:
    """Return one generation per prompt, in the prompts' order; see `generate.generate`."""
    rules = Rules(
        tokenizer=tokenizer,
        stop_ids=stop_ids,
        max_new_tokens=max_new_tokens,
        calculator=calculator,
        until=until,
    )
    rows = [OpenText(prompt) for prompt in prompts]
    done = 0
    for start in range(0, len(rows), BATCHES_AT_ONCE * batch_size):
        going = rows[start : start + BATCHES_AT_ONCE * batch_size]
        while going:
            texts = [[*row.prompt.ids, *row.generated] for row in going]
            room = [min(ROUND, max_new_tokens - len(row.generated)) for row in going]
            continuations = continued(texts, room, sorted(stop_ids))
            for row, tokens, finite in zip(going, *continuations, strict=True):
                _write(rules, row, tokens, finite)
            left = [row for row in going if row.stop is None]
            done += len(going) - len(left)
            going = left
            on_batch(done)
    return [rules.finished(row) for row in rows]


def _write(rules: Rules, row: OpenText, tokens: Sequence[int], finite: Sequence[bool]) -> None:
    """Give `row` its next tokens up to its end, or to a result that the calculator writes."""
    if not tokens:
        raise RunFailed(
            "vLLM added nothing to a text", "look at its log; set evaluation.engine=paribus"
        )
    for token, is_finite in zip(tokens, finite, strict=True):
        rules.advance(row, token, finite=is_finite)
        if row.stop is not None or row.forced:
            break  # what vLLM wrote behind a result to come followed something else
    while row.forced and row.stop is None:
        rules.advance(row, row.forced[0], finite=True)


def _end(process: "subprocess.Popen[str]") -> None:
    """Let the process end by itself, so that vLLM ends its own."""
    assert process.stdin is not None
    try:
        process.stdin.close()
        process.wait(_PATIENCE)
    except (BrokenPipeError, subprocess.TimeoutExpired):
        process.kill()


def _free_share() -> float:
    """Return how much of the GPU vLLM may take: what the model of this process leaves, and less."""
    free, total = torch.cuda.mem_get_info()
    return 0.9 * free / total


def _ask(process: "subprocess.Popen[str]", log: IO[str], request: dict[str, Any]) -> Any:
    """Return the process' answer to `request`. Raises RunFailed if it has none."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except BrokenPipeError:
        line = ""
    if line:
        return json.loads(line)
    code = process.wait()
    log.seek(0)
    last = [text.strip() for text in log if text.strip()][-6:]
    raise RunFailed(
        f"vLLM ended with code {code}: {' / '.join(last)}",
        "set evaluation.engine=paribus, or fix its installation",
    )
