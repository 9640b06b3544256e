"""Greedy decoding of many problems: the same texts whatever the batch size.

What all prompts begin with (the <bos>, the solved example) is computed once and its cache is
copied to every row. Prompts of a batch are padded on the left; masks are built from positions, not
from cache slots, so padding neither is attended to nor uses up a sliding window. A row leaves
the batch when it stops.

With the calculator, a row that has written `<<12*3=` is given the tokens of `36>>`, one by one, in
place of its own choices. It goes by the row's text alone, so batches stay without influence.

    slot        0    1 … P-1     P … P+pad-1   …            Q-1 | generated
    row 0       bos  shot …      pad  pad      q  q  … Answer :  | a  a  a
    position    0    1 … P-1     0    0        P  P+1 …          |

Shapes: B rows, Q query slots, K cache slots.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from paribus.evaluation.answers import NEXT_QUESTION, answer_is_complete
from paribus.evaluation.calculator import MAX_LENGTH, complete
from paribus.models.device import peak_memory_bytes, reset_peak_memory
from paribus.models.load import decoder_and_head
from paribus.prompts.encode import Prompt, shared_length
from paribus.records import Generation, Stop

_TAIL = 24
"""Tokens looked at for a stop: more than any `#### N` or `Question:` takes, with room to spare."""


@dataclass(slots=True)
class _Row:
    """One problem being decoded."""

    prompt: Prompt
    generated: list[int] = field(default_factory=list)
    forced: list[int] = field(default_factory=list)
    """Tokens that the calculator writes next."""
    stop: Stop | None = None


def generate(
    model: nn.Module,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    stop_ids: frozenset[int],
    max_new_tokens: int,
    batch_size: int,
    on_batch: Callable[[int], None],
    calculator: bool = False,
) -> list[Generation]:
    """Return one generation per prompt, in the prompts' order.

    Prompts of similar length are decoded together. `on_batch` is called with the number of
    problems done so far. `calculator` completes every `<<EXPRESSION=` that has a value; its tokens
    count in `num_tokens` and in `max_new_tokens`.
    """
    shared = shared_length([prompt.ids for prompt in prompts])
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index].ids))
    done: dict[int, Generation] = {}
    decoder = _Decoder(model, tokenizer, stop_ids, max_new_tokens, calculator)
    with torch.inference_mode():
        prefix = decoder.prefix(prompts[0].ids[:shared])
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            rows = [_Row(prompts[index]) for index in batch]
            decoder.run(rows, prefix, shared)
            done.update((i, decoder.finished(row)) for i, row in zip(batch, rows, strict=True))
            on_batch(len(done))
    return [done[index] for index in range(len(prompts))]


def measure(
    run: Callable[[], list[Generation]], device: torch.device
) -> tuple[list[Generation], dict[str, Any]]:
    """Return what `run` generates, and its cost: the `evaluation` part of result.json."""
    reset_peak_memory(device)
    started = time.perf_counter()
    generations = run()
    seconds = time.perf_counter() - started
    return generations, {
        "problems": len(generations),
        "seconds": seconds,
        "problems_per_second": len(generations) / seconds,
        "generated_tokens": sum(generation.num_tokens for generation in generations),
        "peak_memory_bytes": peak_memory_bytes(device),
    }


class _Decoder:
    """Holds what stays the same from batch to batch."""

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        stop_ids: frozenset[int],
        max_new_tokens: int,
        calculator: bool = False,
    ) -> None:
        self.stack, self.head, self.softcap = decoder_and_head(model)
        self.config: Any = self.stack.config
        self.tokenizer = tokenizer
        self.stop_ids = stop_ids
        self.max_new_tokens = max_new_tokens
        self.calculator = calculator
        self.device = self.head.weight.device

    def prefix(self, ids: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
        """Return keys and values of the shared prefix per layer, each [1, heads, P, dim]."""
        if not ids:
            return []
        cache = DynamicCache()  # without a config: full layers, the window is in our masks
        positions_1P = torch.arange(len(ids), device=self.device)[None]
        self._forward(torch.tensor([ids], device=self.device), positions_1P, positions_1P, cache)
        layers: Any = cache.layers
        return [(layer.keys, layer.values) for layer in layers]

    def run(self, rows: list[_Row], prefix: list[tuple[Tensor, Tensor]], shared: int) -> None:
        """Decode `rows` to their stops, in place."""
        cache = DynamicCache()
        for index, (keys, values) in enumerate(prefix):
            cache.update(
                keys.expand(len(rows), -1, -1, -1), values.expand(len(rows), -1, -1, -1), index
            )
        ids_BQ, positions_BQ = self._padded([row.prompt.ids[shared:] for row in rows], shared)
        before_BP = torch.arange(shared, device=self.device).expand(len(rows), -1)
        slots_BK = torch.cat([before_BP, positions_BQ], dim=1)
        active = list(rows)
        for _ in range(self.max_new_tokens):
            next_B, valid = self._forward(ids_BQ, positions_BQ, slots_BK, cache)
            self._advance(active, next_B, valid)
            keep = [index for index, row in enumerate(active) if row.stop is None]
            if not keep:
                return
            if len(keep) < len(active):
                chosen = torch.tensor(keep, device=self.device)
                cache.batch_select_indices(chosen)
                slots_BK, positions_BQ = slots_BK[chosen], positions_BQ[chosen]
                active = [active[index] for index in keep]
            positions_BQ = positions_BQ[:, -1:] + 1
            slots_BK = torch.cat([slots_BK, positions_BQ], dim=1)
            last = [[row.generated[-1]] for row in active]
            ids_BQ = torch.tensor(last, device=self.device)
        for row in active:
            row.stop = Stop.LENGTH

    def finished(self, row: _Row) -> Generation:
        """Return the record of a stopped row."""
        assert row.stop is not None
        problem = row.prompt.problem
        return Generation(
            problem_id=problem.id,
            question=problem.question,
            answer=problem.answer,
            solution=problem.solution,
            group=problem.group,
            prompt_sha256=hashlib.sha256(row.prompt.text.encode()).hexdigest(),
            text=self._text(row.generated),
            num_tokens=len(row.generated),
            stop=row.stop,
        )

    def _padded(self, sequences: list[tuple[int, ...]], shared: int) -> tuple[Tensor, Tensor]:
        """Return left-padded ids and positions, both [B, Q]; padding has position -1."""
        longest = max(map(len, sequences))
        ids = torch.zeros(len(sequences), longest, dtype=torch.int64)
        positions = torch.full_like(ids, -1)
        for row, sequence in enumerate(sequences):
            ids[row, longest - len(sequence) :] = torch.tensor(sequence)
            positions[row, longest - len(sequence) :] = torch.arange(len(sequence)) + shared
        return ids.to(self.device), positions.to(self.device)

    def _forward(
        self, ids_BQ: Tensor, positions_BQ: Tensor, slots_BK: Tensor, cache: DynamicCache
    ) -> tuple[Tensor, Tensor]:
        """Return the most likely next token of each row, and whether its logits are finite."""
        hidden_BQD = self.stack(
            input_ids=ids_BQ,
            attention_mask=self._masks(positions_BQ, slots_BK),
            position_ids=positions_BQ.clamp(min=0),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        # A soft-cap is monotonic: it changes no argmax.
        logits_BV = self.head(hidden_BQD[:, -1])
        return logits_BV.argmax(dim=-1), torch.isfinite(logits_BV).all(dim=-1)

    def _masks(self, positions_BQ: Tensor, slots_BK: Tensor) -> Any:
        """Return which slot each query sees, [B, 1, Q, K], per kind of layer if there are several.

        A query of padding sees slot 0 only, so that no row of the softmax is empty.
        """
        query_BQ1, slot_B1K = positions_BQ[:, :, None], slots_BK[:, None, :]
        causal_BQK = (slot_B1K >= 0) & (slot_B1K <= query_BQ1)
        causal_BQK[:, :, 0] |= positions_BQ < 0
        window = getattr(self.config, "sliding_window", None)
        # Where a model has a window and says nothing of layers, all of them have it: Mistral.
        every = "sliding_attention" if window else "full_attention"
        kinds = set(getattr(self.config, "layer_types", None) or [every])
        masks = {"full_attention": self._additive(causal_BQK)}
        if "sliding_attention" in kinds:
            near_BQK = query_BQ1 - slot_B1K < self.config.sliding_window
            near_BQK[:, :, 0] |= positions_BQ < 0
            masks["sliding_attention"] = self._additive(causal_BQK & near_BQK)
        return masks if len(kinds) > 1 else masks[next(iter(kinds))]

    def _additive(self, visible_BQK: Tensor) -> Tensor:
        """Return 0 where visible and the lowest number elsewhere: what every attention takes."""
        dtype = self.head.weight.dtype
        hidden = torch.full((), torch.finfo(dtype).min, dtype=dtype, device=self.device)
        return torch.where(visible_BQK, hidden.new_zeros(()), hidden)[:, None]

    def _advance(self, rows: list[_Row], next_B: Tensor, valid_B: Tensor) -> None:
        """Give each row its next token and decide whether it stops there."""
        for row, token, valid in zip(rows, next_B.tolist(), valid_B.tolist(), strict=True):
            if not valid:
                row.stop = Stop.FAILED
                continue
            row.generated.append(row.forced.pop(0) if row.forced else token)
            if row.generated[-1] in self.stop_ids:
                row.stop = Stop.STOP_TOKEN
        for row in rows:
            if row.stop is not None:
                continue
            tail = self.tokenizer.decode(row.generated[-_TAIL:])
            if answer_is_complete(tail):
                row.stop = Stop.ANSWER
            elif NEXT_QUESTION in tail:
                row.stop = Stop.NEXT_QUESTION
            elif self.calculator and not row.forced and tail.endswith("="):
                row.forced = self._result(row.generated)

    def _result(self, generated: list[int]) -> list[int]:
        """Return the tokens of the result that the calculator writes next, if there is one."""
        # An annotation has at most as many tokens as characters.
        result = complete(self._text(generated[-MAX_LENGTH - len("<<=") :]))
        if result is None:
            return []
        # Encoded behind "=": some tokenizers put a blank before whatever begins a text.
        sign, ids = self._ids("="), self._ids("=" + result)
        return ids[len(sign) :] if ids[: len(sign)] == sign else self._ids(result)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _text(self, ids: Sequence[int]) -> str:
        ids = ids[:-1] if ids and ids[-1] in self.stop_ids else ids
        text: str = self.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text
