"""Decoding as a GPU computes it, by a stand-in for the device: what it is asked, and its texts."""

from functools import partial

import pytest
import torch
from transformers import GemmaConfig, GemmaForCausalLM

from decoding import FULL, NEW, SLIDING, STOPS, Ids, brief, prompts_of, wild
from gpu_stand_in import StandIn, put
from paribus.evaluation.engine import decoder, decoding, generate, graphs
from paribus.evaluation.engine.likelihood import likelihoods
from paribus.models.load import for_inference
from paribus.prompts.encode import Encoded

MANY = [f"{'How many? ' * (n % 4)}{n * n} pens" for n in range(1, 26)]


@pytest.fixture
def as_gpu(monkeypatch):
    """The ways of a GPU, whatever computes."""
    for module in (decoder, decoding):
        monkeypatch.setattr(module, "on_gpu", lambda _: True)


@pytest.fixture
def recorded(monkeypatch):
    """A stand-in for the device, and for CUDA graphs."""
    gpu = StandIn()
    monkeypatch.setattr(graphs, "new_pool", lambda _: object())
    monkeypatch.setattr(graphs, "refuse_waits", lambda run: run())
    monkeypatch.setattr(graphs, "capture", gpu.capture)
    return gpu


def deep() -> GemmaForCausalLM:
    """A narrow Gemma as deep as Gemma 2B."""
    torch.manual_seed(0)
    config = GemmaConfig(
        vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=18,
        num_attention_heads=4, num_key_value_heads=1, head_dim=8, attn_implementation="sdpa",
    )  # fmt: skip
    return for_inference(GemmaForCausalLM(config), torch.float32)


def texts(model, prompts, batch_size=8):
    return generate.generate(
        model, Ids(), prompts, stop_ids=frozenset(STOPS), max_new_tokens=NEW,
        batch_size=batch_size, on_batch=lambda _: None,
    )  # fmt: skip


def counted_steps(monkeypatch) -> list[tuple[int, int]]:
    """Rows and the most tokens of a row of each step that follows."""
    steps: list[tuple[int, int]] = []
    step = decoder.Decoder.step

    def counting(self, given):
        steps.append((self.rows, max(len(ids) for ids, _ in given.values())))
        return step(self, given)

    monkeypatch.setattr(decoder.Decoder, "step", counting)
    return steps


def test_a_step_is_asked_for_once_and_told_once(as_gpu, recorded):
    model = deep()
    with recorded as gpu, torch.inference_mode():
        places = decoder.Decoder(put(model), rows=3, longest=30)
        places.share([2, 3])
        places.prefill({0: (2, 3, 4, 5), 1: (2, 3, 9)})
        assert not gpu.waited
        assert gpu.sent == 2
        for number in range(1, 7):
            for counts in (gpu.waited, gpu.here):
                counts.clear()
            gpu.sent = gpu.started = 0
            places.step({0: ([5], 3), 1: ([9, 8], 2)})
            assert gpu.waited == {"read": 1}
            assert gpu.sent == 1
            assert set(gpu.here) <= {"to", "unbind"}  # what is sent, and what is read
            assert gpu.started < 1300 if number <= graphs.RECORDED_AFTER else gpu.started < 3000
        assert gpu.started <= 5  # what was recorded is one
        assert (gpu.recorded, gpu.replayed) == (1, 3)


