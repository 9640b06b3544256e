"""Logits a tile at a time: how many exist at once, and what belongs to the labels among them.

    for start in range(0, V, TILE):
        logits_RW = …                                           # columns start … start + W
        label_R = at_labels(logits_RW, labels_R, start, label_R)     # where a label is one of them

Shapes: R rows of a block, V vocabulary, W columns of a tile.
"""

import torch
from torch import Tensor

from paribus.errors import ModelError


def refuse_outside(labels_N: Tensor, vocabulary: int) -> None:
    """Raise ModelError for labels that no column belongs to: a loss would do without theirs."""
    if not len(labels_N):
        return
    least, most = (int(each) for each in labels_N.aminmax())
    if least < 0 or most >= vocabulary:
        raise ModelError(
            f"tokens {least} to {most} are to be predicted, and the model has only 0 to "
            f"{vocabulary - 1}",
            "use the tokenizer that the model was published with, or resize the model's embedding",
        )


def at_labels(values_RW: Tensor, labels_R: Tensor, start: int, otherwise_R: Tensor) -> Tensor:
    """Return each row's value at its label; `otherwise_R` where the label is in another tile."""
    wide = values_RW.shape[1]
    inside_R = (labels_R >= start) & (labels_R < start + wide)
    at_R1 = (labels_R - start).clamp(0, wide - 1)[:, None]
    return torch.where(inside_R, values_RW.gather(1, at_R1)[:, 0], otherwise_R)
