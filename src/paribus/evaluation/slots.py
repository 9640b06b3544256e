"""A cache of keys and values in which a token's slot is its position in its row's text.

    cache = SlotCache(rows=2)
    cache.aim(None, slots=tensor([[7], [3]]), visible=8)
    model(ids, past_key_values=cache, …)       # writes slot 7 of row 0, slot 3 of row 1

Nothing is appended: each layer has one tensor of keys and one of values, [rows, heads, K, width],
written in place, and attention reads a view of their first slots. The view grows by `VISIBLE_SLOTS`
at a time and K by `CACHE_SLOTS`, so few shapes ever occur: torch and oneDNN keep a kernel for each.

A slot that no mask hides has been written for the row's present text, for texts have no gaps. What
is left of an earlier text, or of padding, lies behind the row's position.

Shapes: M rows of the pass, H heads of keys, Q new slots of each, K slots, D numbers of a head.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from paribus.models.tiles import CACHE_SLOTS, VISIBLE_SLOTS, round_up


class SlotCache(Cache):
    """Keys and values of `rows` texts. `aim` says where the next forward pass writes."""

    def __init__(self, rows: int, device: torch.device) -> None:
        super().__init__(layers=[])
        self.rows = rows
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self._device = device
        self._capacity = 0

    def aim(self, rows_M: Tensor | None, slots: Tensor, visible: int) -> int:
        """Let forward passes write `slots`, [M or 1, Q], of these rows; None: of all of them.

        Returns how many slots attention will see: `visible` rounded up.
        """
        self._visible = round_up(visible, VISIBLE_SLOTS)
        self._chosen = rows_M
        rows_M = torch.arange(self.rows, device=self._device) if rows_M is None else rows_M
        self._target = (rows_M[:, None], slice(None), slots)
        if self._visible > self._capacity:
            self._capacity = round_up(self._visible, CACHE_SLOTS)
            for stored in (self.keys, self.values):
                for index, tensor in enumerate(stored):
                    stored[index] = self._empty(tensor)
                    stored[index][:, :, : tensor.shape[2]] = tensor
        return self._visible

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
        return like.new_zeros(self.rows, heads, self._capacity, width)
