"""Texts that lie end to end in one pass attend as if each were alone, in every family of models."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from transformers import AttentionInterface

from families import FAMILIES
from families import tiny as tiny_family
from paribus.errors import ModelError
from paribus.models.fast import attention
from paribus.models.fast.attention import attend, packed
from paribus.models.load import decoder_and_head
from paribus.training.trainer import RECOMPUTING

LENGTHS = [5, 1, 23, 8]
DIM = 16
HEADS = pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (4, 1)])
WINDOWS = pytest.mark.parametrize("window", [None, 7, 23, 100])
CAPS = pytest.mark.parametrize("softcap", [None, 1.5])

TEXTS = [(2, *range(20, 60)), (2, *range(70, 95)), (2,)]
SMALL = {"num_key_value_heads": 1, "intermediate_size": 64, "num_local_experts": 4,
         "num_experts": 4, "num_experts_per_tok": 2}  # fmt: skip
"""Sizes that not every family has."""
WINDOW = 16
WINDOWED = {"gemma2", "gemma3_text", "gpt_oss", "mistral", "mixtral", "phi3", "starcoder2"}
"""Families that know a sliding window; two of the texts are longer than it."""


def states(heads: int, kv_heads: int) -> list[Tensor]:
    """Queries, keys and values of all texts, with scores of about ±3, which a cap of 1.5 bends."""
    generator = torch.Generator().manual_seed(heads * kv_heads)
    shapes = [(1, each, sum(LENGTHS), DIM) for each in (heads, kv_heads, kv_heads)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def end_to_end(query, key, value, **how: Any) -> Tensor:
    begins = torch.tensor([0, *LENGTHS]).cumsum(0, dtype=torch.int32)
    mask = packed([[0] * length for length in LENGTHS])["attention_mask"]
    how = {**how, "cu_seq_lens_q": begins, "text_lengths": tuple(LENGTHS)}
    found, _ = attend(nn.Module(), query, key, value, mask, **how)
    return found


def by_definition(query, key, value, window: int | None, softcap: float | None) -> Tensor:
    """One text: token i sees itself and the window - 1 before it; written out in float64."""
    query, key, value = (each.double() for each in (query, key, value))
    shared = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(shared, dim=1) for each in (key, value))
    scores = query @ key.transpose(2, 3) / DIM**0.5
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    for i in range(scores.shape[2]):
        for j in range(scores.shape[3]):
            if j > i or (window is not None and j <= i - window):
                scores[:, :, i, j] = float("-inf")
    return (scores.softmax(-1) @ value).transpose(1, 2)


@CAPS
@WINDOWS
@HEADS
def test_each_text_attends_to_itself_alone(heads, kv_heads, window, softcap):
    """Values and all three gradients."""
    given = [each.requires_grad_() for each in states(heads, kv_heads)]
    found = end_to_end(*given, sliding_window=window, softcap=softcap)
    assert found.shape == (1, sum(LENGTHS), heads, DIM)
    texts = zip(*(each.split(LENGTHS, dim=2) for each in given), strict=True)
    expected = torch.cat([by_definition(*text, window, softcap) for text in texts], dim=1)
    assert_close(found.double(), expected, rtol=0, atol=1e-6)

    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(0))
    grads, exact = (
        torch.autograd.grad((each * direction).sum(), given) for each in (found, expected)
    )
    for grad, exact_grad in zip(grads, exact, strict=True):
        assert_close(grad, exact_grad, rtol=0, atol=1e-5)


@CAPS
@WINDOWS
@HEADS
def test_a_changed_token_of_one_text_changes_nothing_of_another(heads, kv_heads, window, softcap):
    """To the bit; and of its own text nothing before it."""
    how = {"sliding_window": window, "softcap": softcap}
    before = end_to_end(*states(heads, kv_heads), **how)
    changed = 5 + 1 + 10  # in the third text
    given = states(heads, kv_heads)
    for each in given:
        each[:, :, changed] += 1.0
    differs = (end_to_end(*given, **how) != before).any(dim=3).any(dim=2)[0].nonzero()[:, 0]
    reach = min(changed + (window or 100), 5 + 1 + 23)
    assert differs.tolist() == list(range(changed, reach))


@pytest.mark.parametrize("softcap", [None, 1.5])
def test_the_scale_of_a_model_is_used(softcap):
    query, key, value = states(4, 2)
    scaled = end_to_end(query, key, value, scaling=0.1, softcap=softcap)
    assert_close(end_to_end(query * 0.1 * DIM**0.5, key, value, softcap=softcap), scaled)


@pytest.mark.parametrize("softcap", [None, 1.5])
def test_dropout_drops(softcap):
    torch.manual_seed(0)
    query, key, _ = states(4, 2)
    ones = torch.ones_like(key)
    kept = end_to_end(query, key, ones, dropout=0.5, softcap=softcap)
    assert 0.2 < kept.std() < 1.0
    assert kept.mean() == pytest.approx(1.0, abs=0.1)
    assert_close(end_to_end(query, key, ones, dropout=0.0, softcap=softcap), torch.ones_like(kept))


def test_what_packed_says():
    made = packed([(2, 10, 11), (2, 20)])
    assert made.pop("text_lengths") == (3, 2)
    assert {name: each.tolist() for name, each in made.items() if name != "attention_mask"} == {
        "input_ids": [[2, 10, 11, 2, 20]],
        "position_ids": [[0, 1, 2, 0, 1]],
        "cu_seq_lens_q": [0, 3, 5],
    }
    assert made["cu_seq_lens_q"].dtype is torch.int32


def wild(family: str) -> Any:
    """A tiny model whose weights are so large that every token depends on all that it sees."""
    window = {"sliding_window": WINDOW} if family in WINDOWED else {}
    model: Any = tiny_family(family, **SMALL, **window)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3).add_(0.1 * torch.randn_like(parameter) * (parameter.dim() == 1))
    return model


def alone(model: Any) -> Tensor:
    decoder, _, _ = decoder_and_head(model)
    passes = [decoder(input_ids=torch.tensor([text]), use_cache=False) for text in TEXTS]
    return torch.cat([each.last_hidden_state for each in passes], dim=1)


def together(model: Any) -> Tensor:
    decoder, _, _ = decoder_and_head(model)
    found: Tensor = decoder(**packed(TEXTS), use_cache=False).last_hidden_state
    return found


REFUSED = {"falcon": "its own attention", "gpt_oss": "has sinks", "stablelm": "its own attention"}


@pytest.mark.parametrize(("family", "why"), REFUSED.items())
def test_what_would_let_texts_see_each_other_is_refused(family: str, why: str) -> None:
    model = wild(family)

    def read() -> None:
        attention.use(model)
        together(model)

    with pytest.raises(ModelError, match=why):
        read()


@torch.no_grad()
@pytest.mark.parametrize(
    "family", sorted({*FAMILIES, "gemma2", "mistral", "olmo2"} - REFUSED.keys())
)
def test_hidden_states_are_those_of_each_text_alone(family: str) -> None:
    """Against the family's attention as transformers has it; with paribus's, packed and not."""
    model = wild(family)
    own = alone(model)
    attention.use(model)
    assert_close(together(model), own, rtol=0, atol=2e-5)
    assert_close(alone(model), own, rtol=0, atol=2e-5)


@pytest.mark.parametrize("family", ["gemma3_text", "gemma2", "llama"])
def test_gradients_are_those_of_each_text_alone(family: str) -> None:
    """With recomputed activations too."""
    model = wild(family)
    found = {}
    for how in (alone, together, "recomputed"):
        model.zero_grad()
        if how == "recomputed":
            getattr(model, f"{RECOMPUTING}_enable")({"use_reentrant": False})
            model.train()
        if how is not alone:
            attention.use(model)
        hidden = (alone if how is alone else together)(model)
        direction = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(0))
        (hidden * direction).sum().backward()
        found[how] = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    assert found[alone].keys() == found[together].keys() == found["recomputed"].keys()
    for name, expected in found[alone].items():
        largest = float(expected.abs().max())
        assert_close(found[together][name], expected, rtol=0, atol=1e-5 * largest, msg=name)
        assert torch.equal(found["recomputed"][name], found[together][name]), name


def test_a_loaded_model_attends_so(tiny):
    from paribus.models.load import load_model
    from paribus.models.source import find_model

    model: Any = load_model(find_model(str(tiny), None), torch.float32, torch.device("cpu"))
    assert AttentionInterface()[model.config._attn_implementation] is attend
    with torch.no_grad():
        assert_close(together(model), alone(model), rtol=1e-6, atol=1e-6)


@HEADS
@pytest.mark.parametrize("tokens", [1, 4, 30])
@pytest.mark.parametrize("additive", [False, True])
def test_heads_that_share_keys_are_as_if_each_had_its_own(heads, kv_heads, tokens, additive):
    """Decoding: new tokens of three rows, and a mask of what each of them sees in its cache."""
    generator = torch.Generator().manual_seed(tokens)
    slots = 40
    query = torch.randn(3, heads, tokens, DIM, generator=generator)
    key, value = (torch.randn(3, kv_heads, slots, DIM, generator=generator) for _ in range(2))
    last = torch.tensor([9, 3, 2])[:, None] + torch.arange(tokens)
    seen = (torch.arange(slots) <= last[:, :, None])[:, None]
    mask = torch.where(seen, 0.0, torch.finfo(torch.float32).min) if additive else seen
    found, _ = attend(nn.Module(), query, key, value, mask)
    groups = heads // kv_heads
    for row in range(3):
        for head in range(heads):
            scores = query[row, head] @ key[row, head // groups].T / DIM**0.5
            weights = scores.masked_fill(~seen[row, 0], -torch.inf).softmax(-1)
            assert_close(found[row, :, head], weights @ value[row, head // groups])
