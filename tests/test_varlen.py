"""Attention over all texts of a pass in one call: by whom, and that it is what a loop gives.

Nothing here runs on a GPU: flash-attention's own function is a stand-in, which transformers calls
as it calls the real one, and `flex_attention` is not compiled.
"""

import sys
from contextlib import nullcontext
from types import ModuleType

import pytest
import torch
import transformers.modeling_flash_attention_utils as of_transformers
from torch import Tensor, nn
from torch.nn.attention import flex_attention as of_torch
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close

from gpu_ways import STOPS, Counted
from paribus.models.fast import varlen
from paribus.models.fast.attention import attend

LENGTHS = (5, 130, 1, 300, 27, 128)
DIM = 16
HEADS = pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (4, 1)])
WINDOWS = pytest.mark.parametrize("window", [None, 1, 7, 128, 200])


def bounds_of(lengths=LENGTHS) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0, dtype=torch.int32)


def states(heads: int, kv_heads: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(heads * kv_heads)
    shapes = [(1, each, sum(LENGTHS), DIM) for each in (heads, kv_heads, kv_heads)]
    return [torch.randn(s, generator=generator).requires_grad_() for s in shapes]


def attended(given: list[Tensor], **how) -> list[Tensor]:
    """Values, and the gradients of queries, keys and values."""
    bounds = {"cu_seq_lens_q": bounds_of(), "text_lengths": LENGTHS}
    found, _ = attend(nn.Module(), *given, None, **bounds, **how)
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(0))
    return [found, *torch.autograd.grad((found * direction).sum(), given)]


@pytest.fixture
def fits(monkeypatch):
    """fp32 on a CPU is taken for what a GPU's kernels take."""
    monkeypatch.setattr(varlen, "fits", lambda query: True)
    monkeypatch.setattr(varlen, "varlen_attn", None)
    varlen._flash.cache_clear()
    yield
    varlen._flash.cache_clear()


@pytest.fixture
def flex(fits, monkeypatch):
    """Not compiled; torch refuses gradients on a CPU, which it computes all the same."""
    monkeypatch.setattr(of_torch, "_validate_device", lambda *_: None)
    monkeypatch.setattr(varlen, "_compiled", lambda: of_torch.flex_attention)
    monkeypatch.setattr(varlen, "_flex_works", lambda *_: True)


@HEADS
@WINDOWS
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_flex_gives_what_the_loop_over_texts_gives(flex, heads, kv_heads, window, scaling):
    given = states(heads, kv_heads)
    how = {"sliding_window": window, "softcap": 1.5, "scaling": scaling}
    found = attended(given, **how)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(varlen, "fits", lambda query: False)
        expected = attended(given, **how)
    for tensor, of_loop in zip(found, expected, strict=True):
        assert_close(tensor, of_loop, rtol=1e-4, atol=2e-5)


