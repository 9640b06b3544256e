"""One pass: the texts that share it, and the loss that the model has on them.

    loss = PassLoss(model, torch.bfloat16)(collate(examples), divisor)

The examples end to end, T tokens in all:

    input_ids_1T   bos q  q  q  a  a  eos | bos q  q  a  eos
    labels_1T      -100 … -100  a  a  eos | -100 …    a  eos
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from paribus.models.fast.attention import packed
from paribus.models.load import decoder_and_head
from paribus.prompts.encode import Encoded
from paribus.training.loss import CompletionLoss

IGNORED = -100
"""Label of positions without loss: the convention the Trainer counts target tokens by."""


def collate(examples: Sequence[Encoded]) -> dict[str, Any]:
    """Return one pass: what `packed` makes of the examples, `labels`, int64 [1, T], and `places`.

    `places`, int64 [N], are the tokens that predict a label. They are found here, where labels are
    in the process's own memory: to index by a condition would stop a GPU until it is counted.
    Nothing is padded, so where the padding token equals the stop token, stopping is still learnt.
    """
    labels = [
        token if place >= example.prompt_length else IGNORED
        for example in examples
        for place, token in enumerate(example.ids)
    ]
    # A text's first token is never a target, so no token predicts another text's.
    places = [place for place, label in enumerate(labels[1:]) if label != IGNORED]
    return {
        **packed([example.ids for example in examples]),
        "labels": torch.tensor([labels]),
        "places": torch.tensor(places),
    }


@contextmanager
def noisy(embedding: nn.Module, alpha: float | None, cu_seq_lens: Tensor) -> Iterator[None]:
    """Add uniform noise of up to alpha / sqrt(L · d) to what `embedding` returns, [1, T, d].

    `cu_seq_lens` says where each text begins; L is the number of its own tokens. It is drawn from
    torch's generator of the device. With None as `alpha` nothing is added.
    """
    if alpha is None:
        yield
        return
    lengths_N = cu_seq_lens.diff().long()

    def add(_module: nn.Module, _inputs: Any, embedded_1TD: Tensor) -> Tensor:
        # Their sum is stated, or a GPU would be stopped for it.
        lengths_T = lengths_N.repeat_interleave(lengths_N, output_size=embedded_1TD.shape[1])
        most_T1 = alpha * (lengths_T * embedded_1TD.shape[-1]).rsqrt()[:, None]
        noise_1TD = torch.empty_like(embedded_1TD, dtype=torch.float32).uniform_(-1, 1) * most_T1
        return embedded_1TD + noise_1TD.to(embedded_1TD.dtype)

    hook = embedding.register_forward_hook(add)
    try:
        yield
    finally:
        hook.remove()


class PassLoss(nn.Module):
    """A model with its loss at its end, so that what wraps a module's forward sees all of a pass.

    Its weights are those of `model`, which it computes in `compute`, with the noise of NEFTune if
    `noise` is its alpha.
    """

    def __init__(
        self,
        model: nn.Module,
        compute: torch.dtype,
        noise: float | None = None,
        *,
        by_autograd: bool = False,
    ) -> None:
        super().__init__()
        self.model, self.compute, self.noise = model, compute, noise
        self.by_autograd = by_autograd
        self.settle()

    def settle(self) -> None:
        """Make the loss for the weights as they are by now, and where they are."""
        _, head, softcap = decoder_and_head(self.model)
        self.loss = CompletionLoss(head.weight, self.compute, softcap, by_autograd=self.by_autograd)

    def forward(self, batch: dict[str, Any], divisor: Tensor | float) -> Tensor:
        """Return the loss of what `collate` made over `divisor` target tokens, a scalar in fp32."""
        labels_1T, places_N = batch["labels"], batch["places"]
        inputs = {name: batch[name] for name in batch if name not in ("labels", "places")}
        device = labels_1T.device.type
        found = decoder_and_head(self.model)
        decoder: Any = found[0]
        if self.by_autograd:
            self.loss.head_VD = found[1].weight  # a sharded one is whole only meanwhile
        with (
            noisy(decoder.get_input_embeddings(), self.noise, inputs["cu_seq_lens_q"]),
            torch.autocast(device, self.compute, enabled=self.compute is not torch.float32),
        ):
            hidden_1TD = decoder(**inputs, use_cache=False).last_hidden_state
        hidden_ND = hidden_1TD[0].index_select(0, places_N).to(self.compute)
        labels_N = labels_1T[0].index_select(0, places_N + 1)
        with torch.autocast(device, enabled=False):
            return self.loss(hidden_ND, labels_N, divisor)
