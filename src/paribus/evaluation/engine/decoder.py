"""Forward passes of decoding: prompts into the cache, then a few tokens of every row at a time.

    decoder = Decoder(model, rows=50)
    decoder.share(shared_ids)                           # the prefix of all prompts, once
    decoder.prefill({0: prompt_ids, 1: other_ids})      # all but the last token of each
    chosen, finite = decoder.step({0: ([id, guess], position), 1: ([other], its_position)})

A prompt's last token is left to `step`: its logits are computed together with those of rows that
are already decoding. The head, most of a small model's weights, is never read for a prompt alone.

    slot = position   0 … P-1     P  …                  K-1
    row 0             bos shot    q  q  Answer :  a  a  .      its next token goes behind them
    row 1             bos shot    q  q  q  Answer :  x  x      x: padding, or an earlier text

Each row has its own length. A token's slot in the cache is its position, and masks are made of
positions alone, so neither padding nor a row's place nor its neighbours change what a token attends
to.

    cache = SlotCache(rows=2)
    cache.aim(None, slots=tensor([[7], [3]]), visible=8)
    model(ids, past_key_values=cache, …)       # writes slot 7 of row 0, slot 3 of row 1

Nothing is appended: each layer has one tensor of keys and one of values, [rows, heads, K, width],
written in place, and attention reads a view of their first slots. The view grows by `VISIBLE_SLOTS`
and K by `CACHE_SLOTS`, so few shapes occur: torch and oneDNN keep a kernel for each. A slot that no
mask hides was written for the row's present text, for texts have no gaps.

On a GPU fewer shapes occur, and what a step computes is recorded and replayed (`graphs`). All that
a step needs to know is sent there in one tensor, and all that it found is read in another.

Shapes: B rows, M rows of a chunk or pass, Q query slots, K slots, H heads of keys, D numbers of a
head, V the vocabulary.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache

from paribus.evaluation.engine.graphs import Graphs, can_capture
from paribus.models.fast.blocked import Product, product
from paribus.models.kernels import on_gpu, sent
from paribus.models.load import decoder_and_head
from paribus.models.tiles import (
    ALIGN,
    CACHE_SLOTS,
    DECODED_TILE,
    GPU_PROMPT_TOKENS,
    GPU_VISIBLE_SLOTS,
    GUESSES,
    PROMPT_TOKENS,
    VISIBLE_SLOTS,
    decoded_rows,
    round_up,
)

_WIDTHS = (1, *(guesses + 1 for guesses in GUESSES))
"""Tokens of a row that a step on a GPU reads: few, so that few shapes occur."""


class SlotCache(Cache):
    """Keys and values of `rows` texts. `aim` says where the next forward pass writes."""

    def __init__(self, rows: int, device: torch.device) -> None:
        super().__init__(layers=[])
        self.rows = rows
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.capacity = 0
        self._device = device
        self._visible_step = GPU_VISIBLE_SLOTS if on_gpu(device) else VISIBLE_SLOTS

    def aim(self, rows_M: Tensor | None, slots: Tensor, visible: int) -> int:
        """Let forward passes write `slots`, [M or 1, Q], of these rows; None: of all of them.

        Returns how many slots attention will see: `visible` rounded up.
        """
        self._visible = self.reserve(visible)
        self._chosen = rows_M
        rows_M = torch.arange(self.rows, device=self._device) if rows_M is None else rows_M
        self._target = (rows_M[:, None], slice(None), slots)
        return self._visible

    def reserve(self, slots: int) -> int:
        """Make room for so many slots; return how many attention sees where it sees them all."""
        visible = round_up(slots, self._visible_step)
        if visible > self.capacity:
            self.capacity = round_up(visible, CACHE_SLOTS)
            for stored in (self.keys, self.values):
                for index, tensor in enumerate(stored):
                    stored[index] = self._empty(tensor)
                    stored[index][:, :, : tensor.shape[2]] = tensor
        return visible

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **_more: Any
    ) -> tuple[Tensor, Tensor]:
        """Store new keys and values, [M, H, Q, D]; return what attention sees of these rows.

        The model calls it, layer by layer.
        """
        if layer_idx == len(self.keys):
            self.keys.append(self._empty(key_states))
            self.values.append(self._empty(value_states))
        return (
            self._write(self.keys[layer_idx], key_states),
            self._write(self.values[layer_idx], value_states),
        )

    def spread(self, length: int) -> None:
        """Copy the first `length` slots of row 0 to every row."""
        for stored in (*self.keys, *self.values):
            stored[1:, :, :length] = stored[:1, :, :length]

    def keep(self, rows_M: Tensor) -> None:
        """Keep the chosen rows, in their order, and forget the others."""
        self.rows = len(rows_M)
        for stored in (self.keys, self.values):
            for index, tensor in enumerate(stored):
                stored[index] = tensor[rows_M]

    def clear(self, row: int, start: int) -> None:
        """Make a row's slots zero from `start` on: no mask keeps a NaN out of a sum."""
        for stored in (*self.keys, *self.values):
            stored[row, :, start:] = 0

    def _write(self, stored: Tensor, states_MHQD: Tensor) -> Tensor:
        stored[self._target] = states_MHQD.transpose(1, 2)
        whole = stored[:, :, : self._visible]
        return whole if self._chosen is None else whole[self._chosen]

    def _empty(self, like: Tensor) -> Tensor:
        _, heads, _, width = like.shape
        return like.new_zeros(self.rows, heads, self.capacity, width)