@WINDOWS
@pytest.mark.parametrize("lengths", [LENGTHS, (5, 1), (128, 128), (1,) * 300, (700,)])
def test_a_mask_of_blocks_holds_every_pair_that_sees(lengths, window):
    """No block without such a pair: to look at it would be for nothing."""
    tokens, width = sum(lengths), varlen.BLOCK
    text = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    place = torch.arange(tokens)
    back = place[:, None] - place
    sees = (text[:, None] == text) & (back >= 0) & (back < (window or tokens))
    blocks = -(-tokens // width)
    padded = torch.zeros(blocks * width, blocks * width, dtype=torch.bool)
    padded[:tokens, :tokens] = sees
    expected = padded.view(blocks, width, blocks, width).any(3).any(1)
    mask = varlen.block_mask(bounds_of(lengths), tokens, window)
    assert torch.equal(mask.to_dense()[0, 0].bool(), expected)
    at = torch.tensor(0)
    everywhere = mask.mask_mod(at, at, place[:, None], place)
    assert torch.equal(everywhere, sees)


def test_layers_of_a_pass_share_a_mask_made_without_asking():
    bounds, kept = bounds_of(), len(varlen._masks)
    with Counted() as counted:
        masks = [varlen.block_mask(bounds, sum(LENGTHS), window) for window in (None, 7, None, 7)]
    assert masks[0] is masks[2]
    assert masks[1] is masks[3]
    assert masks[0] is not masks[1]
    assert not STOPS & counted.names.keys()
    assert counted.names["searchsorted"] == 2
    assert len(varlen._masks) == kept + 1
    del bounds
    assert len(varlen._masks) == kept


def test_a_mask_takes_nothing_of_the_cpus_memory():
    from test_gpu_memory import THERE, OnDevice

    with OnDevice() as watched:
        varlen.block_mask(torch.empty(7, dtype=torch.int32, device=THERE), 300, 50)
    assert watched.here == []


def test_where_flex_cannot_be_compiled_texts_are_attended_one_by_one(fits, monkeypatch):
    def compiler():
        raise RuntimeError("no C compiler")

    monkeypatch.setattr(varlen, "_compiled", compiler)
    monkeypatch.setattr(varlen, "_works", {})
    given = states(4, 2)
    with pytest.warns(UserWarning, match="text by text: no C compiler"):
        found = attended(given, softcap=1.5)
    again = attended(given, softcap=1.5)  # it is not tried, nor said, again
    monkeypatch.setattr(varlen, "fits", lambda query: False)
    for tensor, expected, second in zip(found, attended(given, softcap=1.5), again, strict=True):
        assert torch.equal(tensor, expected)
        assert torch.equal(second, expected)


def test_a_flex_that_computes_something_else_is_not_taken(fits, monkeypatch):
    def wrong(query, key, value, **how):
        return of_torch.flex_attention(query, key, value, **{**how, "score_mod": None})

    monkeypatch.setattr(of_torch, "_validate_device", lambda *_: None)
    for flex, works in ((of_torch.flex_attention, True), (wrong, False)):
        monkeypatch.setattr(varlen, "_works", {})
        monkeypatch.setattr(varlen, "_compiled", lambda flex=flex: flex)
        said = nullcontext() if works else pytest.warns(UserWarning, match="text by text: Tensor")
        with said:
            assert varlen._flex_works(states(4, 2)[0], None, 1.5) == works


class Installed:
    """flash-attention as transformers finds it, with what its function was called with."""

    def __init__(self, monkeypatch, *versions: int, release: str = "2.8.3") -> None:
        self.calls: list[dict] = []
        for version in (2, 3, 4):
            found = version in versions
            name = f"is_flash_attn_{version}_available"
            for module in (varlen.transformers.utils, of_transformers):
                monkeypatch.setattr(module, name, lambda *_, found=found, **__: found)
        monkeypatch.setattr(
            varlen.transformers.utils,
            "is_flash_attn_greater_or_equal",
            lambda least: 2 in versions and release >= least,
        )
        monkeypatch.setattr(of_transformers, "_loaded_implementation", None)
        package = ModuleType("flash_attn")
        padding = ModuleType("flash_attn.bert_padding")
        padding.pad_input = padding.unpad_input = None
        package.flash_attn_func = package.flash_attn_with_kvcache = None
        package.flash_attn_varlen_func = self.attend
        later = ModuleType("flash_attn_interface")
        later.__dict__.update(
            flash_attn_func=None, flash_attn_with_kvcache=None, flash_attn_varlen_func=self.without
        )
        newest = ModuleType("flash_attn.cute")
        newest.__dict__.update(flash_attn_func=None, flash_attn_varlen_func=self.without)
        for module in (package, padding, later, newest):
            monkeypatch.setitem(sys.modules, module.__name__, module)

    def attend(  # noqa: PLR0913  # flash-attention's interface
        self, q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p=0.0,
        softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0, deterministic=False,
    ):  # fmt: skip
        """[T, heads, dim], as version 2."""
        self.calls.append({"dropout": dropout_p, "softcap": softcap, "window": window_size})
        assert causal
        assert cu_seqlens_q is cu_seqlens_k
        assert (max_seqlen_q, max_seqlen_k) == (max(LENGTHS),) * 2
        edges, parts = cu_seqlens_q.tolist(), []
        for start, stop in zip(edges, edges[1:], strict=False):
            query, key, value = (x[start:stop].transpose(0, 1)[None] for x in (q, k, v))
            back = torch.arange(stop - start)[:, None] - torch.arange(stop - start)
            sees = (back >= 0) & (back <= (window_size[0] if window_size[0] >= 0 else stop))
            how = {"scale": softmax_scale, "enable_gqa": True}
            part = scaled_dot_product_attention(query, key, value, sees, **how)
            parts.append(part[0].transpose(0, 1))
        return torch.cat(parts)

    def without(  # noqa: PLR0913  # flash-attention's interface
        self, q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k,
        softmax_scale=None, causal=False, window_size=(-1, -1),
    ):  # fmt: skip
        """The same without dropout, as versions 3 and 4, which return their normalisers too."""
        how = {"softmax_scale": softmax_scale, "causal": causal, "window_size": window_size}
        at = (cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k)
        return self.attend(q, k, v, *at, **how), None


@HEADS
@pytest.mark.parametrize("window", [None, 7, 200])
@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_flash_attention_gives_what_the_loop_over_texts_gives(
    fits, monkeypatch, heads, kv_heads, window, version, scaling
):
    flash = Installed(monkeypatch, version)
    given = states(heads, kv_heads)
    found = attended(given, sliding_window=window, scaling=scaling)
    assert len(flash.calls) == 1
    monkeypatch.setattr(varlen, "fits", lambda query: False)
    expected = attended(given, sliding_window=window, scaling=scaling)
    assert len(flash.calls) == 1
    for tensor, of_loop in zip(found, expected, strict=True):
        assert_close(tensor, of_loop, rtol=1e-4, atol=2e-5)


def test_flash_attention_2_drops_and_caps(fits, monkeypatch):
    flash = Installed(monkeypatch, 2, 3)
    attended(states(4, 2), dropout=0.25, softcap=50.0)
    assert flash.calls == [{"dropout": 0.25, "softcap": 50.0, "window": (-1, -1)}]


@pytest.mark.parametrize(
    ("versions", "release", "drops", "caps", "chosen"),
    [
        ((), "", False, False, None),
        ((2,), "2.8.3", False, False, "flash_attention_2"),
        ((2, 3), "2.8.3", False, False, "flash_attention_3"),
        ((2, 3, 4), "2.8.3", False, False, "flash_attention_4"),
        ((2, 3, 4), "2.8.3", True, False, "flash_attention_2"),
        ((2, 3, 4), "2.8.3", False, True, "flash_attention_2"),
        ((2,), "2.5.9", False, True, None),
        ((3, 4), "", True, False, None),
    ],
)
def test_which_flash_attention_is_taken(fits, monkeypatch, versions, release, drops, caps, chosen):
    Installed(monkeypatch, *versions, release=release)
    assert varlen._flash(drops, caps) == chosen


def test_torchs_own_comes_first_and_flex_last(fits, monkeypatch):
    flash = Installed(monkeypatch, 2)
    taken = []
    monkeypatch.setattr(varlen, "varlen_attn", object())
    monkeypatch.setattr(varlen, "_by_torch", lambda query, *_: taken.append("torch") or query)
    monkeypatch.setattr(varlen, "_flex_works", lambda *_: pytest.fail("flex was looked at"))
    query, key, value = states(4, 2)
    varlen.at_once(query, key, value, bounds_of(), max(LENGTHS))
    assert (taken, flash.calls) == (["torch"], [])
    varlen.at_once(query, key, value, bounds_of(), max(LENGTHS), softcap=50.0)
    assert (taken, len(flash.calls)) == (["torch"], 1)


@pytest.mark.parametrize(
    ("dtype", "width", "fitting"),
    [
        (torch.bfloat16, 256, True),
        (torch.float16, 8, True),
        (torch.float32, 64, False),
        (torch.bfloat16, 264, False),
        (torch.bfloat16, 20, False),
    ],
)
def test_what_a_gpus_kernels_take(monkeypatch, dtype, width, fitting):
    query = torch.empty(1, 1, 2, width, dtype=dtype)
    assert not varlen.fits(query)  # on a CPU
    monkeypatch.setattr(varlen, "on_gpu", lambda device: True)
    assert varlen.fits(query) == fitting
