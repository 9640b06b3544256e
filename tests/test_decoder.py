"""The engine under `generate`: places refilled, prompts in pieces, one cache, broken logits.

Counts stand in for timings: tokens of the shared part, of prompts, of padding, and steps.
"""

from collections import Counter

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from decoding import FULL, NEW, SLIDING, STOPS, Ids, brief, prompts_of, reference, wild
from paribus.evaluation.engine import decoder
from paribus.evaluation.engine.decoder import Decoder, SlotCache, highest, parts
from paribus.evaluation.engine.generate import generate
from paribus.models.load import decoder_and_head
from paribus.records import Generation, Stop

NAN, INFINITE = float("nan"), float("inf")
MANY = [f"{'How many? ' * (n % 4)}{n * n} pens" for n in range(1, 26)]


@pytest.fixture(scope="module")
def model(tiny):
    return wild(tiny, [SLIDING, FULL])


@pytest.fixture(scope="module")
def expected(model, tokenizer) -> list[tuple[str, int]]:
    return reference(model, prompts_of(tokenizer, 0, MANY))


@pytest.fixture
def passes(model):
    """Shapes [rows, tokens] of every call of the decoder stack."""
    shapes: list[tuple[int, int]] = []
    handle = decoder_and_head(model)[0].register_forward_pre_hook(
        lambda _module, _args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)),
        with_kwargs=True,
    )
    yield shapes
    handle.remove()


def run(model, prompts, *, batch_size, on_batch=lambda _: None, stops=STOPS) -> list[Generation]:
    return generate(
        model,
        Ids(),
        prompts,
        stop_ids=frozenset(stops),
        max_new_tokens=NEW,
        batch_size=batch_size,
        on_batch=on_batch,
    )


@pytest.mark.parametrize("batch_size", [1, 5, 16, 99])
def test_every_row_of_a_refilled_batch_is_what_hf_generates_alone(
    model, tokenizer, expected, batch_size
):
    done: list[int] = []
    prompts = prompts_of(tokenizer, 0, MANY)
    assert brief(run(model, prompts, batch_size=batch_size, on_batch=done.append)) == expected
    assert len(set(expected)) > 20
    assert done == sorted(set(done))
    assert done[-1] == len(MANY)


def test_neither_order_nor_company_changes_a_text(model, tokenizer):
    prompts = prompts_of(tokenizer, 1, MANY)
    found = run(model, prompts, batch_size=8)
    assert run(model, prompts[::-1], batch_size=8)[::-1] == found
    assert run(model, prompts[3:17], batch_size=5) == found[3:17]


def test_refilling_takes_fewer_steps_than_one_batch_after_the_other(model, tokenizer, passes):
    prompts = prompts_of(tokenizer, 0, MANY)
    lengths = [each.num_tokens for each in run(model, prompts, batch_size=8)]
    steps = sum(tokens < 32 for _, tokens in passes)
    longest_first = sorted(range(25), key=lambda n: -len(prompts[n].ids))
    batches = [[lengths[n] for n in longest_first[start : start + 8]] for start in (0, 8, 16, 24)]
    assert steps < sum(map(max, batches))
    assert sum(rows for rows, tokens in passes if tokens < 32) < 1.2 * sum(lengths)