class Decoder:
    """A model with `rows` places for texts."""

    def __init__(self, model: nn.Module, rows: int, longest: int = 0) -> None:
        """`longest` is how many tokens a text may have at most, if that is known."""
        self.stack, head, _ = decoder_and_head(model)
        self.rows = rows
        self._config: Any = self.stack.config
        self.dtype, self.device = head.weight.dtype, head.weight.device
        self._cache = SlotCache(rows, self.device)
        self._shared = 0
        self._graphs: Graphs | None = None
        self._parts = parts(head)
        self._prompt_tokens, self._head_rows = PROMPT_TOKENS, 0
        if on_gpu(self.device):
            self._prompt_tokens = GPU_PROMPT_TOKENS
            self._head_rows = decoded_rows(len(head.weight))
            self._graphs = Graphs(self._choose, self.device, possible=can_capture(model))
            # What is recorded reads and writes the cache where it lies: it had better not grow.
            self._cache.reserve(longest + max(GUESSES))

    def share(self, ids: Sequence[int]) -> None:
        """Compute what every prompt begins with, once, and give it to every row."""
        self._shared = len(ids)
        for start in range(0, len(ids), self._prompt_tokens):
            self._pass([0], [ids[start : start + self._prompt_tokens]], start, len(ids) - 1)
        self._cache.spread(len(ids))

    def prefill(self, prompts: Mapping[int, tuple[int, ...]]) -> None:
        """Put prompts, shared part included, into rows: all but the last token of each."""
        own = {row: ids[self._shared : -1] for row, ids in prompts.items()}
        left = sorted((row for row in own if own[row]), key=lambda row: -len(own[row]))
        most = self._prompt_tokens
        while left:
            length = min(round_up(len(own[left[0]]), ALIGN), most)
            chunk, left = left[: most // length], left[most // length :]
            # Padded with tokens of its own, so that a row's padding is as finite as the row.
            ids = [(*own[row], *own[row][-1:] * (length - len(own[row]))) for row in chunk]
            for start in range(0, len(ids[0]), most):
                piece = [row[start : start + most] for row in ids]
                last = self._shared + len(own[chunk[0]]) - 1
                self._pass(chunk, piece, self._shared + start, last)

    def step(
        self, texts: Mapping[int, tuple[list[int], int]]
    ) -> tuple[list[list[int]], list[list[bool]]]:
        """Take the newest tokens of rows, and the position of the first of them.

        Returns the most likely token after each of them, and whether all its logits are finite.
        Both lists are for all rows, those not in `texts` included: they are computed in vain.
        """
        # A row without a text writes behind the shared part, which its next text writes again.
        given = [texts.get(row, ([0], self._shared)) for row in range(self.rows)]
        length = max(len(ids) for ids, _ in given)
        if self._graphs is not None:
            length = next(wide for wide in _WIDTHS if length <= wide)
        # The ids of a row, the position of its first, and that of its last.
        numbers = [
            (*ids, *ids[-1:] * (length - len(ids)), at, at + len(ids) - 1) for ids, at in given
        ]
        visible = self._reserve(max(at for _, at in given) + length)
        answer = self._graphs or self._choose
        chosen, finite = answer(sent(numbers, self.device), visible).cpu()
        return chosen.tolist(), finite.bool().tolist()

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone, in their order."""
        self.rows = len(rows)
        self._cache.keep(sent(rows, self.device))
        self._forget()

    def places(self, texts: int) -> int:
        """Return how many rows to go on with for so many texts.

        A CPU gains by each eight rows less, and keeps kernels for each number of them. On a GPU
        steps of a quarter of the rows have to be recorded anew, and take hardly less time.
        """
        if self._graphs is not None:
            return next(few for few in (2 * 4**power for power in range(32)) if texts <= few)
        # 1, 2, 4, 8, 16, 24, …: a row less saves nothing.
        return next((few for few in (1, 2, 4) if texts <= few), round_up(texts, 8))

    def clear(self, row: int) -> None:
        """Forget a row's own text, which may have left NaN in the cache."""
        self._cache.clear(row, self._shared)

    def _pass(
        self, rows: Sequence[int], ids: Sequence[Sequence[int]], start: int, last: int
    ) -> None:
        """Fill slots of `rows` from `start` on. Only padding lies behind position `last`."""
        slots_1Q = torch.arange(start, start + len(ids[0]), device=self.device)[None]
        numbers = sent([(row, *own) for row, own in zip(rows, ids, strict=True)], self.device)
        visible = self._reserve(start + len(ids[0]))
        self._cache.aim(numbers[:, 0], slots_1Q, visible)
        # A model with an embedding for each position may have none behind the longest text.
        self._stack(numbers[:, 1:], slots_1Q.clamp(max=last), visible)

    def _choose(self, numbers: Tensor, visible: int) -> Tensor:
        """Return the most likely next tokens, and if logits are finite: int64 [2, B, Q].

        `numbers`, [B, Q + 2], are the ids of `step`, and the positions of the first and last of
        each row. This is what a GPU records: all else that it reads stays where it is.
        """
        ids_BQ, starts_B1, last_B1 = numbers[:, :-2], numbers[:, -2:-1], numbers[:, -1:]
        slots_BQ = starts_B1 + torch.arange(ids_BQ.shape[1], device=self.device)
        self._cache.aim(None, slots_BQ, visible)
        hidden_ND = self._stack(ids_BQ, slots_BQ.minimum(last_B1), visible).flatten(0, 1)
        return self._highest(hidden_ND).view(2, *ids_BQ.shape)

    def _highest(self, hidden_ND: Tensor) -> Tensor:
        found = [
            torch.stack((chosen_R, finite_R.long()))
            for hidden_RD in hidden_ND.split(self._head_rows or len(hidden_ND))
            for chosen_R, finite_R in [highest(hidden_RD, self._parts)]
        ]
        return torch.cat(found, dim=1)

    def _reserve(self, slots: int) -> int:
        """Make room in the cache; return how many slots attention will see."""
        before = self._cache.capacity
        visible = self._cache.reserve(slots)
        if self._cache.capacity > before:
            self._forget()
        return visible

    def _forget(self) -> None:
        """Record steps anew: the cache lies elsewhere."""
        if self._graphs is not None:
            self._graphs.clear()

    def _stack(self, ids: Tensor, positions: Tensor, visible: int) -> Tensor:
        hidden: Tensor = self.stack(
            input_ids=ids,
            attention_mask=self._masks(positions, visible),
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state
        return hidden

    def _masks(self, positions_BQ: Tensor, visible: int) -> Any:
        """Return what to add to attention's scores, [B, 1, Q, K], or one for each kind of layer."""
        slots_K = torch.arange(visible, device=self.device)
        seen_BQK = slots_K <= positions_BQ[:, :, None]
        window = getattr(self._config, "sliding_window", None)
        # Where a model has a window and says nothing of layers, all of them have it: Mistral.
        every = "sliding_attention" if window else "full_attention"
        kinds = set(getattr(self._config, "layer_types", None) or [every])
        masks = {"full_attention": self._additive(seen_BQK)}
        if "sliding_attention" in kinds:
            near_BQK = slots_K > positions_BQ[:, :, None] - self._config.sliding_window
            masks["sliding_attention"] = self._additive(seen_BQK & near_BQK)
        return masks if len(kinds) > 1 else masks[next(iter(kinds))]

    def _additive(self, seen_BQK: Tensor) -> Tensor:
        """Return 0 where a slot is seen, else the lowest number: what every attention takes."""
        lowest = torch.finfo(self.dtype).min
        hidden = torch.full((), lowest, dtype=self.dtype, device=self.device)
        return torch.where(seen_BQK, hidden.new_zeros(()), hidden)[:, None]


def parts(head: nn.Linear) -> list[Product]:
    """Return what multiplies by `DECODED_TILE` rows of the head at a time; on a GPU by all."""
    tile = len(head.weight) if on_gpu(head.weight.device) else DECODED_TILE
    weights = head.weight.split(tile)
    biases = [None] * len(weights) if head.bias is None else head.bias.split(tile)
    return [product(weight, bias) for weight, bias in zip(weights, biases, strict=True)]


def highest(hidden_BD: Tensor, parts: Sequence[Product]) -> tuple[Tensor, Tensor]:
    """Return the id of each row's highest logit, the first of equals, and if all are finite.

    A soft-cap is monotonic: it changes neither. Logits are made and read a part at a time, while
    they are in the CPU's cache; of the best part of each row they are kept, for finding the highest
    itself takes three times as long as its height.
    """
    if len(parts) == 1:
        logits_BV = parts[0](hidden_BD)
        return logits_BV.max(dim=-1).indices, logits_BV.sum(dim=-1).isfinite()
    rows = len(hidden_BD)
    top_B = hidden_BD.new_full((rows,), -torch.inf)
    start_B = torch.zeros(rows, dtype=torch.int64, device=hidden_BD.device)
    finite_B = torch.ones(rows, dtype=torch.bool, device=hidden_BD.device)
    best_BV = hidden_BD.new_full((rows, DECODED_TILE), -torch.inf)
    for start, part in enumerate(parts):
        logits_BV = part(hidden_BD)
        # One that is not finite makes the sum so, and a sum costs a fiftieth of looking at each.
        # Finite ones do it only if they are around 1e34: no distribution either.
        finite_B &= logits_BV.sum(dim=-1).isfinite()
        most_B = logits_BV.amax(dim=-1)
        better_N = (most_B > top_B).nonzero()[:, 0]
        top_B[better_N] = most_B[better_N]
        start_B[better_N] = start * DECODED_TILE
        wide = logits_BV.shape[1]
        best_BV[better_N, :wide] = logits_BV[better_N]
        best_BV[better_N, wide:] = -torch.inf
    return start_B + best_BV.max(dim=-1).indices, finite_B