def test_the_counter_sees_how_often_a_cpus_ways_would_stop_a_gpu(recorded, monkeypatch):
    """One question for each part of the vocabulary: 16 of Gemma 2B's."""
    monkeypatch.setattr(decoder, "DECODED_TILE", 512 // 16)
    with recorded as gpu, torch.inference_mode():
        places = decoder.Decoder(put(deep()), rows=2)
        places.prefill({0: (2, 3), 1: (2, 3, 9)})
        gpu.waited.clear()
        places.step({0: ([3], 1), 1: ([9], 2)})
    assert gpu.waited == {"nonzero": 16, "read": 1}


@pytest.mark.parametrize("layer_types", [[FULL, FULL], [SLIDING, FULL], [SLIDING, SLIDING]])
@pytest.mark.parametrize("batch_size", [9, 32])
def test_what_is_replayed_writes_a_cpus_texts(
    tiny, tokenizer, as_gpu, recorded, monkeypatch, layer_types, batch_size
):
    """Rows are refilled and left out meanwhile, and guesses of every number are read."""
    model, prompts = wild(tiny, layer_types), prompts_of(tokenizer, 1, MANY)
    with pytest.MonkeyPatch.context() as patch:
        for module in (decoder, decoding):
            patch.setattr(module, "on_gpu", lambda _: False)
        expected = texts(model, prompts, batch_size)
    assert len(set(brief(expected))) > 15
    steps = counted_steps(monkeypatch)
    with recorded as gpu:
        found = texts(put(model), prompts, batch_size)
    assert found == expected
    assert gpu.waited == {"read": len(steps)}
    assert {rows for rows, _ in steps} == {min(batch_size, 25), 8, 2}
    assert gpu.recorded >= 3
    assert gpu.replayed > len(steps) / 3


def test_a_pass_over_gold_solutions_is_asked_for_once(tiny, tokenizer, recorded):
    """Five texts in passes of two: their losses are a CPU's."""
    model = wild(tiny, [SLIDING, FULL])
    golds = [Encoded(prompt.ids, 5) for prompt in prompts_of(tokenizer, 0)[:5]]
    ask = partial(
        likelihoods, examples=golds, ids=list("abcde"), batch_size=2, on_batch=lambda _: None
    )
    expected = ask(model)
    with recorded as gpu, torch.inference_mode():
        found = ask(put(model))
    assert found == expected
    assert gpu.waited == {"read": 3}


class Stood(graphs.Graphs):
    """Graphs whose recordings are what was recorded, on a CPU."""

    def __init__(self, monkeypatch, *, possible=True):
        monkeypatch.setattr(graphs, "new_pool", lambda _: object())
        monkeypatch.setattr(graphs, "refuse_waits", lambda run: run())
        monkeypatch.setattr(graphs, "capture", lambda run, pool: self.pools.append(pool) or run)
        self.pools: list[object] = []
        self.asked: list[tuple[int, int]] = []
        super().__init__(self.twice, torch.device("cpu"), possible=possible)

    def twice(self, numbers, visible):
        self.asked.append((numbers.data_ptr(), visible))
        return 2 * numbers


def test_a_shape_has_one_buffer_and_is_recorded_once_it_is_known_not_to_be_rare(monkeypatch):
    steps = Stood(monkeypatch)
    for number in range(6):
        for width in (3, 4):
            given = torch.full((2, width), number)
            assert torch.equal(steps(given, 256), 2 * given)
        assert len(steps.pools) == (0 if number < graphs.RECORDED_AFTER else 2)
    assert len(set(steps.asked)) == 2
    assert steps.pools[0] is steps.pools[1]
    assert torch.equal(steps(torch.ones(2, 3), 512), torch.full((2, 3), 2.0))
    assert len(set(steps.asked)) == 3


def test_a_cache_that_lies_elsewhere_ends_what_was_recorded(monkeypatch):
    steps = Stood(monkeypatch)
    for _ in range(2):
        for _ in range(graphs.RECORDED_AFTER + 2):
            steps(torch.zeros(1, 3), 256)
        steps.clear()
    first, second = steps.pools
    assert first is not second


@pytest.mark.parametrize("fails", ["refuse_waits", "capture"])
def test_what_cannot_be_recorded_is_computed(monkeypatch, fails):
    steps = Stood(monkeypatch)
    tried = []

    def refuse(*_):
        tried.append(fails)
        raise RuntimeError("called a synchronizing CUDA operation")

    monkeypatch.setattr(graphs, fails, refuse)
    for number in range(9):
        assert torch.equal(steps(torch.full((1, 3), number), 256), torch.full((1, 3), 2 * number))
    assert tried == [fails]


def test_weights_of_4_bits_are_not_recorded():
    model = torch.nn.Linear(2, 2)
    assert graphs.can_capture(model)
    model.weight.quant_state = object()
    assert not graphs.can_capture(model)


@pytest.mark.parametrize("widest", [1, 2, 3, 4, 5, 8])
def test_a_gpu_reads_few_numbers_of_tokens(tiny, as_gpu, recorded, widest):
    with recorded, torch.inference_mode():
        places = decoder.Decoder(put(wild(tiny, [FULL, FULL])), rows=2)
        places.prefill({0: (2, 3), 1: (2, 9)})
        chosen, _ = places.step({0: ([3] * widest, 1), 1: ([9], 1)})
    assert len(chosen[0]) == {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 8: 8}[widest]


@pytest.mark.parametrize(
    ("texts", "on_cpu", "on_gpu"),
    [(1, 1, 2), (3, 4, 8), (8, 8, 8), (9, 16, 32), (33, 40, 128), (129, 136, 512)],
)
def test_a_gpu_leaves_rows_out_less_often(tiny, as_gpu, recorded, texts, on_cpu, on_gpu):
    model = wild(tiny, [FULL, FULL])
    with recorded:
        assert decoder.Decoder(put(model), rows=1).places(texts) == on_gpu
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder, "on_gpu", lambda _: False)
        assert decoder.Decoder(wild(tiny, [FULL, FULL]), rows=1).places(texts) == on_cpu


def test_a_cache_that_grows_is_written_where_it_lies_now(tiny, as_gpu, recorded, monkeypatch):
    """Texts of unknown length: a short one in place of one for which the cache had to grow."""
    for sizes in ("GPU_VISIBLE_SLOTS", "CACHE_SLOTS"):
        monkeypatch.setattr(decoder, sizes, 16)
    model = wild(tiny, [FULL, FULL])
    prompt = tuple(range(2, 8))

    def first_tokens(places) -> list[int]:
        places.prefill({0: prompt})
        chosen = [places.step({0: ([7 + at], 5 + at)})[0][0][0] for at in range(5)]
        places.step({0: ([3], 40)})  # far behind: of no interest
        places.prefill({0: prompt})
        return [*chosen, *(places.step({0: ([7 + at], 5 + at)})[0][0][0] for at in range(5))]

    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(decoder, "on_gpu", lambda _: False)
        expected = first_tokens(decoder.Decoder(model, rows=1))
    with recorded as gpu, torch.inference_mode():
        assert first_tokens(decoder.Decoder(put(model), rows=1)) == expected
    assert gpu.recorded == 2
    assert expected[:5] == expected[5:]


@pytest.mark.gpu
def test_graphs_of_a_gpu_write_the_texts_of_single_kernels(tiny, tokenizer, monkeypatch):
    captured = []
    capture = graphs.capture
    monkeypatch.setattr(graphs, "capture", lambda *given: captured.append(1) or capture(*given))
    model, prompts = wild(tiny, [SLIDING, FULL]).cuda(), prompts_of(tokenizer, 1, MANY)
    found = texts(model, prompts)
    assert len(captured) >= 3
    monkeypatch.setattr(graphs, "RECORDED_AFTER", 10**9)
    assert texts(model, prompts) == found