def test_a_prompt_is_computed_once_and_logits_at_one_position_only(model, tokenizer, passes):
    prompts = prompts_of(tokenizer, 1, ["aa", "bbbb", "cc", "dddddddd"])
    shared = 1
    while len({prompt.ids[shared] for prompt in prompts}) == 1:
        shared += 1
    decoder = Decoder(model, 4)
    rows = Counter[str]()
    counted = [lambda x, part=part: rows.update(head=len(x)) or part(x) for part in decoder._parts]
    with torch.inference_mode():
        decoder.share(prompts[0].ids[:shared])
        decoder.prefill({row: prompt.ids for row, prompt in enumerate(prompts)})
        assert not rows
        decoder._parts = counted
        last = {row: ([each.ids[-1]], len(each.ids) - 1) for row, each in enumerate(prompts)}
        chosen, finite = decoder.step(last)
    own = max(len(prompt.ids) for prompt in prompts) - shared - 1
    assert passes == [(1, shared), (4, -(-own // 32) * 32), (4, 1)]
    assert rows["head"] == 4 * len(counted)
    assert finite == [[True]] * 4
    for prompt, [id] in zip(prompts, chosen, strict=True):
        assert id == model(torch.tensor([prompt.ids])).logits[0, -1].argmax()


@pytest.mark.parametrize("chunk", [32, 64, 96])
def test_long_prompts_are_computed_piece_by_piece(model, tokenizer, passes, monkeypatch, chunk):
    prompts = prompts_of(tokenizer, 1, ["y" * 150, "?", "z" * 100, "long " * 20])
    whole = run(model, prompts, batch_size=3)
    assert max(rows * tokens for rows, tokens in passes) > 150
    del passes[:]
    monkeypatch.setattr(decoder, "PROMPT_TOKENS", chunk)
    assert run(model, prompts, batch_size=3) == whole
    assert max(rows * tokens for rows, tokens in passes) <= chunk


def test_padding_needs_no_positions_that_a_model_lacks(tokenizer):
    """GPT-2 has an embedding for each position, here as many as the longest text takes."""
    prompts = prompts_of(tokenizer, 0, MANY[:5])
    longest = max(len(prompt.ids) for prompt in prompts)
    assert longest % 32 < 30
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=262, n_embd=32, n_layer=2, n_head=2, n_positions=longest + NEW - 1
    )
    gpt2 = GPT2LMHeadModel(config).eval()
    for weight in gpt2.parameters():
        weight.data *= 5 if weight.dim() > 1 else 1
    expected = reference(gpt2, prompts)
    short = GPT2Config(**{**config.to_dict(), "n_positions": longest})
    cut = GPT2LMHeadModel(short).eval()
    cut.load_state_dict(
        {name: w[:longest] if "wpe" in name else w for name, w in gpt2.state_dict().items()}
    )
    assert brief(run(gpt2, prompts, batch_size=3)) == expected
    first = generate(cut, Ids(), prompts, stop_ids=frozenset(), max_new_tokens=1, batch_size=3,
                     on_batch=lambda _: None)  # fmt: skip
    assert [each.text for each in first] == [text.split(" ")[0] for text, _ in expected]


def test_few_shapes_occur_however_many_lengths_there_are(model, tokenizer, passes):
    prompts = prompts_of(tokenizer, 1, ["q" * n for n in range(1, 60)])
    run(model, prompts, batch_size=16)
    assert len({len(prompt.ids) for prompt in prompts}) == 59
    assert {tokens for _, tokens in passes[1:]} <= {1, 2, 4, 8, 32, 64, 96}
    assert {rows for rows, tokens in passes if tokens < 32} <= {16, 8, 4, 2, 1}


def test_a_place_after_a_broken_text_is_as_good_as_new(model, tokenizer, tiny):
    """The letter Z is not a number to this model; whoever comes next gets the same place."""
    broken = wild(tiny, [SLIDING, FULL])
    letter = tokenizer.encode("Z", add_special_tokens=False)
    broken.get_input_embeddings().weight[letter] = NAN
    questions = ["Zoe " * 30, "Z?", "Zz" * 50, *MANY[:9]]  # long ones leave most behind
    found = run(broken, prompts_of(tokenizer, 0, questions), batch_size=2, stops=letter)
    assert [each.stop for each in found[:3]] == [Stop.FAILED] * 3
    healthy = run(model, prompts_of(tokenizer, 0, questions[3:]), batch_size=2, stops=letter)
    assert found[3:] == healthy
    assert Stop.FAILED not in {each.stop for each in healthy}


def head_of(rows: list[list[float]], bias: list[float] | None = None) -> nn.Linear:
    """A head that gives hidden state `one-hot(n)` the logits `rows[n]`."""
    head = nn.Linear(len(rows), len(rows[0]), bias=bias is not None)
    with torch.no_grad():
        head.weight.copy_(torch.tensor(rows).T)
        if bias is not None:
            head.bias.copy_(torch.tensor(bias))
    return head


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("vocabulary", [1, 2, 3, 5, 100])
def test_the_highest_logit_is_found_in_any_part_of_the_vocabulary(monkeypatch, dtype, vocabulary):
    monkeypatch.setattr(decoder, "DECODED_TILE", vocabulary)
    rows = [[1.0, 5, 2, 5, 0], [-9.0, -3, -2, -7, -2], [0.0] * 5, [1.0, 2, 3, 4, 5], [7.0] * 5]
    with torch.inference_mode():
        chosen, finite = highest(torch.eye(5, dtype=dtype), parts(head_of(rows).to(dtype)))
        assert chosen.tolist() == [1, 2, 0, 4, 0]
        assert finite.tolist() == [True] * 5
        biased = head_of(rows, [0.0, 0, 0, 9, 0]).to(dtype)
        assert highest(torch.eye(5, dtype=dtype), parts(biased))[0].tolist() == [3] * 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("place", [0, 3, 70, 999])
@pytest.mark.parametrize("value", [NAN, -NAN, INFINITE, -INFINITE])
def test_one_logit_that_is_not_finite_is_seen(monkeypatch, dtype, place, value):
    monkeypatch.setattr(decoder, "DECODED_TILE", 64)
    head = nn.Linear(1, 1000, bias=True).to(dtype)
    with torch.inference_mode():
        one = torch.ones(2, 1, dtype=dtype)
        assert highest(one, parts(head))[1].tolist() == [True, True]
        head.bias[place] = value
        assert highest(one, parts(head))[1].tolist() == [False, False]


def test_infinities_do_not_cancel():
    head = nn.Linear(1, 1000, bias=True)
    with torch.inference_mode():
        head.bias[5], head.bias[6] = INFINITE, -INFINITE
        assert highest(torch.ones(1, 1), parts(head))[1].tolist() == [False]


def test_rows_of_different_lengths_share_a_cache(monkeypatch):
    """Keys are slot numbers: what attention sees tells where each was written."""
    monkeypatch.setattr(decoder, "VISIBLE_SLOTS", 4)
    monkeypatch.setattr(decoder, "CACHE_SLOTS", 8)
    cache = SlotCache(3, torch.device("cpu"))

    def put(rows, slots_MQ, values, visible) -> list[list[float]]:
        chosen = None if rows is None else torch.tensor(rows)
        cache.aim(chosen, torch.tensor(slots_MQ), visible)
        states = torch.tensor(values)[:, None, :, None]
        return cache.update(states, -states, 0)[0][:, 0, :, 0].tolist()

    assert put([0], [[0, 1]], [[1.0, 2.0]], 2) == [[1, 2, 0, 0]]
    cache.spread(2)
    assert put([2, 1], [[2, 3]], [[3.0, 4.0], [5.0, 6.0]], 4) == [[1, 2, 3, 4], [1, 2, 5, 6]]
    assert put(None, [[2], [4], [4]], [[7.0], [8.0], [9.0]], 5) == [
        [1, 2, 7, 0, 0, 0, 0, 0], [1, 2, 5, 6, 8, 0, 0, 0], [1, 2, 3, 4, 9, 0, 0, 0],
    ]  # fmt: skip
    before = cache.keys[0]
    put(None, [[3], [5], [7]], [[0.5], [0.5], [0.5]], 8)
    assert cache.keys[0] is before
    put(None, [[4], [6], [8]], [[0.5], [0.5], [0.5]], 9)
    assert (before.shape[2], cache.keys[0].shape[2]) == (8, 16)
    cache.clear(1, 2)
    cache.keep(torch.tensor([2, 1]))
    assert cache.rows == 2
    assert put(None, [[9], [2]], [[0.25], [0.25]], 10) == [
        [1, 2, 3, 4, 9, 0, 0, 0.5, 0.5, 0.25, 0, 0], [1, 2, 0.25, *[0] * 9],
    ]  # fmt: skip
    assert torch.equal(cache.values[0], -cache.keys[0])
